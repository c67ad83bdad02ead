//! The sender that the arguments name: a subject, a key, a token, or claims.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use witgate_plugin::{Identity, Scheme};

use super::scene::ExplanationScene;
use crate::access::known_principals::{
    authenticators, identity_of, judge_of_accounts, keys, people, sender_of, users,
};
use crate::access::question::QuestionSender;
use crate::cli::outcome::CommandFailure;
use witgate_base::party::ANONYMOUS;
use witgate_config::PolicyKind;

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

/// An assumed caller. Without roles and scopes, they have those of their entry in a key store, in a store of users, or in
/// the accounts.
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
    let mut notes = Vec::new();
    let stored = match is_alone {
        true => stored(scene, place, (subject, policy.as_deref()), &mut notes),
        false => None,
    };
    if is_alone && stored.is_none() {
        notes.push(
            "no store has roles or scopes of this caller; name them with `--role` and `--scope`".to_owned(),
        );
    }
    let (identity, proven_by) = match stored {
        Some((identity, proven_by)) => {
            (Identity { issuer: issuer.clone().or(identity.issuer.clone()), ..identity }, proven_by)
        }
        None => {
            let claims = claims.as_deref().map(read_claims).transpose()?;
            let identity = Identity {
                subject: subject.to_owned(),
                issuer: issuer.clone(),
                roles: role.clone(),
                scopes: scope.clone(),
                claims: claims.map(|claims| Value::Object(claims).to_string()),
                expires_at: None,
            };
            (identity, proven_by(scene, place, policy.as_deref())?)
        }
    };
    notes.insert(0, format!("`{subject}` is assumed to be known by the policy `{proven_by}`"));
    Ok(FoundSender { sender: QuestionSender::Assumed { identity, proven_by }, notes })
}

/// The identity that a store has of somebody, and the policy that knows them.
fn stored(
    scene: &ExplanationScene,
    place: usize,
    (name, policy): (&str, Option<&str>),
    notes: &mut Vec<String>,
) -> Option<(Identity, Arc<str>)> {
    let mut users = users(scene.view(), place).into_iter();
    let user = users.find(|(owner, user)| user.name == name && policy.is_none_or(|name| owner.name == name));
    if let Some((owner, user)) = user {
        let (roles, scopes) = (user.roles, user.scopes);
        let identity = Identity { subject: user.name, roles, scopes, ..Identity::default() };
        return Some((identity, owner.name.as_str().into()));
    }
    of_accounts(scene, place, (name, policy), notes)
}

/// The identity of somebody of `[accounts]`, by their name or id.
fn of_accounts(
    scene: &ExplanationScene,
    place: usize,
    (name, policy): (&str, Option<&str>),
    notes: &mut Vec<String>,
) -> Option<(Identity, Arc<str>)> {
    let (judge, issuer) = judge_of_accounts(scene.view(), place)?;
    if policy.is_some_and(|policy| policy != judge.name) {
        return None;
    }
    let people = match people(scene.view()) {
        Ok(people) => people,
        Err(error) => {
            notes.push(format!("the accounts are not looked up: {error}"));
            return None;
        }
    };
    let user = people.iter().find(|user| user.name == name || user.id == name)?;
    notes.push(format!(
        "`{name}` has the roles of their account, and no scopes; `--role` and `--scope` name others"
    ));
    Some((identity_of(user, issuer), judge.name.as_str().into()))
}

/// The policy that is assumed to know a caller.
fn proven_by(
    scene: &ExplanationScene,
    place: usize,
    policy: Option<&str>,
) -> Result<Arc<str>, CommandFailure> {
    let names: Vec<_> = authenticators(scene.view(), place).map(|policy| policy.name.as_str()).collect();
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

/// The owner of the key of this name. The real policy judges it, as if it were shown.
fn of_key(
    scene: &ExplanationScene,
    place: usize,
    name: &str,
    policy: Option<&str>,
) -> Result<QuestionSender, CommandFailure> {
    let keys = keys(scene.view(), place);
    let mut found = keys
        .into_iter()
        .filter(|(owner, key)| key.name == name && policy.is_none_or(|policy| owner.name == policy));
    match (found.next(), found.next()) {
        (Some((policy, key)), None) => Ok(sender_of(scene.view(), policy, &key)),
        (Some(_), Some(_)) => Err(CommandFailure::new(format!(
            "several stores have a key `{name}`; name the policy of one with `--policy NAME`"
        ))),
        (None, _) => Err(CommandFailure::new(format!(
            "no key store of this upstream has a key `{name}`; `witgate key list` shows the keys, and \
             `witgate accounts keys` those that users have made"
        ))),
    }
}

/// The owner of a token with the claims in a file.
fn of_claims(
    scene: &ExplanationScene,
    place: usize,
    file: &Path,
    policy: Option<&str>,
) -> Result<FoundSender, CommandFailure> {
    let claims = read_claims(file)?;
    let mut policies = authenticators(scene.view(), place).filter(|found| found.kind == PolicyKind::Jwt);
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
