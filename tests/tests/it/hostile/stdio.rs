//! Over stdio, standard input and output are the connection to the client: a guest has neither.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};
use witgate_tests::gateway::Setup;
use witgate_tests::hostile::Guest;

#[test]
fn a_component_cannot_use_the_connection_of_the_client() {
    for guest in [Guest::FloodsStdout, Guest::ReadsStdin, Guest::LogsEscapes] {
        let setup = Setup::new();
        setup.file(
            "witgate.toml",
            format!(
                "[server]\ntransport = \"stdio\"\n[upstreams.own]\nown_tools = true\n\
                 [policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"keys.toml\" }}\n\
                 [policies.guest]\nkind = \"custom\"\ncomponent = \"{}\"\n\
                 [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"guest\"]\n",
                guest.file().display()
            ),
        );
        let key = setup.key(&["all", "--allow", "*"]);
        let setup = setup.env("MCP_API_KEY", &key);
        let mut command = setup.command(&["serve"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        for message in messages() {
            writeln!(stdin, "{message}").unwrap();
        }
        drop(stdin);
        let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        let answers: Vec<Value> = output
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{}: {line:?}", guest.name())))
            .collect();
        for id in [1, 2] {
            let answer = answers.iter().find(|answer| answer["id"] == id);
            assert!(answer.is_some_and(|a| a.get("result").is_some()), "{}, {id}: {output}", guest.name());
        }
    }
}

fn messages() -> [Value; 3] {
    let client = json!({ "name": "it", "version": "1" });
    let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
    let call = json!({ "name": "echo", "arguments": { "text": "mine" } });
    [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call }),
    ]
}
