//! Readiness: each part of the gateway with its state and the reason. A degraded part still answers as the
//! configuration says, possibly by denying. Only a part that is not ready sends a load balancer elsewhere.

use std::fmt::Write as _;
use std::time::Duration;

use super::state::GatewayState;
use super::state_metrics::key_sets;
use crate::operation::AuditLogState;
use crate::reload::Reloader;
use witgate_base::clock;
use witgate_base::digest::digest_text;
use witgate_base::printable;
use witgate_policy::generation::Generation;
use witgate_policy::{OutageScope, Policy, Source};
use witgate_runtime::metrics::upstream_health::{UpstreamFailures, UpstreamHealth};
use witgate_services::jwks::KeySetState;

/// The time before the end of a certificate from which on it counts as degraded.
const EXPIRES_SOON: Duration = Duration::from_secs(7 * 24 * 3600);

/// The time without a checkpoint from which on the audit counts as degraded. One is written each second.
const UNSIGNED_FOR_LONG: Duration = Duration::from_secs(15);

/// A part of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadinessPart {
    /// The kind and the name of the part.
    pub name: String,
    /// Its state.
    pub state: PartState,
    /// The reason for the state, or what works.
    pub reason: String,
}

/// The state of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PartState {
    /// Everything works.
    Ok,
    /// Something does not work, and the gateway answers without it.
    Degraded,
    /// The gateway must get no requests.
    NotReady,
}

impl ReadinessPart {
    fn new(name: impl Into<String>, state: PartState, reason: impl Into<String>) -> Self {
        Self { name: name.into(), state, reason: reason.into() }
    }
}

/// All parts. `is_stopping` says that the gateway shuts down.
pub(crate) fn parts(gateway: &GatewayState, is_stopping: bool) -> Vec<ReadinessPart> {
    let live = gateway.generations.live();
    let mut parts = vec![process(is_stopping)];
    parts.extend(gateway.reloader.iter().map(|reloader| reload(reloader)));
    parts.extend(gateway.tls.iter().filter_map(|tls| tls.expires_at()).map(certificate));
    parts.extend(
        gateway.audit.state().iter().flat_map(|log| [audit(log), audit_checkpoints(log), audit_upkeep(log)]),
    );
    parts.extend(pipelines(&live));
    parts.extend(live.policies().map(|policy| of_policy(policy)));
    parts.extend(key_sets(&live).values().map(key_set));
    parts.extend(gateway.metrics.upstreams().iter().map(|(name, health)| upstream(name, health)));
    parts
}

/// The parts as lines, and the state of all together.
pub(crate) fn verbose(parts: &[ReadinessPart]) -> (PartState, String) {
    let mut text = String::new();
    for ReadinessPart { name, state, reason } in parts {
        let mark = match state {
            PartState::Ok => "[+]",
            PartState::Degraded => "[!]",
            PartState::NotReady => "[-]",
        };
        // Writing to a string does not fail. Reasons may contain several lines.
        let _ = writeln!(text, "{mark}{name} {}: {}", state.name(), printable::clean(reason));
    }
    let all = parts.iter().map(|part| part.state).max().unwrap_or(PartState::Ok);
    text.push_str(match all {
        PartState::Ok => "ready\n",
        PartState::Degraded => "ready, but degraded\n",
        PartState::NotReady => "not ready\n",
    });
    (all, text)
}

impl PartState {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::NotReady => "not ready",
        }
    }
}

fn process(is_stopping: bool) -> ReadinessPart {
    match is_stopping {
        true => ReadinessPart::new("process", PartState::NotReady, "shutting down"),
        false => ReadinessPart::new("process", PartState::Ok, "running"),
    }
}

fn reload(reloader: &Reloader) -> ReadinessPart {
    let part = |state, reason: String| ReadinessPart::new("reload", state, reason);
    if !reloader.is_looking() {
        return part(PartState::NotReady, UNNOTICED.to_owned());
    }
    let refused = reloader.last().and_then(|last| Some((last.at, last.outcome.err()?)));
    if let Some((at, reasons)) = refused {
        let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
        let ago = clock::system_time().duration_since(at).unwrap_or_default();
        let reason = format!("the change {} ago is not applied: {}", shown(ago), reasons.join("; "));
        return part(PartState::Degraded, reason);
    }
    let waiting = reloader.waiting();
    if !waiting.is_empty() {
        return part(PartState::Degraded, format!("changes wait for a restart: {}", waiting.join("; ")));
    }
    if let Some(to) = reloader.rolled_back_to() {
        return part(
            PartState::Degraded,
            format!("a rollback to generation {to} is in force instead of the files"),
        );
    }
    part(PartState::Ok, "the files are in force".to_owned())
}

/// The reason if the files are not watched any more.
pub(super) const UNNOTICED: &str =
    "changed files are no longer noticed, so a revoked key may still be accepted: restart Witgate";

fn certificate(expires_at: u64) -> ReadinessPart {
    let now = clock::system_time().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let part = |state, reason: String| ReadinessPart::new("certificate/server.tls", state, reason);
    match Duration::from_secs(expires_at).checked_sub(now) {
        None => part(PartState::Degraded, "expired; replace the file".to_owned()),
        Some(left) if left < EXPIRES_SOON => {
            part(PartState::Degraded, format!("expires in {}; replace the file", shown(left)))
        }
        Some(left) => part(PartState::Ok, format!("expires in {}", shown(left))),
    }
}

fn audit(log: &AuditLogState) -> ReadinessPart {
    match log.is_available {
        true => ReadinessPart::new("audit", PartState::Ok, "entries are written"),
        false => ReadinessPart::new(
            "audit",
            PartState::Degraded,
            "entries cannot be written: look at the log, and at the disk of `audit.directory`",
        ),
    }
}

fn audit_checkpoints(log: &AuditLogState) -> ReadinessPart {
    let part = |state, reason: String| ReadinessPart::new("audit/checkpoints", state, reason);
    if log.unsigned_for > UNSIGNED_FOR_LONG {
        let reason = "no checkpoint could be written; look at the disk of `audit.directory`";
        part(PartState::Degraded, format!("entries are unsigned for {}: {reason}", shown(log.unsigned_for)))
    } else if log.failing_copies.is_empty() {
        part(PartState::Ok, "entries are signed".to_owned())
    } else {
        part(PartState::Degraded, format!("not taken by {}", log.failing_copies.join(", ")))
    }
}

fn audit_upkeep(log: &AuditLogState) -> ReadinessPart {
    let (state, reason) = match &log.upkeep_fault {
        None => (PartState::Ok, "old segments are kept as configured".to_owned()),
        Some(fault) => {
            (PartState::Degraded, format!("old segments are neither removed nor compressed: {fault}"))
        }
    };
    ReadinessPart::new("audit/upkeep", state, reason)
}

fn pipelines(live: &Generation) -> Vec<ReadinessPart> {
    let part = |pipeline: &witgate_policy::generation::Pipeline| {
        let name = format!("pipeline/{}", pipeline.upstream);
        match pipeline.is_whole() {
            true => ReadinessPart::new(name, PartState::Ok, format!("generation {}", live.number())),
            false => {
                let reason = "held back: the former policies decide, and new ones can only restrict them";
                ReadinessPart::new(name, PartState::Degraded, reason)
            }
        }
    };
    live.served().map(part).collect()
}

fn of_policy(policy: &Policy) -> ReadinessPart {
    let (state, reason) = match (policy.source(), policy.out_for()) {
        (Source::Broken { reason }, _) => (PartState::Degraded, format!("its calls are denied: {reason}")),
        (Source::Fallback { reason }, _) => (PartState::Degraded, format!("the fallback decides: {reason}")),
        (_, OutageScope::Everybody) => {
            (PartState::Degraded, "the component keeps failing, so calls to it are paused".to_owned())
        }
        (_, OutageScope::SomeCallers) => {
            let reason = "the component keeps failing for some callers, so their calls to it are paused";
            (PartState::Degraded, reason.to_owned())
        }
        (Source::Builtin, OutageScope::Nobody) => (PartState::Ok, "built-in".to_owned()),
        (Source::Component { digest, .. }, OutageScope::Nobody) => (PartState::Ok, digest_text(digest)),
    };
    ReadinessPart::new(format!("policy/{}", policy.name()), state, reason)
}

fn key_set(set: &KeySetState) -> ReadinessPart {
    let age = set.age.map(shown);
    let (state, reason) = match (age, set.is_usable, set.is_failing) {
        (None, _, false) => (PartState::Ok, "not needed yet".to_owned()),
        (None, _, true) => (
            PartState::Degraded,
            "it cannot be fetched, so its tokens are refused; the log says why".to_owned(),
        ),
        (Some(age), false, _) => {
            (PartState::Degraded, format!("{age} old, which is too old, so its tokens are refused"))
        }
        (Some(age), true, true) => {
            (PartState::Degraded, format!("{age} old, because it cannot be fetched again; the log says why"))
        }
        (Some(age), true, false) => (PartState::Ok, format!("fetched {age} ago")),
    };
    ReadinessPart::new(format!("key-set/{}", set.source), state, reason)
}

fn upstream(name: &str, health: &UpstreamHealth) -> ReadinessPart {
    let name = format!("upstream/{name}");
    match health.failures() {
        None => ReadinessPart::new(name, PartState::Ok, "no call has failed since the last answer"),
        Some(UpstreamFailures { count, reason, ago }) => {
            let reason = format!(
                "{count} calls since its last answer failed, the last one {} ago: {reason}",
                shown(ago)
            );
            ReadinessPart::new(name, PartState::Degraded, reason)
        }
    }
}

/// A duration for people: in seconds, or in days for certificates.
fn shown(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_decides_about_all_and_every_part_has_one_line() {
        let part = |state, reason: &str| ReadinessPart::new("upstream/main", state, reason);
        let (state, text) =
            verbose(&[part(PartState::Ok, "a"), part(PartState::Degraded, "b\n[+]forged ok")]);
        assert_eq!(state, PartState::Degraded);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.starts_with("[+]upstream/main ok: a\n[!]upstream/main degraded: b"), "{text}");
        assert!(text.ends_with("\nready, but degraded\n"), "{text}");
        let (state, text) = verbose(&[process(true), part(PartState::Ok, "a")]);
        assert_eq!(state, PartState::NotReady);
        assert!(text.starts_with("[-]process not ready: shutting down\n") && text.ends_with("not ready\n"));
    }

    #[test]
    fn a_certificate_is_degraded_from_a_week_before_its_end() {
        let now = clock::system_time().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let day = 24 * 3600;
        for (expires_at, state) in [
            (now + 8 * day, PartState::Ok),
            (now + 6 * day, PartState::Degraded),
            (now - 1, PartState::Degraded),
        ] {
            assert_eq!(certificate(expires_at).state, state, "{expires_at}");
        }
    }

    #[test]
    fn a_key_set_that_was_not_needed_is_no_fault() {
        let set = |age: Option<u64>, is_usable, is_failing| KeySetState {
            source: "https://id.example".to_owned(),
            age: age.map(Duration::from_secs),
            is_usable,
            is_failing,
            fetched: 0,
            failed: 0,
            hits: 0,
            misses: 0,
        };
        for (age, is_usable, is_failing, state) in [
            (None, false, false, PartState::Ok),
            (None, false, true, PartState::Degraded),
            (Some(9), true, false, PartState::Ok),
            (Some(9), true, true, PartState::Degraded),
            (Some(9), false, true, PartState::Degraded),
        ] {
            assert_eq!(
                key_set(&set(age, is_usable, is_failing)).state,
                state,
                "{age:?} {is_usable} {is_failing}"
            );
        }
    }

    #[test]
    fn an_upstream_without_answers_is_degraded_with_the_reason() {
        let health = UpstreamHealth::default();
        assert_eq!(upstream("main", &health).state, PartState::Ok);
        health.failed("upstream-timeout");
        let part = upstream("main", &health);
        assert_eq!((part.name.as_str(), part.state), ("upstream/main", PartState::Degraded));
        assert!(part.reason.ends_with("upstream-timeout"), "{}", part.reason);
    }
}
