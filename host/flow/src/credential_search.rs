//! Finds messages that contain the credential of their sender, or a key of Witgate: an upstream must not learn them, and
//! no record or span may name them.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use memchr::memmem::Finder;
use witgate_message::credential::Credentials;
use witgate_message::search::SearchedMessage;
use witgate_plugin::Scheme;
use witgate_policy::generation::Generation;
use witgate_policy::known_keys::KEY_PREFIX;

use crate::audit::targets;
use crate::parsing;
use crate::request::Request;

static PREFIX: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(KEY_PREFIX));

/// True if the message contains a credential. Its caller is known, or one whom the pipeline accepts without a credential.
pub(super) async fn finds_one(generation: &Arc<Generation>, request: &Request, shown: &Credentials) -> bool {
    finds_one_in(request.call.body(), generation, request, shown).await
}

/// True if what records and spans show of the message contains a credential. Nobody knows the caller.
pub(super) async fn shows_one(generation: &Arc<Generation>, request: &Request, shown: &Credentials) -> bool {
    finds_one_in(&shown_parts(request).into(), generation, request, shown).await
}

/// What records and spans show of a message, as JSON.
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

fn is_in(message: &Bytes, generation: &Generation, shown: &Credentials) -> bool {
    let message = SearchedMessage::new(message);
    let mut texts = shown.texts().filter(|(scheme, _)| *scheme != Some(Scheme::Certificate));
    texts.any(|(_, text)| message.has(text)) || message.has_key(&PREFIX, |text| generation.has_key(text))
}
