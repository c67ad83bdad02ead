//! Limits, lockouts and denied peers of the real program: shares under load, counts over a reload, the error over stdio,
//! and the commands for operators.

mod buckets;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, await_some, program};
use witgate_tests::wire::Request;

use crate::caller::Caller;

/// Everybody may call the own tools.
const OPEN: &str = "[upstreams.own]\nown_tools = true\n[policies.roles]\nkind = 'rbac'\n\
    [policies.roles.config.roles]\nguest = { allow = ['*'] }\n\
    [pipeline]\nanonymous = { roles = ['guest'] }\nauthorize = ['roles']\n";

/// Callers need a key.
const KEYS: &str = "[upstreams.own]\nown_tools = true\n[policies.keys]\nkind = 'api-key'\n\
    config = { store = 'keys.toml' }\n[pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n";

fn serve(rest: &str, limits: &str) -> Running {
    let setup = Setup::new();
    setup.config("", &format!("{rest}{limits}"));
    setup.serve()
}

/// The same for callers with keys: with the keys of these callers.
fn serve_keys<const N: usize>(limits: &str, names: [&str; N]) -> (Running, [String; N]) {
    let setup = Setup::new();
    setup.config("", &format!("{KEYS}{limits}"));
    let keys = names.map(|name| setup.key(&[name, "--allow", "*"]));
    (setup.serve(), keys)
}

/// The answer of a command, as JSON.
fn asked(gateway: &Running, arguments: &[&str]) -> Value {
    let output = gateway.setup().run(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn status(caller: &Caller) -> u16 {
    caller.call("get_time", json!({})).await.status
}

/// The number of calls that are served, of so many at once.
async fn served(caller: &Caller, calls: usize) -> usize {
    let statuses = join_all((0..calls).map(|_| status(caller))).await;
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
    statuses.into_iter().filter(|status| *status == 200).count()
}

/// Each of two hundred callers sends ten times what their limit permits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_callers_beyond_their_rate_get_their_shares_and_a_quiet_one_everything() {
    let gateway = serve(OPEN, "[limits.calls]\nrate = '2/h'\nper = ['principal']\n");
    let url = gateway.url();
    let callers: Vec<_> =
        (0..200).map(|number| Caller::nameless(&url, &format!("127.0.1.{}", number + 1))).collect();
    let quiet = Caller::nameless(&url, "127.0.2.1");
    let loud = join_all(callers.iter().map(|caller| served(caller, 20)));
    let (shares, quiet) = tokio::join!(loud, served(&quiet, 2));
    assert!(shares.iter().all(|share| *share == 2), "{shares:?}");
    assert_eq!(quiet, 2);
    let limits = asked(&gateway, &["limits"]);
    let limit = &limits["limits"][0];
    assert_eq!(
        (&limit["name"], &limit["rate"], &limit["hits"], &limit["busy"]),
        (&json!("calls"), &json!("2/h"), &json!(3600), &json!(201))
    );
    let buckets = limit["buckets"].as_array().unwrap();
    assert!(buckets.len() == 100 && buckets.iter().all(|bucket| bucket["remaining"] == 0), "{buckets:?}");
    assert!(buckets[0]["of"]["principal"].as_str().unwrap().starts_with("127.0."));
    let metrics =
        reqwest::get(format!("{}/metrics", gateway.admin_url())).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("witgate_limit_hits_total{limit=\"calls\",of=\"rate\"} 3600"), "{metrics}");
    let log = gateway.await_log("outcome=\"rate-limited\"");
    assert!(
        log.lines().any(|line| line.contains("outcome=\"rate-limited\"") && line.contains("limit=\"calls\""))
    );
}

#[tokio::test]
async fn counts_survive_a_reload_that_changes_the_limits() {
    let gateway = serve(OPEN, "[limits.calls]\nrate = '2/h'\n");
    let caller = Caller::new(gateway.url(), None);
    assert_eq!(served(&caller, 3).await, 2);
    gateway.setup().config(
        "",
        &format!("{OPEN}[limits.calls]\nrate = '2/h'\nburst = 3\n[limits.others]\nrate = '9/s'\n"),
    );
    await_some("the new limits", || {
        let limits = asked(&gateway, &["limits"]);
        (limits["limits"].as_array().unwrap().len() == 2).then_some(())
    });
    assert_eq!(served(&caller, 3).await, 1, "three in all");
    gateway.setup().config("", &format!("{OPEN}[limits.calls]\nrate = '0/h'\n"));
    gateway.await_log("permits no call at all");
    assert_eq!(status(&caller).await, 429, "the former limits stay in force");
}

#[tokio::test]
async fn callers_can_ask_what_remains() {
    let limits = "[limits.calls]\nrate = '10/h'\nper = ['principal']\n\
                  [limits.each]\nrate = '5/min'\nper = ['target']\nconcurrent = 2\n";
    let (gateway, keys) = serve_keys(limits, ["ada", "bob"]);
    let [ada, bob] = keys.map(|key| Caller::new(gateway.url(), Some(&key)));
    assert_eq!((status(&ada).await, status(&ada).await, status(&bob).await), (200, 200, 200));
    let limits =
        ada.call("limits_status", json!({})).await.body["result"]["structuredContent"]["limits"].clone();
    let calls = json!({ "name": "calls", "rate": "10/h", "burst": 10, "concurrent": null, "per": ["principal"], "remaining": 7 });
    for (member, value) in calls.as_object().unwrap() {
        assert_eq!(&limits[0][member], value, "{member} in {limits}");
    }
    assert_eq!((&limits[1]["name"], limits[1].get("remaining")), (&json!("each"), None));
    let of_bob =
        bob.call("limits_status", json!({})).await.body["result"]["structuredContent"]["limits"].clone();
    assert_eq!(of_bob[0]["remaining"], 8);
}

#[test]
fn a_hit_over_stdio_is_the_error_of_the_call() {
    let setup = Setup::new();
    setup
        .config("transport = 'stdio'", &format!("{OPEN}[limits.calls]\nrate = '1/h'\nper = ['principal']\n"));
    let mut child = setup.command(&["serve"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut answers = BufReader::new(output).lines();
    let mut call = |id: u32| -> Value {
        let meta = witgate_tests::wire::meta();
        let params = json!({ "name": "get_time", "arguments": {}, "_meta": meta });
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
        writeln!(input, "{message}").unwrap();
        serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap()
    };
    assert!(call(1)["result"].is_object());
    let error = call(2);
    assert_eq!((&error["id"], &error["error"]["code"]), (&json!(2), &json!(429)), "{error}");
    let data = &error["error"]["data"];
    assert_eq!((&data["reason"], &data["limit"]), (&json!("rate-limited"), &json!("calls")));
    assert!(data["retryAfter"].as_u64().is_some_and(|seconds| (3_500..=3_600).contains(&seconds)), "{data}");
    drop(input);
    child.wait().unwrap();
}

#[tokio::test]
async fn operators_see_and_end_a_lockout() {
    let (gateway, [key]) = serve_keys("[lockout]\nfailures = 3\npause_s = 600\n", ["ada"]);
    let (ada, late) =
        (Caller::new(gateway.url(), Some(&key)), Caller::new(gateway.url(), Some(&key)).at("127.0.0.9"));
    assert_eq!(status(&ada).await, 200);
    let guess = |number: u32| Caller::new(gateway.url(), Some(&format!("wg_guess{number:032}")));
    for number in 0..3 {
        assert_eq!(status(&guess(number)).await, 401);
    }
    let begin = Instant::now();
    let refused = guess(3).call("get_time", json!({})).await;
    assert_eq!((refused.status, refused.reason()), (429, Some("locked-out")));
    assert!(begin.elapsed() >= Duration::from_secs(1), "the answer waits, so that guessing is slow");
    assert!(refused.retry_after.is_some_and(|seconds| (500..=600).contains(&seconds)), "{refused:?}");
    assert_eq!((status(&ada).await, status(&late).await), (200, 200), "good keys are not affected");
    // A pause of the network after three guesses. No single credential has failed often enough.
    let count =
        async |of: &str| crate::caller::metric(&gateway.admin_url(), "witgate_lockouts_total", of).await;
    assert_eq!((count("of=\"peer\"").await, count("of=\"credential\"").await), (1.0, 0.0));
    let locked = asked(&gateway, &["lockout", "list"])["locked"].clone();
    assert_eq!((&locked[0]["network"], &locked[0]["failures"]), (&json!("127.0.0.1"), &json!(3)));
    assert_eq!((locked.as_array().unwrap().len(), &locked[1]["network"]), (4, &json!(null)));
    assert_eq!(asked(&gateway, &["lockout", "clear", "127.0.0.1"])["cleared"], 1);
    assert_eq!(status(&guess(4)).await, 401);
    assert_eq!(asked(&gateway, &["lockout", "clear"])["cleared"], 5);
    assert!(gateway.await_log("outcome=\"locked-out\"").contains("locked out after failed authentications"));
}

#[tokio::test]
async fn peers_are_denied_by_command_and_by_configuration() {
    let gateway = serve(OPEN, "");
    let (near, far) = (Caller::new(gateway.url(), None), Caller::nameless(gateway.url(), "127.0.3.7"));
    assert_eq!((status(&near).await, status(&far).await), (200, 200));
    assert_eq!(asked(&gateway, &["peers", "deny", "127.0.3.0/24"])["denied"], json!(["127.0.3.0/24"]));
    assert!(!gateway.setup().run(&["peers", "deny", "127.0.3.0/24"]).status.success(), "twice");
    assert!(!gateway.setup().run(&["peers", "deny", "localhost"]).status.success());
    // An open connection gets a refusal, and a new one no answer.
    let refused = far.call("get_time", json!({})).await;
    assert_eq!((refused.status, refused.reason()), (403, Some("denied-peer")));
    let other = Caller::nameless(gateway.url(), "127.0.3.8");
    assert!(other.try_call("get_time", json!({})).await.is_err());
    assert_eq!(status(&near).await, 200);
    assert_eq!(asked(&gateway, &["peers", "allow", "127.0.3.0/24"])["denied"], json!([]));
    assert_eq!((status(&far).await, status(&other).await), (200, 200));
    gateway.setup().config("deny_peers = ['127.0.3.8']", OPEN);
    await_some("the new configuration", || {
        (asked(&gateway, &["peers", "list"])["configured"] == json!(["127.0.3.8/32"])).then_some(())
    });
    assert_eq!((status(&far).await, status(&other).await), (200, 403));
    assert!(!gateway.setup().run(&["peers", "allow", "127.0.3.8"]).status.success());
}

/// The caller of a child goes away, and the child goes on with the call.
#[tokio::test]
async fn a_call_that_its_caller_has_left_runs_until_the_child_has_answered_it() {
    let child = format!(
        "[upstreams.child]\ncommand = ['{}', '--stdio']\n{}",
        program("fixture-upstream").display(),
        OPEN.split_once("own_tools = true\n").unwrap().1
    );
    let gateway = serve(&child, "[limits.at-once]\nconcurrent = 1\n");
    let request = |method: &str, params: Value| Request::stateful(&gateway.address(), "/mcp", method, params);
    let capabilities = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "c", "version": "1" } });
    let opened = request("initialize", capabilities).send();
    let session = opened.header("mcp-session-id").unwrap().to_owned();
    let call = |seconds: f64| {
        let arguments = json!({ "seconds": seconds, "label": "x" });
        request("tools/call", json!({ "name": "slow_compute", "arguments": arguments }))
            .with("Mcp-Session-Id", &session)
    };
    // A call that comes at the same time as the short one may be refused itself. Then the next attempt has the place.
    let running = await_some("the running call", || {
        let running = call(4.0).open();
        (call(0.0).send().status == 429).then_some(running)
    });
    drop(running);
    gateway.await_log("outcome=\"cancelled\"");
    assert_eq!(call(0.0).send().status, 429, "nobody waits for the call, and the child works on it");
    await_some("its end", || (call(0.0).send().status == 200).then_some(()));
}
