//! Authorization servers that are slow, down, faulty or hostile: no caller gets in, every caller learns in time when
//! to retry, no other caller waits, and Witgate recovers by itself.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use witgate_tests::gateway::{Running, Setup};

use super::bad_server::{Bad, BadServer, SLOW};
use super::hello;
use crate::caller::{Answer, Caller, until};

/// Time limit for a denial: the bound of the host, and a reserve for a busy machine.
const BOUND: Duration = Duration::from_secs(15);

/// The audience of all upstreams here.
const AUDIENCE: &str = "https://mcp.example.com/mcp";

fn active() -> String {
    json!({ "active": true, "sub": "somebody", "aud": AUDIENCE, "roles": ["caller"] }).to_string()
}

const INACTIVE: &str = r#"{"active":false}"#;

/// A Witgate with one upstream for each server, guarded by the built-in and, as `NAME-guest`, by the component, and
/// one that asks nobody.
fn serve(servers: &[(String, &BadServer)], settings: &str) -> (Running, String) {
    let setup = Setup::new().env("SECRET", "a-secret");
    setup.component("oauth2-introspection");
    let mut text = String::from(
        "[upstreams.aside]\nown_tools = true\n[upstreams.aside.pipeline]\nauthenticate = [\"keys\"]\n\
         authorize = [\"keys\"]\n[policies.keys]\nkind = \"api-key\"\nconfig = { store = \"keys.toml\" }\n\
         [policies.rules]\nkind = \"rbac\"\nconfig = { roles = { caller = { allow = [\"*\"] } } }\n",
    );
    for (name, server) in servers {
        let endpoint = &server.endpoint;
        for (name, component) in [
            (name.clone(), ""),
            (format!("{name}-guest"), "component = \"plugins/oauth2-introspection.wasm\"\n"),
        ] {
            text += &format!(
                "[upstreams.{name}]\nown_tools = true\n[upstreams.{name}.pipeline]\nauthenticate = [\"{name}\"]\n\
                 authorize = [\"rules\"]\n[policies.{name}]\nkind = \"oauth2-introspection\"\n{component}\
                 [policies.{name}.config]\nendpoint = \"{endpoint}\"\nclient_id = \"witgate\"\n\
                 client_secret = {{ env = \"SECRET\" }}\naudience = \"{AUDIENCE}\"\n{settings}\n"
            );
        }
    }
    setup.config("", &text);
    let key = setup.key(&["aside", "--allow", "*"]);
    (setup.serve(), key)
}

fn caller(witgate: &Running, upstream: &str, token: &str) -> Caller {
    Caller::with_token(format!("http://{}/{upstream}/mcp", witgate.address()), token)
}

#[track_caller]
fn assert_unavailable(what: &str, answer: &Answer) {
    assert_eq!((answer.status, answer.reason()), (503, Some("unavailable")), "{what}: {answer:?}");
    assert!(answer.retry_after.is_some_and(|seconds| (1..=60).contains(&seconds)), "{what}: {answer:?}");
    assert!(answer.took < BOUND, "{what}: {answer:?}");
}

/// Each server causes denials, and once it is well, admits the valid token.
#[tokio::test(flavor = "multi_thread")]
async fn every_fault_denies_until_it_is_repaired() {
    let elsewhere = BadServer::start(Bad::Not(active()));
    let faults = [
        Bad::HangsUp,
        Bad::BreaksOff,
        Bad::Hangs,
        Bad::HangsInTheMiddle,
        Bad::Html,
        Bad::NoJson,
        Bad::Fails,
        Bad::Busy,
        Bad::Refuses,
        Bad::Redirects(elsewhere.endpoint.clone()),
        Bad::SaysBoth,
        Bad::SaysYesInWords,
        Bad::Floods,
        Bad::NoHttp,
    ];
    let servers: Vec<_> = faults.iter().map(|bad| BadServer::start(bad.clone())).collect();
    let named: Vec<_> =
        servers.iter().enumerate().map(|(number, server)| (format!("bad-{number}"), server)).collect();
    let (witgate, _) = serve(&named, "");
    let tried = named.iter().zip(&faults).flat_map(|((name, _), bad)| {
        [name.clone(), format!("{name}-guest")].map(|name| (caller(&witgate, &name, "token"), name, bad))
    });
    let tried: Vec<_> = tried.collect();
    let answers = join_all(tried.iter().map(|(caller, ..)| caller.call("echo", hello()))).await;
    for ((_, name, bad), answer) in tried.iter().zip(&answers) {
        assert_unavailable(&format!("{bad:?}, {name}"), answer);
        if **bad == Bad::Busy {
            assert_eq!(answer.retry_after, Some(17), "{name}");
        }
    }
    assert_eq!(elsewhere.request_count(), 0, "redirects are not followed");
    for server in &servers {
        server.turn(Bad::Not(active()));
    }
    for (caller, ..) in &tried {
        until("it to heal", async || caller.call("echo", hello()).await.is_result().then_some(())).await;
    }
}

/// After a few failures Witgate asks no more, until one request finds that the server is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_failing_is_not_asked_for_a_while() {
    let server = BadServer::start(Bad::Fails);
    let (witgate, _) = serve(&[("bad".to_owned(), &server)], "");
    for upstream in ["bad", "bad-guest"] {
        let before = server.request_count();
        let start = Instant::now();
        for number in 0..60 {
            let answer = caller(&witgate, upstream, &format!("token-{number}")).call("echo", hello()).await;
            assert_unavailable(upstream, &answer);
        }
        // Five, and then one after one second, after two more, after four more …
        let probes = start.elapsed().as_secs() as usize + 1;
        let questions = server.request_count() - before;
        assert!(
            (5..=5 + probes).contains(&questions),
            "{upstream}: {questions} questions in {:?}",
            start.elapsed()
        );
    }
    assert!(witgate.log().contains("requests to it are paused"), "{}", witgate.log());
    server.turn(Bad::Not(active()));
    for upstream in ["bad", "bad-guest"] {
        let caller = caller(&witgate, upstream, "token");
        until("it to be asked again", async || caller.call("echo", hello()).await.is_result().then_some(()))
            .await;
    }
}

/// Hundreds of callers with tokens of their own, in front of a silent server: all get an answer in time, the server is
/// not overrun, and others are not affected.
#[tokio::test(flavor = "multi_thread")]
async fn calls_do_not_queue_behind_a_hanging_server() {
    let server = BadServer::start(Bad::Hangs);
    let (witgate, key) = serve(&[("bad".to_owned(), &server)], "");
    let aside = Caller::new(format!("http://{}/aside/mcp", witgate.address()), Some(&key));
    let callers: Vec<_> =
        (0..300).map(|number| caller(&witgate, "bad", &format!("token-{number}"))).collect();
    let crowd = tokio::spawn(async move { join_all(callers.iter().map(|c| c.call("echo", hello()))).await });
    let mut slowest = Duration::ZERO;
    while !crowd.is_finished() {
        let answer = aside.call("echo", hello()).await;
        assert!(answer.is_result(), "{answer:?}");
        slowest = slowest.max(answer.took);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for answer in crowd.await.unwrap() {
        assert_unavailable("in the crowd", &answer);
    }
    assert!(server.most_open() <= 64, "{} at once", server.most_open());
    assert!(slowest < BOUND / 3, "somebody else waited {slowest:?}");
}

/// Hundreds of unknown tokens from one address, in front of a slow server: other callers get in.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_one_address_leaves_room_for_others() {
    let server = BadServer::start(Bad::Knows("good", active()));
    let (witgate, _) = serve(&[("slow".to_owned(), &server)], "");
    for upstream in ["slow", "slow-guest"] {
        let callers = (0..600).map(|number| caller(&witgate, upstream, &format!("token-{number}")));
        let mut flood: FuturesUnordered<_> =
            callers.map(|caller| async move { caller.call("echo", hello()).await }).collect();
        assert_unavailable("beyond their share", &flood.next().await.unwrap());
        let other = caller(&witgate, upstream, "good").at("127.0.0.2");
        let (answer, _) = tokio::join!(other.call("echo", hello()), flood.count());
        assert!(answer.is_result(), "{upstream}: {answer:?}");
        assert!(answer.took < SLOW, "{upstream} waited for an answer to the flood: {answer:?}");
    }
}

/// Unknown tokens from several addresses, many at once from each: a caller with a valid token gets in at once, also
/// the first time, and known callers stay in.
async fn strangers_keep_nobody_out(upstream: &str, addresses: u8) {
    let server = BadServer::start(Bad::Knows("good", active()));
    let (witgate, _) = serve(&[("slow".to_owned(), &server)], "");
    let known = caller(&witgate, upstream, "good-and-known");
    let answer = known.call("echo", hello()).await;
    assert!(answer.is_result(), "{answer:?}");
    let of_one = |address| {
        let from = caller(&witgate, upstream, "").at(&format!("127.0.1.{address}"));
        (0..300).map(move |number| from.showing_token(format!("token-{address}-{number}")))
    };
    let strangers: Vec<_> = (1..=addresses).flat_map(of_one).collect();
    let flood = join_all(strangers.iter().map(|stranger| stranger.call("echo", hello())));
    let mut flood = std::pin::pin!(flood);
    // Until the strangers wait for their answers, each address as often as it may.
    let crowd = until("the strangers' questions", async || (server.most_open() >= 32).then_some(()));
    tokio::select! {
        _ = &mut flood => panic!("the strangers have their answers already"),
        () = crowd => {}
    }
    let others = async {
        for number in 0..u8::MAX {
            let answer = known.call("echo", hello()).await;
            assert!(answer.is_result(), "let in before, {addresses} addresses, {upstream}: {answer:?}");
            let newcomer = caller(&witgate, upstream, &format!("good-{number}"));
            let answer = newcomer.at(&format!("127.0.2.{number}")).call("echo", hello()).await;
            assert!(answer.is_result(), "{number}, {addresses} addresses, {upstream}: {answer:?}");
        }
    };
    let answers = tokio::select! {
        answers = &mut flood => answers,
        () = others => flood.await,
    };
    let refused = answers.iter().filter(|answer| answer.status == 503).count();
    assert!(refused > 0 && answers.iter().all(|answer| [401, 503].contains(&answer.status)), "{answers:?}");
    let answer = known.call("echo", hello()).await;
    assert!(answer.is_result(), "let in before, {addresses} addresses, {upstream}: {answer:?}");
    assert!(!witgate.log().contains("BREAKER"), "{}", witgate.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_attacking_addresses_keep_no_caller_out() {
    strangers_keep_nobody_out("slow", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_attacking_addresses_keep_no_caller_out() {
    strangers_keep_nobody_out("slow", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_attacking_addresses_keep_no_caller_from_a_component() {
    strangers_keep_nobody_out("slow-guest", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_attacking_addresses_keep_no_caller_from_a_component() {
    strangers_keep_nobody_out("slow-guest", 4).await;
}

/// Many calls at once with one token cause one request. An invalid token does not cause a request on every call
/// either.
#[tokio::test(flavor = "multi_thread")]
async fn many_calls_with_one_token_cause_one_request() {
    let server = BadServer::start(Bad::Slow(Duration::from_millis(500), active()));
    let (witgate, _) = serve(&[("slow".to_owned(), &server)], "negative_ttl_s = 60");
    for upstream in ["slow", "slow-guest"] {
        let before = server.request_count();
        let caller = caller(&witgate, upstream, "token");
        let answers = join_all((0..40).map(|_| caller.call("echo", hello()))).await;
        assert!(answers.iter().all(Answer::is_result), "{answers:?}");
        assert_eq!(server.request_count() - before, 1, "{upstream}");
    }
    server.turn(Bad::Not(INACTIVE.to_owned()));
    for upstream in ["slow", "slow-guest"] {
        let before = server.request_count();
        for _ in 0..10 {
            let answer = caller(&witgate, upstream, "another").call("echo", hello()).await;
            assert_eq!((answer.status, answer.reason()), (401, Some("inactive")), "{answer:?}");
        }
        assert_eq!(server.request_count() - before, 1, "{upstream}");
    }
}

/// An answer is not cached if its caller has disconnected.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_no_call_waited_for_is_not_cached() {
    let server = BadServer::start(Bad::Slow(Duration::from_millis(700), active()));
    let (witgate, _) = serve(&[("slow".to_owned(), &server)], "cache_ttl_s = 0\nnegative_ttl_s = 0");
    for (number, upstream) in ["slow", "slow-guest"].into_iter().enumerate() {
        server.turn(Bad::Slow(Duration::from_millis(700), active()));
        let left = caller(&witgate, upstream, "token");
        let call = tokio::spawn(async move { left.call("echo", hello()).await });
        until("the question", async || (server.request_count() > 2 * number).then_some(())).await;
        call.abort();
        drop(call.await);
        // The server has answered by then, and the caller has disconnected.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        server.turn(Bad::Not(INACTIVE.to_owned()));
        let answer = caller(&witgate, upstream, "token").call("echo", hello()).await;
        assert_eq!((answer.status, answer.reason()), (401, Some("inactive")), "{upstream}: {answer:?}");
    }
}

/// An answer to a request from before `token forget` is not cached for later calls.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_before_a_forget_is_not_cached() {
    let server = BadServer::start(Bad::Not(active()));
    let (witgate, _) = serve(&[("slow".to_owned(), &server)], "cache_ttl_s = 300");
    for upstream in ["slow", "slow-guest"] {
        server.turn(Bad::Slow(Duration::from_millis(3000), active()));
        let token = format!("token-at-{upstream}");
        let before = server.request_count();
        let early = caller(&witgate, upstream, &token);
        let early = tokio::spawn(async move { early.call("echo", hello()).await });
        until("the question", async || (server.request_count() > before).then_some(())).await;
        server.turn(Bad::Not(INACTIVE.to_owned()));
        let forgotten = witgate.setup().run(&["token", "forget", &token]);
        assert!(forgotten.status.success(), "{forgotten:?}");
        // Neither of these calls waits for the old answer, which comes in between.
        for _ in 0..2 {
            let answer = caller(&witgate, upstream, &token).call("echo", hello()).await;
            assert_eq!((answer.status, answer.reason()), (401, Some("inactive")), "{upstream}: {answer:?}");
            until("the early call", async || early.is_finished().then_some(())).await;
        }
        assert!(early.await.unwrap().is_result(), "{upstream}: it was asked about before");
    }
}
