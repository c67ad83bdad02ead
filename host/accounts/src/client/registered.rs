//! Clients that register themselves (RFC 7591). Their registration is in their id (appendix A.5.2): nothing is stored,
//! so that no flood fills anything, and no id is ever forgotten.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::description::{OauthClient, Redirects, SHORT, digest, shown_name};
use crate::redirect::RedirectUri;
use witgate_base::seal::MacKey;

const PREFIX: &str = "wgc_";

/// The version of the form.
const VERSION: u8 = 1;

/// The longest name, in bytes.
const LONGEST_NAME: usize = 40;

/// The most redirect URIs of one client.
pub const MOST_REDIRECTS: usize = 16;

/// The id of a client with this name and these redirect URIs.
pub fn id(mac: &MacKey, name: &str, redirects: &[RedirectUri]) -> String {
    let name = shown_name(name, LONGEST_NAME);
    let mut bytes = vec![VERSION, u8::try_from(name.len()).unwrap_or_default()];
    bytes.extend(name.as_bytes());
    for redirect in redirects.iter().take(MOST_REDIRECTS) {
        bytes.extend(digest(&redirect.compared()));
    }
    let code = mac.code(&[&bytes]);
    bytes.extend(code.iter().take(SHORT));
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// True if the text has the form of such an id.
pub fn is_id(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// The client with this id. None: Witgate has not made it.
pub fn client(mac: &MacKey, id: &str) -> Option<OauthClient> {
    let bytes = URL_SAFE_NO_PAD.decode(id.strip_prefix(PREFIX)?).ok()?;
    let (content, code) = bytes.split_last_chunk::<SHORT>()?;
    if !mac.is_code_of(&[content], code) {
        return None;
    }
    let (&[VERSION, length], rest) = content.split_first_chunk::<2>()? else { return None };
    let (name, digests) = rest.split_at_checked(length.into())?;
    let (digests, []) = digests.as_chunks::<SHORT>() else { return None };
    Some(OauthClient {
        id: id.to_owned(),
        name: String::from_utf8(name.to_vec()).ok()?,
        host: None,
        redirects: Redirects::Digests(digests.to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uri(text: &str) -> RedirectUri {
        RedirectUri::parse(text).unwrap()
    }

    #[test]
    fn an_id_has_the_whole_registration() {
        let mac = MacKey::of(b"key");
        let redirects = [uri("http://localhost:8787/callback"), uri("cursor://a/b")];
        let id = id(&mac, "Cursor\u{202e} \u{e9}", &redirects);
        assert!(id.len() < 200, "{id}");
        let read = client(&mac, &id).unwrap();
        assert_eq!(read.name, client(&mac, &id).unwrap().name);
        assert!(!read.name.contains('\u{202e}'), "{}", read.name);
        assert!(read.has_redirect(&uri("http://localhost:1/callback")) && read.has_redirect(&redirects[1]));
        assert!(!read.has_redirect(&uri("http://localhost:1/other")));
        assert_eq!(client(&MacKey::of(b"other"), &id), None);
    }

    proptest! {
        #[test]
        fn a_changed_id_is_no_id(name in ".{0,60}", at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mac = MacKey::of(b"key");
            let id = id(&mac, &name, &[uri("https://a.example/cb")]);
            prop_assert!(client(&mac, &id).is_some());
            let mut bytes = URL_SAFE_NO_PAD.decode(&id[4..]).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let changed = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
            prop_assert!(client(&mac, &changed).is_none());
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".*") {
            let _ = client(&MacKey::of(b"key"), &format!("{PREFIX}{text}"));
        }
    }
}
