//! `witgate plugin diff`: where shadows would have decided otherwise.

use serde_json::Value;

use crate::cli::context::Context;
use crate::cli::control::{cell, socket};
use crate::cli::outcome::{CommandFailure, Exit};
use crate::cli::terminal::table;
use crate::control;

pub(super) fn run(context: &Context) -> Result<Exit, CommandFailure> {
    let found =
        control::ask(&socket(context)?, &control::Command::PluginDiff).map_err(CommandFailure::new)?;
    match context.terminal.is_json() {
        true => context.terminal.print_json(&found),
        false => context.terminal.print(&differences(&found)),
    }
    Ok(Exit::Done)
}

fn differences(found: &Value) -> String {
    let items = |of: &Value, name: &str| of.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let shadows = items(found, "shadows");
    if shadows.is_empty() {
        return "no policy of the live generation has `mode = \"shadow\"`".to_owned();
    }
    let texts = shadows.iter().map(|shadow| {
        let [name, calls, disagreements, shed, left_out] =
            ["policy", "calls", "disagreements", "shed", "left_out"].map(|column| cell(shadow, column));
        let left_out = match left_out.as_str() {
            "0" => String::new(),
            many => format!(", {many} of them not listed"),
        };
        let head = format!("{name}: {disagreements} of {calls} otherwise{left_out}, {shed} not asked");
        let columns = ["count", "upstream", "method", "target", "live", "shadow"];
        let row = |kind: &Value| columns.iter().map(|column| cell(kind, column)).collect();
        let rows: Vec<Vec<String>> = items(shadow, "kinds").iter().map(row).collect();
        match rows.is_empty() {
            true => head,
            false => format!(
                "{head}\n\n{}",
                table(&columns.map(str::to_uppercase).each_ref().map(String::as_str), &rows)
            ),
        }
    });
    texts.collect::<Vec<_>>().join("\n\n")
}
