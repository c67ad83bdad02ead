//! Finds out the protocol eras of an upstream once, and remembers them.
//!
//! A server may accept only one era after the first request, or end after an unexpected one. So a child is asked in a
//! separate process, which is then ended (2026-07-28, Transports, "stdio").

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::OwnedMutexGuard;

use super::bridge::MODERN;
use witgate_base::clock;
use witgate_config as config;
use witgate_message::json::{Members, unquote};

/// Maximum time of the question. Clients wait ten seconds for the answer to `server/discover`.
pub const PATIENCE: Duration = Duration::from_secs(8);
/// Time for which an upstream that could not be asked is not asked again.
const RETRY: Duration = Duration::from_secs(5);
/// Time for which a verdict on disk is valid: packages may be updated overnight.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The eras that an upstream supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpokenEras {
    /// 2025-03-26 to 2025-11-25. None: not tried yet.
    pub legacy: Option<bool>,
    /// 2026-07-28.
    pub modern: bool,
}

/// The answer of an upstream, as far as its era follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// A JSON-RPC response, with any status over HTTP.
    Said(Bytes),
    /// Another result: HTTP 4xx without JSON, or a child that ended or was silent.
    Nothing,
    /// The era does not follow from the result: not reachable, HTTP 401, 403 or 5xx.
    Unknown,
}

/// Asks an upstream, each time with a separate connection.
pub trait Probe: Sync {
    /// Sends `server/discover` of 2026-07-28.
    fn discover(&self) -> impl Future<Output = ProbeResult> + Send;

    /// Sends `initialize` of 2025-11-25, and ends the session that it opens. None: that is too expensive, and the
    /// first session will give the answer.
    fn initialize(&self) -> impl Future<Output = Option<ProbeResult>> + Send;
}

/// The eras that an upstream supports, with its DiscoverResult.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EraVerdict {
    /// The eras.
    pub speaks: SpokenEras,
    /// The DiscoverResult, unchanged.
    pub discovered: Option<Bytes>,
}

impl EraVerdict {
    /// The verdict for known eras.
    pub fn known(legacy: bool, modern: bool) -> Self {
        Self { speaks: SpokenEras { legacy: Some(legacy), modern }, discovered: None }
    }
}

/// Asks an upstream. None: the answer does not show the era.
///
/// A DiscoverResult with 2026-07-28, or a `-32022` that names it, means the stateless era; any other answer means the
/// stateful era. A DiscoverResult does not say reliably whether the stateful era is supported as well; the first
/// client that tries shows it.
pub async fn probe(upstream: &impl Probe) -> Option<EraVerdict> {
    let verdict = judge_discover(&upstream.discover().await)?;
    if verdict.speaks.modern || verdict.speaks.legacy.is_some() {
        return Some(verdict);
    }
    let legacy = match upstream.initialize().await {
        Some(ProbeResult::Said(response)) => Some(has_result(&response)),
        Some(ProbeResult::Nothing) => Some(false),
        Some(ProbeResult::Unknown) => return None,
        None => None,
    };
    Some(EraVerdict { speaks: SpokenEras { legacy, modern: false }, discovered: None })
}

/// The verdict that follows from the answer to `server/discover`. None: the answer shows nothing.
pub fn judge_discover(answer: &ProbeResult) -> Option<EraVerdict> {
    let older = EraVerdict { speaks: SpokenEras { legacy: None, modern: false }, discovered: None };
    let response = match answer {
        ProbeResult::Said(response) => response,
        ProbeResult::Nothing => return Some(older),
        ProbeResult::Unknown => return None,
    };
    let modern = SpokenEras { legacy: None, modern: true };
    let Some(message) = std::str::from_utf8(response).ok().and_then(Members::read) else {
        return Some(older);
    };
    if let Some(result) = message.came("result").and_then(Members::read) {
        let named = result.get("supportedVersions").is_some_and(names_modern);
        let discovered = message.get("result").map(|result| Bytes::copy_from_slice(result.as_bytes()));
        return Some(if named { EraVerdict { speaks: modern, discovered } } else { older });
    }
    let refused = message.came("error").and_then(Members::read).is_some_and(|error| {
        let data = error.came("data").and_then(Members::read).unwrap_or_default();
        error.get("code") == Some("-32022") && data.get("supported").is_some_and(names_modern)
    });
    Some(if refused { EraVerdict { speaks: modern, discovered: None } } else { older })
}

/// True if an answer to `initialize` means that the stateful era is not supported: `-32022` without any version of it.
pub fn refuses_legacy(response: &[u8]) -> bool {
    let message = std::str::from_utf8(response).ok().and_then(Members::read);
    let error = message.and_then(|message| message.came("error").and_then(Members::read));
    error.is_some_and(|error| {
        let data = error.came("data").and_then(Members::read).unwrap_or_default();
        error.get("code") == Some("-32022") && data.get("supported").is_some_and(names_modern)
    })
}

fn names_modern(versions: &str) -> bool {
    serde_json::from_str::<Vec<String>>(versions).is_ok_and(|versions| versions.iter().any(|v| v == MODERN))
}

fn has_result(response: &[u8]) -> bool {
    let message = std::str::from_utf8(response).ok().and_then(Members::read);
    message.is_some_and(|message| {
        let result = message.came("result").and_then(Members::read);
        result.is_some_and(|result| result.get("protocolVersion").and_then(unquote).is_some())
    })
}

/// The `server/discover` request of Witgate, with the id `id`.
pub fn discover_request(id: &str) -> Bytes {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        concat!(
            r#"{{"jsonrpc":"2.0","id":{},"method":"server/discover","params":{{"_meta":{{"#,
            r#""io.modelcontextprotocol/protocolVersion":"{}","io.modelcontextprotocol/clientCapabilities":{{}},"#,
            r#""io.modelcontextprotocol/clientInfo":{{"name":"witgate","version":"{}"}}}}}}}}"#
        ),
        id, MODERN, version
    )
    .into()
}

/// The verdict on an upstream's eras. The upstream is asked once, and all callers wait for that answer.
#[derive(Debug, Default)]
pub struct EraCache {
    known: Mutex<EraState>,
    asking: Arc<tokio::sync::Mutex<()>>,
    file: Option<PathBuf>,
}

/// The turn to ask an upstream.
pub type ProbeTurn = OwnedMutexGuard<()>;

/// A verdict on disk.
#[derive(Deserialize, Serialize)]
struct StoredVerdict {
    legacy: Option<bool>,
    modern: bool,
    discovered: Option<Box<RawValue>>,
}

#[derive(Debug, Default)]
struct EraState {
    verdict: Option<EraVerdict>,
    failed: Option<Instant>,
}

impl EraCache {
    /// For an upstream with known eras.
    pub fn known(verdict: EraVerdict) -> Self {
        let known = EraState { verdict: Some(verdict), failed: None };
        Self { known: Mutex::new(known), ..Self::default() }
    }

    /// For an upstream with eras in the configuration.
    pub fn configured(eras: config::Eras) -> Self {
        Self::known(EraVerdict::known(eras.stateful, eras.stateless))
    }

    /// For an upstream whose verdict is stored in `file` for a day. Over stdio a client may start Witgate twice, the
    /// first time only to ask; the second start then needs no child for the answer. Faults of the file are ignored.
    pub fn kept_in(file: PathBuf) -> Self {
        let known = EraState { verdict: read_kept(&file), failed: None };
        Self { known: Mutex::new(known), file: Some(file), ..Self::default() }
    }

    /// The verdict, if it is known.
    pub fn remembered(&self) -> Option<EraVerdict> {
        self.known.lock().verdict.clone()
    }

    /// The verdict; asks if it is unknown. None: the answer does not show the era.
    pub async fn verdict(&self, upstream: &impl Probe) -> Option<EraVerdict> {
        if let Some(verdict) = self.remembered() {
            return Some(verdict);
        }
        self.ask(self.turn().await, upstream).await
    }

    /// A turn to ask.
    pub async fn turn(&self) -> ProbeTurn {
        Arc::clone(&self.asking).lock_owned().await
    }

    /// The verdict by now; asks if it is still unknown.
    pub async fn ask(&self, _turn: ProbeTurn, upstream: &impl Probe) -> Option<EraVerdict> {
        if let Some(verdict) = self.remembered() {
            return Some(verdict);
        }
        if self.known.lock().failed.is_some_and(|at| at.elapsed() < RETRY) {
            return None;
        }
        let verdict = probe(upstream).await;
        let mut known = self.known.lock();
        match verdict {
            Some(verdict) => {
                let verdict = known.verdict.get_or_insert(verdict).clone();
                self.keep(Some(&verdict));
                Some(verdict)
            }
            None => {
                known.failed = Some(Instant::now());
                None
            }
        }
    }

    /// Records whether the stateful era is supported. An upstream that supports neither era has changed, and is asked
    /// again.
    pub fn note_legacy(&self, spoken: bool) {
        let mut known = self.known.lock();
        match &mut known.verdict {
            Some(verdict) if spoken || verdict.speaks.modern => verdict.speaks.legacy = Some(spoken),
            Some(_) => known.verdict = None,
            None if !spoken => known.verdict = Some(EraVerdict::known(false, true)),
            None => {}
        }
        self.keep(known.verdict.as_ref());
    }

    fn keep(&self, verdict: Option<&EraVerdict>) {
        let Some(file) = &self.file else { return };
        let kept = match verdict {
            Some(verdict) => write_kept(file, verdict),
            None => fs::remove_file(file),
        };
        if let Err(error) = kept {
            tracing::debug!(%error, file = %file.display(), "the upstream's era is not kept");
        }
    }
}

fn read_kept(file: &Path) -> Option<EraVerdict> {
    let age = clock::system_time().duration_since(fs::metadata(file).ok()?.modified().ok()?).ok()?;
    let kept: StoredVerdict = serde_json::from_slice(&fs::read(file).ok().filter(|_| age < KEPT)?).ok()?;
    let discovered = kept.discovered.map(|result| Bytes::from(result.get().to_owned()));
    Some(EraVerdict { speaks: SpokenEras { legacy: kept.legacy, modern: kept.modern }, discovered })
}

/// Replaces the file atomically, because another process may read it at any time.
fn write_kept(file: &Path, verdict: &EraVerdict) -> io::Result<()> {
    let discovered = verdict.discovered.as_ref().and_then(|result| serde_json::from_slice(result).ok());
    let SpokenEras { legacy, modern } = verdict.speaks;
    let text = serde_json::to_vec(&StoredVerdict { legacy, modern, discovered })?;
    let new = file.with_extension(format!("{}.new", std::process::id()));
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&new, text)?;
    fs::rename(&new, file)
}

#[cfg(test)]
mod tests;
