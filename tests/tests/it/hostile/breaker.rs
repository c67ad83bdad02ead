//! A component that fails every time: its circuit breaker opens.

use std::time::{Duration, Instant};

use serde_json::json;
use witgate_tests::gateway::Setup;
use witgate_tests::hostile::Guest;

use crate::caller::{Caller, until};

fn gateway(guest: Guest) -> (witgate_tests::gateway::Running, Caller) {
    let setup = Setup::new();
    setup.config(
        "",
        &format!(
            "[upstreams.own]\nown_tools = true\n\
             [policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"keys.toml\" }}\n\
             [policies.guest]\nkind = \"custom\"\ncomponent = \"{}\"\n\
             breaker = {{ failures = 3, pause_ms = 500 }}\n\
             [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"guest\"]\n",
            guest.file().display()
        ),
    );
    let key = setup.key(&["user", "--allow", "*"]);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    (running, caller)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_always_fails_opens_the_breaker_and_is_probed() {
    let (_running, caller) = gateway(Guest::Traps);
    let reason = async || caller.call("echo", json!({})).await.reason().map(str::to_owned);
    for _ in 0..3 {
        assert_eq!(reason().await.as_deref(), Some("trap"));
    }
    let out = Instant::now();
    assert_eq!(reason().await.as_deref(), Some("breaker"));
    until("the probe", async || (reason().await.as_deref() == Some("trap")).then_some(())).await;
    assert!(out.elapsed() > Duration::from_millis(400), "{:?}", out.elapsed());
    let again = Instant::now();
    assert_eq!(reason().await.as_deref(), Some("breaker"));
    until("the second probe", async || (reason().await.as_deref() == Some("trap")).then_some(())).await;
    assert!(again.elapsed() > Duration::from_millis(900), "{:?}", again.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_fails_every_second_time_keeps_the_breaker_closed() {
    let (_running, caller) = gateway(Guest::TrapsEverySecondTime);
    for call in 0..12 {
        let answer = caller.call("echo", json!({ "text": "mine" })).await;
        assert_eq!(answer.reason(), [None, Some("trap")][call % 2], "{answer:?}");
    }
}
