//! `witgate demo`: runs the usual commands on a configuration of its own, in front of tools that this program serves.
//! It needs nothing but this program.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::context::Context;
use super::outcome::{CommandFailure, Exit};
use super::runtime::runtime;
use super::terminal::table;

/// Time limit for each step, which normally takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// The log of the server, in the folder of the demo.
const LOG: &str = "witgate.log";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Exit after the demo instead of serving until Ctrl-C
    #[arg(long)]
    once: bool,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    runtime()?.block_on(show(context, arguments.once))
}

async fn show(context: &Context, once: bool) -> Result<Exit, CommandFailure> {
    let folder =
        tempfile::tempdir().map_err(|error| CommandFailure::new(format!("no temporary folder: {error}")))?;
    let stage = DemoGateway::set(folder.path())?;
    let terminal = &context.terminal;
    terminal.print("Who may call what: built-in policies in front of Witgate's own tools\n");
    let mut rows = Vec::new();
    rows.push(stage.list("alice, developer", Some(&stage.alice)).await?);
    rows.push(stage.list("bob, guest", Some(&stage.bob)).await?);
    rows.push(stage.call("nobody, no key", None, "echo").await?);
    rows.push(stage.call("a made-up key", Some("wgk_made-up"), "echo").await?);
    rows.push(stage.call("alice, developer", Some(&stage.alice), "add").await?);
    rows.push(stage.call("bob, guest", Some(&stage.bob), "add").await?);
    terminal.print(&table(&["WHO", "WHAT", "OUTCOME"], &rows));

    let took = stage.let_guests_add().await?;
    terminal.print(&format!(
        "\nThe rules changed while it runs: guests may add. In force after {} ms\n",
        took.as_millis()
    ));
    let rows = [
        stage.list("bob, guest", Some(&stage.bob)).await?,
        stage.call("bob, guest", Some(&stage.bob), "add").await?,
    ];
    terminal.print(&table(&["WHO", "WHAT", "OUTCOME"], &rows));
    if once {
        return Ok(Exit::Done);
    }
    terminal.print(&format!(
        "\nServing on {}\nTry it with any MCP client and the header `X-API-Key: {}`; Ctrl-C ends it.",
        stage.url, stage.alice
    ));
    stage.wait()
}

/// A configuration, two keys and a running Witgate.
struct DemoGateway<'a> {
    folder: &'a Path,
    url: String,
    alice: String,
    bob: String,
    server: Child,
    client: Client<HttpConnector, Full<bytes::Bytes>>,
    port: u16,
}

impl<'a> DemoGateway<'a> {
    fn set(folder: &'a Path) -> Result<Self, CommandFailure> {
        let port = free_port().map_err(|error| CommandFailure::new(format!("no port is free: {error}")))?;
        write_config(folder, port, r#"["echo"]"#)?;
        let alice = make_key(folder, "alice", "developer")?;
        let bob = make_key(folder, "bob", "guest")?;
        let server = witgate(folder, &["serve"])?
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log(folder)?)
            .spawn()
            .map_err(|error| CommandFailure::new(format!("witgate serve does not start: {error}")))?;
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Self { folder, url: format!("http://127.0.0.1:{port}/mcp"), alice, bob, server, client, port })
    }

    async fn list(&self, who: &str, key: Option<&str>) -> Result<Vec<String>, CommandFailure> {
        let answer = self.ask(key, "tools/list", None).await?;
        let names: Vec<_> = answer
            .pointer("/result/tools")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|tool| tool.get("name")?.as_str())
            .collect();
        Ok(vec![who.to_owned(), "list of tools".to_owned(), format!("shows {}", names.join(", "))])
    }

    async fn call(&self, who: &str, key: Option<&str>, tool: &str) -> Result<Vec<String>, CommandFailure> {
        let answer = self.ask(key, "tools/call", Some(tool)).await?;
        Ok(vec![who.to_owned(), tool.to_owned(), outcome(&answer)])
    }

    /// Sends one request of the stateless era, which needs no session.
    async fn ask(
        &self,
        key: Option<&str>,
        method: &str,
        tool: Option<&str>,
    ) -> Result<Value, CommandFailure> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.send(key, method, tool).await {
                Ok(answer) => return Ok(answer),
                // Witgate may be still starting.
                Err(error) if Instant::now() > end => {
                    let log = std::fs::read_to_string(self.folder.join(LOG)).unwrap_or_default();
                    return Err(CommandFailure::new(format!("no answer: {error}; its log:\n{log}")));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn send(&self, key: Option<&str>, method: &str, tool: Option<&str>) -> Result<Value, String> {
        let mut params = json!({ "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }});
        let mut request = http::Request::post(&self.url)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream")
            .header("MCP-Protocol-Version", "2026-07-28")
            .header("Mcp-Method", method);
        if let (Some(tool), Some(members)) = (tool, params.as_object_mut()) {
            members.insert("name".to_owned(), tool.into());
            members.insert("arguments".to_owned(), json!({ "text": "hello", "a": 2, "b": 3 }));
            request = request.header("Mcp-Name", tool);
        }
        if let Some(key) = key {
            request = request.header("X-API-Key", key);
        }
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let request =
            request.body(Full::new(message.to_string().into())).map_err(|error| error.to_string())?;
        let response = self.client.request(request).await.map_err(|error| error.to_string())?;
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        last_message(&body).ok_or_else(|| format!("not JSON: {}", String::from_utf8_lossy(&body)))
    }

    /// Edits the configuration, as an operator would, and waits until the change is in force.
    async fn let_guests_add(&self) -> Result<Duration, CommandFailure> {
        write_config(self.folder, self.port, r#"["echo", "add"]"#)?;
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if self.ask(Some(&self.bob), "tools/call", Some("add")).await?.get("result").is_some() {
                return Ok(started.elapsed());
            }
        }
        Err(CommandFailure::new("the change did not take effect"))
    }

    fn wait(mut self) -> Result<Exit, CommandFailure> {
        self.server.wait().map_err(|error| CommandFailure::new(error.to_string()))?;
        Ok(Exit::Done)
    }
}

impl Drop for DemoGateway<'_> {
    fn drop(&mut self) {
        // The process may have ended by itself.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// A JSON answer, or the last event of a stream.
fn last_message(body: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(body).ok()?;
    let last = text.lines().filter_map(|line| line.strip_prefix("data:")).next_back();
    serde_json::from_str(last.unwrap_or(text)).ok()
}

fn outcome(answer: &Value) -> String {
    if let Some(text) = answer.pointer("/result/content/0/text").and_then(Value::as_str) {
        return format!("allowed: {text}");
    }
    let part = |pointer| answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    format!("denied ({}): {}", part("/error/data/reason"), part("/error/message"))
}

/// Opens the file for the log. On the terminal, the audit would come between the lines of the demo.
fn log(folder: &Path) -> Result<File, CommandFailure> {
    File::create(folder.join(LOG)).map_err(|error| CommandFailure::new(format!("no log: {error}")))
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn write_config(folder: &Path, port: u16, guests: &str) -> Result<(), CommandFailure> {
    let text =
        include_str!("demo/witgate.toml").replace("{PORT}", &port.to_string()).replace("{GUESTS}", guests);
    std::fs::write(folder.join("witgate.toml"), text)
        .map_err(|error| CommandFailure::new(format!("cannot write to {}: {error}", folder.display())))
}

fn witgate(folder: &Path, arguments: &[&str]) -> Result<Command, CommandFailure> {
    let program = std::env::current_exe().map_err(|error| CommandFailure::new(error.to_string()))?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env_remove("WITGATE_CONFIG");
    Ok(command)
}

fn make_key(folder: &Path, name: &str, role: &str) -> Result<String, CommandFailure> {
    let output = witgate(folder, &["key", "create", name, "--role", role, "--json"])?
        .output()
        .map_err(|error| CommandFailure::new(error.to_string()))?;
    let made: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    made.and_then(|made| made.get("key")?.as_str().map(str::to_owned))
        .ok_or_else(|| CommandFailure::new(String::from_utf8_lossy(&output.stderr).into_owned()))
}
