//! The set-up of the demo: a directory with a configuration, components and keys.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::client::Client;
use super::output::parse;
use crate::tools::Tools;
use witgate_build::process::{ask, run};

/// Time limit for a command that only reads and writes a file.
const QUICK: Duration = Duration::from_secs(20);

/// The files, programs and keys of the demo.
pub(super) struct Scene {
    /// The program of the host.
    pub(super) witgate: PathBuf,
    /// The path of its configuration.
    pub(super) config: PathBuf,
    /// The URL at which it serves MCP.
    pub(super) url: String,
    /// The address in that URL.
    pub(super) address: String,
    /// The path of the component that is swapped.
    pub(super) rules: PathBuf,
    /// The command of the upstream server.
    pub(super) upstream: Vec<String>,
    /// A developer's key.
    pub(super) alice: String,
    /// A guest's key.
    pub(super) bob: String,
    /// The client.
    pub(super) client: Client,
    plugins: PathBuf,
}

impl Scene {
    pub(super) fn set(root: &Path, directory: &Path, tools: &Tools) -> Result<Self> {
        let everything = tools.node_modules.join("@modelcontextprotocol/server-everything/dist/index.js");
        let upstream = [tools.node.display().to_string(), everything.display().to_string(), "stdio".into()];
        // Another program could take the address before the host does. The host then says so and ends.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let plugins = root.join("target/plugins");
        let own = directory.join("plugins");
        fs::create_dir(&own)?;
        fs::copy(plugins.join("api-key.wasm"), own.join("api-key.wasm"))?;
        fs::copy(plugins.join("rbac.wasm"), own.join("rules.wasm"))?;
        let config = directory.join("witgate.toml");
        fs::write(&config, configuration(&address, &upstream))?;

        let witgate = root.join("target/debug/witgate");
        let key = |name, role| create_key(&witgate, &config, name, role);
        Ok(Self {
            url: format!("http://{address}/mcp"),
            address,
            rules: own.join("rules.wasm"),
            upstream: upstream.to_vec(),
            alice: key("alice", "developer")?,
            bob: key("bob", "guest")?,
            client: Client::new(root, tools),
            plugins,
            config,
            witgate,
        })
    }

    /// The policy that is swapped in.
    pub(super) fn read_only(&self) -> Result<Vec<u8>> {
        Ok(fs::read(self.plugins.join("examples/read-only.wasm"))?)
    }

    /// The policy that it replaces.
    pub(super) fn shipped_rules(&self) -> Result<Vec<u8>> {
        Ok(fs::read(self.plugins.join("rbac.wasm"))?)
    }

    /// A command of `witgate` for this configuration.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        command(&self.witgate, &self.config, arguments)
    }
}

fn command(witgate: &Path, config: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(witgate);
    command.args(arguments).arg("--config").arg(config);
    command
}

fn create_key(witgate: &Path, config: &Path, name: &str, role: &str) -> Result<String> {
    let mut create = command(witgate, config, &["key", "create", name, "--role", role, "--json"]);
    // A failure is printed. A success is not, because it holds a key.
    let Some(output) = ask(&mut create) else {
        run(&mut create, QUICK)?;
        anyhow::bail!("{create:?} failed, and then did not");
    };
    let created = parse(&output)?;
    let key = created.get("key").and_then(|key| key.as_str());
    Ok(key.context("`witgate key create --json` prints no key")?.to_owned())
}

fn configuration(address: &str, upstream: &[String]) -> String {
    // A JSON array of strings is also a TOML array.
    let upstream = serde_json::json!(upstream);
    format!(
        r#"# Written by `cargo xtask demo`.
[server]
listen = "{address}"

[upstreams.everything]
command = {upstream}

# Who is calling: the keys in keys.toml.
[policies.keys]
kind = "api-key"
component = "plugins/api-key.wasm"
config = {{ store = "keys.toml" }}

# What they may do. Replace the file while this runs.
[policies.rules]
kind = "rbac"
component = "plugins/rules.wasm"

[policies.rules.config.roles]
developer = {{ allow = ["*"], deny = ["get-env"] }}
guest = {{ allow = ["echo"] }}

[pipeline]
authenticate = ["keys"]
authorize = ["rules"]
"#
    )
}
