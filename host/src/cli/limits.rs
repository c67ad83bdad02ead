//! `witgate limits`: what remains of the limits of a running Witgate.

use super::context::Context;
use super::control::{cell, show};
use super::outcome::{CommandFailure, Exit};
use super::terminal::table;
use crate::control::protocol::{ControlCommand, LimitBucket, LimitStatus, LimitsReport};

pub(super) fn run(context: &Context) -> Result<Exit, CommandFailure> {
    show(context, &ControlCommand::Limits, listing)
}

fn listing(report: &LimitsReport) -> String {
    if report.limits.is_empty() {
        return "There are no limits; add `[limits.NAME]` to the configuration.".to_owned();
    }
    let titles = ["NAME", "RATE", "BURST", "CONCURRENT", "PER", "HITS", "BUSY"];
    let rows: Vec<_> = report.limits.iter().map(row).collect();
    let mut text = table(&titles, &rows);
    for limit in report.limits.iter().filter(|limit| !limit.buckets.is_empty()) {
        let shown = limit.buckets.len();
        let part = if shown < limit.busy { format!(", {shown} of {}", limit.busy) } else { String::new() };
        text.push_str(&format!("\n\nBuckets of `{}` that are not full{part}:\n", limit.name));
        let rows: Vec<_> = limit.buckets.iter().map(bucket).collect();
        text.push_str(&table(&["OF", "REMAINING", "RUNNING", "FULL_IN_S"], &rows));
    }
    text
}

fn row(limit: &LimitStatus) -> Vec<String> {
    vec![
        limit.name.clone(),
        cell(limit.rate.as_ref()),
        cell(limit.burst),
        cell(limit.concurrent),
        if limit.per.is_empty() { "-".to_owned() } else { limit.per.join(",") },
        limit.hits.to_string(),
        limit.busy.to_string(),
    ]
}

fn bucket(bucket: &LimitBucket) -> Vec<String> {
    let of: Vec<_> = bucket.of.iter().map(|(property, value)| format!("{property}={value}")).collect();
    let of = if of.is_empty() { "all calls".to_owned() } else { of.join(" ") };
    vec![of, cell(bucket.remaining), cell(bucket.running), bucket.full_in_s.to_string()]
}
