//! `[policies]`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use minisign_verify::PublicKey;

use super::resolver::{Presence, Resolver};
use crate::raw;
use crate::shape::{listed, nearest};
use crate::{Fallback, Grants, Isolation, Limits, Mode, Policy, PolicyKind};
use witgate_base::breaker::BreakerLimits;
use witgate_base::digest::digest_of;
use witgate_base::provenance::Provenance;

impl From<raw::Kind> for PolicyKind {
    fn from(kind: raw::Kind) -> Self {
        match kind {
            raw::Kind::ApiKey => Self::ApiKey,
            raw::Kind::Basic => Self::Basic,
            raw::Kind::Jwt | raw::Kind::Accounts => Self::Jwt,
            raw::Kind::Introspection => Self::Introspection,
            raw::Kind::ClientCertificate => Self::ClientCertificate,
            raw::Kind::Rbac => Self::Rbac,
            raw::Kind::Custom => Self::Custom,
        }
    }
}

impl Policy {
    /// A built-in with only its settings.
    pub fn builtin(name: &str, kind: PolicyKind, config: serde_json::Value) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            component: None,
            fallback: Fallback::default(),
            mode: Mode::default(),
            argument: None,
            config,
            provenance: Provenance::default(),
            cases: None,
            limits: Limits::default(),
            isolation: Isolation::default(),
            breaker: BreakerLimits::default(),
            grants: Grants::default(),
        }
    }
}

impl Resolver<'_> {
    pub(super) fn policies(&mut self, file: &raw::File) -> BTreeMap<String, Policy> {
        let resolve =
            |(name, policy): (&String, &raw::Policy)| (name.clone(), self.policy(file, name, policy));
        file.policies.iter().map(resolve).collect()
    }

    fn policy(&mut self, file: &raw::File, name: &str, written: &raw::Policy) -> Policy {
        let kind = PolicyKind::from(written.kind);
        let config = match written.kind {
            raw::Kind::Accounts => self.accounts_policy(file, name, written),
            raw::Kind::ApiKey => {
                self.settings(file, name, kind);
                self.own_keys(file, name, written)
            }
            _ => {
                self.settings(file, name, kind);
                serde_json::Value::Object(written.config.clone())
            }
        };
        self.reserved(name);
        Policy {
            component: self.component(name, kind, written),
            fallback: self.fallback(name, kind, written),
            mode: match written.mode {
                Some(raw::Mode::Shadow) => Mode::Shadow,
                Some(raw::Mode::Enforce) | None => Mode::Enforce,
            },
            argument: self.argument(name, kind, written.argument.as_ref()),
            provenance: Provenance {
                digest: self.digest(name, written),
                signed_by: self.signed_by(name, written),
            },
            cases: written.cases.as_deref().map(|path| self.path(path)),
            limits: self.limits(name, written),
            isolation: self.isolation(name, written),
            breaker: breaker(&written.breaker),
            grants: self.grants(file, name, written),
            ..Policy::builtin(name, kind, config)
        }
    }

    /// `proven_by` is `anonymous` if no policy has authenticated the caller.
    fn reserved(&mut self, name: &str) {
        let odd = name.is_empty() || name.chars().any(char::is_control);
        if odd || name == "anonymous" {
            let message = format!("`{name}` cannot be the name of a policy");
            self.error(&["policies", name], message, "choose another name, such as `keys` or `roles`");
        }
    }

    fn component(&mut self, name: &str, kind: PolicyKind, written: &raw::Policy) -> Option<PathBuf> {
        let at = ["policies", name, "component"];
        let Some(component) = &written.component else {
            if kind == PolicyKind::Custom && !self.document.has(&at) {
                let message = format!("the policy `{name}` is of the kind `custom` and has no component");
                let help = "write `component = \"PATH.wasm\"`; only the shipped kinds have a built-in";
                self.error(&["policies", name], message, help);
            }
            return None;
        };
        let path = self.path(component);
        if !self.again && matches!(self.presence(&at, &path), Presence::Nothing | Presence::NoFile) {
            let message = format!("there is no component `{}`", path.display());
            match (kind, written.fallback) {
                (PolicyKind::Custom, _) => {
                    self.error(
                        &at,
                        message,
                        "build it, or correct the path; a relative path begins in the directory of this file",
                    );
                }
                (_, None | Some(raw::Fallback::Deny)) => {
                    self.error(
                        &at,
                        message,
                        "build it, correct the path, or leave `component` out for the built-in",
                    );
                }
                (_, Some(raw::Fallback::Builtin)) => {
                    self.warning(
                        &at,
                        message,
                        "until the file exists, the built-in decides, because of `fallback`",
                    );
                }
            }
        }
        Some(path)
    }

    fn fallback(&mut self, name: &str, kind: PolicyKind, written: &raw::Policy) -> Fallback {
        let at = ["policies", name, "fallback"];
        match written.fallback {
            Some(raw::Fallback::Builtin) if kind == PolicyKind::Custom => {
                let message = "a policy of the kind `custom` has no built-in to fall back to";
                self.error(&at, message, "write `fallback = \"deny\"`, or leave it out");
                Fallback::Deny
            }
            Some(raw::Fallback::Builtin) => {
                if written.component.is_none() && !self.document.has(&["policies", name, "component"]) {
                    let message = "`fallback` has no effect without `component`: this is the built-in";
                    self.warning(&at, message, "leave it out, or name a `component`");
                }
                Fallback::Builtin
            }
            Some(raw::Fallback::Deny) | None => Fallback::Deny,
        }
    }

    fn digest(&mut self, name: &str, written: &raw::Policy) -> Option<[u8; 32]> {
        let text = written.digest.as_ref()?;
        let at = ["policies", name, "digest"];
        let digest = digest_of(text);
        if digest.is_none() {
            let help = "write `sha256:` and the 64 digits that `sha256sum PATH.wasm` prints";
            self.error(&at, format!("`{text}` is not a SHA-256 digest"), help);
        }
        if !self.document.has(&["policies", name, "component"]) {
            let message = "`digest` pins a component, and there is none";
            self.error(&at, message, "name the `component`, or leave `digest` out");
        }
        digest
    }

    fn signed_by(&mut self, name: &str, written: &raw::Policy) -> Vec<PublicKey> {
        let mut keys = Vec::new();
        for (index, text) in written.signed_by.iter().enumerate() {
            let at = ["policies", name, "signed_by", &index.to_string()];
            match PublicKey::from_base64(text.trim()) {
                Ok(key) => keys.push(key),
                Err(_) => {
                    let help = "write the line of `minisign.pub` that begins with `RW`";
                    self.error(&at, format!("`{text}` is not a minisign public key"), help);
                }
            }
        }
        let at = ["policies", name, "signed_by"];
        if self.document.has(&at) && written.signed_by.is_empty() {
            self.error(&at, "`signed_by` is empty", "name a key, or leave it out");
        }
        if self.document.has(&at) && !self.document.has(&["policies", name, "component"]) {
            let message = "`signed_by` is about a component, and there is none";
            self.error(&at, message, "name the `component`, or leave `signed_by` out");
        }
        keys
    }

    fn limits(&mut self, name: &str, written: &raw::Policy) -> Limits {
        let built_in = !self.document.has(&["policies", name, "component"]);
        for section in ["limits", "grants", "isolation", "recycle_after", "breaker"] {
            let at = ["policies", name, section];
            if built_in && self.document.has(&at) && written.kind_has_builtin() {
                let message = format!("`{section}` has no effect without `component`: this is the built-in");
                self.warning(&at, message, "leave it out, or name a `component`");
            }
        }
        Limits::from(&written.limits)
    }

    fn isolation(&mut self, name: &str, written: &raw::Policy) -> Isolation {
        match (written.isolation, written.recycle_after) {
            (Some(raw::Isolation::PerCall), after) => {
                if after.is_some() {
                    let message = "`recycle_after` has no effect with `isolation = \"per-call\"`";
                    self.warning(&["policies", name, "recycle_after"], message, "leave one of them out");
                }
                Isolation::PerCall
            }
            (Some(raw::Isolation::Pooled) | None, Some(recycle_after)) => Isolation::Pooled { recycle_after },
            (Some(raw::Isolation::Pooled) | None, None) => Isolation::default(),
        }
    }

    fn grants(&mut self, file: &raw::File, name: &str, written: &raw::Policy) -> Grants {
        let grants = &written.grants;
        let at = |list| ["policies", name, "grants", list];
        self.known_keys(file, &at("keys"), &grants.keys);
        self.known_keys(file, &at("secrets"), &grants.secrets);
        let origins = grants.http.iter().enumerate();
        let origin = |(index, origin): (usize, &String)| {
            self.origin(&[at("http").as_slice(), &[index.to_string().as_str()]].concat(), origin)
        };
        Grants {
            http: origins.filter_map(origin).collect(),
            keys: grants.keys.clone(),
            secrets: grants.secrets.clone(),
            cache: grants.cache,
            crypto: grants.crypto,
        }
    }

    fn known_keys(&mut self, file: &raw::File, at: &[&str], names: &[String]) {
        for (index, name) in names.iter().enumerate() {
            self.known_key(file, &[at, &[index.to_string().as_str()]].concat(), name);
        }
    }

    pub(super) fn known_key(&mut self, file: &raw::File, at: &[&str], name: &str) {
        if self.document.has(&["keys", name]) {
            return;
        }
        let known: Vec<_> = file.keys.keys().map(String::as_str).collect();
        let help = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => {
                format!(
                    "define it: `[keys.{name}]` with `secret`, `pem`, `jwks_file`, `jwks_url` or `issuer`"
                )
            }
            None => format!("define it (`[keys.{name}]`), or name one of {}", listed(&known)),
        };
        self.error(at, format!("there is no key `{name}` under `[keys]`"), help);
    }
}

impl From<&raw::Limits> for Limits {
    fn from(written: &raw::Limits) -> Self {
        let default = Self::default();
        let count = |written: Option<u64>, default| {
            written.map_or(default, |n| usize::try_from(n).unwrap_or(usize::MAX))
        };
        let kibi = |written: Option<u64>| written.map(|kib| kib << 10);
        Self {
            timeout: written.timeout_ms.map_or(default.timeout, Duration::from_millis),
            wait: written.wait_ms.map(Duration::from_millis),
            memory: written.memory_mib.map(|mib| usize::try_from(mib << 20).unwrap_or(usize::MAX)),
            table_elements: count(written.table_elements, default.table_elements),
            output: count(kibi(written.output_kib), default.output),
            log_lines: written.log_lines.unwrap_or(default.log_lines),
            host_calls: written.host_calls.unwrap_or(default.host_calls),
            http_requests: written.http_requests.unwrap_or(default.http_requests),
            handles: count(written.handles, default.handles),
            instances: count(written.instances, default.instances),
            cache: kibi(written.cache_kib).unwrap_or(default.cache),
        }
    }
}

fn breaker(written: &raw::Breaker) -> BreakerLimits {
    let default = BreakerLimits::default();
    BreakerLimits {
        failures: written.failures.unwrap_or(default.failures),
        pause: written.pause_ms.map_or(default.pause, Duration::from_millis),
    }
}

impl raw::Policy {
    fn kind_has_builtin(&self) -> bool {
        !matches!(self.kind, raw::Kind::Custom)
    }
}
