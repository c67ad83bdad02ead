//! Starts that nobody waits for: what begins is counted, and ends.

use futures_util::future::join_all;

use super::*;

/// A child that reads nothing and says nothing, and does not heed the end of its input or SIGTERM.
fn deaf(pids: &std::path::Path, change: impl FnOnce(&mut ChildSettings)) -> Small {
    let script = format!("trap '' TERM; echo $$ >> {}; while :; do sleep 0.05; done", pids.display());
    let argv = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let program = Program {
        name: "deaf".to_owned(),
        argv,
        env: Vec::new(),
        lifetimes: Vec::new(),
        identity: Vec::new(),
        credentials: Arc::default(),
    };
    let mut settings = ChildSettings::new("deaf", false, TIMEOUT, Duration::from_millis(100));
    change(&mut settings);
    Small { upstream: ChildUpstream::new(settings, Arc::new(program), EraCache::default()) }
}

fn running(pids: &std::path::Path) -> usize {
    let pids = std::fs::read_to_string(pids).unwrap_or_default();
    pids.lines().filter(|pid| faults::alive(&pid.parse::<u64>().unwrap().into())).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_disconnect_leave_no_process_and_exceed_no_limit() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let small = deaf(&pids, |settings| settings.children = Capacity { most: 6, most_of_one: 4 });
    let mut most = 0;
    for _ in 0..5 {
        let calls = (0..20).map(|_| async {
            let mut client = small.client("a");
            let _ = timeout(Duration::from_millis(50), client.say(initialize(json!({})))).await;
        });
        join_all(calls).await;
        most = most.max(running(&pids));
    }
    assert!((1..=4).contains(&most), "{most}");
    timeout(TIMEOUT, small.upstream.inner.start.seats.all_free()).await.expect("all of them end");
    assert_eq!((running(&pids), small.upstream.inner.rooms_in_use()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_starting_and_probed_processes() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let small = deaf(&pids, |_| {});
    let (mut older, mut newer) = (small.client("a"), small.client("b"));
    let started = async {
        let request = modern(json!(1), "tools/list", json!({}));
        tokio::join!(older.say(initialize(json!({}))), newer.say(request))
    };
    let stopped = async {
        while running(&pids) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        small.upstream.shut_down().await;
    };
    let ((older, newer), ()) = timeout(TIMEOUT, async { tokio::join!(started, stopped) }).await.unwrap();
    assert!(older.is_err() && newer.is_err());
    assert_eq!(running(&pids), 0);
    assert_eq!(fault_of(small.client("a").say(initialize(json!({}))).await), UpstreamFault::Unreachable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_for_the_era_continues_when_its_caller_disconnects() {
    let small = small("modern", |_| {});
    for _ in 0..20 {
        let mut client = small.client("a");
        let list = client.say(modern(json!(1), "tools/list", json!({})));
        let _ = timeout(Duration::from_millis(1), list).await;
    }
    let asked = async {
        while small.upstream.inner.eras.remembered().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TIMEOUT, asked).await.expect("one question is asked to the end");
}

#[tokio::test]
async fn a_client_that_names_a_lost_session_opens_a_new_one() {
    let small = small("legacy", |_| ());
    let mut client = small.session("a").await;
    let other = small.session("b").await;
    for stale in ["long-gone", other.session.as_deref().unwrap()] {
        client.session = Some(stale.into());
        client.say(initialize(json!({}))).await.unwrap();
        assert_ne!(client.session.as_deref(), Some(stale));
        assert!(client.call(json!(1), "echo", json!({})).await.is_ok());
    }
    let again = client.say(initialize(json!({}))).await.map(|_| ());
    assert!(
        matches!(again, Err(Rejection::Malformed(MessageFault::InvalidRequest(_)))),
        "one that lives: {again:?}"
    );
}
