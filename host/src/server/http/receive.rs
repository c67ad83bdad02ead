//! Bodies on their way in, within what may be held of them.

use std::time::Duration;

use ::http::HeaderMap;
use bytes::Bytes;
use http_body::Body as _;

use crate::flow::headers::media;
use crate::flow::reject::Rejection;
use crate::server::connections::memory::Held;
use crate::upstream::raw::{Inflow, join, next};

/// The largest message: what the SDKs take, too.
const MAX_BODY: usize = 4 << 20;

/// How long a body may take. 4 MiB in half a minute is a slow line, not an attack.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads the body of a POST, after what its headers say about it. `held` holds what has come of it.
///
/// # Errors
/// Why it goes no further.
pub(super) async fn receive(
    headers: &HeaderMap,
    body: &mut Inflow,
    held: &mut Held,
) -> Result<Bytes, Rejection> {
    media::is_json(headers)?;
    media::accepts_json(headers)?;
    let announced = body.size_hint().lower();
    if announced > MAX_BODY as u64 {
        return Err(Rejection::TooLarge);
    }
    let gathered = tokio::time::timeout(BODY_TIMEOUT, gather(body, held)).await;
    gathered.unwrap_or(Err(Rejection::BodyTimeout))
}

/// All of a body. What is held is what has come, not what was announced: to announce costs nothing.
async fn gather(body: &mut Inflow, held: &mut Held) -> Result<Bytes, Rejection> {
    let mut whole = Bytes::new();
    loop {
        let read = next(body).await.map_err(|_| Rejection::Parse("it ends too early".to_owned()))?;
        let Some(data) = read else { return Ok(whole) };
        let size = whole.len() + data.len();
        if size > MAX_BODY {
            return Err(Rejection::TooLarge);
        }
        held.cover(size).map_err(|_| Rejection::TooManyBodies)?;
        whole = if whole.is_empty() { data } else { join(whole, &data) };
    }
}
