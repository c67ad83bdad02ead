//! A newcomer's first hour: the files of `init` use components, and one of these is swapped while the gateway runs.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};
use witgate_base::digest::{digest_text, sha256};
use witgate_tests::gateway::{Setup, await_some, component};

use crate::caller::Caller;
use crate::swap::policy;

const KINDS: [&str; 6] = ["api-key", "basic", "client-certificate", "jwt", "oauth2-introspection", "rbac"];

/// The output of `init --json`, with the starter's server and address replaced by those of the test.
fn init(setup: &Setup, arguments: &[&str]) -> Value {
    let config = setup.dir().join("witgate.toml");
    let start = ["init", "--json", "--config", config.to_str().unwrap()];
    let output = setup.run(&[&start, arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&config).unwrap();
    let server = text.lines().find(|line| line.starts_with("command = ")).unwrap();
    let text = text.replace(server, "own_tools = true").replace("127.0.0.1:8787", &setup.address());
    fs::write(&config, text).unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_built_in_can_be_swapped_for_a_component_and_back() {
    let setup = Setup::new();
    let output = init(&setup, &[]);
    let config = setup.dir().join("witgate.toml");
    let running = setup.serve();
    for (name, kind) in [("keys", "api-key"), ("roles", "rbac")] {
        let shipped = digest_text(&sha256(&fs::read(component(kind)).unwrap()));
        assert_eq!(policy(&running, name)["digest"], shipped, "{}", running.plugins());
    }
    let caller = Caller::new(running.url(), output["key"].as_str());
    assert_eq!(caller.call("echo", json!({ "message": "hi", "text": "hi" })).await.status, 200);

    let starter = fs::read_to_string(&config).unwrap();
    let without = starter.replace("component = \"plugins/rbac.wasm\"", "# component = \"plugins/rbac.wasm\"");
    let without = without.replace("\nfallback = \"builtin\"\n", "\n# fallback = \"builtin\"\n");
    assert_ne!(starter, without);
    for (text, built_in) in [(&without, true), (&starter, false)] {
        fs::write(&config, text).unwrap();
        await_some("the other check", || {
            (policy(&running, "roles")["digest"].is_null() == built_in).then_some(())
        });
        assert_eq!(caller.call("echo", json!({ "message": "hi", "text": "hi" })).await.status, 200);
        assert_eq!(caller.call("get-env", json!({})).await.status, 403);
    }
}

/// As many as the check takes that is built in, without a setting.
#[test]
fn twenty_thousand_keys_fit_into_the_component() {
    let setup = Setup::new();
    init(&setup, &[]);
    let path = setup.dir().join("keys.toml");
    let mut store = fs::read_to_string(&path).unwrap();
    for n in 0..20_000 {
        let digest: String =
            sha256(format!("wgk_{n}").as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        writeln!(
            store,
            "\n[[keys]]\nname = \"user-{n:05}\"\nid = \"{n:05}\"\nsha256 = \"{digest}\"\n\
             created = 2026-01-01T00:00:00Z\nroles = [\"user\"]\nallow = [\"get-*\", \"tool-{n}\"]"
        )
        .unwrap();
    }
    fs::write(&path, store).unwrap();
    let checked = setup.run(&["check"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn init_works_without_components_if_requested() {
    let setup = Setup::new();
    let report = init(&setup, &["--builtin"]);
    assert_eq!(report["components"], json!([]));
    assert!(!setup.dir().join("plugins").exists());
    let checked = setup.run(&["check"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let running = setup.serve();
    assert!(policy(&running, "roles")["digest"].is_null());
}

#[test]
fn the_program_exports_its_components_and_overwrites_no_file() {
    let setup = Setup::new();
    let export = |more: &[&str]| setup.run(&[&["plugin", "export", "--to", "out"], more].concat());
    let output = export(&[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for kind in KINDS {
        let content = fs::read(setup.dir().join(format!("out/{kind}.wasm"))).unwrap();
        assert!(
            content == fs::read(component(kind)).unwrap(),
            "{kind} is another than what the sources make"
        );
    }
    let again = String::from_utf8(export(&[]).stdout).unwrap();
    assert_eq!(again.matches("(unchanged)").count(), KINDS.len(), "{again}");

    let rbac = setup.file("out/rbac.wasm", "mine");
    let refused = export(&["api-key", "rbac"]);
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && text.contains("out/rbac.wasm exists already"), "{text}");
    assert_eq!(fs::read_to_string(&rbac).unwrap(), "mine");
    assert!(export(&["rbac", "--force"]).status.success());
    assert_ne!(fs::read(&rbac).unwrap(), b"mine");
    assert_eq!(export(&["cedar"]).status.code(), Some(2));
}
