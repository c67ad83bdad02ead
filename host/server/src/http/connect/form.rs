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
            value.as_ref().clone_into(field);
        }
        Ok(form)
    }

    /// The headers in which a client would send the credential.
    ///
    /// # Errors
    /// If it fits into no header.
    pub(super) fn headers(&self) -> Result<HeaderMap, MessageFault> {
        let mut headers = HeaderMap::new();
        let text = match &*self.user {
            "" => match self.credential.trim() {
                // A certificate may say enough.
                "" => return Ok(headers),
                credential => bearer(credential)?,
            },
            user => basic(user, &self.credential)?,
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| unfit(NO_CREDENTIAL))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
        Ok(headers)
    }
}

const NO_CREDENTIAL: &str = "this is not a key, a token, or a user with a password";

/// A key or a token is one word. Whoever copies it may copy blanks or a line end around it.
fn bearer(credential: &str) -> Result<Zeroizing<String>, MessageFault> {
    match credential.contains(|c: char| !c.is_ascii_graphic()) {
        true => Err(unfit(NO_CREDENTIAL)),
        false => Ok(Zeroizing::new(format!("Bearer {credential}"))),
    }
}

/// A name and a password, both as they were typed. A colon ends the name (RFC 7617, section 2), so what follows it would
/// be read as a part of the password.
fn basic(user: &str, password: &str) -> Result<Zeroizing<String>, MessageFault> {
    if user.contains(':') {
        return Err(unfit("a user name has no colon"));
    }
    let pair = Zeroizing::new(format!("{user}:{password}"));
    Ok(Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
}

fn unfit(what: &str) -> MessageFault {
    MessageFault::BadCredential(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(form: &str) -> Result<String, MessageFault> {
        let headers = CredentialForm::parse(form.as_bytes()).unwrap().headers()?;
        Ok(headers.get(AUTHORIZATION).map_or_else(String::new, |value| value.to_str().unwrap().to_owned()))
    }

    fn basic_of(pair: &str) -> Result<String, MessageFault> {
        Ok(format!("Basic {}", STANDARD.encode(pair)))
    }

    #[test]
    fn a_credential_is_shown_as_a_client_would() {
        assert_eq!(shown("credential=+wgk_1%0D%0A").as_deref(), Ok("Bearer wgk_1"));
        assert_eq!(shown("user=ada&credential=open+sesame"), basic_of("ada:open sesame"));
        for nothing in ["t=x&form=y", "credential=+", "user=&credential="] {
            assert_eq!(shown(nothing).as_deref(), Ok(""), "{nothing}");
        }
        for wrong in ["credential=a+b", "credential=a%00", "credential=%C3%A9"] {
            assert_eq!(shown(wrong), Err(unfit(NO_CREDENTIAL)), "{wrong}");
        }
        assert!(CredentialForm::parse(b"credential=a&credential=b").is_err());
    }

    #[test]
    fn a_name_and_a_password_are_taken_as_typed() {
        assert_eq!(shown("user=ada&credential=+open+sesame++"), basic_of("ada: open sesame  "));
        assert_eq!(shown("user=ada&credential=+"), basic_of("ada: "));
        assert_eq!(shown("user=ada&credential=a%3Ab"), basic_of("ada:a:b"), "a password may have colons");
        assert_eq!(shown("user=ada+&credential=x"), basic_of("ada :x"));
        for name in ["ada%3Ab", "%3A", "ada%3A"] {
            let refused = shown(&format!("user={name}&credential=x"));
            assert_eq!(refused, Err(unfit("a user name has no colon")), "{name}");
        }
    }
}
