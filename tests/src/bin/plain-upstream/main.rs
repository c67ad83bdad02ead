//! A minimal server that answers `tools/call` in the stateless era: 500 bytes with the request's id. At `/list/N`, it
//! answers `tools/list` with N tools.

#[path = "../plain-proxy/plain.rs"]
mod plain;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{LazyLock, Mutex};

use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use serde::Deserialize;
use serde_json::value::RawValue;

use plain::{serve, whole};

/// Length of an answer in bytes.
const ANSWER: usize = 500;

/// The answer to `server/discover`. Without it, a gateway would take this server for one of the stateful era, and
/// translate.
const DISCOVERED: &str =
    r#""supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"resultType":"complete","#;

/// An MCP server that looks at nothing but id and method.
#[derive(Debug, Parser)]
struct Arguments {
    /// Address to serve HTTP on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    serve(Arguments::parse().listen, answer).await
}

async fn answer(request: Request<Incoming>) -> Response<Full<Bytes>> {
    #[derive(Deserialize)]
    struct Call<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
        method: &'a str,
    }
    let length = request.uri().path().strip_prefix("/list/").and_then(|length| length.parse().ok());
    let Ok(body) = request.into_body().collect().await else { return whole(400, "") };
    let body = body.to_bytes();
    let Ok(Call { id, method }) = serde_json::from_slice(&body) else { return whole(400, "") };
    if let (Some(length), "tools/list") = (length, method) {
        return whole(
            200,
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{}]}}}}"#, tools(length)),
        );
    }
    let about = if method == "server/discover" { DISCOVERED } else { "" };
    let head =
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{{about}"content":[{{"type":"text","text":""#);
    let tail = r#""}]}}"#;
    let fill = "y".repeat(ANSWER.saturating_sub(head.len() + tail.len()));
    whole(200, head + &fill + tail)
}

/// A list of tools with this length, as JSON. Each is made once.
fn tools(length: usize) -> &'static str {
    static LISTS: LazyLock<Mutex<HashMap<usize, &'static str>>> = LazyLock::new(Mutex::default);
    let mut lists = LISTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    lists.entry(length).or_insert_with(|| Vec::from_iter((0..length).map(tool)).join(",").leak())
}

/// A tool, whose name is among those that roles of the load run cover.
fn tool(n: usize) -> String {
    format!(
        r#"{{"name":"svc{:02}_area{}_get_{}","description":"Gets an item of an area of a service, as it was when it was last written.","inputSchema":{{"type":"object","properties":{{"id":{{"type":"string"}}}},"required":["id"]}}}}"#,
        n / 25 % 20,
        n / 5 % 5,
        n % 5 + n / 500 * 5
    )
}
