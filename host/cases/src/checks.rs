//! The checks of an answer: those of the case, and those for all policies.

use witgate_plugin::{ConfigError, Scheme, Wants};

use super::case::{HookQuestion, Step};
use super::format::{ConfigFault, ExpectedWants};
use super::report::{Finding, QuestionReport};
use crate::OutcomeText as _;
use witgate_component::output::{check_decision, check_verdict};
use witgate_policy::answer::Outcome;

/// Minimum length of a credential that is searched for in answers and log lines. A shorter one may occur by accident.
const SHORTEST: usize = 8;

/// Compares the result of a question with its step.
pub(super) fn step(step: &Step, asked: &QuestionReport) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !step.expect.is(&asked.outcome) {
        findings.push(Finding::new("answer", &step.expect.to_line(), &asked.outcome.to_line()));
    }
    findings.extend(asked.http.iter().cloned());
    findings.extend(log(step, asked));
    findings.extend(host_calls(step, asked));
    findings.extend(leak(&step.question.ask, asked));
    findings.extend(bounds(&asked.outcome));
    findings
}

/// Checks that the parts come one after the other. Other log lines may be between them.
fn log(step: &Step, asked: &QuestionReport) -> Option<Finding> {
    let mut lines = asked.observed.log().map(|(_, line)| line);
    let missing = step.log.iter().find(|part| !lines.any(|line| line.contains(part.as_str())))?;
    let logged: Vec<_> = asked.observed.log().map(|(_, line)| format!("{line:?}")).collect();
    let found = match logged.is_empty() {
        true => "nothing was logged".to_owned(),
        false => format!("the lines {}", logged.join(", ")),
    };
    Some(Finding::new("log", &format!("{missing:?}"), &found))
}

fn host_calls<'a>(step: &'a Step, asked: &'a QuestionReport) -> impl Iterator<Item = Finding> {
    step.host_calls.iter().filter_map(|(name, expected)| {
        let found = asked.observed.host_calls.get(name.as_str()).copied().unwrap_or(0);
        let times = |count: u64| format!("{name} {count} times");
        (found != *expected).then(|| Finding::new("host calls", &times(*expected), &times(found)))
    })
}

/// Checks that no answer and no log line contains the credential.
fn leak(ask: &HookQuestion, asked: &QuestionReport) -> Option<Finding> {
    let HookQuestion::Who { value, .. } = ask else { return None };
    // The secret part of a token is its signature.
    let last = value.rsplit('.').next().unwrap_or(value);
    let parts = [value.as_str(), last].into_iter().filter(|part| part.len() >= SHORTEST);
    let mut said = vec![("the answer", format!("{:?}", asked.outcome))];
    said.extend(asked.observed.log().map(|(_, line)| ("a log line", line.to_owned())));
    let leaky = parts.into_iter().find_map(|part| said.iter().find(|(_, text)| text.contains(part)))?;
    Some(Finding::new("secret", "no part of the credential", &format!("{} contains it", leaky.0)))
}

/// Checks the limits of the answer. Components are always checked; here built-ins are as well.
fn bounds(outcome: &Outcome) -> Option<Finding> {
    let checked = match outcome {
        Outcome::Verdict(verdict) => check_verdict(verdict),
        Outcome::Decision(decision) => check_decision(decision),
        Outcome::Failed(..) => Ok(()),
    };
    checked.err().map(|why| Finding::new("bounds", "an answer within the bounds", &why))
}

/// Compares the refusal of settings with the expected one.
pub(super) fn refusal(expected: &ConfigFault, error: &ConfigError) -> Vec<Finding> {
    let mut findings = Vec::new();
    if error.pointer != expected.pointer {
        findings.push(Finding::new(
            "settings",
            &at(&expected.pointer),
            &format!("{}: {}", at(&error.pointer), error.message),
        ));
    }
    if !error.message.contains(&expected.message) {
        findings.push(Finding::new(
            "settings",
            &format!("a message with {:?}", expected.message),
            &error.message,
        ));
    }
    if expected.never.as_ref().is_some_and(|never| error.message.contains(never)) {
        findings.push(Finding::new(
            "settings",
            "a message without the text in `never`",
            "a message that contains it",
        ));
    }
    findings
}

fn at(pointer: &str) -> String {
    match pointer {
        "" => "an error of the settings as a whole".to_owned(),
        pointer => format!("an error at {pointer}"),
    }
}

/// Compares the result of `configure` with the expected one.
pub(super) fn wants(wanted: &ExpectedWants, wants: &Wants) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut compare = |name: &str, expected: Option<String>, found: String| {
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            findings.push(Finding::new(
                "wants",
                &format!("{name} = {expected}"),
                &format!("{name} = {found}"),
            ));
        }
    };
    let ExpectedWants { schemes, credential_header, headers, arguments, meta, peer, claims } = wanted;
    let flags = [
        ("arguments", arguments, wants.data.arguments),
        ("meta", meta, wants.data.meta),
        ("peer", peer, wants.data.peer),
        ("claims", claims, wants.data.claims),
    ];
    for (name, expected, found) in flags {
        compare(name, expected.map(|flag| flag.to_string()), found.to_string());
    }
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort_unstable();
        format!("{names:?}")
    };
    let schemes_found: Vec<_> = wants.schemes.iter().map(|scheme| scheme_name(*scheme).to_owned()).collect();
    compare("schemes", schemes.as_deref().map(sorted), sorted(&schemes_found));
    compare("headers", headers.as_deref().map(sorted), sorted(&wants.headers));
    let header = wants.credential_header.as_ref();
    compare(
        "credential_header",
        credential_header.as_ref().map(|name| format!("{name:?}")),
        header.map_or_else(|| "none".to_owned(), |name| format!("{name:?}")),
    );
    findings
}

/// The name of the scheme in `credential`.
pub fn scheme_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Bearer => "bearer",
        Scheme::Basic => "basic",
        Scheme::Dpop => "dpop",
        Scheme::Header => "header",
        Scheme::Argument => "argument",
        Scheme::Certificate => "certificate",
    }
}
