//! The lists of all upstreams and the metadata of all issuers, asked live. Whoever does not answer is unknown, and a note
//! says why.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::time::timeout;
use url::Url;
use witgate_plugin::issuer::{is_issuer, metadata_urls};

use super::snapshot::{IssuerSnapshot, ListSnapshot, StatedRate, UpstreamSnapshot};
use super::unsupported_scope::issuers;
use crate::cli::context::Context;
use crate::cli::explain::scene::ExplanationScene;
use crate::cli::live_lists;
use witgate_config::pins::EntryKind;
use witgate_config::{Upstream, UpstreamTarget};
use witgate_services::fetch::Fetcher;
use witgate_services::network::Ways;

/// Maximum time for an answer.
const LONGEST_ANSWER: Duration = Duration::from_secs(20);

/// A message that changes nothing at a server.
const PING: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Asks all upstreams and issuers.
pub(super) async fn ask(context: &Context, scene: &ExplanationScene) -> (ListSnapshot, Vec<String>) {
    let (mut snapshot, mut notes) = (ListSnapshot::default(), Vec::new());
    let ways = Ways::closed();
    ways.take(scene.config.network.as_ref());
    for (place, upstream) in scene.config.upstreams.iter().enumerate() {
        match lists(context, scene, place, &mut notes).await {
            Ok(mut own) => {
                own.rate_limit = stated_rate(&ways, upstream).await;
                snapshot.upstreams.insert(upstream.name.clone(), own);
            }
            Err(why) => notes.push(format!("the lists of `{}` are unknown: {why}", upstream.name)),
        }
    }
    for issuer in named_issuers(scene) {
        match metadata(&ways, &issuer).await {
            Ok(metadata) => drop(snapshot.issuers.insert(issuer, metadata)),
            Err(why) => notes.push(format!("the scopes of `{issuer}` are unknown: {why}")),
        }
    }
    (snapshot, notes)
}

async fn lists(
    context: &Context,
    scene: &ExplanationScene,
    place: usize,
    notes: &mut Vec<String>,
) -> Result<UpstreamSnapshot, String> {
    let lists = live_lists::read(context, scene, place, &EntryKind::ALL).await;
    let mut snapshot = UpstreamSnapshot::default();
    for list in lists.map_err(|failure| failure.to_string())? {
        match list.is_cut {
            // An incomplete list would prove that a name does not exist.
            true => notes.push(format!("`{}` has more entries; it is left out", list.kind.method())),
            false => snapshot.set(list.kind, list.entries),
        }
    }
    Ok(snapshot)
}

/// The issuers of all upstreams, without Witgate's own accounts, whose scopes are in the configuration.
fn named_issuers(scene: &ExplanationScene) -> BTreeSet<String> {
    let own = scene.config.accounts.as_ref().map(|accounts| accounts.issuer.as_str());
    let all = scene.config.upstreams.iter().flat_map(|upstream| issuers(&scene.config, upstream));
    all.filter(|issuer| Some(issuer.as_str()) != own && is_issuer(issuer)).collect()
}

/// The metadata of an issuer (RFC 8414, OpenID Connect Discovery).
async fn metadata(ways: &Arc<Ways>, issuer: &str) -> Result<IssuerSnapshot, String> {
    let mut reasons = Vec::new();
    for url in metadata_urls(issuer) {
        match document(ways, &url).await {
            Ok(document) if document.get("issuer").and_then(Value::as_str) == Some(issuer) => {
                let scopes = document.get("scopes_supported").cloned();
                let scopes_supported = scopes.and_then(|scopes| serde_json::from_value(scopes).ok());
                return Ok(IssuerSnapshot { scopes_supported });
            }
            Ok(_) => reasons.push(format!("{url}: it is of another issuer")),
            Err(why) => reasons.push(format!("{url}: {why}")),
        }
    }
    Err(reasons.join("; "))
}

async fn document(ways: &Arc<Ways>, url: &str) -> Result<Value, String> {
    let url: Url = url.parse().map_err(|error: url::ParseError| error.to_string())?;
    let fetcher = Fetcher::for_url(Arc::clone(ways), &url);
    let asking = timeout(LONGEST_ANSWER, fetcher.document(&url, "application/json")).await;
    let answer = asking.map_err(|_| "it takes too long".to_owned())?.map_err(|error| error.to_string())?;
    match answer.status().as_u16() {
        200 => serde_json::from_slice(answer.body()).map_err(|error| error.to_string()),
        status => Err(format!("status {status}")),
    }
}

/// The rate of requests that an upstream states, if it is a server with a URL.
async fn stated_rate(ways: &Arc<Ways>, upstream: &Upstream) -> Option<StatedRate> {
    let UpstreamTarget::Url { url, headers } = &upstream.target else { return None };
    let mut request =
        Request::new(Full::new(Bytes::from_static(PING)).map_err(|never| match never {}).boxed_unsync());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.as_str().parse().ok()?;
    let all = request.headers_mut();
    all.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in headers {
        let mut value = HeaderValue::from_str(value.expose_secret()).ok()?;
        value.set_sensitive(true);
        all.insert(HeaderName::try_from(name.as_str()).ok()?, value);
    }
    let asking = ways.api_client(url.scheme() == "https").request(request);
    let answer = timeout(LONGEST_ANSWER, asking).await.ok()?.ok()?;
    rate_of(answer.headers())
}

/// The smallest rate in the header `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers): `"burst";q=100;w=60`, and
/// in its former form `100;w=60`.
fn rate_of(headers: &HeaderMap) -> Option<StatedRate> {
    let values = headers.get_all(RATE_LIMIT_POLICY).iter().filter_map(|value| value.to_str().ok());
    let policies = values.flat_map(|value| value.split(','));
    policies.filter_map(stated).min_by_key(|stated| stated.count.saturating_mul(3600) / stated.seconds)
}

fn stated(policy: &str) -> Option<StatedRate> {
    let (name, parameters) = policy.trim().split_once(';')?;
    let parameter = |wanted: &str| {
        let mut pairs = parameters.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == wanted).and_then(|(_, value)| value.parse::<u64>().ok())
    };
    let count = parameter("q").or_else(|| name.parse().ok())?;
    Some(StatedRate { count, seconds: parameter("w").filter(|seconds| *seconds > 0)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_stated_rate_counts() {
        let rate = |value: &'static str| {
            let headers = HeaderMap::from_iter([(RATE_LIMIT_POLICY, HeaderValue::from_static(value))]);
            rate_of(&headers).map(|rate| (rate.count, rate.seconds))
        };
        for (value, expected) in [
            ("\"default\";q=100;w=60", Some((100, 60))),
            ("100;w=60", Some((100, 60))),
            ("\"burst\";q=50;w=1, \"daily\";q=1000;w=86400", Some((1000, 86400))),
            ("\"default\";q=100", None),
            ("\"default\";q=100;w=0", None),
            ("soon", None),
        ] {
            assert_eq!(rate(value), expected, "{value}");
        }
    }
}
