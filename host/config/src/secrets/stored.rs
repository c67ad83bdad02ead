//! Secrets of the encrypted store, which is decrypted once for a configuration.

use std::sync::{Arc, OnceLock};

use super::secret::{MissingSecret, Secret};
use crate::secret_store::{SecretStore, SecretStoreError, StoredSecrets};
use crate::shape::nearest;
use witgate_base::fingerprints::Fingerprints;

/// A store, and what was read of it. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct StoreReader {
    store: SecretStore,
    snapshot: Arc<OnceLock<StoreSnapshot>>,
}

#[derive(Debug)]
struct StoreSnapshot {
    /// The files, as they were before they were read.
    files: Fingerprints,
    secrets: Result<StoredSecrets, SecretStoreError>,
    /// The reason why the secrets may be older than the last ones that were used here.
    rollback: Option<String>,
}

impl StoreReader {
    pub(super) fn new(store: SecretStore) -> Self {
        Self { store, snapshot: Arc::default() }
    }

    /// The store.
    pub(super) fn store(&self) -> &SecretStore {
        &self.store
    }

    /// Remembers the state of the store that was read. An older one causes a warning from then on.
    pub(super) fn remember(&self) {
        if let Some(StoreSnapshot { secrets: Ok(secrets), .. }) = self.snapshot.get() {
            self.store.remember(secrets);
        }
    }

    /// The secret `name`. The files of the store are noted in `files`.
    ///
    /// # Errors
    /// If there is no store, it cannot be decrypted, or it has no such secret.
    pub(super) fn secret(&self, name: &str, files: &mut Fingerprints) -> Result<Secret, MissingSecret> {
        let snapshot = self.snapshot.get_or_init(|| StoreSnapshot::of(&self.store));
        files.extend(snapshot.files.clone());
        let secrets = snapshot.secrets.as_ref().map_err(|error| unread(error, name))?;
        let value = secrets.get(name).ok_or_else(|| missing(secrets, name))?;
        let path = self.store.path();
        let warning = snapshot.rollback.clone().map(|message| {
            let help = "if you have restored it on purpose, set any secret with `witgate secret set NAME --accept-older`";
            (message, help.to_owned())
        });
        Ok(Secret { value: value.into(), file: Some(path.to_owned()), warning, lifetime: None })
    }
}

impl StoreSnapshot {
    fn of(store: &SecretStore) -> Self {
        let mut files = Fingerprints::default();
        store.files().for_each(|file| files.note(file));
        let secrets = store.read();
        let rollback = secrets.as_ref().ok().and_then(|secrets| store.rollback(secrets));
        Self { files, secrets, rollback }
    }
}

fn unread(error: &SecretStoreError, name: &str) -> MissingSecret {
    let help = match error {
        SecretStoreError::Missing(_) => format!("make it: `witgate secret set {name}`"),
        SecretStoreError::Locked { .. } => {
            "put the identity there that `[secrets]` names, and let only Witgate's user read it".to_owned()
        }
        _ => "restore the store from a copy, or set its secrets again".to_owned(),
    };
    let is_absent = matches!(error, SecretStoreError::Missing(_));
    MissingSecret { message: error.to_string(), help, cause: error.cause(), is_absent }
}

fn missing(secrets: &StoredSecrets, name: &str) -> MissingSecret {
    let near = nearest(name, secrets.names().map(|(name, _)| name));
    let help = near.map_or_else(
        || format!("set it: `witgate secret set {name}`"),
        |near| format!("did you mean `{near}`? Else set it: `witgate secret set {name}`"),
    );
    MissingSecret::new(format!("secret-missing: the store of secrets has no `{name}`"), help).absent()
}
