//! Callers who start servers and disconnect: the number of servers is bounded, and they end.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, await_some, workspace};
use witgate_tests::wire::{Request, STATEFUL};

use crate::caller::{Caller, alive};

/// The bound for one caller.
const MOST_OF_ONE: usize = 16;

/// A Witgate in front of a server that does not end by itself, and the key of a caller without any right.
fn serve(environment: &str) -> (Running, String) {
    let setup = Setup::new();
    let (script, pids) = (workspace().join("tests/tests/it/faulty_server.py"), setup.dir().join("pids"));
    setup.config(
        "shutdown_grace_s = 1",
        &format!(
            "[upstreams.faulty]\ncommand = [\"python3\", {script:?}]\nenv = {{ PIDS = {pids:?}{environment} }}\n\
             [policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"keys.toml\" }}\n\
             [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"keys\"]\n"
        ),
    );
    let key = setup.key(&["nobody", "--role", "nothing"]);
    (setup.serve(), key)
}

/// A process, by proc_pid_stat(5).
struct Process {
    id: u64,
    state: String,
    parent: u64,
}

fn processes() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let process = |id: u64| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let mut fields = stat.rsplit(')').next()?.split_whitespace();
        Some(Process { id, state: fields.next()?.to_owned(), parent: fields.next()?.parse().ok()? })
    };
    ids.filter_map(process).collect()
}

/// The running servers: children of Witgate that have not ended.
fn servers(running: &Running) -> usize {
    let is_server = |process: &Process| {
        let command = std::fs::read(format!("/proc/{}/cmdline", process.id)).unwrap_or_default();
        String::from_utf8_lossy(&command).contains("faulty_server.py")
    };
    let of_witgate = |process: &Process| process.parent == u64::from(running.pid()) && process.state != "Z";
    processes().iter().filter(|process| of_witgate(process) && is_server(process)).count()
}

/// Every process that was ever started, with its descendants.
fn ever_started(running: &Running) -> Vec<u64> {
    let text = std::fs::read_to_string(running.setup().dir().join("pids")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn initialize(running: &Running, key: &str) -> Request {
    let params = json!({ "protocolVersion": STATEFUL, "capabilities": {}, "clientInfo": { "name": "a", "version": "1" } });
    Request::stateful(&running.address(), "/mcp", "initialize", params).with("X-API-Key", key)
}

#[test]
fn a_hundred_aborted_handshakes_exceed_no_limit_and_leave_no_process() {
    let (mut running, key) = serve(", STUBBORN = \"1\"");
    let mut most = 0;
    for _ in 0..10 {
        let open: Vec<TcpStream> = (0..10).map(|_| initialize(&running, &key).open()).collect();
        std::thread::sleep(Duration::from_millis(50));
        drop(open);
        most = most.max(servers(&running));
    }
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        most = most.max(servers(&running));
    }
    assert!((1..=MOST_OF_ONE).contains(&most), "{most} processes at once");
    // They end by themselves, because nobody has a session with them.
    await_some("the servers to end", || (servers(&running) == 0).then_some(()));
    running.signal("TERM");
    assert_eq!(running.wait(), Some(0));
    let left: Vec<u64> = ever_started(&running).into_iter().filter(|pid| alive(*pid)).collect();
    assert!(left.is_empty(), "{left:?} are left");
}

/// Sessions that are open, some that are being opened, and grandchildren that have left their process group.
#[test]
fn a_stop_ends_every_started_process() {
    let (mut running, key) = serve(", STUBBORN = \"1\", ESCAPES = \"1\"");
    for _ in 0..4 {
        assert_eq!(initialize(&running, &key).send().status, 200);
    }
    let _opening: Vec<TcpStream> = (0..4).map(|_| initialize(&running, &key).open()).collect();
    await_some("the servers", || (ever_started(&running).len() >= 12).then_some(()));
    let start = Instant::now();
    running.signal("TERM");
    assert_eq!(running.wait(), Some(0));
    // The grace, and what a process gets to end by itself, on SIGTERM, and by force.
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    let started = ever_started(&running);
    let left: Vec<u64> = started.iter().copied().filter(|pid| alive(*pid)).collect();
    assert!(left.is_empty(), "{left:?} of {} are left", started.len());
}

/// In a container Witgate is process 1, which has the orphans; outside it asks for them.
#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_reaped_and_exit_statuses_of_children_are_kept() {
    let setup = Setup::new();
    let (script, pids) = (workspace().join("tests/tests/it/faulty_server.py"), setup.dir().join("pids"));
    setup.config(
        "",
        &format!(
            "[upstreams.faulty]\ncommand = [\"python3\", {script:?}]\nenv = {{ PIDS = {pids:?} }}\n\
             [policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"keys.toml\" }}\n\
             [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"keys\"]\n"
        ),
    );
    let key = setup.key(&["user", "--allow", "*"]);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    let orphan = caller.call("orphan", json!({})).await.content().as_u64().unwrap();
    let of = |id: u64| processes().into_iter().find(|process| process.id == id);
    await_some("the orphan to be Witgate's, or gone", || {
        of(orphan).is_none_or(|process| process.parent == u64::from(running.pid())).then_some(())
    });
    await_some("the orphan to be buried", || of(orphan).is_none().then_some(()));
    for _ in 0..3 {
        let crashed = caller.call("crash", json!({})).await;
        assert_eq!(crashed.reason(), Some("upstream-unreachable"), "{crashed:?}");
    }
    let log = running.log();
    assert!(log.contains("exit status: 3") && !log.contains("child process lost"), "{log}");
    let zombies =
        || processes().iter().filter(|p| p.parent == u64::from(running.pid()) && p.state == "Z").count();
    await_some("nothing to be unburied", || (zombies() == 0).then_some(()));
}

/// Nothing is started for half a message.
#[test]
fn half_a_handshake_starts_no_process() {
    let (running, key) = serve("");
    for _ in 0..20 {
        let whole = initialize(&running, &key);
        let mut stream = TcpStream::connect(running.address()).unwrap();
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nContent-Length: 500\r\n\r\n{{\"jsonrpc\":",
            running.address()
        );
        stream.write_all(head.as_bytes()).unwrap();
        drop((stream, whole));
    }
    let refused = Request::stateless(&running.address(), "/mcp", "tools/call", json!({ "name": "pids" }));
    let refused = refused.with("X-API-Key", &key).send();
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(ever_started(&running), Vec::<u64>::new(), "who may do nothing starts nothing");
    let _: Value = refused.message();
}
