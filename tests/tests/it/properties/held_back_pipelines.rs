//! A pipeline that is held back because one of its policies is broken: a call must pass both the rules in force and
//! the usable rules of the change. A change may only reduce the rights.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use witgate_flow::limit::Admitted;
use witgate_policy::generation::{Generation, Generations};

use super::generation_setup::{GenerationSetup, Says, flow, send, store};
use super::{RUNTIME, cases};

const TOOLS: [&str; 4] = ["a", "b", "c", "d"];

/// The tools that the roles allow, and the policies of the pipeline.
#[derive(Clone, Debug)]
struct Rules {
    allowed: Vec<&'static str>,
    /// True if the key is valid: one of the two stores does not contain it.
    knows_key: bool,
}

fn rules() -> impl Strategy<Value = Rules> {
    let allowed = prop::sample::subsequence(TOOLS.to_vec(), 0..=4);
    (allowed, prop::bool::weighted(0.8)).prop_map(|(allowed, knows_key)| Rules { allowed, knows_key })
}

/// `extra` allows everything, unless it is broken.
fn config(rules: &Rules, extra: &str) -> String {
    let store = if rules.knows_key { "keys.toml" } else { "empty.toml" };
    format!(
        "[upstreams.up]\nown_tools = true\n\
         [pipeline]\nauthenticate = ['keys']\nauthorize = ['roles', 'extra']\n\
         [policies.keys]\nkind = 'api-key'\nconfig = {{ store = '{store}' }}\n\
         [policies.roles]\nkind = 'rbac'\nconfig = {{ roles = {{ member = {{ allow = {:?} }} }} }}\n\
         [policies.extra]\nkind = 'rbac'\nconfig = {{ roles = {{ member = {{ allow = ['{extra}'] }} }} }}\n",
        rules.allowed
    )
}

fn all(_: &Admitted) -> Value {
    json!({ "tools": TOOLS.map(|name| json!({ "name": name })) })
}

/// The permitted calls, and the filtered list, under a generation. None: the caller is refused.
async fn may(generation: Generation) -> (Vec<&'static str>, Option<Value>) {
    let flow = flow(Arc::new(Generations::new(generation, 1)), Says(all));
    let mut called = Vec::new();
    for tool in TOOLS {
        if send(&flow, "tools/call", &json!({ "name": tool })).await.is_ok() {
            called.push(tool);
        }
    }
    let list = send(&flow, "tools/list", &json!({})).await.ok();
    (called, list.map(|answer| answer["result"]["tools"].clone()))
}

#[test]
fn a_call_has_to_pass_the_former_and_the_new_policies() {
    let setup = GenerationSetup::new();
    setup.file("keys.toml", &store(&["member".to_owned()], &[], &[]));
    setup.file("empty.toml", "version = 1\n");
    let mut runner = TestRunner::new(cases(100));
    let outcome = runner.run(&(rules(), rules()), |(before, after)| {
        RUNTIME.block_on(async {
            let live = setup.generation(&config(&before, "*")).await;
            // An empty pattern: the policy refuses its settings.
            let next = setup.successor(&config(&after, ""), &live).await;
            let both = |tool: &&str| before.allowed.contains(tool) && after.allowed.contains(tool);
            let is_known = before.knows_key && after.knows_key;
            let wanted: Vec<_> = TOOLS.into_iter().filter(|tool| is_known && both(tool)).collect();
            let (called, listed) = may(next.unwrap_or(live)).await;
            prop_assert_eq!(&called, &wanted);
            let wanted = wanted.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>();
            prop_assert_eq!(listed, is_known.then(|| json!(wanted)));
            Ok(())
        })
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
