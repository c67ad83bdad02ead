//! The key of a link in the table.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use witgate_plugin::Digest;

use witgate_base::digest::sha256;

/// The key of a link: a digest, so that a look-up does not tell how much of a guess is right.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LinkKey {
    digest: Digest,
    id: Box<str>,
}

impl LinkKey {
    pub(super) fn of(secret: &str) -> Self {
        let digest = sha256(secret.as_bytes());
        let id = URL_SAFE_NO_PAD.encode(sha256(&digest)).into();
        Self { digest, id }
    }

    /// A text that names the link, and does not open it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}
