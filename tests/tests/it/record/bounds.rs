//! The end of a recording, and the left-out calls.

use serde_json::json;
use witgate_tests::gateway::Setup;

use super::testbed::Testbed;
use crate::caller::Caller;

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_ends_after_its_calls_or_its_time() {
    let testbed = Testbed::start();
    let recording = testbed.record("rules-own", &["--calls", "3"]);
    let caller = Caller::new(testbed.url("own"), Some(&testbed.ada));
    for _ in 0..5 {
        assert!(caller.call("echo", json!({ "text": "hello" })).await.is_result());
    }
    let recorded = recording.wait();
    let report = &recorded.report;
    assert_eq!(
        [&report["calls"], &report["cases"], &report["ended"]],
        [&json!(3), &json!(1), &json!("calls")]
    );
    assert!(recorded.text.contains("echo by ada: allow (3 times)"), "{}", recorded.text);

    let nothing = testbed.record("rules-guest", &["--seconds", "1"]).output();
    assert_eq!(nothing.status.code(), Some(1), "there was no call");
    assert!(!testbed.gateway.setup().dir().join("recorded/rules-guest.toml").exists());

    let output =
        testbed.gateway.setup().run(&["plugin", "record", "--policy", "rules-own", "--out", "recorded"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(69) && text.contains("exists already"), "{text}");
}

/// The recording ends when its client goes away, and another one may then begin.
#[tokio::test(flavor = "multi_thread")]
async fn a_recording_ends_with_its_client() {
    let testbed = Testbed::start();
    let recording = testbed.record("rules-own", &[]);
    let output =
        testbed.gateway.setup().run(&["plugin", "record", "--policy", "rules-own", "--out", "other"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(69) && text.contains("is already being recorded"), "{text}");
    recording.signal("KILL");
    drop(recording.output());
    witgate_tests::gateway::await_some("the end of the first", || {
        let log = testbed.gateway.log();
        (log.matches("RECORDING: the calls").count() == log.matches("RECORDING: it has ended").count())
            .then_some(())
    });
    let recording = testbed.record("rules-own", &[]);
    Caller::new(testbed.url("own"), Some(&testbed.ada)).call("echo", json!({ "text": "hello" })).await;
    assert_eq!(recording.end().report["cases"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_ends_when_the_policies_change() {
    let testbed = Testbed::start();
    let recording = testbed.record("rules-own", &[]);
    Caller::new(testbed.url("own"), Some(&testbed.ada)).call("echo", json!({ "text": "hello" })).await;
    let config = testbed.gateway.setup().dir().join("witgate.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("\"get_*\"", "\"put_*\"")).unwrap();
    let recorded = recording.wait();
    assert_eq!([&recorded.report["ended"], &recorded.report["cases"]], [&json!("reload"), &json!(1)]);
    assert!(recorded.text.contains("get_*"), "what was in force then: {}", recorded.text);
}

#[test]
fn a_policy_that_reads_secrets_is_not_recorded() {
    let setup = Setup::new().env("SECRET", "the secret of a webhook's sender, long enough");
    setup.component("examples/read-only");
    setup.config(
        "",
        "[upstreams.own]\nown_tools = true\n[keys.hook]\nsecret = { env = 'SECRET' }\n\
         [policies.own]\nkind = 'custom'\ncomponent = 'plugins/read-only.wasm'\n\
         config = { roles = { user = { allow = ['*'] } } }\n\
         grants = { secrets = ['hook'] }\nlimits = { timeout_ms = 20000 }\n\
         [pipeline]\nanonymous = { roles = ['user'] }\nauthorize = ['own']\n",
    );
    let gateway = setup.serve();
    let record = |policy: &str| {
        let output = gateway.setup().run(&["plugin", "record", "--policy", policy]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = record("own");
    assert!(code == Some(69) && text.contains("reads raw secrets"), "{text}");
    let (code, text) = record("other");
    assert!(code == Some(69) && text.contains("there are: own"), "{text}");
}
