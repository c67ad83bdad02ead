//! The credential of a client: whether the policies accept it, and if not, why.

use std::collections::BTreeMap;

use serde_json::Value;

use super::entries::{EntryTarget, ServerEntry};
use crate::cli::doctor::finding::CheckFinding;
use crate::cli::token::judge;
use witgate_config::diagnostic::names_a_secret;
use witgate_config::environment::Environment;
use witgate_config::key_store::diagnosis;
use witgate_config::{Config, Policy, PolicyKind, Upstream};
use witgate_flow::reject::Rejection;
use witgate_message::credential::Credentials;

/// The variables of `witgate serve` over stdio with the client's credential.
pub(super) const VARIABLES: [&str; 2] = ["MCP_API_KEY", "MCP_BEARER_TOKEN"];

/// A text of the settings after its variables are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EntryText {
    /// The text.
    Known(String),
    /// The client asks a person for it.
    Asked,
    /// A variable that is not set here.
    Unset(String),
}

impl EntryText {
    /// Replaces `${NAME}` and `${env:NAME}` by variables of the entry, else of this process.
    pub(super) fn of(written: &str, env: &BTreeMap<String, String>, environment: &Environment) -> Self {
        let (mut text, mut rest) = (String::new(), written);
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else { break };
            if name.starts_with("input:") {
                return Self::Asked;
            }
            let name = name.strip_prefix("env:").unwrap_or(name);
            let Some(value) = env.get(name).map(String::as_str).or_else(|| environment.get(name)) else {
                return Self::Unset(name.to_owned());
            };
            text.push_str(before);
            text.push_str(value);
            rest = after;
        }
        text.push_str(rest);
        Self::Known(text)
    }
}

/// True if the settings contain the credential itself.
pub(super) fn is_written(entry: &ServerEntry) -> bool {
    let is_literal = |(name, value): (&String, &String)| {
        names_a_secret(name) && !value.contains("${") && !value.trim().is_empty()
    };
    match &entry.target {
        EntryTarget::Command(command) => command.env.iter().any(is_literal),
        EntryTarget::Url(url) => url.headers.iter().chain(&url.env).any(is_literal),
        EntryTarget::Unknown => false,
    }
}

/// The headers in which the policies of an upstream read credentials. None: a policy of another kind may read any.
pub(super) fn headers_read(config: &Config, upstream: &Upstream) -> Option<Vec<String>> {
    let policies = upstream.pipeline.authenticate.iter().filter_map(|name| config.policies.get(name));
    let mut headers = Vec::new();
    for policy in policies {
        let named = headers_of(policy);
        match policy.kind {
            PolicyKind::Custom => return None,
            PolicyKind::ApiKey => {
                headers.push("Authorization".to_owned());
                headers.extend(if named.is_empty() { vec!["X-API-Key".to_owned()] } else { named });
            }
            PolicyKind::Jwt | PolicyKind::Introspection if !named.is_empty() => headers.extend(named),
            PolicyKind::Jwt | PolicyKind::Introspection | PolicyKind::Basic => {
                headers.push("Authorization".to_owned());
            }
            PolicyKind::ClientCertificate | PolicyKind::Rbac => {}
        }
    }
    headers.sort_by_key(|name| name.to_ascii_lowercase());
    headers.dedup_by(|one, other| one.eq_ignore_ascii_case(other));
    Some(headers)
}

/// The headers that a policy names.
fn headers_of(policy: &Policy) -> Vec<String> {
    match policy.config.get("header") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// True if a policy reads a credential without a scheme in `Authorization`.
pub(super) fn declares_authorization(config: &Config, upstream: &Upstream) -> bool {
    let policies = upstream.pipeline.authenticate.iter().filter_map(|name| config.policies.get(name));
    policies.flat_map(headers_of).any(|name| name.eq_ignore_ascii_case("authorization"))
}

/// The finding about a client that shows no credential.
pub(super) fn absent(config: &Config, upstream: &Upstream, entry: &str, fix: &str) -> CheckFinding {
    let has_login = !config.server.authorization_servers.is_empty();
    if upstream.pipeline.anonymous.is_some() {
        return CheckFinding::pass(format!(
            "`{entry}` shows no credential, and needs none for what everybody may do"
        ));
    }
    if has_login {
        return CheckFinding::pass(format!(
            "`{entry}` shows no credential: the client logs in at the authorization server"
        ));
    }
    CheckFinding::fail(format!("`{entry}` shows no credential")).because("its calls are refused").fix(fix)
}

/// The finding about a credential. `text` is what the client shows, for its form.
pub(super) async fn judged(
    (environment, config): (&Environment, &Config),
    upstream: &str,
    (entry, text): (&str, &str),
    shown: Credentials,
) -> CheckFinding {
    let judged = match judge(environment, config, Some(upstream), shown).await {
        Ok(judged) => judged,
        Err(failure) => {
            return CheckFinding::skip(format!("the credential of `{entry}` was not judged: {failure}"));
        }
    };
    let (reason, detail) = match judged {
        Ok(caller) => {
            let (policy, subject) = (caller.proven_by(), &caller.identity().subject);
            return CheckFinding::pass(format!(
                "the policy `{policy}` knows the credential of `{entry}` as `{subject}`"
            ));
        }
        Err(Rejection::Refused { reason, detail, .. }) => (reason, detail),
        Err(Rejection::Failed(failed)) => (failed.failure.reason().to_owned(), Some(failed.detail)),
        Err(_) => ("unrecognised".to_owned(), None),
    };
    let detail = detail.map_or_else(String::new, |detail| format!(": {detail}"));
    let is_unknown = matches!(reason.as_str(), "unknown-key" | "unrecognised");
    let shape = if is_unknown { format!(" ({})", diagnosis::shape(text)) } else { String::new() };
    CheckFinding::fail(format!("the credential of `{entry}` is not accepted: {reason}{detail}{shape}"))
        .because("the calls of this client are refused")
        .fix("write the key or token that belongs to this client; `witgate key check -` and `witgate token verify -` judge one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_the_entry_precede_those_of_the_process() {
        let env = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        let environment: Environment = [("A", "2"), ("B", "3")].into_iter().collect();
        let of = |written: &str| EntryText::of(written, &env, &environment);
        assert_eq!(of("Bearer ${A}${env:B}!"), EntryText::Known("Bearer 13!".to_owned()));
        assert_eq!(of("${input:key}"), EntryText::Asked);
        assert_eq!(of("${C}"), EntryText::Unset("C".to_owned()));
        assert_eq!(of("${"), EntryText::Known("${".to_owned()));
    }
}
