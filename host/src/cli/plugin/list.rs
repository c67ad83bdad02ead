//! `witgate plugin list`: the policies of a running Witgate.

use serde_json::Value;

use crate::cli::context::Context;
use crate::cli::control::{cell, socket, time};
use crate::cli::outcome::{CommandFailure, Exit};
use crate::cli::terminal::table;
use crate::control;

pub(super) fn run(context: &Context) -> Result<Exit, CommandFailure> {
    let status =
        control::ask(&socket(context)?, &control::Command::PluginList).map_err(CommandFailure::new)?;
    match context.terminal.is_json() {
        true => context.terminal.print_json(&status),
        false => context.terminal.print(&listing(&status)),
    }
    Ok(Exit::Done)
}

fn listing(status: &Value) -> String {
    let policies = status.get("policies").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let columns = [
        "name",
        "kind",
        "mode",
        "source",
        "version",
        "digest",
        "state",
        "calls",
        "denials",
        "failures",
        "fallbacks",
        "p50_us",
        "p99_us",
        "instances",
    ];
    let rows: Vec<Vec<String>> =
        policies.iter().map(|policy| columns.iter().map(|column| cell(policy, column)).collect()).collect();
    let titles: Vec<_> = columns.iter().map(|column| column.to_uppercase()).collect();
    let titles: Vec<_> = titles.iter().map(String::as_str).collect();
    let mut text =
        format!("generation {} since {}\n\n", cell(status, "generation"), time(status.get("since")));
    text.push_str(&table(&titles, &rows));
    for policy in
        policies.iter().filter(|policy| policy.get("state").is_some_and(|state| state == "fallback"))
    {
        let line = format!(
            "\n\nFALLBACK: the built-in decides for `{}`: {}",
            cell(policy, "name"),
            cell(policy, "error")
        );
        text.push_str(&line);
    }
    if let Some(to) = status.get("rolled_back_to").and_then(Value::as_u64) {
        text.push_str(&format!(
            "\n\nROLLBACK: this is generation {to} again, until the configuration or a component changes"
        ));
    }
    let waiting = status.get("waiting_for_restart").and_then(Value::as_array);
    for what in waiting.into_iter().flatten().filter_map(Value::as_str) {
        text.push_str(&format!("\n\nNOT IN FORCE before a restart: {what}"));
    }
    let unwatched = status.get("unwatched").and_then(Value::as_array);
    for unwatched in unwatched.into_iter().flatten() {
        let (file, reason) = (cell(unwatched, "file"), cell(unwatched, "reason"));
        text.push_str(&format!("\n\nNOT WATCHED, only looked at every second: {file}: {reason}"));
    }
    text.push_str(&earlier(status));
    let last = status.get("last_change").filter(|last| !last.is_null());
    let errors = last.and_then(|last| last.get("errors")?.as_array());
    for error in errors.into_iter().flatten().filter_map(Value::as_str) {
        let at = time(last.and_then(|last| last.get("at")));
        text.push_str(&format!(
            "\n\nThe change of {at} was refused, and the generation above stays: {error}"
        ));
    }
    text
}

/// Lists the generations that `plugin rollback --to N` can return to.
fn earlier(status: &Value) -> String {
    let kept = status.get("generations").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let earlier: Vec<_> = kept
        .iter()
        .rev()
        .skip(1)
        .map(|kept| {
            let repeats = kept.get("repeats").and_then(Value::as_u64);
            let repeats = repeats.map(|origin| format!(" ({origin} again)")).unwrap_or_default();
            format!("{}{repeats} since {}", cell(kept, "generation"), time(kept.get("since")))
        })
        .collect();
    match earlier.is_empty() {
        true => String::new(),
        false => format!("\n\nEarlier generations: {}", earlier.join(", ")),
    }
}
