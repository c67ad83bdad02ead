//! The report for CI systems: JUnit's XML.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::play::{PlayResult, PlayedCase};
use super::report;
use crate::cli::outcome::CommandFailure;
use witgate_base::printable;

/// Writes the report to `file`.
pub(super) fn write(file: &Path, played: &PlayResult) -> Result<(), CommandFailure> {
    let unwritten =
        |error| CommandFailure::new(format!("the report {} cannot be written: {error}", file.display()));
    fs::write(file, report(played)).map_err(unwritten)
}

fn report(played: &PlayResult) -> String {
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n".to_owned();
    for suite in played.cases.chunk_by(|one, next| one.file == next.file) {
        let failures = suite.iter().filter(|case| is_bad(case)).count();
        let name = suite.first().map(|case| case.file.display().to_string()).unwrap_or_default();
        let seconds: f64 = suite.iter().map(seconds).sum();
        // Writing to a string cannot fail.
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" time=\"{seconds:.6}\">",
            escaped(&name),
            suite.len()
        );
        suite.iter().for_each(|case| add(&mut xml, case));
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn add(xml: &mut String, played: &PlayedCase) {
    let file = escaped(&played.file.display().to_string());
    let _ = write!(
        xml,
        "    <testcase name=\"{}\" classname=\"{file}\" file=\"{file}\" line=\"{}\" time=\"{:.6}\"",
        escaped(&played.report.name),
        played.report.line,
        seconds(played)
    );
    if !is_bad(played) {
        xml.push_str("/>\n");
        return;
    }
    let differs = played.differences.first().map(|it| format!("the other one answers {}", it.other));
    let message = played.report.problems().into_iter().next().or(differs).unwrap_or_default();
    let text = report::case(played);
    let _ = writeln!(
        xml,
        ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>",
        escaped(&message),
        escaped(&text)
    );
}

fn is_bad(played: &PlayedCase) -> bool {
    !played.report.passed() || !played.differences.is_empty()
}

fn seconds(played: &PlayedCase) -> f64 {
    let wall: Duration = played.report.steps.iter().map(|step| step.asked.wall).sum();
    wall.as_secs_f64()
}

/// Text for XML 1.0, which has no place for most control characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable::lines(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}
