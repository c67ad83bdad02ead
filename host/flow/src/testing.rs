//! Helpers for the tests of the stages.

use std::sync::Arc;

use witgate_plugin::Identity;

use super::identity::Caller;
use witgate_base::party::{ANONYMOUS, Party, Principal};

/// A caller of this name.
pub fn caller(subject: &str) -> Arc<Caller> {
    let identity = Identity { subject: subject.to_owned(), ..Identity::default() };
    Arc::new(Caller::new(identity, "keys".into()))
}

/// The principal of that caller.
pub fn principal(subject: &str) -> Principal {
    caller(subject).principal()
}

/// The party of that caller.
pub fn party(subject: &str) -> Party {
    caller(subject).party(None)
}

/// A caller without a credential.
pub fn anonymous() -> Caller {
    Caller::new(Identity::default(), ANONYMOUS.into())
}
