//! The form of entries on the terminal.

use serde_json::Value;

use crate::cli::terminal::Terminal;
use witgate_base::printable;

/// Prints an entry: its line for a program, and the main facts in one line for people.
pub(super) fn print(terminal: &Terminal, line: &str, entry: &Value) {
    match terminal.is_json() {
        true => terminal.print(&printable::json(line)),
        false => terminal.print(&summary(entry)),
    }
}

/// Number, time, outcome or kind, target, subject and reason.
fn summary(entry: &Value) -> String {
    let text = |name: &str| match entry.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Null) | None => None,
        Some(other) => Some(other.to_string()),
    };
    let what = text("outcome").or_else(|| text("kind")).unwrap_or_default();
    let mut summary =
        format!("{:>8}  {}  {what:<14}", text("seq").unwrap_or_default(), text("time").unwrap_or_default());
    for (label, name) in [
        ("", "upstream"),
        ("", "method"),
        ("", "target"),
        ("subject ", "subject"),
        ("policy ", "policy"),
        ("rule ", "rule"),
        ("reason ", "reason"),
        ("generation ", "generation"),
        ("id ", "id"),
    ] {
        if let Some(value) = text(name) {
            summary.push_str(&format!("  {label}{value}"));
        }
    }
    summary
}
