//! The scene of the benchmark: two upstreams, and an installation of Witgate in front of both, with keys and tokens.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::cores::Cores;
use crate::servers::Server;
use witgate_build::process::run;

/// Time limit for a command that reads and writes a file.
const QUICK: Duration = Duration::from_secs(20);

/// Keys in the store.
const KEYS: usize = 100;

/// The upstreams that every gateway protects.
pub(super) struct Upstreams {
    pub(super) plain: Server,
    pub(super) rmcp: Server,
}

impl Upstreams {
    /// Starts both from the directory of built programs.
    pub(super) fn start(programs: &Path, cores: Cores) -> Result<Self> {
        let plain = Server::announced(&mut cores.rest(programs.join("plain-upstream")))?;
        let mut rmcp = cores.rest(programs.join("fixture-upstream"));
        let rmcp = Server::announced(rmcp.args(["--stateless", "--json"]))?;
        Ok(Self { plain, rmcp })
    }
}

/// A directory with a configuration of Witgate, keys and tokens, and the program that serves it.
pub(super) struct Installation {
    directory: PathBuf,
    program: PathBuf,
    cores: Cores,
    pub(super) address: String,
    pub(super) key: (String, String),
    pub(super) token: (String, String),
}

impl Installation {
    /// Writes the configuration, and makes keys and a token with the program that will serve them. The components are
    /// those that the program ships with: another program may not know their imports.
    pub(super) fn make(
        root: &Path,
        directory: PathBuf,
        program: PathBuf,
        upstreams: &Upstreams,
        cores: Cores,
    ) -> Result<Self> {
        let address = free_address()?;
        fs::create_dir_all(directory.join("log"))?;
        let components = directory.join("components");
        export_components(&program, &directory, &components)?;
        write_config(
            root,
            &directory,
            &components,
            &address,
            [&upstreams.plain.address, &upstreams.rmcp.address],
        )?;
        let mut installation =
            Self { directory, program, cores, address, key: Default::default(), token: Default::default() };
        installation.key = ("X-API-Key".to_owned(), installation.make_keys()?);
        installation.token = ("Authorization".to_owned(), format!("Bearer {}", installation.issue_token()?));
        Ok(installation)
    }

    /// Adds tables to the configuration.
    pub(super) fn extend(&self, tables: &str) -> Result<()> {
        let path = self.directory.join("witgate.toml");
        let text = fs::read_to_string(&path)?;
        Ok(fs::write(path, format!("{text}{tables}"))?)
    }

    /// Starts Witgate. Its log goes to a file, as for an operator.
    pub(super) fn gateway(&self) -> Result<Server> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut serve = self.cores.gateway(&self.program);
        Server::silent(self.within(&mut serve).arg("serve").stderr(log), &self.address)
    }

    /// The log of Witgate.
    pub(super) fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Empties the log, which grows by some hundred bytes with each call.
    pub(super) fn forget_log(&self) -> Result<()> {
        Ok(File::options().write(true).open(self.log())?.set_len(0)?)
    }

    /// The log's path, outside the directory of the configuration. That directory is watched: each line of the log
    /// would wake the watcher.
    fn log(&self) -> PathBuf {
        self.directory.join("log/witgate.log")
    }

    fn witgate(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        self.within(&mut command).args(arguments);
        command
    }

    fn within<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.current_dir(&self.directory).env_remove("RUST_LOG");
        command.env("WITGATE_CACHE", self.directory.join("cache")).env("LOAD_SECRET", "not used")
    }

    fn make_keys(&self) -> Result<String> {
        let mut last = String::new();
        for n in 0..KEYS {
            let name = format!("key{n:03}");
            let mut create = self.witgate(&["key", "create", &name, "--json"]);
            for role in HELD {
                create.args(["--role", role]);
            }
            let key: Value = serde_json::from_str(&run(&mut create, QUICK)?)?;
            key.get("key").and_then(Value::as_str).context("no key")?.clone_into(&mut last);
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

/// An address on which nothing listens yet.
///
/// Another program could take it before the gateway does. The gateway then says so and ends.
pub(super) fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// The lengths of the lists that are measured.
pub(super) const LISTS: [usize; 2] = [500, 5_000];

const AUDIENCE: &str = "https://mcp.example.com/mcp";

/// Three of the twenty roles.
const HELD: [&str; 3] = ["role03", "role09", "role15"];

/// A user with a password, of the tables of [`users`].
pub(super) const USER: &str = "user";

/// The path at which passwords are checked.
pub(super) const USERS_PATH: &str = "/users";

/// Tables with a user and an upstream at [`USERS_PATH`]. The hash has the cost of new ones, and no password.
pub(super) fn users(root: &Path, upstream: &str) -> String {
    let component = root.join("target/plugins/basic.wasm").display().to_string();
    let hash = format!("$argon2id$v=19$m=19456,t=2,p=1${}${}", "A".repeat(22), "A".repeat(43));
    format!(
        "[upstreams.users]\nurl = \"http://{upstream}/mcp\"\npath = \"{USERS_PATH}\"\nresource = \"{AUDIENCE}\"\n\
         pipeline = {{ authenticate = [\"users\"], authorize = [\"rules\"] }}\n\
         [policies.users]\nkind = \"basic\"\ncomponent = {component:?}\nconfig.users.content = '''\nversion = 1\n\
         [[users]]\nname = \"{USER}\"\nid = \"u\"\nhash = \"{hash}\"\ncreated = 2026-01-01T00:00:00Z\n'''\n"
    )
}

fn export_components(program: &Path, directory: &Path, to: &Path) -> Result<()> {
    let mut export = Command::new(program);
    export.current_dir(directory).args(["plugin", "export", "--to"]).arg(to);
    run(&mut export, QUICK)?;
    Ok(())
}

fn write_config(
    root: &Path,
    directory: &Path,
    components: &Path,
    address: &str,
    upstreams: [&String; 2],
) -> Result<()> {
    let [plain, rmcp] = upstreams;
    let component = |name: &str| components.join(format!("{name}.wasm")).display().to_string();
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
    let lists = LISTS.map(|length| {
        format!(
            "[upstreams.list-{length}]\nurl = \"http://{plain}/list/{length}\"\npath = \"/list/{length}\"\n\
             resource = \"{AUDIENCE}\"\npipeline = {{ authenticate = [\"keys\"], authorize = [\"rules\"] }}\n"
        )
    });
    let tables = fs::read_to_string(root.join("tests/cases/jwt.toml"))?;
    fs::write(directory.join("public.pem"), pem(&tables, "[keys.rsa]")?)?;
    fs::write(directory.join("private.pem"), pem(&tables, "[signers.rs256]")?)?;
    let text = format!(
        r#"[server]
listen = "{address}"
{}{}
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
        lists.concat(),
        component("api-key"),
        component("jwt"),
        component("oauth2-introspection"),
        component("rbac"),
    );
    Ok(fs::write(directory.join("witgate.toml"), text)?)
}

/// A role with five patterns. In one of the caller's roles, the last pattern covers the call.
fn role(n: usize) -> String {
    let last = if n == 15 { "gr*t".to_owned() } else { format!("svc{n:02}_area4_*") };
    let patterns = (0..4).map(|area| format!("\"svc{n:02}_area{area}_*\", ")).collect::<String>();
    format!("role{n:02} = {{ allow = [{patterns}\"{last}\"] }}\n")
}

/// The first key after a heading in the tables of cases. These keys protect nothing.
fn pem<'a>(tables: &'a str, heading: &str) -> Result<&'a str> {
    let after = tables.split_once(heading).map(|(_, after)| after);
    let begin = after.and_then(|after| Some((after.find("-----BEGIN")?, after)));
    let key = begin.and_then(|(begin, after)| after.get(begin..)?.split_once("\"\"\"")).map(|(key, _)| key);
    key.with_context(|| format!("no key under {heading}"))
}
