//! The settings of the shipped kinds, validated against their own schemas, so that a typo in a policy's `config` is
//! reported with its line.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use witgate_plugin::{Description, Plugin};

use super::environment_only::FEWEST;
use super::own_keys::{self, OF_ACCOUNTS};
use super::resolver::{Presence, Resolver};
use crate::raw::{self, Key, SecretSource};
use crate::{PolicyKind, shape};

impl Resolver<'_> {
    pub(super) fn settings(&mut self, file: &raw::File, name: &str, kind: PolicyKind) {
        let Some(schema) = schema(kind) else { return };
        self.has_keys(name, kind);
        let (faults, marked) = shape::fit_at(self.document, &["policies", name, "config"], &schema);
        self.faults.extend(faults);
        for shape::MarkedValue { path, format, value } in marked {
            let at: Vec<_> = path.iter().map(String::as_str).collect();
            self.marked(file, kind, &at, &format, value);
        }
    }

    /// Checks that a file in the policy's settings exists.
    fn marked(&mut self, file: &raw::File, kind: PolicyKind, at: &[&str], format: &str, value: Value) {
        match (format, value) {
            ("witgate-file", Value::String(path)) => self.settings_file(kind, at, &path),
            ("witgate-endpoint", Value::String(url)) => drop(self.url(at, &url)),
            ("witgate-key", Value::String(name)) => self.known_key(file, at, &name),
            ("witgate-key", inline) => {
                if let Ok(key) = serde_json::from_value::<Key>(inline) {
                    self.key(at, &key);
                }
            }
            ("witgate-secret", source) => {
                if let Ok(source) = serde_json::from_value::<SecretSource>(source) {
                    let secret = self.secret(at, &source);
                    if let (PolicyKind::ApiKey, Some(secret)) = (kind, secret) {
                        self.long_enough(file, at, &secret);
                    }
                }
            }
            _ => {}
        }
    }

    /// Checks the length of a key that the policy `at` reads from a secret.
    fn long_enough(&mut self, file: &raw::File, at: &[&str], key: &SecretString) {
        let length = key.expose_secret().chars().count();
        if length >= FEWEST {
            return;
        }
        let ["policies", policy, "config", "keys", place, "key"] = at else { return };
        let written = file.policies.get(*policy).and_then(|policy| policy.config.get("keys"));
        let written = written.zip(place.parse::<usize>().ok()).and_then(|(keys, place)| keys.get(place));
        let is_weak = written.and_then(|key| key.get("weak")).and_then(Value::as_bool).unwrap_or(false);
        let message = format!("this key has {length} characters, and at least {FEWEST} are needed");
        match is_weak {
            true => self.warning(at, message, "it can be guessed; use a random key, such as `openssl rand -hex 32`"),
            false => self.error(
                at,
                message,
                "short keys can be guessed; use a random key, such as `openssl rand -hex 32`, or write `weak = true`",
            ),
        }
    }

    /// Checks that an api-key policy has any keys.
    fn has_keys(&mut self, name: &str, kind: PolicyKind) {
        let at = ["policies", name, "config"];
        let has = |setting| self.document.has(&[at.as_slice(), &[setting]].concat());
        if kind == PolicyKind::ApiKey && !has("store") && !has("keys") && !has(OF_ACCOUNTS) {
            let help = "write `config = { store = \"keys.toml\" }`, or `keys = [{ name = \"…\", key = { env = \"NAME\" } }]`";
            self.error(&at, format!("`[policies.{name}.config]` has neither `store` nor `keys`"), help);
        }
    }

    fn settings_file(&mut self, kind: PolicyKind, at: &[&str], written: &str) {
        let path = self.path(written);
        match self.presence(at, &path) {
            Presence::File | Presence::Unknown => return,
            Presence::NoFile => {
                return self.error(
                    at,
                    format!("`{}` is not a file", path.display()),
                    "write the path of a file; a relative path begins in the directory of this file",
                );
            }
            Presence::Nothing => {}
        }
        let help = match kind {
            PolicyKind::Jwt => "make it empty: `witgate token revoke` writes it",
            PolicyKind::Basic => "make it with the first user: `witgate user add NAME --role ROLE`",
            PolicyKind::ApiKey => "make it with the first key: `witgate key create NAME --allow 'get_*'`",
            _ => "correct the path; a relative path begins in the directory of this file",
        };
        self.error(at, format!("there is no file `{}`", path.display()), help);
    }
}

/// The JSON Schema of the settings of a shipped kind, in the form of the configuration.
pub fn schema(kind: PolicyKind) -> Option<Value> {
    let mut schema = plugin_schema(kind)?;
    if kind == PolicyKind::ApiKey {
        own_keys::write_in(&mut schema)?;
    }
    as_written(&mut schema);
    let own = raw::schema();
    let target = schema.as_object_mut()?.entry("$defs").or_insert_with(|| json!({})).as_object_mut()?;
    for name in ["Key", "SecretSource", "Text"] {
        target.insert(name.to_owned(), own.pointer(&format!("/$defs/{name}"))?.clone());
    }
    Some(schema)
}

/// The plugin's own schema, in which all values that the host reads are strings.
fn plugin_schema(kind: PolicyKind) -> Option<Value> {
    serde_json::from_str(&description(kind)?.config_schema).ok()
}

/// The description of the shipped plugin of a kind.
pub fn description(kind: PolicyKind) -> Option<Description> {
    match kind {
        PolicyKind::ApiKey => Some(witgate_api_key::ApiKey::describe()),
        PolicyKind::Basic => Some(witgate_basic::Basic::describe()),
        PolicyKind::Jwt => Some(witgate_jwt::Jwt::describe()),
        PolicyKind::Introspection => Some(witgate_oauth2_introspection::Introspection::describe()),
        PolicyKind::ClientCertificate => Some(witgate_client_certificate::CertificatePolicy::describe()),
        PolicyKind::Rbac => Some(witgate_rbac::Rbac::describe()),
        PolicyKind::Custom => None,
    }
}

/// Replaces those strings with the values that an operator writes.
fn as_written(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let plain = |format: &str| json!({ "type": "string", "format": format });
            let written = match members.get("format").and_then(Value::as_str) {
                Some("witgate-file") => json!([plain("witgate-file"), {
                    "type": "object",
                    "properties": { "content": { "type": "string" } },
                    "required": ["content"],
                    "additionalProperties": false,
                }]),
                Some("witgate-key") => json!([plain("witgate-key"), { "$ref": "#/$defs/Key" }]),
                Some("witgate-secret" | "witgate-signing-key" | "witgate-secret-digest") => {
                    *schema = json!({ "$ref": "#/$defs/SecretSource" });
                    return;
                }
                _ => return members.values_mut().for_each(as_written),
            };
            members.remove("type");
            members.remove("format");
            members.insert("anyOf".to_owned(), written);
        }
        Value::Array(items) => items.iter_mut().for_each(as_written),
        _ => {}
    }
}
