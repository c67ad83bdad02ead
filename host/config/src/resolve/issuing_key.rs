//! The key of `issue_token`. Nothing else may accept what it signs, so it is compared with all other keys that can be
//! read, in each of their forms.

use std::fs;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use witgate_base::fingerprints::Fingerprints;
use witgate_base::signing::Signer;
use zeroize::Zeroizing;

use super::keys;
use super::resolver::Resolver;
use super::token_issue::TokenContext;
use crate::raw::{Key, OptionalSecret, SecretSource};
use crate::token_issue::IssuingKey;
use crate::{KeySource, Policy, PolicyKind};

/// The part of a key that is the same in all its forms.
enum Essence<'a> {
    /// The shared secret.
    Secret(&'a SecretString),
    /// The public point, without the byte for its form.
    Point(Vec<u8>),
}

impl Resolver<'_> {
    /// The key `name` of the accepting policy, if nobody else has it.
    pub(super) fn issuing_key(
        &mut self,
        accepting: &Policy,
        (algorithm, name): (&str, &str),
        context: TokenContext<'_>,
    ) -> Option<IssuingKey> {
        let at = ["policies", accepting.name.as_str(), "config", "keys"];
        let (issuing, essence) = match (algorithm, context.keys.get(name)?) {
            ("HS256", KeySource::Secret(secret)) => {
                (Some(IssuingKey::Hs256(Arc::new(secret.clone()))), Some(Essence::Secret(secret)))
            }
            ("ES256", KeySource::Pem(pem)) => {
                (Some(IssuingKey::Es256(Arc::new(pem.clone()))), private_point(pem).map(Essence::Point))
            }
            _ => (None, None),
        };
        let (Some(issuing), Some(essence)) = (issuing, essence) else {
            let message = format!("`{name}` cannot sign tokens for `issue_token` with {algorithm}");
            let help =
                "use a `secret` with HS256, or a private key for P-256 (`pem = { file = … }`) with ES256";
            self.error(&at, message, help);
            return None;
        };
        let Some(also) = self.other_place(accepting, name, &essence, context) else { return Some(issuing) };
        let message = format!("tokens of `issue_token` could be good elsewhere: {also} the same key");
        self.error(&at, message, "make a key that only this policy uses");
        None
    }

    /// Another place with the key.
    fn other_place(
        &self,
        accepting: &Policy,
        name: &str,
        essence: &Essence<'_>,
        context: TokenContext<'_>,
    ) -> Option<String> {
        let has_it = |policy: &&Policy| {
            let is_named = named_keys(policy).any(|key| key == name);
            let is_unknown = matches!(essence, Essence::Secret(_)) && has_inline_secret(policy);
            // Only a component itself knows which of its settings are keys.
            let is_shipped = policy.kind != PolicyKind::Custom;
            is_named || is_unknown || (is_shipped && self.has_inline(&policy.config, essence))
        };
        let policies = || context.policies.values().filter(|policy| policy.name != accepting.name);
        let is_client_key = |source: &SecretSource| {
            self.secret_of(source).is_some_and(|pem| essence.is_of(&KeySource::Pem(pem)))
        };
        let in_policies =
            || policies().find(has_it).map(|policy| format!("the policy `{}` has", policy.name));
        let in_keys = || {
            let mut others = context.keys.iter().filter(|(other, _)| *other != name);
            others.find(|(_, source)| essence.is_of(source)).map(|(other, _)| format!("`{other}` is"))
        };
        let in_signing = || {
            let signing = context.signing?;
            let mut public = signing.published.iter().chain([signing.signer.public()]);
            public.any(|key| essence.is_point(key.point())).then(|| "`[signing]` has".to_owned())
        };
        let in_credentials = || {
            let mut all = context.file.credentials.iter();
            let has_it = |key: &OptionalSecret| is_client_key(&key.source());
            all.find(|(_, table)| table.client_key.as_ref().is_some_and(has_it))
                .map(|(name, _)| format!("the credential `{name}` has"))
        };
        in_policies().or_else(in_keys).or_else(in_signing).or_else(in_credentials)
    }

    /// True if settings of a policy contain the key itself, at any place.
    fn has_inline(&self, settings: &Value, essence: &Essence<'_>) -> bool {
        match settings {
            Value::Object(members) => {
                self.is_inline(settings, essence)
                    || members.values().any(|member| self.has_inline(member, essence))
            }
            Value::Array(items) => items.iter().any(|item| self.has_inline(item, essence)),
            _ => false,
        }
    }

    /// True if a table is the key: as one of `keys`, or as the source of a private key.
    fn is_inline(&self, table: &Value, essence: &Essence<'_>) -> bool {
        if let Ok(key) = serde_json::from_value::<Key>(table.clone()) {
            let key = keys::key(&key, &self.base, self.sources);
            return key.is_ok_and(|key| essence.is_of(&key));
        }
        let source = serde_json::from_value::<SecretSource>(table.clone()).ok();
        let secret = source.and_then(|source| self.secret_of(&source));
        secret.is_some_and(|secret| essence.is_of(&KeySource::Pem(secret)))
    }

    /// A secret that is read only for a comparison. None: whoever uses it reports why there is none.
    fn secret_of(&self, source: &SecretSource) -> Option<SecretString> {
        let read = self.sources.read(source, &self.base, &mut Fingerprints::default());
        read.ok().map(|secret| secret.value)
    }
}

impl Essence<'_> {
    fn is_of(&self, key: &KeySource) -> bool {
        match (key, self) {
            (KeySource::Secret(other), Self::Secret(own)) => own.expose_secret() == other.expose_secret(),
            (KeySource::Pem(pem), Self::Point(own)) => has_point(pem, own),
            (KeySource::Jwks(set), _) => self.is_in(set),
            (KeySource::JwksFile(path), _) => fs::read_to_string(path).is_ok_and(|set| self.is_in(&set)),
            _ => false,
        }
    }

    fn is_point(&self, point: Option<Vec<u8>>) -> bool {
        matches!((self, point), (Self::Point(own), Some(other)) if *own == other)
    }

    /// True if a JWK Set has the key.
    fn is_in(&self, set: &str) -> bool {
        let set: Value = serde_json::from_str(set).unwrap_or_default();
        let mut keys = set.get("keys").and_then(Value::as_array).into_iter().flatten();
        keys.any(|key| {
            let bytes = |name: &str| URL_SAFE_NO_PAD.decode(key.get(name)?.as_str()?).ok();
            match self {
                Self::Secret(own) => bytes("k").is_some_and(|key| key == own.expose_secret().as_bytes()),
                Self::Point(_) => self.is_point(bytes("x").zip(bytes("y")).map(|(x, y)| [x, y].concat())),
            }
        })
    }
}

/// The public point of a private key.
fn private_point(pem: &SecretString) -> Option<Vec<u8>> {
    Signer::new(String::new(), pem).ok()?.public().point()
}

/// True if PEM contains the point: in a public key, a certificate, or a private key.
fn has_point(pem: &SecretString, point: &[u8]) -> bool {
    let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.expose_secret().as_bytes());
    let has_it = |der: &[u8]| der.windows(point.len()).any(|part| part == point);
    private_point(pem).is_some_and(|other| other == point)
        || sections.any(|section| section.is_ok_and(|(_, der)| has_it(&Zeroizing::new(der))))
}

/// The names in `keys` of a policy.
fn named_keys(policy: &Policy) -> impl Iterator<Item = &str> {
    let settings = [policy.config.get("keys"), policy.config.get("answer_keys")];
    let lists = settings.into_iter().flatten().filter_map(Value::as_array);
    lists.flatten().filter_map(Value::as_str)
}

/// True if a policy has a secret of its own among its keys, which may be any.
fn has_inline_secret(policy: &Policy) -> bool {
    let keys = policy.config.get("keys").and_then(Value::as_array);
    policy.kind == PolicyKind::Jwt && keys.into_iter().flatten().any(|key| key.get("secret").is_some())
}
