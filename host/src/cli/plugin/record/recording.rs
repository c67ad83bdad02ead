//! The answer to the request for a recording.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// The recording of the running Witgate.
#[derive(Debug, Deserialize)]
pub(super) struct Recording {
    pub(super) policy: String,
    /// The component's. None: the built-in decides.
    pub(super) digest: Option<String>,
    pub(super) settings: Map<String, Value>,
    pub(super) cases: Vec<RecordedCase>,
    pub(super) calls: u64,
    pub(super) shed: u64,
    pub(super) left_out: BTreeMap<String, u64>,
    pub(super) ended: String,
}

/// A case, and how often it was seen.
#[derive(Debug, Deserialize)]
pub(super) struct RecordedCase {
    pub(super) name: String,
    pub(super) times: u64,
    pub(super) case: Map<String, Value>,
}

/// "1 call", "2 calls".
pub(super) fn counted_calls(calls: u64) -> String {
    format!("{calls} call{}", if calls == 1 { "" } else { "s" })
}
