//! The table of a listener's connections: their maximum number, in all and per sender, and the order in which they are
//! ended.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tokio_util::sync::CancellationToken;

use crate::proxies::TrustedProxies;
use crate::refusals::EarlyRefusals;
use witgate_base::peer::Peer;
use witgate_flow::known_sender::KnownSender;
use witgate_policy::generation::Generations;
use witgate_runtime::log::throttle::LogThrottle;
use witgate_runtime::memory::{RequestMemory, Reservation};
use witgate_runtime::metrics::Metrics;

/// The pause between two searches for connections to end, because a search looks at every connection, of all senders or
/// of one. The pause applies only if the last such search has ended too few connections. Otherwise, the next search
/// comes after as many new connections as it has ended.
const LOOKING: Duration = Duration::from_millis(100);

/// The limits of the table of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// The maximum number of all connections.
    pub all: usize,
    /// The maximum number of connections of one sender.
    pub of_one: usize,
}

/// The connections of one listener.
#[derive(Debug)]
pub struct Connections {
    limits: Mutex<ConnectionLimits>,
    memory: Arc<RequestMemory>,
    table: Mutex<ConnectionTable>,
    counts: ConnectionMetrics,
    refusing: LogThrottle,
    proxies: ArcSwap<TrustedProxies>,
    refusals: Arc<EarlyRefusals>,
    /// Know the denied peers. None: there are none.
    generations: Option<Arc<Generations>>,
}

#[derive(Debug, Default)]
struct ConnectionTable {
    open: HashMap<u64, Arc<Connection>>,
    by_peer: HashMap<Peer, PeerConnections>,
    next: u64,
    /// The time of the last search among all connections that has ended too few.
    looked: Option<Instant>,
}

/// The connections of one sender.
#[derive(Debug, Default)]
struct PeerConnections {
    /// Their numbers in the table.
    open: HashSet<u64>,
    /// The time of the last search among them that has ended too few.
    looked: Option<Instant>,
}

#[derive(Debug, Default)]
struct ConnectionMetrics {
    open: Gauge,
    refused: Family<BoundLabel, Counter>,
    ended: Counter,
}

/// The limit that a refused connection has met.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct BoundLabel {
    of: &'static str,
}

const OF_ALL: BoundLabel = BoundLabel { of: "all" };
const OF_PEER: BoundLabel = BoundLabel { of: "peer" };
/// Not a limit: the peer is denied.
const DENIED: BoundLabel = BoundLabel { of: "denied" };

impl Connections {
    /// An empty table. `memory` is the memory for heads and bodies.
    pub fn new(limits: ConnectionLimits, memory: Arc<RequestMemory>) -> Arc<Self> {
        Self::behind(TrustedProxies::default(), limits, memory, None)
    }

    /// The same, behind these proxies, without the peers that `generations` deny. A proxy's connections carry requests
    /// of many clients, so they are not limited to the share of one sender.
    pub fn behind(
        proxies: TrustedProxies,
        limits: ConnectionLimits,
        memory: Arc<RequestMemory>,
        generations: Option<&Arc<Generations>>,
    ) -> Arc<Self> {
        let generations = generations.cloned();
        let (table, counts, refusing) =
            (Mutex::default(), ConnectionMetrics::default(), LogThrottle::default());
        let refusals = Arc::default();
        let (limits, proxies) = (Mutex::new(limits), ArcSwap::from_pointee(proxies));
        Arc::new(Self { limits, memory, table, counts, refusing, proxies, refusals, generations })
    }

    /// Replaces the limits. Connections that are too many now stay until they end.
    pub(crate) fn set_limits(&self, limits: ConnectionLimits) {
        *self.limits.lock() = limits;
    }

    /// Replaces the proxies in front of the listener, unless they are the same.
    pub(crate) fn set_proxies(&self, proxies: TrustedProxies) {
        if !self.proxies.load().trusts_as(&proxies) {
            self.proxies.store(Arc::new(proxies));
        }
    }

    fn limits(&self) -> ConnectionLimits {
        *self.limits.lock()
    }

    /// The memory that the heads and bodies of all connections share.
    pub fn memory(&self) -> &Arc<RequestMemory> {
        &self.memory
    }

    /// Registers the counters of connections and of the memory with `metrics`.
    pub fn register(&self, metrics: &Metrics) {
        let ConnectionMetrics { open, refused, ended } = &self.counts;
        // A counter that begins with its first increment has no rate at that time.
        [OF_ALL, OF_PEER].iter().for_each(|bound| drop(refused.get_or_create(bound)));
        metrics.register(|registry| {
            registry.register("connections", "Connections of clients", open.clone());
            let help = "Connections that were refused: there were too many, in all or of one peer, or the peer is denied";
            registry.register("connections_refused", help, refused.clone());
            let help = "Connections without a request that were ended because there were too many";
            registry.register("connections_ended", help, ended.clone());
        });
        self.refusals.register(metrics);
        self.memory.register(
            metrics,
            "request_memory_bytes",
            "Bytes of large heads and bodies that are held",
        );
    }

    /// The proxies in front of the listener.
    pub fn proxies(&self) -> Guard<Arc<TrustedProxies>> {
        self.proxies.load()
    }

    /// The refusals before there is a message, for the audit.
    pub(crate) fn refusals(&self) -> &Arc<EarlyRefusals> {
        &self.refusals
    }

    /// Admits a connection. `end` can end it. None: there are too many connections.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr, end: ConnectionEnd) -> Option<Admission> {
        // A proxy's requests are those of others. They are looked at one by one.
        if self.proxies().trusts(peer) {
            return self.admit_within(self.limits().all, peer, end);
        }
        self.admit_client(peer, end)
    }

    fn admit_client(self: &Arc<Self>, client: IpAddr, end: ConnectionEnd) -> Option<Admission> {
        if self.denies(client) {
            self.counts.refused.get_or_create(&DENIED).inc();
            return None;
        }
        self.admit_within(self.limits().of_one, client, end)
    }

    /// True if this client may not connect. Their connections are closed without an answer.
    pub(crate) fn denies(&self, client: IpAddr) -> bool {
        self.generations.as_ref().is_some_and(|generations| generations.deny_peer(client))
    }

    fn admit_within(self: &Arc<Self>, share: usize, peer: IpAddr, end: ConnectionEnd) -> Option<Admission> {
        let peer = Peer::from(peer);
        let mut table = self.table.lock();
        if table.open.len() >= self.crowded() {
            self.make_room(&mut table, None);
        }
        if table.of_one(peer) >= share {
            self.make_room(&mut table, Some(peer));
        }
        let bound = match table.of_one(peer) >= share {
            true => OF_PEER,
            false if table.open.len() >= self.limits().all => OF_ALL,
            false => return Some(self.take_in(&mut table, peer, end)),
        };
        let open = table.open.len();
        drop(table);
        self.counts.refused.get_or_create(&bound).inc();
        if let Some(others) = self.refusing.turn() {
            tracing::warn!(
                open,
                others,
                too_many_of = bound.of,
                "connections are refused; see `server.max_connections`"
            );
        }
        None
    }

    /// Ends connections that wait for their clients, because the process has no more descriptors.
    pub(crate) fn free_descriptors(&self) {
        let mut table = self.table.lock();
        self.make_room(&mut table, None);
    }

    fn take_in(self: &Arc<Self>, table: &mut ConnectionTable, peer: Peer, end: ConnectionEnd) -> Admission {
        let connection = Arc::new(Connection {
            peer,
            opened: Instant::now(),
            waits_since: AtomicU64::new(1),
            heads: AtomicU32::new(0),
            turns: AtomicU32::new(0),
            is_blocked: AtomicBool::new(false),
            known: KnownSender::default(),
            end,
        });
        let number = table.next;
        table.next += 1;
        table.open.insert(number, Arc::clone(&connection));
        table.by_peer.entry(peer).or_default().open.insert(number);
        self.counts.open.inc();
        Admission { connections: Arc::clone(self), number, connection }
    }

    /// The number of connections from which on new connections displace waiting ones: seven eighths of the maximum.
    fn crowded(&self) -> usize {
        let most = self.limits().all;
        most - most / 8
    }

    /// Ends an eighth of the connections, or of one sender's connections. Only connections that wait for their clients
    /// are ended, the longest waiting first. Connections without a valid credential so far are ended first. The others
    /// are ended only if there are none of the former and the table is almost full.
    fn make_room(&self, table: &mut ConnectionTable, of: Option<Peer>) {
        if table.looked(of).is_some_and(|looked| looked.elapsed() < LOOKING) {
            return;
        }
        let limits = self.limits();
        let spares_known = of.is_none() && table.open.len() < limits.all - limits.all / 16;
        let mut waiting = table.waiting(of);
        waiting.retain(|(rank, _)| !(spares_known && rank.0));
        waiting.sort_unstable();
        let is_known = waiting.first().is_some_and(|(rank, _)| rank.0);
        let most = (if of.is_some() { limits.of_one } else { limits.all } / 8).max(1);
        let mut ended = 0;
        for (_, number) in waiting.into_iter().take(most).take_while(|(rank, _)| rank.0 == is_known) {
            if let Some(connection) = table.remove(number) {
                connection.end.now();
                self.counts.open.dec();
                self.counts.ended.inc();
                ended += 1;
            }
        }
        table.note_search(of, (ended < most).then(Instant::now));
    }
}

impl ConnectionTable {
    fn of_one(&self, peer: Peer) -> usize {
        self.by_peer.get(&peer).map_or(0, |connections| connections.open.len())
    }

    /// The connections that wait for their clients, of all senders or of one, each with its rank.
    fn waiting(&self, of: Option<Peer>) -> Vec<(EvictionRank, u64)> {
        let ranked = |(number, connection): (&u64, &Arc<Connection>)| Some((connection.rank()?, *number));
        match of {
            None => self.open.iter().filter_map(ranked).collect(),
            Some(peer) => {
                let numbers = self.by_peer.get(&peer).into_iter().flat_map(|connections| &connections.open);
                numbers.filter_map(|number| ranked((number, self.open.get(number)?))).collect()
            }
        }
    }

    /// The time of the last search that has ended too few connections, among all or those of one sender.
    fn looked(&self, of: Option<Peer>) -> Option<Instant> {
        match of {
            None => self.looked,
            Some(peer) => self.by_peer.get(&peer)?.looked,
        }
    }

    fn note_search(&mut self, of: Option<Peer>, looked: Option<Instant>) {
        match of {
            None => self.looked = looked,
            Some(peer) => {
                if let Some(connections) = self.by_peer.get_mut(&peer) {
                    connections.looked = looked;
                }
            }
        }
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Connection>> {
        let connection = self.open.remove(&number)?;
        if let Some(connections) = self.by_peer.get_mut(&connection.peer) {
            connections.open.remove(&number);
            if connections.open.is_empty() {
                self.by_peer.remove(&connection.peer);
            }
        }
        Some(connection)
    }
}

/// The place of a connection in the table. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Admission {
    connections: Arc<Connections>,
    number: u64,
    /// The connection.
    pub connection: Arc<Connection>,
}

impl Admission {
    /// The proxies in front of the listener.
    pub(crate) fn proxies(&self) -> Guard<Arc<TrustedProxies>> {
        self.connections.proxies()
    }

    /// The table.
    pub(crate) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// The tokens that end the connection.
    pub(crate) fn end(&self) -> &ConnectionEnd {
        &self.connection.end
    }

    /// The same connection, as a connection of `client` and within the share of `client`. None: there are too many.
    pub(crate) fn passed_to(self, client: IpAddr) -> Option<Self> {
        let (connections, end) = (Arc::clone(&self.connections), self.connection.end.clone());
        drop(self);
        connections.admit_client(client, end)
    }

    /// A new, empty account of this connection in the memory for requests.
    pub(crate) fn memory(&self) -> Reservation<Peer> {
        self.connections.memory.hold(Some(self.connection.peer))
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        // A connection that `make_room` has ended is no longer in the table.
        if self.connections.table.lock().remove(self.number).is_some() {
            self.connections.counts.open.dec();
        }
    }
}

/// The two tokens that end a connection.
#[derive(Clone, Debug)]
pub struct ConnectionEnd {
    /// Ends the connection after its running requests.
    pub stop: CancellationToken,
    /// Ends the connection at once.
    pub cut: CancellationToken,
}

impl ConnectionEnd {
    fn now(&self) {
        self.cut.cancel();
        self.stop.cancel();
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    peer: Peer,
    opened: Instant,
    /// The time since which the client has something to send: in milliseconds after the connection was opened, plus
    /// one. 0: a request is being answered.
    waits_since: AtomicU64,
    /// The number of heads so far.
    heads: AtomicU32,
    /// The number of turns that have not ended.
    turns: AtomicU32,
    /// True if the client does not read what is written.
    is_blocked: AtomicBool,
    known: KnownSender,
    end: ConnectionEnd,
}

impl Connection {
    /// The memory of a valid credential on this connection.
    pub fn known(&self) -> &KnownSender {
        &self.known
    }

    /// Notes that a whole request has arrived. While it is answered, the connection is not ended to make room for
    /// others.
    pub fn answers(&self) {
        self.waits_since.store(0, Ordering::Relaxed);
    }

    /// The number of heads so far.
    pub fn heads(&self) -> u32 {
        self.heads.load(Ordering::Relaxed)
    }

    /// Notes a head. A request is under way until the returned turn is dropped.
    pub fn begin(self: &Arc<Self>) -> RequestTurn {
        self.heads.fetch_add(1, Ordering::Relaxed);
        self.goes_on()
    }

    /// Adds a turn to the request of the last head: the request is also under way until this turn is dropped.
    pub fn goes_on(self: &Arc<Self>) -> RequestTurn {
        self.turns.fetch_add(1, Ordering::Relaxed);
        RequestTurn(Arc::clone(self))
    }

    /// True if the request of the last head is being handled.
    pub(crate) fn is_under_way(&self) -> bool {
        self.turns.load(Ordering::Relaxed) > 0
    }

    /// True if a request is under way, or a part of an answer is not written yet.
    pub(super) fn is_at_work(&self) -> bool {
        self.is_under_way() || self.is_blocked.load(Ordering::Relaxed)
    }

    /// Notes whether the client reads what is written.
    pub(super) fn set_blocked(&self, is_blocked: bool) {
        self.is_blocked.store(is_blocked, Ordering::Relaxed);
    }

    fn waits(&self) {
        let since = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.waits_since.store(since.saturating_add(1), Ordering::Relaxed);
    }

    /// The rank in the order of eviction: the connection with the lowest rank is ended first. None: a request is being
    /// answered.
    fn rank(&self) -> Option<EvictionRank> {
        let since = self.waits_since.load(Ordering::Relaxed).checked_sub(1)?;
        let waited = self.opened.elapsed().saturating_sub(Duration::from_millis(since));
        Some((self.known.is_known(), Reverse(waited)))
    }
}

/// The order of eviction: connections without a valid credential, and among these the longest waiting one, go first.
type EvictionRank = (bool, Reverse<Duration>);

/// A request that is under way.
#[derive(Debug)]
pub struct RequestTurn(Arc<Connection>);

impl Drop for RequestTurn {
    fn drop(&mut self) {
        if self.0.turns.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.waits();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(all: usize, of_one: usize) -> Arc<Connections> {
        Connections::new(ConnectionLimits { all, of_one }, RequestMemory::new(0))
    }

    fn admit(connections: &Arc<Connections>, last: u8) -> Option<Admission> {
        let end = ConnectionEnd { stop: CancellationToken::new(), cut: CancellationToken::new() };
        // The tests do not wait between two searches.
        forget_searches(connections);
        connections.admit(IpAddr::from([192, 0, 2, last]), end)
    }

    fn forget_searches(connections: &Connections) {
        let mut table = connections.table.lock();
        table.looked = None;
        table.by_peer.values_mut().for_each(|connections| connections.looked = None);
    }

    fn is_ended(admission: &Admission) -> bool {
        admission.connection.end.cut.is_cancelled()
    }

    #[test]
    fn one_sender_gets_its_share_and_all_get_at_most_the_limit() {
        let connections = connections(4, 2);
        let busy = |last| admit(&connections, last).inspect(|admitted| admitted.connection.answers());
        let first = [busy(1), busy(1)];
        assert!(first.iter().all(Option::is_some) && busy(1).is_none());
        let second = [busy(2), busy(2)];
        assert!(second.iter().all(Option::is_some) && busy(3).is_none());
        drop(first);
        assert!(busy(3).is_some());
        drop(second);
        let table = connections.table.lock();
        assert_eq!((table.open.len(), table.by_peer.len()), (0, 0));
        assert_eq!(connections.counts.open.get(), 0);
    }

    #[test]
    fn a_proxy_has_no_share_but_each_of_its_clients_has() {
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let proxies = TrustedProxies::trusting(&["192.0.2.1/32"], witgate_config::Forwarded::ProxyProtocol);
        let limits = ConnectionLimits { all: 8, of_one: 2 };
        let connections = Connections::behind(proxies, limits, RequestMemory::new(0), None);
        let busy = |admitted: Option<Admission>| admitted.inspect(|admitted| admitted.connection.answers());
        let proxied: Vec<_> = (0..4).map(|_| busy(admit(&connections, 1)).unwrap()).collect();
        let mut passed = proxied.into_iter().map(|admitted| {
            forget_searches(&connections);
            busy(admitted.passed_to(address(7)))
        });
        let first = [passed.next().unwrap(), passed.next().unwrap()];
        assert!(first.iter().all(Option::is_some) && passed.next().unwrap().is_none());
        assert_eq!(connections.table.lock().of_one(address(7).into()), 2);
        drop((first, passed));
        assert_eq!(connections.table.lock().open.len(), 0);
    }

    #[test]
    fn the_longest_idle_unknown_connection_is_evicted_and_a_busy_one_never() {
        let connections = connections(8, 8);
        let all: Vec<_> = (0..7).map(|_| admit(&connections, 1).unwrap()).collect();
        all[0].connection.answers();
        all[1].connection.known.note();
        for (admitted, ms) in all.iter().skip(1).zip([40, 30, 20, 10, 5, 1]) {
            admitted.connection.waits_since.store(50 - ms, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_millis(60));
        let others: Vec<_> = (0..5).map(|_| admit(&connections, 2).unwrap()).collect();
        let ended: Vec<_> = all.iter().map(is_ended).collect();
        assert_eq!(ended, [false, false, true, true, true, true, true]);
        for admitted in &others {
            admitted.connection.answers();
        }
        // Now only the connection with a valid credential waits, and one place is left.
        let last = admit(&connections, 3).unwrap();
        last.connection.answers();
        assert!(!is_ended(&all[1]));
        assert!(admit(&connections, 3).is_some());
        assert!(is_ended(&all[1]) && !is_ended(&all[0]));
    }

    #[test]
    fn a_search_among_the_connections_of_one_sender_delays_none_of_another() {
        let connections = connections(100, 2);
        let admit = |last: u8| {
            let end = ConnectionEnd { stop: CancellationToken::new(), cut: CancellationToken::new() };
            connections.admit(IpAddr::from([192, 0, 2, last]), end)
        };
        let busy = [admit(1).unwrap(), admit(1).unwrap()];
        busy.iter().for_each(|admitted| admitted.connection.answers());
        let idle = [admit(2).unwrap(), admit(2).unwrap()];
        assert!(admit(1).is_none(), "all of its own are busy");
        assert!(admit(2).is_some() && idle.iter().filter(|admitted| is_ended(admitted)).count() == 1);
    }

    #[test]
    fn a_sender_at_their_share_does_not_make_each_acceptance_a_search_among_all() {
        let setup = |others: usize| {
            let connections = connections(1_000_000, 16);
            let admit = |connections: &Arc<Connections>, peer: u32| {
                let end = ConnectionEnd { stop: CancellationToken::new(), cut: CancellationToken::new() };
                connections.admit(IpAddr::from(peer.to_be_bytes()), end)
            };
            let mut open: Vec<_> =
                (0..others).filter_map(|other| admit(&connections, u32::try_from(other).unwrap())).collect();
            open.extend((0..16).filter_map(|_| admit(&connections, u32::MAX)));
            // All of the sender's own connections but one have shown a valid credential.
            open.iter().rev().take(15).for_each(|admitted| admitted.connection.known.note());
            (connections, open)
        };
        witgate_testing::growth::assert_linear("acceptances", 1_000, setup, |(connections, mut open)| {
            for _ in 0..open.len() {
                let end = ConnectionEnd { stop: CancellationToken::new(), cut: CancellationToken::new() };
                open.extend(connections.admit(IpAddr::from(u32::MAX.to_be_bytes()), end));
            }
        });
    }
}
