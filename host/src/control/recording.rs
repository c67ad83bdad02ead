//! Recordings for clients of the control socket. The log says that a recording runs, and for which client.

use std::sync::Arc;
use std::time::Duration;

use super::ControlClient;
use super::protocol::{self, ReportedCase, StoppedRecording};
use witgate_base::digest::digest_text;
use witgate_cases::record::{self, Recording, RecordingBounds, RecordingResult};
use witgate_policy::Policy;
use witgate_policy::generation::{Generation, Generations};

/// The most calls of one recording.
const MOST_CALLS: u64 = 100_000;

/// The longest recording, in seconds: an hour.
const LONGEST_S: u64 = 3_600;

/// The bounds of a recording, checked.
///
/// # Errors
/// When a bound is zero or too large.
pub(crate) fn bounds(calls: u64, seconds: u64, claims: bool) -> Result<RecordingBounds, String> {
    if !(1..=MOST_CALLS).contains(&calls) || !(1..=LONGEST_S).contains(&seconds) {
        return Err(format!("a recording takes 1 to {MOST_CALLS} calls and 1 to {LONGEST_S} seconds"));
    }
    Ok(RecordingBounds { calls, time: Duration::from_secs(seconds), claims })
}

/// Records the live policy of that name.
///
/// # Errors
/// When there is none, or it cannot be recorded.
pub(crate) async fn record(
    generations: &Generations,
    name: &str,
    bounds: RecordingBounds,
    client: ControlClient,
) -> Result<protocol::RecordingReport, String> {
    let live = generations.live();
    let policy = find(&live, name)?;
    let is_live = || Arc::ptr_eq(&generations.live(), &live);
    let recording = Recording::start(policy).map_err(|error| error.to_string())?;
    let notice = RecordingNotice::start(name, client);
    let recorded = recording.run(bounds, is_live).await;
    drop(notice);
    Ok(answer(policy, recorded))
}

/// Ends the recording of the live policy of that name.
///
/// # Errors
/// When there is none.
pub(crate) fn stop(generations: &Generations, name: String) -> Result<StoppedRecording, String> {
    match find(&generations.live(), &name)?.stop_recording() {
        true => Ok(StoppedRecording { stopped: name }),
        false => Err(format!("the policy `{name}` is not being recorded")),
    }
}

fn find<'g>(live: &'g Generation, name: &str) -> Result<&'g Arc<Policy>, String> {
    live.policy(name).ok_or_else(|| {
        let known: Vec<_> = live.policies().map(|policy| policy.name().to_string()).collect();
        format!("no pipeline has a policy `{name}`; there are: {}", known.join(", "))
    })
}

/// Log lines at the start and at the end of a recording.
struct RecordingNotice<'n> {
    name: &'n str,
    client: ControlClient,
}

impl<'n> RecordingNotice<'n> {
    fn start(name: &'n str, client: ControlClient) -> Self {
        let ControlClient { uid, pid } = client;
        tracing::warn!(policy = name, uid, pid, "RECORDING: the calls of the policy are being recorded");
        Self { name, client }
    }
}

impl Drop for RecordingNotice<'_> {
    fn drop(&mut self) {
        let ControlClient { uid, pid } = self.client;
        tracing::warn!(policy = self.name, uid, pid, "RECORDING: it has ended");
    }
}

fn answer(policy: &Policy, recorded: RecordingResult) -> protocol::RecordingReport {
    let RecordingResult { settings, cases, calls, shed, left_out, ended } = recorded;
    let case = |record::RecordedCase { name, times, case }| ReportedCase { name, times, case };
    protocol::RecordingReport {
        policy: policy.name().to_string(),
        digest: policy.digest().as_ref().map(digest_text),
        settings,
        cases: cases.into_iter().map(case).collect(),
        calls,
        shed,
        left_out,
        ended: ended.to_owned(),
    }
}
