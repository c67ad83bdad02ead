//! What `witgate plugin list` shows of a running Witgate.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::config::Mode;
use crate::generation::Generation;
use crate::policy::{Policy, Source};
use crate::reload::Attempt;
use crate::services::digest_text;

/// The live generation, and what became of the last candidate.
pub fn status(live: &Generation, last: Option<&Attempt>) -> Value {
    json!({
        "generation": live.number(),
        "since": time(live.since()),
        "policies": live.policies().map(|it| policy(it)).collect::<Vec<_>>(),
        "last_reload": last.map(attempt),
    })
}

fn policy(policy: &Policy) -> Value {
    let (source, digest, version, reason) = match policy.source() {
        Source::Builtin => ("built-in", None, None, None),
        Source::Component { digest, description } => {
            ("component", Some(digest_text(digest)), Some(description.version.as_str()), None)
        }
        Source::Fallback { reason } => ("fallback", None, None, Some(reason.as_str())),
    };
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let counts = policy.counts();
    json!({
        "name": &**policy.name(),
        "kind": policy.kind().name(),
        "mode": match policy.mode() { Mode::Enforce => "enforce", Mode::Shadow => "shadow" },
        "source": source,
        "digest": digest,
        "version": version,
        "reason": reason,
        "calls": count(&counts.calls),
        "denials": count(&counts.denials),
        "failures": count(&counts.failures),
        "fallbacks": count(&counts.fallbacks),
    })
}

fn attempt(attempt: &Attempt) -> Value {
    let (generation, errors) = match &attempt.outcome {
        Ok(generation) => (Some(generation), &[][..]),
        Err(errors) => (None, errors.as_slice()),
    };
    json!({
        "at": time(attempt.at),
        "took_ms": u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
        "generation": generation,
        "errors": errors,
    })
}

fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
