//! Calls whose upstream does not answer for a while. Proxies between client and Witgate close a connection on which
//! nothing is sent. So Witgate opens an event stream, keeps it alive with comments, and sends the answer as its event.

use std::time::Duration;

use ::http::{Response, StatusCode};
use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::body::Body;
use super::responses::{EVENTS, event_stream};
use witgate_flow::in_flight::InFlight;

/// The time until the event stream is opened: well below the 30 s after which the least patient proxies give up.
const QUIET: Duration = Duration::from_secs(10);

/// The pause before the next check, if the answer may not be a stream yet.
const AGAIN: Duration = Duration::from_secs(1);

/// The answer of `work`, or the event stream that will contain it. No `under_way`: the caller does not accept event
/// streams.
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
