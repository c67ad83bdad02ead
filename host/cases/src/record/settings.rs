//! The settings of a policy, in the form of the configuration, with paths for files, and a replacement for every
//! secret.

use std::fs;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use witgate_base::digest::sha256;
use witgate_base::path::absolute;
use witgate_component::settings::each_marked;
use witgate_config::{KeySource, Limits, PolicyKind};
use witgate_policy::tap::RecordedSettings;

/// Public members of a JWK (RFC 7518, section 6; RFC 8037).
const PUBLIC_MEMBERS: [&str; 9] = ["kty", "kid", "use", "alg", "crv", "x", "y", "n", "e"];

/// The settings of a policy, to be written without secrets.
pub(super) struct WrittenSettings<'s>(pub(super) &'s RecordedSettings);

impl WrittenSettings<'_> {
    /// All text in the settings and in their files.
    pub(super) fn text(&self) -> String {
        let mut config = self.0.config.clone();
        // A file that cannot be read any more will be reported at other places.
        let _ = self.each_marked::<()>(&mut config, &mut |format, value, _| {
            if let (true, Some(path)) = (format == "witgate-file", value.as_str()) {
                *value = fs::read_to_string(self.0.dir.join(path)).unwrap_or_default().into();
            }
            Ok(())
        });
        config.to_string()
    }

    /// The settings in the form of a file of cases.
    pub(super) fn without_secrets(&self, is_component: bool) -> Map<String, Value> {
        let mut whole = Map::new();
        let component = self.0.component.as_deref().filter(|_| is_component).map(absolute);
        if let Some(component) = component {
            whole.insert("component".to_owned(), component.display().to_string().into());
        }
        if self.0.kind != PolicyKind::Custom {
            whole.insert("builtin".to_owned(), self.0.kind.name().into());
        }
        let mut redactor = Redactor { written: self, keys: self.keys(), secrets: Map::new() };
        let mut config = self.0.config.clone();
        let visited = self
            .each_marked(&mut config, &mut |format, value, pointer| redactor.replace(format, value, pointer));
        let Redactor { keys, secrets, .. } = redactor;
        whole.insert("config".to_owned(), if visited.is_ok() { config } else { json!({}) });
        whole.insert("keys".to_owned(), keys.into());
        whole.insert("secrets".to_owned(), secrets.into());
        whole.insert("limits".to_owned(), limits(&self.0.limits).into());
        whole
    }

    /// Visits the settings that the schema marks.
    fn each_marked<E>(
        &self,
        config: &mut Value,
        visit: &mut dyn FnMut(&str, &mut Value, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        self.0.schema.as_ref().map_or(Ok(()), |schema| each_marked(schema, config, visit))
    }

    fn keys(&self) -> Map<String, Value> {
        self.0.sources.iter().map(|(name, source)| (name.clone(), self.public(source))).collect()
    }

    /// The public part of a key. That is sufficient, because cases contain the results of signature checks.
    fn public(&self, source: &KeySource) -> Value {
        let known = match source {
            // The key was valid as a public key; otherwise there would be no policy.
            KeySource::Pem(pem) => Some(json!({ "pem": pem.expose_secret() })),
            KeySource::JwksFile(path) => {
                public_set(fs::read_to_string(self.0.dir.join(path)).ok().as_deref())
            }
            KeySource::Jwks(text) => public_set(Some(text)),
            KeySource::Secret(_) | KeySource::Unavailable | KeySource::Remote { .. } => None,
        };
        known.unwrap_or_else(|| json!({ "unavailable": true }))
    }
}

/// The keys of a set, without private members, and without symmetric keys.
fn public_set(text: Option<&str>) -> Option<Value> {
    let set: Value = serde_json::from_str(text?).ok()?;
    let keys = set.get("keys")?.as_array()?.iter().filter_map(Value::as_object);
    let is_public = |key: &&Map<String, Value>| key.get("kty").is_some_and(|kty| kty != "oct");
    let public = |key: &Map<String, Value>| {
        let known =
            key.iter().filter(|(name, value)| PUBLIC_MEMBERS.contains(&name.as_str()) && value.is_string());
        known.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>()
    };
    let keys: Vec<_> = keys.filter(is_public).map(public).collect();
    (!keys.is_empty()).then(|| json!({ "jwks": { "keys": keys } }))
}

struct Redactor<'w> {
    written: &'w WrittenSettings<'w>,
    keys: Map<String, Value>,
    secrets: Map<String, Value>,
}

impl Redactor<'_> {
    /// # Errors
    /// If there is no replacement for a secret.
    fn replace(&mut self, format: &str, value: &mut Value, pointer: &str) -> Result<(), ()> {
        match format {
            "witgate-file" => {
                if let Some(path) = value.as_str() {
                    *value = absolute(&self.written.0.dir.join(path)).display().to_string().into();
                }
            }
            // The name of an inline key is its place.
            "witgate-key" if value.is_object() => *value = pointer.trim_start_matches('/').into(),
            // A recorded credential is another text, whose digest is another one. No two keys have the same digest.
            "witgate-secret-digest" => {
                let digest = sha256(pointer.as_bytes());
                let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                *value = json!({ "sha256": digits });
            }
            "witgate-secret" => *value = self.secret("only stands for a secret of this policy".to_owned()),
            "witgate-signing-key" => *value = self.secret(private_key().ok_or(())?),
            _ => {}
        }
        Ok(())
    }

    /// Replaces a secret.
    fn secret(&mut self, instead: String) -> Value {
        let name = format!("RECORDED_{}", self.secrets.len() + 1);
        self.secrets.insert(name.clone(), instead.into());
        json!({ "env": name })
    }
}

/// A new private key that is used nowhere else.
fn private_key() -> Option<String> {
    let document =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).ok()?;
    let text = STANDARD.encode(document.as_ref());
    Some(format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"))
}

/// The limits that differ from the defaults, in the form of the configuration.
fn limits(own: &Limits) -> Map<String, Value> {
    let milliseconds = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let written = |limits: &Limits| {
        let Limits { timeout, wait, table_elements, output, log_lines, host_calls, .. } = *limits;
        [
            ("timeout_ms", json!(milliseconds(timeout))),
            ("wait_ms", json!(wait.map(milliseconds))),
            ("memory_mib", json!(limits.memory() >> 20)),
            ("table_elements", json!(table_elements)),
            ("output_kib", json!(output >> 10)),
            ("log_lines", json!(log_lines)),
            ("host_calls", json!(host_calls)),
            ("http_requests", json!(limits.http_requests)),
            ("handles", json!(limits.handles)),
            ("instances", json!(limits.instances)),
            ("cache_kib", json!(limits.cache >> 10)),
        ]
    };
    let defaults = written(&Limits::default());
    let own = written(own).into_iter().zip(defaults).filter(|(own, default)| own != default);
    own.map(|((name, value), _)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{private_key, public_set};
    use witgate_services::fetch::SigningKey;

    #[test]
    fn only_public_parts_of_a_key_set_are_written() {
        let text = json!({ "keys": [
            { "kty": "EC", "kid": "a", "crv": "P-256", "x": "x", "y": "y", "d": "private" },
            { "kty": "RSA", "n": "n", "e": "AQAB", "d": "private", "p": "private", "oth": [{ "r": "private" }] },
            { "kty": "oct", "k": "private" },
        ] });
        let expected = json!({ "jwks": { "keys": [
            { "kty": "EC", "kid": "a", "crv": "P-256", "x": "x", "y": "y" },
            { "kty": "RSA", "n": "n", "e": "AQAB" },
        ] } });
        assert_eq!(public_set(Some(&text.to_string())), Some(expected));
        assert_eq!(public_set(Some(r#"{"keys":[{"kty":"oct","k":"private"}]}"#)), None);
    }

    #[test]
    fn the_stand_in_of_a_private_key_is_a_private_key() {
        assert!(SigningKey::from_pem(&private_key().unwrap().into()).is_ok());
    }
}
