//! The report of a run as text.

use std::time::Duration;

use witgate_plugin::Level;

use super::coverage::Coverage;
use super::play::{PlayResult, PlayedCase};
use crate::cli::terminal::counted;
use witgate_base::printable::clean;
use witgate_cases::OutcomeText as _;
use witgate_cases::{QuestionReport, Report, StepReport};

/// The report of a case: a line, and the faults if there are any.
pub(super) fn case(played: &PlayedCase) -> String {
    let PlayedCase { file, report, differences, .. } = played;
    let good = report.passed() && differences.is_empty();
    let mut lines = vec![format!(
        "{} {}:{}  {}  {}  ({})",
        if good { "ok  " } else { "FAIL" },
        file.display(),
        report.line,
        clean(&report.name),
        answers(report),
        used(&report.steps.iter().map(|step| &step.asked).collect::<Vec<_>>())
    )];
    lines.extend(report.findings.iter().flat_map(finding));
    if !report.passed() {
        let several = report.steps.len() > 1;
        let bad = (1..).zip(&report.steps).filter(|(_, step)| !step.findings.is_empty());
        lines.extend(bad.flat_map(|(number, step)| of_step(several.then_some(number), step)));
    }
    for difference in differences {
        let at = difference.step.map_or_else(|| "settings".to_owned(), |step| format!("step {step}"));
        lines.push(format!("       {at} differs"));
        lines.push(format!("         this one   {}", difference.own));
        lines.push(format!("         the other  {}", difference.other));
    }
    lines.join("\n")
}

/// The answers, in the words that cases use.
fn answers(report: &Report) -> String {
    let mut texts: Vec<String> = Vec::new();
    for step in &report.steps {
        let (answer, reason) = step.asked.outcome.class();
        let text = reason.map_or_else(|| answer.to_owned(), |reason| format!("{answer} {}", clean(reason)));
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.is_empty() {
        true => "settings refused".to_owned(),
        false => texts.join(", "),
    }
}

/// The used resources: the longest step for the guest's own time, the sum of the steps for wall-clock time.
pub(in crate::cli::plugin) fn used(steps: &[&QuestionReport]) -> String {
    let seen = || steps.iter().map(|asked| &asked.observed);
    let ticks = seen().map(|seen| seen.ticks).max().unwrap_or(0);
    let memory = seen().map(|seen| seen.memory).max().unwrap_or(0);
    let calls: u64 = seen().flat_map(|seen| seen.host_calls.values()).sum();
    let wall: Duration = steps.iter().map(|asked| asked.wall).sum();
    let memory = match memory {
        0 => String::new(),
        bytes => format!(", {} KiB", bytes >> 10),
    };
    let calls = counted(usize::try_from(calls).unwrap_or(usize::MAX), "host call");
    format!("{ticks} ms of guest time, {} µs{memory}, {calls}", wall.as_micros())
}

fn of_step(number: Option<usize>, step: &StepReport) -> Vec<String> {
    let mut lines: Vec<String> = number.map(|number| format!("       step {number}")).into_iter().collect();
    lines.extend(step.findings.iter().flat_map(finding));
    let observed = &step.asked.observed;
    let logged: Vec<_> =
        observed.log().map(|(level, line)| format!("         {}: {line}", level_name(level))).collect();
    if !logged.is_empty() {
        lines.push("       it logged".to_owned());
        lines.extend(logged);
    }
    lines
}

fn finding(finding: &witgate_cases::Finding) -> [String; 3] {
    [
        format!("       {}", finding.what),
        format!("         expected   {}", finding.expected),
        format!("         found      {}", finding.found),
    ]
}

/// The level's name in the WIT package.
pub(in crate::cli::plugin) fn level_name(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

/// The last lines of the report.
pub(super) fn summary(played: &PlayResult, took: Duration) -> String {
    let all = played.cases.len();
    let failed = played.cases.iter().filter(|case| !case.report.passed()).count();
    let differ = played.cases.iter().filter(|case| !case.differences.is_empty()).count();
    let against =
        if differ > 0 { format!(", {differ} answered differently by the other") } else { String::new() };
    format!(
        "\n{}\n{}, {} passed, {failed} failed{against}; {} ms",
        Coverage::of(&played.cases).text(),
        counted(all, "case"),
        all - failed,
        took.as_millis()
    )
}
