//! Tokens that two policies of a pipeline, or two upstreams, accept.

use std::collections::BTreeSet;

use witgate_config::lint::LintCode;
use witgate_config::shape::listed;
use witgate_config::{Mode, Policy, PolicyKind, Upstream};

use super::finding::{LintCheck, LintFinding};
use super::scene::LintScene;
use super::unsupported_scope::texts;

pub(super) const CHECK: LintCheck = LintCheck {
    code: LintCode::OverlappingIssuers,
    title: "tokens that two policies or two upstreams accept",
    why: "Of two policies for the same tokens, only the first one judges them, so the rules of the second have no \
          effect. If two upstreams accept the same tokens, each of them, or whoever takes a token there, can call the \
          other one as the caller.",
    find,
};

fn find(scene: &LintScene) -> Vec<LintFinding> {
    let mut found: Vec<_> =
        scene.config.upstreams.iter().flat_map(|upstream| in_pipeline(scene, upstream)).collect();
    found.extend(between_upstreams(scene));
    let mut seen = BTreeSet::new();
    found.retain(|finding| seen.insert(finding.remark.to_string()));
    found
}

/// The pairs of `jwt` policies in one pipeline, the second of which gets no tokens, or not all of its own.
fn in_pipeline(scene: &LintScene, upstream: &Upstream) -> Vec<LintFinding> {
    let is_judge = |policy: &&Policy| policy.kind == PolicyKind::Jwt && policy.mode == Mode::Enforce;
    let judges: Vec<_> = scene.authenticators(upstream).filter(is_judge).collect();
    let overlap = |(place, second): (usize, &&Policy)| {
        let mut earlier = judges.iter().take(place);
        let (first, common) = earlier.find_map(|first| Some((first, common_issuers(first, second)?)))?;
        let (first, second) = (&first.name, &second.name);
        let message = format!("`{second}` gets no {common}: `{first}`, which is before it, judges them");
        let remark = scene.place(&["policies", second, "config", "issuer"]).remark(&message, "judged before");
        let fix = format!("give each policy the `issuer` of its own tokens, or remove `{second}`");
        Some(LintFinding::new(second, remark, fix))
    };
    judges.iter().enumerate().filter_map(overlap).collect()
}

/// The tokens that both policies would judge.
fn common_issuers(first: &Policy, second: &Policy) -> Option<String> {
    // A token in another header is for another policy.
    if first.config.get("header") != second.config.get("header") {
        return None;
    }
    let (own, other) = (texts(first, "issuer"), texts(second, "issuer"));
    if own.is_empty() {
        return Some("tokens".to_owned());
    }
    let common: Vec<_> = own.iter().filter(|issuer| other.contains(issuer)).collect();
    (!common.is_empty()).then(|| format!("tokens of {}", listed(&common)))
}

/// A policy that accepts tokens at an upstream.
struct TokenAudience<'s> {
    upstream: &'s str,
    policy: &'s Policy,
    issuers: Vec<String>,
    audiences: Vec<String>,
}

impl TokenAudience<'_> {
    /// The audiences whose tokens both accept.
    fn common(&self, other: &Self) -> Vec<String> {
        let shares_issuer = match (self.issuers.as_slice(), other.issuers.as_slice()) {
            // Without issuers, the keys decide.
            ([], _) | (_, []) => self.policy.config.get("keys") == other.policy.config.get("keys"),
            (own, others) => own.iter().any(|issuer| others.contains(issuer)),
        };
        let common = self.audiences.iter().filter(|audience| other.audiences.contains(audience));
        if shares_issuer { common.cloned().collect() } else { Vec::new() }
    }
}

fn between_upstreams(scene: &LintScene) -> Vec<LintFinding> {
    let of_upstream = |upstream: &'_ Upstream| -> Vec<(String, String)> {
        upstream.pipeline.authenticate.iter().map(|name| (upstream.name.clone(), name.clone())).collect()
    };
    let places: Vec<_> = scene.config.upstreams.iter().flat_map(of_upstream).collect();
    let accepted: Vec<_> =
        places.iter().filter_map(|(upstream, policy)| accepted(scene, upstream, policy)).collect();
    let finding = |(place, later): (usize, &TokenAudience<'_>)| {
        let others = accepted.iter().take(place).filter(|earlier| earlier.upstream != later.upstream);
        let (other, common) =
            others.map(|earlier| (earlier, earlier.common(later))).find(|(_, common)| !common.is_empty())?;
        let (name, one, both) = (&later.policy.name, other.upstream, later.upstream);
        let message = format!("tokens for {} are accepted at both `{one}` and `{both}`", listed(&common));
        let place = scene.place(&["policies", name, "config", "audience"]);
        let fix = "leave `audience` out: then each upstream accepts only tokens for its own `resource`";
        Some(LintFinding::new(name, place.remark(&message, "an audience of several upstreams"), fix))
    };
    accepted.iter().enumerate().filter_map(finding).collect()
}

fn accepted<'s>(scene: &'s LintScene, upstream: &'s str, policy: &str) -> Option<TokenAudience<'s>> {
    let policy = scene.config.policies.get(policy)?;
    let takes_tokens = matches!(policy.kind, PolicyKind::Jwt | PolicyKind::Introspection);
    if !takes_tokens || policy.mode != Mode::Enforce {
        return None;
    }
    let written = texts(policy, "audience");
    let audiences = match written.is_empty() {
        true => vec![scene.upstream(upstream)?.resource.clone()],
        false => written,
    };
    Some(TokenAudience { upstream, policy, issuers: texts(policy, "issuer"), audiences })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::found;

    const REST: &str = "[policies.roles]\nkind = 'rbac'\nconfig.roles.user = { allow = ['*'] }\n[pipeline]\n\
                        authenticate = ['one', 'two']\nauthorize = ['roles']\n";

    fn names(one: &str, two: &str) -> Vec<String> {
        let text = format!(
            "[upstreams.files]\nown_tools = true\n[policies.one]\nkind = 'jwt'\nconfig = {{ algorithms = ['ES256'], {one} }}\n\
             [policies.two]\nkind = 'jwt'\nconfig = {{ algorithms = ['ES256'], {two} }}\n{REST}"
        );
        found(super::CHECK, &text, "{}").into_iter().map(|it| it.name).collect()
    }

    #[test]
    fn a_policy_that_gets_no_tokens_is_found() {
        let (a, b) = ("issuer = 'https://a.example'", "issuer = ['https://a.example', 'https://b.example']");
        assert_eq!(names(a, b), ["two"]);
    }

    #[test]
    fn policies_with_tokens_of_their_own_are_no_findings() {
        let (a, b) = ("issuer = 'https://a.example'", "issuer = 'https://b.example'");
        assert!(names(a, b).is_empty());
        assert!(names(a, &format!("{a}, header = 'X-Assertion'")).is_empty());
    }

    #[test]
    fn upstreams_with_a_common_audience_are_found() {
        let text = |audience: &str| {
            format!(
                "[upstreams.a]\nown_tools = true\nresource = 'https://mcp.example/a'\n\
                 [upstreams.b]\nown_tools = true\nresource = 'https://mcp.example/b'\n\
                 [policies.one]\nkind = 'jwt'\nconfig = {{ algorithms = ['ES256'], issuer = 'https://a.example' {audience} }}\n\
                 {}",
                REST.replace(", 'two'", "")
            )
        };
        let bad = found(super::CHECK, &text(", audience = 'mcp'"), "{}");
        assert_eq!(bad.iter().map(|it| &*it.name).collect::<Vec<_>>(), ["one"]);
        assert!(found(super::CHECK, &text(""), "{}").is_empty());
    }
}
