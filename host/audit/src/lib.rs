//! The audit log of Witgate: entries in a directory, of which nobody can change, remove or add one without being noticed.
//!
//! Each line has the hash of the line before it. Over all lines there is a Merkle tree, whose root is signed every
//! second ([`note`]). [`verify`] checks a directory, and [`proof`] proves one line without the others. `docs/audit.md`
//! describes the files.

#![forbid(unsafe_code)]

mod checkpoint_file;
mod checkpoint_place;
mod copies;
pub mod cosignature;
mod hex;
mod line;
pub mod note;
mod note_key;
pub mod proof;
mod queue;
mod recovery;
mod retention;
mod schedule;
mod segment;
pub mod select;
mod signed_file;
mod store;
pub mod tree;
pub mod verify;
mod waiters;
mod witness;
mod writer;

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use parking_lot::Mutex;
use witgate_base::clock;
use witgate_base::whole_file;

use copies::{CheckpointCopies, CopyState};
use note::{CheckpointKey, CheckpointKeyError, CheckpointSigner};
use queue::EntryQueue;
use retention::{Upkeep, UpkeepProgress};
use store::LogFiles;
use writer::LogWriter;

pub use checkpoint_place::{CheckpointNetwork, CheckpointPlace, WitnessAnswer, WitnessPlace};
pub use line::ChainFault;
pub use queue::EntryPlace;
pub use recovery::{OpenError, owner};
pub use waiters::DurableEntry;
pub use writer::SegmentRules;

/// The time after which a write counts as hung.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(2);

/// The time after which lines that no checkpoint signs make the log unavailable: it proves nothing any more.
pub const SIGNATURE_DEADLINE: Duration = Duration::from_secs(60);

/// The name of the private key in the directory, if the configuration names no other file.
pub const KEY_FILE: &str = "private-key.pem";

/// The name of the file with the public key in the directory.
pub const PUBLIC_KEY_FILE: &str = "public-key";

/// The moment at which entries are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// Some milliseconds later. A killed process loses the entries of that time.
    Batched,
    /// As soon as the disk permits: callers can wait for it.
    BeforeAnswer,
}

/// The settings of a log.
#[derive(Debug)]
pub struct LogSettings {
    /// The directory.
    pub directory: PathBuf,
    /// The key that signs checkpoints.
    pub signer: Arc<CheckpointSigner>,
    /// The moment at which entries are durable.
    pub sync: SyncMode,
    /// The rules for segments.
    pub rules: SegmentRules,
    /// Further places that get every checkpoint.
    pub checkpoint_to: Vec<CheckpointPlace>,
    /// The network, for places that need it.
    pub network: Option<Arc<dyn CheckpointNetwork>>,
    /// The name of the owner, such as the path of the configuration, for others who want the same directory.
    pub owner: String,
}

/// A log that is open for writing. If it is dropped, waiting entries are still written.
pub struct AuditLog {
    state: Arc<LogState>,
    thread: Mutex<Option<JoinHandle<()>>>,
    arguments: hmac::Key,
    copies: Vec<Arc<CopyState>>,
    upkeep: Arc<UpkeepProgress>,
    cut: u64,
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

/// The state that callers share with the thread.
#[derive(Default)]
pub(crate) struct LogState {
    pub(crate) queue: Arc<EntryQueue>,
    is_failing: AtomicBool,
    /// The number of lost entries that no entry has reported.
    unreported: AtomicU64,
    /// The time at which the current write began, in milliseconds after the start of the log. Zero: there is none.
    writing_since: AtomicU64,
    /// The time of the first line that no checkpoint signs, in the same form.
    unsigned_since: AtomicU64,
    started: Option<Instant>,
    /// True if everything is written. Checkpoints may still be on the way to places elsewhere.
    is_complete: AtomicBool,
}

impl LogState {
    fn now(&self) -> u64 {
        let elapsed = self.started.map(|started| started.elapsed()).unwrap_or_default();
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1)
    }

    pub(crate) fn begin_write(&self) {
        self.writing_since.store(self.now(), Ordering::Relaxed);
    }

    /// Notes the end of a write. Returns the time that it took.
    pub(crate) fn end_write(&self) -> Duration {
        match self.writing_since.swap(0, Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_millis(self.now().saturating_sub(since)),
        }
    }

    pub(crate) fn set_failing(&self, is_failing: bool) {
        self.is_failing.store(is_failing, Ordering::Relaxed);
    }

    /// Notes that there are lines that no checkpoint signs.
    pub(crate) fn note_unsigned(&self) {
        if self.unsigned_since.load(Ordering::Relaxed) == 0 {
            self.unsigned_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Notes that all lines are signed. Returns the time that it took.
    pub(crate) fn note_signed(&self) -> Duration {
        let unsigned = self.unsigned_for();
        self.unsigned_since.store(0, Ordering::Relaxed);
        unsigned
    }

    /// The time for which there have been lines that no checkpoint signs.
    fn unsigned_for(&self) -> Duration {
        match self.unsigned_since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_millis(self.now().saturating_sub(since)),
        }
    }

    /// Notes that everything is written.
    pub(crate) fn note_complete(&self) {
        self.is_complete.store(true, Ordering::Release);
    }

    pub(crate) fn take_unreported(&self) -> u64 {
        self.unreported.swap(0, Ordering::Relaxed)
    }

    /// Counts losses again that no entry could tell.
    pub(crate) fn keep_unreported(&self, lost: u64) {
        self.unreported.fetch_add(lost, Ordering::Relaxed);
    }

    fn is_available(&self) -> bool {
        let since = self.writing_since.load(Ordering::Relaxed);
        let is_hung = since > 0 && u128::from(self.now().saturating_sub(since)) > WRITE_DEADLINE.as_millis();
        !is_hung && !self.is_failing.load(Ordering::Relaxed) && self.unsigned_for() <= SIGNATURE_DEADLINE
    }

    fn lose(&self) {
        self.queue.lose(1);
        self.unreported.fetch_add(1, Ordering::Relaxed);
    }
}

impl AuditLog {
    /// Opens the log in the directory of `settings`, and continues it.
    ///
    /// # Errors
    /// If another process has the directory, signed lines are missing or changed, or the disk does not permit it.
    pub fn open(settings: LogSettings) -> Result<Self, OpenError> {
        let LogSettings { directory, signer, sync, rules, checkpoint_to, network, owner } = settings;
        let failed = |error| OpenError::Io { path: directory.clone(), error };
        let mut keys = known_keys(&directory).map_err(failed)?;
        keys.push(signer.public().clone());
        let files = |place: &CheckpointPlace| match place {
            CheckpointPlace::File(path) => Some(path.clone()),
            CheckpointPlace::Log | CheckpointPlace::Witness(_) | CheckpointPlace::Collector(_) => None,
        };
        let elsewhere: Vec<_> = checkpoint_to.iter().filter_map(files).collect();
        let found = recovery::open(&directory, &elsewhere, &owner, &keys)?;
        note_public_key(&directory, &signer).map_err(failed)?;
        let secret = signer.derived_secret().ok_or(OpenError::Key)?;
        let start = |place| CheckpointCopies::start(place, &directory, network.as_ref());
        let writers = checkpoint_to.into_iter().map(start).collect::<io::Result<Vec<_>>>();
        let writers = writers.map_err(OpenError::Thread)?;
        let copies = writers.iter().map(CheckpointCopies::state).collect();
        let cut = found.cut;
        let store = LogFiles::new(directory.clone(), found, signer, writers);
        let mut store = store.map_err(failed)?;
        if sync == SyncMode::BeforeAnswer {
            store.reserve_room();
        }
        let state = Arc::new(LogState { started: Some(Instant::now()), ..LogState::default() });
        let upkeep = Upkeep::new(directory.clone());
        let progress = upkeep.progress();
        let shared = Arc::clone(&state);
        let writer = LogWriter { state: shared, store, sync, rules, upkeep, recovery: None, unsigned: None };
        let thread = thread::Builder::new().name("witgate-audit-log".to_owned());
        let thread = thread.spawn(move || writer.run()).map_err(OpenError::Thread)?;
        let arguments = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        Ok(Self { state, thread: Mutex::new(Some(thread)), arguments, copies, upkeep: progress, cut })
    }

    /// The number of bytes that were cut when the log was opened, because a kill had left them incomplete.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// Takes a place for an entry that is made later. None: entries cannot be written at the moment.
    pub fn reserve(&self) -> Option<EntryPlace> {
        let is_open = self.is_available() && !self.state.queue.is_ended();
        if is_open { self.state.queue.place() } else { None }
    }

    /// The time for which there have been lines that no checkpoint signs.
    pub fn unsigned_for(&self) -> Duration {
        self.state.unsigned_for()
    }

    /// The places elsewhere that do not take checkpoints at the moment, each with the reason.
    pub fn failing_copies(&self) -> Vec<String> {
        let faults = self.copies.iter().filter_map(|copies| Some((copies.place(), copies.fault()?)));
        faults.map(|(place, fault)| format!("{place} ({fault})")).collect()
    }

    /// The reason why old segments are neither removed nor compressed at the moment. None: they are, when it is time.
    pub fn upkeep_fault(&self) -> Option<String> {
        self.upkeep.fault(Instant::now())
    }

    /// False while the disk refuses entries or checkpoints, or does not answer.
    pub fn is_available(&self) -> bool {
        self.state.is_available()
    }

    /// Records an entry, which is one JSON object in one line whose first member is `kind`. Without a place, the entry
    /// is lost if too many wait.
    pub fn append(&self, entry: &[u8], place: Option<EntryPlace>) {
        match place.or_else(|| self.state.queue.place()) {
            Some(place) => self.state.queue.push(entry, place),
            None => self.state.lose(),
        }
    }

    /// As [`append`](Self::append), for a caller who waits until the entry is durable.
    pub fn append_durably(&self, entry: &[u8], place: Option<EntryPlace>) -> DurableEntry {
        match place.or_else(|| self.state.queue.place()) {
            Some(place) => self.state.queue.push_durably(entry, place),
            None => {
                self.state.lose();
                DurableEntry::lost()
            }
        }
    }

    /// The digest of a call's arguments, with a secret of this log: equal arguments have equal digests, and nobody can
    /// guess arguments by their digest.
    pub fn arguments_digest(&self, arguments: &[u8]) -> String {
        hex::text(hmac::sign(&self.arguments, arguments).as_ref())
    }

    /// Asks for a checkpoint now.
    pub fn checkpoint(&self) {
        self.state.queue.want_checkpoint();
    }

    /// The number of entries that wait.
    pub fn waiting(&self) -> usize {
        self.state.queue.waiting()
    }

    /// The time since which the oldest entry waits to be written. Zero: none waits.
    pub fn lag(&self) -> Duration {
        self.state.queue.lag()
    }

    /// The number of entries that were lost.
    pub fn lost(&self) -> u64 {
        self.state.queue.lost()
    }

    /// Ends the log: writes what waits, and a last checkpoint, which also goes to the places elsewhere. Waits for at most
    /// `longest`. False: the log itself is not written.
    pub fn stop(&self, longest: Duration) -> bool {
        self.state.queue.end();
        let end = Instant::now() + longest;
        let Some(thread) = self.thread.lock().take() else { return true };
        while !thread.is_finished() {
            if Instant::now() >= end {
                return self.state.is_complete.load(Ordering::Acquire);
            }
            thread::sleep(Duration::from_millis(2));
        }
        thread.join().is_ok()
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.state.queue.end();
    }
}

/// The time now, as in entries.
pub fn time_text() -> String {
    humantime::format_rfc3339_micros(clock::system_time()).to_string()
}

/// The last moment of the year 9999, in milliseconds since 1970.
const LAST_MS: u64 = 253_402_300_799_999;

/// A time in milliseconds since 1970, as in entries.
pub fn time_text_of(ms: i64) -> String {
    let ms = u64::try_from(ms).unwrap_or_default().min(LAST_MS);
    humantime::format_rfc3339_micros(std::time::UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

/// The private key in the file at `path`. If there is no such file, it is made; only its owner can read it.
///
/// # Errors
/// If the file cannot be read or made. The content is not checked.
pub fn private_key(path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let pem = CheckpointSigner::new_pem().map_err(io::Error::other)?;
    if let Some(directory) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()?;
    Ok(pem)
}

/// Adds the public key to those beside the log, for those who verify it.
fn note_public_key(directory: &Path, signer: &CheckpointSigner) -> io::Result<()> {
    let path = directory.join(PUBLIC_KEY_FILE);
    let key = signer.public().to_string();
    let written = whole_file::read(&path).map_err(io::Error::other)?.unwrap_or_default();
    if written.lines().any(|line| line == key) {
        return Ok(());
    }
    let text = format!("{written}{key}\n");
    whole_file::replace(&path, |file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
}

/// The public keys beside a log, with those that have signed its earlier lines.
fn known_keys(directory: &Path) -> io::Result<Vec<CheckpointKey>> {
    match public_keys(&directory.join(PUBLIC_KEY_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        keys => keys,
    }
}

/// The public keys in a file: one in each line.
///
/// # Errors
/// If the file cannot be read, or contains something else.
pub fn public_keys<K>(path: &Path) -> io::Result<Vec<K>>
where
    K: std::str::FromStr<Err = CheckpointKeyError>,
{
    let text = std::fs::read_to_string(path)?;
    text.lines().map(|line| line.parse().map_err(io::Error::other)).collect()
}

#[cfg(test)]
mod other_programs;
#[cfg(test)]
mod tests;
