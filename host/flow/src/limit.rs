//! The stage limit: Permit → Admitted. It takes one unit from each bucket that the call needs, or refuses the call and
//! takes nothing.

mod call_places;
mod needs;

use std::sync::Arc;

use super::account::Account;
use super::authorize::Permit;
use super::limit_hit::{ExhaustedBound, LimitHit};
use super::reject::Rejection;
use super::request::Request;
use super::token_issue::FreshToken;
use super::traces::TraceHeaders;
pub(super) use call_places::TASK;
pub use call_places::{ABANDONED, CANCELLED, CallPlaces, UnansweredCall};
use needs::{NeededBuckets, add_needs};
use witgate_config::pins::EntryKind;
use witgate_credentials::caller_token::CallerToken;
use witgate_message::call::{Access, Target};
use witgate_message::fault::MessageFault;
use witgate_plugin::TargetKind;
use witgate_policy::limits::{BucketKey, CallLimits, LimitRule};
use witgate_runtime::buckets::{Lack, NeededBucket, take_all};
use witgate_runtime::memory::AnswerMemory;

/// Proof that a call may be forwarded now. An upstream accepts nothing else.
#[derive(Debug)]
pub struct Admitted {
    permit: Arc<Permit>,
    session: Option<Box<str>>,
    account: Account,
    places: CallPlaces,
    trace: Option<TraceHeaders>,
    caller_token: Option<Arc<CallerToken>>,
    /// The request with the operator's own arguments. None: there are none.
    completed: Option<Arc<Request>>,
    /// The token that the call asks for.
    issued: Option<FreshToken>,
}

impl Admitted {
    /// The same, with a later permit of the same call. It keeps what it has taken.
    pub(super) fn renewed(self, permit: Arc<Permit>) -> Self {
        Self { permit, ..self }
    }

    /// The same, with the trace context for the upstream.
    pub(super) fn traced(self, trace: Option<TraceHeaders>) -> Self {
        Self { trace, ..self }
    }

    /// The trace context for the upstream. None: the call is not traced.
    pub fn trace(&self) -> Option<&TraceHeaders> {
        self.trace.as_ref()
    }

    /// The same, with the caller's token, from which the upstream's credential is made.
    pub(super) fn exchanging(self, caller_token: Option<Arc<CallerToken>>) -> Self {
        Self { caller_token, ..self }
    }

    /// The caller's token, if the upstream's credential is made from it.
    pub fn caller_token(&self) -> Option<&Arc<CallerToken>> {
        self.caller_token.as_ref()
    }

    /// The same, with the arguments that the operator sets in place of callers' credentials.
    ///
    /// # Errors
    /// If the call cannot have arguments.
    pub(super) fn completed(self) -> Result<Self, Rejection> {
        let request = self.permit.request();
        let Access::Target(Target { kind: TargetKind::Tool, name }) = request.call.access() else {
            return Ok(self);
        };
        let pipeline = self.permit.generation().pipeline(request.route.pipeline);
        let values = pipeline.injected_arguments(name);
        if values.is_empty() {
            return Ok(self);
        }
        let call = request.call.with_arguments(&values).ok_or_else(|| {
            MessageFault::InvalidParams("the tool needs an object as `arguments`".to_owned())
        })?;
        let completed = Some(Arc::new(request.asking(call)));
        Ok(Self { completed, ..self })
    }

    /// The same, with the token that the call asks for.
    pub(super) fn with_token(self, issued: Option<FreshToken>) -> Self {
        Self { issued, ..self }
    }

    /// The token that the call asks for, for its answer.
    pub fn issued_token(&self) -> Option<&FreshToken> {
        self.issued.as_ref()
    }

    /// The request for the server. It may contain secrets of the operator in its arguments, which the request of the
    /// permit does not: only that one is recorded.
    pub fn request(&self) -> &Arc<Request> {
        self.completed.as_ref().unwrap_or_else(|| self.permit.request())
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

    /// The places of the call among the running calls of its limits. An upstream that works on the call after its caller
    /// has gone away keeps a copy.
    pub fn places(&self) -> &CallPlaces {
        &self.places
    }

    /// The session that the caller names. It may not be theirs.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }
}

/// The permission to answer one call with unread bytes. Only [`Admitted::unfiltered`] returns it.
#[derive(Debug)]
pub struct RawAnswerPermit(());

/// Admits a permitted call. The flow keeps the permit as well, to filter the answer, and the places until the answer
/// has ended.
///
/// # Errors
/// `LimitReached`, or `Full` if the call needs too many buckets.
pub fn admit(
    permit: Arc<Permit>,
    session: Option<Box<str>>,
    answers: &Arc<AnswerMemory>,
) -> Result<(Admitted, CallPlaces), Rejection> {
    let places = take_places(&permit)?;
    let account = Account::new(answers, &permit);
    let admitted = Admitted {
        permit,
        session,
        account,
        places: places.clone(),
        trace: None,
        caller_token: None,
        completed: None,
        issued: None,
    };
    Ok((admitted, places))
}

/// Admits a list that Witgate itself asks for, while a call of the holder of `permit` waits. It takes nothing from the
/// limits, which count that call. None: it is no list.
pub(super) fn admit_own_list(
    permit: Arc<Permit>,
    session: Option<Box<str>>,
    answers: &Arc<AnswerMemory>,
) -> Option<Admitted> {
    let is_list = EntryKind::ALL.iter().any(|kind| kind.method() == permit.request().call.method());
    let (trace, caller_token, completed, issued, places) = Default::default();
    let account = Account::new(answers, &permit);
    is_list.then_some(Admitted { permit, session, account, places, trace, caller_token, completed, issued })
}

/// Takes what a call needs from the buckets of its limits.
///
/// # Errors
/// As [`admit`].
pub(super) fn take_places(permit: &Permit) -> Result<CallPlaces, Rejection> {
    let limits = permit.generation().limits();
    match limits.rules() {
        [] => Ok(CallPlaces::default()),
        _ => take(permit, limits),
    }
}

/// The names of the limits that count a call. Nothing is taken.
///
/// # Errors
/// `Full`, if the call needs too many buckets.
pub(super) fn counting(permit: &Permit) -> Result<Vec<Arc<str>>, Rejection> {
    let limits = permit.generation().limits();
    let mut needed = NeededBuckets::new();
    add_needs(permit, limits, &mut needed)?;
    let rules = needed.iter().filter_map(|bucket| rule_of(limits, bucket));
    let mut names: Vec<_> = rules.map(|rule| Arc::clone(&rule.name)).collect();
    names.dedup();
    Ok(names)
}

fn take(permit: &Permit, limits: &CallLimits) -> Result<CallPlaces, Rejection> {
    let mut needed = NeededBuckets::new();
    add_needs(permit, limits, &mut needed)?;
    if needed.is_empty() {
        return Ok(CallPlaces::default());
    }
    let party = || permit.caller().party(permit.request().peer);
    let taken = take_all(&needed, party, limits.tables().now());
    taken.map(CallPlaces::from).map_err(|(place, lack)| {
        match needed.get(place).and_then(|bucket| rule_of(limits, bucket)) {
            Some(rule) => Rejection::LimitReached(hit(rule, lack)),
            None => Rejection::RateLimited { retry_after: 1 },
        }
    })
}

/// The limit of a bucket.
fn rule_of<'a, N>(limits: &'a CallLimits, bucket: &NeededBucket<'_, BucketKey, N>) -> Option<&'a LimitRule> {
    limits.rules().iter().find(|rule| Arc::ptr_eq(&rule.table, bucket.table))
}

fn hit(rule: &LimitRule, lack: Lack) -> LimitHit {
    rule.table.count(lack);
    let bound = match (lack, rule.rate, rule.bounds.concurrent) {
        (Lack::Units(_), Some(rate), _) => ExhaustedBound::Rate { count: rate.count, period: rate.period },
        (Lack::Concurrent, _, Some(most)) => ExhaustedBound::Concurrent(most),
        _ => ExhaustedBound::Buckets,
    };
    LimitHit::new(&rule.name, bound, lack.wait())
}

#[cfg(test)]
mod tests {
    use witgate_config::limits::METHODS;
    use witgate_message::method::find;

    #[test]
    fn the_methods_that_limits_may_name_are_those_of_the_protocol() {
        let unknown = METHODS.into_iter().filter(|method| find(method).is_none());
        assert_eq!(unknown.collect::<Vec<_>>(), ["GET", "DELETE"]);
    }
}
