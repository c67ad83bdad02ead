//! Reports of pauses that begin: counters, and rare log lines and events.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use witgate_base::peer::Peer;
use witgate_runtime::log::throttle::LogThrottle;
use witgate_runtime::metrics::Metrics;

/// A pause that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BegunPause {
    /// The paused sender or credential.
    pub of: Locked,
    /// The network of the sender whose failure began it. None: it is not known.
    pub network: Option<Peer>,
    /// The number of failures.
    pub failures: u32,
    /// The duration of the pause.
    pub pause: Duration,
    /// The number of pauses of the same kind since the last report.
    pub others: u64,
}

/// The kind of a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// All unknown credentials of a network.
    Peer,
    /// One credential, which is not shown.
    Credential,
    /// One name at a login page, which is not shown.
    Name,
    /// One browser in which somebody has logged in before.
    Browser,
}

impl Locked {
    /// The name in metrics and events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Credential => "credential",
            Self::Name => "name",
            Self::Browser => "browser",
        }
    }
}

type Observer = Box<dyn Fn(&BegunPause) + Send + Sync>;

/// The counters of pauses, and who is told about them.
#[derive(Default)]
pub(super) struct PauseReports {
    begun: Family<PauseLabels, Counter>,
    of_networks: LogThrottle,
    of_credentials: LogThrottle,
    of_names: LogThrottle,
    of_browsers: LogThrottle,
    observer: Option<Observer>,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PauseLabels {
    of: &'static str,
}

impl fmt::Debug for PauseReports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PauseReports").field("begun", &self.begun).finish_non_exhaustive()
    }
}

impl PauseReports {
    /// The same with an observer.
    pub(super) fn observed_by(self, observer: impl Fn(&BegunPause) + Send + Sync + 'static) -> Self {
        Self { observer: Some(Box::new(observer)), ..self }
    }

    pub(super) fn register(&self, metrics: &Metrics) {
        let help = "Pauses after failed authentications, of a network, a credential, a name or a browser";
        // A counter that is exported from the start shows its first increase, too.
        for of in [Locked::Peer, Locked::Credential, Locked::Name, Locked::Browser] {
            drop(self.of(of));
        }
        metrics.register(|registry| registry.register("lockouts", help, self.begun.clone()));
    }

    /// The number of pauses so far.
    #[cfg(test)]
    pub(super) fn number(&self, of: Locked) -> u64 {
        self.of(of).get()
    }

    /// Counts a pause, and tells about it unless another one of its kind was told lately.
    pub(super) fn report(&self, begun: BegunPause) {
        self.of(begun.of).inc();
        let throttle = match begun.of {
            Locked::Peer => &self.of_networks,
            Locked::Credential => &self.of_credentials,
            Locked::Name => &self.of_names,
            Locked::Browser => &self.of_browsers,
        };
        let Some(others) = throttle.turn() else { return };
        let begun = BegunPause { others, ..begun };
        log(&begun);
        if let Some(observer) = &self.observer {
            observer(&begun);
        }
    }

    fn of(&self, of: Locked) -> impl std::ops::Deref<Target = Counter> + '_ {
        self.begun.get_or_create(&PauseLabels { of: of.name() })
    }
}

fn log(begun: &BegunPause) {
    let BegunPause { of, network, failures, pause, others } = begun;
    let (of, network, seconds) = (of.name(), network.map(tracing::field::display), pause.as_secs());
    tracing::warn!(of, network, failures, seconds, others, "locked out after failed authentications");
}
