//! Shadow policies: `plugin diff` shows where they would have decided otherwise.

use serde_json::{Value, json};
use witgate_tests::gateway::Setup;

use super::{ROLES, user};
use crate::caller::{Caller, Upstream, until};

#[tokio::test(flavor = "multi_thread")]
async fn disagreements_of_a_shadow_are_counted_and_change_nothing() {
    let upstream = Upstream::start();
    let setup = Setup::new();
    setup.component("examples/read-only");
    let config = format!(
        "[upstreams.fixture]\nurl = \"{}\"\n\
         [policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"keys.toml\" }}\n\
         [policies.rules]\nkind = \"rbac\"\nconfig = {{ roles = {ROLES} }}\n\
         [policies.stricter]\nkind = \"custom\"\nmode = \"shadow\"\ncomponent = \"plugins/read-only.wasm\"\n\
         config = {{ roles = {ROLES} }}\n\
         limits = {{ timeout_ms = 20000 }}\n\
         [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"rules\", \"stricter\"]\n",
        upstream.url
    );
    setup.config("", &config);
    let key = user(&setup);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    for _ in 0..3 {
        assert!(caller.call("greet", json!({})).await.is_result());
    }
    assert_eq!(caller.call("test_error_handling", json!({})).await.reason(), Some("denied"), "both agree");

    let diff = || {
        let output = running.setup().run(&["plugin", "diff", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["shadows"][0].clone()
    };
    let shadow = until("all four to be judged", async || Some(diff()).filter(|it| it["calls"] == 4)).await;
    assert_eq!(shadow["policy"], "stricter");
    assert_eq!(shadow["disagreements"], 3, "{shadow}");
    let kinds = shadow["kinds"].as_array().unwrap();
    assert_eq!(kinds.len(), 1, "{shadow}");
    assert_eq!(kinds[0]["target"], "greet");
    assert_eq!([&kinds[0]["live"], &kinds[0]["shadow"]], ["allow", "deny"]);
    assert_eq!(running.log().matches("would have decided otherwise").count(), 1, "each kind is logged once");

    let text = running.setup().run(&["plugin", "diff"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("stricter: 3 of 4 calls decided differently, 0 not evaluated"), "{text}");
}
