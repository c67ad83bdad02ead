//! The reading of request bodies, within the limits of size, time and memory.

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

/// The time limit for a body: 30 s for each 4 MiB of the maximum size, or a part of it. A body that takes that long
/// comes over a slow line; it is not an attack.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
const IN_THAT_TIME: usize = 4 << 20;

/// Checks the headers of a POST request, and reads its body of at most `most` bytes. `held` reserves memory for the
/// bytes that have arrived.
///
/// # Errors
/// With the reason of the refusal.
pub(super) async fn receive(
    headers: &HeaderMap,
    body: &mut Inflow,
    most: usize,
    held: &mut Reservation<Peer>,
) -> Result<Bytes, Rejection> {
    media::is_json(headers)?;
    media::accepts_json(headers)?;
    receive_any(body, most, held).await
}

/// Reads a body of any form, of at most `most` bytes.
///
/// # Errors
/// With the reason of the refusal.
pub(super) async fn receive_any(
    body: &mut Inflow,
    most: usize,
    held: &mut Reservation<Peer>,
) -> Result<Bytes, Rejection> {
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

/// Reads a whole body. Memory is reserved for the bytes that have arrived, not for the announced size, because a false
/// announcement costs the sender nothing.
pub(super) async fn gather(
    body: &mut Inflow,
    most: usize,
    held: &mut Reservation<Peer>,
) -> Result<Bytes, Rejection> {
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
