//! Calls whose upstream says nothing for a while. What stands between takes a connection without a byte for dead, so
//! that an event stream is opened, comments keep it alive, and the answer comes as its event.

use std::time::Duration;

use ::http::{Response, StatusCode};
use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::body::Body;
use super::responses::{EVENTS, event_stream};
use witgate_flow::in_flight::InFlight;

/// Time that a call may be quiet: well below the 30 s after which the first proxies give up.
const QUIET: Duration = Duration::from_secs(10);

/// The time until the next look, where no stream may be opened yet.
const AGAIN: Duration = Duration::from_secs(1);

/// The answer of `work`, or the stream that will hold it. None in `under_way`: the caller takes no
/// event streams.
pub(super) async fn answer(
    work: BoxFuture<'static, Response<Body>>,
    under_way: Option<InFlight>,
) -> Response<Body> {
    answer_after(QUIET, work, under_way).await
}

async fn answer_after(
    quiet: Duration,
    mut work: BoxFuture<'static, Response<Body>>,
    under_way: Option<InFlight>,
) -> Response<Body> {
    let Some(under_way) = under_way else { return work.await };
    let mut wait = quiet;
    loop {
        tokio::select! {
            biased;
            response = &mut work => return response,
            () = sleep(wait) => wait = AGAIN,
        }
        if under_way.may_stream() {
            return event_stream(StatusCode::OK, EVENTS, Body::late(work));
        }
    }
}

#[cfg(test)]
mod tests;
