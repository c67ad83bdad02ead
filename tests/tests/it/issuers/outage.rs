//! The server that publishes the keys fails and recovers.

use std::time::{Duration, Instant};

use serde_json::json;
use witgate_tests::gateway::{PATIENCE, Running};
use witgate_tests::issuer::{Issuer, Page, Signer};

use super::{acceptance, call, gateway, outcome, token};

/// Repeats a call until its outcome is the given one. Until then the outcome must be one of `meanwhile`.
fn await_outcome(gateway: &Running, token: &str, wanted: &(u16, String), meanwhile: &[(u16, String)]) {
    let begin = Instant::now();
    loop {
        let found = outcome(&call(gateway, token));
        if found == *wanted {
            return;
        }
        assert!(meanwhile.contains(&found), "{found:?}\n{}", gateway.log());
        assert!(begin.elapsed() < PATIENCE, "still {found:?}\n{}", gateway.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn tokens_are_accepted_on_the_last_good_keys_until_the_issuer_recovers() {
    for component in [false, true] {
        let (issuer, old, new) = (Issuer::start(), Signer::new("old"), Signer::new("new"));
        issuer.publish(&[&old], "max-age=1");
        let gateway = gateway(component, &format!("issuer = '{}'", issuer.url()));
        let good = token(&gateway, &issuer, &old);
        assert_eq!(outcome(&call(&gateway, &good)), acceptance(), "{}", gateway.log());

        issuer.go_away();
        // Beyond the life of the set, which is five seconds; every call is taken, and none waits for long.
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(9) {
            assert_eq!(
                outcome(&call(&gateway, &good)),
                acceptance(),
                "{:?}: {}",
                begin.elapsed(),
                gateway.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        gateway.await_log("the last valid one stays in use");
        // Witgate cannot find out whether such a key exists: that is not the caller's fault.
        let unknown = call(&gateway, &token(&gateway, &issuer, &new));
        assert_eq!(outcome(&unknown).0, 503, "{}", gateway.log());

        issuer.publish(&[&new], "max-age=1");
        issuer.come_back();
        let away = outcome(&unknown);
        await_outcome(&gateway, &token(&gateway, &issuer, &new), &acceptance(), &[away]);
        gateway.await_log("is available again");
        let withdrawn = outcome(&call(&gateway, &good));
        assert_eq!(withdrawn, (401, "unknown-key".to_owned()), "{}", gateway.log());
    }
}

#[test]
fn the_last_good_keys_expire() {
    let (issuer, signer) = (Issuer::start(), Signer::new("a"));
    issuer.publish(&[&signer], "max-age=1");
    let settings = format!("keys = [{{ issuer = '{}', max_stale_s = 2 }}]", issuer.url());
    let gateway = gateway(false, &settings);
    let good = token(&gateway, &issuer, &signer);
    assert_eq!(outcome(&call(&gateway, &good)), acceptance(), "{}", gateway.log());
    issuer.go_away();
    let begin = Instant::now();
    let away = (503, outcome_when_away(&gateway, &good));
    assert!(begin.elapsed() > Duration::from_secs(5), "{:?}", begin.elapsed());
    issuer.come_back();
    await_outcome(&gateway, &good, &acceptance(), &[away]);
}

fn outcome_when_away(gateway: &Running, token: &str) -> String {
    let begin = Instant::now();
    loop {
        match outcome(&call(gateway, token)) {
            (200, _) => assert!(begin.elapsed() < PATIENCE, "still taken"),
            (status, reason) => {
                assert_eq!(status, 503, "{}", gateway.log());
                return reason;
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The server is down from the start: Witgate has no keys.
#[test]
fn no_caller_gets_in_until_there_are_keys() {
    let (issuer, signer) = (Issuer::start(), Signer::new("a"));
    let gateway = gateway(true, &format!("issuer = '{}'", issuer.url()));
    let good = token(&gateway, &issuer, &signer);
    let away = outcome(&call(&gateway, &good));
    assert_eq!(away.0, 503, "{}", gateway.log());
    // A set without a usable key is no set.
    issuer.publish(&[&signer], "max-age=1");
    issuer.put("/jwks", Page::json(&json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] })));
    assert_eq!(outcome(&call(&gateway, &good)).0, 503);
    issuer.publish(&[&signer], "max-age=1");
    await_outcome(&gateway, &good, &acceptance(), &[away]);
}
