//! Refusals before there is a message for an upstream: of connections, TLS handshakes, paths and links. They are counted
//! by sender and cause, so that a flood of them needs little memory and few entries of the audit log.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use witgate_base::peer::Peer;
use witgate_flow::decision::{DecisionId, DecisionIds};
use witgate_runtime::metrics::Metrics;

/// The number of senders and causes that are counted apart until the table is emptied. At one entry each and a minute
/// between them, the audit log grows by at most 50 MB a day.
const COUNTED: usize = 128;

/// The cause of a refusal before there is a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EarlyCause {
    /// The operator denies connections from the sender's address.
    DeniedPeer,
    /// There are too many connections, in all or of the sender.
    TooManyConnections,
    /// The TLS handshake has failed.
    TlsHandshake,
    /// There is nothing at the path of the request.
    UnknownPath,
    /// The link to a page, or the login to which a provider's answer belongs, is unknown.
    UnknownLink,
    /// The same, of a sender who has shown too many of them.
    LockedOut,
}

impl EarlyCause {
    const ALL: [Self; 6] = [
        Self::DeniedPeer,
        Self::TooManyConnections,
        Self::TlsHandshake,
        Self::UnknownPath,
        Self::UnknownLink,
        Self::LockedOut,
    ];

    /// The outcome, as of messages.
    pub fn outcome(self) -> &'static str {
        match self {
            Self::DeniedPeer => "denied",
            Self::TooManyConnections => "rate-limited",
            Self::TlsHandshake | Self::UnknownPath => "malformed",
            Self::UnknownLink => "refused",
            Self::LockedOut => "locked-out",
        }
    }

    /// The reason code.
    pub fn reason(self) -> &'static str {
        match self {
            Self::DeniedPeer => "denied-peer",
            Self::TooManyConnections => "too-many-connections",
            Self::TlsHandshake => "tls-handshake",
            Self::UnknownPath => "unknown-path",
            Self::UnknownLink => "unknown-link",
            Self::LockedOut => "locked-out",
        }
    }
}

/// The refusals of one sender for one cause.
#[derive(Clone, Debug)]
pub struct EarlyRefusal {
    /// The id of all of them, which is also in their answers.
    pub decision: DecisionId,
    /// The cause.
    pub cause: EarlyCause,
    /// The sender. None: all senders beyond those that are counted apart.
    pub sender: Option<Peer>,
    /// Their number.
    pub count: u64,
    /// The time since the first of them.
    pub age: Duration,
}

/// The refusals since the table was last emptied.
#[derive(Debug, Default)]
pub struct EarlyRefusals {
    ids: DecisionIds,
    counters: Family<ReasonLabels, Counter>,
    counts: Mutex<HashMap<(EarlyCause, Option<Peer>), RefusalCount>>,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug)]
struct RefusalCount {
    decision: DecisionId,
    first: Instant,
    count: u64,
}

impl EarlyRefusals {
    /// Registers the counters with `metrics`.
    pub fn register(&self, metrics: &Metrics) {
        // A counter that begins with its first increment has no rate at that time.
        EarlyCause::ALL.iter().for_each(|cause| drop(self.counter(*cause)));
        let help = "Connections, handshakes and requests that were refused before there was a message";
        metrics.register(|registry| registry.register("refusals", help, self.counters.clone()));
    }

    fn counter(&self, cause: EarlyCause) -> impl std::ops::Deref<Target = Counter> + '_ {
        self.counters.get_or_create(&ReasonLabels { reason: cause.reason() })
    }

    /// Counts a refusal, and returns the id under which it will be recorded.
    pub(crate) fn note(&self, cause: EarlyCause, sender: IpAddr) -> DecisionId {
        self.counter(cause).inc();
        let mut counts = self.counts.lock();
        let own = (cause, Some(Peer::from(sender)));
        let key = if counts.len() < COUNTED || counts.contains_key(&own) { own } else { (cause, None) };
        let counted = counts.entry(key).or_insert_with(|| RefusalCount {
            decision: self.ids.next(),
            first: Instant::now(),
            count: 0,
        });
        counted.count += 1;
        counted.decision
    }

    /// Takes all refusals out of the table.
    pub fn take(&self) -> Vec<EarlyRefusal> {
        let counts = std::mem::take(&mut *self.counts.lock());
        let taken = counts.into_iter().map(|((cause, sender), RefusalCount { decision, first, count })| {
            EarlyRefusal { decision, cause, sender, count, age: first.elapsed() }
        });
        taken.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn refusals_of_one_network_for_one_cause_are_one_entry() {
        let refusals = EarlyRefusals::default();
        let note = |cause, sender: &str| refusals.note(cause, sender.parse().unwrap());
        let first = note(EarlyCause::UnknownPath, "2001:db8::1");
        assert_eq!(note(EarlyCause::UnknownPath, "2001:db8::2"), first);
        assert_ne!(note(EarlyCause::TlsHandshake, "2001:db8::1"), first);
        assert_ne!(note(EarlyCause::UnknownPath, "192.0.2.1"), first);
        let taken = refusals.take();
        let of_first = taken.iter().find(|refusal| refusal.decision == first).unwrap();
        assert_eq!((taken.len(), of_first.count), (3, 2));
        assert_eq!(of_first.sender.unwrap().to_string(), "2001:db8::/64");
        assert!(refusals.take().is_empty());
        assert_ne!(note(EarlyCause::UnknownPath, "2001:db8::1"), first, "the next minute has another entry");
    }

    #[test]
    fn a_flood_of_senders_needs_few_entries_and_each_refusal_counts() {
        let refusals = EarlyRefusals::default();
        for number in 0..10_000 {
            refusals.note(EarlyCause::DeniedPeer, Ipv4Addr::from_bits(number).into());
            refusals.note(EarlyCause::UnknownPath, Ipv4Addr::from_bits(number).into());
        }
        let taken = refusals.take();
        assert_eq!(taken.len(), COUNTED + 2, "those apart, and the rest of each cause");
        assert_eq!(taken.iter().map(|refusal| refusal.count).sum::<u64>(), 20_000);
        assert_eq!(taken.iter().filter(|refusal| refusal.sender.is_none()).count(), 2);
    }
}
