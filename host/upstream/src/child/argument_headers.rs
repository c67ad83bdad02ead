//! Checks the headers that repeat arguments of a child's tools. Witgate lists the tools itself, because the caller
//! need not have done so.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};

use super::outgoing_message::OutgoingMessage;
use super::pending_requests::{Asker, ChildReply};
use super::supervise::Slot;
use super::tools::PATIENCE;
use crate::bridge::MODERN;
use witgate_message::fault::MessageFault;
use witgate_message::headers::params::HeaderArguments;

/// Maximum number of pages of a list. No server has more.
const PAGES: usize = 64;

/// Checks the `Mcp-Param-` headers of a `tools/call` of 2026-07-28 over HTTP.
///
/// # Errors
/// `HeaderMismatch`.
pub(super) async fn check(
    slot: &Arc<Slot>,
    sent: &OutgoingMessage<'_>,
    modern: bool,
) -> Result<(), MessageFault> {
    let (Some(headers), Some(name), "tools/call") = (sent.headers, sent.target(), sent.call.method()) else {
        return Ok(());
    };
    let checked = |tools: &HashMap<String, HeaderArguments>, headers: &HeaderMap| match tools.get(name) {
        Some(repeated) => repeated.check(sent.arguments, headers),
        None => Ok(()),
    };
    let (at, tools) = slot.tools.known(None, list(slot, modern)).await;
    match checked(&tools, headers) {
        // The schema may have changed since.
        Err(_) if at.elapsed() > Duration::from_secs(1) => {
            let (_, tools) = slot.tools.known(Some(at), list(slot, modern)).await;
            checked(&tools, headers)
        }
        outcome => outcome,
    }
}

async fn list(slot: &Arc<Slot>, modern: bool) -> Option<HashMap<String, HeaderArguments>> {
    let mut tools = HashMap::new();
    let mut cursor = None;
    for _ in 0..PAGES {
        let page = page(slot, modern, cursor.as_ref()).await?;
        for tool in page.get("tools")?.as_array()? {
            let repeated = tool.get("inputSchema").map(HeaderArguments::of).unwrap_or_default();
            tools.extend(tool.get("name").and_then(Value::as_str).map(|name| (name.to_owned(), repeated)));
        }
        cursor = page.get("nextCursor").filter(|cursor| cursor.is_string()).cloned();
        if cursor.is_none() {
            break;
        }
    }
    Some(tools)
}

async fn page(slot: &Arc<Slot>, modern: bool, cursor: Option<&Value>) -> Option<Value> {
    let mut params = serde_json::Map::new();
    params.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor.clone())));
    if modern {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": { "name": "witgate", "version": env!("CARGO_PKG_VERSION") },
        });
        params.insert("_meta".to_owned(), meta);
    }
    let params = Value::Object(params);
    let compose = |id: &str| {
        Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list","params":{params}}}"#))
    };
    let connection = slot.connection().await.ok()?;
    let ask = Asker { id: "0".into(), cancel_on_drop: true, ..Asker::default() };
    let mut exchange = connection.request(ask, compose).await.ok()?;
    loop {
        if let ChildReply::Last(response) = exchange.next(Some(PATIENCE)).await.ok()? {
            return serde_json::from_slice::<Value>(&response.line).ok()?.get("result").cloned();
        }
    }
}
