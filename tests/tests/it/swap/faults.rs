//! A component that fails during calls: each kind of failure denies with its own reason, and affects nobody else.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use witgate_tests::gateway::{Running, Setup, component};

use super::{PATIENT, policy, user};
use crate::caller::{Answer, Caller, Upstream, metric};

/// Two upstreams, one of them with a failing policy.
fn serve(upstream: &Upstream) -> (Running, Caller, Caller) {
    let setup = Setup::new();
    std::fs::create_dir_all(setup.dir().join("plugins")).unwrap();
    std::fs::copy(component("tests/faulty"), setup.dir().join("plugins/faulty.wasm")).unwrap();
    setup.component("rbac");
    let url = &upstream.url;
    setup.config(
        "",
        &format!(
            "[upstreams.safe]\nurl = \"{url}\"\n[upstreams.unsafe]\nurl = \"{url}\"\n\
             [upstreams.unsafe.pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"faulty\"]\n\
             [policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"keys.toml\" }}\n\
             [policies.faulty]\nkind = \"custom\"\ncomponent = \"plugins/faulty.wasm\"\n\
             limits = {{ timeout_ms = 1500, memory_mib = 8 }}\n\
             [policies.rules]\nkind = \"rbac\"\ncomponent = \"plugins/rbac.wasm\"\n{PATIENT}\n\
             config = {{ roles = {{ user = {{ allow = [\"*\"] }} }} }}\n\
             [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"rules\"]\n"
        ),
    );
    let key = user(&setup);
    let running = setup.serve();
    let caller = |name: &str| Caller::new(format!("http://{}/{name}/mcp", running.address()), Some(&key));
    let (safe, faulty) = (caller("safe"), caller("unsafe"));
    (running, safe, faulty)
}

fn assert_denied(answer: &Answer, reason: &str) {
    assert_eq!((answer.status, answer.reason()), (503, Some(reason)), "{answer:?}");
    assert!(answer.body.get("result").is_none(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_denies_with_its_reason() {
    let upstream = Upstream::start();
    let (running, safe, faulty) = serve(&upstream);
    let failures = [
        ("loops", "timeout"),
        ("traps", "trap"),
        ("eats-memory", "memory"),
        ("talks-nonsense", "bad-output"),
    ];
    for (tool, reason) in failures {
        let answer = faulty.call(tool, json!({})).await;
        assert_denied(&answer, reason);
        assert!(answer.took < Duration::from_secs(10), "{tool}: {answer:?}");
        running.await_log(&format!("reason=\"{reason}\""));
        // The failed instance is gone; the next one works.
        assert!(faulty.call("greet", json!({})).await.is_result(), "after {tool}");
        assert!(safe.call("greet", json!({})).await.is_result(), "after {tool}");
    }
    let failed = metric(&running.admin_url(), "witgate_policy_failures_total", "policy=\"faulty\"").await;
    assert_eq!(failed, 4.0);
    assert_eq!(policy(&running, "faulty")["failures"], 4);
    assert_eq!(policy(&running, "rules")["failures"], 0);
}

/// More guests loop than there are processors; other callers are served meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn endless_loops_do_not_delay_others() {
    let upstream = Upstream::start();
    let (_running, safe, faulty) = serve(&upstream);
    assert!(safe.call("greet", json!({})).await.is_result());
    let mut loops = JoinSet::new();
    for _ in 0..8 {
        let faulty = faulty.clone();
        loops.spawn(async move { faulty.call("loops", json!({})).await });
    }
    let (mut served, mut slowest) = (0, Duration::ZERO);
    while !loops.is_empty() {
        let answer = safe.call("greet", json!({})).await;
        assert!(answer.is_result(), "{answer:?}");
        (served, slowest) = (served + 1, slowest.max(answer.took));
        while let Some(answer) = loops.try_join_next() {
            assert_denied(&answer.unwrap(), "timeout");
        }
    }
    assert!(served >= 5, "{served} calls were served meanwhile");
    assert!(slowest < Duration::from_secs(15), "{slowest:?}");
}

/// The shipped component runs out of memory for an argument that its built-in handles.
#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_replaces_a_failing_shipped_component_if_configured() {
    let upstream = Upstream::start();
    for (fallback, allowed) in [("deny", false), ("builtin", true)] {
        let setup = Setup::new();
        setup.component("rbac");
        let roles = r#"{ user = { allow = ["greet"], conditions = [{ on = "greet", argument = "/name", equals = "you" }] } }"#;
        let rules = format!(
            "component = \"plugins/rbac.wasm\"\nfallback = \"{fallback}\"\nlimits = {{ timeout_ms = 20000, memory_mib = 4 }}\n\
             config = {{ roles = {roles} }}"
        );
        setup.config("", &super::config(&upstream, "", &rules));
        let key = user(&setup);
        let running = setup.serve();
        let caller = Caller::new(running.url(), Some(&key));
        assert!(caller.call("greet", json!({ "name": "you" })).await.is_result());
        let answer = caller.call("greet", json!({ "name": "you", "ballast": "x".repeat(4_000_000) })).await;
        let fallbacks =
            metric(&running.admin_url(), "witgate_policy_fallbacks_total", "policy=\"rules\"").await;
        if allowed {
            assert!(answer.is_result(), "{answer:?}");
            let log = running.await_log("FALLBACK: the component failed");
            assert!(log.contains("reason=\"memory\""), "{log}");
            assert_eq!(policy(&running, "rules")["fallbacks"], 1);
            let denied =
                caller.call("greet", json!({ "name": "me", "ballast": "x".repeat(4_000_000) })).await;
            assert_eq!(denied.reason(), Some("condition"), "the stand-in checks: {denied:?}");
        } else {
            assert_denied(&answer, "memory");
        }
        assert_eq!(fallbacks, f64::from(u8::from(allowed)));
    }
}
