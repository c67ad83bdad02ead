//! A token that is renewed before its end. There is one renewal for all callers, and it goes on if they go away, because
//! its answer may exist only once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use http::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::timeout;

use crate::caller_token::CallerToken;
use crate::fault::OutboundProblem;
use crate::held_token::{HeldToken, TokenForm};
use crate::token_source::{TokenOrder, TokenSource};
use witgate_base::digest::sha256;
use witgate_plugin::Digest;
use witgate_runtime::workers;

/// Maximum time of a renewal for its callers. That of a grant goes on, because its answer may exist only once.
const LONGEST_RENEWAL: Duration = Duration::from_secs(30);

/// Maximum time that a call waits for a token. Clients give up after some ten seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Minimum age of a token that is renewed because the server refuses it. Otherwise a server that refuses every token
/// would make each call ask the issuer.
const YOUNGEST: Duration = Duration::from_secs(10);

/// The pauses after failed renewals: the first one, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The time for which a failed read of the store is believed, so that not every call reads it.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// A token, and its renewal.
pub(crate) struct TokenKeeper {
    source: Arc<dyn TokenSource>,
    form: TokenForm,
    current: ArcSwapOption<HeldToken>,
    renewal: Mutex<RenewalState>,
    /// Tells that there is a new token.
    changed: Notify,
}

type StoredRead = Shared<BoxFuture<'static, Result<Option<Arc<HeldToken>>, OutboundProblem>>>;

type Renewal = Shared<BoxFuture<'static, Result<Arc<HeldToken>, OutboundProblem>>>;

#[derive(Default)]
struct RenewalState {
    running: Option<Renewal>,
    /// A read of the store alone.
    reading: Option<StoredRead>,
    failure: Option<RenewalFailure>,
    /// The failure of the last read.
    read_failure: Option<ReadFailure>,
    /// The number of times that the token was forgotten. A read or a renewal that began before does not bring it back.
    epoch: u64,
}

/// The last failures in a row.
#[derive(Clone, Debug)]
struct RenewalFailure {
    problem: OutboundProblem,
    pause: Duration,
    next_attempt: Instant,
}

/// A failed read of the store.
#[derive(Clone, Debug)]
struct ReadFailure {
    problem: OutboundProblem,
    next_attempt: Instant,
}

impl TokenKeeper {
    pub(crate) fn new(source: Arc<dyn TokenSource>, form: TokenForm) -> Arc<Self> {
        let (current, renewal, changed) = (ArcSwapOption::empty(), Mutex::default(), Notify::new());
        Arc::new(Self { source, form, current, renewal, changed })
    }

    /// Waits for the next token from now on.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// The token, if one lives that was read not long ago. It is renewed in the background before its end.
    pub(crate) fn at_hand(self: &Arc<Self>, caller: Option<&Arc<CallerToken>>) -> Option<Arc<HeldToken>> {
        let (held, now) = (self.current.load_full()?, Instant::now());
        if !held.is_alive(now) || held.is_unproven(now) {
            return None;
        }
        if now >= held.renewal {
            // Nobody waits for it.
            drop(self.renew(TokenOrder::of(caller)));
        }
        Some(held)
    }

    /// The token in memory, if it lives. Nobody is asked for another one.
    pub(crate) fn in_memory(&self) -> Option<Arc<HeldToken>> {
        self.current.load_full().filter(|held| held.is_alive(Instant::now()))
    }

    /// The account of the token, if it is known.
    pub(crate) fn account(&self) -> Option<Arc<str>> {
        self.current.load().as_ref()?.account.clone()
    }

    /// Uses a token from now on.
    fn keep(&self, held: Arc<HeldToken>) {
        self.current.store(Some(held));
        self.changed.notify_waiters();
    }

    /// Forgets the token, whose account is not connected any more.
    pub(crate) fn forget(&self) {
        self.forget_under(&mut self.renewal.lock());
    }

    fn forget_under(&self, state: &mut RenewalState) {
        state.epoch += 1;
        self.current.store(None);
    }

    /// The token, or a new one.
    ///
    /// # Errors
    /// If there is none in time.
    pub(crate) async fn token(
        self: &Arc<Self>,
        caller: Option<&Arc<CallerToken>>,
    ) -> Result<Arc<HeldToken>, OutboundProblem> {
        if let Some(held) = self.at_hand(caller) {
            return Ok(held);
        }
        match self.proven().await? {
            Some(held) => Ok(held),
            None => self.wait(TokenOrder::of(caller)).await,
        }
    }

    /// A token in place of the one with the value `refused`, which the server does not accept.
    ///
    /// # Errors
    /// If there is no other one, or none in time.
    pub(crate) async fn in_place_of(
        self: &Arc<Self>,
        refused: Option<&HeaderValue>,
        caller: Option<&Arc<CallerToken>>,
    ) -> Result<Arc<HeldToken>, OutboundProblem> {
        let is_refused = |held: &HeldToken| Some(&held.value) == refused;
        if let Some(held) = self.current.load_full() {
            let now = Instant::now();
            if !is_refused(&held) && held.is_alive(now) && !held.is_unproven(now) {
                return Ok(held);
            }
            if is_refused(&held) && held.since.elapsed() < YOUNGEST {
                return self.after_renewal(refused).await;
            }
        }
        // What is in memory or in the store may be another token, which the server has not seen.
        let order = TokenOrder { refused: refused.map(|value| self.digest(value)), ..TokenOrder::of(caller) };
        let mut held = self.wait(order.clone()).await?;
        // A renewal that had begun before did not know of the refusal, so it may have read the same token again.
        if is_refused(&held) && held.since.elapsed() >= YOUNGEST {
            held = self.wait(order).await?;
        }
        if is_refused(&held) { Err(OutboundProblem::Rejected) } else { Ok(held) }
    }

    /// The token after the renewal that runs, if there is one: an issuer may end the former token before its answer with
    /// the new one arrives.
    async fn after_renewal(&self, refused: Option<&HeaderValue>) -> Result<Arc<HeldToken>, OutboundProblem> {
        let running = self.renewal.lock().running.clone();
        if let Some(running) = running {
            // The token that is held afterwards counts.
            drop(timeout(PATIENCE, running).await);
        }
        let held = self.current.load_full().filter(|held| Some(&held.value) != refused);
        held.ok_or(OutboundProblem::Rejected)
    }

    /// A new token from the issuer, however good the current one is. It waits as long as a renewal takes.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) async fn renewed_now(self: &Arc<Self>) -> Result<(), OutboundProblem> {
        let held = match self.at_hand(None) {
            Some(held) => held,
            None => self.renew(TokenOrder::default()).await?,
        };
        let refused = Some(self.digest(&held.value));
        self.renew(TokenOrder { caller: None, refused }).await.map(drop)
    }

    /// The digest of the access token in a header value.
    fn digest(&self, value: &HeaderValue) -> Digest {
        let text = value.as_bytes();
        sha256(text.strip_prefix(self.form.prefix.as_bytes()).unwrap_or(text))
    }

    /// The token after a new read of the store, if only that read is missing. It does not depend on the issuer, so that a
    /// failing one does not take away a token that lives. None: it has to be renewed.
    async fn proven(self: &Arc<Self>) -> Result<Option<Arc<HeldToken>>, OutboundProblem> {
        let (current, now) = (self.current.load_full(), Instant::now());
        if !current.is_some_and(|held| held.is_alive(now) && held.is_unproven(now)) {
            return Ok(None);
        }
        let late = |_| Err(OutboundProblem::unreachable("the store does not answer in time".to_owned()));
        timeout(PATIENCE, self.read_again()).await.unwrap_or_else(late)
    }

    /// The running read, or a new one. Shortly after a failure, there is no new one.
    fn read_again(self: &Arc<Self>) -> StoredRead {
        let mut state = self.renewal.lock();
        if let Some(reading) = state.reading.as_ref().filter(|reading| reading.peek().is_none()) {
            return reading.clone();
        }
        if let Some(failure) = &state.read_failure
            && Instant::now() < failure.next_attempt
        {
            return std::future::ready(Err(failure.problem.clone())).boxed().shared();
        }
        let task = workers::background().spawn(Arc::clone(self).read(state.epoch));
        let lost = || Err(OutboundProblem::unreachable("the read has failed".to_owned()));
        let reading = async move { task.await.unwrap_or_else(|_| lost()) }.boxed().shared();
        state.reading = Some(reading.clone());
        reading
    }

    async fn read(self: Arc<Self>, epoch: u64) -> Result<Option<Arc<HeldToken>>, OutboundProblem> {
        let (former, asked) = (self.current.load_full(), Instant::now());
        let stored = self.source.stored().await;
        let mut state = self.renewal.lock();
        state.reading = None;
        if state.epoch != epoch {
            // It was read before somebody has logged out. A renewal reads it again.
            return Ok(None);
        }
        match self.current.load_full() {
            // A renewal has ended meanwhile, and knows more.
            Some(current) if !former.is_some_and(|former| Arc::ptr_eq(&former, &current)) => {
                return Ok(Some(current));
            }
            _ => {}
        }
        let read = match stored {
            Ok(Some(token)) => {
                HeldToken::new(&token, &self.form, asked).map(|read| Some(self.in_place(read)))
            }
            Ok(None) => Ok(None),
            Err(problem) => Err(problem),
        };
        self.note_read(&mut state, read.as_ref().err());
        match read {
            Ok(held) => {
                let held = held.map(Arc::new);
                held.iter().for_each(|held| self.keep(Arc::clone(held)));
                Ok(held)
            }
            Err(problem) => {
                if problem.needs_login() {
                    self.forget_under(&mut state);
                }
                Err(problem)
            }
        }
    }

    /// Notes the result of a read, and logs it if it is another one than before.
    fn note_read(&self, state: &mut RenewalState, problem: Option<&OutboundProblem>) {
        let former = state.read_failure.take().map(|failure| failure.problem);
        state.read_failure = problem.map(ReadFailure::new);
        let credential = &*self.form.credential;
        match problem {
            _ if problem == former.as_ref() => {}
            None => tracing::info!(credential, "the token can be read again"),
            // Each refused call says so.
            Some(problem @ OutboundProblem::NotConnected) => tracing::debug!(credential, %problem),
            Some(problem) => {
                tracing::warn!(credential, %problem, "the token cannot be read again, so it is not used")
            }
        }
    }

    /// A token that was only read: one that is due stays due.
    fn in_place(&self, read: HeldToken) -> HeldToken {
        match &*self.current.load() {
            Some(former) if former.value == read.value => {
                HeldToken { since: former.since, renewal: former.renewal, ..read }
            }
            _ => read,
        }
    }

    async fn wait(self: &Arc<Self>, order: TokenOrder) -> Result<Arc<HeldToken>, OutboundProblem> {
        let late = |_| Err(OutboundProblem::unreachable("no answer in time".to_owned()));
        timeout(PATIENCE, self.renew(order)).await.unwrap_or_else(late)
    }

    /// The running renewal, or a new one. During the pause after a failure, there is no new one.
    fn renew(self: &Arc<Self>, order: TokenOrder) -> Renewal {
        let mut state = self.renewal.lock();
        if let Some(running) = state.running.as_ref().filter(|running| running.peek().is_none()) {
            return running.clone();
        }
        if let Some(failure) = state.failure.as_ref().filter(|failure| Instant::now() < failure.next_attempt)
        {
            return std::future::ready(Err(failure.problem.clone())).boxed().shared();
        }
        // It clears `running` at its end, for which it needs the lock.
        let task = workers::background().spawn(Arc::clone(self).renewed(order, state.epoch));
        let lost = || Err(OutboundProblem::unreachable("the renewal has failed".to_owned()));
        let renewal = async move { task.await.unwrap_or_else(|_| lost()) }.boxed().shared();
        state.running = Some(renewal.clone());
        renewal
    }

    async fn renewed(
        self: Arc<Self>,
        order: TokenOrder,
        epoch: u64,
    ) -> Result<Arc<HeldToken>, OutboundProblem> {
        let late = |_| Err(OutboundProblem::unreachable("no answer in time".to_owned()));
        let (is_refused, asked) = (order.refused.is_some(), Instant::now());
        let issued = timeout(LONGEST_RENEWAL, self.source.issue(order)).await.unwrap_or_else(late);
        let held = issued.and_then(|token| HeldToken::new(&token, &self.form, asked));
        let held = held.map(|held| Arc::new(if is_refused { held } else { self.with_its_age(held) }));
        let mut state = self.renewal.lock();
        state.running = None;
        if state.epoch != epoch {
            // It may belong to a former login.
            return held.and(Err(OutboundProblem::unreachable("the login has changed meanwhile".to_owned())));
        }
        let credential = &*self.form.credential;
        match &held {
            Ok(held) => {
                self.keep(Arc::clone(held));
                if state.failure.take().is_some() {
                    tracing::info!(credential, "there is a token again");
                }
            }
            Err(problem) => {
                let failure = RenewalFailure::after(state.failure.as_ref(), problem);
                match problem {
                    // Each refused call says so.
                    OutboundProblem::NotConnected => tracing::debug!(credential, %problem),
                    _ => {
                        tracing::warn!(credential, %problem, pause = ?failure.pause, "there is no new token")
                    }
                }
                state.failure = Some(failure);
                if problem.needs_login() {
                    self.forget_under(&mut state);
                }
            }
        }
        held
    }

    /// A token that was only read again is as old as before. If it was refused, its age counts from now on, because its
    /// issuer has just confirmed it.
    fn with_its_age(&self, held: HeldToken) -> HeldToken {
        match &*self.current.load() {
            Some(former) if former.value == held.value => HeldToken { since: former.since, ..held },
            _ => held,
        }
    }
}

impl RenewalFailure {
    fn after(last: Option<&Self>, problem: &OutboundProblem) -> Self {
        let (first, longest) = PAUSES;
        // A login helps at once, and no issuer was asked.
        let is_local = problem.needs_login() || *problem == OutboundProblem::Rejected;
        let last = last.filter(|_| !is_local);
        let pause = last.map_or(first, |last| (last.pause * 2).min(longest));
        Self { problem: problem.clone(), pause, next_attempt: Instant::now() + pause }
    }
}

impl ReadFailure {
    fn new(problem: &OutboundProblem) -> Self {
        Self { problem: problem.clone(), next_attempt: Instant::now() + READ_PAUSE }
    }
}

#[cfg(test)]
mod tests;
