//! The form in which somebody shows who they are.

use std::time::Duration;

use ::http::header::{AUTHORIZATION, CONTENT_TYPE};
use ::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::http::receive::gather;
use witgate_base::peer::Peer;
use witgate_flow::body::Inflow;
use witgate_flow::reject::Rejection;
use witgate_message::fault::MessageFault;
use witgate_runtime::memory::Reservation;

/// The largest form: the longest credential, with each byte encoded.
const LARGEST: usize = 64 << 10;

/// The time for a form.
const TIME: Duration = Duration::from_secs(15);

/// A form.
#[derive(Default)]
pub(super) struct CredentialForm {
    /// The proof that the form was made for this browser.
    pub(super) token: String,
    /// The text of the link. Empty: there is none.
    pub(super) link: String,
    user: String,
    credential: Zeroizing<String>,
}

impl CredentialForm {
    /// Reads a form of limited size.
    ///
    /// # Errors
    /// If it is no form, too large or too slow.
    pub(super) async fn read(
        headers: &HeaderMap,
        body: &mut Inflow,
        mut held: Reservation<Peer>,
    ) -> Result<Self, Rejection> {
        let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim();
        if !media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(MessageFault::UnsupportedMediaType.into());
        }
        let bytes = tokio::time::timeout(TIME, gather(body, LARGEST, &mut held)).await;
        Self::parse(&bytes.unwrap_or(Err(Rejection::BodyTimeout))?)
    }

    fn parse(bytes: &[u8]) -> Result<Self, Rejection> {
        let mut form = Self::default();
        for (name, value) in url::form_urlencoded::parse(bytes) {
            let field = match &*name {
                "form" => &mut form.token,
                "t" => &mut form.link,
                "user" => &mut form.user,
                "credential" => &mut *form.credential,
                _ => continue,
            };
            if !field.is_empty() {
                return Err(MessageFault::InvalidRequest("a field occurs twice".to_owned()).into());
            }
            value.trim().clone_into(field);
        }
        Ok(form)
    }

    /// The headers in which a client would send the credential. None: it fits into no header.
    pub(super) fn headers(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        let value = match (&*self.user, &**self.credential) {
            // A certificate may say enough.
            ("", "") => return Some(headers),
            ("", credential) => Zeroizing::new(format!("Bearer {credential}")),
            (user, password) => {
                let pair = Zeroizing::new(format!("{user}:{password}"));
                Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
            }
        };
        let is_one_word = self.user.is_empty() && self.credential.contains(|c: char| !c.is_ascii_graphic());
        let mut value = HeaderValue::from_str(&value).ok().filter(|_| !is_one_word)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
        Some(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(form: &str) -> Option<String> {
        let headers = CredentialForm::parse(form.as_bytes()).unwrap().headers()?;
        Some(headers.get(AUTHORIZATION).map_or_else(String::new, |value| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn a_credential_is_shown_as_a_client_would() {
        assert_eq!(shown("credential=+wgk_1%0D%0A").as_deref(), Some("Bearer wgk_1"));
        assert_eq!(shown("user=ada&credential=open+sesame").as_deref(), Some("Basic YWRhOm9wZW4gc2VzYW1l"));
        assert_eq!(shown("t=x&form=y").as_deref(), Some(""));
        for wrong in ["credential=a+b", "credential=a%00", "credential=%C3%A9"] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
        assert!(CredentialForm::parse(b"credential=a&credential=b").is_err());
    }
}
