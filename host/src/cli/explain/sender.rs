//! The sender that the arguments name: a subject, a key, a token, or claims.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use witgate_api_key::store::{KEY_PREFIX, StoredKey};
use witgate_basic::users::StoredUser;
use witgate_plugin::{Identity, Scheme};

use super::question::QuestionSender;
use super::scene::ExplanationScene;
use crate::cli::outcome::CommandFailure;
use witgate_base::party::ANONYMOUS;
use witgate_config::key_store::KeyStore;
use witgate_config::user_store::UserStore;
use witgate_config::{Policy, PolicyKind};

/// The options that say who makes the call.
#[derive(Clone, Debug, Default, clap::Args)]
pub(in crate::cli) struct SenderOptions {
    /// Subject of the caller, who is assumed to be known
    #[arg(long = "as", value_name = "SUBJECT", group = "sender")]
    pub(in crate::cli) subject: Option<String>,
    /// Key of a key store, by its name
    #[arg(long, value_name = "NAME", group = "sender")]
    pub(in crate::cli) key: Option<String>,
    /// File with a token; `-` is standard input
    #[arg(long, value_name = "FILE", group = "sender")]
    pub(in crate::cli) token_file: Option<std::path::PathBuf>,
    /// JSON file with claims: of a token whose signature is assumed to be good, or with --as of that caller
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) claims: Option<std::path::PathBuf>,
    /// With --as: role of the caller; may be repeated
    #[arg(long, value_name = "ROLE")]
    pub(in crate::cli) role: Vec<String>,
    /// With --as: scope of the caller; may be repeated
    #[arg(long, value_name = "SCOPE")]
    pub(in crate::cli) scope: Vec<String>,
    /// With --as: issuer of the caller
    #[arg(long, value_name = "ISSUER")]
    pub(in crate::cli) issuer: Option<String>,
    /// Policy that knows the caller or the key, if there are several
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) policy: Option<String>,
}

impl SenderOptions {
    /// True if they name somebody.
    pub(super) fn names_somebody(&self) -> bool {
        self.subject.is_some() || self.key.is_some() || self.token_file.is_some() || self.claims.is_some()
    }

    /// True if they have properties that only an assumed caller can have.
    fn has_properties(&self) -> bool {
        !self.role.is_empty() || !self.scope.is_empty() || self.issuer.is_some()
    }
}

/// A sender, with what the reader has to know about the assumption.
pub(in crate::cli) struct FoundSender {
    pub(in crate::cli) sender: QuestionSender,
    pub(in crate::cli) notes: Vec<String>,
}

impl From<QuestionSender> for FoundSender {
    fn from(sender: QuestionSender) -> Self {
        Self { sender, notes: Vec::new() }
    }
}

/// The text that stands for a key. It is nobody's, because a key has 43 characters after the prefix.
const STAND_IN: &str = "explained";

/// The sender whom the options name, for calls to the upstream at `place`.
pub(in crate::cli) fn find(
    scene: &ExplanationScene,
    place: usize,
    options: &SenderOptions,
) -> Result<FoundSender, CommandFailure> {
    if options.subject.is_none() && options.has_properties() {
        let message =
            "roles, scopes and an issuer are those of an assumed caller; name one with `--as SUBJECT`";
        return Err(CommandFailure::new(message));
    }
    match options {
        SenderOptions { subject: Some(subject), .. } => assumed(scene, place, subject, options),
        SenderOptions { key: Some(key), policy, .. } => {
            Ok(of_key(scene, place, key, policy.as_deref())?.into())
        }
        SenderOptions { token_file: Some(file), .. } => {
            let text = SecretString::from(read(file)?.trim());
            Ok(QuestionSender::Token { text, is_trusted: false }.into())
        }
        SenderOptions { claims: Some(file), policy, .. } => of_claims(scene, place, file, policy.as_deref()),
        _ => Ok(QuestionSender::Nobody.into()),
    }
}

/// The authenticators of an upstream's pipeline that are enforced.
fn authenticators(scene: &ExplanationScene, place: usize) -> impl Iterator<Item = &Policy> {
    let names = scene.generation.pipeline(place).authenticate.iter().map(|policy| &**policy.name());
    names.filter_map(|name| scene.config.policies.get(name))
}

/// An assumed caller. Without roles and scopes, they have those of their entry in a key store or in a store of users.
fn assumed(
    scene: &ExplanationScene,
    place: usize,
    subject: &str,
    options: &SenderOptions,
) -> Result<FoundSender, CommandFailure> {
    let SenderOptions { role, scope, issuer, claims, policy, .. } = options;
    let is_alone = role.is_empty() && scope.is_empty() && claims.is_none();
    if is_alone && let Ok(key) = of_key(scene, place, subject, policy.as_deref()) {
        return Ok(key.into());
    }
    let claims = claims.as_deref().map(read_claims).transpose()?;
    let user = if is_alone { user(scene, place, subject, policy.as_deref()) } else { None };
    let is_known = user.is_some();
    let (proven_by, roles, scopes) = match user {
        Some(user) => user,
        None => (proven_by(scene, place, policy.as_deref())?, role.clone(), scope.clone()),
    };
    let identity = Identity {
        subject: subject.to_owned(),
        issuer: issuer.clone(),
        roles,
        scopes,
        claims: claims.map(|claims| Value::Object(claims).to_string()),
        expires_at: None,
    };
    let mut notes = vec![format!("`{subject}` is assumed to be known by the policy `{proven_by}`")];
    if is_alone && !is_known {
        notes.push(
            "no store has roles or scopes of this caller; name them with `--role` and `--scope`".to_owned(),
        );
    }
    Ok(FoundSender { sender: QuestionSender::Assumed { identity, proven_by }, notes })
}

/// The policy that is assumed to know a caller.
fn proven_by(
    scene: &ExplanationScene,
    place: usize,
    policy: Option<&str>,
) -> Result<Arc<str>, CommandFailure> {
    let names: Vec<_> = authenticators(scene, place).map(|policy| policy.name.as_str()).collect();
    match (policy, names.as_slice()) {
        (Some(policy), _) if names.contains(&policy) => Ok(policy.into()),
        (Some(policy), _) => Err(CommandFailure::new(format!(
            "the pipeline has no authenticator `{policy}`; there are: {}",
            names.join(", ")
        ))),
        (None, [only]) => Ok((*only).into()),
        (None, []) => Ok(ANONYMOUS.into()),
        (None, _) => Err(CommandFailure::new(format!(
            "several policies may know the caller; name one with `--policy NAME`: {}",
            names.join(", ")
        ))),
    }
}

/// The user of this name in a store: the policy, the roles and the scopes.
fn user(
    scene: &ExplanationScene,
    place: usize,
    name: &str,
    policy: Option<&str>,
) -> Option<(Arc<str>, Vec<String>, Vec<String>)> {
    let mut users = users(scene, place).into_iter();
    let found = users.find(|(owner, user)| user.name == name && policy.is_none_or(|name| owner.name == name));
    found.map(|(owner, user)| (owner.name.as_str().into(), user.roles, user.scopes))
}

/// The users of the stores of an upstream's pipeline who are not disabled, each with their policy.
pub(in crate::cli) fn users(scene: &ExplanationScene, place: usize) -> Vec<(&Policy, StoredUser)> {
    let policies = authenticators(scene, place).filter(|policy| policy.kind == PolicyKind::Basic);
    let stored = policies.filter_map(|policy| {
        let store = policy.config.get("users").and_then(Value::as_str)?;
        let users = UserStore::at(scene.config.dir().join(store)).read().ok()?.users;
        Some(users.into_iter().filter(|user| user.disabled.is_none()).map(move |user| (policy, user)))
    });
    stored.flatten().collect()
}

/// The keys of the stores of an upstream's pipeline, and those that users have made, each with its policy.
pub(in crate::cli) fn keys(scene: &ExplanationScene, place: usize) -> Vec<(&Policy, StoredKey)> {
    let policies = authenticators(scene, place).filter(|policy| policy.kind == PolicyKind::ApiKey);
    let keys = policies.map(|policy| (policy, stored_keys(&scene.config.dir(), &policy.config)));
    keys.flat_map(|(policy, keys)| keys.into_iter().map(move |key| (policy, key))).collect()
}

/// The keys in the files of a policy with these settings, which are relative to `dir`.
fn stored_keys(dir: &Path, settings: &Value) -> Vec<StoredKey> {
    let files = ["store", "owned"].into_iter().filter_map(|name| settings.get(name)?.as_str());
    let stores = files.filter_map(|file| KeyStore::at(dir.join(file)).read().ok());
    stores.flat_map(|store| store.keys).collect()
}

/// The owner of the key of this name. The real policy judges it, as if it were shown.
fn of_key(
    scene: &ExplanationScene,
    place: usize,
    name: &str,
    policy: Option<&str>,
) -> Result<QuestionSender, CommandFailure> {
    let keys = keys(scene, place);
    let mut found = keys
        .into_iter()
        .filter(|(owner, key)| key.name == name && policy.is_none_or(|policy| owner.name == policy));
    match (found.next(), found.next()) {
        (Some((policy, key)), None) => Ok(sender_of(scene, policy, &key)),
        (Some(_), Some(_)) => Err(CommandFailure::new(format!(
            "several stores have a key `{name}`; name the policy of one with `--policy NAME`"
        ))),
        (None, _) => Err(CommandFailure::new(format!(
            "no key store of this upstream has a key `{name}`; `witgate key list` shows the keys, and \
             `witgate accounts keys` those that users have made"
        ))),
    }
}

/// The owner of a key.
pub(in crate::cli) fn sender_of(
    scene: &ExplanationScene,
    policy: &Policy,
    key: &StoredKey,
) -> QuestionSender {
    let live = scene.generation.policy(&policy.name);
    let header = live.and_then(|policy| policy.credential_headers().first().cloned());
    let text = SecretString::from(format!("{KEY_PREFIX}{STAND_IN}"));
    QuestionSender::Key { policy: policy.name.clone(), header, text, digest: key.sha256.0 }
}

/// The owner of a token with the claims in a file.
fn of_claims(
    scene: &ExplanationScene,
    place: usize,
    file: &Path,
    policy: Option<&str>,
) -> Result<FoundSender, CommandFailure> {
    let claims = read_claims(file)?;
    let mut policies = authenticators(scene, place).filter(|found| found.kind == PolicyKind::Jwt);
    let found = policies.find(|found| policy.is_none_or(|name| found.name == name));
    let found = found.ok_or_else(|| {
        CommandFailure::new(
            "claims belong to tokens, and the pipeline has no such policy of the kind `jwt`; with `--as SUBJECT`, they are \
             those of an assumed caller",
        )
    })?;
    let judges_bearer =
        scene.generation.policy(&found.name).is_some_and(|policy| policy.judges(Scheme::Bearer));
    if !judges_bearer {
        return Err(CommandFailure::new(format!("the policy `{}` judges no bearer tokens", found.name)));
    }
    let setting = |name: &str| found.config.get(name);
    let algorithm =
        setting("algorithms").and_then(|all| all.get(0)).and_then(Value::as_str).unwrap_or("RS256");
    let kind =
        setting("typ").map(|kind| kind.get(0).unwrap_or(kind)).and_then(Value::as_str).unwrap_or("JWT");
    let header = json!({ "alg": algorithm, "typ": kind });
    let parts = [header, Value::Object(claims)].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signature = URL_SAFE_NO_PAD.encode([0; 64]);
    let text = SecretString::from(format!("{}.{signature}", parts.join(".")));
    let notes =
        vec![format!("the signature of the token is assumed to be good, and of the algorithm {algorithm}")];
    Ok(FoundSender { sender: QuestionSender::Token { text, is_trusted: true }, notes })
}

fn read(file: &Path) -> Result<String, CommandFailure> {
    let text = match file == Path::new("-") {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(file),
    };
    text.map_err(|error| CommandFailure::new(format!("{} cannot be read: {error}", file.display())))
}

fn read_claims(file: &Path) -> Result<Map<String, Value>, CommandFailure> {
    serde_json::from_str(&read(file)?).map_err(|error| {
        CommandFailure::new(format!("{} is no JSON object with claims: {error}", file.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_users_have_made_are_found_beside_those_of_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let store = |name: &str, digit: &str, owner: &str| {
            format!(
                "version = 1\n[[keys]]\nname = '{name}'\nid = '{name}'\nsha256 = '{}'\n\
                 created = 2026-01-01T00:00:00Z\n{owner}",
                digit.repeat(64)
            )
        };
        std::fs::write(folder.path().join("keys.toml"), store("ci", "1", "")).unwrap();
        std::fs::write(folder.path().join("own.toml"), store("laptop", "2", "owner = 'u1'\n")).unwrap();
        let owned = folder.path().join("own.toml");
        let settings = json!({ "store": "keys.toml", "owned": owned });
        let names: Vec<_> =
            stored_keys(folder.path(), &settings).into_iter().map(|key| (key.name, key.owner)).collect();
        assert_eq!(names, [("ci".to_owned(), None), ("laptop".to_owned(), Some("u1".to_owned()))]);
    }
}
