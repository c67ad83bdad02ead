//! Tests of the limits of calls: what a hit answers, whom it concerns, and what survives a new generation.

use std::sync::Arc;
use std::time::Instant;

use super::lists::{declaring_tasks, with_tasks};
use super::*;

async fn limited(limits: &str) -> TestGateway {
    gateway_with(limits, |request| discovers(request).unwrap_or_else(|| result(request, json!({})))).await
}

async fn calls(gateway: &TestGateway, key: &str, tool: &str) -> Got {
    gateway.modern(key, "tools/call", json!({ "name": tool })).await
}

/// Makes a generation live that has this configuration.
async fn flip_to(gateway: &TestGateway, change: impl Fn(&str) -> String) {
    let path = gateway.folder.path().join("witgate.toml");
    std::fs::write(&path, change(&gateway.config.text)).unwrap();
    let environment = [("TOKEN", "upstreams-own")].into_iter().collect();
    let config =
        resolve::load(Some(&path), &environment).unwrap_or_else(|faults| panic!("{faults:?}")).config;
    let next = gateway.factory.candidate(&config, Some(&gateway.generations.live())).await.unwrap();
    gateway.generations.flip(next);
}

#[tokio::test]
async fn a_caller_beyond_the_limit_learns_which_one_and_when_to_retry() {
    let gateway = limited("[limits.calls]\nrate = '2/h'\nper = ['principal']").await;
    assert_eq!(calls(&gateway, BOB, "a").await.status, 200);
    assert_eq!(calls(&gateway, BOB, "b").await.status, 200);
    let refused = calls(&gateway, BOB, "a").await;
    assert_eq!((refused.status, refused.reason().as_str()), (429, "rate-limited"));
    let data = &refused.json()["error"]["data"];
    let retry_after = refused.headers["retry-after"].to_str().unwrap();
    assert!((1_700..=1_800).contains(&retry_after.parse::<u32>().unwrap()), "{retry_after}");
    assert_eq!(
        (data["limit"].as_str(), data["retryAfter"].to_string()),
        (Some("calls"), retry_after.to_owned())
    );
    assert_eq!(refused.headers["ratelimit-policy"], "\"calls\";q=2;w=3600");
    assert_eq!(refused.headers["ratelimit"], format!("\"calls\";r=0;t={retry_after}").as_str());
    assert_eq!(calls(&gateway, ALICE, "get_a").await.status, 200, "others have buckets of their own");
    let list = gateway.modern(BOB, "tools/list", json!({})).await;
    assert_eq!(list.status, 200, "`*` does not cover methods");
    assert!(gateway.metrics.render().contains("outcome=\"rate-limited\"} 1"));
}

#[tokio::test]
async fn a_refused_call_costs_nothing_elsewhere() {
    let gateway =
        limited("[limits.all]\nrate = '4/h'\n[limits.tool]\nrate = '1/h'\non = ['a']\nper = ['principal']")
            .await;
    assert_eq!(calls(&gateway, BOB, "a").await.status, 200);
    for _ in 0..5 {
        let refused = calls(&gateway, BOB, "a").await;
        assert_eq!((refused.status, &refused.json()["error"]["data"]["limit"]), (429, &json!("tool")));
    }
    // A call that a policy denies does not count either.
    assert_eq!(calls(&gateway, ALICE, "delete").await.status, 403);
    let passed =
        [calls(&gateway, BOB, "b").await, calls(&gateway, BOB, "b").await, calls(&gateway, BOB, "b").await];
    assert!(passed.iter().all(|got| got.status == 200));
    assert_eq!(calls(&gateway, BOB, "b").await.json()["error"]["data"]["limit"], "all");
}

#[tokio::test]
async fn lists_and_handshakes_are_limited_by_method() {
    let gateway = limited(
        "[limits.lists]\nrate = '1/h'\non = ['method:*/list']\nper = ['target']\n\
         [limits.handshakes]\nrate = '1/h'\non = ['method:server/discover']",
    )
    .await;
    for method in ["tools/list", "prompts/list", "server/discover"] {
        assert_ne!(gateway.modern(BOB, method, json!({})).await.status, 429, "{method}");
    }
    for method in ["tools/list", "prompts/list", "server/discover"] {
        assert_eq!(gateway.modern(BOB, method, json!({})).await.status, 429, "{method}");
    }
    assert_eq!(calls(&gateway, BOB, "a").await.status, 200);
}

#[tokio::test]
async fn a_call_is_running_until_its_answer_has_ended() {
    let (feed, stream) = fed();
    let stream = Mutex::new(Some(stream));
    let gateway = gateway_with("[limits.at-once]\nconcurrent = 1\nper = ['principal']", move |request| {
        let streamed = || stream.lock().take();
        discovers(request).or_else(streamed).unwrap_or_else(|| result(request, json!({})))
    })
    .await;
    let params = json!({ "name": "get_it" });
    let lines = modern_lines(BOB, "tools/call", &params);
    feed.send("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n".to_owned()).unwrap();
    let mut running =
        gateway.open("", Method::POST, &lines, modern("tools/call", params.clone()).to_string()).await;
    assert!(running.body_mut().frame().await.is_some());
    let refused = calls(&gateway, BOB, "get_it").await;
    assert_eq!((refused.status, refused.reason().as_str()), (429, "rate-limited"));
    assert_eq!(refused.headers["ratelimit-policy"], "\"at-once\";q=1;qu=\"concurrent-requests\"");
    assert_eq!(calls(&gateway, ALICE, "get_it").await.status, 200);
    feed.send(format!("data: {}\n\n", json!({"jsonrpc": "2.0", "id": 1, "result": {}}))).unwrap();
    drop(feed);
    while running.body_mut().frame().await.is_some() {}
    assert_eq!(calls(&gateway, BOB, "get_it").await.status, 200);
    assert_eq!(calls(&gateway, BOB, "get_it").await.status, 200);
}

#[tokio::test]
async fn a_task_is_a_running_call_until_its_owner_learns_of_its_end() {
    let gateway = gateway_with("[limits.at-once]\nconcurrent = 1\nper = ['principal']", |request| {
        discovers(request).unwrap_or_else(|| match request.json()["method"].as_str() {
            Some("tools/call") => {
                result(request, json!({"resultType": "task", "taskId": "t1", "status": "working"}))
            }
            _ => {
                let status = if request.json()["params"]["last"] == true { "completed" } else { "working" };
                result(request, json!({"resultType": "complete", "taskId": "t1", "status": status}))
            }
        })
    })
    .await;
    let task = |last: bool| json!({ "taskId": "t1", "last": last });
    let call = async || with_tasks(&gateway, BOB, "tools/call", json!({ "name": "get_it" })).await.status;
    assert_eq!((call().await, call().await), (200, 429));
    assert_eq!(with_tasks(&gateway, BOB, "tasks/get", task(false)).await.status, 200);
    assert_eq!(call().await, 429);
    assert_eq!(with_tasks(&gateway, BOB, "tasks/get", task(true)).await.status, 200);
    assert_eq!((call().await, call().await), (200, 429));
}

/// Nobody learns whether a task has begun, so that its call counts until the time limit of the upstream.
#[tokio::test]
async fn a_call_that_may_start_a_task_outlasts_its_caller() {
    let params = json!({ "name": "get_it" });
    for may_start_task in [false, true] {
        let (feed, stream) = fed();
        let stream = Mutex::new(Some(stream));
        let gateway = gateway_with("[limits.at-once]\nconcurrent = 1\nper = ['principal']", move |request| {
            let streamed = || stream.lock().take();
            discovers(request).or_else(streamed).unwrap_or_else(|| result(request, json!({})))
        })
        .await;
        let message = match may_start_task {
            true => declaring_tasks("tools/call", &params),
            false => modern("tools/call", params.clone()),
        };
        let lines = modern_lines(BOB, "tools/call", &params);
        feed.send("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n".to_owned()).unwrap();
        let mut running = gateway.open("", Method::POST, &lines, message.to_string()).await;
        assert!(running.body_mut().frame().await.is_some());
        drop(running);
        // The time limit of this upstream is a second.
        let most = if may_start_task { 5 } else { 500 };
        let mut statuses = Vec::new();
        while statuses.len() < most && statuses.last() != Some(&200) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            statuses.push(calls(&gateway, BOB, "get_it").await.status);
        }
        let is_running = statuses.iter().all(|status| *status == 429);
        assert_eq!(is_running, may_start_task, "{statuses:?}");
        assert_eq!(calls(&gateway, ALICE, "get_it").await.status, 200);
    }
}

#[tokio::test]
async fn counts_survive_a_flip_and_a_new_rate_applies_to_them() {
    let gateway = limited("[limits.calls]\nrate = '2/h'").await;
    assert_eq!(calls(&gateway, BOB, "a").await.status, 200);
    flip_to(&gateway, |text| text.replace("'2/h'", "'2/h'\nburst = 3")).await;
    assert_eq!(calls(&gateway, BOB, "a").await.status, 200);
    assert_eq!(calls(&gateway, BOB, "a").await.status, 200);
    assert_eq!(calls(&gateway, BOB, "a").await.status, 429, "three in all");
    flip_to(&gateway, |text| text.replace("'2/h'", "'3600/h'\nburst = 1")).await;
    let refused = calls(&gateway, BOB, "a").await;
    assert_eq!((refused.status, refused.headers["retry-after"].to_str().unwrap()), (429, "1"));
}

#[tokio::test]
async fn limits_are_for_some_callers_and_some_upstreams() {
    let gateway = limited(
        "[limits.admins]\nrate = '1/h'\nroles = ['admin']\n[limits.keys]\nrate = '3/h'\nkinds = ['api-key']\n\
         [limits.jwts]\nrate = '1/h'\nkinds = ['jwt']\n[limits.stub]\nrate = '2/h'\nupstreams = ['stub']",
    )
    .await;
    assert_eq!(calls(&gateway, BOB, "a").await.status, 200);
    assert_eq!(calls(&gateway, BOB, "a").await.status, 200);
    assert_eq!(calls(&gateway, BOB, "a").await.json()["error"]["data"]["limit"], "stub");
    flip_to(&gateway, |text| text.replace("upstreams = ['stub']", "upstreams = []")).await;
    assert_eq!(calls(&gateway, BOB, "a").await.status, 200);
    assert_eq!(calls(&gateway, BOB, "a").await.json()["error"]["data"]["limit"], "keys");
}

/// Made-up names cost their maker, and nobody else.
#[tokio::test]
async fn made_up_names_do_not_push_out_the_buckets_of_others() {
    let gateway = limited("[limits.calls]\nrate = '1/day'\nper = ['target']").await;
    assert_eq!(calls(&gateway, ALICE, "get_a").await.status, 200);
    let gateway = Arc::new(gateway);
    let limits = gateway.generations.live().limits().clone();
    let [rule] = limits.rules() else { panic!("{limits:?}") };
    for name in 0..200 {
        assert_eq!(calls(&gateway, BOB, &format!("made-up-{name}")).await.status, 200);
    }
    assert_eq!(rule.table.buckets(), 201);
    assert_eq!(calls(&gateway, ALICE, "get_a").await.status, 429);
}

#[tokio::test]
async fn guessing_is_paused_and_good_credentials_pass() {
    let gateway = limited("[lockout]\nfailures = 3").await;
    let guess = |number: u32| format!("guess-{number:026}");
    assert_eq!(calls(&gateway, BOB, "a").await.status, 200);
    for number in 0..3 {
        assert_eq!(calls(&gateway, &guess(number), "a").await.status, 401);
    }
    for number in 3..6 {
        let refused = calls(&gateway, &guess(number), "a").await;
        assert_eq!((refused.status, refused.reason().as_str()), (429, "locked-out"));
        assert!(refused.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() <= 5);
    }
    assert_eq!(calls(&gateway, BOB, "a").await.status, 200, "known as good");
    assert_eq!(calls(&gateway, ALICE, "get_a").await.status, 429, "not known yet");
    for (key, status) in [(guess(7), 429), (BOB.to_owned(), 400)] {
        let unread = gateway.send(Method::POST, &[JSON_BODY, BOTH, ("x-api-key", &key)], "no JSON").await;
        assert_eq!(unread.status, status, "an unknown credential is refused before the message is read");
    }
    let unnamed = gateway.send(Method::POST, &[JSON_BODY, BOTH], call("ping", json!({})).to_string()).await;
    assert_eq!(unnamed.status, 401, "without a credential there is no guess");
    assert!(gateway.metrics.render().contains("outcome=\"locked-out\"} 5"));
}

#[tokio::test]
async fn every_answer_to_a_guess_is_held() {
    let gateway = limited("[lockout]\nfailures = 1").await;
    let guess = |number: u32| format!("guess-{number:026}");
    assert_eq!(calls(&gateway, &guess(0), "a").await.status, 401);
    for method in [Method::GET, Method::DELETE] {
        let (begin, key) = (Instant::now(), guess(1));
        let refused = gateway.send(method, &[BOTH, ("x-api-key", &key)], "").await;
        assert_eq!(refused.status, 429);
        assert!(begin.elapsed() >= Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_credential_for_shadow_policies_is_no_part_of_the_guessed_one() {
    let gateway = limited("[lockout]\nfailures = 3").await;
    flip_to(&gateway, |text| {
        let shadow = "[policies.watch]\nkind = 'api-key'\nmode = 'shadow'\n\
                      config = { store = 'keys.toml', header = 'x-other' }\n[pipeline]\n";
        text.replace("[pipeline]\n", shadow)
            .replace("authenticate = ['keys']", "authenticate = ['keys', 'watch']")
    })
    .await;
    let params = json!({ "name": "get_a" });
    let with = async |key: &str, other: &str| {
        let mut lines = modern_lines(key, "tools/call", &params);
        lines.push(("x-other", other));
        gateway.send(Method::POST, &lines, modern("tools/call", params.clone()).to_string()).await.status
    };
    assert_eq!(with(BOB, "other-0").await, 200);
    for number in 0..3 {
        assert_eq!(with(&format!("guess-{number:026}"), "other").await, 401);
    }
    assert_eq!(with(BOB, "other-1").await, 200, "the good key is known, whatever is beside it");
}

#[tokio::test]
async fn denied_peers_get_no_answer_and_their_open_connections_a_refusal() {
    let gateway = limited("").await;
    assert_eq!(calls(&gateway, BOB, "a").await.status, 200);
    let loopback = "127.0.0.0/8".parse().unwrap();
    gateway.generations.denied_peers().deny(loopback).unwrap();
    // The client keeps its connection.
    let refused = calls(&gateway, BOB, "a").await;
    assert_eq!((refused.status, refused.reason().as_str()), (403, "denied-peer"));
    let mut stream = tokio::net::TcpStream::connect(&gateway.host).await.unwrap();
    let mut read = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut read).await;
    assert!(read.is_empty());
    gateway.generations.denied_peers().allow(loopback);
    assert_eq!(calls(&gateway, BOB, "a").await.status, 200);
    flip_to(&gateway, |text| text.replace("[server]", "[server]\ndeny_peers = ['127.0.0.1']")).await;
    assert_eq!(calls(&gateway, BOB, "a").await.status, 403);
}

#[tokio::test]
async fn behind_a_proxy_the_client_is_denied_and_not_the_proxy() {
    let gateway = limited(
        "trusted_proxies = ['127.0.0.1']\nforwarded = 'x-forwarded-for'\ndeny_peers = ['192.0.2.0/24']\n\
         [lockout]\nfailures = 2",
    )
    .await;
    let from = async |client: &str, key: &str| {
        let params = json!({ "name": "a" });
        let mut lines = modern_lines(key, "tools/call", &params);
        lines.push(("x-forwarded-for", client));
        gateway.send(Method::POST, &lines, modern("tools/call", params.clone()).to_string()).await.status
    };
    assert_eq!(from("192.0.2.7", BOB).await, 403);
    let document = async |method: Method, client: &str| {
        let lines = [
            ("x-forwarded-for", client),
            ("origin", "https://page.example"),
            ("access-control-request-method", "GET"),
        ];
        gateway.send_to("/.well-known/oauth-protected-resource/mcp", method, &lines, "").await.status
    };
    assert_eq!(
        (document(Method::GET, "192.0.2.7").await, document(Method::OPTIONS, "192.0.2.7").await),
        (403, 403)
    );
    assert_eq!(
        (document(Method::GET, "198.51.100.1").await, document(Method::GET, "unclear").await),
        (404, 400)
    );
    assert_eq!(from("198.51.100.1", "wrong-1-0123456789abcdef0123456789").await, 401);
    assert_eq!(from("198.51.100.1", "wrong-2-0123456789abcdef0123456789").await, 401);
    assert_eq!(from("198.51.100.1", "wrong-3-0123456789abcdef0123456789").await, 429);
    assert_eq!(from("198.51.100.2", "wrong-4-0123456789abcdef0123456789").await, 401);
    assert_eq!(from("198.51.100.2", BOB).await, 200);
}
