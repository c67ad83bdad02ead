//! One exchange with a server. Addresses are checked when connecting, redirects are not followed, and the size of
//! answers is limited.

use bytes::Bytes;
use http::uri::Scheme;
use http_body_util::{BodyExt as _, Full, Limited};
use witgate_plugin::HttpError;

use super::exchange::{FetchError, WholeResponse};
use crate::network::reach::Reach;
use crate::network::{Destination, Ways, is_refused};

/// Largest answer. A JWK Set or an introspection answer has a few kilobytes.
const LARGEST_ANSWER: usize = 1 << 20;

/// Sends a request, and reads the complete answer.
pub(super) async fn exchange(
    ways: &Ways,
    reach: Reach,
    outgoing: http::Request<Full<Bytes>>,
) -> Result<WholeResponse, FetchError> {
    let secure = outgoing.uri().scheme() == Some(&Scheme::HTTPS);
    let client = ways.client(Destination::Asked(reach), secure);
    let response = client.request(outgoing).await.map_err(|error| match is_refused(&error) {
        true => FetchError::from(HttpError::NotGranted),
        false => FetchError::because(HttpError::Unreachable, &error),
    })?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, LARGEST_ANSWER)
        .collect()
        .await
        .map_err(|error| match error.is::<http_body_util::LengthLimitError>() {
            true => FetchError::from(HttpError::TooLarge),
            false => FetchError::because(HttpError::Unreachable, &*error),
        })?
        .to_bytes();
    Ok(WholeResponse::from_parts(head, body))
}
