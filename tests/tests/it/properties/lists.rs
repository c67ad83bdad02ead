//! Lists contain exactly the permitted entries, for all rules of roles and keys, and for all names.

use std::cell::Cell;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use witgate_flow::Flow;
use witgate_flow::limit::Admitted;
use witgate_flow::port::Upstream;
use witgate_flow::reject::Rejection;
use witgate_message::credential::Credentials;
use witgate_message::fault::MessageFault;
use witgate_plugin::{Pattern, TargetKind};
use witgate_policy::generation::Generations;
use witgate_tests::gateway::component;

use super::generation_setup::{GenerationSetup, KEY, Says, flow, send, send_showing, store};
use super::{RUNTIME, cases};

/// Rules, and the names for trying them.
#[derive(Clone, Debug)]
struct World {
    roles: Vec<Role>,
    /// The roles of the key.
    held: Vec<usize>,
    /// Patterns for calls that need a scope, which the key lacks.
    scoped: Vec<String>,
    key: (Vec<String>, Vec<String>),
    authorizers: Vec<&'static str>,
    /// True if components decide.
    by_components: bool,
    names: Vec<String>,
    uris: Vec<String>,
}

#[derive(Clone, Debug)]
struct Role {
    allow: Vec<String>,
    deny: Vec<String>,
    /// Roles before it.
    inherits: Vec<usize>,
}

/// Names of few letters, so that patterns match some of them; a few names are too long to call.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![30 => "[ab_é]{1,4}", 1 => Just("a".repeat(8193))]
}

fn uri() -> impl Strategy<Value = String> {
    prop_oneof![30 => "x:/[ab]{0,2}(/[ab{}*]{1,2})?", 1 => Just(format!("x:/{}", "a".repeat(8190)))]
}

fn pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just("*".to_owned()),
        4 => "[ab_é*]{1,4}",
        1 => "[ab_é]{1,4}",
        2 => "prompt:[ab_*]{1,3}",
        3 => "resource:x:[ab/*]{1,4}",
        1 => "resource:\\*",
        1 => "method:[a*]{1,2}",
    ]
}

fn patterns(most: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(pattern(), 0..=most)
}

fn world() -> impl Strategy<Value = World> {
    let role = (patterns(3), patterns(1), prop::collection::vec(any::<prop::sample::Index>(), 0..2));
    let roles = prop::collection::vec(role, 1..4).prop_map(|roles| {
        let make = |(place, (allow, deny, inherits)): (usize, (_, _, Vec<prop::sample::Index>))| {
            let inherits = inherits.iter().filter(|_| place > 0).map(|index| index.index(place)).collect();
            Role { allow, deny, inherits }
        };
        roles.into_iter().enumerate().map(make).collect::<Vec<_>>()
    });
    let indexes = prop::collection::vec(any::<prop::sample::Index>(), 1..3);
    let scoped = prop::collection::vec(pattern(), 0..2);
    let authorizers =
        prop::sample::select(vec![vec!["keys"], vec!["roles"], vec!["keys", "roles"], vec!["roles", "keys"]]);
    let key = (prop::collection::vec(pattern(), 1..4), patterns(1));
    let names = (prop::collection::vec(name(), 8), prop::collection::vec(uri(), 8));
    let by = (authorizers, any::<bool>());
    (roles, indexes, scoped, key, by, names).prop_map(
        |(roles, indexes, scoped, key, (authorizers, by_components), (names, uris))| {
            let held = indexes.iter().map(|index| index.index(roles.len())).collect();
            World { roles, held, scoped, key, authorizers, by_components, names, uris }
        },
    )
}

impl World {
    fn config(&self) -> String {
        let role = |(place, role): (usize, &Role)| {
            let inherits: Vec<String> = role.inherits.iter().map(|role| format!("r{role}")).collect();
            let Role { allow, deny, .. } = role;
            format!("r{place} = {{ allow = {allow:?}, deny = {deny:?}, inherits = {inherits:?} }}")
        };
        let roles: Vec<String> = self.roles.iter().enumerate().map(role).collect();
        let mut scoped = self.scoped.clone();
        scoped.dedup();
        let scopes: Vec<String> = scoped.iter().map(|pattern| format!("{pattern:?} = ['admin']")).collect();
        format!(
            "[upstreams.up]\nown_tools = true\n\
             [pipeline]\nauthenticate = ['keys']\nauthorize = {:?}\n\
             [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n{}\
             [policies.roles]\nkind = 'rbac'\n{}config = {{ roles = {{ {} }}, scopes = {{ {} }} }}\n",
            self.authorizers,
            self.component("api-key"),
            self.component("rbac"),
            roles.join(", "),
            scopes.join(", "),
        )
    }

    fn component(&self, kind: &str) -> String {
        match self.by_components {
            true => format!("component = {:?}\nlimits = {{ timeout_ms = 20000 }}\n", component(kind)),
            false => String::new(),
        }
    }

    fn store(&self) -> String {
        let names: Vec<String> = self.held.iter().map(|role| format!("r{role}")).collect();
        store(&names, &self.key.0, &self.key.1)
    }

    /// The complete lists of the upstream.
    fn lists(&self) -> Value {
        let items = |names: &[String], key: &str| -> Vec<Value> {
            names.iter().map(|name| json!({ key: name })).collect()
        };
        json!({
            "tools": items(&self.names, "name"),
            "prompts": items(&self.names, "name"),
            "resources": items(&self.uris, "uri"),
            "resourceTemplates": items(&self.uris, "uriTemplate"),
        })
    }
}

/// A list: its method, its member, an entry's member, and the call of an entry with its parameters.
type List = (&'static str, &'static str, &'static str, &'static str, fn(&str) -> Value);

const LISTS: [List; 4] = [
    ("tools/list", "tools", "name", "tools/call", |name| json!({ "name": name })),
    ("prompts/list", "prompts", "name", "prompts/get", |name| json!({ "name": name })),
    ("resources/list", "resources", "uri", "resources/read", |uri| json!({ "uri": uri })),
    (
        "resources/templates/list",
        "resourceTemplates",
        "uriTemplate",
        "completion/complete",
        |template| json!({ "ref": { "type": "ref/resource", "uri": template }, "argument": { "name": "a", "value": "" } }),
    ),
];

#[test]
fn an_entry_is_listed_exactly_if_its_call_is_allowed() {
    let setup = GenerationSetup::new();
    let (allowed, denied) = (Cell::new(0), Cell::new(0));
    let outcome = TestRunner::new(cases(64)).run(&world(), |world| {
        setup.file("keys.toml", &world.store());
        let generation = RUNTIME.block_on(setup.generation(&world.config()));
        let lists = world.lists();
        let flow = flow(Arc::new(Generations::new(generation, 1)), Says(move |_: &Admitted| lists.clone()));
        for (list, member, key, call, params) in LISTS {
            let answer = RUNTIME.block_on(send(&flow, list, &json!({}))).unwrap();
            let visible = names(&answer["result"][member], key);
            for name in names(&world.lists()[member], key) {
                let may = RUNTIME.block_on(may_call(&flow, call, &params(&name)));
                prop_assert_eq!(may, visible.contains(&name), "{} {:?}", call, name);
                let count = if may { &allowed } else { &denied };
                count.set(count.get() + 1);
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(allowed.get() > 100 && denied.get() > 100, "the rules say little: {allowed:?}, {denied:?}");
}

/// The tools with an argument for the key, those that are shown without it, and those that need no key.
type Patterns = (Vec<String>, Vec<String>, Vec<String>);

/// A caller who can show a key only in an argument sees what may be allowed without one, and what the configuration
/// shows because a call can have one.
#[test]
fn a_tool_is_listed_without_a_key_exactly_if_its_call_may_be_allowed() {
    let setup = GenerationSetup::new();
    setup.file("keys.toml", &store(&["holder".to_owned()], &["*".to_owned()], &[]));
    let tool_pattern = || prop_oneof![1 => Just("*".to_owned()), 3 => "[ab*]{1,2}"];
    let patterns = || prop::collection::vec(tool_pattern(), 1..3);
    let world = (
        patterns(),
        patterns(),
        prop::collection::vec("[ab]{1,2}", 1..3),
        prop::collection::vec("[ab]{1,3}", 8),
    );
    let (callable, shown, hidden) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let outcome = TestRunner::new(cases(64)).run(&world, |(on, lists, open, tools)| {
        let config = argument_config(&(on.clone(), lists.clone(), open));
        let generation = RUNTIME.block_on(setup.generation(&config));
        let list = json!({ "tools": tools.iter().map(|name| json!({ "name": name, "inputSchema": {} })).collect::<Vec<_>>() });
        let flow = flow(Arc::new(Generations::new(generation, 1)), Says(move |_: &Admitted| list.clone()));
        let call = |params: Value| RUNTIME.block_on(send_showing(&flow, "tools/call", &params, Credentials::default()));
        let answer = RUNTIME.block_on(send_showing(&flow, "tools/list", &json!({}), Credentials::default()));
        let visible = answer.unwrap()["result"]["tools"].as_array().unwrap().clone();
        let matches = |patterns: &[String], name: &str| {
            patterns.iter().any(|text| text.parse::<Pattern>().unwrap().matches(TargetKind::Tool, name))
        };
        for name in &tools {
            let entry = visible.iter().find(|entry| entry["name"] == **name);
            let without_key = call(json!({ "name": name, "arguments": {} })).is_ok();
            let has_argument = matches(&on, name);
            let with_key = call(json!({ "name": name, "arguments": { "auth_token": KEY } }));
            prop_assert_eq!(entry.is_some(), without_key || (has_argument && matches(&lists, name)), "{}", name);
            // Elsewhere, the key is an argument like any other, and reaches no tool: nobody has shown it.
            prop_assert_eq!(with_key.is_ok(), has_argument || without_key, "{}: {:?}", name, with_key);
            let schema = entry.map(|entry| &entry["inputSchema"]);
            let is_shown = schema.is_some_and(|schema| schema["properties"]["auth_token"].is_object());
            let is_required = schema.is_some_and(|schema| schema["required"] == json!(["auth_token"]));
            prop_assert_eq!(is_shown, entry.is_some() && has_argument, "{}", name);
            prop_assert_eq!(is_required, is_shown && !without_key, "{}", name);
            let count = if without_key { &callable } else if is_shown { &shown } else { &hidden };
            count.set(count.get() + 1);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(
        [&callable, &shown, &hidden].iter().all(|count| count.get() > 30),
        "{callable:?} {shown:?} {hidden:?}"
    );
}

fn argument_config((on, lists, open): &Patterns) -> String {
    format!(
        "[upstreams.up]\nown_tools = true\n\
         [policies.keys]\nkind = 'api-key'\nargument = {{ name = 'auth_token', on = {on:?} }}\n\
         config = {{ store = 'keys.toml' }}\n\
         [policies.roles]\nkind = 'rbac'\nconfig = {{ roles = {{ public = {{ allow = {open:?} }}, holder = {{ allow = ['*'] }} }} }}\n\
         [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys', 'roles']\n\
         anonymous = {{ roles = ['public'], lists = {lists:?} }}\n"
    )
}

fn names(items: &Value, key: &str) -> Vec<String> {
    items.as_array().unwrap().iter().map(|item| item[key].as_str().unwrap().to_owned()).collect()
}

async fn may_call<U: Upstream>(flow: &Flow<U>, method: &str, params: &Value) -> bool {
    match send(flow, method, params).await {
        Ok(_) => true,
        // The second refusal: no call can have this name.
        Err(Rejection::Denied { .. } | Rejection::Malformed(MessageFault::InvalidParams(_))) => false,
        Err(other) => panic!("{method} {params}: {other:?}"),
    }
}
