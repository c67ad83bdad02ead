//! A call to a gateway that may lack resources, repeated until it shows a change.

use std::time::Duration;

use crate::stress::caller::{Caller, Door};
use crate::stress::state::Verdict;

/// Time after which a change counts as lost. A component is compiled in seconds, on a busy machine in a minute.
pub(super) const LOST: Duration = Duration::from_secs(150);

/// Pause between two checks whether a change is in force.
pub(super) const GLANCE: Duration = Duration::from_millis(10);

/// The verdict of an answer, on a new connection if the last one broke. None: there is no answer just now.
pub(super) fn call(caller: &mut Option<Caller>, door: &Door, tool: &str) -> Option<Verdict> {
    let mut connected = match caller.take() {
        Some(caller) => caller,
        None => Caller::connect(door).ok()?,
    };
    let verdict = connected.call(tool).and_then(|answer| answer.verdict()).ok()?;
    *caller = Some(connected);
    Some(verdict)
}
