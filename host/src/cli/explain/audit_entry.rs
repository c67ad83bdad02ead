//! Decisions out of the audit log.

use std::ops::ControlFlow;

use serde_json::{Value, json};

use super::arguments::Arguments;
use super::sender::SenderOptions;
use crate::access::condition_values::placed;
use crate::cli::audit::LogPlace;
use crate::cli::context::Context;
use crate::cli::outcome::CommandFailure;
use witgate_audit::select::{EntryFilter, scan};
use witgate_base::party::{ANONYMOUS, UNCHECKED};

/// The entry of the decision with this id.
pub(super) fn find(context: &Context, place: &LogPlace, id: &str) -> Result<Value, CommandFailure> {
    let directory = place.directory(context)?;
    let members = vec![("id".to_owned(), id.to_owned()), ("kind".to_owned(), "decision".to_owned())];
    let filter = EntryFilter { members, ..EntryFilter::default() };
    let mut found = None;
    let take = |_: &str, entry: &Value| {
        found = Some(entry.clone());
        ControlFlow::Break(())
    };
    scan(&directory, 0, &filter, take)
        .map_err(|error| CommandFailure::new(format!("{} cannot be read: {error}", directory.display())))?;
    found.ok_or_else(|| {
        CommandFailure::new(format!("the audit log in {} has no decision {id}", directory.display()))
    })
}

/// The question of a recorded decision, as far as the entry has it. Options of the command precede it. The notes say
/// what an entry does not tell.
pub(super) fn asked(
    entry: &Value,
    arguments: &Arguments,
) -> Result<(Arguments, Vec<String>), CommandFailure> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut notes = vec!["the call is decided again, by the configuration of now".to_owned()];
    let target = match entry.get("target") {
        Some(Value::Array(targets)) => {
            notes.push("the message has several targets; this is about the first".to_owned());
            targets.first().and_then(Value::as_str).map(str::to_owned)
        }
        _ => text("target"),
    };
    let call = target.or_else(|| text("method").map(|method| format!("method:{method}")));
    let call = arguments.call.clone().or(call).ok_or_else(|| {
        CommandFailure::new(
            "the entry names no call, because the message was refused before it was read; name one with `--call`",
        )
    })?;
    let chosen = chosen_arguments(entry);
    if arguments.arguments.is_none() && entry.get("arguments_hmac").is_some() {
        let known = if chosen.is_some() { "only the arguments that it shows" } else { "no arguments" };
        notes.push(format!("the entry has {known}, and a digest of all; name them with `--arguments`"));
    }
    let own = &arguments.sender;
    let sender = match text("subject") {
        Some(subject) if !own.names_somebody() => SenderOptions {
            subject: text("proven_by")
                .filter(|policy| ![ANONYMOUS, UNCHECKED].contains(&policy.as_str()))
                .map(|_| subject),
            policy: own.policy.clone().or_else(|| text("proven_by")),
            issuer: text("issuer"),
            ..own.clone()
        },
        None if !own.names_somebody() => {
            notes.push(
                "the entry names no caller; name one with `--key`, `--as` or `--token-file`".to_owned(),
            );
            own.clone()
        }
        _ => own.clone(),
    };
    let asked = Arguments {
        call: Some(call),
        upstream: arguments.upstream.clone().or_else(|| text("upstream")),
        peer: arguments.peer.or_else(|| text("peer").and_then(|peer| peer.parse().ok())),
        arguments: arguments.arguments.clone().or(chosen.map(|chosen| chosen.to_string())),
        sender,
        ..arguments.clone()
    };
    Ok((asked, notes))
}

/// The arguments that the entry shows, each at its place.
fn chosen_arguments(entry: &Value) -> Option<Value> {
    let shown = entry.get("arguments")?.as_object()?;
    shown.iter().try_fold(json!({}), |whole, (pointer, value)| placed(whole, pointer, value.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::chosen_arguments;

    #[test]
    fn shown_arguments_are_placed_by_their_pointers() {
        let entry =
            json!({ "arguments_hmac": "00", "arguments": { "/path": "/tmp", "/options/deep": true } });
        assert_eq!(chosen_arguments(&entry), Some(json!({ "path": "/tmp", "options": { "deep": true } })));
        assert_eq!(chosen_arguments(&json!({ "arguments_hmac": "00" })), None);
    }
}
