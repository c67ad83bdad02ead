//! A caller who makes a policy fail loses it, and nobody else does.

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, component};

use crate::caller::{Caller, until};

/// A message of the maximum length, in the form that takes the most memory when parsed.
const LARGE: usize = 2_100_000;

/// A gateway with these authorizers, and callers by the names of their keys. The breaker does not close by itself.
struct Testbed {
    running: Running,
    keys: Vec<String>,
}

impl Testbed {
    fn new(policies: &str, authorize: &str, anonymous: &str, keys: &[&[&str]]) -> Self {
        let setup = Setup::new();
        setup.config(
            "",
            &format!(
                "[upstreams.own]\nown_tools = true\n\
                 [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
                 {policies}\n\
                 [pipeline]\nauthenticate = ['keys']\nauthorize = [{authorize}]\n{anonymous}\n"
            ),
        );
        let keys =
            keys.iter().map(|arguments| setup.key(&[*arguments, &["--policy", "keys"]].concat())).collect();
        Self { running: setup.serve(), keys }
    }

    /// With the guest that fails in the way that the tool's name says.
    fn faulty(callers: usize) -> Self {
        let policy = format!(
            "[policies.rules]\nkind = 'custom'\ncomponent = '{}'\nbreaker = {{ failures = 3, pause_ms = 30000 }}",
            component("tests/faulty").display()
        );
        let names: Vec<_> = (0..callers).map(|caller| format!("caller-{caller}")).collect();
        let keys: Vec<_> = names.iter().map(|name| [name.as_str()]).collect();
        let keys: Vec<_> = keys.iter().map(|key| &key[..]).collect();
        Self::new(&policy, "'rules'", "anonymous = { roles = ['guest'] }", &keys)
    }

    fn caller(&self, place: usize) -> Caller {
        Caller::new(self.running.url(), Some(&self.keys[place]))
    }

    fn anonymous(&self) -> Caller {
        Caller::new(self.running.url(), None)
    }

    fn state(&self, policy: &str) -> Value {
        let all = self.running.plugins();
        let all = all["policies"].as_array().unwrap();
        all.iter().find(|one| one["name"] == policy).unwrap()["state"].clone()
    }
}

async fn reason(caller: &Caller, tool: &str) -> Option<String> {
    caller.call(tool, json!({ "text": "mine" })).await.reason().map(str::to_owned)
}

fn is(reason: Option<String>, expected: &str) {
    assert_eq!(reason.as_deref(), Some(expected));
}

/// Two million bytes that are a million values.
fn large(amount: &Value) -> Value {
    json!({ "amount": amount, "rest": vec![0; LARGE / 2] })
}

#[tokio::test(flavor = "multi_thread")]
async fn large_arguments_of_a_caller_without_a_right_never_reach_a_policy() {
    let rules = format!(
        "[policies.roles]\nkind = 'rbac'\ncomponent = '{}'\nbreaker = {{ failures = 3, pause_ms = 30000 }}\n\
         [policies.roles.config.roles]\nstaff = {{ allow = ['echo'] }}\n\
         [[policies.roles.config.conditions]]\non = 'echo'\nargument = '/amount'\nmax = 10\n",
        component("rbac").display()
    );
    let keys: [&[&str]; 2] = [&["nobody", "--role", "nothing"], &["staff", "--role", "staff"]];
    let testbed = Testbed::new(&rules, "'roles'", "", &keys);
    let (stranger, staff) = (testbed.caller(0), testbed.caller(1));
    for _ in 0..10 {
        is(stranger.call("echo", large(&json!(1))).await.reason().map(str::to_owned), "not-allowed");
        let answer = staff.call("echo", json!({ "amount": 10 })).await;
        assert!(answer.is_result(), "{answer:?}");
    }
    // The argument decides about the right, also beside a large value.
    let answer = staff.call("echo", large(&json!(10))).await;
    assert_ne!(answer.reason(), Some("memory"), "{answer:?}");
    assert!(answer.is_result(), "{:?}", answer.reason());
    is(staff.call("echo", large(&json!(11))).await.reason().map(str::to_owned), "condition");
    is(staff.call("echo", large(&json!(vec![0; LARGE / 4]))).await.reason().map(str::to_owned), "condition");
    assert_eq!(testbed.state("roles"), "live");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_one_caller_open_the_breaker_for_that_caller_alone() {
    let testbed = Testbed::faulty(2);
    let (attacker, other) = (testbed.caller(0), testbed.caller(1));
    for _ in 0..3 {
        is(reason(&attacker, "traps").await, "trap");
    }
    is(reason(&attacker, "traps").await, "breaker");
    is(reason(&attacker, "echo").await, "breaker");
    assert_eq!(testbed.state("rules"), "out-for-some");
    for _ in 0..10 {
        assert_eq!(reason(&other, "echo").await, None);
        is(reason(&attacker, "echo").await, "breaker");
    }
    assert_eq!(reason(&testbed.anonymous(), "echo").await, None);
    testbed.running.await_log("BREAKER: the component keeps failing for one caller");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_without_a_credential_count_by_their_address() {
    let testbed = Testbed::faulty(1);
    let (anonymous, member) = (testbed.anonymous(), testbed.caller(0));
    for _ in 0..3 {
        is(reason(&anonymous, "traps").await, "trap");
    }
    is(reason(&anonymous, "echo").await, "breaker");
    assert_eq!(reason(&member, "echo").await, None, "from the same address, and somebody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_fails_for_several_callers_is_probed_by_another_at_once() {
    let testbed = Testbed::faulty(5);
    for place in 0..3 {
        is(reason(&testbed.caller(place), "traps").await, "trap");
    }
    assert_eq!(testbed.state("rules"), "out");
    for place in 0..3 {
        is(reason(&testbed.caller(place), "echo").await, "breaker");
    }
    // Three callers who conspire do not lock out a fourth, whose call succeeds.
    assert_eq!(reason(&testbed.caller(3), "echo").await, None);
    assert_eq!(reason(&testbed.caller(0), "echo").await, None, "it is back for everybody");
    assert_eq!(testbed.state("rules"), "live");
    // A caller whose call fails has to wait as well.
    for place in 0..3 {
        is(reason(&testbed.caller(place), "traps").await, "trap");
    }
    is(reason(&testbed.caller(4), "traps").await, "trap");
    is(reason(&testbed.caller(3), "echo").await, "breaker");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_an_authenticator_open_the_breaker_for_one_address() {
    let policy = format!(
        "[policies.who]\nkind = 'custom'\ncomponent = '{}'\nconfig = {{ does = 'traps' }}\n\
         breaker = {{ failures = 3, pause_ms = 500 }}",
        component("tests/scripted").display()
    );
    let setup = Setup::new();
    setup.config(
        "",
        &format!(
            "[upstreams.own]\nown_tools = true\n{policy}\n\
             [policies.roles]\nkind = 'rbac'\nconfig = {{ roles = {{}} }}\n\
             [pipeline]\nauthenticate = ['who']\nauthorize = ['roles']\n"
        ),
    );
    let running = setup.serve();
    // Another token each time: invented tokens from one address are no second caller.
    for number in 0..3 {
        let token = format!("token-{number}");
        is(reason(&Caller::with_token(running.url(), &token), "echo").await, "trap");
    }
    let one_more = Caller::with_token(running.url(), "token-more");
    is(reason(&one_more, "echo").await, "breaker");
    until("the probe", async || (reason(&one_more, "echo").await.as_deref() == Some("trap")).then_some(()))
        .await;
    is(reason(&one_more, "echo").await, "breaker");
    running.await_log("BREAKER: the component keeps failing for one caller");
}
