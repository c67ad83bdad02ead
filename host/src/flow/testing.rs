//! Helpers for the tests of the stages.

use std::sync::Arc;

use witgate_plugin::Identity;

use super::identity::Caller;
use crate::party::{ANONYMOUS, Party, Principal};

/// A caller of this name.
pub(crate) fn caller(subject: &str) -> Arc<Caller> {
    let identity = Identity { subject: subject.to_owned(), ..Identity::default() };
    Arc::new(Caller::new(identity, "keys".into()))
}

/// The principal of that caller.
pub(crate) fn principal(subject: &str) -> Principal {
    caller(subject).principal()
}

/// The party of that caller.
pub(crate) fn party(subject: &str) -> Party {
    caller(subject).party(None)
}

/// A caller without a credential.
pub(crate) fn anonymous() -> Caller {
    Caller::new(Identity::default(), ANONYMOUS.into())
}
