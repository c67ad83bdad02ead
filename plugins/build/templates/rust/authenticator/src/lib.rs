//! Judges tokens that begin with `tok_`: the one that equals a secret is the subject of the settings.

use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::{
    Authenticate, Call, ConfigError, Credential, Host, Identity, Plugin, Scheme, Verdict, Wants,
};

/// The prefix of the tokens that this plugin judges.
const FORM: &str = "tok_";

/// The settings, as an operator writes them under `config`. Witgate validates them against the JSON Schema of this type.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The header that carries the token.
    header: String,
    /// The name of the secret that the token has to equal, as in `grants.secrets`.
    secret: String,
    /// The owner of the token.
    subject: String,
}

/// The plugin, configured.
#[derive(Debug)]
pub struct {{Name}} {
    secret: String,
    subject: String,
}

impl Plugin for {{Name}} {
    const NAME: &'static str = "{{name}}";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Takes one token, which equals a secret, in a header.";
    type Config = Settings;

    fn configure(_policy: &str, settings: Settings) -> Result<(Self, Wants), ConfigError> {
        let Settings { header, secret, subject } = settings;
        if subject.is_empty() {
            return Err(ConfigError::at("/subject", "empty; write the name of the token's owner"));
        }
        let wants =
            Wants { schemes: vec![Scheme::Header], credential_header: Some(header), ..Wants::default() };
        Ok((Self { secret, subject }, wants))
    }
}

impl Authenticate for {{Name}} {
    async fn authenticate<H: Host>(
        &self,
        host: &H,
        _call: &Call<'_>,
        credential: &Credential<'_>,
    ) -> Verdict {
        if !credential.value.starts_with(FORM) {
            return Verdict::NotMine;
        }
        let Some(secret) = host.secret(&self.secret) else {
            return Verdict::unavailable(format!("the secret {} is not granted", self.secret), None);
        };
        // Compare digests, so that the time of the comparison reveals nothing about the secret.
        if host.sha256(credential.value.as_bytes()) != host.sha256(secret.as_bytes()) {
            return Verdict::refused("unknown-token", "the token is not the one in the settings");
        }
        Verdict::Identity(Identity {
            subject: self.subject.clone(),
            ..Identity::default()
        })
    }
}

witgate_plugin::export_authenticator!({{Name}});
