//! `witgate credential test --send`: a request with the credential to each place that it is for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::uri::InvalidUri;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio::time::timeout;
use url::Url;

use witgate_base::cause::with_sources;
use witgate_config::{Config, UpstreamTarget};
use witgate_services::network::Ways;

/// Maximum time for an answer.
const LONGEST_ANSWER: Duration = Duration::from_secs(20);

/// A message that changes nothing at a server.
const PING: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A place that gets the credential.
pub(super) struct TrialPlace {
    url: Url,
    /// True if it is an MCP server, which gets a `ping`. An API gets a GET.
    is_server: bool,
}

/// The answer of a place.
pub(super) struct TrialAnswer {
    /// The report for the operator.
    pub(super) report: String,
    /// True if the place has answered, and does not refuse the credential.
    pub(super) is_good: bool,
}

/// The places of the credential `name`, each once.
pub(super) fn places(config: &Config, name: &str) -> Vec<TrialPlace> {
    let mut places: Vec<TrialPlace> = Vec::new();
    for upstream in &config.upstreams {
        let credentials = &upstream.credentials;
        let own = credentials.own.as_ref().filter(|own| &*own.name == name);
        if let (Some(_), UpstreamTarget::Url { url, .. }) = (own, &upstream.target) {
            places.push(TrialPlace { url: url.clone(), is_server: true });
        }
        let apis = credentials.of_children.apis.values().filter(|api| &*api.credential.name == name);
        places.extend(apis.map(|api| TrialPlace { url: api.to.clone(), is_server: false }));
    }
    places.sort_by(|one, other| one.url.cmp(&other.url));
    places.dedup_by(|one, other| one.url == other.url && one.is_server == other.is_server);
    places
}

/// The answer of `place` to a request with these headers.
pub(super) async fn answer(ways: &Arc<Ways>, place: &TrialPlace, headers: HeaderMap) -> TrialAnswer {
    // A query may contain a secret.
    let url = format!("{}{}", place.url.origin().ascii_serialization(), place.url.path());
    match status(ways, place, headers).await {
        Ok(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)) => {
            TrialAnswer { report: format!("{url} refuses it: {status}"), is_good: false }
        }
        Ok(status) => TrialAnswer { report: format!("{url} answers {status}"), is_good: true },
        Err(why) => TrialAnswer { report: format!("{url} gives no answer: {why}"), is_good: false },
    }
}

async fn status(ways: &Arc<Ways>, place: &TrialPlace, mut headers: HeaderMap) -> Result<StatusCode, String> {
    let (method, body) =
        if place.is_server { (Method::POST, Bytes::from_static(PING)) } else { (Method::GET, Bytes::new()) };
    headers.insert(ACCEPT, BOTH);
    if place.is_server {
        headers.insert(CONTENT_TYPE, JSON);
    }
    let mut request = Request::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
    *request.method_mut() = method;
    *request.uri_mut() = place.url.as_str().parse().map_err(|error: InvalidUri| error.to_string())?;
    *request.headers_mut() = headers;
    let asking = ways.api_client(place.url.scheme() == "https").request(request);
    let answered = timeout(LONGEST_ANSWER, asking).await.map_err(|_| "it takes too long".to_owned())?;
    answered.map(|answer| answer.status()).map_err(|error| with_sources(&error))
}
