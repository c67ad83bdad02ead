//! The processes of the benchmark: two upstreams, the plain proxy, and Witgate in front of both with keys and
//! tokens.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::servers::Server;
use witgate_build::process::run;

/// A command that reads and writes a file.
const QUICK: Duration = Duration::from_secs(20);

/// Keys in the store.
const KEYS: usize = 100;

/// A directory with Witgate's configuration, and the programs.
pub(super) struct Scene {
    directory: PathBuf,
    pub(super) programs: PathBuf,
    pub(super) address: String,
    pub(super) upstream: Server,
    pub(super) fixture: Server,
    pub(super) key: (String, String),
    pub(super) token: (String, String),
}

impl Scene {
    pub(super) fn set(root: &Path, directory: &Path) -> Result<Self> {
        let programs = root.join("target/release");
        let upstream = Server::announced(&mut Command::new(programs.join("plain-upstream")))?;
        let mut fixture = Command::new(programs.join("fixture-upstream"));
        let fixture = Server::announced(fixture.args(["--stateless", "--json"]))?;
        // Nobody else takes it in the moment until the gateway does, or the gateway will say so.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        write_config(root, directory, &address, [&upstream.address, &fixture.address])?;
        let mut scene = Self {
            directory: directory.to_owned(),
            programs,
            address,
            upstream,
            fixture,
            key: Default::default(),
            token: Default::default(),
        };
        fs::create_dir_all(directory.join("log"))?;
        scene.key = ("X-API-Key".to_owned(), scene.make_keys()?);
        scene.token = ("Authorization".to_owned(), format!("Bearer {}", scene.issue_token()?));
        Ok(scene)
    }

    /// Starts Witgate. Its log goes to a file, as it would for an operator.
    pub(super) fn gateway(&self) -> Result<Server> {
        let log = File::options().create(true).append(true).open(self.log())?;
        Server::silent(self.witgate(&["serve"]).stderr(log), &self.address)
    }

    /// The log of Witgate.
    pub(super) fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// The credential that is used for the first call.
    pub(super) fn key(&self) -> &(String, String) {
        &self.key
    }

    /// Empties the log, which grows by some hundred bytes with each call.
    pub(super) fn forget_log(&self) -> Result<()> {
        Ok(File::options().write(true).open(self.log())?.set_len(0)?)
    }

    /// Not beside the configuration, whose directory is watched: each line would wake the watcher.
    fn log(&self) -> PathBuf {
        self.directory.join("log/witgate.log")
    }

    fn witgate(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("witgate"));
        command.args(arguments).current_dir(&self.directory).env_remove("RUST_LOG");
        command.env("WITGATE_CACHE", self.directory.join("cache")).env("LOAD_SECRET", "not used");
        command
    }

    fn make_keys(&self) -> Result<String> {
        let mut last = String::new();
        for n in 0..KEYS {
            let name = format!("key{n:03}");
            let mut create = self.witgate(&["key", "create", &name, "--json"]);
            for role in HELD {
                create.args(["--role", role]);
            }
            let made: Value = serde_json::from_str(&run(&mut create, QUICK)?)?;
            made.get("key").and_then(Value::as_str).context("no key")?.clone_into(&mut last);
        }
        Ok(last)
    }

    fn issue_token(&self) -> Result<String> {
        let mut issue =
            self.witgate(&["token", "issue", "--json", "--sub", "somebody", "--policy", "tokens"]);
        issue.args(["--audience", AUDIENCE, "--signing-key", "private.pem"]);
        for role in HELD {
            issue.args(["--role", role]);
        }
        let issued: Value = serde_json::from_str(&run(&mut issue, QUICK)?)?;
        Ok(issued.get("token").and_then(Value::as_str).context("no token")?.to_owned())
    }
}

const AUDIENCE: &str = "https://mcp.example.com/mcp";

/// Three of twenty.
const HELD: [&str; 3] = ["role03", "role09", "role15"];

fn write_config(root: &Path, directory: &Path, address: &str, upstreams: [&String; 2]) -> Result<()> {
    let [plain, rmcp] = upstreams;
    let plugins = root.join("target/plugins");
    let component = |name: &str| plugins.join(format!("{name}.wasm")).display().to_string();
    let roles: String = (0..20).map(role).collect();
    let upstream = |name: &str, to: &str, who: &str| {
        format!(
            "[upstreams.{name}]\nurl = \"http://{to}/mcp\"\npath = \"/{name}\"\nresource = \"{AUDIENCE}\"\n\
             pipeline = {{ authenticate = [\"{who}\"], authorize = [\"rules\"] }}\n"
        )
    };
    let upstreams = [
        upstream("key", plain, "keys"),
        upstream("token", plain, "tokens"),
        upstream("rmcp-key", rmcp, "keys"),
        upstream("rmcp-token", rmcp, "tokens"),
        upstream("introspected", plain, "asked"),
    ];
    let tables = fs::read_to_string(root.join("tests/cases/jwt.toml"))?;
    fs::write(directory.join("public.pem"), pem(&tables, "[keys.rsa]")?)?;
    fs::write(directory.join("private.pem"), pem(&tables, "[signers.rs256]")?)?;
    let text = format!(
        r#"[server]
listen = "{address}"
{}
[policies.keys]
kind = "api-key"
component = {:?}
config = {{ store = "keys.toml" }}

[policies.tokens]
kind = "jwt"
component = {:?}
config = {{ keys = ["signing"], algorithms = ["RS256"] }}

[policies.asked]
kind = "oauth2-introspection"
component = {:?}
config = {{ endpoint = "http://127.0.0.1:9/introspect", client_id = "witgate", client_secret = {{ env = "LOAD_SECRET" }} }}

[policies.rules]
kind = "rbac"
component = {:?}
[policies.rules.config.roles]
{roles}
[keys.signing]
pem = {{ file = "public.pem" }}
"#,
        upstreams.concat(),
        component("api-key"),
        component("jwt"),
        component("oauth2-introspection"),
        component("rbac"),
    );
    Ok(fs::write(directory.join("witgate.toml"), text)?)
}

/// Five patterns, of which the last one of one of the caller's roles covers the call.
fn role(n: usize) -> String {
    let last = if n == 15 { "gr*t".to_owned() } else { format!("svc{n:02}_area4_*") };
    let patterns = (0..4).map(|area| format!("\"svc{n:02}_area{area}_*\", ")).collect::<String>();
    format!("role{n:02} = {{ allow = [{patterns}\"{last}\"] }}\n")
}

/// The first key after a heading of the tables of cases, whose keys guard nothing.
fn pem<'a>(tables: &'a str, heading: &str) -> Result<&'a str> {
    let after = tables.split_once(heading).map(|(_, after)| after);
    let begin = after.and_then(|after| Some((after.find("-----BEGIN")?, after)));
    let key = begin.and_then(|(begin, after)| after.get(begin..)?.split_once("\"\"\"")).map(|(key, _)| key);
    key.with_context(|| format!("no key under {heading}"))
}
