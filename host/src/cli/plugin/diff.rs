//! `witgate plugin diff`: lists the calls that shadow policies would have decided otherwise.

use crate::cli::context::Context;
use crate::cli::control::{cell, show};
use crate::cli::outcome::{CommandFailure, Exit};
use crate::cli::terminal::table;
use crate::control::protocol::{ControlCommand, Differences, DisagreementCount, Shadow};

const TITLES: [&str; 6] = ["COUNT", "UPSTREAM", "METHOD", "TARGET", "LIVE", "SHADOW"];

pub(super) fn run(context: &Context) -> Result<Exit, CommandFailure> {
    show(context, &ControlCommand::PluginDiff, differences)
}

fn differences(found: &Differences) -> String {
    if found.shadows.is_empty() {
        return "no policy of the live generation has `mode = \"shadow\"`".to_owned();
    }
    found.shadows.iter().map(of_shadow).collect::<Vec<_>>().join("\n\n")
}

fn of_shadow(shadow: &Shadow) -> String {
    let Shadow { policy, calls, disagreements, shed, left_out, kinds, .. } = shadow;
    let left_out = match left_out {
        0 => String::new(),
        many => format!(", {many} of them not listed"),
    };
    let head = format!(
        "{policy}: {disagreements} of {calls} calls decided differently{left_out}, {shed} not evaluated"
    );
    match kinds.is_empty() {
        true => head,
        false => format!("{head}\n\n{}", table(&TITLES, &kinds.iter().map(row).collect::<Vec<_>>())),
    }
}

fn row(kind: &DisagreementCount) -> Vec<String> {
    let DisagreementCount { count, upstream, method, target, live, shadow, .. } = kind;
    let target = cell(target.as_ref());
    vec![count.to_string(), upstream.clone(), method.clone(), target, live.clone(), shadow.clone()]
}
