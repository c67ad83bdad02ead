//! The memory for data whose size others decide, limited in all and per holder. Requests use it for heads and bodies.
//! Answers use it from the time they are buffered until their callers have read them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;

use crate::metrics::Metrics;
use crate::shares::{Capacity, Holder, Holdings};
use witgate_base::party::Party;
use witgate_base::peer::Peer;

/// The number of bytes that each message may have without a reservation. Every connection reads this much ahead anyway,
/// so the number of connections limits the total. Most messages are smaller, and pass even if others hold all of the
/// memory.
pub const FREE: usize = 8 << 10;

/// A number of bytes that holders share. One holder gets at most half of it, and less if others already hold much.
#[derive(Debug)]
pub struct Memory<H: Holder> {
    total: AtomicUsize,
    /// `None` is the key of unknown holders.
    used: Mutex<Holdings<Option<H>>>,
    gauge: Gauge,
}

/// The memory for requests, shared by senders.
pub type RequestMemory = Memory<Peer>;

/// The memory for answers, shared by parties.
pub type AnswerMemory = Memory<Party>;

/// The error of a reservation for which there is not enough memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no memory for it now")]
pub struct MemoryExhausted;

/// The memory reserved for one message or one connection. Dropping it frees the memory.
#[derive(Debug)]
pub struct Reservation<H: Holder> {
    memory: Arc<Memory<H>>,
    /// None: the holder is unknown, and has no share.
    holder: Option<H>,
    bytes: usize,
}

impl<H: Holder> Memory<H> {
    /// A memory of `total` bytes, in addition to the [`FREE`] bytes of each message.
    pub fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { total: AtomicUsize::new(total), used: Mutex::default(), gauge: Gauge::default() })
    }

    /// Changes the total. What is reserved already stays reserved.
    pub fn resize(&self, total: usize) {
        self.total.store(total, Ordering::Relaxed);
    }

    /// An empty reservation.
    pub fn hold(self: &Arc<Self>, holder: Option<H>) -> Reservation<H> {
        Reservation { memory: Arc::clone(self), holder, bytes: 0 }
    }

    /// Registers the number of bytes in use with `metrics`.
    pub fn register(&self, metrics: &Metrics, name: &str, help: &str) {
        metrics.register(|registry| registry.register(name, help, self.gauge.clone()));
    }

    fn take(&self, holder: &Option<H>, bytes: usize) -> Result<(), MemoryExhausted> {
        let most = self.total.load(Ordering::Relaxed);
        let most_of_one = if holder.is_some() { most / 2 } else { most };
        let mut used = self.used.lock();
        if !used.have_room(holder, bytes, Capacity { most, most_of_one }) {
            return Err(MemoryExhausted);
        }
        used.add(holder, bytes);
        self.show(&used);
        Ok(())
    }

    fn give_back(&self, holder: &Option<H>, bytes: usize) {
        let mut used = self.used.lock();
        used.remove(holder, bytes);
        self.show(&used);
    }

    fn show(&self, used: &Holdings<Option<H>>) {
        self.gauge.set(i64::try_from(used.all()).unwrap_or(i64::MAX));
    }
}

impl AnswerMemory {
    /// Registers the number of bytes in use with `metrics`, as the bytes of answers.
    pub fn register_answers(&self, metrics: &Metrics) {
        self.register(
            metrics,
            "answer_memory_bytes",
            "Bytes of large answers that are held until they are read",
        );
    }
}

impl<H: Holder> Reservation<H> {
    /// Enlarges the reservation to `size` bytes, of which [`FREE`] bytes need none. A reservation never shrinks.
    ///
    /// # Errors
    /// If there is not enough memory. The reservation then stays as it was.
    pub fn cover(&mut self, size: usize) -> Result<(), MemoryExhausted> {
        let more = size.saturating_sub(FREE).saturating_sub(self.bytes);
        if more > 0 {
            self.memory.take(&self.holder, more)?;
            self.bytes += more;
        }
        Ok(())
    }
}

impl<H: Holder> Drop for Reservation<H> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.memory.give_back(&self.holder, self.bytes);
        }
    }
}

/// The memory of an answer, or of a part of it. It is held until the last copy of this value is dropped. A small answer
/// holds none.
#[derive(Clone, Debug, Default)]
pub struct Hold(Option<Arc<Reservation<Party>>>);

impl From<Option<Reservation<Party>>> for Hold {
    fn from(held: Option<Reservation<Party>>) -> Self {
        Self(held.map(Arc::new))
    }
}

impl Hold {
    /// The same bytes, which hold the memory until their last copy is dropped.
    pub fn keep(self, bytes: Bytes) -> Bytes {
        match self.0 {
            Some(held) => Bytes::from_owner(ReservedBytes { bytes, _held: held }),
            None => bytes,
        }
    }
}

struct ReservedBytes {
    bytes: Bytes,
    _held: Arc<Reservation<Party>>,
}

impl AsRef<[u8]> for ReservedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use bytes::Bytes;

    use super::{AnswerMemory, FREE, Hold, MemoryExhausted, RequestMemory};
    use witgate_base::party::Principal;

    fn peer(last: u8) -> Option<super::Peer> {
        Some(IpAddr::from([192, 0, 2, last]).into())
    }

    #[test]
    fn one_sender_gets_at_most_half_and_all_get_at_most_everything() {
        let memory = RequestMemory::new(100);
        let mut first = memory.hold(peer(1));
        assert_eq!(first.cover(FREE + 50), Ok(()));
        assert_eq!(first.cover(FREE + 51), Err(MemoryExhausted));
        assert_eq!(memory.hold(peer(1)).cover(FREE + 1), Err(MemoryExhausted));
        let mut second = memory.hold(peer(2));
        assert_eq!(second.cover(FREE + 50), Ok(()));
        assert_eq!(memory.hold(peer(3)).cover(FREE + 1), Err(MemoryExhausted));
        assert_eq!(memory.gauge.get(), 100);
        drop(first);
        assert_eq!(memory.hold(peer(3)).cover(FREE + 50), Ok(()));
        drop(second);
        assert_eq!(memory.gauge.get(), 0);
        assert_eq!(memory.used.lock().holders(), 0);
    }

    #[test]
    fn another_total_counts_for_new_reservations() {
        let memory = RequestMemory::new(100);
        let mut held = memory.hold(peer(1));
        assert_eq!(held.cover(FREE + 50), Ok(()));
        memory.resize(40);
        assert_eq!(memory.hold(peer(2)).cover(FREE + 1), Err(MemoryExhausted));
        drop(held);
        assert_eq!(memory.hold(peer(2)).cover(FREE + 20), Ok(()));
    }

    #[test]
    fn a_small_request_needs_no_reservation() {
        let memory = RequestMemory::new(0);
        assert_eq!(memory.hold(peer(1)).cover(FREE), Ok(()));
        assert_eq!(memory.hold(peer(1)).cover(FREE + 1), Err(MemoryExhausted));
    }

    #[test]
    fn an_unknown_sender_has_no_share_of_its_own() {
        let memory = RequestMemory::new(100);
        let mut held = memory.hold(None);
        assert_eq!(held.cover(FREE + 100), Ok(()));
        assert_eq!(held.cover(FREE + 101), Err(MemoryExhausted));
    }

    #[test]
    fn memory_is_reserved_until_its_last_part_is_dropped() {
        let memory = AnswerMemory::new(100);
        let mut held = memory.hold(Some(Principal::new("keys".into(), None, "ada").party(None)));
        assert_eq!(held.cover(FREE + 50), Ok(()));
        let mut kept = Hold::from(Some(held)).keep(Bytes::from_static(b"an answer"));
        let part = kept.split_to(2);
        drop(kept);
        assert_eq!((&*part, memory.gauge.get()), (&b"an"[..], 50));
        drop(part);
        assert_eq!(memory.gauge.get(), 0);
    }
}
