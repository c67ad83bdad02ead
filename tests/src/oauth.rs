//! Runs the real authorization servers of `tests/authorization-servers`.
//!
//! They are processes: a server that is killed and started again knows the tokens that it issued before.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::clients::{Clients, Registered};
use crate::gateway::free_port;
use crate::possession::Holder;

/// The format of access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A random string, whose meaning only the server knows.
    Opaque,
    /// A JSON Web Token (RFC 9068).
    Jwt,
}

/// An authorization server product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// `oidc-provider`, on Node.
    OidcProvider,
    /// `authlib` under Flask, in Python.
    Authlib,
}

impl Make {
    /// All products.
    pub const ALL: [Self; 2] = [Self::OidcProvider, Self::Authlib];
}

/// The scopes that the servers know.
pub const SCOPES: [&str; 2] = ["tools:read", "tools:write"];
/// The role that every token carries, as member `roles`.
pub const ROLE: &str = "caller";
/// The client that may introspect and revoke, and its secret.
pub const INTROSPECTOR: (&str, &str) = ("witgate", "the-secret-of-the-introspecting-client");
/// The client that gets tokens for itself, and its secret.
pub const ROBOT: (&str, &str) = ("robot", "the-secret-of-the-robot");
/// The one account of a person, and its password.
pub const PERSON: (&str, &str) = ("ada", "lovelace");

/// The settings of a server.
#[derive(Clone, Debug)]
pub struct Plan {
    resources: serde_json::Map<String, Value>,
    introspector: Value,
    ttl_s: u32,
    ahead_s: u32,
}

impl Default for Plan {
    fn default() -> Self {
        let introspector = json!({ "client_secret": INTROSPECTOR.1 });
        Self { resources: serde_json::Map::new(), introspector, ttl_s: 600, ahead_s: 0 }
    }
}

impl Plan {
    /// Issues tokens of this format for a resource (RFC 8707).
    #[must_use]
    pub fn resource(mut self, url: &str, format: Format) -> Self {
        let format = if format == Format::Opaque { "opaque" } else { "jwt" };
        self.resources.insert(url.to_owned(), format.into());
        self
    }

    /// Sets the lifetime of tokens, in seconds.
    #[must_use]
    pub fn ttl_s(mut self, ttl_s: u32) -> Self {
        self.ttl_s = ttl_s;
        self
    }

    /// Sets the seconds by which the clock of the server is ahead, in its header `Date`. Of `oidc-provider` only.
    #[must_use]
    pub fn ahead_s(mut self, ahead_s: u32) -> Self {
        self.ahead_s = ahead_s;
        self
    }

    /// Further metadata of the introspecting client (RFC 7591), `{"token_endpoint_auth_method": …}`
    /// for example; null takes one away.
    #[must_use]
    pub fn introspector(mut self, metadata: &Value) -> Self {
        for (name, value) in metadata.as_object().into_iter().flatten() {
            self.introspector[name] = value.clone();
        }
        self
    }

    fn settings(&self, port: u16, store: &Path) -> Value {
        let machine = |id: &str, more: &Value, grants: Value| {
            let mut client = json!({
                "client_id": id, "grant_types": grants, "response_types": [], "redirect_uris": [],
            });
            for (name, value) in more.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null())
            {
                client[name] = value.clone();
            }
            client
        };
        json!({
            "port": port, "store": store, "resources": self.resources, "scopes": SCOPES, "roles": [ROLE],
            "ttl": self.ttl_s, "ahead_s": self.ahead_s, "introspector": INTROSPECTOR.0, "accounts": { (PERSON.0): PERSON.1 },
            "clients": [
                machine(INTROSPECTOR.0, &self.introspector, json!([])),
                machine(ROBOT.0, &json!({ "client_secret": ROBOT.1 }), json!(["client_credentials"])),
            ],
        })
    }

    /// Starts a server, and returns once it listens.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub fn start(&self, make: Make) -> anyhow::Result<AuthorizationServer> {
        let dir = TempDir::new()?;
        let port = free_port();
        let settings = self.settings(port, &dir.path().join("store"));
        let process = Process::start(make, &settings)?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(AuthorizationServer { make, settings, port, process: Some(process), http, _dir: dir })
    }
}

/// A running authorization server. It is killed when this value is dropped.
pub struct AuthorizationServer {
    make: Make,
    settings: Value,
    port: u16,
    process: Option<Process>,
    http: reqwest::Client,
    _dir: TempDir,
}

impl AuthorizationServer {
    /// Its issuer identifier.
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The robot's registration, for a client.
    pub fn robot(&self, scope: &str) -> Registered {
        let (id, secret) = ROBOT;
        Registered { id: id.into(), secret: secret.into(), issuer: self.issuer(), scope: scope.into() }
    }

    /// Registers a client (RFC 7591), and returns its id.
    ///
    /// # Errors
    /// When the server does not accept it.
    pub async fn register(&self, client: &Value) -> anyhow::Result<String> {
        let url = self.endpoint("registration_endpoint").await?;
        let request = self.http.post(url).header("Content-Type", "application/json").body(client.to_string());
        let answer: Value = request.send().await?.json().await?;
        let id = answer.get("client_id").and_then(Value::as_str);
        Ok(id.with_context(|| format!("no client in {answer}"))?.to_owned())
    }

    /// A token for a resource, by the client-credentials grant (RFC 6749, section 4.4).
    ///
    /// # Errors
    /// When the server gives none.
    pub async fn token(&self, resource: &str, scope: &str) -> anyhow::Result<String> {
        let form = [("grant_type", "client_credentials"), ("resource", resource), ("scope", scope)];
        let answer = self.post("token_endpoint", ROBOT, &form).await?;
        let token = answer.get("access_token").and_then(Value::as_str);
        Ok(token.with_context(|| format!("no token in {answer}"))?.to_owned())
    }

    /// A token as in [`AuthorizationServer::token`], bound to a key (RFC 9449, section 5).
    ///
    /// # Errors
    /// When the server gives none, or one that is not bound.
    pub async fn bound_token(&self, resource: &str, scope: &str, holder: &Holder) -> anyhow::Result<String> {
        let form = [("grant_type", "client_credentials"), ("resource", resource), ("scope", scope)];
        let url = self.endpoint("token_endpoint").await?;
        let proof = holder.proof(&url, "").claim("ath", Value::Null).signed();
        let answer = self.post_with("token_endpoint", ROBOT, &form, &[("DPoP", &proof)]).await?;
        if answer.get("token_type").and_then(Value::as_str) != Some("DPoP") {
            bail!("not bound: {answer}");
        }
        let token = answer.get("access_token").and_then(Value::as_str);
        Ok(token.with_context(|| format!("no token in {answer}"))?.to_owned())
    }

    /// Revokes a token (RFC 7009).
    ///
    /// # Errors
    /// When the server does not revoke it.
    pub async fn revoke(&self, token: &str) -> anyhow::Result<()> {
        self.post("revocation_endpoint", INTROSPECTOR, &[("token", token)]).await.map(drop)
    }

    /// True if the server says, to an authorized client, that a token is active.
    ///
    /// # Errors
    /// When the server does not answer that.
    pub async fn is_active(&self, token: &str) -> anyhow::Result<bool> {
        let answer = self.post("introspection_endpoint", INTROSPECTOR, &[("token", token)]).await?;
        answer.get("active").and_then(Value::as_bool).with_context(|| format!("{answer}"))
    }

    /// The URL of an endpoint, from the server's own metadata (RFC 8414).
    ///
    /// # Errors
    /// When the metadata does not contain it.
    pub async fn endpoint(&self, name: &str) -> anyhow::Result<String> {
        let url = format!("{}/.well-known/oauth-authorization-server", self.issuer());
        let metadata: Value = self.http.get(url).send().await?.error_for_status()?.json().await?;
        Ok(metadata.get(name).and_then(Value::as_str).with_context(|| format!("no {name}"))?.to_owned())
    }

    async fn post(
        &self,
        endpoint: &str,
        client: (&str, &str),
        form: &[(&str, &str)],
    ) -> anyhow::Result<Value> {
        self.post_with(endpoint, client, form, &[]).await
    }

    async fn post_with(
        &self,
        endpoint: &str,
        client: (&str, &str),
        form: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> anyhow::Result<Value> {
        let (id, secret) = client;
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.http.post(self.endpoint(endpoint).await?).basic_auth(id, Some(secret));
        let request = request.header("Content-Type", "application/x-www-form-urlencoded").body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{endpoint} answers {status}: {text}");
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Has the server sign with a new key from now on; earlier keys stay published.
    ///
    /// # Errors
    /// When the server does not confirm.
    pub fn rotate(&mut self) -> anyhow::Result<String> {
        self.order("rotate")
    }

    /// Has the server publish its newest key alone.
    ///
    /// # Errors
    /// When the server does not confirm.
    pub fn withdraw(&mut self) -> anyhow::Result<String> {
        self.order("withdraw")
    }

    fn order(&mut self, order: &str) -> anyhow::Result<String> {
        let process = self.process.as_mut().context("the server is not running")?;
        let reply = process.order(order)?;
        Ok(reply.strip_prefix("signing ").with_context(|| format!("it says {reply:?}"))?.to_owned())
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts the server again at the same address, with its former state.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.process = Some(Process::start(self.make, &self.settings)?);
        Ok(())
    }
}

struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(make: Make, settings: &Value) -> anyhow::Result<Self> {
        let (program, script) = program(make)?;
        let mut child = Command::new(program)
            .arg(script)
            .arg(settings.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("stdin is piped")?;
        let output = BufReader::new(child.stdout.take().context("stdout is piped")?);
        let mut process = Self { child, input, output };
        let reply = process.line()?;
        if !reply.starts_with("listening ") {
            bail!("the authorization server says {reply:?}");
        }
        Ok(process)
    }

    fn order(&mut self, order: &str) -> anyhow::Result<String> {
        writeln!(self.input, "{order}")?;
        self.line()
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(make: Make) -> anyhow::Result<(PathBuf, PathBuf)> {
    let clients = Clients::installed()?;
    let (program, script) = match make {
        Make::OidcProvider => (clients.node(), "provider.mjs"),
        Make::Authlib => (clients.python_of("authorization-servers"), "authlib_server.py"),
    };
    let missing = !program.exists() || !directory().join("node_modules").is_dir();
    if missing {
        bail!("the authorization servers are not installed: `cargo xtask tools` does it");
    }
    Ok((program, directory().join(script)))
}

/// The directory of the servers and the driver of the browser.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("authorization-servers")
}

/// The path of the browser for logins: `WITGATE_BROWSER`, or Debian's Chromium.
///
/// # Errors
/// When there is none: a login without a test is no working login.
pub fn browser() -> anyhow::Result<PathBuf> {
    let named = std::env::var_os("WITGATE_BROWSER").map(PathBuf::from);
    let usual =
        ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].map(PathBuf::from);
    let found = named.into_iter().chain(usual).find(|program| program.is_file());
    found.context(
        "there is no browser to log in with: `cargo xtask tools` installs Debian's package chromium as root; \
         elsewhere install one and name it by WITGATE_BROWSER",
    )
}
