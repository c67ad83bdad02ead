use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::*;
use witgate_base::party::Party;
use witgate_runtime::shares::{Capacity, Shares};

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

/// Sends lines and returns the results that come, as many as `answers`.
async fn converse(lines: &[String], answers: usize) -> Vec<Value> {
    let tools = OwnTools::new(AuthStatus { enabled: true, key_configured: true });
    let seats = Shares::new(Capacity { most: 1, most_of_one: 1 });
    let mut pipes = tools.launch(seats.take(&Party::Everybody).unwrap(), None).await.unwrap();
    for line in lines {
        pipes.input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }
    let mut output = BufReader::new(pipes.output).lines();
    let mut said = Vec::new();
    for _ in 0..answers {
        said.push(serde_json::from_str(&output.next_line().await.unwrap().unwrap()).unwrap());
    }
    said
}

#[tokio::test]
async fn the_tools_work_in_the_older_era() {
    let call = |id: u8, name: &str, arguments: Value| {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": name, "arguments": arguments}})
            .to_string()
    };
    let lines = [
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned(),
        call(2, "add", json!({"a": 2, "b": 0.5})),
        call(3, "auth_status", json!({})),
        call(4, "echo", json!({"text": "hi"})),
        call(5, "get_time", json!({})),
    ];
    let mut said = converse(&lines, 5).await;
    said.sort_by_key(|message| message["id"].as_u64());
    assert_eq!(said[0]["result"]["serverInfo"]["name"], "witgate");
    assert_eq!(said[1]["result"]["structuredContent"], json!({"sum": 2.5}));
    assert_eq!(said[2]["result"]["structuredContent"], json!({"enabled": true, "key_configured": true}));
    assert_eq!(said[3]["result"]["content"][0]["text"], "hi");
    assert!(said[4]["result"]["structuredContent"]["unix"].as_u64().unwrap() > 1_700_000_000);
}

#[tokio::test]
async fn the_tools_are_listed_in_the_stateless_era() {
    let line = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{{META}}}}}"#);
    let said = converse(&[line], 1).await;
    let mut names: Vec<&str> = said[0]["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["add", "auth_status", "echo", "get_time", "limits_status"]);
    assert_eq!(said[0]["result"]["resultType"], "complete");
}
