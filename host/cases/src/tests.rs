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
use witgate_policy::generation::Pipeline;
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
