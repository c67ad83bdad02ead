//! A policy's own cases: a candidate that fails one of them does not go live.

use serde_json::json;
use witgate_tests::gateway::Setup;

use super::{PATIENT, config, policy, user};
use crate::caller::{Caller, Upstream, until};

/// The operator's cases, which must pass after every change.
const CASES: &str = r#"
[[case]]
name = "users greet"
call = "greet"
principal = { roles = ["user"] }
expect = "allow"

[[case]]
name = "nobody without a role does"
call = "greet"
principal = { roles = [] }
expect.denied = "not-allowed"

[[case]]
name = "with other settings, guests do"
config.roles.guest.allow = ["greet"]
call = "greet"
listing = true
principal = { subject = "bob", roles = ["guest"], claims = { org = "a" } }
expect = "allow"
"#;

fn write(setup: &Setup, upstream: &Upstream, component: &str, allow: &str) {
    let rules = format!(
        "{component}\ncases = \"rules.cases.toml\"\n\
         config = {{ roles = {{ user = {{ allow = [\"{allow}\"] }} }} }}"
    );
    setup.config("", &config(upstream, "", &rules));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_breaks_a_case_is_refused() {
    for component in ["", &format!("component = \"plugins/rbac.wasm\"\n{PATIENT}")] {
        let upstream = Upstream::start();
        let setup = Setup::new();
        setup.component("rbac");
        setup.file("rules.cases.toml", CASES);
        write(&setup, &upstream, component, "*");
        let key = user(&setup);
        let running = setup.serve();
        let caller = Caller::new(running.url(), Some(&key));
        assert!(caller.call("greet", json!({})).await.is_result());

        write(running.setup(), &upstream, component, "add");
        let why = "case \"users greet\"";
        until(why, async || policy(&running, "rules")["error"].as_str()?.contains(why).then_some(())).await;
        let refused = policy(&running, "rules");
        let error = refused["error"].as_str().unwrap();
        assert!(
            error.contains("denied = \"not-allowed\"") && error.ends_with("instead of \"allow\""),
            "{error}"
        );
        assert!(caller.call("greet", json!({})).await.is_result(), "the live generation stays");
        assert_eq!(running.plugins()["generation"], 1);

        // The cases were at fault: they are watched like all other files.
        running.setup().file("rules.cases.toml", CASES.replace("\"greet\"", "\"add\""));
        until("the mended cases", async || (running.plugins()["generation"] == 2).then_some(())).await;
        assert_eq!(caller.call("greet", json!({})).await.reason(), Some("not-allowed"));
    }
}

#[test]
fn cases_of_an_authenticator_set_the_clock() {
    let setup = Setup::new().env("KEY", "0123456789abcdef0123456789abcdef");
    setup.config(
        "",
        "[upstreams.own]\nown_tools = true\n\
         [policies.keys]\nkind = \"api-key\"\ncases = \"keys.cases.toml\"\nconfig = { store = \"keys.toml\" }\n\
         [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"keys\"]\n",
    );
    setup.file("keys.cases.toml", "");
    let key = setup.key(&["ada", "--role", "user", "--expires", "1h"]);
    let cases = |now: u64, expect: &str| {
        format!(
            "[[case]]\nname = \"ada\"\nnow = {now}\ncredential.header = \"{key}\"\nexpect.{expect}\n\
             [[case]]\nname = \"nobody\"\nnow = {now}\ncredential.basic = \"YTpi\"\nexpect = \"not_mine\"\n"
        )
    };
    let check = |content: &str| {
        setup.file("keys.cases.toml", content);
        let output = setup.run(&["check"]);
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout),
        )
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let good = check(&cases(now, "identity = { subject = \"ada\", roles = [\"user\"] }"));
    assert_eq!(good.0, Some(0), "{}", good.1);
    let later = check(&cases(now + 7200, "refused = \"expired\""));
    assert_eq!(later.0, Some(0), "{}", later.1);

    let wrong = [
        (cases(now, "refused = \"expired\""), "case \"ada\" in"),
        (String::new(), "has 0 cases"),
        ("[[case]]\nname = \"x\"\nexpect = \"allow\"\n".to_owned(), "nothing is asked"),
        ("[[case]]\nname = \"x\"\nexpects = \"allow\"\n".to_owned(), "keys.cases.toml:3"),
        ("[[case]\n".to_owned(), "keys.cases.toml:1"),
    ];
    for (content, why) in wrong {
        let (code, text) = check(&content);
        assert_eq!(code, Some(1), "{content}: {text}");
        assert!(text.contains(why), "{content}: {text}");
        assert!(!text.contains(&key), "{text}");
    }
}
