//! A witness that was written from its specification, in Python: it cosigns the checkpoints of a gateway, and refuses a
//! log that was set back, and one with other lines. And a collector that gets checkpoints as log records.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use prost::Message as _;
use serde_json::{Value, json};
use witgate_audit::note;
use witgate_tests::clients::Clients;
use witgate_tests::gateway::{Running, Setup, await_some, workspace};
use witgate_tests::wire::Request;

use super::directory;
use crate::caller::Caller;

const NAME: &str = "witness.example/1";

/// The witness, for as long as this value lives.
struct PythonWitness {
    child: Child,
    port: u16,
    key: String,
}

impl PythonWitness {
    fn start(setup: &Setup, port: u16) -> Self {
        let mut command = Command::new(Clients::installed().unwrap().python());
        command.arg(workspace().join("tests/judges/witness.py")).arg(setup.dir().join("witness.json"));
        command.arg(NAME).arg(directory(setup).join("public-key")).arg(port.to_string());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (port, key) = line.trim().split_once(' ').unwrap();
        Self { child, port: port.parse().unwrap(), key: key.to_owned() }
    }

    fn place(&self) -> String {
        format!("{{ witness = 'http://127.0.0.1:{}/log', key = '{}' }}", self.port, self.key)
    }
}

impl Drop for PythonWitness {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A gateway whose checkpoints go to `place`, and the key of a caller.
fn with_place(setup: &Setup, place: &str, rest: &str) -> String {
    setup.config(
        "",
        &format!(
            "[upstreams.own]\nown_tools = true\n[policies.keys]\nkind = 'api-key'\n\
             config = {{ store = 'keys.toml' }}\n[pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n\
             [audit]\ndirectory = 'log'\ncheckpoint_to = [{place}]\n{rest}\n"
        ),
    );
    setup.key(&["user", "--allow", "*"])
}

async fn call(running: &Running, key: &str, count: usize) {
    let caller = Caller::new(running.url(), Some(key));
    for _ in 0..count {
        assert!(caller.call("echo", json!({ "text": "x" })).await.is_result());
    }
}

fn stop(running: &mut Running) {
    running.signal("TERM");
    assert_eq!(running.wait(), Some(0));
}

fn verified(setup: &Setup, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = setup.run(&[&["--json", "audit", "verify"], arguments].concat());
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// A page of the admin listener.
fn page(running: &Running, path: &str) -> String {
    let admin = running.admin_url();
    Request::new("GET", admin.trim_start_matches("http://"), path).send().text()
}

/// Waits until the witness fails for this reason, in the log and on the admin listener.
fn await_failing(running: &Running, expected: &str) {
    running.await_log(expected);
    let metrics = page(running, "/metrics");
    assert!(metrics.contains("witgate_audit_checkpoint_places_failing 1\n"), "{metrics}");
    let ready = page(running, "/readyz?verbose");
    assert!(ready.contains(&format!("not taken by the witness {NAME}")), "{ready}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_in_another_language_cosigns_and_refuses_attacks() {
    let setup = Setup::new();
    let witness = PythonWitness::start(&setup, 0);
    let key = with_place(&setup, &witness.place(), "");
    setup.file("witness-key", &witness.key);
    let mut running = setup.serve();
    call(&running, &key, 20).await;
    stop(&mut running);
    let (code, first) = verified(running.setup(), &["--witness", "witness-key"]);
    assert_eq!((code, &first["verdict"]), (Some(0), &json!("intact")), "{first}");
    let seen = &first["witnesses"][0];
    assert_eq!((&seen["name"], &seen["lines"]), (&json!(NAME), &first["lines"]), "{first}");

    let (log, copied) = (directory(running.setup()), running.setup().dir().join("copy"));
    copy(&log, &copied);
    running.start_again();
    running.await_log("serving http");
    call(&running, &key, 30).await;
    stop(&mut running);
    let (_, second) = verified(running.setup(), &[]);
    assert_eq!(second["witnesses"][0]["lines"], second["lines"], "the second process continues the first");

    // The directory is set back to the copy: complete in itself.
    std::fs::remove_dir_all(&log).unwrap();
    copy(&copied, &log);
    running.start_again();
    running.await_log("serving http");
    await_failing(&running, "the log was set back");
    // More lines than the witness knows do not help: they are others.
    call(&running, &key, 60).await;
    await_failing(&running, "that are not those of the log");
    stop(&mut running);
    let (code, third) = verified(running.setup(), &["--witness", "witness-key"]);
    assert_eq!((code, &third["verdict"]), (Some(0), &json!("intact")), "in itself, it is whole: {third}");
    assert!(third["witnesses"][0]["lines"].as_u64() < third["lines"].as_u64(), "{third}");
    // Without a cosignature, what an operator demands is missing.
    for file in std::fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "cosigned") {
            std::fs::remove_file(file).unwrap();
        }
    }
    let (code, without) = verified(running.setup(), &["--witness", "witness-key"]);
    assert_eq!((code, &without["witnesses"][0]["checkpoints"]), (Some(4), &json!(0)), "{without}");
    assert_eq!(verified(running.setup(), &[]).0, Some(0), "the configuration does not demand it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_is_away_stops_no_call_and_gets_the_rest_later() {
    let setup = Setup::new();
    let witness = PythonWitness::start(&setup, 0);
    let key = with_place(&setup, &witness.place(), "");
    let port = witness.port;
    drop(witness);
    let running = setup.serve();
    call(&running, &key, 20).await;
    await_failing(&running, "does not take checkpoints of the audit");
    let _witness = PythonWitness::start(running.setup(), port);
    running.await_log("takes checkpoints of the audit again");
    let (_, seen) = verified(running.setup(), &[]);
    assert!(seen["witnesses"][0]["lines"].as_u64().unwrap() > 20, "{seen}");
}

#[test]
fn a_collector_gets_checkpoints_as_log_records() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint =
        format!("[telemetry]\notlp_endpoint = 'http://{}'\nsample = 0.0", listener.local_addr().unwrap());
    let setup = Setup::new();
    with_place(&setup, "'otlp'", &endpoint);
    let running = setup.serve();
    let (mut stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).unwrap();
    }
    assert!(head.starts_with("POST /v1/logs HTTP/1.1\r\n"), "{head}");
    let head = head.to_lowercase();
    assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
    let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    let request = ExportLogsServiceRequest::decode(body.as_slice()).unwrap();
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!(record.event_name, "witgate.audit.checkpoint");
    let Some(AnyValue::StringValue(text)) = record.body.clone().and_then(|body| body.value) else {
        panic!("{record:?}")
    };
    let keys = await_some("the key", || {
        witgate_audit::public_keys(&directory(running.setup()).join("public-key")).ok()
    });
    assert!(note::open(&format!("{text}\n"), &keys).is_ok(), "{text}");
    let resource = format!("{:?}", request.resource_logs[0].resource);
    assert!(resource.contains("service.name") && resource.contains("witgate"), "{resource}");
}
