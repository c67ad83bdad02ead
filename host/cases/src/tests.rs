//! Builds policies: faults of their files, and their cases.

use std::fs;

use serde_json::json;

use super::*;
use crate::factory::Factory;
use witgate_base::clock::Clock;
use witgate_component::compile::Compiler;
use witgate_component::engine::Engine;
use witgate_component::load::Loader;
use witgate_component::settings::RemoteKeys;
use witgate_config::environment::Environment;
use witgate_config::resolve;
use witgate_config::secrets::SecretSources;
use witgate_config::{Fallback, PolicyKind};
use witgate_policy::generation::{Generation, Pipeline};
use witgate_testing::shortage::{is_alone, take_descriptors};

/// Builds an API key policy from the files in `dir`. None: it has no fault.
async fn fault(
    loader: &Loader,
    dir: &Path,
    component: Option<&str>,
    cases: Option<&str>,
) -> Option<PolicyError> {
    let config = config::Policy {
        component: component.map(|file| dir.join(file)),
        fallback: Fallback::Builtin,
        cases: cases.map(|file| dir.join(file)),
        ..config::Policy::builtin("keys", PolicyKind::ApiKey, json!({ "store": "keys.toml" }))
    };
    let (keys, remote, secrets) = (Default::default(), RemoteKeys::unreachable(), SecretSources::default());
    let around = Surroundings { dir, keys: &keys, remote: &remote, secrets: &secrets, on_stage: false };
    let making = MakeInputs {
        loader,
        queue: None,
        around,
        clock: &Clock::System,
        passwords: &Arc::default(),
        password_cost: witgate_basic::hash::RECOMMENDED,
        before: None,
        repeated: None,
        stage: None,
        is_observed: false,
    };
    make_rehearsed(&config, making).await.err()
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_neither_missing_nor_invalid() {
    if !is_alone("tests::a_file_that_cannot_be_opened_is_neither_missing_nor_invalid") {
        return;
    }
    let loader = Loader::new(Engine::new().unwrap(), Compiler::Within, None);
    let dir = tempfile::tempdir().unwrap();
    for (file, content) in [("keys.toml", "version = 1\n"), ("keys.wasm", "no component"), ("cases.toml", "")]
    {
        fs::write(dir.path().join(file), content).unwrap();
    }
    let fault = async |component, cases| fault(&loader, dir.path(), component, cases).await;

    assert!(fault(None, None).await.is_none());
    assert!(
        fault(Some("none.wasm"), None).await.is_none(),
        "the built-in decides in place of the missing component"
    );
    assert!(!fault(Some("keys.wasm"), None).await.unwrap().may_pass());
    assert!(!fault(None, Some("cases.toml")).await.unwrap().may_pass());

    take_descriptors();
    let starved = fault(None, None).await.unwrap();
    assert!(starved.may_pass() && starved.message.contains("keys.toml"), "{starved}");
    let starved = fault(Some("keys.wasm"), None).await.unwrap();
    assert!(starved.may_pass() && starved.message.contains("keys.wasm"), "{starved}");
}

/// The pipeline after new rules. From then on, the key store is at `store`.
async fn pipeline_after_new_rules(dir: &Path, store: &str) -> Option<Pipeline> {
    let config = |store: &str, role: &str| {
        let text = format!(
            "[upstreams.own]\nown_tools = true\n\
             [policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"{store}\" }}\n\
             [policies.rules]\nkind = \"rbac\"\nconfig = {{ roles = {{ {role} = {{ allow = [\"*\"] }} }} }}\n\
             [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"rules\"]\n"
        );
        let path = dir.join("witgate.toml");
        fs::write(&path, text).unwrap();
        resolve::load(Some(&path), &Environment::default()).unwrap().config
    };
    fs::write(dir.join("keys.toml"), "version = 1\n").unwrap();
    let loader = Loader::new(Engine::new().unwrap(), Compiler::Within, None);
    let factory = Factory::new(loader, Environment::default(), Clock::System);
    let (first, _) = factory.first(&config("keys.toml", "former"), None).await.unwrap();
    let next = factory.successor(&config(store, "new"), &first, None).await;
    assert!(!next.errors.is_empty());
    next.generation.map(|generation| generation.pipelines()[0].clone())
}

#[tokio::test]
async fn new_rules_wait_for_an_authenticator_that_a_lack_of_resources_delays() {
    let dir = tempfile::tempdir().unwrap();
    // A file that cannot be read from its beginning (EIO), as on a failing disk.
    let pipeline = pipeline_after_new_rules(dir.path(), "/proc/self/mem").await;
    assert!(pipeline.is_none_or(|pipeline| pipeline.next.is_none() && pipeline.authenticate.len() == 1));
}

#[tokio::test]
async fn new_rules_restrict_at_once_beside_an_authenticator_whose_store_is_broken() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("broken.toml"), "no store").unwrap();
    let pipeline = pipeline_after_new_rules(dir.path(), "broken.toml").await.unwrap();
    let next = pipeline.next.unwrap().pipeline;
    assert_eq!((next.authenticate.len(), next.authorize.len()), (1, 1), "former keys, new rules");
}

/// A configuration with these upstreams, and keys at `store`.
fn with_upstreams(dir: &Path, upstreams: &str, store: &str) -> config::Config {
    let text = format!(
        "{upstreams}\n[policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"{store}\" }}\n\
         [policies.rules]\nkind = \"rbac\"\nconfig = {{ roles = {{ user = {{ allow = [\"*\"] }} }} }}\n\
         [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"rules\"]\n"
    );
    let path = dir.join("witgate.toml");
    fs::write(&path, text).unwrap();
    resolve::load(Some(&path), &Environment::default()).unwrap_or_else(|faults| panic!("{faults:?}")).config
}

/// The names of the upstreams at each place; those that are not served any more are in brackets.
fn places(generation: &Generation) -> Vec<String> {
    let name = |pipeline: &Pipeline| match pipeline.is_retired() {
        true => format!("({})", pipeline.upstream),
        false => pipeline.upstream.to_string(),
    };
    generation.pipelines().iter().map(name).collect()
}

#[tokio::test]
async fn each_upstream_has_a_place_that_no_other_gets() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("keys.toml"), "version = 1\n").unwrap();
    let loader = Loader::new(Engine::new().unwrap(), Compiler::Within, None);
    let factory = Factory::new(loader, Environment::default(), Clock::System);
    let upstream =
        |name: &str, path: &str| format!("[upstreams.{name}]\npath = '{path}'\nown_tools = true\n");
    let config = |upstreams: &str| with_upstreams(dir.path(), upstreams, "keys.toml");
    let (a, b) = (upstream("a", "/a"), upstream("b", "/b"));
    let (first, _) = factory.first(&config(&format!("{a}{b}")), None).await.unwrap();
    assert_eq!(places(&first), ["a", "b"]);
    let recipe = first.recipe().clone();
    let mut live = first;
    for (upstreams, expected) in [
        (format!("{a}{b}scopes = ['x']"), vec!["a", "b"]),
        (b.clone(), vec!["(a)", "b"]),
        (format!("{a}{b}"), vec!["(a)", "b", "a"]),
        (format!("{a}{}", upstream("b", "/other")), vec!["(a)", "(b)", "a", "b"]),
    ] {
        let next = factory.successor(&config(&upstreams), &live, None).await;
        assert!(next.errors.is_empty(), "{:?}", next.errors);
        live = next.generation.unwrap();
        assert_eq!(places(&live), expected, "{upstreams}");
        assert!(live.is_whole());
        let retired = live.pipelines().iter().filter(|pipeline| pipeline.is_retired());
        assert!(retired.into_iter().all(|pipeline| pipeline.closed.is_some()));
    }
    // A rollback gives a place of their own to the upstreams that come back.
    let back = factory.repeat(&config(&format!("{a}{b}")), Some(&live), &recipe, 1).await.unwrap();
    assert_eq!(places(&back), ["(a)", "(b)", "a", "(b)", "b"]);
}

#[tokio::test]
async fn a_changed_upstream_waits_until_its_pipeline_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("keys.toml"), "version = 1\n").unwrap();
    fs::write(dir.path().join("broken.toml"), "no store").unwrap();
    let loader = Loader::new(Engine::new().unwrap(), Compiler::Within, None);
    let factory = Factory::new(loader, Environment::default(), Clock::System);
    let config = |path: &str, store: &str| {
        with_upstreams(dir.path(), &format!("[upstreams.a]\npath = '{path}'\nown_tools = true\n"), store)
    };
    let (first, _) = factory.first(&config("/a", "keys.toml"), None).await.unwrap();
    let broken = config("/b", "broken.toml");
    let held = factory.successor(&broken, &first, None).await.generation.unwrap();
    assert_eq!(places(&held), ["a"], "the former upstream stays, with rules that can only restrict");
    assert!(held.pipelines()[0].next.is_some() && !held.pipelines()[0].serves(&broken.upstreams[0], &broken));
    let whole = factory.successor(&config("/b", "keys.toml"), &held, None).await.generation.unwrap();
    assert_eq!(places(&whole), ["(a)", "a"]);
}
