//! The id of one message, in the audit and for the upstream. It is not secret, and a caller cannot choose it, unlike a
//! trace id.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderName, HeaderValue};

/// The id of the decision about one message: 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DecisionId(u128);

/// The header of a response with the id.
pub const DECISION_HEADER: HeaderName = HeaderName::from_static("witgate-decision");

impl DecisionId {
    /// The header of a response with this id.
    pub fn header(self) -> (HeaderName, HeaderValue) {
        // Hexadecimal digits are always a valid value.
        let value = HeaderValue::try_from(self.to_string());
        (DECISION_HEADER, value.unwrap_or(HeaderValue::from_static("")))
    }

    /// The id as a number.
    pub(super) fn number(self) -> u128 {
        self.0
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Generates consecutive ids. A random half distinguishes those of other upstreams, processes and starts.
#[derive(Debug)]
pub struct DecisionIds {
    random: u64,
    next: AtomicU64,
}

impl Default for DecisionIds {
    fn default() -> Self {
        Self { random: RandomState::new().build_hasher().finish(), next: AtomicU64::default() }
    }
}

impl DecisionIds {
    /// The next id.
    pub fn next(&self) -> DecisionId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        DecisionId(u128::from(self.random) << 64 | u128::from(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique() {
        let (some, others) = (DecisionIds::default(), DecisionIds::default());
        let all = [some.next(), some.next(), others.next(), others.next()];
        let texts: std::collections::BTreeSet<_> = all.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 4);
        assert!(texts.iter().all(|text| text.len() == 32 && !text.contains(char::is_uppercase)));
    }
}
