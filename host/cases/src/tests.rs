//! The making of policies: faults of their files, and their cases.

use std::fs;

use serde_json::json;

use super::*;
use witgate_base::clock::Clock;
use witgate_component::compile::Compiler;
use witgate_component::engine::Engine;
use witgate_component::load::Loader;
use witgate_component::settings::RemoteKeys;
use witgate_config::environment::Environment;
use witgate_config::{Fallback, PolicyKind};
use witgate_testing::shortage::{is_alone, take_descriptors};

/// Makes an API key policy from the files in `dir`. None: it is good.
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
    let (keys, remote, environment) = (Default::default(), RemoteKeys::unreachable(), Environment::default());
    let around =
        Surroundings { dir, keys: &keys, remote: &remote, environment: &environment, on_stage: false };
    let making =
        Making { loader, queue: None, around, clock: &Clock::System, before: None, again: None, stage: None };
    make_rehearsed(&config, making).await.err()
}

#[tokio::test]
async fn what_is_there_and_cannot_be_opened_is_neither_missing_nor_bad() {
    if !is_alone("tests::what_is_there_and_cannot_be_opened_is_neither_missing_nor_bad") {
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
