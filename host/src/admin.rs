//! The admin listener: `/healthz`, `/readyz`, `/metrics` and `/revoke`, on an address of their own that no client
//! reaches.

mod readiness;
pub(crate) mod state;
mod state_metrics;

use std::sync::Arc;
use std::time::Duration;

use ::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use ::http::request::Parts;
use ::http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::readiness::{PartState, UNNOTICED};
use self::state::GatewayState;
use crate::operation::Requester;
use crate::revocation::forget_token;
use witgate_base::digest::sha256;
use witgate_config::Server;
use witgate_message::headers::origin::AllowedNames;
use witgate_runtime::memory::RequestMemory;
use witgate_server::connections::table::{ConnectionLimits, Connections};
use witgate_server::connections::{self, ConnectionEnds, Listener, unread_body};
use witgate_server::hosts::Hosts;

/// Largest form: one token has 16 KiB at the most, and escapes make it longer.
const LARGEST_FORM: usize = 64 << 10;

/// Time limit for the request to arrive.
const FORM_TIME: Duration = Duration::from_secs(10);

/// Most connections at once: for probes, a collector of metrics and a few people.
const CONNECTIONS: usize = 64;

/// Memory for large heads and forms. Usual requests need none of it.
const REQUEST_MEMORY: usize = 1 << 20;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// The names that the admin listener answers under, beside the address of each connection: loopback names, the address
/// that it listens on, and the configured names. A page that has its own name resolve to this machine (DNS rebinding)
/// sends that name, and is refused.
pub(crate) fn names(server: &Server) -> AllowedNames {
    let listen = server.admin_listen.map(|address| address.ip()).filter(|ip| !ip.is_unspecified());
    let listen = listen.map(|ip| ip.to_string());
    let hosts = server.allowed_hosts.iter().map(String::as_str).chain(listen.as_deref());
    AllowedNames::new(hosts, [])
}

/// Serves until `ended`. From `stop` on, `/readyz` says that Witgate is not ready: a load balancer then sends requests
/// elsewhere, while running calls finish.
pub(crate) async fn serve(
    listener: TcpListener,
    names: AllowedNames,
    state: GatewayState,
    stop: CancellationToken,
    ended: CancellationToken,
) {
    let hosts = Arc::new(Hosts::new(names, "admin_listen"));
    let respond = move |request: Request<Incoming>, ends: ConnectionEnds| {
        let (state, stop, hosts) = (state.clone(), stop.clone(), Arc::clone(&hosts));
        async move {
            ends.connection.answers();
            match request.uri().path() {
                _ if !is_named(&hosts, &request, &ends) => {
                    plain(StatusCode::FORBIDDEN, TEXT, "unknown host name; see `server.allowed_hosts`\n")
                }
                "/revoke" => {
                    let (parts, mut body) = request.into_parts();
                    let by = Requester::Address(ends.peer.ip().to_canonical());
                    let response = revoke(&parts, &mut body, &state, by).await;
                    unread_body::discard(body, Some(&ends.connection));
                    response
                }
                _ => respond(&request, &state, stop.is_cancelled()),
            }
        }
    };
    let limits = ConnectionLimits { all: CONNECTIONS, of_one: CONNECTIONS };
    let connections = Connections::new(limits, RequestMemory::new(REQUEST_MEMORY));
    let listener = Listener {
        socket: listener,
        tls: None,
        connections,
        workers: Arc::default(),
        cut: CancellationToken::new(),
    };
    connections::serve(listener, ended, Duration::ZERO, respond).await;
}

/// True if a request names this server. A request of HTTP/1.0 need not name any, and no browser sends HTTP/1.0.
fn is_named(hosts: &Hosts, request: &Request<Incoming>, ends: &ConnectionEnds) -> bool {
    let (uri, headers) = (request.uri(), request.headers());
    if request.version() == Version::HTTP_10 && !headers.contains_key(HOST) && uri.authority().is_none() {
        return true;
    }
    let [local, peer] = [ends.local, ends.peer].map(|end| Some(end.ip().to_canonical()));
    hosts.check(uri, headers, local, peer).is_ok()
}

fn respond(request: &Request<Incoming>, state: &GatewayState, is_stopping: bool) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n");
    }
    match request.uri().path() {
        "/healthz" => plain(StatusCode::OK, TEXT, "ok\n"),
        "/readyz" if request.uri().query() == Some("verbose") => readiness(state, is_stopping),
        "/readyz" if is_stopping => plain(StatusCode::SERVICE_UNAVAILABLE, TEXT, "shutting down\n"),
        "/readyz" if state.reloader.as_ref().is_some_and(|reloader| !reloader.is_looking()) => {
            plain(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{UNNOTICED}\n"))
        }
        "/readyz" => plain(StatusCode::OK, TEXT, "ready\n"),
        "/metrics" => plain(StatusCode::OK, OPEN_METRICS, state.metrics.render()),
        _ => plain(StatusCode::NOT_FOUND, TEXT, "there are /healthz, /readyz, /metrics and /revoke\n"),
    }
}

/// The state of each part, with the reason. The status is that of `/readyz`.
fn readiness(state: &GatewayState, is_stopping: bool) -> Response<Full<Bytes>> {
    let (all, text) = readiness::verbose(&readiness::parts(state, is_stopping));
    let status = match all {
        PartState::Ok | PartState::Degraded => StatusCode::OK,
        PartState::NotReady => StatusCode::SERVICE_UNAVAILABLE,
    };
    plain(status, TEXT, text)
}

/// Takes a revocation as an authorization server does (RFC 7009, section 2.1): the form field `token`. Policies forget
/// the answers that they keep for the token, so that the next call asks the authorization server again. The answer
/// does not say whether the token was valid.
async fn revoke(
    parts: &Parts,
    body: &mut Incoming,
    state: &GatewayState,
    by: Requester,
) -> Response<Full<Bytes>> {
    if parts.method != Method::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only POST\n");
    }
    // A browser sends a form from any page without asking first.
    if parts.headers.contains_key(ORIGIN) {
        return plain(StatusCode::FORBIDDEN, TEXT, "not for browsers\n");
    }
    let body = Limited::new(body, LARGEST_FORM).collect();
    let Ok(body) = tokio::time::timeout(FORM_TIME, body).await else {
        return plain(StatusCode::REQUEST_TIMEOUT, TEXT, "the form did not arrive in time\n");
    };
    let Ok(body) = body else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, TEXT, "the form is too large\n");
    };
    let body = body.to_bytes();
    let token = url::form_urlencoded::parse(&body).find(|(name, _)| name == "token");
    let Some((_, token)) = token.filter(|(_, token)| !token.is_empty()) else {
        return plain(StatusCode::BAD_REQUEST, TEXT, "write the token as the form field `token`\n");
    };
    forget_token(&state.generations, &state.audit, &sha256(token.as_bytes()), by);
    plain(StatusCode::OK, TEXT, "")
}

fn plain(status: StatusCode, media: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, media);
    response
}
