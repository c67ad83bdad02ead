//! Finds the URL of an issuer's keys in its metadata (RFC 8414; OpenID Connect Discovery 1.0).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use url::Url;
use witgate_plugin::issuer::metadata_urls;
use witgate_plugin::{HttpError, json};

use crate::fetch::{Fetcher, Origin, Reach, WholeResponse};
use crate::network::Ways;

/// RFC 7517, section 8.5.2, and the usual type of servers.
pub(super) const ACCEPT: &str = "application/jwk-set+json, application/json";

/// Time for which the URL is cached. Servers rarely change it, and an hour is usual for metadata.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// One issuer's metadata.
#[derive(Debug)]
pub(super) struct Discovery {
    /// The issuer identifier, unchanged.
    issuer: String,
    ways: Arc<Ways>,
    found: ArcSwapOption<DiscoveredUrl>,
}

#[derive(Debug)]
struct DiscoveredUrl {
    jwks: Url,
    at: Instant,
}

impl Discovery {
    pub(super) fn of(issuer: &str, ways: Arc<Ways>) -> Self {
        Self { issuer: issuer.to_owned(), ways, found: ArcSwapOption::empty() }
    }

    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Fetches the issuer's JWK Set. After a failure, the metadata is read again the next time.
    pub(super) async fn jwks(&self) -> Result<WholeResponse, String> {
        let (url, at) = match self.found.load_full() {
            Some(found) if found.at.elapsed() < REMEMBERED => (found.jwks.clone(), found.at),
            _ => (self.discover().await?, Instant::now()),
        };
        let answer = self.fetcher(&url).document(&url, ACCEPT).await;
        let answer = answer.map_err(|error| format!("{url}: {error}"));
        match &answer {
            Ok(document) if document.status() == 200 => {
                // The URL expires after a fixed time, even if it still works.
                self.found.store(Some(Arc::new(DiscoveredUrl { jwks: url, at })));
            }
            _ => self.found.store(None),
        }
        answer
    }

    /// Tries the URLs in order until one has usable metadata. If the server does not answer at all, the other URLs are
    /// not tried.
    async fn discover(&self) -> Result<Url, String> {
        let mut reasons = Vec::new();
        for url in metadata_urls(&self.issuer) {
            let url = Url::parse(&url).map_err(|error| format!("{url}: {error}"))?;
            let answer = self.fetcher(&url).document(&url, "application/json").await;
            match &answer {
                Ok(document) if document.status() == 200 => match self.jwks_uri(document.body()) {
                    Ok(jwks) => return Ok(jwks),
                    Err(reason) => reasons.push(format!("{url}: {reason}")),
                },
                Ok(document) => reasons.push(format!("{url}: status {}", document.status().as_u16())),
                Err(error) => reasons.push(format!("{url}: {error}")),
            }
            if matches!(
                answer.map_err(|unanswered| unanswered.error),
                Err(HttpError::Unreachable
                    | HttpError::TimedOut
                    | HttpError::Resting(_)
                    | HttpError::NotGranted)
            ) {
                break;
            }
        }
        Err(format!("no usable metadata was found: {}", reasons.join("; ")))
    }

    fn jwks_uri(&self, metadata: &[u8]) -> Result<Url, &'static str> {
        let text = std::str::from_utf8(metadata).map_err(|_| "not UTF-8")?;
        let metadata = json::parse_object(text).map_err(|_| "not a strict JSON object")?;
        let member = |name| metadata.get(name).and_then(|value| value.as_str());
        // RFC 8414, section 3.3. Otherwise one issuer could publish metadata for another.
        if member("issuer") != Some(self.issuer.as_str()) {
            return Err("it is of another issuer");
        }
        let url = member("jwks_uri").ok_or("it has no `jwks_uri`")?;
        let url = Url::parse(url).ok().filter(|url| Origin::of(url).is_some());
        let url = url.ok_or("its `jwks_uri` is not an absolute http or https URL")?;
        match self.issuer.starts_with("https://") && url.scheme() != "https" {
            true => Err("its `jwks_uri` is http, so the keys could be exchanged on the way"),
            false => Ok(url),
        }
    }

    /// The fetcher for a URL. The operator has named the issuer's own origin, so any address of it is permitted. For
    /// another origin in the metadata, only public addresses are permitted, so that it cannot point into the private
    /// network.
    fn fetcher(&self, url: &Url) -> Fetcher {
        let own = Url::parse(&self.issuer).ok().and_then(|issuer| Origin::of(&issuer));
        let ways = Arc::clone(&self.ways);
        let Some(origin) = Origin::of(url) else { return Fetcher::new(ways, HashMap::new(), HashMap::new()) };
        let reach = if own.as_ref() == Some(&origin) { Reach::Private } else { Reach::Public };
        Fetcher::new(ways, HashMap::from([(origin, reach)]), HashMap::new())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::{DiscoveredUrl, Discovery};
    use crate::network::Ways;
    use witgate_config::Network;

    /// Proxies answer with 500 or a page of their own if they know no metadata.
    #[tokio::test]
    async fn an_invalid_answer_does_not_end_the_search_and_every_reason_is_reported() {
        let (issuer, serve) = places();
        let metadata = format!(r#"{{"issuer":"{issuer}","jwks_uri":"{issuer}/jwks"}}"#);
        serve(vec![(500, "oops".into()), (200, "<html>".into()), (200, metadata)]);
        let found = Discovery::of(&issuer, Ways::new(&Network::default())).discover().await.unwrap();
        assert_eq!(found.as_str(), format!("{issuer}/jwks"));

        let (issuer, serve) = places();
        serve(vec![(302, String::new()), (200, "<html>".into()), (503, String::new())]);
        let reasons = Discovery::of(&issuer, Ways::new(&Network::default())).discover().await.unwrap_err();
        for reason in ["status 302", "not a strict JSON object", "status 503"] {
            assert!(reasons.contains(reason), "{reasons}");
        }
    }

    /// An issuer with a path, and a function that sets the answers of its URLs, in order.
    fn places() -> (String, impl FnOnce(Vec<(u16, String)>)) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}/tenant", listener.local_addr().unwrap());
        let serve = move |answers: Vec<(u16, String)>| {
            std::thread::spawn(move || {
                for (status, body) in answers {
                    let (mut stream, _) = listener.accept().unwrap();
                    let _ = stream.read(&mut [0; 4096]).unwrap();
                    let length = body.len();
                    let head = format!(
                        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}"
                    );
                    stream
                        .write_all(format!("{head}\r\nConnection: close\r\n\r\n{body}").as_bytes())
                        .unwrap();
                }
            });
        };
        (issuer, serve)
    }

    /// A URL that still answers is not used for ever, because the metadata may name another one by now.
    #[tokio::test]
    async fn an_answer_does_not_extend_the_lifetime_of_the_metadata() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}").unwrap();
        });
        let discovery = Discovery::of(&issuer, Ways::new(&Network::default()));
        let at = Instant::now().checked_sub(Duration::from_secs(1800)).unwrap();
        let jwks = format!("{issuer}/jwks").parse().unwrap();
        discovery.found.store(Some(Arc::new(DiscoveredUrl { jwks, at })));
        assert_eq!(discovery.jwks().await.unwrap().status(), 200);
        assert_eq!(discovery.found.load_full().unwrap().at, at);
    }
}
