//! The findings for people, and as JSON. `docs/lint.md` describes the members.

use serde_json::{Value, json};

use super::catalogue::LintResult;
use super::finding::{LintCheck, LintFinding};
use crate::cli::terminal::counted;
use witgate_config::diagnostic::{Style, render};

/// The version of the JSON form. Members are only added to it.
const VERSION: u64 = 1;

/// For people.
pub(super) fn text(result: &LintResult) -> String {
    let mut parts: Vec<_> =
        result.remaining.iter().map(|(check, finding)| finding_text(check, finding)).collect();
    parts.push(summary(result));
    parts.join("\n")
}

fn finding_text(check: &LintCheck, finding: &LintFinding) -> String {
    let remark = finding.remark.clone().help(format!("{}\n{}", finding.fix, check.why));
    format!("{}\n{}", check.code, render(&[remark], Style::default()))
}

/// The numbers of findings in one line.
fn summary(result: &LintResult) -> String {
    let mut text = counted(result.remaining.len(), "finding");
    if !result.accepted.is_empty() {
        text.push_str(&format!(", {} accepted by `[lint]`", result.accepted.len()));
    }
    if result.left_out > 0 {
        text.push_str(&format!(", {} more are not shown", result.left_out));
    }
    text
}

/// For a program.
pub(super) fn json(result: &LintResult, notes: &[String]) -> Value {
    let findings = |found: &[(LintCheck, LintFinding)]| -> Vec<Value> {
        found.iter().map(|(check, finding)| finding_json(check, finding)).collect()
    };
    json!({
        "version": VERSION,
        "ok": result.remaining.is_empty(),
        "findings": findings(&result.remaining),
        "accepted": findings(&result.accepted),
        "left_out": result.left_out,
        "notes": notes,
    })
}

fn finding_json(check: &LintCheck, finding: &LintFinding) -> Value {
    let place = finding.remark.to_json();
    json!({
        "code": check.code.name(),
        "name": finding.name,
        "message": finding.remark.message(),
        "file": place.get("file"),
        "line": place.get("line"),
        "column": place.get("column"),
        "why": check.why,
        "fix": finding.fix,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{scene, with_roles};
    use super::*;

    #[test]
    fn a_report_has_code_place_reason_and_fix() {
        let result = LintResult::of(&scene(&with_roles("user = { allow = ['get_*', 'get_sum'] }")));
        let text = text(&result);
        assert!(text.starts_with("shadowed-rule\n"), "{text}");
        for part in ["witgate.toml:9:", "has no effect", "help: remove it, or the wider pattern", "1 finding"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        let json = json(&result, &["a note".to_owned()]);
        let finding = &json["findings"][0];
        assert_eq!((&json["ok"], &json["notes"][0]), (&json!(false), &json!("a note")));
        assert_eq!((&finding["code"], &finding["name"]), (&json!("shadowed-rule"), &json!("get_sum")));
        assert_eq!(
            (&finding["line"], &finding["fix"]),
            (&json!(9), &json!("remove it, or the wider pattern"))
        );
    }
}
