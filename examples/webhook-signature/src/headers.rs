//! The parts of a webhook's headers: sender, time, id and signatures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use witgate_plugin::{Call, Credential, Host, Refusal};

/// The header with the signatures.
pub(crate) const SIGNATURE: &str = "webhook-signature";
/// The header with the message's id.
pub(crate) const ID: &str = "webhook-id";
/// The header with the seconds since the Unix epoch.
pub(crate) const TIMESTAMP: &str = "webhook-timestamp";
/// The header with the sender. Standard Webhooks has none, because each sender has a separate endpoint there.
pub(crate) const SENDER: &str = "webhook-sender";

/// The prefix of an HMAC with SHA-256 in base64.
const HMAC_SHA256: &str = "v1,";

/// Maximum number of signatures. A sender with two keys sends two; nobody needs more.
const MOST_SIGNATURES: usize = 4;

/// The headers of one request.
pub(crate) struct WebhookHeaders {
    pub(crate) sender: String,
    pub(crate) id: String,
    pub(crate) timestamp: u64,
    pub(crate) signatures: Vec<Vec<u8>>,
}

impl WebhookHeaders {
    /// Reads the headers.
    pub(crate) fn read<H: Host>(host: &H, credential: &Credential<'_>) -> Result<Self, Refusal> {
        Ok(Self {
            sender: word(host, SENDER)?,
            id: word(host, ID)?,
            timestamp: seconds(&word(host, TIMESTAMP)?)?,
            signatures: signatures(credential.value)?,
        })
    }

    /// The text to sign: `ID.TIMESTAMP.PAYLOAD`, where the payload is method, target and arguments, a line
    /// each. The arguments are exactly the text that the host forwards.
    pub(crate) fn signed_text<H: Host>(&self, host: &H, call: &Call<'_>) -> Result<String, Refusal> {
        // With a line end in a name, one text could be read as two calls.
        if [call.method, call.target].iter().any(|name| name.contains('\n')) {
            return Err(malformed("the target's name contains a line end"));
        }
        let arguments = host.arguments().unwrap_or_default();
        let Self { id, timestamp, .. } = self;
        Ok(format!("{id}.{timestamp}.{}\n{}\n{arguments}", call.method, call.target))
    }
}

/// True if a text contains nothing that could move the border to the next part of the signed text.
pub(crate) fn is_word(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (1..=128).contains(&text.len()) && text.chars().all(plain)
}

fn word<H: Host>(host: &H, name: &str) -> Result<String, Refusal> {
    let value = host.header(name).ok_or_else(|| malformed(format!("the header `{name}` is missing")))?;
    match is_word(&value) {
        true => Ok(value.into_owned()),
        false => Err(malformed(format!("the header `{name}` is not 1 to 128 letters, digits, `-` and `_`"))),
    }
}

/// A number in its only form, without a sign or leading zeros.
fn seconds(text: &str) -> Result<u64, Refusal> {
    let number: Option<u64> = text.parse().ok();
    let canonical = |number: &u64| number.to_string() == text;
    number.filter(canonical).ok_or_else(|| malformed("the timestamp is not a number of seconds"))
}

/// Decodes the signatures with the known prefix, and ignores those of other kinds.
fn signatures(value: &str) -> Result<Vec<Vec<u8>>, Refusal> {
    let own: Vec<&str> = value.split(' ').filter_map(|one| one.strip_prefix(HMAC_SHA256)).collect();
    if !(1..=MOST_SIGNATURES).contains(&own.len()) {
        return Err(malformed("the header has to contain one to four signatures `v1,BASE64`"));
    }
    let decoded: Result<_, _> = own.into_iter().map(|one| STANDARD.decode(one)).collect();
    decoded.map_err(|_| malformed("a signature is not in base64"))
}

fn malformed(detail: impl Into<String>) -> Refusal {
    Refusal::new("malformed", detail)
}
