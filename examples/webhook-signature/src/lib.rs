//! Signed webhooks: each request has a MAC over its content, is valid for some minutes, and is accepted once.
//!
//! The form is that of Standard Webhooks (<https://www.standardwebhooks.com>), whose libraries make such signatures in any
//! language. The key stays with the host, which verifies by its name.

mod headers;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::{
    Algorithm, Authenticate, Call, ConfigError, Credential, Data, Host, Identity, NoIdentity, Plugin,
    Refusal, Scheme, SignedMessage, Unavailability, Verdict, VerifyError, Wants,
};

use headers::{ID, SENDER, SIGNATURE, TIMESTAMP, WebhookHeaders, is_word};

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The permitted senders, by the name in `webhook-sender`, which becomes the subject.
    senders: BTreeMap<String, Sender>,
    /// Maximum distance in seconds between a timestamp and now, in either direction.
    #[serde(default = "five_minutes")]
    #[schemars(range(min = 1, max = 3600))]
    window_s: u32,
}

/// A sender.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sender {
    /// The key that is shared with the sender.
    #[schemars(extend("format" = "witgate-key"))]
    key: String,
    /// The roles of the sender.
    #[serde(default)]
    roles: Vec<String>,
}

/// The tolerance that Standard Webhooks recommends.
fn five_minutes() -> u32 {
    300
}

/// The plugin.
#[derive(Debug)]
pub struct WebhookSignature {
    senders: BTreeMap<String, Sender>,
    window_s: u32,
}

impl Plugin for WebhookSignature {
    const NAME: &'static str = "webhook-signature";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Checks the signatures of webhooks, each valid once and for some minutes.";
    type Config = Settings;

    fn configure(
        _policy: &str,
        Settings { senders, window_s }: Settings,
    ) -> Result<(Self, Wants), ConfigError> {
        if senders.is_empty() {
            return Err(ConfigError::at("/senders", "empty, so nobody may send; name a sender and a key"));
        }
        if let Some(name) = senders.keys().find(|name| !is_word(name)) {
            let message = "no header can name this sender; write 1 to 128 letters, digits, `-` and `_`";
            return Err(ConfigError::at_path(&["senders", name], message));
        }
        let wants = Wants {
            schemes: vec![Scheme::Header],
            credential_header: Some(SIGNATURE.to_owned()),
            headers: [ID, TIMESTAMP, SENDER].map(str::to_owned).to_vec(),
            data: Data { arguments: true, ..Data::default() },
        };
        Ok((Self { senders, window_s }, wants))
    }
}

impl Authenticate for WebhookSignature {
    async fn authenticate<H: Host>(&self, host: &H, call: &Call<'_>, credential: &Credential<'_>) -> Verdict {
        self.prove(host, call, credential).await.into()
    }
}

impl WebhookSignature {
    /// Verifies the signature before it remembers the message, so that forgeries cannot fill the cache.
    async fn prove<H: Host>(
        &self,
        host: &H,
        call: &Call<'_>,
        credential: &Credential<'_>,
    ) -> Result<Identity, NoIdentity> {
        let headers = WebhookHeaders::read(host, credential)?;
        let unknown = || Refusal::new("unknown-key", "no such sender is configured");
        let sender = self.senders.get(&headers.sender).ok_or_else(unknown)?;
        self.judge_time(host.now(), headers.timestamp)?;
        verify(host, &sender.key, &headers, &headers.signed_text(host, call)?).await?;
        self.use_up(host, &headers)?;
        Ok(Identity { subject: headers.sender, roles: sender.roles.clone(), ..Identity::default() })
    }

    fn judge_time(&self, now: u64, timestamp: u64) -> Result<(), Refusal> {
        if timestamp.saturating_add(self.window_s.into()) < now {
            return Err(Refusal::new("expired", "the timestamp lies too far in the past"));
        }
        if timestamp > now.saturating_add(self.window_s.into()) {
            return Err(Refusal::new("not-yet-valid", "the timestamp lies in the future"));
        }
        Ok(())
    }

    /// Remembers the message while its timestamp is valid, and refuses it if it comes again.
    fn use_up<H: Host>(&self, host: &H, headers: &WebhookHeaders) -> Result<(), Refusal> {
        let mark = host.sha256(format!("{}\n{}", headers.sender, headers.id).as_bytes());
        if host.cached(&mark).is_some() {
            return Err(Refusal::new("replayed", "a message with this id has been accepted before"));
        }
        host.cache(&mark, &[], self.window_s.saturating_mul(2).saturating_add(1));
        Ok(())
    }
}

/// Verifies the signatures. One valid signature is enough: a sender who changes keys signs with both.
async fn verify<H: Host>(
    host: &H,
    key: &str,
    headers: &WebhookHeaders,
    text: &str,
) -> Result<(), NoIdentity> {
    for signature in &headers.signatures {
        let signed =
            SignedMessage { algorithm: Algorithm::Hs256, key_id: None, message: text.as_bytes(), signature };
        match host.verify(key, &signed).await {
            Ok(()) => return Ok(()),
            Err(VerifyError::BadSignature) => {}
            Err(VerifyError::AlgorithmMismatch) => {
                return Err(Unavailability::new("the sender's key is not a shared secret", None).into());
            }
            Err(VerifyError::UnknownKey | VerifyError::UnknownKeyId | VerifyError::Unavailable) => {
                return Err(Unavailability::new("the host has no usable key of the sender", None).into());
            }
        }
    }
    Err(Refusal::new("bad-signature", "no signature matches the request").into())
}

witgate_plugin::export_authenticator!(WebhookSignature);
