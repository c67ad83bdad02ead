//! The circuit breaker for a component or a server. While it is open, calls are paused; probes close it once calls
//! succeed again. If only one caller causes failures, it opens for that caller alone. If several do with no success in
//! between, it opens for all.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash};
use std::net::IpAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use parking_lot::Mutex;

use crate::peer::Peer;

/// Upper bound of the back-off: there is at least one probe in this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Number of sources that have to fail before the breaker opens for all. One caller may have two sources.
const SEVERAL: u32 = 3;

/// Number of sources whose failures are remembered. If there are more, the source with the oldest failure is
/// forgotten.
const SOURCES: usize = 1024;

/// A failure is forgotten after this time.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// The source of a call: a principal, or a network as long as the principal is not known. The digest is valid only in
/// this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallerDigest {
    digest: u64,
    /// True if a credential has proven the source. Networks prove less, because a stranger may have many of them.
    is_proven: bool,
}

impl CallerDigest {
    /// The source for the principal that `this` identifies.
    pub fn of(this: impl Hash) -> Self {
        Self { digest: digest(this), is_proven: true }
    }

    /// The source for all senders in the network of a peer. None: the client on stdio, or this program itself.
    pub fn of_peer(peer: Option<IpAddr>) -> Self {
        Self { digest: digest(peer.map(Peer::from)), is_proven: false }
    }
}

fn digest(this: impl Hash) -> u64 {
    static HASH: LazyLock<RandomState> = LazyLock::new(RandomState::default);
    HASH.hash_one(this)
}

/// The bounds of a breaker: the failures after which it opens, and the pauses. They apply to one caller, and to all
/// callers if several fail with no success in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerLimits {
    /// Failures without a success in between.
    pub failures: u32,
    /// The first pause. Each probe that fails doubles it, up to 30 seconds.
    pub pause: Duration,
}

impl Default for BreakerLimits {
    /// The default bounds. A caller who makes a plugin fail ten times in a row loses only their own calls, and has
    /// another try after one second.
    fn default() -> Self {
        Self { failures: 10, pause: Duration::from_secs(1) }
    }
}

/// The circuit breaker of one component or server.
#[derive(Debug)]
pub struct CircuitBreaker {
    bounds: BreakerLimits,
    /// True if there are no recent failures. Most calls read only this flag.
    is_quiet: AtomicBool,
    state: Mutex<BreakerState>,
}

#[derive(Debug)]
struct BreakerState {
    /// Sources that have failed and have not succeeded since.
    failing: HashMap<CallerDigest, FailingCaller>,
    streak: Streak,
    /// The state for all callers.
    out: Option<Outage>,
    /// The next time at which old failures are forgotten.
    tidy_at: Instant,
}

/// Failures of all sources since the last success of any.
#[derive(Debug, Default)]
struct Streak {
    number: u64,
    failures: u32,
    sources: u32,
}

/// A source with failures.
#[derive(Debug)]
struct FailingCaller {
    failures: u32,
    last: Instant,
    /// The streak of failures in which it was last counted.
    streak: Option<u64>,
    /// The state for this source.
    out: Option<Pause>,
}

/// A pause, and the probe after it.
#[derive(Debug)]
struct Pause {
    until: Instant,
    length: Duration,
}

/// The state while the breaker is open for all callers, until a probe succeeds.
#[derive(Debug)]
struct Outage {
    /// The next probe of a source that has failed itself.
    failing: Pause,
    /// The next probe of another source. Its success proves more, and it need not wait for failing sources.
    others_until: Instant,
    /// The next probe of another source with a credential, which need not wait for strangers either.
    proven_until: Instant,
}

/// The permission for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// An ordinary call.
    Regular,
    /// A probe.
    Probe,
}

/// The change of the breaker's state after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerChange {
    /// No change.
    None,
    /// The breaker is open for the source, for this time.
    OutForOne(Duration),
    /// The breaker is open for all, for this time.
    Out(Duration),
}

/// The callers for whom the breaker is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutageScope {
    /// None.
    Nobody,
    /// Some that it keeps failing for.
    SomeCallers,
    /// All callers.
    Everybody,
}

impl CircuitBreaker {
    /// A closed breaker.
    pub fn new(bounds: BreakerLimits, now: Instant) -> Self {
        let (failing, streak) = Default::default();
        let state = BreakerState { failing, streak, out: None, tidy_at: now + FORGOTTEN };
        Self { bounds, is_quiet: AtomicBool::new(true), state: Mutex::new(state) }
    }

    /// The callers for whom the breaker is open.
    pub fn out_for(&self) -> OutageScope {
        let state = self.state.lock();
        match state.out.is_some() {
            true => OutageScope::Everybody,
            false if state.failing.values().any(|failing| failing.out.is_some()) => OutageScope::SomeCallers,
            false => OutageScope::Nobody,
        }
    }

    /// Asks for permission to make a call. Without it, returns the time until this source may try again.
    pub fn turn(
        &self,
        source: impl FnOnce() -> CallerDigest,
        now: impl FnOnce() -> Instant,
    ) -> Result<CallKind, Duration> {
        if self.is_quiet.load(Ordering::Relaxed) {
            return Ok(CallKind::Regular);
        }
        let (source, now) = (source(), now());
        let BreakerState { failing, out, .. } = &mut *self.state.lock();
        let failing = failing.get_mut(&source);
        let has_failed = failing.is_some();
        let mut own = failing.and_then(|failing| failing.out.as_mut());
        let mut all = out.as_mut().map(|out| out.for_one_that(has_failed, source));
        let ends = [own.as_ref().map(|pause| pause.until), all.as_ref().map(|until| **until)];
        let left = ends.into_iter().flatten().map(|end| end.saturating_duration_since(now)).max();
        match left {
            None => return Ok(CallKind::Regular),
            Some(Duration::ZERO) => {}
            Some(left) => return Err(left),
        }
        // Allows one probe at a time. If one never ends, because its caller has gone, another one follows after a
        // while.
        if let Some(own) = &mut own {
            own.until = now + own.length;
        }
        if let Some(until) = &mut all {
            **until = now + self.bounds.pause;
        }
        Ok(CallKind::Probe)
    }

    /// Records the success of a call. True: the breaker has closed for all.
    pub fn went_well(&self, source: impl FnOnce() -> CallerDigest, now: impl FnOnce() -> Instant) -> bool {
        if self.is_quiet.load(Ordering::Relaxed) {
            return false;
        }
        let mut state = self.state.lock();
        state.failing.remove(&source());
        state.streak = Streak { number: state.streak.number + 1, ..Streak::default() };
        state.forget(now());
        self.is_quiet.store(state.failing.is_empty(), Ordering::Relaxed);
        state.out.take().is_some()
    }

    /// Records the failure of a call.
    pub fn failed(&self, turn: CallKind, source: CallerDigest, now: Instant) -> BreakerChange {
        let mut state = self.state.lock();
        self.is_quiet.store(false, Ordering::Relaxed);
        let has_failed = state.failing.contains_key(&source);
        let own = state.note(source, now).is_out(turn, self.bounds, now);
        let all = state.is_out(turn, has_failed, source, self.bounds, now);
        match (all, own) {
            (Some(pause), _) => BreakerChange::Out(pause),
            (None, Some(pause)) => BreakerChange::OutForOne(pause),
            (None, None) => BreakerChange::None,
        }
    }
}

impl BreakerState {
    /// Counts a failure of this source.
    fn note(&mut self, source: CallerDigest, now: Instant) -> &mut FailingCaller {
        self.make_room_for(source);
        let Self { failing, streak, .. } = self;
        let own = failing.entry(source).or_insert(FailingCaller {
            failures: 0,
            last: now,
            streak: None,
            out: None,
        });
        (own.failures, own.last) = (own.failures.saturating_add(1), now);
        streak.failures = streak.failures.saturating_add(1);
        if own.streak.replace(streak.number) != Some(streak.number) {
            streak.sources = streak.sources.saturating_add(1);
        }
        own
    }

    fn make_room_for(&mut self, source: CallerDigest) {
        if self.failing.len() < SOURCES || self.failing.contains_key(&source) {
            return;
        }
        let oldest = self.failing.iter().min_by_key(|(_, failing)| failing.last).map(|(source, _)| *source);
        if let Some(oldest) = oldest {
            self.failing.remove(&oldest);
        }
    }

    /// Decides whether a failure opens the breaker for all, or keeps it open, and for how long.
    fn is_out(
        &mut self,
        turn: CallKind,
        had_failed: bool,
        source: CallerDigest,
        bounds: BreakerLimits,
        now: Instant,
    ) -> Option<Duration> {
        match (&mut self.out, turn) {
            (Some(out), CallKind::Probe) if had_failed => Some(out.failing.longer(now)),
            // The next probe waits from the end of this one, however long it took.
            (Some(out), CallKind::Probe) => {
                *out.for_one_that(false, source) = now + bounds.pause;
                None
            }
            // The failure of a call that began before the breaker opened is no news.
            (Some(_), CallKind::Regular) => None,
            (None, _) if self.streak.failures < bounds.failures || self.streak.sources < SEVERAL => None,
            (None, _) => {
                let failing = Pause::new(bounds, now);
                self.out = Some(Outage { failing, others_until: now, proven_until: now });
                Some(bounds.pause)
            }
        }
    }

    fn forget(&mut self, now: Instant) {
        if now >= self.tidy_at {
            self.failing.retain(|_, failing| now.saturating_duration_since(failing.last) < FORGOTTEN);
            self.tidy_at = now + FORGOTTEN;
        }
    }
}

impl FailingCaller {
    /// Decides whether a failure opens the breaker for this source, or keeps it open, and for how long.
    fn is_out(&mut self, turn: CallKind, bounds: BreakerLimits, now: Instant) -> Option<Duration> {
        match (&mut self.out, turn) {
            (Some(pause), CallKind::Probe) => Some(pause.longer(now)),
            (Some(_), CallKind::Regular) => None,
            (None, _) if self.failures < bounds.failures => None,
            (None, _) => {
                self.out = Some(Pause::new(bounds, now));
                Some(bounds.pause)
            }
        }
    }
}

impl Outage {
    fn for_one_that(&mut self, has_failed: bool, source: CallerDigest) -> &mut Instant {
        match (has_failed, source.is_proven) {
            (true, _) => &mut self.failing.until,
            (false, true) => &mut self.proven_until,
            (false, false) => &mut self.others_until,
        }
    }
}

impl Pause {
    fn new(bounds: BreakerLimits, now: Instant) -> Self {
        Self { until: now + bounds.pause, length: bounds.pause }
    }

    fn longer(&mut self, now: Instant) -> Duration {
        self.length = (self.length * 2).min(LONGEST_PAUSE);
        self.until = now + self.length;
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);
    const FAILURES: u32 = 3;

    fn breaker(now: Instant) -> CircuitBreaker {
        CircuitBreaker::new(BreakerLimits { failures: FAILURES, pause: PAUSE }, now)
    }

    fn caller(name: &str) -> CallerDigest {
        CallerDigest::of(name)
    }

    fn turn(breaker: &CircuitBreaker, name: &str, now: Instant) -> Result<CallKind, Duration> {
        breaker.turn(|| caller(name), || now)
    }

    fn fail(breaker: &CircuitBreaker, name: &str, now: Instant) -> BreakerChange {
        breaker.failed(CallKind::Regular, caller(name), now)
    }

    fn succeed(breaker: &CircuitBreaker, name: &str, now: Instant) -> bool {
        breaker.went_well(|| caller(name), || now)
    }

    /// Opens the breaker for all, by failures of three sources, none of which fails often enough to open it for
    /// itself.
    fn trip(breaker: &CircuitBreaker, now: Instant) {
        assert_eq!(fail(breaker, "a", now), BreakerChange::None);
        assert_eq!(fail(breaker, "b", now), BreakerChange::None);
        assert_eq!(fail(breaker, "c", now), BreakerChange::Out(PAUSE));
    }

    #[test]
    fn a_success_between_failures_keeps_the_breaker_closed() {
        let now = Instant::now();
        let breaker = breaker(now);
        for _ in 0..10 {
            assert_eq!(fail(&breaker, "a", now), BreakerChange::None);
            assert_eq!(fail(&breaker, "a", now), BreakerChange::None);
            assert!(!succeed(&breaker, "a", now));
        }
        assert_eq!(turn(&breaker, "a", now), Ok(CallKind::Regular));
        for _ in 0..10 {
            assert_eq!(fail(&breaker, "a", now), BreakerChange::None);
            assert_eq!(fail(&breaker, "b", now), BreakerChange::None);
            succeed(&breaker, "a", now);
            succeed(&breaker, "b", now);
            assert_eq!(fail(&breaker, "c", now), BreakerChange::None);
            succeed(&breaker, "c", now);
        }
        assert_eq!(breaker.out_for(), OutageScope::Nobody);
    }

    #[test]
    fn failures_of_one_caller_open_the_breaker_for_that_caller_only() {
        let now = Instant::now();
        let breaker = breaker(now);
        for _ in 0..2 {
            assert_eq!(fail(&breaker, "a", now), BreakerChange::None);
        }
        assert_eq!(fail(&breaker, "a", now), BreakerChange::OutForOne(PAUSE));
        for _ in 0..1000 {
            assert_eq!(fail(&breaker, "a", now), BreakerChange::None, "was under way");
        }
        assert_eq!(turn(&breaker, "a", now + PAUSE / 2), Err(PAUSE / 2));
        assert_eq!(turn(&breaker, "b", now), Ok(CallKind::Regular));
        // The failure of another source makes it two.
        for _ in 0..1000 {
            fail(&breaker, "b", now);
        }
        assert_eq!(turn(&breaker, "c", now), Ok(CallKind::Regular));
        assert_eq!(breaker.out_for(), OutageScope::SomeCallers);
        assert!(!succeed(&breaker, "c", now));
        assert!(turn(&breaker, "a", now).is_err(), "a success of somebody else's does not bring it back");
    }

    #[test]
    fn an_open_breaker_of_one_caller_is_probed_by_one_call_at_a_time_and_closes() {
        let now = Instant::now();
        let breaker = breaker(now);
        for _ in 0..FAILURES {
            fail(&breaker, "a", now);
        }
        assert_eq!(turn(&breaker, "a", now + PAUSE), Ok(CallKind::Probe));
        assert_eq!(turn(&breaker, "a", now + PAUSE), Err(PAUSE), "a second one while the first is under way");
        succeed(&breaker, "a", now + PAUSE);
        assert_eq!(turn(&breaker, "a", now + PAUSE), Ok(CallKind::Regular));
        assert_eq!(breaker.out_for(), OutageScope::Nobody);
    }

    #[test]
    fn a_probe_that_fails_doubles_the_pause_up_to_half_a_minute() {
        let mut now = Instant::now();
        let (one, all) = (breaker(now), breaker(now));
        for _ in 0..FAILURES {
            fail(&one, "a", now);
        }
        trip(&all, now);
        for seconds in [2, 4, 8, 16, 30, 30] {
            now += Duration::from_secs(60);
            let pause = Duration::from_secs(seconds);
            assert_eq!(turn(&one, "a", now), Ok(CallKind::Probe));
            assert_eq!(one.failed(CallKind::Probe, caller("a"), now), BreakerChange::OutForOne(pause));
            assert_eq!(turn(&all, "a", now), Ok(CallKind::Probe));
            assert_eq!(all.failed(CallKind::Probe, caller("a"), now), BreakerChange::Out(pause));
        }
        assert!(turn(&one, "a", now + PAUSE).is_err() && turn(&all, "b", now + PAUSE).is_err());
    }

    #[test]
    fn failures_of_several_callers_open_the_breaker_for_all_until_the_first_success() {
        let now = Instant::now();
        let breaker = breaker(now);
        trip(&breaker, now);
        assert_eq!(breaker.out_for(), OutageScope::Everybody);
        for failing in ["a", "b", "c"] {
            assert_eq!(turn(&breaker, failing, now), Err(PAUSE));
        }
        assert_eq!(turn(&breaker, "a", now + PAUSE), Ok(CallKind::Probe));
        assert_eq!(turn(&breaker, "b", now + PAUSE), Err(PAUSE));
        assert!(succeed(&breaker, "a", now + PAUSE));
        assert_eq!(turn(&breaker, "b", now + PAUSE), Ok(CallKind::Regular));
        assert!(!succeed(&breaker, "a", now + PAUSE), "it is back only once");
    }

    #[test]
    fn a_caller_without_failures_does_not_wait_for_callers_with_failures() {
        let now = Instant::now();
        let breaker = breaker(now);
        trip(&breaker, now);
        assert_eq!(turn(&breaker, "d", now), Ok(CallKind::Probe), "at once");
        assert_eq!(turn(&breaker, "e", now), Err(PAUSE), "and one at a time");
        // The failing probes of the others do not delay that.
        assert_eq!(turn(&breaker, "a", now + PAUSE), Ok(CallKind::Probe));
        assert_eq!(breaker.failed(CallKind::Probe, caller("a"), now + PAUSE), BreakerChange::Out(2 * PAUSE));
        assert_eq!(turn(&breaker, "e", now + PAUSE), Ok(CallKind::Probe));
        assert_eq!(breaker.failed(CallKind::Probe, caller("e"), now + PAUSE), BreakerChange::None);
        assert_eq!(turn(&breaker, "f", now + 2 * PAUSE), Ok(CallKind::Probe));
        assert!(succeed(&breaker, "f", now + 2 * PAUSE));
    }

    #[test]
    fn a_principal_without_failures_does_not_wait_for_strangers() {
        let now = Instant::now();
        let breaker = breaker(now);
        let stranger = |last| CallerDigest::of_peer(Some(IpAddr::from([192, 0, 2, last])));
        for last in 0..10 {
            breaker.failed(CallKind::Regular, stranger(last), now);
        }
        assert_eq!(breaker.out_for(), OutageScope::Everybody);
        assert_eq!(breaker.turn(|| stranger(20), || now), Ok(CallKind::Probe));
        assert_eq!(breaker.turn(|| stranger(21), || now), Err(PAUSE), "one at a time");
        breaker.failed(CallKind::Probe, stranger(20), now);
        assert_eq!(turn(&breaker, "somebody", now), Ok(CallKind::Probe), "whoever else tries");
        assert!(succeed(&breaker, "somebody", now));
    }

    #[test]
    fn calls_that_began_before_the_breaker_opened_change_nothing() {
        let now = Instant::now();
        let breaker = breaker(now);
        trip(&breaker, now);
        assert_eq!(fail(&breaker, "a", now + PAUSE / 2), BreakerChange::None);
        assert_eq!(turn(&breaker, "a", now + PAUSE), Ok(CallKind::Probe));
    }

    #[test]
    fn the_memory_of_failures_is_limited_in_sources_and_time() {
        let now = Instant::now();
        let breaker = breaker(now);
        for name in 0..3 * SOURCES {
            let at = now + Duration::from_micros(name as u64);
            breaker.failed(CallKind::Regular, CallerDigest::of(name), at);
        }
        assert_eq!(breaker.state.lock().failing.len(), SOURCES);
        assert!(!breaker.state.lock().failing.contains_key(&CallerDigest::of(0)));
        assert!(breaker.state.lock().failing.contains_key(&CallerDigest::of(3 * SOURCES - 1)));
        succeed(&breaker, "a", now + 2 * FORGOTTEN);
        assert!(breaker.is_quiet.load(Ordering::Relaxed), "nothing is left to remember");
    }

    #[test]
    fn addresses_of_one_network_are_one_source() {
        let of = |peer: &str| CallerDigest::of_peer(Some(peer.parse().unwrap()));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1:2:3"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_ne!(of("192.0.2.1"), CallerDigest::of_peer(None));
    }
}
