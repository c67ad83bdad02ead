//! Hashes of new passwords, in the same bounds as checks.

use std::sync::Arc;
use std::thread;

use tokio::sync::oneshot;
use tokio::time::timeout;
use witgate_basic::hash::{Argon2Hash, HashKind, PasswordHash};
use witgate_plugin::PasswordError;
use zeroize::Zeroizing;

use super::{BUSY, MEMORY_KIB, PATIENCE, PasswordChecks, algorithm};
use witgate_base::breaker::CallerDigest;
use witgate_runtime::priority;

impl PasswordChecks {
    /// Makes a hash of a new password, for a request from `source`.
    ///
    /// # Errors
    /// If too many checks wait, or the system has no memory for the hash.
    pub async fn hash(
        &self,
        password: &str,
        cost: Argon2Hash,
        source: CallerDigest,
    ) -> Result<PasswordHash, PasswordError> {
        let _place = self.places.take(&source).ok_or(BUSY)?;
        let made = timeout(PATIENCE, Box::pin(self.hash_in_turn(password, cost, source)));
        made.await.unwrap_or(Err(BUSY))
    }

    async fn hash_in_turn(
        &self,
        password: &str,
        cost: Argon2Hash,
        source: CallerDigest,
    ) -> Result<PasswordHash, PasswordError> {
        let turn = self.turns.wait_for_one(&source).await;
        let kib = algorithm::memory_kib(HashKind::Argon2(cost)).min(MEMORY_KIB);
        let memory = Arc::clone(&self.memory).acquire_many_owned(kib).await.map_err(|_| BUSY)?;
        let password = Zeroizing::new(password.to_owned());
        let (sender, receiver) = oneshot::channel();
        let work = move || {
            priority::step_back();
            drop(sender.send(algorithm::hash_of(&password, cost)));
            drop((turn, memory));
        };
        thread::Builder::new().name("witgate-password".to_owned()).spawn(work).map_err(|_| BUSY)?;
        receiver.await.map_err(|_| BUSY)?.map_err(|_| BUSY)
    }
}
