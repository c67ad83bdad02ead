//! The difference between the access that two sets of policies give.

use serde_json::{Value, json};

/// The changes of generations that are named.
pub(crate) const NAMED: usize = 3;

/// A principal's access to one target that differs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AccessChange {
    pub(crate) upstream: String,
    /// The kind of the principal, such as `key`.
    pub(crate) kind: &'static str,
    pub(crate) principal: String,
    /// The target, as patterns write it.
    pub(crate) target: String,
    /// The arguments for which the access differs. None among them: a call without arguments.
    pub(crate) arguments: Vec<Option<Value>>,
    /// The policy and the reason of the side that refuses.
    pub(crate) refusal: String,
}

/// The difference between two sets of policies.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AccessDifference {
    /// The access that the new policies give and the old ones do not, as far as there was room.
    pub(crate) gained: Vec<AccessChange>,
    /// The access that the old policies give and the new ones do not, as far as there was room.
    pub(crate) lost: Vec<AccessChange>,
    /// The numbers of all differences.
    pub(crate) counts: DifferenceCounts,
    /// The extent of the questions.
    pub(crate) extent: ComparisonExtent,
    /// The parts that were left out, in sentences. Empty: the comparison is complete.
    pub(crate) left_out: Vec<String>,
}

/// Numbers of differences: pairs of a principal and a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DifferenceCounts {
    pub(crate) gained: usize,
    pub(crate) lost: usize,
}

/// The extent of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ComparisonExtent {
    pub(crate) principals: usize,
    pub(crate) targets: usize,
    /// The questions that were asked of both sides.
    pub(crate) questions: u64,
}

/// The comparison of the live generation with an earlier one.
#[derive(Clone, Debug)]
pub(crate) struct GenerationDifference {
    /// The number of the earlier generation.
    pub(crate) before: u64,
    /// The number of the live one.
    pub(crate) generation: u64,
    /// The difference, or the reason why it is not known.
    pub(crate) outcome: Result<AccessDifference, String>,
}

impl AccessChange {
    /// The change in one line, such as ``key `ada`: `pay` at `bank` with {"amount":20}``.
    pub(crate) fn line(&self) -> String {
        let Self { upstream, kind, principal, target, .. } = self;
        let with = match self.arguments.first() {
            Some(Some(arguments)) => format!(" with {arguments}"),
            _ => String::new(),
        };
        format!("{kind} `{principal}`: `{target}` at `{upstream}`{with}")
    }

    /// The change for a program.
    pub(crate) fn to_json(&self) -> Value {
        let Self { upstream, kind, principal, target, arguments, refusal } = self;
        json!({
            "upstream": upstream, "kind": kind, "principal": principal, "target": target,
            "arguments": arguments, "refusal": refusal,
        })
    }
}

impl AccessDifference {
    /// True if everything was compared.
    pub(crate) fn is_complete(&self) -> bool {
        self.left_out.is_empty()
    }

    /// True if everything was compared, and nothing differs.
    pub(crate) fn is_none(&self) -> bool {
        self.counts == DifferenceCounts::default() && self.is_complete()
    }

    /// True if nothing was gained, as far as is known.
    pub(crate) fn gains_nothing(&self) -> bool {
        self.counts.gained == 0
    }

    /// The numbers in words: `2 gained, 1 lost`.
    pub(crate) fn summary(&self) -> String {
        let DifferenceCounts { gained, lost } = self.counts;
        format!("{gained} gained, {lost} lost")
    }

    /// The first changes, each in a line: those gained before those lost.
    pub(crate) fn examples(&self, most: usize) -> Vec<String> {
        let gained = self.gained.iter().map(|change| format!("gained: {}", change.line()));
        let lost = self.lost.iter().map(|change| format!("lost: {}", change.line()));
        gained.chain(lost).take(most).collect()
    }
}
