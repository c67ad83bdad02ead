//! The `keys` of an `api-key` policy, which come from variables and files, as the commands for its store see them.

use secrecy::ExposeSecret;
use serde_json::Value;
use witgate_api_key::store::Sha256;
use witgate_base::digest::sha256;
use witgate_base::fingerprints::Fingerprints;

use super::Outline;
use crate::environment::Environment;
use crate::raw::Policy;

/// A key from a variable or a file, beside those of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredKey {
    /// The name of the key.
    pub name: String,
    /// The digest of its text. None: the variable or the file cannot be read here.
    pub sha256: Option<Sha256>,
}

impl Outline {
    /// The `keys` of `policy`.
    pub fn configured_keys(&self, policy: &Policy, environment: &Environment) -> Vec<ConfiguredKey> {
        // If the file of variables has a fault, the variables of the process still count.
        let secrets = self.secrets(environment);
        let secrets = secrets.unwrap_or_else(|_| self.sources(environment));
        let digest = |source: &Value| {
            let secret = secrets.read_setting(source, &self.base, &mut Fingerprints::default()).ok()?;
            Some(Sha256(sha256(secret.value.expose_secret().as_bytes())))
        };
        let key = |key: &Value| {
            let name = key.get("name")?.as_str()?.to_owned();
            Some(ConfiguredKey { name, sha256: key.get("key").and_then(digest) })
        };
        let keys = policy.config.get("keys").and_then(Value::as_array);
        keys.into_iter().flatten().filter_map(key).collect()
    }
}
