//! A client, as Witgate knows it.

use crate::redirect::RedirectUri;
use witgate_base::digest::sha256;

/// Bytes of a shortened digest.
pub(super) const SHORT: usize = 16;

/// A client that asks for access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OauthClient {
    /// `client_id`.
    pub id: String,
    /// The name that the client gives itself.
    pub name: String,
    /// The host that vouches for the name. None: nobody does.
    pub host: Option<String>,
    pub(super) redirects: Redirects,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Redirects {
    /// Shortened digests of the compared forms.
    Digests(Vec<[u8; SHORT]>),
    /// The compared forms.
    Forms(Vec<String>),
}

impl OauthClient {
    /// True if the client may get its answer there.
    pub fn has_redirect(&self, uri: &RedirectUri) -> bool {
        let form = uri.compared();
        match &self.redirects {
            Redirects::Digests(digests) => digests.contains(&digest(&form)),
            Redirects::Forms(forms) => forms.contains(&form),
        }
    }
}

/// A name as it is shown: one line without invisible characters, at most `most` bytes.
pub(super) fn shown_name(name: &str, most: usize) -> String {
    let name: String =
        witgate_base::printable::clean(name.trim()).chars().filter(|c| !c.is_control()).collect();
    let end = name.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= most).last();
    name.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}

/// The shortened digest of a redirect URI.
pub(super) fn digest(form: &str) -> [u8; SHORT] {
    let mut short = [0; SHORT];
    for (byte, from) in short.iter_mut().zip(sha256(form.as_bytes())) {
        *byte = from;
    }
    short
}
