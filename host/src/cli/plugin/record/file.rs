//! A recording as a file of cases that people can read.

use serde_json::{Map, Value};

use crate::cli::outcome::CommandFailure;
use crate::control::protocol::{RecordingReport, ReportedCase};

/// The members of a case, in their order in the file.
const ORDER: [&str; 22] = [
    "policy",
    "now",
    "upstream",
    "audience",
    "call",
    "method",
    "listing",
    "stdio",
    "arguments_text",
    "meta",
    "headers",
    "peer",
    "credential",
    "digest",
    "principal",
    "proven",
    "annotations",
    "cache",
    "http",
    "verify",
    "log",
    "expect",
];

/// The members that go to the head of the file if all cases agree on them.
const SHARED: [&str; 2] = ["upstream", "audience"];

/// A number of calls: "1 call", "2 calls".
pub(super) fn counted_calls(calls: u64) -> String {
    format!("{calls} call{}", if calls == 1 { "" } else { "s" })
}

/// The text of the file.
pub(super) fn text(recording: &RecordingReport) -> Result<String, CommandFailure> {
    let mut head = recording.settings.clone();
    let shared = shared(&recording.cases);
    head.extend(shared.clone());
    head.retain(|_, value| value.as_object().is_none_or(|members| !members.is_empty()));
    let mut text = comment(recording);
    text.push_str(&toml::to_string(&head).map_err(|error| unwritable(&error))?);
    for (number, seen) in (1..).zip(&recording.cases) {
        text.push_str(&case(number, seen, &shared)?);
    }
    Ok(text)
}

fn comment(recording: &RecordingReport) -> String {
    let RecordingReport { policy, calls, left_out, shed, .. } = recording;
    let mut text = format!(
        "# Recorded by `witgate plugin record` from the policy `{policy}`: {}.\n\
         # Credentials and secrets are stand-ins; subjects, roles, scopes and targets are not.\n",
        counted_calls(*calls)
    );
    for (why, count) in left_out {
        text.push_str(&format!("# Left out: {count}, because {why}.\n"));
    }
    if *shed > 0 {
        text.push_str(&format!(
            "# Not recorded: {shed}, which came faster than they could be written down.\n"
        ));
    }
    text.push('\n');
    text
}

/// The members on which all cases agree.
fn shared(cases: &[ReportedCase]) -> Map<String, Value> {
    let alike = |name: &&str| {
        let first = cases.first()?.case.get(*name)?;
        let all = cases.iter().all(|seen| seen.case.get(*name) == Some(first));
        all.then(|| ((*name).to_owned(), first.clone()))
    };
    SHARED.iter().filter_map(alike).collect()
}

fn case(number: usize, seen: &ReportedCase, shared: &Map<String, Value>) -> Result<String, CommandFailure> {
    let times = match seen.times {
        1 => "once".to_owned(),
        times => format!("{times} times"),
    };
    let name = Value::String(format!("{number}. {} ({times})", seen.name));
    let mut text = format!("\n[[case]]\nname = {}\n", inline(&name)?);
    let rest = seen.case.keys().map(String::as_str).filter(|name| !ORDER.contains(name));
    for name in ORDER.into_iter().chain(rest).filter(|name| !shared.contains_key(*name)) {
        if let Some(value) = seen.case.get(name) {
            text.push_str(&format!("{name} = {}\n", inline(value)?));
        }
    }
    Ok(text)
}

/// A value on one line.
fn inline(value: &Value) -> Result<String, CommandFailure> {
    let value = toml::Value::try_from(value).map_err(|error| unwritable(&error))?;
    Ok(value.to_string())
}

fn unwritable(error: &toml::ser::Error) -> CommandFailure {
    CommandFailure::new(format!("the recording cannot be written as cases: {error}; nothing was written"))
}
