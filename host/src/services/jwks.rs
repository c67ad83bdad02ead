//! A JWK Set that lives at a URL: fetched, cached, refreshed, and the last good one kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;
use url::Url;
use witgate_plugin::{ClientAuth, HttpRequest, Method};

use super::fetch::Fetcher;
use super::keys::KeySet;

/// How often a set is asked for at the most, whatever key ids callers make up. Short enough that
/// a rotation is seen within seconds.
const MIN_INTERVAL: Duration = Duration::from_secs(10);
/// After this a set in use is fetched again beside the request that uses it.
const FRESH: Duration = Duration::from_secs(300);

/// A JWK Set at a URL. One for all generations, so that a reload does not lose the last good set.
#[derive(Debug)]
pub struct RemoteJwks {
    url: Url,
    fetcher: Fetcher,
    loaded: ArcSwapOption<Loaded>,
    /// When it was last asked for. Held while asking: one request at a time.
    asked: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Loaded {
    set: Arc<KeySet>,
    at: Instant,
}

impl RemoteJwks {
    /// The set at `url`; nothing is fetched yet.
    pub fn new(url: Url) -> Arc<Self> {
        Arc::new(Self {
            fetcher: Fetcher::for_url(&url),
            url,
            loaded: ArcSwapOption::empty(),
            asked: Mutex::new(None),
        })
    }

    /// The set to check a signature with that names `key_id`. Fetches when there is none yet or
    /// the id is unknown; None when there is none to be had.
    pub async fn current(self: &Arc<Self>, key_id: Option<&str>) -> Option<Arc<KeySet>> {
        if let Some(loaded) = self.loaded.load_full() {
            let known = key_id.is_none_or(|id| loaded.set.has(id));
            if known {
                if loaded.at.elapsed() > FRESH {
                    let remote = Arc::clone(self);
                    tokio::spawn(async move { remote.refresh().await });
                }
                return Some(Arc::clone(&loaded.set));
            }
        }
        self.refresh().await;
        Some(Arc::clone(&self.loaded.load_full()?.set))
    }

    /// Fetches the set, unless that was tried a moment ago. Callers that come while it is under
    /// way wait for the same answer.
    async fn refresh(&self) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < MIN_INTERVAL) {
            return;
        }
        let outcome = self.fetch().await;
        *asked = Some(Instant::now());
        match outcome {
            Ok(set) => {
                self.loaded.store(Some(Arc::new(Loaded { set: Arc::new(set), at: Instant::now() })));
            }
            Err(reason) => {
                let kept = if self.loaded.load().is_some() { "; the last good set stays" } else { "" };
                tracing::warn!(url = %self.url, "cannot fetch the JWK Set: {reason}{kept}");
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let request = HttpRequest {
            method: Method::Get,
            url: self.url.to_string(),
            headers: vec![("accept".to_owned(), "application/jwk-set+json, application/json".to_owned())],
            body: Vec::new(),
            client_auth: ClientAuth::None,
            share: false,
        };
        let response = self.fetcher.send(request).await.map_err(|e| format!("{e:?}"))?;
        if response.status != 200 {
            return Err(format!("the server answered {}", response.status));
        }
        // The version tells two sets apart in what is remembered of good signatures.
        let version =
            u64::from_be_bytes(super::sha256(&response.body).first_chunk().copied().unwrap_or_default());
        KeySet::parse(&response.body, version).map_err(|e| e.to_string())
    }
}
