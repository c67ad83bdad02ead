//! Explanations agree with the decisions of the gateway about random requests, for built-ins, for components, and for
//! plugins that their authors have written in four languages; and they have no effect on anything.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;
use witgate_flow::Flow;
use witgate_flow::audit::AuditOutcome;
use witgate_flow::explanation::{ExplainedCaller, ExplainedCause, Explanation, explain};
use witgate_flow::limit::Admitted;
use witgate_flow::port::Upstream;
use witgate_flow::reject::Rejection;
use witgate_policy::generation::{Generation, Generations};
use witgate_testing::keys;
use witgate_tests::gateway::component;

use super::generation_setup::{GenerationSetup, Says, flow, route};
use super::random_requests::{RandomRequest, key_store};
use super::{RUNTIME, cases};

/// The policies that decide about random requests, and how many requests they get.
struct PolicySet {
    name: &'static str,
    requests: u32,
    /// True: the shipped policies are components.
    by_components: bool,
    /// A plugin of an author: its component, and its settings as TOML.
    plugin: Option<(&'static str, &'static str)>,
}

impl PolicySet {
    const fn shipped(name: &'static str, requests: u32, by_components: bool) -> Self {
        Self { name, requests, by_components, plugin: None }
    }

    const fn with(name: &'static str, requests: u32, settings: &'static str) -> Self {
        Self { name, requests, by_components: false, plugin: Some((name, settings)) }
    }

    fn config(&self) -> String {
        let shipped = |kind: &str| match self.by_components {
            true => format!("component = {:?}\n{PATIENT}", component(kind)),
            false => String::new(),
        };
        let plugin = self.plugin.map(|(name, settings)| {
            let path = component(&format!("examples/{name}"));
            format!("[policies.plugin]\nkind = 'custom'\ncomponent = {path:?}\n{settings}\n{PATIENT}")
        });
        let authorize = if plugin.is_some() { "['rules', 'plugin']" } else { "['rules', 'keys']" };
        format!(
            "[upstreams.up]\nown_tools = true\nresource = 'https://mcp.example.com/up'\n\
             [pipeline]\nauthenticate = ['keys', 'tokens']\nauthorize = {authorize}\n\
             anonymous = {{ roles = ['other'] }}\n\
             [keys.idp]\npem = {{ file = 'idp.pem' }}\n\
             [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n{}\
             [policies.tokens]\nkind = 'jwt'\n\
             config = {{ keys = ['idp'], algorithms = ['ES256'], issuer = 'https://idp.example.com' }}\n{}\
             [policies.rules]\nkind = 'rbac'\n{}{RULES}{}",
            shipped("api-key"),
            shipped("jwt"),
            shipped("rbac"),
            plugin.unwrap_or_default()
        )
    }
}

/// On a machine where every other test runs too, the default of 50 ms denies calls that no test means to be denied.
const PATIENT: &str = "limits = { memory_mib = 64, timeout_ms = 20000 }\n";

const RULES: &str = "config.roles.greeter = { allow = ['*', 'resource:*'], deny = ['drop'] }\n\
    config.roles.other = { allow = ['get_*', 'prompt:*'] }\n\
    config.roles.user = { allow = ['*'], conditions = [\
        { on = 'pay', argument = '/amount', max = 10 }, { on = 'a*', claim = 'team', equals = 'red' }] }\n\
    config.scopes = { get_sum = ['math'], 'resource:*' = ['math', 'deep'] }\n";

const GREETER: &str = "config = { role = 'greeter' }";

/// Ten thousand requests. The interpreters of Python and JavaScript take longer.
const SETS: [PolicySet; 9] = [
    PolicySet::shipped("built-ins", 3600, false),
    PolicySet::shipped("components", 2000, true),
    PolicySet::with("hello-authorizer-rust", 800, GREETER),
    PolicySet::with("hello-authorizer-c", 800, GREETER),
    PolicySet::with("hello-authorizer-javascript", 300, GREETER),
    PolicySet::with("hello-authorizer-python", 300, GREETER),
    PolicySet::with(
        "argument-guard",
        800,
        "config.paths = [{ calls = ['read_*'], argument = '/path', below = '/srv/docs' }]\n\
         config.amounts = [{ calls = ['pay'], argument = '/amount', at_most = 5 }]",
    ),
    PolicySet::with(
        "tenant-isolation",
        800,
        "config.arguments = [{ calls = ['*'], argument = '/tenant' }]\nconfig.resources = ['crm://{tenant}/*']",
    ),
    PolicySet::with(
        "business-hours",
        600,
        "config.default_zone = 'Europe/Berlin'\nconfig.open = [{ days = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', \
         'sun'], from = '08:00', to = '07:59' }]",
    ),
];

/// The outcome of a request and its reason.
type Decision = (AuditOutcome, Option<ExplainedCause>);

async fn decided<U: Upstream>(flow: &Flow<U>, request: &RandomRequest) -> Decision {
    match flow.handle(request.arrival()).await {
        Ok(_) => (AuditOutcome::Allowed, None),
        Err(refused) => match refused.rejection {
            // Whether there is a session is not a question to policies.
            Rejection::SessionRequired => (AuditOutcome::Allowed, None),
            rejection => (AuditOutcome::of(&rejection), Some(ExplainedCause::of(&rejection))),
        },
    }
}

async fn explained(generation: &Arc<Generation>, request: &RandomRequest) -> Explanation {
    explain(generation, &route(0), request.arrival(), ExplainedCaller::Shown).await
}

fn decision(explanation: &Explanation) -> Decision {
    (explanation.outcome, explanation.cause.clone())
}

fn gateway(generation: Generation) -> Flow<impl Upstream> {
    flow(Arc::new(Generations::new(generation, 1)), Says(|_: &Admitted| json!({ "content": [] })))
}

/// The same files, for policies that decide and for policies that explain.
fn setups() -> [GenerationSetup; 2] {
    let setups = [GenerationSetup::new(), GenerationSetup::observing()];
    for setup in &setups {
        setup.file("keys.toml", &key_store());
        setup.file("idp.pem", keys::PUBLIC);
    }
    setups
}

#[test]
fn explanations_agree_with_decisions_about_ten_thousand_random_requests() {
    assert!(SETS.iter().map(|set| set.requests).sum::<u32>() >= 10_000);
    for set in SETS {
        let [live, observed] = setups();
        let (flow, explains) = RUNTIME.block_on(async {
            let decides = live.generation(&set.config()).await;
            (gateway(decides), Arc::new(observed.generation(&set.config()).await))
        });
        let before = files(observed.dir());
        let counts = Cell::new([0; 2]);
        let trial = |request: RandomRequest| {
            RUNTIME.block_on(async {
                let explanation = decision(&explained(&explains, &request).await);
                let decision = decided(&flow, &request).await;
                prop_assert_eq!(&explanation, &decision, "{}: {:?}", set.name, request);
                let mut seen = counts.get();
                seen[usize::from(decision.0 == AuditOutcome::Allowed)] += 1;
                counts.set(seen);
                Ok(())
            })
        };
        TestRunner::new(cases(set.requests)).run(&RandomRequest::any(), trial).unwrap();
        let [refused, allowed] = counts.get();
        assert!(refused > 50 && allowed > 20, "{}: {allowed} were allowed, {refused} refused", set.name);
        assert!(files(observed.dir()) == before, "{}: an explanation has changed a file", set.name);
    }
}

/// The files beside a configuration.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

/// A plugin that counts calls, a limit, and a lockout: the next caller finds all as if nobody had asked for an explanation.
#[test]
fn explanations_take_nothing_from_quotas_limits_and_lockouts() {
    let counted = PolicySet::with(
        "quota",
        0,
        "grants = { cache = true, crypto = true }\nconfig = { calls = 3, window_s = 86400 }",
    );
    let config = counted.config() + "[limits.few]\nrate = '5/h'\n[lockout]\nfailures = 3\npause_s = 600\n";
    RUNTIME.block_on(async {
        let [live, observed] = setups();
        let explains = Arc::new(observed.generation(&config).await);
        let (call, guess) = (RandomRequest::of_ada("get_sum"), RandomRequest::of_stranger(7));
        for attempt in 0..20 {
            let allowed = explained(&explains, &call).await;
            assert!(allowed.is_allowed(), "explanation {attempt}: {:?}", allowed.cause);
            let refused = explained(&explains, &guess).await;
            assert_eq!(refused.outcome, AuditOutcome::Refused, "explanation {attempt}");
        }
        // The same policies, when they decide, begin at zero; and so do others.
        let served = Arc::into_inner(explains).expect("nobody else has the generation");
        for generation in [served, live.generation(&config).await] {
            let flow = gateway(generation);
            for number in 0..4 {
                let (outcome, _) = decided(&flow, &call).await;
                assert_eq!(outcome == AuditOutcome::Allowed, number < 3, "call {number}: {outcome:?}");
            }
            let guesses = [7, 8, 9, 10].map(RandomRequest::of_stranger);
            let mut outcomes = Vec::new();
            for guess in &guesses {
                outcomes.push(decided(&flow, guess).await.0);
            }
            let refused = AuditOutcome::Refused;
            assert_eq!(outcomes, [refused, refused, refused, AuditOutcome::LockedOut]);
        }
    });
}
