//! One gateway with a good policy, and hostile policies in front of upstreams of their own.

use std::fmt::Write as _;

use witgate_tests::gateway::{Running, Setup, component};
use witgate_tests::hostile::Guest;

use super::PATIENT;
use super::expectations::{Case, Hook, case};
use super::server::Server;
use crate::caller::Caller;

/// The value of a secret, which no output may contain.
pub(super) const SECRET: &str = "unspeakable-0123456789abcdef0123456789abcdef";

/// The settings of a circuit breaker that never opens.
pub(super) const UNBROKEN: &str = "breaker = { failures = 1000000 }";

pub(super) struct MixedGateway {
    pub(super) running: Running,
    /// The server that guests may reach.
    pub(super) server: Server,
    /// A server that no guest may reach.
    pub(super) elsewhere: Server,
    key: String,
}

impl MixedGateway {
    /// Every one of `guests` as the policy of an upstream that has its name. Each call is seen by its guest.
    pub(super) fn with(guests: &[Guest]) -> Self {
        Self::breaking(guests, UNBROKEN)
    }

    /// The same, with this `breaker`.
    pub(super) fn breaking(guests: &[Guest], breaker: &str) -> Self {
        let elsewhere = Server::start(String::new());
        let server = Server::start(elsewhere.url());
        let setup = Setup::new().env("VAULT", SECRET).env("OTHER", SECRET);
        setup.component("rbac");
        let mut config = good();
        for guest in guests {
            config += &own(*guest, &case(*guest), breaker);
        }
        setup.config("", &filled(&config, &server, &elsewhere));
        let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
        Self { running: setup.serve(), server, elsewhere, key }
    }

    /// A caller whose calls only the good policy judges.
    pub(super) fn good(&self) -> Caller {
        self.caller("good", &self.key)
    }

    /// Somebody whose call of `what` a guest decides on, and the tool that they call: an authorizer hears of the tool,
    /// an authenticator of the credential.
    pub(super) fn hostile(&self, guest: Guest, what: &str) -> (Caller, String) {
        let what = filled(what, &self.server, &self.elsewhere);
        match case(guest).hook {
            Hook::Authorize => (self.caller(guest.name(), &self.key), what),
            Hook::Authenticate => (self.caller(guest.name(), &what), "echo".to_owned()),
        }
    }

    fn caller(&self, upstream: &str, key: &str) -> Caller {
        Caller::new(format!("http://{}/{upstream}/mcp", self.running.address()), Some(key))
    }

    /// The most memory that the gateway has used, in MiB.
    pub(super) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.running.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("the peak");
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
    }

    /// The files that it has open.
    pub(super) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.running.pid())).unwrap().count()
    }
}

fn good() -> String {
    let authorizer = component("tests/faulty");
    format!(
        "[upstreams.good]\nown_tools = true\n\
         [keys.vault]\nsecret = {{ env = \"VAULT\" }}\n[keys.other]\nsecret = {{ env = \"OTHER\" }}\n\
         [policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"keys.toml\" }}\n\
         [policies.rules]\nkind = \"rbac\"\ncomponent = \"plugins/rbac.wasm\"\n{PATIENT}\n\
         config = {{ roles = {{ user = {{ allow = [\"*\"] }} }} }}\n\
         [policies.anybody]\nkind = \"custom\"\ncomponent = \"{}\"\n{PATIENT}\n\
         [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"rules\"]\n",
        authorizer.display()
    )
}

/// An upstream behind one guest.
fn own(guest: Guest, case: &Case, breaker: &str) -> String {
    let name = guest.name();
    let [authenticate, authorize] = match case.hook {
        Hook::Authorize => ["keys", name],
        Hook::Authenticate => [name, "anybody"],
    };
    let mut text = format!(
        "[upstreams.{name}]\nown_tools = true\n\
         [upstreams.{name}.pipeline]\nauthenticate = [\"{authenticate}\"]\nauthorize = [\"{authorize}\"]\n\
         [policies.{name}]\nkind = \"custom\"\ncomponent = \"{}\"\n{}\n",
        guest.file().display(),
        case.settings
    );
    if !case.settings.contains("breaker") {
        writeln!(text, "{breaker}").unwrap();
    }
    text
}

/// Says where the servers are.
fn filled(text: &str, server: &Server, elsewhere: &Server) -> String {
    text.replace("{server}", &server.url())
        .replace("{port}", &server.port.to_string())
        .replace("{elsewhere}", &elsewhere.port.to_string())
}
