//! The input of strangers for the pages of accounts: redirect URIs, documents about clients, ids of clients, and
//! parameters.
//!
//! The input is read as each of them. An answer goes to the place that was accepted and nowhere else, and nothing that is
//! shown has invisible characters.

use url::Url;
use witgate_accounts::client::document::described;
use witgate_accounts::client::registered;
use witgate_accounts::redirect::RedirectUri;
use witgate_accounts::site::params::OauthParams;
use witgate_base::seal::MacKey;

const ID: &str = "https://client.example.com/id";

/// Reads an input as each of the forms.
///
/// # Panics
/// Where something does not hold.
pub fn check(data: &[u8]) {
    document(data);
    if let Ok(params) = OauthParams::parse(data) {
        for name in ["state", "redirect_uri", "client_id", "a"] {
            assert!(params.get(name).is_none_or(|value| !value.is_empty()));
        }
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    redirect(text.trim_end());
    assert!(registered::client(&MacKey::of(b"key"), text).is_none(), "nobody makes an id");
}

fn redirect(text: &str) {
    let Some(uri) = RedirectUri::parse(text) else { return };
    assert_eq!(uri.as_str(), text);
    let (own, answer) = (Url::parse(text).unwrap(), uri.with(&[("code", "a&b=c"), ("state", "#")]));
    let answered = Url::parse(&answer).unwrap();
    assert_eq!((answered.scheme(), answered.host(), answered.port()), (own.scheme(), own.host(), own.port()));
    assert_eq!((answered.path(), answered.fragment()), (own.path(), None));
    let codes: Vec<_> = answered.query_pairs().filter(|(name, _)| name == "code").collect();
    assert_eq!(codes.len(), 1, "{answer}");
    assert_eq!(codes[0].1, "a&b=c");
    let is_local = matches!(own.host_str(), Some("localhost" | "[::1]"))
        || own.host_str().is_some_and(|host| host.starts_with("127."));
    assert!(own.scheme() != "http" || is_local, "{text}");
    let compared = RedirectUri::parse(&uri.compared()).unwrap();
    assert_eq!(compared.compared(), uri.compared());
}

fn document(data: &[u8]) {
    let Ok(client) = described(ID, data) else { return };
    assert_eq!((client.id.as_str(), client.host.as_deref()), (ID, Some("client.example.com")));
    assert!(!client.name.is_empty() && !client.name.chars().any(char::is_control));
}
