//! The memory for requests on their way in, heads and bodies, in all and by one sender.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;

use crate::peer::Peer;

/// Bytes that each request may have without asking: as much as is read ahead on every connection anyhow, so
/// that the number of connections bounds it. Most messages fit, and are let in however much others send.
pub(crate) const FREE: usize = 8 << 10;

/// A number of bytes that senders share. One has half of it at most.
#[derive(Debug)]
pub(crate) struct RequestMemory {
    total: usize,
    used: Mutex<Used>,
    gauge: Gauge,
}

#[derive(Debug, Default)]
struct Used {
    all: usize,
    by_peer: HashMap<Peer, usize>,
}

/// There is no more to be had now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

/// The memory of one request, or one connection. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    memory: Arc<RequestMemory>,
    /// None: the sender is not known, and has no share of its own.
    peer: Option<Peer>,
    bytes: usize,
}

impl RequestMemory {
    /// `total` bytes, beyond what is [`FREE`].
    pub(crate) fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { total, used: Mutex::default(), gauge: Gauge::default() })
    }

    /// Nothing yet.
    pub(crate) fn hold(self: &Arc<Self>, peer: Option<Peer>) -> Held {
        Held { memory: Arc::clone(self), peer, bytes: 0 }
    }

    /// A gauge of the bytes in use.
    pub(crate) fn gauge(&self) -> Gauge {
        self.gauge.clone()
    }

    fn take(&self, peer: Option<Peer>, bytes: usize) -> Result<(), Exhausted> {
        let mut used = self.used.lock();
        let share = peer.and_then(|peer| used.by_peer.get(&peer)).copied().unwrap_or(0) + bytes;
        if used.all + bytes > self.total || peer.is_some() && share > self.total / 2 {
            return Err(Exhausted);
        }
        used.all += bytes;
        self.show(&used);
        if let Some(peer) = peer {
            used.by_peer.insert(peer, share);
        }
        Ok(())
    }

    fn give_back(&self, peer: Option<Peer>, bytes: usize) {
        let mut used = self.used.lock();
        used.all = used.all.saturating_sub(bytes);
        self.show(&used);
        if let Some(Entry::Occupied(mut share)) = peer.map(|peer| used.by_peer.entry(peer)) {
            *share.get_mut() = share.get().saturating_sub(bytes);
            if *share.get() == 0 {
                share.remove();
            }
        }
    }

    fn show(&self, used: &Used) {
        self.gauge.set(i64::try_from(used.all).unwrap_or(i64::MAX));
    }
}

impl Held {
    /// Holds enough for `size` bytes, of which some are free. What is held never becomes less.
    ///
    /// # Errors
    /// Where they are not to be had; what was held before stays.
    pub(crate) fn cover(&mut self, size: usize) -> Result<(), Exhausted> {
        let more = size.saturating_sub(FREE).saturating_sub(self.bytes);
        if more > 0 {
            self.memory.take(self.peer, more)?;
            self.bytes += more;
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.memory.give_back(self.peer, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{Exhausted, FREE, RequestMemory};

    fn peer(last: u8) -> Option<super::Peer> {
        Some(IpAddr::from([192, 0, 2, last]).into())
    }

    #[test]
    fn one_sender_has_half_and_all_have_no_more_than_there_is() {
        let memory = RequestMemory::new(100);
        let mut first = memory.hold(peer(1));
        assert_eq!(first.cover(FREE + 50), Ok(()));
        assert_eq!(first.cover(FREE + 51), Err(Exhausted));
        assert_eq!(memory.hold(peer(1)).cover(FREE + 1), Err(Exhausted));
        let mut second = memory.hold(peer(2));
        assert_eq!(second.cover(FREE + 50), Ok(()));
        assert_eq!(memory.hold(peer(3)).cover(FREE + 1), Err(Exhausted));
        assert_eq!(memory.gauge().get(), 100);
        drop(first);
        assert_eq!(memory.hold(peer(3)).cover(FREE + 50), Ok(()));
        drop(second);
        assert_eq!(memory.gauge().get(), 0);
        assert!(memory.used.lock().by_peer.is_empty());
    }

    #[test]
    fn a_small_request_needs_nothing() {
        let memory = RequestMemory::new(0);
        assert_eq!(memory.hold(peer(1)).cover(FREE), Ok(()));
        assert_eq!(memory.hold(peer(1)).cover(FREE + 1), Err(Exhausted));
    }

    #[test]
    fn an_unknown_sender_has_no_share_of_its_own() {
        let memory = RequestMemory::new(100);
        let mut held = memory.hold(None);
        assert_eq!(held.cover(FREE + 100), Ok(()));
        assert_eq!(held.cover(FREE + 101), Err(Exhausted));
    }
}
