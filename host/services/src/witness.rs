//! The trace of a policy in a sandbox: its host calls and their results, its log lines, and the resources
//! that it uses.

use std::borrow::Cow;
use std::collections::BTreeMap;

use parking_lot::Mutex;
use witgate_plugin::{Digest, HttpError, HttpResponse, Level, PasswordError, ToolAnnotations, VerifyError};

use witgate_base::digest::digest_text;
use witgate_base::printable::clean;

/// Maximum number of events of one question: ten times the default limit of host calls.
const MOST: usize = 10_000;

/// The imports of the WIT package, by the names under which they are counted.
pub const IMPORTS: [&str; 24] = [
    "request.upstream",
    "request.audience",
    "request.peer",
    "request.header",
    "request.arguments",
    "request.meta",
    "request.certificate-thumbprint",
    "request.dpop-thumbprint",
    "request.annotations",
    "caller.issuer",
    "caller.claims",
    "caller.expires-at",
    "clock.now",
    "log.write",
    "verdict-memory.keep-until",
    "crypto.sha256",
    "crypto.equal",
    "crypto.verify",
    "crypto.verify-password",
    "secrets.reveal",
    "cache.get",
    "cache.put",
    "cache.remove",
    "http.send",
];

/// Records the trace of one policy.
#[derive(Debug, Default)]
pub struct Witness(Mutex<Observation>);

/// The trace of one question.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// The host calls and log lines, in order.
    pub events: Vec<TraceEvent>,
    /// The number of calls of each import.
    pub host_calls: BTreeMap<&'static str, u64>,
    /// The running time of the component's own code, in epochs of a millisecond.
    pub ticks: u64,
    /// The largest size of the instance's linear memories, in bytes. 0: there is no instance.
    pub memory: usize,
}

/// An event in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceEvent {
    /// A call of an import.
    Call {
        /// The interface and the function, as in the WIT package: `request.header`.
        name: &'static str,
        /// The arguments, with credentials redacted.
        arguments: String,
        /// The result, with secrets redacted.
        summary: String,
    },
    /// A log line.
    Log {
        /// The level of the line.
        level: Level,
        /// The line, sanitized for a terminal.
        line: String,
    },
}

impl Observation {
    /// The lines that were logged.
    pub fn log(&self) -> impl Iterator<Item = (Level, &str)> {
        self.events.iter().filter_map(|event| match event {
            TraceEvent::Log { level, line } => Some((*level, line.as_str())),
            TraceEvent::Call { .. } => None,
        })
    }
}

impl Witness {
    /// Takes the trace since the last call. The memory of the instance stays counted.
    pub fn take(&self) -> Observation {
        let mut seen = self.0.lock();
        let memory = seen.memory;
        std::mem::replace(&mut *seen, Observation { memory, ..Observation::default() })
    }

    /// Records a host call, with its arguments and result.
    pub fn called(&self, name: &'static str, arguments: String, summary: String) {
        let mut seen = self.0.lock();
        *seen.host_calls.entry(name).or_default() += 1;
        if seen.events.len() < MOST {
            seen.events.push(TraceEvent::Call {
                name,
                arguments: clean(&arguments),
                summary: clean(&summary),
            });
        }
    }

    /// Records a log line of the guest.
    pub fn logged(&self, level: Level, line: &str) {
        let mut seen = self.0.lock();
        *seen.host_calls.entry("log.write").or_default() += 1;
        if seen.events.len() < MOST {
            seen.events.push(TraceEvent::Log { level, line: clean(line) });
        }
    }

    /// Records the end of an epoch.
    pub fn ticked(&self) {
        self.0.lock().ticks += 1;
    }

    /// Records the memory of the guest, in bytes.
    pub fn holds(&self, memory: usize) {
        let mut seen = self.0.lock();
        seen.memory = seen.memory.max(memory);
    }
}

/// A short summary of a result of the host.
pub(super) trait AnswerSummary {
    fn summary(&self) -> String;
}

impl AnswerSummary for () {
    fn summary(&self) -> String {
        String::new()
    }
}

impl AnswerSummary for u64 {
    fn summary(&self) -> String {
        self.to_string()
    }
}

impl AnswerSummary for Cow<'_, str> {
    fn summary(&self) -> String {
        format!("{self:?}")
    }
}

impl AnswerSummary for ToolAnnotations {
    fn summary(&self) -> String {
        let Self { read_only, destructive, idempotent, open_world } = self;
        format!(
            "readOnlyHint {read_only}, destructiveHint {destructive}, idempotentHint {idempotent}, openWorldHint \
             {open_world}"
        )
    }
}

impl AnswerSummary for Digest {
    fn summary(&self) -> String {
        digest_text(self)
    }
}

impl AnswerSummary for Vec<u8> {
    fn summary(&self) -> String {
        match std::str::from_utf8(self) {
            Ok(text) => format!("{text:?}"),
            Err(_) => format!("{} bytes", self.len()),
        }
    }
}

/// The size of a value of a policy's cache. The value may be a secret that the policy has got from a server.
pub(super) struct CachedSize(pub(super) usize);

impl AnswerSummary for CachedSize {
    fn summary(&self) -> String {
        format!("{} bytes", self.0)
    }
}

impl<T: AnswerSummary> AnswerSummary for Option<T> {
    fn summary(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), AnswerSummary::summary)
    }
}

impl AnswerSummary for Result<(), VerifyError> {
    fn summary(&self) -> String {
        match self {
            Ok(()) => "good".to_owned(),
            Err(error) => format!("{error:?}"),
        }
    }
}

impl AnswerSummary for Result<bool, PasswordError> {
    fn summary(&self) -> String {
        match self {
            Ok(true) => "right".to_owned(),
            Ok(false) => "wrong".to_owned(),
            Err(error) => format!("{error:?}"),
        }
    }
}

impl AnswerSummary for Result<HttpResponse, HttpError> {
    fn summary(&self) -> String {
        match self {
            Ok(answer) => format!("{}, {} bytes", answer.status, answer.body.len()),
            Err(error) => format!("{error:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use witgate_plugin::Host as _;

    use super::*;
    use crate::cache::Cache;
    use crate::{PolicyHost, Services};

    #[test]
    fn a_value_of_a_cache_is_shown_by_its_length() {
        let witness = Arc::new(Witness::default());
        let (cache, seen) = (Some(Cache::new(1 << 20)), Some(Arc::clone(&witness)));
        let services = Services { cache, witness: seen, ..Services::bare("people") };
        let host = PolicyHost { services: &services, scope: None };
        host.cache(b"token", b"sesame", 60);
        assert_eq!(host.cached(b"token").as_deref(), Some(b"sesame".as_slice()));
        let seen = format!("{:?}", witness.take().events);
        assert!(seen.contains("\"6 bytes\"") && !seen.contains("sesame"), "{seen}");
    }
}
