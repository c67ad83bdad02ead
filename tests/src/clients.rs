//! Runs the real MCP clients of `tests/clients`, each through its driver, and reads what the driver reports.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use witgate_tests::clients::{Client, Clients, Session};
//! let clients = Clients::installed()?;
//! let session = Session::http("http://127.0.0.1:8787/mcp")
//!     .header("X-API-Key", "…")
//!     .call("echo", serde_json::json!({ "message": "hi" }));
//! for client in Client::OVER_HTTP {
//!     let report = clients.run(client, &session).await?;
//!     assert_eq!(report.error, None, "{client:?}");
//! }
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop, ProcessGroup};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::time::timeout;

use crate::gateway::free_port;

/// Time limit for a client unless its session says otherwise.
const DEFAULT_LIMIT: Duration = Duration::from_secs(20);

/// Time that a driver has in addition to its own limit, to load its client, to report and to clean up: on a busy
/// machine the Python clients take seconds to load.
const GRACE: Duration = Duration::from_secs(30);

/// One of the real clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// `@modelcontextprotocol/client`, TypeScript, both eras.
    TsClient,
    /// `@modelcontextprotocol/sdk`, TypeScript, 2025 era.
    TsSdk,
    /// `mcp`, Python, both eras.
    PyMcp,
    /// `fastmcp`, Python, both eras.
    PyFastmcp,
    /// The CLI of `@modelcontextprotocol/inspector`, both eras.
    Inspector,
    /// `mcp-remote`, a stdio bridge: 2025 era before it, both behind it.
    McpRemote,
    /// `mcp` 1.x, Python, 2025 era; over HTTP alone.
    PyMcp1,
    /// `fastmcp` 2.x, Python, 2025 era; over HTTP alone.
    PyFastmcp2,
    /// `@modelcontextprotocol/client` in a page in Chromium, both eras; needs [`Session::page`].
    Page,
}

impl Client {
    /// Every client that can reach a URL.
    pub const OVER_HTTP: [Self; 6] =
        [Self::TsClient, Self::TsSdk, Self::PyMcp, Self::PyFastmcp, Self::Inspector, Self::McpRemote];

    /// Older releases that are still in use, over HTTP.
    pub const OLDER: [Self; 2] = [Self::PyMcp1, Self::PyFastmcp2];

    /// Every client that can start a server as its child.
    pub const OVER_STDIO: [Self; 5] =
        [Self::TsClient, Self::TsSdk, Self::PyMcp, Self::PyFastmcp, Self::Inspector];

    fn driver(self) -> &'static str {
        match self {
            Self::TsClient => "ts-client.mjs",
            Self::TsSdk => "ts-sdk.mjs",
            Self::PyMcp => "py_mcp.py",
            Self::PyFastmcp => "py_fastmcp.py",
            Self::Inspector => "inspector.mjs",
            Self::McpRemote => "mcp-remote.mjs",
            Self::PyMcp1 => "py_mcp1.py",
            Self::PyFastmcp2 => "py_fastmcp2.py",
            Self::Page => "../authorization-servers/key.mjs",
        }
    }
}

/// The SDK that a scenario runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sdk {
    /// `@modelcontextprotocol/client`.
    TsClient,
    /// `@modelcontextprotocol/sdk`.
    TsSdk,
}

/// The task of a client: where to connect, as whom, in which era, and what to call.
#[derive(Debug, Clone)]
pub struct Session {
    place: Vec<String>,
    command: Vec<String>,
    mode: String,
    call: Option<(String, Value)>,
    limit: Duration,
}

/// A client's registration with an authorization server.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Registered {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// The only server that may see the secret.
    pub issuer: String,
    /// The requested scopes, with spaces between them.
    pub scope: String,
}

impl Session {
    /// Connects to `url` over streamable HTTP.
    pub fn http(url: impl Into<String>) -> Self {
        Self::new(vec!["--url".into(), url.into()], Vec::new())
    }

    /// Starts `command` and talks to it over stdio.
    pub fn stdio<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Self {
        Self::new(vec!["--stdio".into()], command.into_iter().map(Into::into).collect())
    }

    fn new(place: Vec<String>, command: Vec<String>) -> Self {
        Self { place, command, mode: "auto".into(), call: None, limit: DEFAULT_LIMIT }
    }

    /// Sends a header with every request (HTTP).
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.place.push(format!("--header={name}: {value}"));
        self
    }

    /// Has the client get a token for itself, by the client-credentials flow of its own SDK (HTTP;
    /// [`Client::TsClient`] and [`Client::PyMcp`] can).
    #[must_use]
    pub fn client_credentials(mut self, client: &Registered) -> Self {
        self.place.push(format!("--client={}", serde_json::json!(client)));
        self
    }

    /// Sets a variable in the server's environment (stdio); clients pass on little of their own.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.place.push(format!("--env={name}={value}"));
        self
    }

    /// Sets the era: `auto` (the default), `legacy` or a version such as `2026-07-28`, if the client has such an
    /// option.
    #[must_use]
    pub fn mode(mut self, mode: &str) -> Self {
        self.mode = mode.into();
        self
    }

    /// Has the page of [`Client::Page`] served on `port` of 127.0.0.1 and opened in `browser`.
    #[must_use]
    pub fn page(mut self, browser: &Path, port: u16) -> Self {
        self.place.push(format!("--browser={}", browser.display()));
        self.place.push(format!("--page={port}"));
        self
    }

    /// Calls a tool after listing them.
    #[must_use]
    pub fn call(mut self, tool: &str, arguments: Value) -> Self {
        self.call = Some((tool.into(), arguments));
        self
    }

    /// Sends `meta` as the `_meta` of the call ([`Client::TsClient`] can).
    #[must_use]
    pub fn meta(mut self, meta: &Value) -> Self {
        self.place.push(format!("--meta={meta}"));
        self
    }

    /// Ends the attempt, with an error of kind `Timeout`, after `limit` instead of 20 s.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    fn arguments(&self, more: &[String]) -> Vec<String> {
        let mut arguments = more.to_vec();
        arguments.extend(self.place.iter().cloned());
        arguments.push(format!("--mode={}", self.mode));
        arguments.push(format!("--timeout={}", self.limit.as_secs_f64()));
        if let Some((tool, values)) = &self.call {
            arguments.push(format!("--call={tool}"));
            arguments.push(format!("--args={values}"));
        }
        if !self.command.is_empty() {
            arguments.push("--".into());
            arguments.extend(self.command.iter().cloned());
        }
        arguments
    }
}

/// The observations of one client.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Report {
    /// The driver's name.
    pub client: String,
    /// The negotiated protocol version, once connected.
    pub protocol: Option<String>,
    /// The names of the tools in the list that the client got.
    pub listed: Option<Vec<String>>,
    /// The call's result, as the client returned it.
    pub called: Option<Value>,
    /// True if the client could list tools again after the call; None if it did not have to.
    #[serde(default)]
    pub again: Option<bool>,
    /// The error that ended the run.
    pub error: Option<Failure>,
}

impl Report {
    /// True if the list that the client got contains this tool.
    pub fn lists(&self, tool: &str) -> bool {
        self.listed.iter().flatten().any(|name| name == tool)
    }

    /// The text of the call's result, all text items joined.
    pub fn text(&self) -> Option<String> {
        let items = self.called.as_ref()?.get("content")?.as_array()?;
        let texts: Vec<&str> = items.iter().filter_map(|item| item.get("text")?.as_str()).collect();
        Some(texts.join("\n"))
    }
}

/// The stages of a client's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Handshake or discovery.
    Connect,
    /// `tools/list`.
    List,
    /// `tools/call`.
    Call,
}

/// An error as far as the client exposes it; `tests/clients/README.md` says how far that is for each.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Failure<S = Stage> {
    /// The last stage that the client reached.
    pub stage: S,
    /// The client's own name for the error.
    pub kind: String,
    /// The HTTP status.
    pub status: Option<u16>,
    /// The JSON-RPC error code.
    pub code: Option<i64>,
    /// The client's message.
    pub message: String,
    /// The JSON-RPC error's `data`, `null` if the client hides it.
    pub data: Value,
    /// The scopes that a 403 required.
    pub scope: Option<String>,
}

impl<S> Failure<S> {
    /// The reason code that Witgate puts into `data.reason`.
    pub fn reason(&self) -> Option<&str> {
        self.data.get("reason")?.as_str()
    }
}

/// The observations of a scenario, step by step; a failed step holds `{"error": …}`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Scenario {
    /// The driver's name with its SDK.
    pub client: String,
    /// The negotiated protocol version, once connected.
    pub protocol: Option<String>,
    /// Each step's findings.
    pub steps: BTreeMap<String, Value>,
    /// The error that ended the scenario; its stage is `connect` or the step's name.
    pub error: Option<Failure<String>>,
}

/// The installed clients.
#[derive(Debug, Clone)]
pub struct Clients {
    tools: PathBuf,
    drivers: PathBuf,
}

impl Clients {
    /// The clients in `WITGATE_TEST_TOOLS`, by default `target/tools` of the workspace.
    pub fn installed() -> anyhow::Result<Self> {
        let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tools = match std::env::var_os("WITGATE_TEST_TOOLS") {
            Some(directory) => PathBuf::from(directory),
            None => crate_dir.parent().unwrap_or(crate_dir).join("target/tools"),
        };
        let clients = Self { tools, drivers: crate_dir.join("clients") };
        for program in [clients.node(), clients.python()] {
            if !program.exists() {
                bail!("{} is missing: `cargo xtask tools` installs the clients", program.display());
            }
        }
        Ok(clients)
    }

    /// The path of a Node that is new enough for every client.
    pub fn node(&self) -> PathBuf {
        self.tools.join("node")
    }

    /// The path of the Python environment with the Python clients.
    pub fn python(&self) -> PathBuf {
        self.tools.join("python/bin/python")
    }

    /// The path of the Python of another environment beside it.
    pub fn python_of(&self, environment: &str) -> PathBuf {
        self.tools.join(environment).join("bin/python")
    }

    /// Runs one client.
    pub async fn run(&self, client: Client, session: &Session) -> anyhow::Result<Report> {
        self.drive(client.driver(), session, &[]).await
    }

    /// Runs one client that lists tools again after a call, also after a failed one. With `pause`, it makes a file
    /// beside that path before its call, to report that it is ready, and waits until the file `pause` exists.
    pub async fn run_on(
        &self,
        client: Client,
        session: &Session,
        pause: Option<&Path>,
    ) -> anyhow::Result<Report> {
        let mut more = vec!["--again=1".to_owned()];
        more.extend(pause.map(|file| format!("--pause={}", file.display())));
        self.drive(client.driver(), session, &more).await
    }

    /// Runs the scenario on one SDK: all of its steps, or only the named ones.
    pub async fn scenario(&self, sdk: Sdk, session: &Session, only: &[&str]) -> anyhow::Result<Scenario> {
        let sdk = match sdk {
            Sdk::TsClient => "--sdk=ts-client",
            Sdk::TsSdk => "--sdk=ts-sdk",
        };
        let mut more = vec![sdk.to_owned()];
        more.extend(only.iter().map(|step| format!("--only={step}")));
        self.drive("scenario.mjs", session, &more).await
    }

    /// The command line that runs server-everything over stdio.
    pub fn everything_command(&self) -> Vec<String> {
        self.everything("stdio").map(|part| part.display().to_string()).into()
    }

    /// Starts server-everything over HTTP on a free port. It ends when the returned value is dropped.
    pub async fn everything_http(&self) -> anyhow::Result<EverythingServer> {
        self.everything_at("streamableHttp", "mcp").await
    }

    /// As [`Self::everything_http`], over HTTP+SSE, the transport of 2024-11-05.
    pub async fn everything_sse(&self) -> anyhow::Result<EverythingServer> {
        self.everything_at("sse", "sse").await
    }

    async fn everything_at(&self, transport: &str, path: &str) -> anyhow::Result<EverythingServer> {
        // The server cannot report a port that it chose itself, so it gets a free one from a range that the system
        // does not give to connections. The server says that it is running even if its port is taken.
        let port = free_port();
        let [node, script, transport] = self.everything(transport);
        let mut command = CommandWrap::with_new(node, |command| {
            command.arg(script).arg(transport).env("PORT", port.to_string());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        });
        let mut child = command.wrap(ProcessGroup::leader()).wrap(KillOnDrop).spawn()?;
        let stderr = child.stderr().take().context("stderr is piped")?;
        let mut lines = BufReader::new(stderr).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                if line.contains(" on port ") {
                    return Ok(());
                }
            }
            bail!("server-everything ended before it listened")
        };
        timeout(DEFAULT_LIMIT, ready).await.context("server-everything does not start")??;
        // Read on: a full pipe would block the server.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(EverythingServer { url: format!("http://127.0.0.1:{port}/{path}"), _child: child })
    }

    fn everything(&self, transport: &str) -> [PathBuf; 3] {
        let script = "node_modules/@modelcontextprotocol/server-everything/dist/index.js";
        [self.node(), self.tools.join(script), transport.into()]
    }

    /// Runs a driver in another directory, with arguments of its own.
    pub async fn drive_other<T: DeserializeOwned>(
        &self,
        driver: &Path,
        session: &Session,
        more: &[String],
    ) -> anyhow::Result<T> {
        self.drive(&driver.display().to_string(), session, more).await
    }

    async fn drive<T: DeserializeOwned>(
        &self,
        driver: &str,
        session: &Session,
        more: &[String],
    ) -> anyhow::Result<T> {
        let program = match driver {
            "py_mcp1.py" | "py_fastmcp2.py" => self.python_of("python-1"),
            driver if driver.ends_with("_1.py") => self.python_of("python-1"),
            driver if driver.ends_with(".py") => self.python(),
            _ => self.node(),
        };
        let mut command = CommandWrap::with_new(program, |command| {
            command.arg(self.drivers.join(driver)).args(session.arguments(more));
            command.env("WITGATE_TEST_TOOLS", &self.tools).env("PYTHONDONTWRITEBYTECODE", "1");
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        });
        let mut child = command.wrap(ProcessGroup::leader()).wrap(KillOnDrop).spawn()?;
        let mut stdout = child.stdout().take().context("stdout is piped")?;
        let mut stderr = child.stderr().take().context("stderr is piped")?;
        let log = tokio::spawn(async move {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text).await;
            text
        });
        let mut out = String::new();
        let end = timeout(session.limit + GRACE, async {
            stdout.read_to_string(&mut out).await?;
            child.wait().await
        })
        .await;
        // Processes that the client left behind end with its process group, and close stderr.
        let _ = child.start_kill();
        let err = timeout(GRACE, log).await.context("stderr stays open")??;
        let status = end.with_context(|| format!("{driver} did not end in time; it said:\n{err}"))??;
        if !status.success() {
            bail!("{driver} failed ({status}):\n{err}");
        }
        serde_json::from_str(&out).with_context(|| format!("{driver} printed {out:?}; it said:\n{err}"))
    }
}

/// A running server-everything.
#[derive(Debug)]
pub struct EverythingServer {
    /// Its MCP endpoint.
    pub url: String,
    _child: Box<dyn ChildWrapper>,
}
