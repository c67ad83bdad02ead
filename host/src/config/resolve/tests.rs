//! What a person reads. Each case is a configuration with a fault, and all that is said about it.

use std::path::PathBuf;

use secrecy::ExposeSecret;

use super::load;
use crate::config::diagnostic::{Diagnostic, Style, render};
use crate::config::environment::Environment;
use crate::config::{Config, Fallback, Mode, Target, Transport};

/// A folder with a store and a configuration.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [("keys.toml", "version = 1\n"), ("p.wasm", "\0asm"), ("secret", "from a file\n"), ("empty", "\n")] {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        std::fs::write(folder.path().join("witgate.toml"), config).unwrap();
        Self(folder)
    }

    fn load(&self) -> Result<super::Loaded, Vec<Diagnostic>> {
        let environment = [("UPSTREAM_TOKEN", "sesame"), ("EMPTY", "")];
        load(Some(&self.path()), &environment.into_iter().collect())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("witgate.toml")
    }

    /// One line each, without the folder.
    fn says(&self) -> String {
        let diagnostics = match self.load() {
            Ok(loaded) => loaded.warnings,
            Err(faults) => faults,
        };
        let lines: Vec<_> = diagnostics.iter().map(|fault| format!("{fault}\n")).collect();
        lines.concat().replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// A good upstream, policy and pipeline, from line 100 on, for cases that are about something else.
const REST: &str = "
[upstreams.own]
own_tools = true
[policies.keys]
kind = 'api-key'
config = { store = 'keys.toml' }
[pipeline]
authenticate = ['keys']
authorize = ['keys']
";

fn says(config: &str) -> String {
    Folder::with(config).says()
}

fn good(config: &str) -> Config {
    let folder = Folder::with(config);
    match folder.load() {
        Ok(loaded) => loaded.config,
        Err(faults) => panic!("{faults:#?}"),
    }
}

#[test]
fn scratch() {
    let cases = [
        format!("[server]\nlistn = '127.0.0.1:1'\n{REST}"),
        format!("listen = '127.0.0.1:1'\n{REST}"),
        format!("[server]\nlisten = 'localhost:8787'\n{REST}"),
        format!("[server]\nlisten = 8787\n{REST}"),
        format!("[server]\ntransport = 'htp'\n{REST}"),
        format!("[sever]\ntransport = 'http'\n{REST}"),
        format!("[server]\nallowed_origins = ['*', 'https://a.example/x', 'https://ok.example']\n{REST}"),
        format!("[server]\nadmin_listen = '127.0.0.1:8787'\n{REST}"),
        format!("[server]\nlisten = '0.0.0.0:1'\n{REST}"),
        format!("[server]\nresource = 'mcp.example.com'\n{REST}"),
        "[upstreams.a]\ncommand = 'npx server'\n[upstreams.b]\n".to_owned(),
        "x = \n[server\nlisten = 'a".to_owned(),
        "[server]\n[server]\nlisten='1'".to_owned(),
        "[upstreams.a]\ncommand = ['nope', 'server']\nurl='http://x'\n[upstreams.b]\ncommand=[]\n[upstreams.c]\ncommand=['./nope']\nheaders={a='b'}\nenv={API_TOKEN='hunter2',X={env='UPSTREAM_TOKN'},Y={env='EMPTY'},Z={file='empty'},W={file='no'}, V={}, U={env='a',file='b'}}".to_owned(),
        format!("[policies.x]\nkind='rbca'\n[policies.y]\nkind='custom'\nfallback='builtin'\n[policies.z]\ncomponent='no.wasm'\n[policies.w]\nkind='rbac'\ncomponent='no.wasm'\nfallback='builtin'\ndigest='sha256:1'\nlimits={{timeout_ms=0,memory_mib='1'}}\ngrants={{http=['https://a/b'],keys=['k']}}\n{REST}"),
        format!("[keys.a]\nsecret='hunter2'\n[keys.b]\nsecret={{env='NOPE'}}\npem={{env='X'}}\n[keys.c]\n[keys.d]\njwks_url='ftp://x'\n[keys.e]\npem='abc'\n{REST}"),
        "[upstreams.own]\nown_tools = true\n[policies.k]\nkind='api-key'\nmode='shadow'\n[policies.r]\nkind='rbac'\n[policies.j]\nkind='jwt'\n[pipeline]\nauthenticate=['k','r','kk','zz']\nauthorize=['k','k']".to_owned(),
        "[upstreams.own]\nown_tools = true\n[pipeline]\nauthenticate=[]\n".to_owned(),
        "[upstreams.own]\nown_tools = true\n".to_owned(),
        "[upstreams.a]\nown_tools=true\npath='/x'\n[upstreams.b]\nown_tools=true\npath='/x'\n[upstreams.c]\nown_tools=true\n[upstreams.c.pipeline]\nauthorise=['a']".to_owned(),
    ];
    for case in cases {
        eprintln!("-----\n{}", says(&case));
    }
    let folder = Folder::with(&format!("[server]\nlistn = '127.0.0.1:1'\n[keys.a]\nsecret='hunter2'\n{REST}"));
    eprintln!("{}", render(&folder.load().unwrap_err(), Style::default()));
}
