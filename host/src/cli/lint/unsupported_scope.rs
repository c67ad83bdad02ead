//! Scopes that no authorization server offers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use witgate_config::lint::LintCode;
use witgate_config::shape::{listed, nearest};
use witgate_config::{Config, Policy, PolicyKind, Upstream};

use super::finding::{LintCheck, LintFinding};
use super::placed_rules::RulePlace;
use super::scene::{LintScene, PlacedRules};

pub(super) const CHECK: LintCheck = LintCheck {
    code: LintCode::UnsupportedScope,
    title: "a scope that no authorization server offers",
    why: "No client can get a token with the scope, so each call that needs it is refused, and each login that asks for \
          it may fail.",
    find,
};

fn find(scene: &LintScene) -> Vec<LintFinding> {
    let of_policies = scene.policies.iter().flat_map(|policy| required(scene, policy));
    of_policies.chain(scene.config.upstreams.iter().flat_map(|upstream| requested(scene, upstream))).collect()
}

/// The unsupported scopes that a policy requires.
fn required(scene: &LintScene, policy: &PlacedRules) -> Vec<LintFinding> {
    let upstreams = policy.upstreams.iter().filter_map(|name| scene.upstream(name));
    let offers: Vec<_> = upstreams.filter_map(|upstream| ScopeOffer::of(scene, upstream)).collect();
    let Some(offer) = ScopeOffer::union(offers) else { return Vec::new() };
    let implied = with_implied(&offer.scopes, &policy.rules.scope_implies);
    let mut found = Vec::new();
    for (pattern, scopes) in &policy.rules.scopes {
        for (index, scope) in scopes.iter().enumerate().filter(|(_, scope)| !implied.contains(scope.as_str()))
        {
            let place = policy.place.below(&["scopes", pattern, &index.to_string()]);
            found.push(offer.finding(scope, &place));
        }
    }
    found
}

/// The unsupported scopes that a first login asks for.
fn requested(scene: &LintScene, upstream: &Upstream) -> Vec<LintFinding> {
    let Some(offer) = ScopeOffer::of(scene, upstream) else { return Vec::new() };
    let unsupported = upstream.scopes.iter().enumerate().filter(|(_, scope)| !offer.scopes.contains(*scope));
    let finding = |(index, scope): (usize, &String)| {
        let place = scene.place(&["upstreams", &upstream.name, "scopes", &index.to_string()]);
        offer.finding(scope, &place)
    };
    unsupported.map(finding).collect()
}

/// The scopes of the authorization servers of an upstream.
struct ScopeOffer {
    issuers: BTreeSet<String>,
    scopes: BTreeSet<String>,
}

impl ScopeOffer {
    /// None: there is no authorization server, or one does not say what it offers.
    fn of(scene: &LintScene, upstream: &Upstream) -> Option<Self> {
        let issuers = issuers(&scene.config, upstream);
        let scopes: Option<Vec<_>> = issuers.iter().map(|issuer| offered(scene, issuer)).collect();
        let scopes = scopes.filter(|scopes| !scopes.is_empty())?.into_iter().flatten().collect();
        Some(Self { issuers, scopes })
    }

    fn union(offers: Vec<Self>) -> Option<Self> {
        offers.into_iter().reduce(|mut one, other| {
            one.issuers.extend(other.issuers);
            one.scopes.extend(other.scopes);
            one
        })
    }

    fn finding(&self, scope: &str, place: &RulePlace) -> LintFinding {
        let issuers: Vec<_> = self.issuers.iter().collect();
        let message = format!("{} does not offer the scope `{scope}`", listed(&issuers));
        let fix = match nearest(scope, self.scopes.iter().map(String::as_str)) {
            Some(near) => format!("write `{near}`"),
            None => "add it at the authorization server, or write one that it offers".to_owned(),
        };
        LintFinding::new(scope, place.remark(&message, "not in `scopes_supported`"), fix)
    }
}

/// The scopes that an issuer offers. None: it does not say.
fn offered(scene: &LintScene, issuer: &str) -> Option<BTreeSet<String>> {
    match scene.config.accounts.as_ref().filter(|accounts| accounts.issuer == issuer) {
        Some(accounts) => Some(accounts.scopes.keys().cloned().collect()),
        None => {
            let metadata = scene.lists.issuers.get(issuer)?;
            metadata.scopes_supported.as_ref().map(|scopes| scopes.iter().cloned().collect())
        }
    }
}

/// The issuers whose tokens an upstream's callers have.
pub(super) fn issuers(config: &Config, upstream: &Upstream) -> BTreeSet<String> {
    let policies = upstream.pipeline.authenticate.iter().filter_map(|name| config.policies.get(name));
    let of_tokens: Vec<_> = policies.filter(|policy| takes_tokens(policy)).collect();
    if of_tokens.is_empty() {
        return BTreeSet::new();
    }
    let named = of_tokens.into_iter().flat_map(|policy| texts(policy, "issuer"));
    named.chain(config.server.authorization_servers.iter().cloned()).collect()
}

fn takes_tokens(policy: &Policy) -> bool {
    matches!(policy.kind, PolicyKind::Jwt | PolicyKind::Introspection)
}

/// The texts of a setting that is one text or a list.
pub(super) fn texts(policy: &Policy, setting: &str) -> Vec<String> {
    match policy.config.get(setting) {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// The scopes with all that they imply, directly or over others.
fn with_implied<'a>(
    scopes: &'a BTreeSet<String>,
    implies: &'a BTreeMap<String, Vec<String>>,
) -> BTreeSet<&'a str> {
    let mut open: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let mut all = BTreeSet::new();
    while let Some(next) = open.pop() {
        if all.insert(next) {
            open.extend(implies.get(next).into_iter().flatten().map(String::as_str));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{found_with_issuer, with_tokens};

    const ISSUER: &str = "https://idp.example";

    #[test]
    fn a_scope_that_the_issuer_does_not_offer_is_found() {
        let text = with_tokens("config.scopes = { pay = ['pay:wirte', 'pay:read'] }");
        let found = found_with_issuer(super::CHECK, &text, ISSUER, Some(&["pay:write", "pay:read"]));
        assert_eq!(found.len(), 1);
        assert_eq!((&*found[0].name, &*found[0].fix), ("pay:wirte", "write `pay:write`"));
        let login = with_tokens("").replace("own_tools = true", "own_tools = true\nscopes = ['email']");
        assert_eq!(found_with_issuer(super::CHECK, &login, ISSUER, Some(&["pay:write"])).len(), 1);
    }

    #[test]
    fn an_offered_an_implied_and_an_unknown_scope_are_no_findings() {
        let implied = with_tokens(
            "config.scopes = { pay = ['pay:read'] }\nconfig.scope_implies = { all = ['pay:read'] }",
        );
        assert!(found_with_issuer(super::CHECK, &implied, ISSUER, Some(&["all"])).is_empty());
        let text = with_tokens("config.scopes = { pay = ['pay:read'] }");
        assert!(found_with_issuer(super::CHECK, &text, ISSUER, Some(&["pay:read"])).is_empty());
        assert!(found_with_issuer(super::CHECK, &text, ISSUER, None).is_empty());
        assert!(found_with_issuer(super::CHECK, &text, "https://other.example", Some(&[])).is_empty());
    }
}
