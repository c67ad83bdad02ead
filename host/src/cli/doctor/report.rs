//! The output of the findings.

use serde_json::{Value, json};

use super::finding::{CheckFinding, FindingLevel};
use crate::cli::terminal::counted;
use witgate_base::printable;

/// The findings of one check.
#[derive(Debug)]
pub(super) struct CheckReport {
    pub(super) check: &'static str,
    pub(super) findings: Vec<CheckFinding>,
}

/// The number of findings of each level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FindingCounts {
    pub(super) passes: usize,
    pub(super) skips: usize,
    pub(super) warnings: usize,
    pub(super) failures: usize,
}

impl FindingCounts {
    pub(super) fn of(reports: &[CheckReport]) -> Self {
        let levels = reports.iter().flat_map(|report| &report.findings).map(|finding| finding.level);
        levels.fold(Self::default(), |mut counts, level| {
            let count = match level {
                FindingLevel::Pass => &mut counts.passes,
                FindingLevel::Skip => &mut counts.skips,
                FindingLevel::Warn => &mut counts.warnings,
                FindingLevel::Fail => &mut counts.failures,
            };
            *count += 1;
            counts
        })
    }
}

/// The findings for a program.
pub(super) fn as_json(reports: &[CheckReport], is_offline: bool) -> Value {
    let counts = FindingCounts::of(reports);
    let checks = reports.iter().map(|report| {
        let findings: Vec<_> = report.findings.iter().map(finding_json).collect();
        json!({ "check": report.check, "findings": findings })
    });
    json!({
        "version": 1,
        "ok": counts.failures == 0,
        "offline": is_offline,
        "passes": counts.passes,
        "skips": counts.skips,
        "warnings": counts.warnings,
        "failures": counts.failures,
        "checks": checks.collect::<Vec<_>>(),
    })
}

fn finding_json(finding: &CheckFinding) -> Value {
    json!({
        "level": finding.level,
        "message": finding.message,
        "why": finding.why,
        "fix": finding.fix,
        "file": finding.place.as_ref().map(|place| &place.file),
        "line": finding.place.as_ref().map(|place| place.line),
    })
}

/// The findings for people: the checks in their order, and a last line with the numbers.
pub(super) fn as_text(reports: &[CheckReport]) -> String {
    let shown = reports.iter().filter(|report| !report.findings.is_empty());
    let mut text: String = shown.map(|report| section(report) + "\n").collect();
    let FindingCounts { passes, skips, warnings, failures } = FindingCounts::of(reports);
    text.push_str(&format!(
        "{}, {}, {passes} ok{}",
        counted(failures, "failure"),
        counted(warnings, "warning"),
        if skips == 0 { String::new() } else { format!(", {skips} skipped") },
    ));
    text
}

fn section(report: &CheckReport) -> String {
    let mut text = format!("{}\n", report.check);
    for finding in &report.findings {
        // Servers have a part in messages, so that a message is one line.
        text.push_str(&format!("  {}  {}\n", finding.level.mark(), printable::line(&finding.message)));
        if let Some(why) = &finding.why {
            text.push_str(&format!("        why: {}\n", indented(why)));
        }
        let place = finding.place.as_ref().map(|place| format!("{}:{}", place.file, place.line));
        let fix = match (place, &finding.fix) {
            (Some(place), Some(fix)) => Some(format!("{place}: {fix}")),
            (Some(place), None) => Some(place).filter(|_| finding.level > FindingLevel::Skip),
            (None, fix) => fix.clone(),
        };
        if let Some(fix) = fix {
            text.push_str(&format!("        fix: {}\n", indented(&fix)));
        }
    }
    text
}

/// A text whose further lines are below the first.
fn indented(text: &str) -> String {
    text.replace('\n', "\n        ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::SettingPlace;

    fn reports() -> Vec<CheckReport> {
        let place = SettingPlace { file: "witgate.toml".to_owned(), line: 3 };
        let broken =
            CheckFinding::fail("`npx` is missing").because("no call works").fix("install it").at(Some(place));
        vec![
            CheckReport { check: "upstreams", findings: vec![CheckFinding::pass("`a` answers"), broken] },
            CheckReport { check: "clock", findings: Vec::new() },
        ]
    }

    #[test]
    fn people_read_the_mark_the_consequence_and_the_line_to_change() {
        assert_eq!(
            as_text(&reports()),
            "upstreams\n  ok    `a` answers\n  FAIL  `npx` is missing\n        why: no call works\n        \
             fix: witgate.toml:3: install it\n\n1 failure, 0 warnings, 1 ok"
        );
    }

    #[test]
    fn programs_read_the_same_members_of_each_finding() {
        let json = as_json(&reports(), true);
        assert_eq!(
            (&json["ok"], &json["failures"], &json["offline"]),
            (&json!(false), &json!(1), &json!(true))
        );
        assert_eq!(
            json["checks"][0]["findings"][1],
            json!({ "level": "fail", "message": "`npx` is missing", "why": "no call works", "fix": "install it",
                "file": "witgate.toml", "line": 3 })
        );
        assert_eq!(json["checks"][0]["findings"][0]["file"], Value::Null);
    }
}
