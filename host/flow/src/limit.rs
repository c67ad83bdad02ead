//! The stage limit: Permit → Admitted. It admits every call, because there are no limits yet.

use std::sync::Arc;

use super::account::Account;
use super::authorize::Permit;
use super::traces::TraceHeaders;
use witgate_runtime::memory::AnswerMemory;

/// Proof that a call may be forwarded now. An upstream accepts nothing else.
#[derive(Debug)]
pub struct Admitted {
    permit: Arc<Permit>,
    session: Option<Box<str>>,
    account: Account,
    trace: Option<TraceHeaders>,
}

impl Admitted {
    /// The same, with the trace context for the upstream.
    pub(super) fn traced(self, trace: Option<TraceHeaders>) -> Self {
        Self { trace, ..self }
    }

    /// The trace context for the upstream. None: the call is not traced.
    pub fn trace(&self) -> Option<&TraceHeaders> {
        self.trace.as_ref()
    }

    /// The permit that was admitted.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// The permission to answer with unread bytes. None: the answer has to be filtered message by message.
    pub fn unfiltered(&self) -> Option<RawAnswerPermit> {
        (!self.permit.request().call.needs_filtering()).then_some(RawAnswerPermit(()))
    }

    /// The memory for the answer.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The session that the caller names. It may not be theirs.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }
}

/// The permission to answer one call with unread bytes. Only [`Admitted::unfiltered`] returns it.
#[derive(Debug)]
pub struct RawAnswerPermit(());

/// Admits a permitted call. The flow keeps the permit as well, to filter the answer.
pub fn admit(permit: Arc<Permit>, session: Option<Box<str>>, answers: &Arc<AnswerMemory>) -> Admitted {
    let account = Account::new(answers, &permit);
    Admitted { permit, session, account, trace: None }
}
