//! Checks of passwords. A good hash takes 19 MiB and tens of milliseconds of a processor, so few checks run at the same
//! time, on threads that take no time from others, and the rest waits in a bounded queue. Each network has a share of
//! both. A password that was right is remembered for some minutes, without a copy of it.

pub mod algorithm;
mod memory;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;
use witgate_basic::hash::PasswordHash;
use witgate_plugin::PasswordError;
use zeroize::Zeroizing;

use self::memory::RightPasswords;
use witgate_base::breaker::CallerDigest;
use witgate_base::printable::clean;
use witgate_config::user_store::UserStore;
use witgate_runtime::priority;
use witgate_runtime::shares::{Capacity, Share, Shares};
use witgate_runtime::workers::background;

/// The number of checks that may wait for a processor.
const MOST_WAITING: usize = 32;

/// The longest time for which a check waits. Its hook may take two seconds longer.
const PATIENCE: Duration = Duration::from_secs(4);

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
    /// The checks that run.
    turns: Shares<CallerDigest>,
    right: RightPasswords,
    hashed: AtomicU64,
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
    /// One check per processor, of which one network gets half.
    fn default() -> Self {
        Self::new(thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get))
    }
}

impl PasswordChecks {
    fn new(at_once: usize) -> Self {
        let (all, half) = (at_once + MOST_WAITING, at_once.div_ceil(2));
        Self {
            places: Shares::new(Capacity { most: all, most_of_one: all.div_ceil(2) }),
            turns: Shares::lasting(Capacity { most: at_once, most_of_one: half }),
            right: RightPasswords::default(),
            hashed: AtomicU64::new(0),
        }
    }

    /// The number of hashes that were computed so far.
    pub fn hashed(&self) -> u64 {
        self.hashed.load(Ordering::Relaxed)
    }

    /// Checks that `hash` is a hash of `password`, for a request from `source`. With `renews`, it also makes a stronger
    /// hash.
    ///
    /// # Errors
    /// If the hash is not usable, or too many checks wait.
    pub async fn check(
        &self,
        hash: &str,
        password: &str,
        source: CallerDigest,
        renews: bool,
    ) -> Result<PasswordCheck, PasswordError> {
        if self.right.has(hash, password, Instant::now()) {
            return Ok(PasswordCheck::RIGHT);
        }
        let parsed: PasswordHash = hash.parse().map_err(|_| PasswordError::UnusableHash)?;
        if password.len() > LONGEST_PASSWORD {
            return Ok(PasswordCheck::WRONG);
        }
        let _place = self.places.take(&source).ok_or(BUSY)?;
        let turn = timeout(PATIENCE, self.turns.wait_for_one(&source)).await.map_err(|_| BUSY)?;
        // Several requests of one client wait at the same time. After the first one, the others are answered at once.
        if self.right.has(hash, password, Instant::now()) {
            return Ok(PasswordCheck::RIGHT);
        }
        self.hashed.fetch_add(1, Ordering::Relaxed);
        let checked = compute(parsed, password, renews, turn).await.ok_or(BUSY)?;
        if checked.is_right {
            self.right.add(hash, password, Instant::now());
            if let Some(renewed) = &checked.renewed {
                self.right.add(renewed.as_str(), password, Instant::now());
            }
        }
        Ok(checked)
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

/// Computes the hash on a thread of its own, which has the turn until its end, even if nobody waits any more. None: the
/// system gives no thread.
async fn compute(
    hash: PasswordHash,
    password: &str,
    renews: bool,
    turn: Share<CallerDigest>,
) -> Option<PasswordCheck> {
    let password = Zeroizing::new(password.to_owned());
    let (sender, receiver) = oneshot::channel();
    let work = move || {
        priority::step_back();
        let is_right = algorithm::is_right(&hash, &password);
        let renewed = (is_right && renews && !hash.is_current()).then(|| algorithm::hash_of(&password).ok());
        drop(sender.send(PasswordCheck { is_right, renewed: renewed.flatten() }));
        drop(turn);
    };
    thread::Builder::new().name("witgate-password".to_owned()).spawn(work).ok()?;
    receiver.await.ok()
}
