//! Redirects of an upstream. Those that keep method and body (RFC 9110, 307 and 308) are followed within the origin,
//! so that headers of the configuration are not sent elsewhere. The target of other redirects is logged.

use std::sync::Arc;

use ::http::header::LOCATION;
use ::http::{Response, StatusCode, Uri};

use super::outgoing::Outgoing;
use witgate_flow::body::{BodyError, Inflow};
use witgate_services::network::upstream_client::UpstreamClient;

/// Maximum number of redirects. Usual ones add a slash or a version to the path; more are a loop.
const MOST: usize = 4;

/// Sends a request, and follows redirects.
pub(super) async fn follow(
    client: Arc<UpstreamClient>,
    mut outgoing: Outgoing,
) -> Result<Response<Inflow>, BodyError> {
    let mut left = MOST;
    loop {
        let response = client.request(&outgoing).await?.map(Inflow::from);
        let target = if left > 0 { next(outgoing.uri(), &response) } else { None };
        let Some(target) = target else { return Ok(response) };
        *outgoing.uri_mut() = target;
        left -= 1;
    }
}

/// The target of the redirect. None: the answer is passed on.
fn next(uri: &Uri, response: &Response<Inflow>) -> Option<Uri> {
    if !response.status().is_redirection() {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let from = url::Url::parse(&uri.to_string()).ok()?;
    let to = from.join(location).ok()?;
    let keeps = matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    if keeps && to.origin() == from.origin() && to.username().is_empty() && to.password().is_none() {
        return to.as_str().split('#').next()?.parse().ok();
    }
    let (origin, path) = (to.origin().ascii_serialization(), to.path());
    let status = response.status().as_u16();
    // URLs without queries, which may contain secrets.
    let upstream = from.origin().ascii_serialization() + from.path();
    tracing::warn!(upstream, status, origin, path, "its redirect is not followed; correct its `url`");
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led(status: u16, location: &str) -> Option<String> {
        let response = Response::builder().status(status).header(LOCATION, location);
        let response = response.body(Inflow::here(http_body_util::Empty::new())).unwrap();
        next(&"http://a:8080/mcp".parse().unwrap(), &response).map(|uri| uri.to_string())
    }

    #[test]
    fn redirects_are_followed_only_within_the_origin() {
        for (status, location, to) in [
            (307, "/mcp/", Some("http://a:8080/mcp/")),
            (308, "http://a:8080/v2?x=1#y", Some("http://a:8080/v2?x=1")),
            (308, "https://a:8080/mcp", None),
            (308, "http://a/mcp", None),
            (308, "//b:8080/mcp", None),
            (307, "http://user@a:8080/mcp", None),
            (302, "/mcp/", None),
            (303, "/mcp/", None),
            (200, "/mcp/", None),
        ] {
            assert_eq!(led(status, location).as_deref(), to, "{status} {location}");
        }
    }
}
