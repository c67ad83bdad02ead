//! A recording shows exactly the decisions in which another policy differs.

use serde_json::json;
use witgate_tests::gateway::component;

use super::testbed::Testbed;
use crate::caller::Caller;

#[tokio::test(flavor = "multi_thread")]
async fn changed_rules_change_only_the_answers_that_they_concern() {
    let testbed = Testbed::start();
    let recording = testbed.record("rules-guest", &[]);
    testbed.call("guest").await;
    let recorded = recording.end();
    let rules = recorded.text.replace("[\"echo\"", "[\"add\"");
    assert_ne!(rules, recorded.text);
    std::fs::write(&recorded.file, rules).unwrap();
    let tested = testbed.test(&recorded, &[]);
    assert_eq!(tested.code, Some(1));
    assert_eq!(tested.failed().len(), 5, "each was about one of the two: {:?}", tested.failed());

    let rules = recorded.text.replace("[\"echo\"", "[\"echo\", \"add\"");
    std::fs::write(&recorded.file, rules).unwrap();
    let failed = testbed.test(&recorded, &[]).failed();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].contains("add by ada: denied"), "{failed:?}");
}

/// The cases read the store at its path: after a revocation, the key's own calls have another result.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_changes_only_its_own_answers() {
    let testbed = Testbed::start();
    let recording = testbed.record("keys-own", &[]);
    testbed.call("own").await;
    let recorded = recording.end();
    assert_eq!(testbed.test(&recorded, &[]).code, Some(0));
    let revoked = testbed.gateway.setup().run(&["key", "revoke", "ada", "--policy", "keys-own"]);
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    let tested = testbed.test(&recorded, &[]);
    let failed = tested.failed();
    assert_eq!((tested.code, failed.len()), (Some(1), 2), "{failed:?}");
    assert!(
        failed.iter().all(|name| name.ends_with("identity ada (2 times)") || name.contains("add")),
        "{failed:?}"
    );
}

/// Another component is another policy: this one takes `get_time` for a tool that writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_recording_shows_the_decisions_of_another_component() {
    let testbed = Testbed::start();
    let recording = testbed.record("rules-guest", &[]);
    let url = testbed.url("guest");
    for tool in ["echo", "get_time", "add"] {
        Caller::new(&url, Some(&testbed.ada)).call(tool, json!({ "text": "hello" })).await;
    }
    let recorded = recording.end();
    assert_eq!(recorded.report["cases"], 3, "{}", recorded.text);
    let other = component("examples/read-only");
    let failed = testbed.test(&recorded, &["--component", other.to_str().unwrap()]).failed();
    assert!(failed.iter().any(|name| name.contains("get_time by ada: allow")), "{failed:?}");
    assert!(failed.iter().all(|name| !name.contains("echo")), "{failed:?}");
}
