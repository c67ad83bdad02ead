//! Permit → admitted. Off until limits are configured.

use std::sync::Arc;

use super::account::Account;
use super::authorize::Permit;
use witgate_runtime::memory::AnswerMemory;

/// Proof that a call may be forwarded now. An upstream takes nothing else.
#[derive(Debug)]
pub struct Admitted {
    permit: Arc<Permit>,
    session: Option<Box<str>>,
    account: Account,
}

impl Admitted {
    /// The permit that was admitted.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// The leave to answer with bytes that nobody looks at. None: the answer has to be filtered, message by message.
    pub fn unfiltered(&self) -> Option<RawAnswerPermit> {
        (!self.permit.request().call.needs_filtering()).then_some(RawAnswerPermit(()))
    }

    /// The memory for its answer.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The session that the caller names. Not yet known to be the caller's.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }
}

/// The leave to answer one call with bytes that nobody looks at. Only [`Admitted::unfiltered`] gives it.
#[derive(Debug)]
pub struct RawAnswerPermit(());

/// Admits a permitted call. The permit stays with the flow, too, which filters the answer by it.
pub fn admit(permit: Arc<Permit>, session: Option<Box<str>>, answers: &Arc<AnswerMemory>) -> Admitted {
    let account = Account::new(answers, &permit);
    Admitted { permit, session, account }
}
