//! The log that gets definitions which are not approved.

use std::fmt;

use witgate_config::pins::{DefinitionVerdict, EntryKind};
use witgate_plugin::Digest;

/// A log of findings.
pub trait DefinitionLog: fmt::Debug + Send + Sync {
    /// Records a finding. `others` is the number of findings since the last one that were too many to be recorded.
    fn record(&self, finding: &DefinitionFinding<'_>, others: u64);
}

/// A definition that is not approved.
#[derive(Clone, Copy, Debug)]
pub struct DefinitionFinding<'a> {
    /// The upstream.
    pub upstream: &'a str,
    /// The kind of the entry.
    pub kind: EntryKind,
    /// The name of the entry, which nobody has checked.
    pub name: &'a str,
    /// The comparison with the approved definition.
    pub verdict: DefinitionVerdict,
    /// The digest of the approved definition. None: there is none.
    pub approved: Option<Digest>,
    /// The digest of the definition. None: it cannot be read.
    pub digest: Option<Digest>,
    /// True if the entry is neither listed nor callable.
    pub is_withheld: bool,
}
