//! `witgate plugin list`: the policies of a running Witgate.

use crate::cli::context::Context;
use crate::cli::control::{cell, show, time};
use crate::cli::outcome::{CommandFailure, Exit};
use crate::cli::terminal::table;
use crate::cli::upstream::not_approved;
use crate::control::definitions::UpstreamPins;
use crate::control::protocol::{AccessReport, ControlCommand, GatewayStatus, PolicyState, PolicyStatus};

const TITLES: [&str; 14] = [
    "NAME",
    "KIND",
    "MODE",
    "SOURCE",
    "VERSION",
    "DIGEST",
    "STATE",
    "CALLS",
    "DENIALS",
    "FAILURES",
    "FALLBACKS",
    "P50_US",
    "P99_US",
    "INSTANCES",
];

pub(super) fn run(context: &Context) -> Result<Exit, CommandFailure> {
    show(context, &ControlCommand::PluginList, listing)
}

fn listing(status: &GatewayStatus) -> String {
    let rows: Vec<_> = status.policies.iter().map(row).collect();
    let mut text = format!("generation {} since {}\n\n", status.generation, time(status.since));
    text.push_str(&table(&TITLES, &rows));
    for policy in status.policies.iter().filter(|policy| policy.state == PolicyState::Fallback) {
        let (name, error) = (&policy.name, cell(policy.error.as_ref()));
        text.push_str(&format!("\n\nFALLBACK: the built-in decides for `{name}`: {error}"));
    }
    if let Some(to) = status.rolled_back_to {
        text.push_str(&format!(
            "\n\nROLLBACK: this is generation {to} again, until the configuration or a component changes"
        ));
    }
    for what in &status.waiting_for_restart {
        text.push_str(&format!("\n\nNOT IN FORCE before a restart: {what}"));
    }
    for unwatched in &status.unwatched {
        let (file, reason) = (&unwatched.file, &unwatched.reason);
        text.push_str(&format!("\n\nNOT WATCHED, only checked every second: {file}: {reason}"));
    }
    for UpstreamPins { name, pins, unapproved, .. } in &status.definitions {
        text.push_str(&not_approved(name, pins, *unapproved));
    }
    text.push_str(&status.access.as_ref().map(access).unwrap_or_default());
    text.push_str(&earlier(status));
    if let Some(last) = &status.last_change {
        let at = time(last.at);
        for error in last.errors.iter().flatten() {
            text.push_str(&format!(
                "\n\nThe change of {at} was refused, and the generation above stays: {error}"
            ));
        }
    }
    text
}

/// The access that the last change has given and taken.
fn access(report: &AccessReport) -> String {
    let AccessReport { before, generation, gained, lost, examples, left_out, unknown } = report;
    let head = format!("\n\nAccess from generation {before} to {generation}:");
    if let Some(why) = unknown {
        return format!("{head} not known, because {why}");
    }
    let mut text = format!("{head} {gained} gained, {lost} lost");
    examples.iter().for_each(|line| text.push_str(&format!("\n  {line}")));
    left_out.iter().for_each(|what| text.push_str(&format!("\n  not compared: {what}")));
    text
}

fn row(policy: &PolicyStatus) -> Vec<String> {
    // The table shortens the digest; the JSON has all of it.
    let digest = |digest: &String| digest.chars().take("sha256:".len() + 12).collect::<String>();
    let micros = |time: f64| format!("{time:?}");
    vec![
        policy.name.clone(),
        policy.kind.clone(),
        policy.mode.clone(),
        policy.source.clone(),
        cell(policy.version.as_ref()),
        cell(policy.digest.as_ref().map(digest)),
        policy.state.to_string(),
        policy.calls.to_string(),
        policy.denials.to_string(),
        policy.failures.to_string(),
        policy.fallbacks.to_string(),
        cell(policy.p50_us.map(micros)),
        cell(policy.p99_us.map(micros)),
        cell(policy.instances),
    ]
}

/// Lists the generations that `plugin rollback --to N` can return to.
fn earlier(status: &GatewayStatus) -> String {
    let earlier = status.generations.iter().rev().skip(1).map(|kept| {
        let repeats = kept.repeats.map(|origin| format!(" ({origin} again)")).unwrap_or_default();
        format!("{}{repeats} since {}", kept.generation, time(kept.since))
    });
    let earlier: Vec<_> = earlier.collect();
    match earlier.is_empty() {
        true => String::new(),
        false => format!("\n\nEarlier generations: {}", earlier.join(", ")),
    }
}
