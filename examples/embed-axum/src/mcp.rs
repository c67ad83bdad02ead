//! The smallest MCP server, as an ordinary handler. It knows neither keys nor rules.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::notes::Notes;

/// Answers one message: requests get an answer, and notifications are ignored.
pub(crate) async fn answer(State(notes): State<Notes>, Json(message): Json<Value>) -> Response {
    let Some(id) = message.get("id") else { return StatusCode::ACCEPTED.into_response() };
    let outcome = match message.get("method").and_then(Value::as_str).unwrap_or_default() {
        "initialize" => Ok(json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "embed-axum", "version": env!("CARGO_PKG_VERSION") },
        })),
        "ping" => Ok(json!({})),
        "tools/list" => Ok(json!({ "tools": tools() })),
        "tools/call" => call(&notes, message.get("params").unwrap_or(&Value::Null)),
        method => Err(json!({ "code": -32601, "message": format!("there is no method {method}") })),
    };
    let mut response = json!({ "jsonrpc": "2.0", "id": id });
    let (member, value) = outcome.map_or_else(|error| ("error", error), |result| ("result", result));
    if let Value::Object(members) = &mut response {
        members.insert(member.to_owned(), value);
    }
    Json(response).into_response()
}

fn tools() -> Value {
    let text =
        json!({ "type": "object", "properties": { "text": { "type": "string" } }, "required": ["text"] });
    json!([
        { "name": "read_notes", "description": "Reads all notes", "inputSchema": { "type": "object" } },
        { "name": "write_note", "description": "Writes one note", "inputSchema": text },
    ])
}

fn call(notes: &Notes, params: &Value) -> Result<Value, Value> {
    let text = match (params.get("name").and_then(Value::as_str), params.pointer("/arguments/text")) {
        (Some("read_notes"), _) => notes.all().join("\n"),
        (Some("write_note"), Some(Value::String(note))) => {
            notes.add(note);
            "written".to_owned()
        }
        _ => return Err(json!({ "code": -32602, "message": "there is no such tool, or `text` is missing" })),
    };
    Ok(json!({ "content": [{ "type": "text", "text": text }] }))
}
