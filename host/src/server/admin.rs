//! `/healthz`, `/readyz` and `/metrics`, on a listener of their own that no client reaches.

use std::sync::Arc;
use std::time::Duration;

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderValue, Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::connections::{self, Listener};
use crate::metrics::Metrics;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Serves until `ended`. From `stop` on, Witgate is not ready: whatever sends requests is to send
/// them elsewhere, while running calls finish.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    ended: CancellationToken,
) {
    let respond = move |request: Request<Incoming>, _| {
        let (metrics, stop) = (Arc::clone(&metrics), stop.clone());
        async move { respond(&request, &metrics, &stop) }
    };
    let listener = Listener { socket: listener, tls: None };
    connections::serve(listener, ended, Duration::ZERO, respond).await;
}

fn respond(
    request: &Request<Incoming>,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n");
    }
    match request.uri().path() {
        "/healthz" => plain(StatusCode::OK, TEXT, "ok\n"),
        "/readyz" if stop.is_cancelled() => plain(StatusCode::SERVICE_UNAVAILABLE, TEXT, "shutting down\n"),
        "/readyz" => plain(StatusCode::OK, TEXT, "ready\n"),
        "/metrics" => plain(StatusCode::OK, OPEN_METRICS, metrics.render()),
        _ => plain(StatusCode::NOT_FOUND, TEXT, "there are /healthz, /readyz and /metrics\n"),
    }
}

fn plain(status: StatusCode, media: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, media);
    response
}
