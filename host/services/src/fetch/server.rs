//! A server that policies ask: its time limit, its concurrency limit, and its circuit breaker.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use witgate_plugin::HttpError;

use super::exchange::{FetchError, Origin, WholeResponse};
use crate::network::reach::Reach;
use witgate_base::breaker::{BreakerChange, BreakerLimits, CallKind, CallerDigest, CircuitBreaker};
use witgate_runtime::shares::{self, Shares};

/// Maximum time for a complete answer. Identity providers answer in well under a second, and callers do not wait
/// longer.
const ANSWER: Duration = Duration::from_secs(4);
/// Maximum time to wait for a place among the running requests. Both times together are shorter than the time of a
/// hook, so that the hook can report the failure itself.
const PLACE: Duration = Duration::from_secs(1);
/// Maximum number of running requests to one server: with 50 ms for each, it answers a thousand callers in a second.
/// One caller gets half of them, as one address gets half of the connections, because unknown callers are identified
/// by their network, which many may share. Two of them still leave room for others, because shares shrink as they are
/// used.
const AT_ONCE: shares::Capacity = shares::Capacity { most: 64, most_of_one: 32 };
/// Maximum number of running and waiting requests. More would wait in vain.
pub(super) const SEATS: shares::Capacity =
    shares::Capacity { most: 8 * AT_ONCE.most, most_of_one: 8 * AT_ONCE.most_of_one };
/// The circuit breaker for a server. After a second, one request tries again. Each failure doubles the pause, up to
/// half a minute.
const FAILURES: BreakerLimits = BreakerLimits { failures: 5, pause: Duration::from_secs(1) };

/// One server, for one policy of one generation.
#[derive(Debug)]
pub(super) struct OriginServer {
    origin: Origin,
    reach: Reach,
    /// The places of running and of waiting requests.
    seats: Shares<CallerDigest>,
    at_once: Shares<CallerDigest>,
    breaker: CircuitBreaker,
}

impl OriginServer {
    pub(super) fn new(origin: Origin, reach: Reach) -> Self {
        Self::with(origin, reach, FAILURES)
    }

    /// A server that is asked even after failures.
    pub(super) fn tireless(origin: Origin, reach: Reach) -> Self {
        Self::with(origin, reach, BreakerLimits { failures: u32::MAX, ..FAILURES })
    }

    fn with(origin: Origin, reach: Reach, failures: BreakerLimits) -> Self {
        let breaker = CircuitBreaker::new(failures, Instant::now());
        let (seats, at_once) = (Shares::new(SEATS), Shares::new(AT_ONCE));
        Self { origin, reach, seats, at_once, breaker }
    }

    pub(super) fn reach(&self) -> Reach {
        self.reach
    }

    /// The answer to a request of `source`, unless requests to the server are paused.
    pub(super) async fn ask(
        &self,
        source: CallerDigest,
        question: impl Future<Output = Result<WholeResponse, FetchError>>,
    ) -> Result<WholeResponse, FetchError> {
        // The sender may be unknown, and each request takes memory.
        let _seat = self.seats.take(&source).ok_or_else(|| resting(Duration::ZERO))?;
        let place = timeout(PLACE, self.at_once.wait_for_one(&source)).await;
        let _place = place.map_err(|_| resting(Duration::ZERO))?;
        // The breaker is asked only now, so that requests that waited behind failing ones do not fail in the same way.
        let turn = self.breaker.turn(|| source, Instant::now).map_err(resting)?;
        let answer = timeout(ANSWER, question).await.unwrap_or_else(|_| Err(HttpError::TimedOut.into()));
        self.note(source, turn, &answer);
        answer
    }

    fn note(&self, source: CallerDigest, turn: CallKind, answer: &Result<WholeResponse, FetchError>) {
        match answer.as_ref().map_err(|unanswered| unanswered.error) {
            // No request was sent, so this says nothing about the server.
            Err(HttpError::NotGranted | HttpError::InvalidRequest | HttpError::Resting(_)) => {}
            Ok(response) if !response.status().is_server_error() => {
                if self.breaker.went_well(|| source, Instant::now) {
                    tracing::info!(server = %self.origin.0, "the server answers again");
                }
            }
            Ok(_) | Err(HttpError::Unreachable | HttpError::TimedOut | HttpError::TooLarge) => {
                match self.breaker.failed(turn, source, Instant::now()) {
                    BreakerChange::None => {}
                    BreakerChange::Out(pause) => {
                        tracing::warn!(server = %self.origin.0, "the server keeps failing; requests to it are paused for {pause:?}");
                    }
                    BreakerChange::OutForOne(pause) => {
                        tracing::warn!(server = %self.origin.0, "the server keeps failing for one caller; this caller's requests to it are paused for {pause:?}");
                    }
                }
            }
        }
    }
}

/// Rounded up, because a caller who comes back too early is refused again.
fn resting(left: Duration) -> FetchError {
    let seconds = u32::try_from(left.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    HttpError::Resting(seconds).into()
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt as _;
    use futures_util::future::join_all;
    use http::Response;
    use witgate_plugin::HttpError;

    use super::{FAILURES, FetchError, Origin, OriginServer, Reach, SEATS};
    use witgate_base::breaker::CallerDigest;

    #[tokio::test]
    async fn failing_requests_of_one_caller_do_not_block_others() {
        let server = OriginServer::new(Origin("http://a.example".to_owned()), Reach::Public);
        let [attacker, other] = [CallerDigest::of("attacker"), CallerDigest::of("other")];
        let ask =
            async |source| server.ask(source, std::future::ready(Err(HttpError::Unreachable.into()))).await;
        let ask = async |source| ask(source).await.map_err(|unanswered: FetchError| unanswered.error);
        for _ in 0..FAILURES.failures {
            assert!(matches!(ask(attacker).await, Err(HttpError::Unreachable)));
        }
        assert!(matches!(ask(attacker).await, Err(HttpError::Resting(_))));
        assert!(matches!(ask(other).await, Err(HttpError::Unreachable)), "it was asked");
    }

    #[tokio::test]
    async fn a_request_that_would_wait_too_long_fails_at_once() {
        let server = OriginServer::new(Origin("http://a.example".to_owned()), Reach::Public);
        let source = CallerDigest::of_peer(None);
        let mut waiting =
            Box::pin(join_all((0..SEATS.most).map(|n| server.ask(CallerDigest::of(n), pending()))));
        assert!((&mut waiting).now_or_never().is_none(), "nobody answers them");
        let answer = server.ask(source, pending()).now_or_never();
        let answer = answer.map(|answer| answer.map_err(|unanswered| unanswered.error));
        assert!(matches!(answer, Some(Err(HttpError::Resting(_)))), "{answer:?}");
        drop(waiting);
        assert!(server.ask(source, pending()).now_or_never().is_none(), "there is a seat again");
    }

    #[tokio::test]
    async fn a_flood_of_one_caller_leaves_room_for_all_others() {
        let server = OriginServer::new(Origin("http://a.example".to_owned()), Reach::Public);
        let [attacker, other] = [CallerDigest::of("attacker"), CallerDigest::of("other")];
        let of_attacker = (0..SEATS.most_of_one).map(|_| server.ask(attacker, pending()));
        let mut flood = Box::pin(join_all(of_attacker));
        assert!((&mut flood).now_or_never().is_none(), "nobody answers them");
        let more = server.ask(attacker, pending()).now_or_never();
        assert!(matches!(more, Some(Err(FetchError { error: HttpError::Resting(_), .. }))), "{more:?}");
        let answer = server.ask(other, ready(Ok(Response::default()))).now_or_never();
        assert!(matches!(answer, Some(Ok(_))), "{answer:?}");
    }

    #[tokio::test]
    async fn floods_of_several_callers_leave_room_for_all_others() {
        let server = OriginServer::new(Origin("http://a.example".to_owned()), Reach::Public);
        let (attackers, other) = ((0..4).map(CallerDigest::of), CallerDigest::of("other"));
        let of_attackers = attackers.flat_map(|attacker| [attacker; SEATS.most]);
        let waiting: Vec<_> = of_attackers
            .filter_map(|attacker| {
                let mut question = Box::pin(server.ask(attacker, pending()));
                (&mut question).now_or_never().is_none().then_some(question)
            })
            .collect();
        let answer = server.ask(other, ready(Ok(Response::default()))).now_or_never();
        assert!(matches!(answer, Some(Ok(_))), "{answer:?}");
        drop(waiting);
    }
}
