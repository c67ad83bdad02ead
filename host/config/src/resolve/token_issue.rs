//! `issue_token` of `[upstreams.NAME]`. A token must never be able to do more than the credential that it was asked
//! with, so whatever could judge the two differently is refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::Value;
use witgate_plugin::RolesClaim;

use super::resolver::Resolver;
use crate::credentials::OutboundSource;
use crate::limits::{CallLimit, CredentialKind};
use crate::shape::listed;
use crate::token_issue::{IssuingKey, TokenIssue};
use crate::{KeySource, Mode, OwnTool, Policy, PolicyKind, Upstream, raw};

/// The default of `max_s`. A token outlives the revocation of its key, so an hour is a bound for that.
const MAX_S: u64 = 3_600;

/// The settings of the accepting policy that tokens can satisfy.
const SETTINGS: [&str; 8] =
    ["keys", "algorithms", "issuer", "leeway_s", "subject_claim", "roles_claim", "only_roles", "revoked"];

/// The default of `leeway_s` of jwt policies.
const LEEWAY_S: u64 = 60;

/// The parts of the configuration on which the safety of tokens depends.
#[derive(Clone, Copy)]
pub(super) struct TokenContext<'a> {
    pub(super) policies: &'a BTreeMap<String, Policy>,
    pub(super) keys: &'a BTreeMap<String, KeySource>,
    pub(super) limits: &'a [CallLimit],
}

/// The two policies of a token.
struct Policies<'a> {
    from: &'a Policy,
    accepting: &'a Policy,
}

impl Resolver<'_> {
    /// The tokens that each upstream's `issue_token` makes.
    pub(super) fn token_issues(
        &mut self,
        file: &raw::File,
        upstreams: &mut [Upstream],
        context: TokenContext<'_>,
    ) {
        for upstream in upstreams {
            let Some(written) = file.upstreams.get(&upstream.name) else { continue };
            let is_offered = upstream.own_tools.contains(&OwnTool::IssueToken);
            upstream.token_issue = match (&written.issue_token, is_offered) {
                (Some(issued), true) => self.token_issue(upstream, issued, context).map(Arc::new),
                (Some(_), false) => {
                    let message = "the own tool `issue_token` is not offered";
                    self.error(
                        &["upstreams", &upstream.name, "issue_token"],
                        message,
                        "add it to `own_tools`",
                    );
                    None
                }
                (None, true) if !self.document.has(&["upstreams", &upstream.name, "issue_token"]) => {
                    let message = "nothing says for whom `issue_token` makes tokens";
                    let help = "add `issue_token = { from = \"keys\", policy = \"tokens\" }` to the upstream";
                    self.error(&["upstreams", &upstream.name, "own_tools"], message, help);
                    None
                }
                (None, _) => None,
            };
        }
    }

    fn token_issue(
        &mut self,
        upstream: &Upstream,
        written: &raw::IssuedTokens,
        context: TokenContext<'_>,
    ) -> Option<TokenIssue> {
        let at = ["upstreams", upstream.name.as_str(), "issue_token"];
        let faults = self.faults.len();
        let from = self.token_policy(&at, "from", &written.from, upstream, context);
        let accepting = self.token_policy(&at, "policy", &written.policy, upstream, context);
        let policies = Policies { from: from?, accepting: accepting? };
        self.judge_alike(&at, upstream, &policies, context);
        self.exchanges_nothing(&at, upstream);
        let key = self.issuing_key(policies.accepting, context);
        let issuer = self.only_text(policies.accepting, "issuer");
        self.other_settings(policies.accepting);
        let (key, issuer) = (key?, issuer?);
        if self.faults.len() > faults {
            // Even if the rest of the configuration is used.
            return None;
        }
        let setting = |name: &str| policies.accepting.config.get(name);
        let roles: RolesClaim = setting("roles_claim")
            .and_then(|claim| serde_json::from_value(claim.clone()).ok())
            .unwrap_or_default();
        Some(TokenIssue {
            from: policies.from.name.as_str().into(),
            policy: policies.accepting.name.as_str().into(),
            key,
            issuer,
            audience: upstream.resource.clone(),
            subject_claim: setting("subject_claim").and_then(Value::as_str).map(str::to_owned),
            roles_claim: roles.first().unwrap_or_default().into_iter().map(str::to_owned).collect(),
            max: Duration::from_secs(written.max_s.unwrap_or(MAX_S)),
            leeway: Duration::from_secs(setting("leeway_s").and_then(Value::as_u64).unwrap_or(LEEWAY_S)),
        })
    }

    /// The policy in the setting `name`, if it is of the right kind, enforced, and in the pipeline.
    fn token_policy<'a>(
        &mut self,
        at: &[&str; 3],
        name: &str,
        policy: &str,
        upstream: &Upstream,
        context: TokenContext<'a>,
    ) -> Option<&'a Policy> {
        let (kinds, expected): (&[PolicyKind], _) = match name {
            "from" => (&[PolicyKind::ApiKey, PolicyKind::Basic], "`api-key` or `basic`"),
            _ => (&[PolicyKind::Jwt], "`jwt`"),
        };
        let found = context.policies.get(policy);
        let is_used = upstream.pipeline.authenticate.iter().any(|used| used == policy);
        let fits = |found: &&Policy| kinds.contains(&found.kind) && found.mode == Mode::Enforce && is_used;
        let found = found.filter(fits);
        if found.is_none() {
            let message = format!(
                "`{policy}` is no enforced policy of the kind {expected} under `authenticate` of this upstream"
            );
            self.error(&[at.as_slice(), &[name]].concat(), message, "name such a policy");
        }
        found
    }

    /// Refuses everything that could allow a token more than the credential that it was asked with.
    fn judge_alike(
        &mut self,
        at: &[&str; 3],
        upstream: &Upstream,
        policies: &Policies<'_>,
        context: TokenContext<'_>,
    ) {
        let authorizers =
            upstream.pipeline.authorize.iter().filter_map(|name| context.policies.get(name.as_str()));
        let limits = context
            .limits
            .iter()
            .filter(|limit| limit.upstreams.as_ref().is_none_or(|names| names.contains(&upstream.name)));
        let differences = authorizers
            .filter_map(|policy| Some((&policy.name, difference(policy, policies)?)))
            .chain(limits.filter_map(|limit| Some((&limit.name, looser_limit(limit, policies)?))));
        for (name, difference) in differences.collect::<Vec<_>>() {
            let message = format!(
                "a token could do more than the credential that it was asked with: `{name}` {difference}"
            );
            let help = "let roles decide that come with the credential, and that tokens carry";
            self.error(at, message, help);
        }
    }

    /// An API key is no token, so its holder gets no token of another server in exchange.
    fn exchanges_nothing(&mut self, at: &[&str; 3], upstream: &Upstream) {
        let credentials = &upstream.credentials;
        let mut all = credentials.own.iter().chain(credentials.needs.values().flatten());
        if all.any(|credential| matches!(credential.source, OutboundSource::Exchange(_))) {
            let message = "a token could do more than the credential that it was asked with: it could be exchanged for one of the upstream";
            self.error(at, message, "leave `issue_token` out, or use another credential for the upstream");
        }
    }

    /// The only key of the accepting policy, which nobody else accepts.
    fn issuing_key(&mut self, accepting: &Policy, context: TokenContext<'_>) -> Option<IssuingKey> {
        let algorithm = self.only_text(accepting, "algorithms")?;
        let name = self.only_text(accepting, "keys")?;
        let at = ["policies", accepting.name.as_str(), "config", "keys"];
        let key = context.keys.get(&name)?;
        let issuing = match (algorithm.as_str(), key) {
            ("HS256", KeySource::Secret(secret)) => IssuingKey::Hs256(Arc::new(secret.clone())),
            ("ES256", KeySource::Pem(pem)) if pem.expose_secret().contains("PRIVATE KEY") => {
                IssuingKey::Es256(Arc::new(pem.clone()))
            }
            _ => {
                let message = format!("`{name}` cannot sign tokens for `issue_token` with {algorithm}");
                let help = "use a `secret` with HS256, or a private key (`pem = { file = … }`) with ES256";
                self.error(&at, message, help);
                return None;
            }
        };
        let has_it = |policy: &&Policy| {
            named_keys(policy).any(|key| key == name) || (algorithm == "HS256" && has_inline_secret(policy))
        };
        let mut others = context.policies.values().filter(|policy| policy.name != accepting.name);
        let equal = context.keys.iter().find(|(other, source)| **other != name && is_same(source, key));
        let also = match (others.find(has_it), equal) {
            (Some(policy), _) => format!("the policy `{}` has", policy.name),
            (None, Some((other, _))) => format!("`{other}` is"),
            (None, None) => return Some(issuing),
        };
        let message = format!("tokens of `issue_token` could be good elsewhere: {also} the same key");
        self.error(&at, message, "make a key that only this policy uses");
        None
    }

    /// The setting of a policy, of which there has to be one text.
    fn only_text(&mut self, policy: &Policy, name: &str) -> Option<String> {
        let one = match policy.config.get(name) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Array(texts)) => match texts.as_slice() {
                [Value::String(text)] => Some(text.clone()),
                _ => None,
            },
            _ => None,
        };
        if one.is_none() {
            let at = match self.document.has(&["policies", &policy.name, "config", name]) {
                true => vec!["policies", policy.name.as_str(), "config", name],
                false => vec!["policies", policy.name.as_str(), "config"],
            };
            let message = format!("tokens of `issue_token` need a policy with one text in `{name}`");
            let help =
                "use a policy that is only for these tokens, with one of `keys`, `algorithms` and `issuer`";
            self.error(&at, message, help);
        }
        one
    }

    fn other_settings(&mut self, accepting: &Policy) {
        let settings = accepting.config.as_object();
        let others = settings.into_iter().flat_map(|settings| settings.keys());
        let others: Vec<_> = others.filter(|name| !SETTINGS.contains(&name.as_str())).cloned().collect();
        for name in others {
            let at = ["policies", accepting.name.as_str(), "config", name.as_str()];
            let message = format!("a policy for tokens of `issue_token` cannot have `{name}`");
            self.error(&at, message, format!("leave it out; it may have {}", listed(&SETTINGS)));
        }
    }
}

/// The names in `keys` of a jwt policy.
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

fn is_same(one: &KeySource, other: &KeySource) -> bool {
    match (one, other) {
        (KeySource::Secret(one), KeySource::Secret(other)) | (KeySource::Pem(one), KeySource::Pem(other)) => {
            one.expose_secret() == other.expose_secret()
        }
        _ => false,
    }
}

/// The difference between an authorizer's view of a credential and its view of a token. None: there is none.
fn difference(authorizer: &Policy, policies: &Policies<'_>) -> Option<String> {
    let Policies { from, accepting } = policies;
    match authorizer.kind {
        // It abstains for identities that others have established.
        PolicyKind::ApiKey | PolicyKind::Basic if authorizer.name != from.name => None,
        PolicyKind::ApiKey | PolicyKind::Basic => {
            Some("limits each credential by its own patterns, which a token does not have".to_owned())
        }
        PolicyKind::Rbac => {
            let rules: witgate_rbac::Config = serde_json::from_value(authorizer.config.clone()).ok()?;
            let conditions =
                rules.conditions.iter().chain(rules.roles.values().flat_map(|role| &role.conditions));
            let mut holders = rules.subjects.iter().map(|holder| &holder.policy);
            if conditions.into_iter().any(|condition| condition.claim.is_some()) {
                Some("has conditions on claims, which are different".to_owned())
            } else {
                holders
                    .find(|policy| **policy == from.name || **policy == accepting.name)
                    .map(|policy| format!("has `subjects` of `{policy}`, whose roles are different"))
            }
        }
        kind => Some(format!("is of the kind `{}`, which may judge them differently", kind.name())),
    }
}

/// A limit that bounds the credential and not the token.
fn looser_limit(limit: &CallLimit, policies: &Policies<'_>) -> Option<String> {
    let kinds = limit.kinds.as_ref()?;
    let from = CredentialKind::of(policies.from.kind)?;
    let is_looser = kinds.contains(&from) && !kinds.contains(&CredentialKind::Jwt);
    is_looser.then(|| format!("limits the kind `{}`, and not `jwt`", from.name()))
}
