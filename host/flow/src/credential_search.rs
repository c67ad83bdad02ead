//! Finds messages that contain the credential of their sender, or a key of Witgate: an upstream must not learn them, and
//! no record or span may name them.

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use memchr::memmem::Finder;
use witgate_basic::credential::composed_password;
use witgate_message::credential::Credentials;
use witgate_message::search::SearchedMessage;
use witgate_plugin::Scheme;
use witgate_policy::generation::Generation;
use witgate_policy::known_keys::KEY_PREFIX;
use zeroize::Zeroizing;

use crate::audit::targets;
use crate::parsing;
use crate::request::Request;

static PREFIX: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(KEY_PREFIX));

/// Minimum length of a password that is searched, in characters.
const SHORTEST_PASSWORD: usize = 8;

/// True if the message contains a credential. Its caller is known, or one whom the pipeline accepts without a credential.
pub(super) async fn finds_one(generation: &Arc<Generation>, request: &Request, shown: &Credentials) -> bool {
    finds_one_in(request.call.body(), generation, request, shown).await
}

/// True if what records and spans show of the message contains a credential. Nobody knows the caller.
pub(super) async fn shows_one(generation: &Arc<Generation>, request: &Request, shown: &Credentials) -> bool {
    finds_one_in(&shown_parts(request).into(), generation, request, shown).await
}

/// The parts of a message that records and spans show, as JSON.
fn shown_parts(request: &Request) -> String {
    let call = &request.call;
    let names = targets(call.access()).iter().map(|target| &*target.name);
    let texts: Vec<&str> = [call.method()].into_iter().chain(names).collect();
    let texts = serde_json::to_string(&texts).unwrap_or_default();
    format!("[{texts},{},{}]", call.id().unwrap_or("0"), call.meta().unwrap_or("0"))
}

async fn finds_one_in(
    message: &Bytes,
    generation: &Arc<Generation>,
    request: &Request,
    shown: &Credentials,
) -> bool {
    if parsing::is_small(message.len()) {
        return is_in(message, generation, shown);
    }
    let (message, generation, shown) = (message.clone(), Arc::clone(generation), shown.copy());
    let search = move || is_in(&message, &generation, &shown);
    // If the search is lost, nothing is forwarded.
    Box::pin(parsing::in_background(request.peer, search)).await.unwrap_or(true)
}

/// True if the message contains the password in the text after `Basic`, as the client has sent it or in NFC.
fn has_password(message: &SearchedMessage<'_>, text: &str) -> bool {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() + 4));
    let decoded = STANDARD.decode_vec(text, &mut bytes).ok().and_then(|()| std::str::from_utf8(&bytes).ok());
    let Some((_, password)) = decoded.and_then(|decoded| decoded.split_once(':')) else { return false };
    if password.chars().count() < SHORTEST_PASSWORD {
        return false;
    }
    let composed = composed_password(password);
    // The two seldom differ, and each search reads the whole message.
    message.has(password) || (**composed != *password && message.has(&composed))
}

fn is_in(message: &Bytes, generation: &Generation, shown: &Credentials) -> bool {
    let message = SearchedMessage::new(message);
    let mut texts = shown.texts().filter(|(scheme, _)| *scheme != Some(Scheme::Certificate));
    texts.any(|(scheme, text)| {
        message.has(text) || (scheme == Some(Scheme::Basic) && has_password(&message, text))
    }) || message.has_key(&PREFIX, |text| generation.has_key(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_found_as_it_was_sent_and_in_nfc() {
        let has = |sent: &str, message: &str| {
            has_password(&SearchedMessage::new(message.as_bytes()), &STANDARD.encode(sent))
        };
        assert!(has("ada:correct horse", r#"{"a":"it is correct horse"}"#));
        assert!(has("ada:a\"quotation", r#"{"a":"a\"quotation"}"#));
        assert!(has("ada:pa\u{30a}ssword", "{\"a\":\"pa\u{30a}ssword\"}"));
        assert!(has("ada:pa\u{30a}ssword", r#"{"a":"p\u00e5ssword"}"#));
        assert!(!has("ada:correct horse", r#"{"a":"correct hors"}"#));
        assert!(!has("correct horse:x", r#"{"a":"correct horse"}"#), "a name is no secret");
        assert!(!has("ada:éééé", r#"{"a":"éééé"}"#), "four characters may occur by accident");
        assert!(!has_password(&SearchedMessage::new(br#"["no base64"]"#), "no base64"));
    }
}
