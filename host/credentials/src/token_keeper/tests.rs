//! One token for all callers, over its renewals and its failures.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use http::header::AUTHORIZATION;
use tokio::sync::Semaphore;

use super::*;
use crate::token_answer::AccessToken;

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
        header: AUTHORIZATION,
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
    assert!(tokens.iter().all(|token| token.as_ref().unwrap().value == "Bearer 1"), "{tokens:?}");
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
    assert_eq!(keeper.at_hand(None).unwrap().value, "Bearer 1");
}

#[tokio::test]
async fn a_renewal_goes_on_without_its_caller() {
    let (keeper, issuer) = keeper(&[Some(3600)]);
    {
        let mut call = Box::pin(keeper.token(None));
        assert!((&mut call).now_or_never().is_none());
    }
    issuer.go.notify_one();
    assert_eq!(keeper.token(None).await.unwrap().value, "Bearer 1");
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1, "the token of the first one");
}

#[tokio::test]
async fn a_refused_token_is_renewed_only_once_it_is_old() {
    let (keeper, issuer) = keeper(&[Some(3600), Some(3600)]);
    issuer.go.notify_one();
    let used = keeper.token(None).await.unwrap().value.clone();
    assert_eq!(keeper.in_place_of(Some(&used), None).await.unwrap_err(), OutboundProblem::Rejected);
    let other = HeaderValue::from_static("Bearer 0");
    assert_eq!(keeper.in_place_of(Some(&other), None).await.unwrap().value, used, "it is newer");
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
    let held = keeper.current.load_full().unwrap();
    let Some(since) = Instant::now().checked_sub(YOUNGEST) else { return };
    let older = HeldToken { since, ..HeldToken::clone(&held) };
    keeper.current.store(Some(Arc::new(older)));
    issuer.go.notify_one();
    assert_eq!(keeper.in_place_of(Some(&used), None).await.unwrap().value, "Bearer 2");
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
    let used = keeper.token(None).await.unwrap().value.clone();
    let held = keeper.current.load_full().unwrap();
    let Some(since) = Instant::now().checked_sub(YOUNGEST) else { return };
    let older = HeldToken { since, ..HeldToken::clone(&held) };
    keeper.current.store(Some(Arc::new(older)));
    keeper.renew(TokenOrder::default()).await.unwrap();
    assert_eq!(keeper.current.load_full().unwrap().since, since);
    assert_eq!(keeper.in_place_of(Some(&used), None).await.unwrap_err(), OutboundProblem::Rejected);
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
                if order.refused.is_some() {
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
    let used = keeper.token(None).await.unwrap().value.clone();
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
    assert_eq!(value.unwrap().value, "Bearer other");
}

#[tokio::test]
async fn a_refusal_during_a_renewal_waits_for_the_new_token() {
    let (keeper, issuer) = keeper(&[Some(3600), Some(3600)]);
    issuer.go.notify_one();
    let used = keeper.token(None).await.unwrap().value.clone();
    assert_eq!(
        keeper.in_place_of(Some(&used), None).await.unwrap_err(),
        OutboundProblem::Rejected,
        "it is young"
    );
    drop(keeper.renew(TokenOrder::default()));
    let go = async {
        tokio::task::yield_now().await;
        issuer.go.notify_one();
    };
    let (value, ()) = tokio::join!(keeper.in_place_of(Some(&used), None), go);
    assert_ne!(value.unwrap().value, used);
}

#[tokio::test]
async fn a_failure_is_followed_by_a_pause() {
    let (keeper, issuer) = keeper(&[None, Some(1)]);
    issuer.go.notify_one();
    let problem = keeper.token(None).await.unwrap_err();
    assert_eq!(keeper.token(None).await.unwrap_err(), problem);
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
    keeper.renewal.lock().failure.as_mut().unwrap().next_attempt = Instant::now();
    issuer.go.notify_one();
    assert_eq!(keeper.token(None).await.unwrap().value, "Bearer 2");
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
        assert_eq!(keeper.at_hand(None).unwrap().value, "Bearer 1");
    }
    let running = keeper.renewal.lock().running.clone().unwrap();
    issuer.go.notify_one();
    assert!(running.await.is_err());
    assert_eq!(keeper.at_hand(None).unwrap().value, "Bearer 1", "it still lives");
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
    assert_eq!(keeper.token(None).await.unwrap().value, "Bearer stored");
    idle(&keeper);
    *store.lock() = Ok("other");
    assert_eq!(keeper.token(None).await.unwrap().value, "Bearer other");
    for problem in [OutboundProblem::unreachable("EIO".to_owned()), OutboundProblem::NotConnected] {
        idle(&keeper);
        keeper.renewal.lock().read_failure = None;
        *store.lock() = Err(problem.clone());
        for _ in 0..2 {
            assert_eq!(keeper.token(None).await.unwrap_err(), problem);
        }
        assert!(keeper.at_hand(None).is_none());
    }
}

#[tokio::test]
async fn a_living_token_is_read_again_during_the_pause_of_its_issuer() {
    let (keeper, _) = stored_keeper();
    keeper.token(None).await.unwrap();
    idle(&keeper);
    let problem = OutboundProblem::unreachable("no".to_owned());
    keeper.renewal.lock().failure = Some(RenewalFailure::after(None, &problem));
    assert_eq!(keeper.token(None).await.unwrap().value, "Bearer stored");
    assert_eq!(keeper.at_hand(None).unwrap().value, "Bearer stored");
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

/// A store that answers each question after a permit, with what was in it at the time of the question.
struct SlowStore {
    content: Mutex<Result<&'static str, OutboundProblem>>,
    asked: AtomicUsize,
    orders: Mutex<Vec<TokenOrder>>,
    go: Arc<Semaphore>,
}

impl SlowStore {
    fn answer(&self) -> BoxFuture<'static, Result<AccessToken, OutboundProblem>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (content, go) = (self.content.lock().clone(), Arc::clone(&self.go));
        Box::pin(async move {
            go.acquire().await.unwrap().forget();
            content.map(|token| AccessToken::of(token.into(), None))
        })
    }
}

impl TokenSource for SlowStore {
    fn issue(&self, order: TokenOrder) -> BoxFuture<'static, Result<AccessToken, OutboundProblem>> {
        self.orders.lock().push(order);
        self.answer()
    }

    fn stored(&self) -> BoxFuture<'static, Result<Option<AccessToken>, OutboundProblem>> {
        let answer = self.answer();
        Box::pin(async { answer.await.map(Some) })
    }
}

/// A keeper that has a token of such a store, which gives permits to `answers` more.
async fn slow_keeper(answers: usize) -> (Arc<TokenKeeper>, Arc<SlowStore>) {
    let (content, go) = (Mutex::new(Ok("former")), Arc::new(Semaphore::new(1)));
    let (asked, orders) = (AtomicUsize::new(0), Mutex::default());
    let store = Arc::new(SlowStore { content, asked, orders, go });
    let form = TokenForm { recheck: Some(Duration::from_secs(5)), ..keeper(&[]).0.form.clone() };
    let keeper = TokenKeeper::new(Arc::<SlowStore>::clone(&store), form);
    assert_eq!(keeper.token(None).await.unwrap().value, "Bearer former");
    store.go.add_permits(answers);
    (keeper, store)
}

/// Waits until `store` was asked another time after `before`.
async fn asked_after(store: &SlowStore, before: usize) {
    while store.asked.load(Ordering::SeqCst) == before {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_late_read_does_not_bring_a_forgotten_token_back() {
    let (keeper, store) = slow_keeper(0).await;
    idle(&keeper);
    let mut late = Box::pin(keeper.token(None));
    assert!((&mut late).now_or_never().is_none());
    asked_after(&store, 1).await;
    *store.content.lock() = Err(OutboundProblem::NotConnected);
    keeper.forget();
    store.go.add_permits(2);
    assert_eq!(late.await.unwrap_err(), OutboundProblem::NotConnected);
    assert!(keeper.in_memory().is_none());
}

#[tokio::test]
async fn a_late_renewal_does_not_bring_a_forgotten_token_back() {
    let (keeper, store) = slow_keeper(0).await;
    let late = keeper.renew(TokenOrder::default());
    asked_after(&store, 1).await;
    keeper.forget();
    store.go.add_permits(2);
    assert!(matches!(late.await.unwrap_err(), OutboundProblem::Unreachable { .. }));
    assert!(keeper.in_memory().is_none());
    *store.content.lock() = Ok("new");
    assert_eq!(keeper.token(None).await.unwrap().value, "Bearer new", "there is no pause");
}

#[tokio::test]
async fn a_store_that_fails_is_read_once_a_second() {
    let (keeper, store) = slow_keeper(usize::from(u8::MAX)).await;
    idle(&keeper);
    let problem = OutboundProblem::unreachable("EIO".to_owned());
    *store.content.lock() = Err(problem.clone());
    for _ in 0..10 {
        assert_eq!(keeper.token(None).await.unwrap_err(), problem);
    }
    assert_eq!(store.asked.load(Ordering::SeqCst), 2);
    keeper.renewal.lock().read_failure.as_mut().unwrap().next_attempt = Instant::now();
    *store.content.lock() = Ok("former");
    assert_eq!(keeper.token(None).await.unwrap().value, "Bearer former");
    assert!(keeper.renewal.lock().read_failure.is_none());
}

#[tokio::test]
async fn the_refused_token_is_the_one_that_was_sent() {
    let (keeper, store) = slow_keeper(usize::from(u8::MAX)).await;
    let sent = keeper.at_hand(None).unwrap().value.clone();
    *store.content.lock() = Ok("newer");
    idle(&keeper);
    keeper.token(None).await.unwrap();
    // The newer one has not been sent, and is to be read again.
    idle(&keeper);
    assert_eq!(keeper.in_place_of(Some(&sent), None).await.unwrap().value, "Bearer newer");
    assert_eq!(store.orders.lock().last().unwrap().refused, Some(sha256(b"former")));
}
