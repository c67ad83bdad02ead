//! Host calls of one hook of a live policy, captured for a recording, and their replay to a policy in a
//! sandbox.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;
use witgate_plugin::{Algorithm, Digest, HttpError, HttpRequest, HttpResponse, SignedMessage, VerifyError};

/// Maximum size of the captured data of one hook, in bytes: ten introspected tokens.
const MOST: usize = 128 << 10;

/// The captured host calls of one hook.
#[derive(Debug, Default)]
pub struct HostCallLog(Mutex<HostCalls>);

/// The captured host calls of a finished hook.
#[derive(Clone, Debug, Default)]
pub struct HostCalls {
    /// The called imports.
    pub called: BTreeSet<&'static str>,
    /// The sent HTTP requests, and their answers.
    pub http: Vec<(HttpRequest, Result<HttpResponse, HttpError>)>,
    /// The verified signatures.
    pub verified: Vec<SignatureCheck>,
    /// The found cache entries: key and value.
    pub cached: Vec<(Vec<u8>, Vec<u8>)>,
    /// The tools whose annotations were read.
    pub annotated: BTreeSet<String>,
    /// True if some calls were left out because of their size.
    pub cut: bool,
    size: usize,
}

/// The result of a signature check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureCheck {
    /// The key's name.
    pub key: String,
    /// The id of the key in a set.
    pub key_id: Option<String>,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The result.
    pub outcome: Result<(), VerifyError>,
}

impl HostCallLog {
    /// All captured calls.
    pub fn take(&self) -> HostCalls {
        std::mem::take(&mut *self.0.lock())
    }

    pub(super) fn called(&self, name: &'static str) {
        self.0.lock().called.insert(name);
    }

    pub(super) fn verified(&self, key: &str, signed: &SignedMessage<'_>, outcome: Result<(), VerifyError>) {
        let mut notes = self.0.lock();
        if notes.has_room_for(key.len()) {
            let (key, key_id) = (key.to_owned(), signed.key_id.map(str::to_owned));
            notes.verified.push(SignatureCheck { key, key_id, algorithm: signed.algorithm, outcome });
        }
    }

    pub(super) fn cached(&self, key: &[u8], value: &[u8]) {
        let mut notes = self.0.lock();
        let known = notes.cached.iter().any(|(at, _)| at == key);
        if !known && notes.has_room_for(key.len() + value.len()) {
            notes.cached.push((key.to_vec(), value.to_vec()));
        }
    }

    pub(super) fn annotated(&self, tool: &str) {
        let mut notes = self.0.lock();
        if !notes.annotated.contains(tool) && notes.has_room_for(tool.len()) {
            notes.annotated.insert(tool.to_owned());
        }
    }

    pub(super) fn sent(&self, request: HttpRequest, answer: &Result<HttpResponse, HttpError>) {
        let mut notes = self.0.lock();
        let answered = answer.as_ref().map_or(0, |answer| answer.body.len());
        if notes.has_room_for(request.url.len() + request.body.len() + answered) {
            notes.http.push((request, answer.clone()));
        }
    }
}

impl HostCalls {
    /// True if there is room for this number of bytes. Any other call counts as a hundred bytes.
    fn has_room_for(&mut self, bytes: usize) -> bool {
        self.size = self.size.saturating_add(bytes).saturating_add(100);
        self.cut |= self.size > MOST;
        !self.cut
    }
}

/// The recorded results that replace real ones in a sandbox, for a credential that is a replacement.
#[derive(Debug, Default)]
pub struct HostCallReplay(Mutex<ReplayScript>);

#[derive(Debug, Default)]
struct ReplayScript {
    digests: HashMap<Vec<u8>, Digest>,
    verified: Vec<SignatureCheck>,
    /// True if every other signature counts as good.
    trusts_all: bool,
}

impl HostCallReplay {
    /// Sets the digests of texts, and the results of signature checks, for the next questions.
    pub fn set(&self, digests: HashMap<Vec<u8>, Digest>, verified: Vec<SignatureCheck>) {
        *self.0.lock() = ReplayScript { digests, verified, trusts_all: false };
    }

    /// Has every signature count as good, for questions about claims that nobody has signed.
    pub fn trust_signatures(&self) {
        self.0.lock().trusts_all = true;
    }

    pub(super) fn digest(&self, data: &[u8]) -> Option<Digest> {
        self.0.lock().digests.get(data).copied()
    }

    /// The result of a signature check. None: it is not recorded.
    pub(super) fn outcome(&self, key: &str, signed: &SignedMessage<'_>) -> Option<Result<(), VerifyError>> {
        let is_it = |check: &&SignatureCheck| {
            check.key == key
                && check.algorithm == signed.algorithm
                && check.key_id.as_deref() == signed.key_id
        };
        let script = self.0.lock();
        let recorded = script.verified.iter().find(is_it).map(|check| check.outcome);
        recorded.or(script.trusts_all.then_some(Ok(())))
    }
}
