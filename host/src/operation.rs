//! Entries of the audit log about the operation of Witgate: starts, stops, changes and revocations.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use serde::{Serialize, Serializer};

use witgate_accounts::event::{AccountAction, AccountEvent, Actor};
use witgate_audit::note::CheckpointSigner;
use witgate_audit::{AuditLog, KEY_FILE, LogSettings, OpenError, private_key, time_text, time_text_of};
use witgate_base::digest::{digest_text, sha256};
use witgate_config::environment::Environment;
use witgate_config::{Audit, AuditKey, Config};
use witgate_flow::audit::{EntryLog, ShownArguments};
use witgate_flow::lockout::{BegunPause, LockoutTable};
use witgate_policy::Source;
use witgate_policy::generation::Generation;
use witgate_runtime::metrics::Metrics;
use witgate_server::refusals::EarlyRefusal;

use crate::access::difference::{GenerationDifference, NAMED};
use crate::outgoing_checkpoints::OutgoingCheckpoints;

/// The audit log of a process, if the configuration has one.
#[derive(Clone, Debug, Default)]
pub(crate) struct OperationLog(Option<Arc<OpenLog>>);

#[derive(Debug)]
struct OpenLog {
    log: Arc<AuditLog>,
    settings: Audit,
}

/// The state of an audit log.
#[derive(Debug)]
pub(crate) struct AuditLogState {
    /// True if entries can be written.
    pub(crate) is_available: bool,
    /// The time for which there have been entries that no checkpoint signs.
    pub(crate) unsigned_for: Duration,
    /// The places elsewhere that do not take checkpoints, each with the reason.
    pub(crate) failing_copies: Vec<String>,
    /// The reason why old segments are neither removed nor compressed.
    pub(crate) upkeep_fault: Option<String>,
}

/// The error if the audit log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AuditLogError {
    /// The key cannot be read or made.
    #[error("the key of the audit in {}: {error}", directory.display())]
    Key {
        /// The directory.
        directory: std::path::PathBuf,
        /// The error.
        error: std::io::Error,
    },
    /// The directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// The person or program that asked for a change, as far as Witgate knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", untagged)]
pub(crate) enum Requester {
    /// A client of the control socket, as the system identifies it.
    Client {
        /// The user.
        #[serde(skip_serializing_if = "Option::is_none")]
        uid: Option<u32>,
        /// The process.
        #[serde(skip_serializing_if = "Option::is_none")]
        pid: Option<i32>,
    },
    /// A client of the admin listener.
    #[serde(serialize_with = "as_member")]
    Address(IpAddr),
}

fn as_member<S: Serializer>(address: &IpAddr, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map([("address", address)])
}

impl fmt::Display for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Client { uid: Some(uid), pid: Some(pid) } => write!(f, "user {uid}, process {pid}"),
            Self::Client { uid: Some(uid), pid: None } => write!(f, "user {uid}"),
            Self::Client { uid: None, .. } => f.write_str("an unknown user"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// An event. `docs/audit.md` describes its members.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
enum OperationEvent<'a> {
    Start {
        time: String,
        node: String,
        version: &'static str,
        pid: u32,
        config: Option<&'a str>,
        cut_bytes: u64,
        #[serde(flatten)]
        live: LiveGeneration<'a>,
    },
    Stop {
        time: String,
        is_graceful: bool,
    },
    Reload {
        time: String,
        micros: u64,
        before: u64,
        #[serde(flatten)]
        live: LiveGeneration<'a>,
    },
    ReloadRefused {
        time: String,
        micros: u64,
        generation: u64,
        reasons: &'a [String],
    },
    AccessChanged {
        time: String,
        before: u64,
        generation: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        gained: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        lost: Option<usize>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        examples: Vec<String>,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        left_out: &'a [String],
        #[serde(skip_serializing_if = "Option::is_none")]
        unknown: Option<&'a str>,
    },
    AccessAllowed {
        time: String,
        by: Requester,
    },
    Rollback {
        time: String,
        by: Requester,
        to: u64,
        generation: u64,
    },
    TokenForgotten {
        time: String,
        by: Requester,
        policies: &'a [String],
    },
    LogLevel {
        time: String,
        by: Requester,
        level: &'a str,
        before: &'a str,
    },
    LockedOut {
        time: String,
        of: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        network: Option<String>,
        failures: u32,
        seconds: u64,
        others: u64,
    },
    LockoutCleared {
        time: String,
        by: Requester,
        cleared: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<&'a str>,
    },
    PeersDenied {
        time: String,
        by: Requester,
        network: String,
    },
    PeersAllowed {
        time: String,
        by: Requester,
        network: String,
    },
    Account {
        time: String,
        at: String,
        #[serde(flatten)]
        event: AccountEntry<'a>,
    },
    Refusals {
        time: String,
        id: String,
        outcome: &'static str,
        reason: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        peer: Option<String>,
        count: u64,
        seconds: u64,
    },
}

/// An event of accounts, without its time.
#[derive(Serialize)]
struct AccountEntry<'a> {
    action: AccountAction,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a Actor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    scopes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    others: Option<u64>,
}

impl<'a> AccountEntry<'a> {
    fn of(event: &'a AccountEvent) -> Self {
        Self {
            action: event.action,
            by: event.by.as_ref(),
            user: event.user.as_deref(),
            name: event.name.as_deref(),
            client: event.client.as_deref(),
            resource: event.resource.as_deref(),
            key: event.key.as_deref(),
            scopes: &event.scopes,
            roles: event.roles.as_deref(),
            reason: event.reason.as_deref(),
            method: event.method.as_deref(),
            provider: event.provider.as_deref(),
            peer: event.peer,
            others: Some(event.others).filter(|others| *others > 0),
        }
    }
}

/// The content of a generation: the digests of its configuration and of its components.
#[derive(Serialize)]
struct LiveGeneration<'a> {
    generation: u64,
    config_digest: String,
    policies: Vec<LivePolicy<'a>>,
}

#[derive(Serialize)]
struct LivePolicy<'a> {
    name: &'a str,
    kind: &'static str,
    /// The digest of the component, or the code that decides in its place.
    decides: String,
    /// The files of its settings, such as key stores, by the digests of their content.
    files: BTreeMap<String, Option<String>>,
}

impl<'a> LiveGeneration<'a> {
    fn of(generation: &'a Generation) -> Self {
        Self {
            generation: generation.number(),
            config_digest: digest_text(&sha256(generation.recipe().config().as_bytes())),
            policies: generation
                .policies()
                .map(|policy| LivePolicy {
                    name: policy.name(),
                    kind: policy.kind().name(),
                    decides: match policy.source() {
                        Source::Builtin => "built-in".to_owned(),
                        Source::Component { digest, .. } => digest_text(digest),
                        Source::Fallback { .. } => "fallback".to_owned(),
                        Source::Broken { .. } => "broken".to_owned(),
                    },
                    files: policy
                        .files()
                        .iter()
                        .map(|(file, digest)| (file.display().to_string(), digest.as_ref().map(digest_text)))
                        .collect(),
                })
                .collect(),
        }
    }
}

impl OperationLog {
    /// Opens the audit log of `config`. Its key is made at the first start.
    pub(crate) fn open(config: &Config, environment: &Environment) -> Result<Self, AuditLogError> {
        let Some(settings) = &config.audit else { return Ok(Self::default()) };
        let owner = config.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let log = AuditLog::open(LogSettings {
            directory: settings.directory.clone(),
            signer: signer(settings)?,
            sync: settings.sync,
            rules: settings.rules,
            checkpoint_to: settings.checkpoint_to.clone(),
            network: Some(Arc::new(OutgoingCheckpoints::new(config, environment))),
            owner,
        })?;
        if log.cut() > 0 {
            let bytes = log.cut();
            tracing::warn!("the audit had an incomplete end, as after a kill: {bytes} bytes are cut");
        }
        Ok(Self(Some(Arc::new(OpenLog { log: Arc::new(log), settings: settings.clone() }))))
    }

    /// The destination of records, if there is a log.
    pub(crate) fn entries(&self) -> Option<EntryLog> {
        let OpenLog { log, settings } = &**self.0.as_ref()?;
        let shown = ShownArguments {
            clear: settings.arguments_clear.clone(),
            masked: settings.arguments_masked.clone(),
        };
        let entries = EntryLog::new(Arc::clone(log), settings.sync, settings.unavailable);
        Some(entries.with(&node(settings), shown).leaving_lines(settings.lines))
    }

    /// The state of the log. None: there is none.
    pub(crate) fn state(&self) -> Option<AuditLogState> {
        let log = &self.0.as_ref()?.log;
        Some(AuditLogState {
            is_available: log.is_available(),
            unsigned_for: log.unsigned_for(),
            failing_copies: log.failing_copies(),
            upkeep_fault: log.upkeep_fault(),
        })
    }

    /// Registers the metrics of the log.
    pub(crate) fn register(&self, metrics: &Metrics) {
        if let Some(open) = &self.0 {
            let collector = LogCollector(Arc::clone(&open.log));
            metrics.register(|registry| registry.register_collector(Box::new(collector)));
        }
    }

    /// Waits until everything is written, with a last checkpoint, at most for `longest`.
    pub(crate) fn stop(&self, is_graceful: bool, longest: Duration) {
        self.write(|| OperationEvent::Stop { time: time_text(), is_graceful });
        if let Some(open) = &self.0
            && !open.log.stop(longest)
        {
            tracing::error!("the audit is not written completely");
        }
    }

    pub(crate) fn started(&self, config: &Config, live: &Generation) {
        let config = config.path.as_ref().map(|path| path.display().to_string());
        self.write(|| OperationEvent::Start {
            time: time_text(),
            node: self.0.as_ref().map(|open| node(&open.settings)).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            config: config.as_deref(),
            cut_bytes: self.0.as_ref().map(|open| open.log.cut()).unwrap_or_default(),
            live: LiveGeneration::of(live),
        });
    }

    pub(crate) fn reloaded(&self, before: &Generation, live: &Generation, took: Duration) {
        self.write(|| OperationEvent::Reload {
            time: time_text(),
            micros: micros(took),
            before: before.number(),
            live: LiveGeneration::of(live),
        });
        // The lines up to here were decided by the former generation.
        if let Some(open) = &self.0 {
            open.log.checkpoint();
        }
    }

    pub(crate) fn reload_refused(&self, live: &Generation, reasons: &[String], took: Duration) {
        let generation = live.number();
        let micros = micros(took);
        self.write(|| OperationEvent::ReloadRefused { time: time_text(), micros, generation, reasons });
    }

    /// Records a difference of access, if there is one.
    pub(crate) fn access_changed(&self, difference: &GenerationDifference) {
        let GenerationDifference { before, generation, outcome } = difference;
        let (before, generation) = (*before, *generation);
        match outcome {
            Ok(difference) if difference.is_none() => {}
            Ok(difference) => self.write(|| OperationEvent::AccessChanged {
                time: time_text(),
                before,
                generation,
                gained: Some(difference.counts.gained),
                lost: Some(difference.counts.lost),
                examples: difference.examples(NAMED),
                left_out: &difference.left_out,
                unknown: None,
            }),
            Err(why) => self.write(|| OperationEvent::AccessChanged {
                time: time_text(),
                before,
                generation,
                gained: None,
                lost: None,
                examples: Vec::new(),
                left_out: &[],
                unknown: Some(why),
            }),
        }
    }

    pub(crate) fn access_allowed(&self, by: Requester) {
        self.write(|| OperationEvent::AccessAllowed { time: time_text(), by });
    }

    pub(crate) fn rolled_back(&self, to: u64, generation: u64, by: Requester) {
        self.write(|| OperationEvent::Rollback { time: time_text(), by, to, generation });
    }

    pub(crate) fn token_forgotten(&self, policies: &[String], by: Requester) {
        self.write(|| OperationEvent::TokenForgotten { time: time_text(), by, policies });
    }

    pub(crate) fn log_level_changed(&self, level: &str, before: &str, by: Requester) {
        self.write(|| OperationEvent::LogLevel { time: time_text(), by, level, before });
    }

    /// The failed authentications of all flows. Beginnings of pauses are events.
    pub(crate) fn lockout(&self) -> Arc<LockoutTable> {
        let log = self.clone();
        Arc::new(LockoutTable::default().observed_by(move |begun| log.locked_out(begun)))
    }

    fn locked_out(&self, begun: &BegunPause) {
        self.write(|| OperationEvent::LockedOut {
            time: time_text(),
            of: begun.of.name(),
            network: begun.network.map(|network| network.to_string()),
            failures: begun.failures,
            seconds: begun.pause.as_secs(),
            others: begun.others,
        });
    }

    pub(crate) fn lockout_cleared(&self, cleared: usize, address: Option<&str>, by: Requester) {
        self.write(|| OperationEvent::LockoutCleared { time: time_text(), by, cleared, address });
    }

    pub(crate) fn peers_denied(&self, network: IpNet, by: Requester) {
        self.write(|| OperationEvent::PeersDenied { time: time_text(), by, network: network.to_string() });
    }

    pub(crate) fn peers_allowed(&self, network: IpNet, by: Requester) {
        self.write(|| OperationEvent::PeersAllowed { time: time_text(), by, network: network.to_string() });
    }

    pub(crate) fn account_changed(&self, event: &AccountEvent) {
        self.write(|| OperationEvent::Account {
            time: time_text(),
            at: time_text_of(event.at),
            event: AccountEntry::of(event),
        });
    }

    /// Records what was refused before there was a message.
    pub(crate) fn refused(&self, refusals: Vec<EarlyRefusal>) {
        for EarlyRefusal { decision, cause, sender, count, age } in refusals {
            self.write(|| OperationEvent::Refusals {
                time: time_text(),
                id: decision.to_string(),
                outcome: cause.outcome(),
                reason: cause.reason(),
                peer: sender.map(|sender| sender.to_string()),
                count,
                seconds: age.as_secs(),
            });
        }
    }

    fn write<'a>(&self, event: impl FnOnce() -> OperationEvent<'a>) {
        if let Some(open) = &self.0
            && let Ok(entry) = serde_json::to_vec(&event())
        {
            open.log.append(&entry, None);
        }
    }
}

/// The metrics of the log.
#[derive(Debug)]
struct LogCollector(Arc<AuditLog>);

impl Collector for LogCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let lost = ConstCounter::new(self.0.lost());
        let help = "Entries of the audit log that could not be written";
        lost.encode(encoder.encode_descriptor("audit_entries_lost", help, None, lost.metric_type())?)?;
        let gauges = [
            ("audit_entries_waiting", "Entries of the audit log that wait to be written", self.0.waiting()),
            (
                "audit_available",
                "1 if entries of the audit log can be written",
                usize::from(self.0.is_available()),
            ),
            (
                "audit_checkpoint_places_failing",
                "Places in checkpoint_to that do not take checkpoints",
                self.0.failing_copies().len(),
            ),
            (
                "audit_upkeep_failing",
                "1 if old segments of the audit log are neither removed nor compressed",
                usize::from(self.0.upkeep_fault().is_some()),
            ),
        ];
        let lag = ConstGauge::new(self.0.lag().as_secs_f64());
        let help = "Time since which the oldest entry of the audit log waits to be written";
        lag.encode(encoder.encode_descriptor("audit_lag", help, Some(&Unit::Seconds), lag.metric_type())?)?;
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let unsigned = ConstGauge::new(self.0.unsigned_for().as_secs_f64());
        let help = "Time for which there have been entries of the audit log that no checkpoint signs";
        let (name, unit) = ("audit_unsigned", Some(&Unit::Seconds));
        unsigned.encode(encoder.encode_descriptor(name, help, unit, unsigned.metric_type())?)?;
        Ok(())
    }
}

fn signer(settings: &Audit) -> Result<Arc<CheckpointSigner>, AuditLogError> {
    let origin = match &settings.key {
        AuditKey::Signer(signer) => return Ok(Arc::clone(signer)),
        AuditKey::InDirectory { origin } => origin.as_deref(),
    };
    let failed = |error| AuditLogError::Key { directory: settings.directory.clone(), error };
    let pem = private_key(&settings.directory.join(KEY_FILE)).map_err(failed)?;
    let signer = CheckpointSigner::from_pem(&pem, origin).map_err(std::io::Error::other);
    signer.map(Arc::new).map_err(failed)
}

/// The name of this instance: the configured one, or that of the host.
fn node(settings: &Audit) -> String {
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    settings.node.clone().unwrap_or_else(host)
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}
