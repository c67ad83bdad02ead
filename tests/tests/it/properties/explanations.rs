//! Explanations agree with the decisions of the gateway, for all rules, callers and arguments.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use secrecy::SecretString;
use serde_json::{Value, json};
use witgate_base::digest::sha256;
use witgate_flow::Arrival;
use witgate_flow::explanation::{ExplainedCaller, Explanation, explain};
use witgate_flow::limit::Admitted;
use witgate_flow::reject::Rejection;
use witgate_message::credential::Credentials;
use witgate_plugin::{Scheme, Transport};
use witgate_policy::generation::{Generation, Generations};
use witgate_tests::gateway::component;

use super::generation_setup::{
    GenerationSetup, KEY, Says, credentials, flow, message, route, send_showing, store,
};
use super::{RUNTIME, cases};

/// Rules, and calls for trying them.
#[derive(Clone, Debug)]
struct World {
    roles: Vec<Role>,
    held: Vec<usize>,
    scoped: Option<String>,
    key: (Vec<String>, Vec<String>),
    authorizers: Vec<&'static str>,
    anonymous: bool,
    by_components: bool,
    names: Vec<String>,
}

/// The patterns that a role allows and denies, and the largest amount.
type Role = (Vec<String>, Vec<String>, Option<u64>);

/// A text that is nobody's key.
const STRANGER: &str = "a key that no store contains, long enough to be one";

/// A text that stands for [`KEY`].
const STAND_IN: &str = "a text in the place of the key, long enough to be one";

fn patterns(most: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop_oneof![1 => Just("*".to_owned()), 4 => "[ab*]{1,3}"], 0..=most)
}

fn world() -> impl Strategy<Value = World> {
    let role = (patterns(2), patterns(1), prop::option::of(0..20u64));
    let authorizers = prop::sample::select(vec![vec!["keys"], vec!["roles"], vec!["keys", "roles"]]);
    let key = (prop::collection::vec("[ab*]{1,3}", 1..3), patterns(1));
    let held = prop::collection::vec(0..3usize, 0..3);
    let scoped = prop::option::of("[ab*]{1,2}");
    let names = prop::collection::vec("[ab]{1,3}", 6);
    let form = (any::<bool>(), any::<bool>());
    (prop::collection::vec(role, 3), held, scoped, key, authorizers, form, names).prop_map(
        |(roles, held, scoped, key, authorizers, (anonymous, by_components), names)| World {
            roles,
            held,
            scoped,
            key,
            authorizers,
            anonymous,
            by_components,
            names,
        },
    )
}

impl World {
    fn config(&self) -> String {
        let role = |(place, (allow, deny, most)): (usize, &Role)| {
            let condition = most.map(|most| format!("{{ on = '*', argument = '/amount', max = {most} }}"));
            let condition = condition.unwrap_or_default();
            format!("r{place} = {{ allow = {allow:?}, deny = {deny:?}, conditions = [{condition}] }}")
        };
        let roles: Vec<_> = self.roles.iter().enumerate().map(role).collect();
        let scopes = self.scoped.as_ref().map(|on| format!("{on:?} = ['admin']")).unwrap_or_default();
        let component = |kind: &str| match self.by_components {
            true => format!("component = {:?}\nlimits = {{ timeout_ms = 20000 }}\n", component(kind)),
            false => String::new(),
        };
        let anonymous = if self.anonymous { "anonymous = { roles = ['r0'] }\n" } else { "" };
        format!(
            "[upstreams.up]\nown_tools = true\n\
             [pipeline]\nauthenticate = ['keys']\nauthorize = {:?}\n{anonymous}\
             [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n{}\
             [policies.roles]\nkind = 'rbac'\n{}config = {{ roles = {{ {} }}, scopes = {{ {scopes} }} }}\n",
            self.authorizers,
            component("api-key"),
            component("rbac"),
            roles.join(", "),
        )
    }

    fn store(&self) -> String {
        let roles: Vec<_> = self.held.iter().map(|role| format!("r{role}")).collect();
        store(&roles, &self.key.0, &self.key.1)
    }
}

fn shown(text: Option<&str>) -> Credentials {
    let mut shown = Credentials::default();
    if let Some(text) = text {
        shown.add(Scheme::Bearer, None, SecretString::from(text));
    }
    shown
}

fn arrival(params: &Value, shown: Credentials) -> Arrival {
    Arrival {
        under_way: Default::default(),
        known: Default::default(),
        transport: Transport::Stdio,
        peer: None,
        certificate: None,
        headers: HeaderMap::new(),
        body: message("tools/call", params),
        shown: Some(shown),
        session: None,
    }
}

/// The reason code, the policy and the missing scopes of a refusal. None: the call is allowed.
type Reason = Option<(String, Option<String>, Vec<String>)>;

fn reason_of(result: &Result<Value, Rejection>) -> Reason {
    let named = |policy: &Option<Arc<str>>| policy.as_deref().map(str::to_owned);
    match result {
        Ok(_) => None,
        Err(Rejection::NoCredential) => Some(("no-credential".to_owned(), None, Vec::new())),
        Err(Rejection::Refused { policy, reason, .. }) => Some((reason.clone(), named(policy), Vec::new())),
        Err(Rejection::Denied { policy, denial }) => {
            Some((denial.reason.clone(), named(policy), denial.scopes.clone()))
        }
        Err(other) => panic!("an unexpected refusal: {other:?}"),
    }
}

fn explained_reason(explanation: &Explanation) -> Reason {
    let cause = explanation.cause.clone()?;
    Some((cause.reason, cause.policy, cause.scopes))
}

/// As [`KEY`], with a text that stands for it.
async fn explain_stand_in(generation: &Arc<Generation>, params: &Value) -> Explanation {
    let replay = generation.policy("keys").unwrap().replay().unwrap();
    replay.set(HashMap::from([(STAND_IN.as_bytes().to_vec(), sha256(KEY.as_bytes()))]), Vec::new());
    let arrival = arrival(params, shown(Some(STAND_IN)));
    let explanation = explain(generation, &route(0), arrival, ExplainedCaller::Shown).await;
    replay.set(HashMap::new(), Vec::new());
    explanation
}

#[test]
fn explanations_agree_with_decisions() {
    let (allowed, refused) = (Cell::new(0), Cell::new(0));
    let trial = |world: World| {
        RUNTIME.block_on(async {
            let (live, observed) = (GenerationSetup::new(), GenerationSetup::observing());
            live.file("keys.toml", &world.store());
            observed.file("keys.toml", &world.store());
            let decides = live.generation(&world.config()).await;
            let explains = Arc::new(observed.generation(&world.config()).await);
            let flow =
                flow(Arc::new(Generations::new(decides, 1)), Says(|_: &Admitted| json!({ "content": [] })));
            for name in &world.names {
                for arguments in [json!({}), json!({ "amount": 5 }), json!({ "amount": 15 })] {
                    let params = json!({ "name": name, "arguments": arguments });
                    for text in [Some(KEY), Some(STRANGER), None] {
                        let decided = send_showing(&flow, "tools/call", &params, shown(text)).await;
                        let arrival = arrival(&params, shown(text));
                        let explanation =
                            explain(&explains, &route(0), arrival, ExplainedCaller::Shown).await;
                        let reason = reason_of(&decided);
                        prop_assert_eq!(&explained_reason(&explanation), &reason, "{:?} {}", text, params);
                        let count = if reason.is_none() { &allowed } else { &refused };
                        count.set(count.get() + 1);
                        if text == Some(KEY) {
                            let stood_in = explain_stand_in(&explains, &params).await;
                            prop_assert_eq!(explained_reason(&stood_in), reason, "the stand-in {}", params);
                        }
                        if let Some(caller) = explanation.caller.filter(|_| text == Some(KEY)) {
                            // Whoever is known already is judged as the owner of the key.
                            let identity = caller.identity().clone();
                            let proven_by = Arc::clone(caller.proven_by());
                            let assumed = ExplainedCaller::Assumed { identity, proven_by };
                            let arrival = self::arrival(&params, Credentials::default());
                            let explanation = explain(&explains, &route(0), arrival, assumed).await;
                            prop_assert_eq!(explained_reason(&explanation), reason_of(&decided));
                        }
                    }
                }
            }
            Ok(())
        })
    };
    TestRunner::new(cases(190)).run(&world(), trial).unwrap();
    let (allowed, refused) = (allowed.get(), refused.get());
    assert!(allowed > 100 && refused > 100, "{allowed} were allowed, {refused} refused");
}

#[test]
fn an_explanation_has_what_its_policies_have_read() {
    RUNTIME.block_on(async {
        let setup = GenerationSetup::observing();
        setup.file("keys.toml", &store(&["r0".to_owned()], &["*".to_owned()], &[]));
        for component in [String::new(), format!("component = {:?}\n", component("rbac"))] {
            let config = format!(
                "[upstreams.up]\nown_tools = true\n[pipeline]\nauthenticate = ['keys']\nauthorize = ['roles']\n\
                 [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
                 [policies.roles]\nkind = 'rbac'\n{component}\
                 config.roles.r0 = {{ allow = ['a'], conditions = [{{ on = 'a', argument = '/amount', max = 10 }}] }}\n\
                 [limits.few]\nrate = '1/h'\n"
            );
            let generation = Arc::new(setup.generation(&config).await);
            let params = json!({ "name": "a", "arguments": { "amount": 5 } });
            for _ in 0..5 {
                let arrival = arrival(&params, credentials(Scheme::Bearer));
                let explanation = explain(&generation, &route(0), arrival, ExplainedCaller::Shown).await;
                // The limit counts the call, and is never taken.
                assert!(explanation.is_allowed(), "{explanation:?}");
                assert_eq!(explanation.limits.iter().map(|name| &**name).collect::<Vec<_>>(), ["few"]);
                let stages: Vec<_> = explanation.stages.iter().map(|stage| stage.name).collect();
                assert_eq!(stages, ["parse", "authenticate", "authorize"]);
                let hooks: Vec<_> = explanation.stages.iter().flat_map(|stage| &stage.hooks).collect();
                let [keys, roles] = hooks.as_slice() else { panic!("{hooks:?}") };
                assert_eq!((&*keys.hook.policy, keys.hook.verdict), ("keys", "identity"));
                assert_eq!((&*roles.hook.policy, roles.hook.verdict), ("roles", "allow"));
                assert_eq!(keys.observed.host_calls.get("crypto.sha256"), Some(&1));
                assert_eq!(roles.observed.host_calls.get("request.arguments"), Some(&1));
            }
        }
    });
}
