//! Removes optional members of the protocol that a client has set to `null`. Servers of Python's SDK treat such a
//! member as absent; those of TypeScript's refuse it or never answer. Without it, policies and all servers read the
//! same message.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::strict_json::{self, StrictParams, string};
use crate::json::Members;
use crate::method::{self, MethodShape};

/// The message without those of `params`, `params.cursor` of a list, `params.arguments` of a method of the protocol,
/// `params._meta` and `params._meta.progressToken` that are `null`. None: none of them is `null`, or `text` is not a
/// message with a method.
///
/// The other values stay byte for byte. A `null` at a deeper place has a meaning for the server, and stays.
pub(super) fn dropped(
    text: &str,
    envelope: &strict_json::StrictMembers<'_>,
    params: &StrictParams<'_>,
) -> Option<Bytes> {
    let method = envelope.get("method").and_then(string)?;
    let params = match params {
        StrictParams::Object(members) => {
            Some(dropped_in(members, method::find(&method).map(|known| known.shape))?)
        }
        StrictParams::Null => None,
        StrictParams::Other => return None,
    };
    let mut message = Members::read(text)?;
    match params {
        Some(params) => message.set("params", params),
        None => message.remove("params"),
    }
    Some(message.render().into())
}

fn dropped_in(members: &strict_json::StrictMembers<'_>, shape: Option<MethodShape>) -> Option<String> {
    let may_be_null = |key: &&str| match *key {
        "cursor" => shape == Some(MethodShape::List),
        "arguments" => shape.is_some(),
        _ => true,
    };
    let nulls = ["cursor", "arguments", "_meta"].into_iter().filter(may_be_null);
    let nulls: Vec<_> = nulls.filter(|key| members.get(key).is_some_and(is_null)).collect();
    let meta = members.get("_meta").and_then(without_token);
    if nulls.is_empty() && meta.is_none() {
        return None;
    }
    let mut left = Members::from(members);
    for key in nulls {
        left.remove(key);
    }
    if let Some(meta) = meta {
        left.set("_meta", meta);
    }
    Some(left.render())
}

/// `_meta` without a progress token that is `null`.
fn without_token(meta: &RawValue) -> Option<String> {
    // Most messages have none of them, and are read only once.
    if !meta.get().contains("null") {
        return None;
    }
    let members = strict_json::StrictMembers::read(meta.get()).ok()?;
    members.get("progressToken").filter(|token| is_null(token))?;
    let mut left = Members::from(&members);
    left.remove("progressToken");
    Some(left.render())
}

fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}
