//! The result of a recording.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The result of a recording.
#[derive(Clone, Debug)]
pub struct RecordingResult {
    /// The settings of the policy, without secrets.
    pub settings: Map<String, Value>,
    /// The cases, in the order in which each was first seen.
    pub cases: Vec<RecordedCase>,
    /// The number of recorded calls.
    pub calls: u64,
    /// The number of calls that were left out because they came faster than they could be written down.
    pub shed: u64,
    /// Calls that cannot be asked again: why, and how many.
    pub left_out: BTreeMap<String, u64>,
    /// The reason for its end.
    pub ended: &'static str,
}

/// A case, and how often it was seen.
#[derive(Clone, Debug)]
pub struct RecordedCase {
    /// As a file of cases has it, but for its name.
    pub case: Map<String, Value>,
    /// The title of the case.
    pub name: String,
    /// The number of times.
    pub times: u64,
}
