//! A fetched JWK Set. It is cached as long as its server permits, fetched again before that time ends or when a token
//! names a missing key, and kept during outages.

mod discovery;
mod lifetime;
mod pace;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use quick_cache::sync::Cache;
use tokio::sync::Mutex;
use url::Url;

use self::discovery::{ACCEPT, Discovery};
use self::pace::{Reason, RequestPace};
use super::fetch::Fetcher;
use super::keys::set::KeySet;
use super::lookups::Lookups;
use crate::network::Ways;
use witgate_config::KeyPlace;
use witgate_runtime::workers;

/// Maximum time for the metadata and the set together. A hook that may wait for the network has a second more.
const FETCH: Duration = Duration::from_secs(5);

/// Time that a caller waits for a new set if there is an old one, in case the server hangs.
const PATIENCE: Duration = Duration::from_secs(1);

/// Time for which a missing key is not looked up again. Some servers sign with a key shortly before they publish it.
const MISSED: Duration = Duration::from_secs(10);

/// Time for which a removed key is not looked up again. If it returns, the next fetch brings it.
const WITHDRAWN: Duration = Duration::from_secs(900);

/// Maximum number of such ids: with a kilobyte each, a megabyte.
const REMEMBERED: usize = 1000;

/// A JWK Set at a URL or of an issuer. All generations share it, so that a reload does not lose the last valid set.
#[derive(Debug)]
pub struct RemoteJwks {
    place: JwksPlace,
    loaded: ArcSwapOption<LoadedKeys>,
    /// Locked during a request, so that there is one at a time.
    pace: Mutex<RequestPace>,
    /// A refresh in the background is running.
    is_refreshing: AtomicBool,
    /// The last attempt has failed.
    failing: AtomicBool,
    /// Ids of keys that are not looked up before the given time, so that callers with old tokens do not use up the
    /// requests that a caller with a new token needs.
    absent: Cache<String, Instant>,
    lookups: Lookups,
    fetched: AtomicU64,
    failed: AtomicU64,
}

/// A fetched JWK Set as it is at one moment.
#[derive(Clone, Debug)]
pub struct KeySetState {
    /// The URL of the set, or the issuer.
    pub source: String,
    /// The time since the request that brought the set. None: there is no set yet.
    pub age: Option<Duration>,
    /// True if policies may use the set.
    pub is_usable: bool,
    /// True if the last request has failed.
    pub is_failing: bool,
    /// The number of requests that brought a set.
    pub fetched: u64,
    /// The number of requests that failed.
    pub failed: u64,
    /// The number of signatures for which the set was sufficient as it was.
    pub hits: u64,
    /// The number of signatures for which the set was missing, too old or without the key.
    pub misses: u64,
}

#[derive(Debug)]
enum JwksPlace {
    Url(Url, Fetcher),
    Issuer(Discovery),
}

#[derive(Debug)]
struct LoadedKeys {
    set: Arc<KeySet>,
    /// The time of the request. The set is at least as new.
    asked: Instant,
    /// The lifetime, from the time of the request.
    lifetime: Duration,
}

/// The state of a set by its age.
#[derive(Debug, PartialEq, Eq)]
enum Age {
    Fresh,
    /// The set is valid, but not for long.
    Ageing,
    /// The set has expired, but may be used if there is no other.
    Old,
}

impl LoadedKeys {
    fn age(&self) -> Age {
        let age = self.asked.elapsed();
        if age >= self.lifetime {
            Age::Old
        } else if age >= self.lifetime.mul_f32(0.8) {
            Age::Ageing
        } else {
            Age::Fresh
        }
    }

    fn is_usable(&self, max_stale: Duration) -> bool {
        self.asked.elapsed() < self.lifetime.saturating_add(max_stale)
    }
}

impl RemoteJwks {
    /// The set at `place`; nothing is fetched yet.
    pub fn new(place: &KeyPlace, ways: Arc<Ways>) -> Arc<Self> {
        let place = match place {
            KeyPlace::Url(url) => JwksPlace::Url(url.clone(), Fetcher::for_url(ways, url)),
            KeyPlace::Issuer(issuer) => JwksPlace::Issuer(Discovery::of(issuer, ways)),
        };
        Arc::new(Self {
            place,
            loaded: ArcSwapOption::empty(),
            pace: Mutex::new(RequestPace::new(Instant::now())),
            is_refreshing: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            absent: Cache::new(REMEMBERED),
            lookups: Lookups::default(),
            fetched: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })
    }

    /// The state of the set, for policies that use it up to `max_stale` beyond its lifetime.
    pub fn state(&self, max_stale: Duration) -> KeySetState {
        let loaded = self.loaded.load_full();
        KeySetState {
            source: self.place.source().to_owned(),
            age: loaded.as_ref().map(|loaded| loaded.asked.elapsed()),
            is_usable: loaded.is_some_and(|loaded| loaded.is_usable(max_stale)),
            is_failing: self.failing.load(Ordering::Relaxed),
            fetched: self.fetched.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            hits: self.lookups.hits(),
            misses: self.lookups.misses(),
        }
    }

    /// The set for verifying a signature with `key_id`. None: there is no set that is younger than its lifetime plus
    /// `max_stale`; or the set has no such key, and a newer set cannot be fetched.
    pub async fn current(self: &Arc<Self>, key_id: Option<&str>, max_stale: Duration) -> Option<Arc<KeySet>> {
        let loaded = self.loaded.load_full();
        let settles = |loaded: &Arc<LoadedKeys>| loaded.set.settles(key_id) && loaded.age() != Age::Old;
        self.lookups.note(loaded.as_ref().is_some_and(settles));
        match loaded {
            None => self.refresh(Reason::Nothing).await,
            Some(loaded) if loaded.set.settles(key_id) || self.is_absent(key_id) => {
                self.keep_young(&loaded).await;
            }
            Some(_) => self.refresh(Reason::Unknown(key_id.unwrap_or_default().to_owned())).await,
        }
        let loaded = self.loaded.load_full().filter(|loaded| loaded.is_usable(max_stale))?;
        let is_settled = loaded.set.settles(key_id) || self.is_absent(key_id);
        let is_known = is_settled || !self.failing.load(Ordering::Relaxed);
        is_known.then(|| Arc::clone(&loaded.set))
    }

    fn is_absent(&self, key_id: Option<&str>) -> bool {
        key_id.and_then(|id| self.absent.get(id)).is_some_and(|until| Instant::now() < until)
    }

    async fn keep_young(self: &Arc<Self>, loaded: &LoadedKeys) {
        match loaded.age() {
            Age::Fresh => {}
            // A caller who waited now would wait at every attempt until the server returns.
            Age::Old if !self.failing.load(Ordering::Relaxed) => {
                drop(tokio::time::timeout(PATIENCE, self.refresh(Reason::Old)).await);
            }
            Age::Ageing | Age::Old => self.refresh_beside(),
        }
    }

    fn refresh_beside(self: &Arc<Self>) {
        if !self.is_refreshing.swap(true, Ordering::AcqRel) {
            let remote = Arc::clone(self);
            workers::background().spawn(async move {
                remote.ask(Instant::now(), Reason::Old).await;
                remote.is_refreshing.store(false, Ordering::Release);
            });
        }
    }

    /// Fetches the set, if the pace of requests permits it. A separate task does it, so that the answer is not lost if
    /// one caller disconnects.
    async fn refresh(self: &Arc<Self>, reason: Reason) {
        let (remote, wanted) = (Arc::clone(self), Instant::now());
        let asking = async move { remote.ask(wanted, reason).await };
        drop(workers::background().spawn(asking).await);
    }

    /// Callers that come during the request wait, and use its answer if it was requested after they came.
    async fn ask(&self, wanted: Instant, reason: Reason) {
        let mut pace = self.pace.lock().await;
        let settled = self.is_settled(&reason) || pace.has_asked_since(wanted);
        if settled || !pace.may_ask(Instant::now(), &reason) {
            return;
        }
        let asked = Instant::now();
        let outcome = match tokio::time::timeout(FETCH, self.fetch(asked)).await {
            Ok(outcome) => outcome,
            Err(_) => Err("no complete answer in time".to_owned()),
        };
        match outcome {
            Ok(loaded) => {
                pace.answered(asked, reason.is_met_by(&loaded.set));
                self.fetched.fetch_add(1, Ordering::Relaxed);
                self.take(loaded, &reason);
            }
            Err(why) => {
                pace.failed(asked, Instant::now());
                self.failing.store(true, Ordering::Relaxed);
                self.failed.fetch_add(1, Ordering::Relaxed);
                let kept =
                    if self.loaded.load().is_some() { "; the last valid one stays in use" } else { "" };
                tracing::warn!("cannot fetch the JWK Set {}: {why}{kept}", self.place);
            }
        }
    }

    fn take(&self, loaded: LoadedKeys, reason: &Reason) {
        let now = Instant::now();
        if let Reason::Unknown(id) = reason
            && !loaded.set.has(id)
        {
            self.absent.insert(id.clone(), now + MISSED);
        }
        if let Some(before) = self.loaded.load_full() {
            let removed = before.set.ids().filter(|id| !loaded.set.has(id));
            removed.for_each(|id| self.absent.insert(id.to_owned(), now + WITHDRAWN));
        }
        if self.failing.swap(false, Ordering::Relaxed) {
            tracing::info!("the JWK Set {} is available again", self.place);
        }
        self.loaded.store(Some(Arc::new(loaded)));
    }

    /// True if the set that another caller has fetched meanwhile is sufficient.
    fn is_settled(&self, reason: &Reason) -> bool {
        self.loaded.load().as_ref().is_some_and(|loaded| match reason {
            Reason::Nothing => true,
            Reason::Old => loaded.age() == Age::Fresh,
            Reason::Unknown(key_id) => loaded.set.has(key_id),
        })
    }

    /// Fetches the set once, as for a policy, and keeps nothing of it.
    ///
    /// # Errors
    /// With the reason why there is no usable set.
    pub async fn try_fetch(&self) -> Result<Arc<KeySet>, String> {
        let fetched = tokio::time::timeout(FETCH, self.fetch(Instant::now())).await;
        let fetched = fetched.unwrap_or_else(|_| Err("no complete answer in time".to_owned()));
        fetched.map(|loaded| loaded.set)
    }

    async fn fetch(&self, asked: Instant) -> Result<LoadedKeys, String> {
        let answer = match &self.place {
            JwksPlace::Url(url, fetcher) => fetcher.document(url, ACCEPT).await.map_err(|e| e.to_string())?,
            JwksPlace::Issuer(issuer) => issuer.jwks().await?,
        };
        if answer.status() != 200 {
            return Err(format!("the server answered {}", answer.status().as_u16()));
        }
        let lifetime = lifetime::of(answer.headers());
        let text = answer.into_body();
        // The version distinguishes sets in the cache of valid signatures.
        let version = u64::from_be_bytes(
            witgate_base::digest::sha256(&text).first_chunk().copied().unwrap_or_default(),
        );
        let set = KeySet::parse(&text, version).map_err(|error| error.to_string())?;
        Ok(LoadedKeys { set: Arc::new(set), asked, lifetime })
    }
}

impl JwksPlace {
    fn source(&self) -> &str {
        match self {
            Self::Url(url, _) => url.as_str(),
            Self::Issuer(discovery) => discovery.issuer(),
        }
    }
}

impl std::fmt::Display for JwksPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(url, _) => write!(f, "at {url}"),
            Self::Issuer(discovery) => write!(f, "of the issuer {}", discovery.issuer()),
        }
    }
}
