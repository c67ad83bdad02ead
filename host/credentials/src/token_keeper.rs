//! A token that is renewed before its end. There is one renewal for all callers, and it goes on if they go away, because
//! its answer may exist only once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use http::HeaderValue;
use parking_lot::Mutex;
use secrecy::ExposeSecret as _;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::caller_token::CallerToken;
use crate::fault::OutboundProblem;
use crate::token_answer::AccessToken;
use witgate_runtime::workers;

/// Maximum time of a renewal for its callers. That of a grant goes on, because its answer may exist only once.
const LONGEST_RENEWAL: Duration = Duration::from_secs(30);

/// Maximum time that a call waits for a token. Clients give up after some ten seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Minimum age of a token that is renewed because the server refuses it. Otherwise a server that refuses every token
/// would make each call ask the issuer.
const YOUNGEST: Duration = Duration::from_secs(10);

/// The lifetime of a token whose issuer names none. Most issue tokens for an hour.
const USUAL_LIFETIME: Duration = Duration::from_secs(3600);

/// The pauses after failed renewals: the first one, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// An issuer of tokens.
pub(crate) trait TokenSource: Send + Sync + 'static {
    /// A new token.
    fn issue(&self, order: TokenOrder) -> BoxFuture<'static, Result<AccessToken, OutboundProblem>>;

    /// The living token in the store, if others may change it there. No issuer is asked. None: it has to be renewed.
    fn stored(&self) -> BoxFuture<'static, Result<Option<AccessToken>, OutboundProblem>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// The order of a token.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenOrder {
    /// The caller whose token is exchanged.
    pub(crate) caller: Option<Arc<CallerToken>>,
    /// True if the server refuses the token before.
    pub(crate) is_refused: bool,
}

impl TokenOrder {
    fn of(caller: Option<&Arc<CallerToken>>) -> Self {
        Self { caller: caller.cloned(), is_refused: false }
    }
}

/// The form of a token in requests, and the time of its renewal.
#[derive(Clone, Debug)]
pub(crate) struct TokenForm {
    /// The name of the credential, for the log.
    pub(crate) credential: Arc<str>,
    /// The text before the token.
    pub(crate) prefix: String,
    /// The time before its end.
    pub(crate) refresh_before: Duration,
    /// The time after which its source is asked again in any case, because others may change it. A token that was read
    /// two such times ago is not used before it is read again.
    pub(crate) recheck: Option<Duration>,
}

/// A token, and its renewal.
pub(crate) struct TokenKeeper {
    source: Arc<dyn TokenSource>,
    form: TokenForm,
    current: ArcSwapOption<HeldToken>,
    renewal: Mutex<RenewalState>,
    /// Tells that there is a new token.
    changed: Notify,
    /// The number of the account whose tokens these are. No other account has it.
    account_number: AtomicU64,
}

/// A token in use.
#[derive(Clone, Debug)]
struct HeldToken {
    value: HeaderValue,
    /// The account at the issuer, if it is known.
    account: Option<Arc<str>>,
    since: Instant,
    /// The time from which it is not used before it is read again, because others may have removed it.
    unproven: Option<Instant>,
    renewal: Instant,
    end: Instant,
}

type StoredRead = Shared<BoxFuture<'static, Result<Option<HeaderValue>, OutboundProblem>>>;

type Renewal = Shared<BoxFuture<'static, Result<Arc<HeldToken>, OutboundProblem>>>;

#[derive(Default)]
struct RenewalState {
    running: Option<Renewal>,
    /// A read of the store alone.
    reading: Option<StoredRead>,
    failure: Option<RenewalFailure>,
}

/// The last failures in a row.
#[derive(Clone, Debug)]
struct RenewalFailure {
    problem: OutboundProblem,
    pause: Duration,
    next_attempt: Instant,
}

impl TokenKeeper {
    pub(crate) fn new(source: Arc<dyn TokenSource>, form: TokenForm) -> Arc<Self> {
        let (current, renewal, changed) = (ArcSwapOption::empty(), Mutex::default(), Notify::new());
        let account_number = AtomicU64::new(next_account());
        Arc::new(Self { source, form, current, renewal, changed, account_number })
    }

    /// Waits for the next token from now on.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// The token, if one lives that was read not long ago. It is renewed in the background before its end.
    pub(crate) fn at_hand(self: &Arc<Self>, caller: Option<&Arc<CallerToken>>) -> Option<HeaderValue> {
        let current = self.current.load();
        let (held, now) = (current.as_ref()?, Instant::now());
        if now >= held.end || held.is_unproven(now) {
            return None;
        }
        if now >= held.renewal {
            // Nobody waits for it.
            drop(self.renew(TokenOrder::of(caller)));
        }
        Some(held.value.clone())
    }

    /// The account of the token, if it is known.
    pub(crate) fn account(&self) -> Option<Arc<str>> {
        self.current.load().as_ref()?.account.clone()
    }

    /// The number of the account whose token is in use. It changes with the account, and not with the token.
    pub(crate) fn account_number(&self) -> Option<u64> {
        self.current.load().as_ref().map(|_| self.account_number.load(Ordering::Acquire))
    }

    /// Uses a token from now on.
    fn keep(&self, held: Arc<HeldToken>) {
        let former = self.current.load_full().and_then(|former| former.account.clone());
        if former.is_some() && held.account.is_some() && former != held.account {
            self.account_number.store(next_account(), Ordering::Release);
        }
        self.current.store(Some(held));
        self.changed.notify_waiters();
    }

    /// Forgets the token, whose account is not connected any more.
    fn forget(&self) {
        self.account_number.store(next_account(), Ordering::Release);
        self.current.store(None);
    }

    /// The token, or a new one.
    ///
    /// # Errors
    /// If there is none in time.
    pub(crate) async fn token(
        self: &Arc<Self>,
        caller: Option<&Arc<CallerToken>>,
    ) -> Result<HeaderValue, OutboundProblem> {
        if let Some(value) = self.at_hand(caller) {
            return Ok(value);
        }
        match self.proven().await? {
            Some(value) => Ok(value),
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
    ) -> Result<HeaderValue, OutboundProblem> {
        if let Some(held) = &*self.current.load() {
            if Some(&held.value) != refused && !held.is_unproven(Instant::now()) {
                return Ok(held.value.clone());
            }
            if Some(&held.value) == refused && held.since.elapsed() < YOUNGEST {
                return self.after_renewal(refused).await;
            }
        }
        let order = TokenOrder { is_refused: true, ..TokenOrder::of(caller) };
        let mut value = self.wait(order.clone()).await?;
        // A renewal that had begun before did not know of the refusal, so it may have read the same token again.
        let is_old = || self.current.load().as_ref().is_some_and(|held| held.since.elapsed() >= YOUNGEST);
        if Some(&value) == refused && is_old() {
            value = self.wait(order).await?;
        }
        if Some(&value) == refused { Err(OutboundProblem::Rejected) } else { Ok(value) }
    }

    /// The token after the renewal that runs, if there is one: an issuer may end the former token before its answer with
    /// the new one arrives.
    async fn after_renewal(&self, refused: Option<&HeaderValue>) -> Result<HeaderValue, OutboundProblem> {
        let running = self.renewal.lock().running.clone();
        if let Some(running) = running {
            // The token that is held afterwards counts.
            drop(timeout(PATIENCE, running).await);
        }
        let held = self.current.load_full().filter(|held| Some(&held.value) != refused);
        held.map(|held| held.value.clone()).ok_or(OutboundProblem::Rejected)
    }

    /// A new token from the issuer, however good the current one is. It waits as long as a renewal takes.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) async fn renewed_now(self: &Arc<Self>) -> Result<(), OutboundProblem> {
        if self.at_hand(None).is_none() {
            self.renew(TokenOrder::default()).await?;
        }
        self.renew(TokenOrder { caller: None, is_refused: true }).await.map(drop)
    }

    /// The token after a new read of the store, if only that read is missing. It does not depend on the issuer, so that a
    /// failing one does not take away a token that lives. None: it has to be renewed.
    async fn proven(self: &Arc<Self>) -> Result<Option<HeaderValue>, OutboundProblem> {
        let (current, now) = (self.current.load_full(), Instant::now());
        if !current.is_some_and(|held| now < held.end && held.is_unproven(now)) {
            return Ok(None);
        }
        let late = |_| Err(OutboundProblem::unreachable("the store does not answer in time".to_owned()));
        timeout(PATIENCE, self.read_again()).await.unwrap_or_else(late)
    }

    /// The running read, or a new one.
    fn read_again(self: &Arc<Self>) -> StoredRead {
        let mut state = self.renewal.lock();
        if let Some(reading) = state.reading.as_ref().filter(|reading| reading.peek().is_none()) {
            return reading.clone();
        }
        let task = workers::background().spawn(Arc::clone(self).read());
        let lost = || Err(OutboundProblem::unreachable("the read has failed".to_owned()));
        let reading = async move { task.await.unwrap_or_else(|_| lost()) }.boxed().shared();
        state.reading = Some(reading.clone());
        reading
    }

    async fn read(self: Arc<Self>) -> Result<Option<HeaderValue>, OutboundProblem> {
        let former = self.current.load_full();
        let stored = self.source.stored().await;
        let mut state = self.renewal.lock();
        state.reading = None;
        match self.current.load_full() {
            // A renewal has ended meanwhile, and knows more.
            Some(current) if !former.is_some_and(|former| Arc::ptr_eq(&former, &current)) => {
                return Ok(Some(current.value.clone()));
            }
            _ => {}
        }
        let read = match stored {
            Ok(Some(token)) => HeldToken::new(&token, &self.form).map(|read| self.in_place(read)),
            Ok(None) => return Ok(None),
            Err(problem) => Err(problem),
        };
        match read {
            Ok(held) => {
                let value = held.value.clone();
                self.keep(Arc::new(held));
                Ok(Some(value))
            }
            Err(problem) => {
                let credential = &*self.form.credential;
                match problem {
                    // Each refused call says so.
                    OutboundProblem::NotConnected => tracing::debug!(credential, %problem),
                    _ => {
                        tracing::warn!(credential, %problem, "the token cannot be read again, so it is not used")
                    }
                }
                if problem.needs_login() {
                    self.forget();
                }
                Err(problem)
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

    async fn wait(self: &Arc<Self>, order: TokenOrder) -> Result<HeaderValue, OutboundProblem> {
        let late = |_| Err(OutboundProblem::unreachable("no answer in time".to_owned()));
        let renewed = timeout(PATIENCE, self.renew(order)).await.unwrap_or_else(late);
        renewed.map(|held| held.value.clone())
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
        let task = workers::background().spawn(Arc::clone(self).renewed(order));
        let lost = || Err(OutboundProblem::unreachable("the renewal has failed".to_owned()));
        let renewal = async move { task.await.unwrap_or_else(|_| lost()) }.boxed().shared();
        state.running = Some(renewal.clone());
        renewal
    }

    async fn renewed(self: Arc<Self>, order: TokenOrder) -> Result<Arc<HeldToken>, OutboundProblem> {
        let late = |_| Err(OutboundProblem::unreachable("no answer in time".to_owned()));
        let is_refused = order.is_refused;
        let issued = timeout(LONGEST_RENEWAL, self.source.issue(order)).await.unwrap_or_else(late);
        let held = issued.and_then(|token| HeldToken::new(&token, &self.form));
        let held = held.map(|held| Arc::new(if is_refused { held } else { self.with_its_age(held) }));
        let mut state = self.renewal.lock();
        state.running = None;
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
                    self.forget();
                }
            }
        }
        held
    }
}

impl TokenKeeper {
    /// A token that was only read again is as old as before. If it was refused, its age counts from now on, because its
    /// issuer has just confirmed it.
    fn with_its_age(&self, held: HeldToken) -> HeldToken {
        match &*self.current.load() {
            Some(former) if former.value == held.value => HeldToken { since: former.since, ..held },
            _ => held,
        }
    }
}

impl HeldToken {
    /// True if it has to be read again before its next use.
    fn is_unproven(&self, now: Instant) -> bool {
        self.unproven.is_some_and(|unproven| now >= unproven)
    }

    fn new(token: &AccessToken, form: &TokenForm) -> Result<Self, OutboundProblem> {
        let text = Zeroizing::new(format!("{}{}", form.prefix, token.access.expose_secret()));
        let unfit = |_| OutboundProblem::Refused { error: "its token does not fit into a header".into() };
        let mut value = HeaderValue::from_str(&text).map_err(unfit)?;
        value.set_sensitive(true);
        let since = Instant::now();
        let lifetime = token.lifetime.unwrap_or(USUAL_LIFETIME);
        let end = since + lifetime;
        let due = end - time_before_end(form.refresh_before, lifetime);
        let renewal = form.recheck.map_or(due, |recheck| due.min(since + recheck));
        let account = token.account.as_deref().map(Arc::from);
        let unproven = form.recheck.map(|recheck| since + 2 * recheck);
        Ok(Self { value, account, since, unproven, renewal, end })
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

fn next_account() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The time before the end at which a token is renewed.
pub(crate) fn time_before_end(setting: Duration, lifetime: Duration) -> Duration {
    time_before(setting, lifetime, chance())
}

/// The time before the end at which a token is renewed: that of the settings, with a tenth more or less, so that several
/// processes do not ask at the same time. Of a short lifetime, it is at most half.
fn time_before(setting: Duration, lifetime: Duration, chance: f64) -> Duration {
    setting.min(lifetime / 2).mul_f64(0.9 + 0.2 * chance).min(lifetime)
}

/// A number from 0 to 1.
fn chance() -> f64 {
    let mut byte = [0];
    // Without random numbers, all processes ask at the same time, which is no danger.
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::join_all;
    use proptest::prelude::*;

    use super::*;

    /// Issues the tokens 1, 2, 3, …, each after a notification, with these lifetimes in seconds. None: it fails.
    struct Issuer {
        asked: AtomicUsize,
        go: Arc<Notify>,
        lifetimes: Vec<Option<u64>>,
    }

    impl TokenSource for Issuer {
        fn issue(&self, _: TokenOrder) -> BoxFuture<'static, Result<AccessToken, OutboundProblem>> {
            let number = self.asked.fetch_add(1, Ordering::SeqCst);
            let (go, lifetime) = (Arc::clone(&self.go), self.lifetimes.get(number).copied().flatten());
            Box::pin(async move {
                go.notified().await;
                let lifetime = lifetime.map(Duration::from_secs);
                let lifetime = lifetime.ok_or_else(|| OutboundProblem::unreachable("no".to_owned()))?;
                Ok(AccessToken::of((number + 1).to_string().into(), Some(lifetime)))
            })
        }
    }

    fn keeper(lifetimes: &[Option<u64>]) -> (Arc<TokenKeeper>, Arc<Issuer>) {
        let (asked, go) = (AtomicUsize::new(0), Arc::default());
        let issuer = Arc::new(Issuer { asked, go, lifetimes: lifetimes.to_vec() });
        let form = TokenForm {
            credential: "a".into(),
            prefix: "Bearer ".to_owned(),
            refresh_before: Duration::from_secs(300),
            recheck: None,
        };
        (TokenKeeper::new(Arc::<Issuer>::clone(&issuer), form), issuer)
    }

    #[tokio::test]
    async fn a_hundred_calls_at_expiry_are_one_request() {
        let (keeper, issuer) = keeper(&[Some(3600)]);
        let calls = join_all((0..100).map(|_| keeper.token(None)));
        let go = async {
            tokio::task::yield_now().await;
            issuer.go.notify_one();
        };
        let (tokens, ()) = tokio::join!(calls, go);
        assert!(tokens.iter().all(|token| token.as_ref().unwrap() == "Bearer 1"), "{tokens:?}");
        assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
        assert_eq!(keeper.at_hand(None).unwrap(), "Bearer 1");
    }

    #[tokio::test]
    async fn a_renewal_goes_on_without_its_caller() {
        let (keeper, issuer) = keeper(&[Some(3600)]);
        {
            let mut call = Box::pin(keeper.token(None));
            assert!((&mut call).now_or_never().is_none());
        }
        issuer.go.notify_one();
        assert_eq!(keeper.token(None).await.unwrap(), "Bearer 1");
        assert_eq!(issuer.asked.load(Ordering::SeqCst), 1, "the token of the first one");
    }

    #[tokio::test]
    async fn a_refused_token_is_renewed_only_once_it_is_old() {
        let (keeper, issuer) = keeper(&[Some(3600), Some(3600)]);
        issuer.go.notify_one();
        let used = keeper.token(None).await.unwrap();
        assert_eq!(keeper.in_place_of(Some(&used), None).await, Err(OutboundProblem::Rejected));
        let other = HeaderValue::from_static("Bearer 0");
        assert_eq!(keeper.in_place_of(Some(&other), None).await.unwrap(), used, "it is newer");
        assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
        let held = keeper.current.load_full().unwrap();
        let Some(since) = Instant::now().checked_sub(YOUNGEST) else { return };
        let older = HeldToken { since, ..HeldToken::clone(&held) };
        keeper.current.store(Some(Arc::new(older)));
        issuer.go.notify_one();
        assert_eq!(keeper.in_place_of(Some(&used), None).await.unwrap(), "Bearer 2");
    }

    #[tokio::test]
    async fn a_token_that_is_read_again_keeps_its_age() {
        /// Issues the same token again and again.
        struct Same;
        impl TokenSource for Same {
            fn issue(&self, _: TokenOrder) -> BoxFuture<'static, Result<AccessToken, OutboundProblem>> {
                Box::pin(async { Ok(AccessToken::of("same".into(), None)) })
            }
        }
        let keeper = TokenKeeper::new(Arc::new(Same), keeper(&[]).0.form.clone());
        let used = keeper.token(None).await.unwrap();
        let held = keeper.current.load_full().unwrap();
        let Some(since) = Instant::now().checked_sub(YOUNGEST) else { return };
        let older = HeldToken { since, ..HeldToken::clone(&held) };
        keeper.current.store(Some(Arc::new(older)));
        keeper.renew(TokenOrder::default()).await.unwrap();
        assert_eq!(keeper.current.load_full().unwrap().since, since);
        assert_eq!(keeper.in_place_of(Some(&used), None).await, Err(OutboundProblem::Rejected));
        assert!(keeper.current.load_full().unwrap().since > since, "its issuer has confirmed it");
    }

    #[tokio::test]
    async fn a_refused_token_is_renewed_although_it_is_being_read_again() {
        /// Reads the same token again after a notification, and issues another one for a refused token.
        struct SlowReader(Arc<Notify>);
        impl TokenSource for SlowReader {
            fn issue(&self, order: TokenOrder) -> BoxFuture<'static, Result<AccessToken, OutboundProblem>> {
                let go = Arc::clone(&self.0);
                Box::pin(async move {
                    if order.is_refused {
                        return Ok(AccessToken::of("other".into(), None));
                    }
                    go.notified().await;
                    Ok(AccessToken::of("same".into(), None))
                })
            }
        }
        let go = Arc::new(Notify::new());
        let keeper = TokenKeeper::new(Arc::new(SlowReader(Arc::clone(&go))), keeper(&[]).0.form.clone());
        go.notify_one();
        let used = keeper.token(None).await.unwrap();
        let held = keeper.current.load_full().unwrap();
        let Some(since) = Instant::now().checked_sub(YOUNGEST) else { return };
        let older = HeldToken { since, ..HeldToken::clone(&held) };
        keeper.current.store(Some(Arc::new(older)));
        drop(keeper.renew(TokenOrder::default()));
        let go = async {
            tokio::task::yield_now().await;
            go.notify_one();
        };
        let (value, ()) = tokio::join!(keeper.in_place_of(Some(&used), None), go);
        assert_eq!(value.unwrap(), "Bearer other");
    }

    #[tokio::test]
    async fn a_refusal_during_a_renewal_waits_for_the_new_token() {
        let (keeper, issuer) = keeper(&[Some(3600), Some(3600)]);
        issuer.go.notify_one();
        let used = keeper.token(None).await.unwrap();
        assert_eq!(
            keeper.in_place_of(Some(&used), None).await,
            Err(OutboundProblem::Rejected),
            "it is young"
        );
        drop(keeper.renew(TokenOrder::default()));
        let go = async {
            tokio::task::yield_now().await;
            issuer.go.notify_one();
        };
        let (value, ()) = tokio::join!(keeper.in_place_of(Some(&used), None), go);
        assert_ne!(value.unwrap(), used);
    }

    #[tokio::test]
    async fn a_failure_is_followed_by_a_pause() {
        let (keeper, issuer) = keeper(&[None, Some(1)]);
        issuer.go.notify_one();
        let problem = keeper.token(None).await.unwrap_err();
        assert_eq!(keeper.token(None).await, Err(problem));
        assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
        keeper.renewal.lock().failure.as_mut().unwrap().next_attempt = Instant::now();
        issuer.go.notify_one();
        assert_eq!(keeper.token(None).await.unwrap(), "Bearer 2");
        assert!(keeper.renewal.lock().failure.is_none());
    }

    #[tokio::test]
    async fn a_living_token_is_used_while_it_is_renewed() {
        let (keeper, issuer) = keeper(&[Some(3600), None, Some(3600)]);
        issuer.go.notify_one();
        keeper.token(None).await.unwrap();
        let held = keeper.current.load_full().unwrap();
        let due = HeldToken { renewal: Instant::now(), ..HeldToken::clone(&held) };
        keeper.current.store(Some(Arc::new(due)));
        for _ in 0..10 {
            assert_eq!(keeper.at_hand(None).unwrap(), "Bearer 1");
        }
        let running = keeper.renewal.lock().running.clone().unwrap();
        issuer.go.notify_one();
        assert!(running.await.is_err());
        assert_eq!(keeper.at_hand(None).unwrap(), "Bearer 1", "it still lives");
        assert_eq!(issuer.asked.load(Ordering::SeqCst), 2, "and nobody asks during the pause");
    }

    /// A store whose tokens others change, and an issuer that is away.
    struct Store(Arc<Mutex<Result<&'static str, OutboundProblem>>>);

    impl TokenSource for Store {
        fn issue(&self, _: TokenOrder) -> BoxFuture<'static, Result<AccessToken, OutboundProblem>> {
            let stored = self.0.lock().clone();
            Box::pin(async { stored.map(|token| AccessToken::of(token.into(), None)) })
        }

        fn stored(&self) -> BoxFuture<'static, Result<Option<AccessToken>, OutboundProblem>> {
            let stored = self.0.lock().clone();
            Box::pin(async { stored.map(|token| Some(AccessToken::of(token.into(), None))) })
        }
    }

    type StoredAnswer = Arc<Mutex<Result<&'static str, OutboundProblem>>>;

    fn stored_keeper() -> (Arc<TokenKeeper>, StoredAnswer) {
        let store = Arc::new(Mutex::new(Ok("stored")));
        let form = TokenForm { recheck: Some(Duration::from_secs(5)), ..keeper(&[]).0.form.clone() };
        (TokenKeeper::new(Arc::new(Store(Arc::clone(&store))), form), store)
    }

    /// Nobody has used the token since it was last read.
    fn idle(keeper: &TokenKeeper) {
        let held = keeper.current.load_full().unwrap();
        let now = Instant::now();
        let old = HeldToken { unproven: Some(now), renewal: now, ..HeldToken::clone(&held) };
        keeper.current.store(Some(Arc::new(old)));
    }

    #[tokio::test]
    async fn a_token_that_others_have_removed_is_not_used_once_more() {
        let (keeper, store) = stored_keeper();
        assert_eq!(keeper.token(None).await.unwrap(), "Bearer stored");
        idle(&keeper);
        *store.lock() = Ok("other");
        assert_eq!(keeper.token(None).await.unwrap(), "Bearer other");
        for problem in [OutboundProblem::unreachable("EIO".to_owned()), OutboundProblem::NotConnected] {
            idle(&keeper);
            *store.lock() = Err(problem.clone());
            for _ in 0..2 {
                assert_eq!(keeper.token(None).await, Err(problem.clone()));
            }
            assert!(keeper.at_hand(None).is_none());
        }
        let former = keeper.account_number.load(Ordering::Acquire);
        assert_eq!(keeper.account_number(), None);
        keeper.renewal.lock().failure = None;
        *store.lock() = Ok("of a new login");
        keeper.token(None).await.unwrap();
        let number = keeper.account_number();
        keeper.token(None).await.unwrap();
        assert!(number == Some(former) && keeper.account_number() == number);
        keeper.forget();
        keeper.renewed_now().await.unwrap();
        assert_ne!(keeper.account_number(), number, "another account");
    }

    #[tokio::test]
    async fn a_living_token_is_read_again_during_the_pause_of_its_issuer() {
        let (keeper, _) = stored_keeper();
        keeper.token(None).await.unwrap();
        idle(&keeper);
        let problem = OutboundProblem::unreachable("no".to_owned());
        keeper.renewal.lock().failure = Some(RenewalFailure::after(None, &problem));
        assert_eq!(keeper.token(None).await.unwrap(), "Bearer stored");
        assert_eq!(keeper.at_hand(None).unwrap(), "Bearer stored");
    }

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let problem = OutboundProblem::unreachable(String::new());
        let mut failure = RenewalFailure::after(None, &problem);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(failure.pause.as_secs(), seconds);
            failure = RenewalFailure::after(Some(&failure), &problem);
        }
    }

    proptest! {
        #[test]
        fn a_renewal_comes_before_the_end_and_not_at_once(
            setting in 1_u64..100_000, lifetime in 0_u64..100_000_000, chance in 0.0..=1.0_f64,
        ) {
            let (setting, lifetime) = (Duration::from_secs(setting), Duration::from_secs(lifetime));
            let before = time_before(setting, lifetime, chance);
            prop_assert!(before <= lifetime.mul_f64(0.56) + Duration::from_nanos(1), "{before:?}");
            prop_assert!(before >= setting.min(lifetime / 2).mul_f64(0.89), "{before:?}");
        }
    }
}
