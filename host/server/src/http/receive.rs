//! Bodies on their way in, within what may be held of them.

use std::time::Duration;

use ::http::HeaderMap;
use bytes::Bytes;
use http_body::Body as _;

use witgate_base::peer::Peer;
use witgate_flow::body::{Inflow, join, next};
use witgate_flow::reject::Rejection;
use witgate_message::fault::MessageFault;
use witgate_message::headers::media;
use witgate_runtime::memory::Reservation;

/// Time limit for a body: half a minute, and as long again for each further 4 MiB that it may have. That is a
/// slow line, not an attack.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
const IN_THAT_TIME: usize = 4 << 20;

/// Reads the body of a POST, after what its headers say about it. It has `most` bytes at most, and `held` holds what has come of it.
///
/// # Errors
/// Why it goes no further.
pub(super) async fn receive(
    headers: &HeaderMap,
    body: &mut Inflow,
    most: usize,
    held: &mut Reservation<Peer>,
) -> Result<Bytes, Rejection> {
    media::is_json(headers)?;
    media::accepts_json(headers)?;
    let announced = body.size_hint().lower();
    if announced > most as u64 {
        return Err(MessageFault::TooLarge.into());
    }
    let gathered = tokio::time::timeout(time_for(most), gather(body, most, held)).await;
    gathered.unwrap_or(Err(Rejection::BodyTimeout))
}

fn time_for(most: usize) -> Duration {
    let times = most.div_ceil(IN_THAT_TIME).max(1);
    BODY_TIMEOUT.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX))
}

/// All of a body. What is held is what has come, not what was announced: to announce costs nothing.
async fn gather(body: &mut Inflow, most: usize, held: &mut Reservation<Peer>) -> Result<Bytes, Rejection> {
    let mut whole = Bytes::new();
    loop {
        let read = next(body).await.map_err(|_| MessageFault::Parse("it ends too early".to_owned()))?;
        let Some(data) = read else { return Ok(whole) };
        let size = whole.len() + data.len();
        if size > most {
            return Err(MessageFault::TooLarge.into());
        }
        held.cover(size).map_err(|_| Rejection::TooManyBodies)?;
        whole = if whole.is_empty() { data } else { join(whole, &data) };
    }
}
