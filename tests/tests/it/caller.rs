//! Callers of a running gateway, and the upstreams behind it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use witgate_tests::gateway::{PATIENCE, program};

/// A caller, with or without a key. Clones share their connections.
#[derive(Clone)]
pub(crate) struct Caller {
    http: reqwest::Client,
    url: String,
    key: Option<String>,
    token: Option<String>,
}

/// The response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) session: Option<String>,
    /// The header `Retry-After`, in seconds.
    pub(crate) retry_after: Option<u64>,
    pub(crate) took: Duration,
}

impl Answer {
    /// The reason code of a refusal.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.body.pointer("/error/data/reason")?.as_str()
    }

    /// True if it is the result of the request.
    pub(crate) fn is_result(&self) -> bool {
        self.status == 200 && self.body.get("result").is_some() && self.body["id"] == 7
    }

    /// The first text of a tool's result, read as JSON where it is some.
    pub(crate) fn content(&self) -> Value {
        let text = self.body["result"]["content"][0]["text"].as_str();
        let text = text.unwrap_or_else(|| panic!("no text in {self:?}"));
        serde_json::from_str(text).unwrap_or_else(|_| text.into())
    }
}

impl Caller {
    pub(crate) fn new(url: impl Into<String>, key: Option<&str>) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { http, url: url.into(), key: key.map(str::to_owned), token: None }
    }

    /// A caller with a bearer token.
    pub(crate) fn with_token(url: impl Into<String>, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..Self::new(url, None) }
    }

    /// The same caller's connections, with another token.
    pub(crate) fn showing_token(&self, token: String) -> Self {
        Self { token: Some(token), ..self.clone() }
    }

    /// A caller without a key, whose calls come from this address of the machine.
    pub(crate) fn nameless(url: impl Into<String>, from: &str) -> Self {
        Self::new(url, None).at(from)
    }

    /// The same caller, from this address of the machine.
    pub(crate) fn at(self, address: &str) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .local_address(Some(address.parse().unwrap()));
        Self { http: http.build().unwrap(), ..self }
    }

    /// Calls a tool by the protocol version 2026-07-28.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.try_call(tool, arguments).await.unwrap_or_else(|error| panic!("{tool}: {error:?}"))
    }

    /// As [`Self::call`], for a connection that may break.
    pub(crate) async fn try_call(&self, tool: &str, arguments: Value) -> reqwest::Result<Answer> {
        self.stateless("tools/call", Some(tool), json!({ "name": tool, "arguments": arguments })).await
    }

    /// A request of 2026-07-28.
    pub(crate) async fn stateless(
        &self,
        method: &str,
        name: Option<&str>,
        params: Value,
    ) -> reqwest::Result<Answer> {
        let start = Instant::now();
        let response = self.begin(method, name, params).await?;
        read(response, start).await
    }

    /// The same, up to the head of the answer.
    pub(crate) async fn begin(
        &self,
        method: &str,
        name: Option<&str>,
        mut params: Value,
    ) -> reqwest::Result<reqwest::Response> {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let mut request =
            self.post(&json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }));
        request = request.header("MCP-Protocol-Version", "2026-07-28").header("Mcp-Method", method);
        if let Some(name) = name {
            request = request.header("Mcp-Name", name);
        }
        request.send().await
    }

    /// Sends a request to the endpoint, with the credential and nothing else.
    pub(crate) fn request(
        &self,
        client: &reqwest::Client,
        method: reqwest::Method,
    ) -> reqwest::RequestBuilder {
        self.showing(client.request(method, &self.url))
    }

    fn post(&self, body: &Value) -> reqwest::RequestBuilder {
        let request = self.http.post(&self.url).header("Accept", "application/json, text/event-stream");
        self.showing(request).json(body)
    }

    fn showing(&self, mut request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        if let Some(key) = &self.key {
            request = request.header("X-API-Key", key);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        request
    }

    /// The handshake of 2025-11-25.
    pub(crate) async fn initialize(&self) -> Answer {
        let answer = self.try_initialize().await.unwrap();
        assert!(answer.is_result(), "{answer:?}");
        answer
    }

    /// The same handshake, which may be refused, by a client that can answer elicitations.
    pub(crate) async fn try_initialize(&self) -> reqwest::Result<Answer> {
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": { "elicitation": {} },
            "clientInfo": { "name": "it", "version": "1" } });
        let initialize = json!({ "jsonrpc": "2.0", "id": 7, "method": "initialize", "params": params });
        let start = Instant::now();
        read(self.post(&initialize).send().await?, start).await
    }

    /// Opens a session of 2025-11-25 and returns its id.
    pub(crate) async fn open_session(&self) -> String {
        let answer = self.initialize().await;
        let session = answer.session.expect("a session");
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let accepted = self.of_session(&session, &initialized).send().await.unwrap();
        assert_eq!(accepted.status(), 202);
        session
    }

    /// Calls a tool within a session.
    pub(crate) async fn call_in(&self, session: &str, tool: &str, arguments: Value) -> Answer {
        self.ask_in(session, "tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    /// Sends a request within a session.
    pub(crate) async fn ask_in(&self, session: &str, method: &str, params: Value) -> Answer {
        let start = Instant::now();
        read(self.begin_in(session, method, params).await.unwrap(), start).await.unwrap()
    }

    /// The same, up to the head of the answer.
    pub(crate) async fn begin_in(
        &self,
        session: &str,
        method: &str,
        params: Value,
    ) -> reqwest::Result<reqwest::Response> {
        let request = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        self.of_session(session, &request).send().await
    }

    /// Sends a message unchanged within a session.
    pub(crate) async fn send_in(&self, session: &str, message: &Value) -> reqwest::Response {
        self.of_session(session, message).send().await.unwrap()
    }

    /// Opens the stream of a session.
    pub(crate) async fn listen(&self, session: &str) -> reqwest::Response {
        let request = self.showing(self.http.get(&self.url).header("Accept", "text/event-stream"));
        let request = request.header("MCP-Protocol-Version", "2025-11-25").header("Mcp-Session-Id", session);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        response
    }

    fn of_session(&self, session: &str, body: &Value) -> reqwest::RequestBuilder {
        self.post(body).header("MCP-Protocol-Version", "2025-11-25").header("Mcp-Session-Id", session)
    }
}

/// Reads an answer: the JSON body, or the response that ends an event stream.
async fn read(response: reqwest::Response, start: Instant) -> reqwest::Result<Answer> {
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let (session, media) = (header("mcp-session-id"), header("content-type").unwrap_or_default());
    let retry_after = header("retry-after").map(|value| value.parse().expect("seconds"));
    let text = response.text().await?;
    let json = match media.starts_with("text/event-stream") {
        true => text.lines().filter_map(|line| line.strip_prefix("data:")).next_back().unwrap_or_default(),
        false => &text,
    };
    let body = serde_json::from_str(json).unwrap_or(Value::Null);
    Ok(Answer { status, body, session, retry_after, took: start.elapsed() })
}

/// The fixture upstream over HTTP. It ends with the test.
pub(crate) struct Upstream {
    child: Child,
    pub(crate) url: String,
}

impl Upstream {
    /// Without sessions, in plain JSON.
    pub(crate) fn start() -> Self {
        Self::with(&["--stateless", "--json"])
    }

    /// With sessions, in event streams.
    pub(crate) fn with_sessions() -> Self {
        Self::with(&[])
    }

    fn with(arguments: &[&str]) -> Self {
        let mut child = Command::new(program("fixture-upstream"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening ").expect("where it listens").to_owned();
        Self { child, url }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sum of a metric's samples, those with a `label` if one is given.
pub(crate) async fn metric(admin_url: &str, name: &str, label: &str) -> f64 {
    let text = reqwest::get(format!("{admin_url}/metrics")).await.unwrap().text().await.unwrap();
    let samples = text.lines().filter(|line| {
        let rest = line.strip_prefix(name).unwrap_or("-");
        rest.starts_with(['{', ' ']) && line.contains(label)
    });
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// True if a process runs. A zombie does not count.
pub(crate) fn alive(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next()).is_some_and(|state| state != 'Z')
}

/// Polls until there is a value.
pub(crate) async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_late(what, PATIENCE, look).await
}

/// Polls with another time limit.
pub(crate) async fn until_late<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "waited {patience:?} for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
