//! The log that gets the disagreements of shadow policies.

use std::fmt;

use super::decision::DecisionId;
use witgate_policy::Disagreement;

/// A log of disagreements.
pub trait DisagreementLog: fmt::Debug + Send + Sync {
    /// Records that the shadow policy `policy` of a generation would have decided otherwise about the message `id`.
    fn record(&self, id: DecisionId, generation: u64, policy: &str, disagreement: &Disagreement);
}
