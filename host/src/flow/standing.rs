//! Streams that stay open after their request is answered: GET, and `subscriptions/listen`. The
//! right to one is judged again when the identity or the generation that it stands on has ended;
//! the protocol leaves open what happens then, and here the stream ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::authenticate::authenticate;
use super::authorize::{Permit, authorize};
use super::credential::Shown;
use super::listing::Look;
use crate::generation::Generations;
use crate::upstream::Event;

/// How soon a stream that nothing comes through ends after its right has: a comparison of two
/// numbers per stream and second.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// What a standing stream's right rests on.
pub struct Standing {
    /// Where the live generation is.
    pub generations: Arc<Generations>,
    /// The right, as it was judged last.
    pub permit: Arc<Permit>,
    /// What the caller showed, to judge it again.
    pub shown: Shown,
    /// Looks at what the stream replays.
    pub look: Look,
    /// Set when Witgate shuts down.
    pub stop: CancellationToken,
}

impl Standing {
    /// The events for as long as the right stands.
    pub fn guard(self, events: BoxStream<'static, Event>) -> BoxStream<'static, Event> {
        let mut clock = interval(CHECK_EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        unfold((self, events, clock), Self::step).boxed()
    }

    async fn step(
        (mut standing, mut events, mut clock): (Self, BoxStream<'static, Event>, Interval),
    ) -> Option<(Event, (Self, BoxStream<'static, Event>, Interval))> {
        loop {
            let event = tokio::select! {
                () = standing.stop.cancelled() => return None,
                _ = clock.tick() => None,
                event = events.next() => Some(event?),
            };
            if !standing.still_stands().await {
                return None;
            }
            if let Some(event) = event
                && let Some(event) = standing.look.event(event, None).await
            {
                return Some((event, (standing, events, clock)));
            }
        }
    }

    async fn still_stands(&mut self) -> bool {
        let caller = self.permit.caller();
        if caller.identity().expires_at.is_some_and(|end| end <= now()) {
            return false;
        }
        let live = self.generations.live();
        if live.number() == self.permit.generation().number() {
            return true;
        }
        let request = self.permit.request();
        let Ok(again) = authenticate(&live, request, &self.shown).await else { return false };
        if again.principal() != caller.principal() {
            return false;
        }
        let Ok(permit) = authorize(live, Arc::clone(request), again).await else { return false };
        self.permit = Arc::new(permit);
        self.look.renew(Arc::clone(&self.permit));
        true
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs())
}
