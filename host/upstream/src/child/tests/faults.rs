//! Children that crash, hang, talk nonsense or too much.

use std::time::Instant;

use super::*;

/// Longer than an interpreter takes to start on a busy machine.
const IMPATIENT: Duration = Duration::from_millis(2500);

#[tokio::test]
async fn a_crash_fails_running_calls_and_the_next_call_gets_a_new_child() {
    let small = small("legacy", |_| {});
    let client = small.session("a").await;
    let (waiting, crashed) =
        tokio::join!(client.call(json!(1), "never", json!({})), client.call(json!(2), "crash", json!({})));
    assert_eq!(fault_of(waiting), UpstreamFault::Unreachable);
    assert_eq!(fault_of(crashed), UpstreamFault::Unreachable);
    let initialized = client.call(json!(3), "initialized", json!({})).await.unwrap();
    assert_eq!(said(&initialized), 1, "the handshake is done again for the client");
}

#[tokio::test]
async fn a_child_that_keeps_crashing_is_restarted_after_a_pause() {
    let small = small("legacy", |_| {});
    let client = small.session("a").await;
    let refused = loop {
        match client.call(json!(1), "crash", json!({})).await {
            Err(Rejection::Upstream { message, .. }) if message.contains("started again in") => {
                break message;
            }
            Err(Rejection::Upstream { .. }) => {}
            other => panic!("{:?}", other.map(|answer| message(&answer))),
        }
    };
    assert!(refused.ends_with(" s"), "{refused}");
    let other = small.session("b").await;
    assert!(other.call(json!(1), "echo", json!({})).await.is_ok(), "others are unharmed");
}

#[tokio::test]
async fn a_hanging_child_is_replaced() {
    let small = small("legacy", |settings| settings.timeout = IMPATIENT);
    let client = small.session("a").await;
    let began = Instant::now();
    assert_eq!(fault_of(client.call(json!(1), "hang", json!({})).await), UpstreamFault::Timeout);
    assert!(began.elapsed() < 20 * IMPATIENT);
    let slot = small.upstream.inner.session(client.session.as_deref().unwrap(), &client.principal).unwrap();
    let hung = slot.slot.running().expect("it is felt for first");
    hung.until_ended().await;
    assert!(client.call(json!(2), "echo", json!({})).await.is_ok());
}

#[tokio::test]
async fn a_single_slow_request_does_not_end_the_child() {
    let small = small("legacy", |settings| settings.timeout = IMPATIENT);
    let client = small.session("a").await;
    assert_eq!(fault_of(client.call(json!(1), "never", json!({})).await), UpstreamFault::Timeout);
    let cancelled = said(&client.call(json!(2), "cancelled", json!({})).await.unwrap());
    assert_eq!(cancelled.as_array().unwrap().len(), 1, "what timed out is cancelled, and the child lives");
}

#[tokio::test]
async fn invalid_lines_are_skipped_and_a_flood_of_them_ends_the_child() {
    let small = small("legacy", |_| {});
    let client = small.session("a").await;
    assert_eq!(said(&client.call(json!(1), "banner", json!({})).await.unwrap()), "well");
    let pid = said(&client.call(json!(2), "pid", json!({})).await.unwrap());
    assert_eq!(said(&client.call(json!(3), "garbage", json!({})).await.unwrap()), pid);
    assert_eq!(said(&client.call(json!(4), "pid", json!({})).await.unwrap()), pid, "its state is kept");
    let flood = json!({"arguments": {"lines": 20_000}});
    assert_eq!(fault_of(client.call(json!(5), "garbage", flood).await), UpstreamFault::BadAnswer);
    assert!(client.call(json!(6), "echo", json!({})).await.is_ok());
}

#[tokio::test]
async fn ids_returned_as_text_are_accepted() {
    let small = small("textual", |_| {});
    let client = small.session("a").await;
    let answer = message(&client.call(json!(1), "echo", json!({})).await.unwrap());
    assert_eq!(answer["id"], 1, "the caller's own comes back as it was");
}

#[tokio::test]
async fn a_huge_line_fails_only_its_call() {
    let small = small("legacy", |_| {});
    let client = small.session("a").await;
    let pid = said(&client.call(json!(1), "pid", json!({})).await.unwrap());
    assert_eq!(fault_of(client.call(json!(2), "huge", json!({})).await), UpstreamFault::Flood);
    assert_eq!(said(&client.call(json!(3), "pid", json!({})).await.unwrap()), pid);
}

#[tokio::test]
async fn unrequested_answers_end_the_child() {
    let small = small("legacy", |_| {});
    let client = small.session("a").await;
    assert_eq!(fault_of(client.call(json!(1), "unasked", json!({})).await), UpstreamFault::Flood);
}

#[tokio::test]
async fn a_flood_waits_for_its_reader_and_fails_for_one_that_does_not_read() {
    let small = small("legacy", |_| {});
    let client = small.session("a").await;
    let params = json!({"_meta": {"progressToken": "t"}});
    let mut events = stream(client.call(json!(1), "flood", params).await.unwrap());
    for step in 0..1000 {
        assert_eq!(next(&mut events).await["params"]["progress"], step);
    }
    // From here on nobody reads; what is kept is bounded, and the end is told.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut rest = 0;
    let last = loop {
        let message = next(&mut events).await;
        if message["id"] == 1 {
            break message;
        }
        rest += 1;
    };
    assert!(rest < 200, "{rest} messages were kept");
    assert_eq!(last["error"]["data"]["reason"], "upstream-flood");
}

#[tokio::test]
async fn processes_that_a_child_started_end_with_it() {
    let small = small("legacy", |_| {});
    let client = small.session("a").await;
    let pids = said(&client.call(json!(1), "grandchild", json!({})).await.unwrap());
    let folder = format!("/proc/{}", pids[1]);
    assert!(std::path::Path::new(&folder).exists());
    small.upstream.shut_down().await;
    assert!(!alive(&pids[0]), "the child");
    // A signal is on its way when `kill` returns; nothing tells when it has arrived.
    tokio::time::timeout(TIMEOUT, async {
        while alive(&pids[1]) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the grandchild lives");
    let late = client.call(json!(2), "echo", json!({})).await;
    assert_eq!(fault_of(late), UpstreamFault::Unreachable);
}

/// True if a process runs; a zombie that nobody has buried does not.
pub(super) fn alive(pid: &Value) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next()).is_some_and(|state| state != 'Z')
}

#[tokio::test]
async fn a_missing_program_is_a_clear_error() {
    let program = Program {
        name: "gone".to_owned(),
        argv: vec!["no-such-program-x".to_owned()],
        env: Vec::new(),
        lifetimes: Vec::new(),
        identity: Vec::new(),
        credentials: Arc::default(),
    };
    let settings = ChildSettings::new("gone", false, TIMEOUT, TIMEOUT);
    let small = Small { upstream: ChildUpstream::new(settings, Arc::new(program), EraCache::default()) };
    let mut client = small.client("a");
    assert_eq!(fault_of(client.say(initialize(json!({}))).await), UpstreamFault::Unreachable);
    assert_eq!(small.upstream.inner.rooms_in_use(), 0);
}

#[tokio::test]
async fn the_number_of_children_is_limited() {
    let small = small("legacy", |settings| settings.children.most_of_one = 2);
    let (_one, _two) = (small.session("a").await, small.session("a").await);
    let mut third = small.client("a");
    let refused = third.say(initialize(json!({}))).await;
    assert!(matches!(refused, Err(Rejection::Full { .. })));
    small.session("b").await;
}

#[tokio::test]
async fn a_caller_of_a_shared_child_that_does_not_read_delays_no_other() {
    let small = small("legacy", |settings| settings.shared = true);
    let (slow, other) = (small.session("a").await, small.session("b").await);
    let params = json!({"arguments": {"steps": 400}, "_meta": {"progressToken": "t"}});
    let _unread = stream(slow.call(json!(1), "progress", params).await.unwrap());
    let began = Instant::now();
    assert!(other.call(json!(1), "echo", json!({})).await.is_ok());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test]
async fn idle_children_are_ended_and_busy_ones_are_not() {
    for shared in [false, true] {
        let small = small("legacy", |settings| {
            settings.shared = shared;
            settings.session_idle = Duration::from_millis(20);
        });
        let (idle, listening) = (small.session("a").await, small.session("b").await);
        let _stream = listening.inbox();
        let inner = &small.upstream.inner;
        tokio::time::sleep(Duration::from_millis(30)).await;
        inner.rooms.lock().end_idle(&inner.settings);
        assert_eq!(inner.rooms_in_use(), 1, "a shared child has another session");
        let gone = idle.call(json!(1), "echo", json!({})).await.map(|_| ());
        assert_eq!(gone, Err(Rejection::SessionNotFound));
        assert!(listening.call(json!(1), "echo", json!({})).await.is_ok());
    }
}
