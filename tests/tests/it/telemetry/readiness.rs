//! `/readyz?verbose`: each part with its reason.

use std::fs;

use witgate_tests::gateway::{RefusingPort, await_some};

use super::Observed;

#[test]
fn an_upstream_that_does_not_answer_is_degraded_and_not_unready() {
    let port = RefusingPort::take();
    let url = format!("http://127.0.0.1:{}/mcp", port.number());
    let observed = Observed::start(&format!("[upstreams.main]\nurl = '{url}'"));
    let text = observed.page("/readyz?verbose");
    for part in ["process", "reload", "pipeline/main", "policy/keys", "policy/rules", "upstream/main"] {
        assert!(text.contains(&format!("[+]{part} ok: ")), "{part} is missing in {text}");
    }
    assert!(text.ends_with("\nready\n"), "{text}");

    observed.call("echo");
    let text = observed.page("/readyz?verbose");
    let line = text.lines().find(|line| line.starts_with("[!]upstream/main degraded: ")).unwrap();
    assert!(line.ends_with(": upstream-unreachable"), "{line}");
    assert!(text.ends_with("\nready, but degraded\n"), "{text}");
    assert_eq!(observed.page("/readyz"), "ready\n");
    let metrics = observed.metrics();
    assert!(!metrics.contains("witgate_upstream_failures_in_a_row{upstream=\"main\"} 0\n"), "{metrics}");
}

#[test]
fn a_change_that_is_not_applied_is_told_until_it_is_corrected() {
    let observed = Observed::start("[upstreams.own]\nown_tools = true");
    let path = observed.gateway.setup().dir().join("witgate.toml");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, good.replace("allow = ['*']", "allow = [7]")).unwrap();
    let text = await_some("the refusal", || {
        let text = observed.page("/readyz?verbose");
        text.contains("[!]reload degraded: ").then_some(text)
    });
    assert!(text.contains("rules"), "{text}");
    assert!(observed.metrics().contains("\nwitgate_reload_attempt_success 0\n"));
    fs::write(&path, good).unwrap();
    await_some("the correction", || observed.page("/readyz?verbose").ends_with("\nready\n").then_some(()));
    assert!(observed.metrics().contains("\nwitgate_reload_attempt_success 1\n"));
}
