//! Attacks with tokens. Each is tried on the built-in and on the component, with keys that the real host holds. Both
//! must refuse it for the right reason, and accept the valid token beside it.

mod algorithms;
mod claims;
mod differential;
mod encoding;
mod forge;
mod headers;
mod issuers;
mod kinds;
mod sets;
mod signatures;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use witgate_cases::{
    Case, CaseCall, CaseSettings, Expect, ExpectIdentity, HookQuestion, HostState, Question, Step,
    TestSubject,
};
use witgate_config::{KeySource, Limits, PolicyKind};
use witgate_plugin::Scheme;
use witgate_tests::cases::{both, put};

use forge::{AUDIENCE, ISSUER, NOW, SECRET};

/// The policy that judges the tokens.
#[derive(Clone, Debug)]
struct Policy {
    config: Value,
    keys: BTreeMap<String, KeySource>,
}

impl Policy {
    /// Takes every public-key algorithm, with a set that has a key for each.
    fn public() -> Self {
        let algorithms = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];
        Self::of(json!({ "keys": ["set"], "algorithms": algorithms, "issuer": ISSUER }))
            .key("set", jwks(&forge::set()))
    }

    /// Takes HS256 with a secret.
    fn secret() -> Self {
        Self::of(json!({ "keys": ["session"], "algorithms": ["HS256"], "issuer": ISSUER }))
            .key("session", KeySource::Secret(SECRET.into()))
    }

    fn of(config: Value) -> Self {
        Self { config, keys: BTreeMap::new() }
    }

    fn key(mut self, name: &str, key: KeySource) -> Self {
        self.keys.insert(name.to_owned(), key);
        self
    }

    fn with(mut self, setting: &str, value: Value) -> Self {
        self.config[setting] = value;
        self
    }
}

/// One token, and the expected verdict.
struct Attack {
    name: String,
    policy: Policy,
    token: String,
    expect: Expect,
}

impl Attack {
    fn refused(policy: &Policy, name: impl Into<String>, token: String, reason: &str) -> Self {
        let expect = Expect::Refused(reason.to_owned());
        Self { name: name.into(), policy: policy.clone(), token, expect }
    }

    /// A token that no policy recognises.
    fn unrecognised(policy: &Policy, name: impl Into<String>, token: String) -> Self {
        Self { name: name.into(), policy: policy.clone(), token, expect: Expect::NotMine }
    }

    /// A valid token: without it, everything could be refused for another reason.
    fn good(policy: &Policy, name: impl Into<String>, token: String) -> Self {
        let identity = ExpectIdentity { subject: Some("alice".to_owned()), ..ExpectIdentity::default() };
        let expect = Expect::Identity(Box::new(identity));
        Self { name: name.into(), policy: policy.clone(), token, expect }
    }

    fn is_good(&self) -> bool {
        matches!(self.expect, Expect::Identity(_))
    }

    fn case(self) -> Case {
        let question = question(self.token);
        let (log, host_calls) = Default::default();
        Case {
            name: self.name,
            line: 0,
            policy: "own".to_owned(),
            settings: CaseSettings::just(self.policy.config),
            now: NOW,
            held: Arc::new(HostState { keys: self.policy.keys, ..HostState::default() }),
            // The test is about decisions, which a slow machine must not change.
            limits: Some(Limits { timeout: Duration::from_secs(5), ..Limits::default() }),
            wants: None,
            config_error: None,
            steps: vec![Step { place: Vec::new(), question, log, host_calls, expect: self.expect }],
        }
    }
}

/// The question about this token.
fn question(token: String) -> Question {
    let ask = HookQuestion::Who { scheme: Scheme::Bearer, value: token };
    Question { now: NOW, audience: AUDIENCE.to_owned(), ..Question::new(CaseCall::named("echo"), ask) }
}

fn jwks(set: &Value) -> KeySource {
    KeySource::Jwks(set.to_string())
}

fn all() -> Vec<Attack> {
    [
        algorithms::attacks(),
        signatures::attacks(),
        encoding::attacks(),
        headers::attacks(),
        claims::attacks(),
        issuers::attacks(),
        kinds::attacks(),
        sets::attacks(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

async fn withstood_by(subject: &TestSubject) {
    let cases: Vec<_> = all().into_iter().map(Attack::case).collect();
    let findings = put(subject, &cases).await;
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

#[tokio::test]
async fn the_built_in_refuses_every_attack() {
    withstood_by(&both(PolicyKind::Jwt)[0]).await;
}

#[tokio::test]
async fn the_component_refuses_every_attack() {
    withstood_by(&both(PolicyKind::Jwt)[1]).await;
}

/// The fewest cases: with fewer, a known attack would have no test.
#[test]
fn there_are_two_hundred_distinct_attacks() {
    let attacks = all();
    let count = attacks.iter().filter(|attack| !attack.is_good()).count();
    assert!(count >= 200, "{count} attacks");
    for part in ["name", "token"] {
        let text = |attack: &Attack| match part {
            "name" => attack.name.clone(),
            _ => format!("{:?} {}", attack.policy, attack.token),
        };
        let mut texts: Vec<String> = attacks.iter().map(text).collect();
        texts.sort_unstable();
        let twice: Vec<_> = texts.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
        assert!(twice.is_empty(), "one {part} twice: {twice:?}");
    }
}
