//! A comparison says that somebody gains access exactly if the function that decides live refuses under the old rules and
//! allows under the new ones.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, empty};
use proptest::prelude::*;
use proptest::test_runner::{Config as ProptestConfig, TestRunner};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use witgate_base::clock::Clock;
use witgate_base::digest::sha256;
use witgate_cases::factory::Factory;
use witgate_component::compile::Compiler;
use witgate_component::engine::Engine;
use witgate_component::load::Loader;
use witgate_config::environment::Environment;
use witgate_config::{Config, resolve};
use witgate_flow::event::Event;
use witgate_flow::limit::Admitted;
use witgate_flow::port::{Answer, AnswerBody, SessionRequest, Upstream};
use witgate_flow::reject::Rejection;
use witgate_flow::request::Route;
use witgate_flow::{Arrival, Flow};
use witgate_message::credential::Credentials;
use witgate_plugin::{Scheme, Transport};
use witgate_policy::generation::{Generation, Generations};
use witgate_runtime::metrics::Metrics;

use super::comparison::{ComparedTarget, ComparedUpstream, Comparison, ComparisonBounds};
use super::difference::{AccessChange, AccessDifference};
use super::scene::DecisionScene;
use crate::routes::routes;

const BOUNDS: ComparisonBounds = ComparisonBounds { questions: 100_000, kept: 100_000, until: None };

/// A directory of configurations, and the factories of their policies.
struct ComparedFolder {
    dir: TempDir,
    /// Makes policies that only explain.
    observing: Factory,
    /// Makes policies that decide.
    deciding: Factory,
    clock: Arc<AtomicU64>,
}

/// A configuration and its policies, which only explain.
struct ComparedSide {
    config: Config,
    generation: Arc<Generation>,
    routes: Vec<Arc<Route>>,
}

impl ComparedSide {
    fn view<'s>(&'s self, clock: &'s AtomicU64) -> DecisionScene<'s> {
        let Self { config, generation, routes } = self;
        DecisionScene { config, generation, routes, clock }
    }
}

impl ComparedFolder {
    /// A folder with these keys, each with its roles.
    fn new(keys: &[(&str, &[&str])]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("keys.toml"), store(keys)).unwrap();
        let clock = Arc::<AtomicU64>::default();
        let factory = |clock| {
            let loader = Loader::new(Engine::new().unwrap(), Compiler::Within, None);
            Factory::new(loader, Environment::default(), clock)
        };
        let observing = factory(Clock::Set(Arc::clone(&clock))).observing();
        Self { dir, observing, deciding: factory(Clock::System), clock }
    }

    async fn made(&self, factory: &Factory, text: &str) -> (Config, Generation) {
        let path = self.dir.path().join("witgate.toml");
        let loaded = resolve::load_text(&path, text, &Environment::default());
        let config = loaded.unwrap_or_else(|faults| panic!("{faults:?}\n{text}")).config;
        let generation = factory.candidate(&config, None).await;
        let generation = generation.unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
        (config, generation)
    }

    async fn side(&self, text: &str) -> ComparedSide {
        let (config, generation) = self.made(&self.observing, text).await;
        ComparedSide { routes: routes(&config), config, generation: Arc::new(generation) }
    }

    /// A gateway with these policies.
    async fn gateway(&self, text: &str) -> Flow<Answering> {
        let (config, generation) = self.made(&self.deciding, text).await;
        let route = Arc::new(crate::routes::route(&config, 0, &config.upstreams[0]));
        let generations = Arc::new(Generations::new(generation, 1));
        Flow::new(route, Answering, generations, &Metrics::default(), CancellationToken::new())
    }

    async fn compare(
        &self,
        (old, new): (&str, &str),
        targets: &[&str],
        bounds: ComparisonBounds,
    ) -> AccessDifference {
        let (old, new) = (self.side(old).await, self.side(new).await);
        let targets = targets.iter().map(|name| ComparedTarget::from((*name).to_owned())).collect();
        let upstream = ComparedUpstream { name: "up".to_owned(), targets, others: Vec::new() };
        let at = witgate_base::clock::since_epoch().as_secs();
        let comparison = Comparison { old: old.view(&self.clock), new: new.view(&self.clock), at, bounds };
        comparison.run(&[upstream], |_, _| {}).await.unwrap()
    }
}

fn config(authorize: &str, rules: &str) -> String {
    format!(
        "[upstreams.up]\nown_tools = true\n[pipeline]\nauthenticate = ['keys']\nauthorize = [{authorize}]\n\
         [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
         [policies.roles]\nkind = 'rbac'\nconfig = {{ {rules} }}\n"
    )
}

/// The text of a key.
fn secret(name: &str) -> String {
    format!("the key of {name}, which is long enough to be one")
}

fn store(keys: &[(&str, &[&str])]) -> String {
    let key = |(name, roles): &(&str, &[&str])| {
        let digest: String =
            sha256(secret(name).as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "[[keys]]\nname = '{name}'\nid = '{name}'\nsha256 = '{digest}'\ncreated = 2026-01-01T00:00:00Z\n\
             roles = {roles:?}\nallow = ['*']\n"
        )
    };
    format!("version = 1\n{}", keys.iter().map(key).collect::<String>())
}

/// The changes of keys: name, target, and the first arguments.
fn of_keys(changes: &[AccessChange]) -> Vec<(&str, &str, Value)> {
    let of_keys = changes.iter().filter(|change| change.kind == "key");
    let arguments =
        |change: &AccessChange| change.arguments.first().cloned().flatten().unwrap_or(Value::Null);
    of_keys.map(|change| (change.principal.as_str(), change.target.as_str(), arguments(change))).collect()
}

#[tokio::test]
async fn known_changes_are_found_with_the_arguments_that_show_them() {
    let folder = ComparedFolder::new(&[("ada", &["user"]), ("ops", &["admin"]), ("eve", &[])]);
    let old = config(
        "'roles'",
        "roles.user = { allow = ['pay', 'get_*'], conditions = [{ on = 'pay', argument = '/amount', max = 10 }] }, \
         roles.admin = { allow = ['*'] }",
    );
    let new = config(
        "'roles'",
        "roles.user = { allow = ['pay', 'get_a'], conditions = [{ on = 'pay', argument = '/amount', max = 20 }] }, \
         roles.admin = { allow = ['*'], deny = ['drop'] }, roles.guest = { allow = ['echo'] }",
    );
    let targets = ["pay", "get_a", "get_b", "drop", "echo", "prompt:hello"];
    let difference = folder.compare((&old, &new), &targets, BOUNDS).await;
    assert!(difference.is_complete(), "{difference:?}");
    assert_eq!(of_keys(&difference.gained), [("ada", "pay", json!({ "amount": 11 }))]);
    let lost = [("ada", "get_b", Value::Null), ("ops", "drop", Value::Null)];
    assert_eq!(of_keys(&difference.lost), lost);
    let guest = difference.gained.iter().find(|change| change.principal == "guest").unwrap();
    assert_eq!(
        (guest.kind, guest.target.as_str(), guest.refusal.as_str()),
        ("role", "echo", "roles: not-allowed")
    );
    let both =
        difference.lost.iter().any(|change| change.principal == "user and admin" && change.target == "get_b");
    assert!(!both, "whoever is an admin, too, may still call it");
    assert_eq!(difference.counts.gained, difference.gained.len());

    let same = folder.compare((&old, &old), &targets, BOUNDS).await;
    assert!(same.is_none() && same.extent.questions > 0, "{same:?}");
}

#[tokio::test]
async fn keys_with_patterns_of_their_own_are_not_taken_together() {
    let folder = ComparedFolder::new(&[("ada", &["user"]), ("bob", &["user"])]);
    let text =
        store(&[("ada", &["user"]), ("bob", &["user"])]).replacen("allow = ['*']", "allow = ['echo']", 1);
    std::fs::write(folder.dir.path().join("keys.toml"), text).unwrap();
    let old = config("'roles', 'keys'", "roles.user = { allow = ['echo'] }");
    let new = config("'roles', 'keys'", "roles.user = { allow = ['echo', 'pay'] }");
    let difference = folder.compare((&old, &new), &["echo", "pay"], BOUNDS).await;
    assert_eq!(of_keys(&difference.gained), [("bob", "pay", Value::Null)]);
}

#[tokio::test]
async fn a_bound_that_is_reached_is_told() {
    let folder = ComparedFolder::new(&[("ada", &["user"])]);
    let (old, new) = (config("'roles'", "roles = {}"), config("'roles'", "roles.user = { allow = ['*'] }"));
    let targets = ["a", "b", "c"];
    let few = folder.compare((&old, &new), &targets, ComparisonBounds { questions: 2, ..BOUNDS }).await;
    assert_eq!((few.extent.questions, few.is_complete()), (2, false), "{few:?}");
    let late = ComparisonBounds { until: Some(Instant::now()), ..BOUNDS };
    let late = folder.compare((&old, &new), &targets, late).await;
    assert_eq!((late.extent.questions, late.is_complete()), (0, false), "{late:?}");
    let unnamed = folder.compare((&old, &new), &targets, ComparisonBounds { kept: 1, ..BOUNDS }).await;
    assert!(unnamed.is_complete() && unnamed.gained.len() == 1 && unnamed.counts.gained > 3, "{unnamed:?}");
}

/// An upstream that answers everything.
struct Answering;

impl Upstream for Answering {
    async fn forward(&self, _: Admitted) -> Result<Answer, Rejection> {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "result": { "content": [] } });
        Ok(Answer { session: None, body: AnswerBody::message(Bytes::from(message.to_string())) })
    }

    async fn listen(&self, _: SessionRequest) -> Result<BoxStream<'static, Event>, Rejection> {
        Ok(empty().boxed())
    }

    async fn close(&self, _: SessionRequest) -> Result<(), Rejection> {
        Ok(())
    }

    async fn shut_down(&self) {}
}

/// True if a gateway with these policies serves a call of a key's owner.
async fn serves(flow: &Flow<Answering>, key: &str, tool: &str, arguments: Option<&Value>) -> bool {
    let mut params = json!({ "name": tool });
    if let Some(arguments) = arguments {
        params["arguments"] = arguments.clone();
    }
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let mut shown = Credentials::default();
    shown.add(Scheme::Bearer, None, SecretString::from(secret(key)));
    let arrival = Arrival {
        transport: Transport::Stdio,
        peer: None,
        known: Default::default(),
        under_way: Default::default(),
        certificate: None,
        headers: Default::default(),
        body: Bytes::from(message.to_string()),
        shown: Some(shown),
        session: None,
    };
    flow.handle(arrival).await.is_ok()
}

/// A role's patterns that allow and deny, and its largest amount.
type WrittenRole = (Vec<String>, Vec<String>, Option<u64>);

fn roles() -> impl Strategy<Value = Vec<WrittenRole>> {
    let pattern = || prop_oneof![1 => Just("*".to_owned()), 5 => "[ab*]{1,2}"];
    let patterns = move |most: usize| prop::collection::vec(pattern(), 0..=most);
    prop::collection::vec((patterns(2), patterns(1), prop::option::of(0..20_u64)), 2)
}

fn rules(roles: &[WrittenRole]) -> String {
    let role = |(place, (allow, deny, most)): (usize, &WrittenRole)| {
        let condition = most.map(|most| format!("{{ on = '*', argument = '/amount', max = {most} }}"));
        let condition = condition.unwrap_or_default();
        format!("r{place} = {{ allow = {allow:?}, deny = {deny:?}, conditions = [{condition}] }}")
    };
    let roles: Vec<_> = roles.iter().enumerate().map(role).collect();
    format!("roles = {{ {} }}", roles.join(", "))
}

/// The keys of the property, each with its roles.
const HOLDERS: [(&str, &[&str]); 4] =
    [("none", &[]), ("first", &["r0"]), ("second", &["r1"]), ("both", &["r0", "r1"])];

/// The arguments that are tried: none, and each amount at and beside a bound.
fn tried() -> impl Iterator<Item = Option<Value>> {
    [None].into_iter().chain((0..=21).map(|amount| Some(json!({ "amount": amount }))))
}

#[test]
fn differences_agree_with_decisions() {
    const TARGETS: [&str; 4] = ["a", "b", "ab", "ba"];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (gains, losses) = (Cell::new(0), Cell::new(0));
    let folder = ComparedFolder::new(&HOLDERS);
    let trial = |(old, new): (Vec<WrittenRole>, Vec<WrittenRole>)| {
        runtime.block_on(async {
            let (old, new) = (config("'roles'", &rules(&old)), config("'roles'", &rules(&new)));
            let difference = folder.compare((&old, &new), &TARGETS, BOUNDS).await;
            prop_assert!(difference.is_complete(), "{:?}", difference);
            let (before, after) = (folder.gateway(&old).await, folder.gateway(&new).await);
            for (key, _) in HOLDERS {
                for tool in TARGETS {
                    let (mut is_gained, mut is_lost) = (false, false);
                    for arguments in tried() {
                        let was = serves(&before, key, tool, arguments.as_ref()).await;
                        let will_be = serves(&after, key, tool, arguments.as_ref()).await;
                        is_gained |= !was && will_be;
                        is_lost |= was && !will_be;
                    }
                    let found = |changes: &[AccessChange]| {
                        let is_it = |change: &&AccessChange| {
                            change.kind == "key" && change.principal == key && change.target == tool
                        };
                        changes.iter().find(is_it).cloned()
                    };
                    let (gained, lost) = (found(&difference.gained), found(&difference.lost));
                    prop_assert_eq!(gained.is_some(), is_gained, "{} {}: {:?}", key, tool, difference);
                    prop_assert_eq!(lost.is_some(), is_lost, "{} {}: {:?}", key, tool, difference);
                    for (change, is_gain) in [(gained, true), (lost, false)] {
                        for arguments in change.into_iter().flat_map(|change| change.arguments) {
                            let was = serves(&before, key, tool, arguments.as_ref()).await;
                            let will_be = serves(&after, key, tool, arguments.as_ref()).await;
                            prop_assert_eq!((was, will_be), (!is_gain, is_gain), "{:?}", arguments);
                        }
                    }
                    gains.set(gains.get() + usize::from(is_gained));
                    losses.set(losses.get() + usize::from(is_lost));
                }
            }
            Ok(())
        })
    };
    let settings = ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(settings).run(&(roles(), roles()), trial).unwrap();
    let (gains, losses) = (gains.get(), losses.get());
    assert!(gains > 20 && losses > 20, "{gains} gains, {losses} losses");
}
