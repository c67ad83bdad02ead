//! Connections that stay open and idle, under a low limit of file descriptors.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;
use witgate_tests::gateway::{PATIENCE, Running, Setup, await_some, program};
use witgate_tests::wire::{Answer, Request};

use super::testbed::Findings;

const POLICIES: &str = "[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
     [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n";

fn own_tools(server: &str) -> Setup {
    let setup = Setup::new();
    setup.config(server, &format!("[upstreams.own]\nown_tools = true\n{POLICIES}"));
    setup
}

/// The command to serve with a limit of open files, soft and hard.
fn limited(setup: Setup, soft: u64, hard: u64) -> Setup {
    let script = format!("ulimit -Sn {soft}; ulimit -Hn {hard}; exec \"$@\"");
    setup.within(&["sh", "-c", &script, "sh"])
}

fn call(gateway: &Running, key: &str) -> Answer {
    let echo = json!({ "name": "echo", "arguments": { "message": "x" } });
    Request::stateless(&gateway.address(), "/mcp", "tools/call", echo).bearer(key).send()
}

/// Idle connections of this number.
fn idle(address: &str, count: usize) -> Vec<TcpStream> {
    (0..count).filter_map(|_| TcpStream::connect(address).ok()).collect()
}

/// The number of streams that the other end has not closed.
fn open(streams: &[TcpStream]) -> usize {
    let is_open = |stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        matches!(stream.peek(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    };
    streams.iter().filter(|stream| is_open(stream)).count()
}

fn limits_of(pid: u32) -> (u64, u64) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let mut numbers = line.split_whitespace().filter_map(|word| word.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// The attack is 1,100 idle connections. The key is refused as usual, and others are served meanwhile.
#[test]
fn a_revocation_takes_effect_while_connections_use_all_descriptors() {
    let setup = limited(own_tools(""), 1024, 4096);
    let key = setup.key(&["someone", "--allow", "*"]);
    let other = setup.key(&["other", "--allow", "*"]);
    let gateway = setup.serve();
    assert_eq!(limits_of(gateway.pid()), (4096, 4096));
    let streams = idle(&gateway.address(), 1100);
    assert_eq!(call(&gateway, &key).status, 200);
    let revoked = gateway.setup().run(&["key", "revoke", "someone"]);
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    let end = Instant::now() + PATIENCE;
    while call(&gateway, &key).status != 401 {
        assert!(Instant::now() < end, "the key is good for ever after");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(call(&gateway, &other).status, 200);
    assert!(open(&streams) > 0);
}

/// With a low hard limit, connections are bounded below it, and silent ones are closed first.
#[test]
fn idle_connections_make_room_where_descriptors_are_few() {
    let setup = limited(own_tools(""), 400, 400);
    let key = setup.key(&["someone", "--allow", "*"]);
    let gateway = setup.serve();
    gateway.await_log("leaves room for 200 connections");
    let mut streams = Vec::new();
    let mut findings = Findings::default();
    for _ in 0..20 {
        streams.extend(idle(&gateway.address(), 60));
        let answer = call(&gateway, &key);
        findings.check("a call among them", answer.status == 200, &answer);
    }
    await_some("the idle ones to be ended", || (open(&streams) <= 200).then_some(()));
    let (_, files) = gateway.threads_and_files();
    assert!(files < 300, "{files} descriptors are open, of 400");
    let revoked = gateway.setup().run(&["key", "revoke", "someone"]);
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    await_some("the key to be refused", || (call(&gateway, &key).status == 401).then_some(()));
    findings.report();
}

/// A connection with a valid credential stays open, and so does one whose request is running.
#[test]
fn a_known_client_keeps_its_connection() {
    let setup = own_tools("max_connections = 40\nmax_connections_per_peer = 40");
    let key = setup.key(&["someone", "--allow", "*"]);
    let gateway = setup.serve();
    let known = Request::stateless(&gateway.address(), "/mcp", "tools/list", json!({}));
    let known = known.bearer(&key).set("Connection", "keep-alive").open();
    known.set_nonblocking(false).unwrap();
    let mut reader = &known;
    assert!(reader.read(&mut [0; 4096]).unwrap() > 0);
    let mut streams = Vec::new();
    for _ in 0..30 {
        streams.extend(idle(&gateway.address(), 10));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(open(&streams) <= 40);
    assert_eq!(open(std::slice::from_ref(&known)), 1, "the client that is known was cut off");
}

/// One address has its share. If none of its connections can be closed, a new one gets a refusal with the reason at
/// once.
#[test]
fn connections_of_one_address_are_limited() {
    // An upstream that accepts calls and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let setup = Setup::new();
    let upstream =
        format!("[upstreams.silent]\nurl = 'http://{}/mcp'\n{POLICIES}", silent.local_addr().unwrap());
    setup.config("max_connections = 100\nmax_connections_per_peer = 10", &upstream);
    let key = setup.key(&["someone", "--allow", "*"]);
    let gateway = setup.serve();
    let call =
        Request::stateful(&gateway.address(), "/mcp", "tools/call", json!({ "name": "x" })).bearer(&key);
    let calls: Vec<_> = (0..10).map(|_| call.open()).collect();
    for _ in 0..10 {
        let upstream = silent.accept().unwrap().0;
        // Held open for as long as the test.
        std::mem::forget(upstream);
    }
    let refused = Request::new("GET", &gateway.address(), "/nothing").send();
    assert_eq!(refused.refusal(), (503, 503, "too-many-connections".to_owned()), "{refused:?}");
    let decision = refused.message()["error"]["data"]["decision"].clone();
    assert_eq!(refused.header("witgate-decision"), decision.as_str().filter(|id| id.len() == 32));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(open(&calls), 10, "calls under way were cut off");
    let metrics = Request::new("GET", gateway.admin_url().trim_start_matches("http://"), "/metrics").send();
    assert!(
        metrics.text().contains("witgate_connections_refused_total{of=\"peer\"} 1"),
        "{}",
        metrics.text()
    );
    drop(calls);
    await_some("it to be served again", || {
        (Request::new("GET", &gateway.address(), "/nothing").send().status == 404).then_some(())
    });
}

/// Children of Witgate have the limit that Witgate was started with.
#[test]
fn children_keep_the_original_descriptor_limit() {
    let setup = limited(Setup::new(), 300, 2000);
    let fixture = program("fixture-upstream");
    let upstream = format!("[upstreams.child]\ncommand = ['{}', '--stdio']\n{POLICIES}", fixture.display());
    setup.config("", &upstream);
    let key = setup.key(&["someone", "--allow", "*"]);
    let gateway = setup.serve();
    assert_eq!(limits_of(gateway.pid()), (2000, 2000));
    let list = Request::stateless(&gateway.address(), "/mcp", "tools/list", json!({})).bearer(&key).send();
    assert_eq!(list.status, 200, "{list:?}");
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", gateway.pid())).unwrap();
    let others = std::fs::read_dir(format!("/proc/{}/task", gateway.pid()))
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    let children: Vec<u32> = std::iter::once(children)
        .chain(others)
        .flat_map(|line| line.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect();
    assert!(!children.is_empty());
    for child in children {
        assert_eq!(limits_of(child), (300, 2000));
    }
}

/// Processor time that a process has used.
fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn set_limit(pid: u32, soft: u64) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap());
    let resource = rustix::process::Resource::Nofile;
    let limit = rustix::process::Rlimit { current: Some(soft), maximum: Some(4096) };
    rustix::process::prlimit(pid, resource, limit).unwrap();
}

/// Without descriptors, connections are neither refused for ever nor waited for in a loop.
#[test]
fn connections_are_accepted_again_after_a_lack_of_descriptors() {
    let setup = limited(own_tools(""), 4096, 4096);
    let key = setup.key(&["someone", "--allow", "*"]);
    let gateway = setup.serve();
    assert_eq!(call(&gateway, &key).status, 200);
    let (_, files) = gateway.threads_and_files();
    set_limit(gateway.pid(), files as u64 + 5);
    let streams = idle(&gateway.address(), 50);
    gateway.await_log("cannot accept a connection");
    let before = processor_time(gateway.pid());
    std::thread::sleep(Duration::from_secs(2));
    let used = processor_time(gateway.pid()) - before;
    assert!(used < Duration::from_millis(500), "{used:?} of processor time in two seconds");
    // Idle ones make room even then.
    await_some("a call to be answered", || (call(&gateway, &key).status == 200).then_some(()));
    set_limit(gateway.pid(), 4096);
    await_some("all to be taken", || (call(&gateway, &key).status == 200).then_some(()));
    drop(streams);
}
