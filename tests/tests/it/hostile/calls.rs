//! Every guest that becomes a policy, called once or a few times: each fails in its own way, the next call gets
//! another instance, and the good policy beside it is not affected.

use std::time::Duration;

use serde_json::json;
use witgate_tests::hostile::Guest;

use super::expectations::{End, Expected, case};
use super::is_clean;
use super::mixed_gateway::{MixedGateway, SECRET};
use crate::caller::Answer;

/// The longest that any call may take: the slowest limit on this page is a second, and machines are slow.
const BOUND: Duration = Duration::from_secs(15);

/// More than the gateway and the instances of all guests take together; each of those that multiply what they say
/// wants seven times as much.
const MEMORY_MIB: u64 = 1024;

/// The guests that become policies.
pub(super) fn callable() -> Vec<(Guest, &'static [(&'static str, End)])> {
    let calls = |guest: Guest| match case(guest).expected {
        Expected::Called(calls) => Some((guest, calls)),
        Expected::Refused(_) | Expected::RefusedLate(_) | Expected::NotCompiled | Expected::TakesOver => None,
    };
    Guest::ALL.into_iter().filter_map(calls).collect()
}

impl End {
    /// True if the answer is this one.
    pub(super) fn is(&self, answer: &Answer) -> bool {
        let outcome = (answer.status, answer.reason());
        match self {
            Self::Passes => outcome == (200, None),
            Self::Fails(reason) => outcome == (503, Some(reason)),
            Self::FailsAnyhow(reasons) => reasons.iter().any(|reason| outcome == (503, Some(reason))),
            // A denial that ends by itself is 429.
            Self::Denies(reason) => [403, 429].map(|status| (status, Some(*reason))).contains(&outcome),
            Self::Refuses(reason) => outcome == (401, Some(reason)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_hostile_component_fails_with_its_reason_and_harms_no_other() {
    let callable = callable();
    let gateway = MixedGateway::with(&callable.iter().map(|(guest, _)| *guest).collect::<Vec<_>>());
    let good = gateway.good();
    let mut findings = Vec::new();
    for (guest, calls) in callable {
        for (what, end) in calls {
            let (caller, tool) = gateway.hostile(guest, what);
            let answer = caller.call(&tool, json!({ "text": "mine" })).await;
            eprintln!(
                "{}, {what}: {} {:?} in {:?}",
                guest.name(),
                answer.status,
                answer.reason(),
                answer.took
            );
            if !end.is(&answer) || answer.took > BOUND {
                findings.push(format!("{}, {what}: {answer:?}", guest.name()));
            }
            assert!(!answer.body.to_string().contains(SECRET), "{}, {what}: {answer:?}", guest.name());
        }
        let answer = good.call("echo", json!({ "text": "mine" })).await;
        assert!(answer.is_result() && answer.took < BOUND, "after {}: {answer:?}", guest.name());
    }
    findings.extend(traces(&gateway));
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

/// The traces of the guests outside the answers.
fn traces(gateway: &MixedGateway) -> Vec<String> {
    let mut findings = Vec::new();
    let log = gateway.running.log();
    for line in log.lines().filter(|line| !is_clean(line)) {
        findings.push(format!("the log is not clean: {line:?}"));
    }
    for line in log.lines().filter(|line| line.starts_with("FORGED") || line.starts_with("INFO")) {
        findings.push(format!("the log has a line that is not the gateway's: {line:?}"));
    }
    // One logs them, the other writes them to its standard output.
    for policy in ["floods-log", "floods-stdout"] {
        let is_output = |line: &&str| {
            line.contains("witgate::plugin: FLOOD") && line.contains(&format!("policy=\"{policy}\""))
        };
        let flood = log.lines().filter(is_output).count();
        if !(1..=32).contains(&flood) {
            findings.push(format!("{flood} lines of one call of {policy} are in the log"));
        }
    }
    if log.contains(SECRET) {
        findings.push("a secret is in the log".to_owned());
    }
    let requests = gateway.server.requests();
    let floods = requests.iter().filter(|path| *path == "/flood").count();
    if floods > 4 || requests.iter().any(|path| path == "/large") {
        findings.push(format!("the server was asked {floods} times, or for too much: {requests:?}"));
    }
    if !gateway.elsewhere.requests().is_empty() {
        findings.push(format!("somebody went where nobody may: {:?}", gateway.elsewhere.requests()));
    }
    let (memory, files) = (gateway.peak_memory(), gateway.open_files());
    eprintln!("the gateway has taken {memory} MiB at most, and has {files} files open");
    if memory > MEMORY_MIB || files > 500 {
        findings.push(format!("the gateway has taken {memory} MiB and {files} files"));
    }
    findings
}
