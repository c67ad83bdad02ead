//! Checks of passwords. A good hash takes 19 MiB and tens of milliseconds of a processor, so few checks run at the same
//! time, in a bounded memory, all but two a second on threads that take no time from others. The rest waits in a bounded
//! queue. Each network has a share of both. A password that was right is remembered for some minutes, without a copy of it.

pub mod algorithm;
mod memory;
pub mod meters;
mod new_hash;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;
use witgate_basic::hash::{Argon2Hash, HashKind, PasswordHash};
use witgate_plugin::PasswordError;
use zeroize::Zeroizing;

use self::memory::RightPasswords;
use self::meters::PasswordMeters;
use witgate_base::breaker::CallerDigest;
use witgate_base::printable::clean;
use witgate_config::user_store::UserStore;
use witgate_runtime::priority;
use witgate_runtime::shares::{Capacity, Share, Shares};
use witgate_runtime::workers::background;

/// The number of checks that may wait for a processor.
const MOST_WAITING: usize = 32;

/// The number of checks that may wait besides, of passwords that were right in the last day.
const MOST_PREFERRED: usize = 16;

/// The memory of all hashes at the same time, in KiB. The most costly hash that is accepted takes all of it.
const MEMORY_KIB: u32 = 128 << 10;

/// The longest time of a check, with its wait. Its hook may take a second longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The time between two checks with the usual priority. So a login succeeds on a machine whose processors are always
/// busy, and a flood of logins takes no more than a twentieth of a processor from others.
const PAUSE: Duration = Duration::from_millis(500);

/// Seconds until a retry makes sense when the queue is full.
const RETRY_S: u32 = 2;

/// The longest password that is checked, in bytes.
const LONGEST_PASSWORD: usize = 4_096;

const BUSY: PasswordError = PasswordError::Busy(RETRY_S);

/// The checks of passwords for all policies of the process. It outlives generations.
#[derive(Debug)]
pub struct PasswordChecks {
    /// The checks that run or wait.
    places: Shares<CallerDigest>,
    /// The places for passwords that were right in the last day, which no flood of guesses can take.
    preferred: Shares<CallerDigest>,
    /// The checks that run.
    turns: Shares<CallerDigest>,
    /// The memory for the checks that run: one permit for each KiB.
    memory: Arc<Semaphore>,
    right: Arc<RightPasswords>,
    /// The start of the last check with the usual priority.
    last_usual: Mutex<Option<Instant>>,
    hashed: AtomicU64,
    meters: PasswordMeters,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordCheck {
    /// True if the password is right.
    pub is_right: bool,
    /// A stronger hash of the password, if it is right and the hash is not as new ones are.
    pub renewed: Option<PasswordHash>,
}

impl PasswordCheck {
    const RIGHT: Self = Self { is_right: true, renewed: None };
    const WRONG: Self = Self { is_right: false, renewed: None };
}

impl Default for PasswordChecks {
    /// At most one check per processor, of which one network gets half.
    fn default() -> Self {
        Self::new(thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get))
    }
}

impl PasswordChecks {
    fn new(at_once: usize) -> Self {
        let (all, half) = (at_once + MOST_WAITING, at_once.div_ceil(2));
        Self {
            places: Shares::new(Capacity { most: all, most_of_one: all.div_ceil(2) }),
            preferred: Shares::new(Capacity {
                most: MOST_PREFERRED,
                most_of_one: MOST_PREFERRED.div_ceil(2),
            }),
            turns: Shares::lasting(Capacity { most: at_once, most_of_one: half }),
            memory: Arc::new(Semaphore::new(MEMORY_KIB as usize)),
            right: Arc::default(),
            last_usual: Mutex::default(),
            hashed: AtomicU64::new(0),
            meters: PasswordMeters::default(),
        }
    }

    /// The counts and times of the checks.
    pub fn meters(&self) -> &PasswordMeters {
        &self.meters
    }

    /// The number of hashes that were computed so far.
    pub fn hashed(&self) -> u64 {
        self.hashed.load(Ordering::Relaxed)
    }

    /// Checks that `hash` is a hash of `password`, for a request from `source`. If it costs less than `renews`, it also
    /// makes a new hash of that cost.
    ///
    /// # Errors
    /// If the hash is not usable, or too many checks wait.
    pub async fn check(
        &self,
        hash: &str,
        password: &str,
        source: CallerDigest,
        renews: Option<Argon2Hash>,
    ) -> Result<PasswordCheck, PasswordError> {
        if self.right.has(hash, password, Instant::now()) {
            self.meters.remembered();
            return Ok(PasswordCheck::RIGHT);
        }
        let checked = self.check_anew(hash, password, source, renews).await;
        self.meters.count(checked.as_ref().map(|checked| checked.is_right));
        checked
    }

    async fn check_anew(
        &self,
        hash: &str,
        password: &str,
        source: CallerDigest,
        renews: Option<Argon2Hash>,
    ) -> Result<PasswordCheck, PasswordError> {
        let parsed: PasswordHash = hash.parse().map_err(|_| PasswordError::UnusableHash)?;
        if password.len() > LONGEST_PASSWORD {
            return Ok(PasswordCheck::WRONG);
        }
        let place = self.places.take(&source).or_else(|| {
            let is_preferred = self.right.prefers(hash, password, Instant::now());
            if is_preferred { self.preferred.take(&source) } else { None }
        });
        let _place = place.ok_or(BUSY)?;
        // Boxed because it is rare, so that it does not enlarge the future of every call.
        let checked = timeout(PATIENCE, Box::pin(self.in_turn(parsed, password, source, renews)));
        checked.await.unwrap_or(Err(BUSY))
    }

    /// Waits for a turn and for memory, and computes the hash.
    async fn in_turn(
        &self,
        hash: PasswordHash,
        password: &str,
        source: CallerDigest,
        renews: Option<Argon2Hash>,
    ) -> Result<PasswordCheck, PasswordError> {
        let since = Instant::now();
        let turn = self.turns.wait_for_one(&source).await;
        // Several requests of one client wait at the same time. After the first one, the others are answered at once.
        if self.right.has(hash.as_str(), password, Instant::now()) {
            return Ok(PasswordCheck::RIGHT);
        }
        let memory = Arc::clone(&self.memory).acquire_many_owned(memory_kib(&hash, renews)).await;
        let memory = memory.map_err(|_| BUSY)?;
        self.hashed.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        self.meters.waited(started - since);
        let work = HashWork {
            hash,
            password: Zeroizing::new(password.to_owned()),
            renews,
            steps_back: !self.is_usual(Instant::now()),
            right: Arc::clone(&self.right),
        };
        let checked = work.run((turn, memory)).await.ok_or(BUSY);
        self.meters.worked(started.elapsed());
        checked
    }

    /// True if a check that starts now may have the usual priority.
    fn is_usual(&self, now: Instant) -> bool {
        let mut last = self.last_usual.lock();
        let is_usual = last.is_none_or(|last| now.duration_since(last) >= PAUSE);
        if is_usual {
            *last = Some(now);
        }
        is_usual
    }
}

/// Replaces `former` in a store of users, in the background. If that fails, the former hash stays, and the next login
/// tries again.
pub(crate) fn renew(store: &Path, former: &str, renewed: &PasswordHash) {
    let (store, former, renewed) = (UserStore::at(store), former.to_owned(), renewed.clone());
    let work = move || {
        let store_path = store.path().display().to_string();
        match store.renew(&former, &renewed) {
            Ok(Some(user)) => {
                let user = clean(&user.name);
                tracing::info!(user, store = store_path, "the password is hashed anew, with Argon2id");
            }
            // Somebody has changed the password meanwhile.
            Ok(None) => {}
            Err(error) => {
                let error = error.to_string();
                tracing::warn!(
                    store = store_path,
                    error,
                    "an outdated hash of a password stays: the store cannot be written"
                );
            }
        }
    };
    drop(background().spawn_blocking(work));
}

/// The memory of a check in KiB, as a part of the memory of all.
fn memory_kib(hash: &PasswordHash, renews: Option<Argon2Hash>) -> u32 {
    let own = algorithm::memory_kib(hash.kind());
    let renewed = renews.map_or(0, |cost| algorithm::memory_kib(HashKind::Argon2(cost)));
    own.max(renewed).min(MEMORY_KIB)
}

/// The work of one check.
struct HashWork {
    hash: PasswordHash,
    password: Zeroizing<String>,
    renews: Option<Argon2Hash>,
    /// True if it must take no time from others.
    steps_back: bool,
    right: Arc<RightPasswords>,
}

impl HashWork {
    /// Computes the hash on a thread of its own, which has the turn and the memory until its end and remembers a right
    /// password, even if nobody waits any more. None: the system gives no thread or no memory.
    async fn run(self, turn: (Share<CallerDigest>, OwnedSemaphorePermit)) -> Option<PasswordCheck> {
        let (sender, receiver) = oneshot::channel();
        let work = move || {
            drop(sender.send(self.check()));
            drop(turn);
        };
        thread::Builder::new().name("witgate-password".to_owned()).spawn(work).ok()?;
        receiver.await.ok().flatten()
    }

    /// None: the system has no memory for the hash, so nobody knows if the password is right.
    fn check(&self) -> Option<PasswordCheck> {
        if self.steps_back {
            priority::step_back();
        }
        let Self { hash, password, renews, right, .. } = self;
        if !algorithm::is_right(hash, password)? {
            return Some(PasswordCheck::WRONG);
        }
        let cost = renews.filter(|cost| !hash.is_at_least(*cost));
        let renewed = cost.and_then(|cost| algorithm::hash_of(password, cost).ok());
        for hash in [hash].into_iter().chain(&renewed) {
            right.add(hash.as_str(), password, Instant::now());
        }
        Some(PasswordCheck { is_right: true, renewed })
    }
}
