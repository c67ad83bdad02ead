//! `issue_token` of `[upstreams.NAME]`. A token must never be able to do more than the credential that it was asked
//! with, so whatever could judge the two differently is refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use witgate_plugin::RolesClaim;

use super::resolver::Resolver;
use crate::credentials::OutboundSource;
use crate::limits::{CallLimit, CredentialKind};
use crate::shape::listed;
use crate::token_issue::TokenIssue;
use crate::{KeySource, Mode, OwnTool, Policy, PolicyKind, Signing, Upstream, raw};

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
    pub(super) file: &'a raw::File,
    pub(super) policies: &'a BTreeMap<String, Policy>,
    pub(super) keys: &'a BTreeMap<String, KeySource>,
    pub(super) signing: Option<&'a Signing>,
    pub(super) limits: &'a [CallLimit],
}

/// The two policies of a token.
struct Policies<'a> {
    from: &'a Policy,
    accepting: &'a Policy,
}

impl Resolver<'_> {
    /// The tokens that each upstream's `issue_token` makes.
    pub(super) fn token_issues(&mut self, upstreams: &mut [Upstream], context: TokenContext<'_>) {
        self.one_resource_each(upstreams, context.file);
        self.one_policy_each(context.file);
        for upstream in upstreams {
            let Some(written) = context.file.upstreams.get(&upstream.name) else { continue };
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

    /// A token is for one upstream, whose resource is its audience.
    fn one_resource_each(&mut self, upstreams: &[Upstream], file: &raw::File) {
        let issues = |upstream: &&Upstream| {
            file.upstreams.get(&upstream.name).is_some_and(|written| written.issue_token.is_some())
        };
        for upstream in upstreams.iter().filter(issues) {
            let is_other =
                |other: &&Upstream| other.name != upstream.name && other.resource == upstream.resource;
            if let Some(other) = upstreams.iter().find(is_other) {
                let message = format!(
                    "tokens of `issue_token` would be good for `{}` as well, which has the same `resource`",
                    other.name
                );
                let at = ["upstreams", &upstream.name, "issue_token"];
                self.error(&at, message, "give each of them a `resource` of its own");
            }
        }
    }

    /// A caller's token names the accepting policy and its issuer, and not `from`: with two of these, two callers of the
    /// same name would become one.
    fn one_policy_each(&mut self, file: &raw::File) {
        let mut origins = BTreeMap::new();
        for (name, upstream) in &file.upstreams {
            let Some(issued) = &upstream.issue_token else { continue };
            let (from, other) = *origins.entry(&issued.policy).or_insert((&issued.from, name));
            if *from != issued.from {
                let message = format!(
                    "`{}` accepts tokens for callers of `{from}` already, by the upstream `{other}`: callers of both policies with the same name would become one",
                    issued.policy
                );
                let at = ["upstreams", name, "issue_token", "policy"];
                self.error(&at, message, "use a policy with a key and an issuer of its own");
            }
        }
    }

    /// A check that tokens which last long can be revoked: the thief of a credential can get any number of them.
    fn is_revocable(&mut self, at: &[&str; 3], written: &raw::IssuedTokens, accepting: &Policy) {
        if written.max_s.is_some_and(|max| max > MAX_S) && accepting.config.get("revoked").is_none() {
            let message = format!(
                "tokens that last longer than {MAX_S} seconds could not be revoked: `{}` has no `revoked`",
                accepting.name
            );
            let help = format!(
                "write `revoked = \"revoked.jsonl\"` into `[policies.{}.config]`, or make `max_s` shorter",
                accepting.name
            );
            self.error(&[at.as_slice(), &["max_s"]].concat(), message, help);
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
        self.is_revocable(&at, written, policies.accepting);
        let algorithm = self.only_text(policies.accepting, "algorithms");
        let key = self.only_text(policies.accepting, "keys").zip(algorithm);
        let key = key
            .and_then(|(name, algorithm)| self.issuing_key(policies.accepting, (&algorithm, &name), context));
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
            subject_claim: setting("subject_claim").and_then(Value::as_str).map(path).unwrap_or_default(),
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

/// The names of nested objects in a claim with dots.
fn path(claim: &str) -> Vec<String> {
    claim.split('.').map(str::to_owned).collect()
}

/// The difference between an authorizer's view of a credential and its view of a token. None: there is none.
fn difference(authorizer: &Policy, policies: &Policies<'_>) -> Option<String> {
    let from = policies.from;
    match authorizer.kind {
        // It abstains for identities that others have established.
        PolicyKind::ApiKey | PolicyKind::Basic if authorizer.name != from.name => None,
        PolicyKind::ApiKey | PolicyKind::Basic => {
            Some("limits each credential by its own patterns, which a token does not have".to_owned())
        }
        PolicyKind::Rbac => difference_of_rules(authorizer, policies),
        kind => Some(format!("is of the kind `{}`, which may judge them differently", kind.name())),
    }
}

/// The difference between the views of an rbac policy. The pattern is complete, so that nobody forgets a new setting here.
fn difference_of_rules(authorizer: &Policy, policies: &Policies<'_>) -> Option<String> {
    let Policies { from, accepting } = policies;
    let Ok(rules) = serde_json::from_value(authorizer.config.clone()) else {
        return Some("cannot be read".to_owned());
    };
    let witgate_rbac::Config {
        roles,
        conditions,
        subjects,
        unscoped_policies,
        // These decide by roles, scopes and targets alone, which are the same.
        scopes: _,
        scope_template: _,
        scope_wildcards: _,
        scope_implies: _,
        default: _,
    } = rules;
    let mut conditions = conditions.iter().chain(roles.values().flat_map(|role| &role.conditions));
    if conditions.any(|condition| condition.claim.is_some()) {
        return Some("has conditions on claims, which are different".to_owned());
    }
    let mut holders = subjects.iter().map(|holder| &holder.policy);
    if let Some(policy) = holders.find(|policy| **policy == from.name || **policy == accepting.name) {
        return Some(format!("has `subjects` of `{policy}`, whose roles are different"));
    }
    let is_unscoped = |policy: &Policy| unscoped_policies.contains(&policy.name);
    (is_unscoped(accepting) && !is_unscoped(from)).then(|| {
        format!("needs scopes of `{}` and, by `unscoped_policies`, none of `{}`", from.name, accepting.name)
    })
}

/// A limit that bounds the credential and not the token.
fn looser_limit(limit: &CallLimit, policies: &Policies<'_>) -> Option<String> {
    let kinds = limit.kinds.as_ref()?;
    let from = CredentialKind::of(policies.from.kind)?;
    let is_looser = kinds.contains(&from) && !kinds.contains(&CredentialKind::Jwt);
    is_looser.then(|| format!("limits the kind `{}`, and not `jwt`", from.name()))
}
