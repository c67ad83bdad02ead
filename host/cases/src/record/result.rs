//! The result of a recording.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The result of a recording.
#[derive(Clone, Debug)]
pub struct RecordingResult {
    /// The settings of the policy, without secrets.
    pub settings: Map<String, Value>,
    /// The cases, in the order of their first occurrence.
    pub cases: Vec<RecordedCase>,
    /// The number of recorded calls.
    pub calls: u64,
    /// The number of calls that were left out because they came too fast.
    pub shed: u64,
    /// The calls that cannot be repeated: the reasons, with their numbers.
    pub left_out: BTreeMap<String, u64>,
    /// The reason for its end.
    pub ended: &'static str,
}

/// A case, and its number of occurrences.
#[derive(Clone, Debug)]
pub struct RecordedCase {
    /// The case in the form of a file, without its name.
    pub case: Map<String, Value>,
    /// The title of the case.
    pub name: String,
    /// The number of times.
    pub times: u64,
}
