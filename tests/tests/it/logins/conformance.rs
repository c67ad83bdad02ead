//! The part of the official conformance suite for authorization servers.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Command;

use witgate_tests::gateway::{free_port, workspace};

use super::*;

/// The checks of a run, each with its verdict.
fn verdicts(folder: &Path) -> Vec<(String, String)> {
    let mut verdicts = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            verdicts.extend(self::verdicts(&entry));
        } else if entry.file_name().is_some_and(|name| name == "checks.json") {
            let checks: Vec<Value> = serde_json::from_slice(&std::fs::read(entry).unwrap()).unwrap();
            let text = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
            verdicts.extend(checks.iter().map(|check| (text(check, "id"), text(check, "status"))));
        }
    }
    verdicts
}

#[test]
fn the_suite_for_authorization_servers_finds_nothing() {
    let running = setup("").serve();
    let (port, output) = (free_port(), tempfile::tempdir().unwrap());
    let redirect = format!("http://127.0.0.1:{port}/callback");
    let metadata = json!({ "client_name": "Suite", "redirect_uris": [redirect] }).to_string();
    let registered = Request::post(&running.address(), "/oauth/register", metadata).send();
    let program = "tests/conformance/node_modules/@modelcontextprotocol/conformance/dist/index.js";
    let mut command = Command::new(Clients::installed().unwrap().node());
    command.arg(workspace().join(program)).arg("authorization").current_dir(output.path());
    command.args(["--url", &format!("http://{}", running.address()), "--resource", &running.url()]);
    command.args(["--client-id", body(&registered)["client_id"].as_str().unwrap()]);
    command.args(["--port", &port.to_string(), "--output-dir"]).arg(output.path());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut said = Vec::new();
    for line in lines {
        if let Some(at) = line.find("/oauth/authorize?").filter(|_| line.trim_start().starts_with("http://"))
        {
            let mut person = Person::new(&running);
            let target = line[at..].trim();
            let page = person.get(target);
            let (form, next) = (field(&page, "form"), field(&page, "next"));
            let fields = [("form", &*form), ("next", &*next), ("name", "ada"), ("password", PASSWORD)];
            let place = person.post("/login", &fields).header("location").unwrap().to_owned();
            let page = person.get(&place);
            let (form, query) = (field(&page, "form"), field(&page, "request"));
            let fields = [("form", &*form), ("request", &*query), ("decision", "allow")];
            let answer = person.post("/oauth/consent", &fields);
            let place = url::Url::parse(answer.header("location").unwrap()).unwrap();
            let target = format!("{}?{}", place.path(), place.query().unwrap());
            Request::new("GET", &format!("127.0.0.1:{port}"), &target).send();
        }
        said.push(line);
    }
    let status = child.wait().unwrap();
    let verdicts = verdicts(output.path());
    let said = said.join("\n");
    assert!(status.success() && verdicts.len() >= 2, "{verdicts:?}\n{said}");
    let is_fine = |(_, status): &&(String, String)| ["SUCCESS", "INFO"].contains(&status.as_str());
    assert!(verdicts.iter().all(|verdict| is_fine(&verdict)), "{verdicts:?}\n{said}");
    assert!(verdicts.iter().any(|(id, _)| id == "authorization-code-grant"), "{verdicts:?}");
}
