//! Witgate in front of real authorization servers. Each test runs against each server that can do it.
//!
//! Needs the programs that `cargo xtask tools` installs.

mod bad_server;
mod client_scenarios;
mod faults;
mod flows;
mod introspection;
mod login;
mod outage;
mod outbound;
mod page;
mod possession;
mod revocation;

use std::time::Duration;

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup};
use witgate_tests::oauth::{AuthorizationServer, Format, INTROSPECTOR, Make, Plan, ROLE};

use crate::caller::Caller;

/// The policies that judge tokens, each as a built-in and as a component: `(NAME, FORMAT, COMPONENT)`. The name is
/// also the upstream's.
const GUARDED: [(&str, Format, bool); 4] = [
    ("opaque", Format::Opaque, false),
    ("opaque-guest", Format::Opaque, true),
    ("signed", Format::Jwt, false),
    ("signed-guest", Format::Jwt, true),
];

/// The scope that every tool needs, and the one that `add` needs in addition.
const READ: &str = "tools:read";
const WRITE: &str = "tools:write";

/// Time limit for a real client: several start at the same time on a busy machine.
const PATIENT: Duration = Duration::from_secs(120);

/// An authorization server, and a Witgate whose upstreams trust it.
struct Testbed {
    server: AuthorizationServer,
    witgate: Running,
}

/// The settings of a testbed.
struct Making {
    make: Make,
    plan: Plan,
    /// The upstream of Witgate, in TOML.
    upstream: String,
    /// Further settings of the introspecting policies, in TOML; `{issuer}` is the server's.
    introspection: String,
    /// Further settings of all policies that judge tokens, in TOML.
    judging: String,
    /// Further lines of `[server]`.
    server: String,
    /// Files beside the configuration, with their content.
    files: Vec<(String, String)>,
}

impl Making {
    fn of(make: Make) -> Self {
        let plan = Self {
            make,
            plan: Plan::default(),
            upstream: "own_tools = true".to_owned(),
            introspection: String::new(),
            judging: String::new(),
            server: String::new(),
            files: Vec::new(),
        };
        plan.introspecting(&format!("cache_ttl_s = {CACHED_S}"))
    }

    /// Other settings of the introspecting policies, whose client has a secret.
    fn introspecting(self, settings: &str) -> Self {
        Self {
            introspection: format!("client_secret = {{ env = \"INTROSPECTION_SECRET\" }}\n{settings}"),
            ..self
        }
    }

    /// An upstream for each of [`GUARDED`].
    fn start(self) -> Testbed {
        let setup = Setup::new().env("INTROSPECTION_SECRET", INTROSPECTOR.1);
        let address = setup.address();
        let resource = |name: &str| format!("http://{address}/{name}/mcp");
        let plan =
            GUARDED.iter().fold(self.plan, |plan, (name, format, _)| plan.resource(&resource(name), *format));
        let server = plan.start(self.make).unwrap();
        let issuer = server.issuer();
        let introspection = self.introspection.replace("{issuer}", &issuer);
        for (name, content) in &self.files {
            setup.file(name, content);
        }
        let (upstream, judging) = (&self.upstream, &self.judging);
        let mut text = String::new();
        for (name, format, guest) in GUARDED {
            let kind = kind(format);
            let component = match guest {
                true => {
                    setup.component(kind);
                    format!("component = \"plugins/{kind}.wasm\"\n")
                }
                false => String::new(),
            };
            let settings = match format {
                Format::Opaque => {
                    format!("issuer = \"{issuer}\"\nclient_id = \"{}\"\n{}", INTROSPECTOR.0, introspection)
                }
                Format::Jwt => format!(
                    "keys = [{{ jwks_url = \"{issuer}/jwks\" }}]\nalgorithms = [\"RS256\"]\nissuer = \"{issuer}\"\n\
                     leeway_s = 0"
                ),
            };
            text += &format!(
                "[upstreams.{name}]\n{upstream}\n\
                 [upstreams.{name}.pipeline]\nauthenticate = [\"{name}\"]\nauthorize = [\"rules\"]\n\
                 [policies.{name}]\nkind = \"{kind}\"\n{component}[policies.{name}.config]\n{settings}\n{judging}\n"
            );
        }
        text += &format!(
            "[policies.rules]\nkind = \"rbac\"\n\
             [policies.rules.config.roles]\n{ROLE} = {{ allow = [\"*\"] }}\n\
             [policies.rules.config.scopes]\n\"*\" = [\"{READ}\"]\nadd = [\"{WRITE}\"]\n"
        );
        setup.config(&format!("authorization_servers = [\"{issuer}\"]\n{}", self.server), &text);
        Testbed { server, witgate: setup.serve() }
    }
}

/// Time for which a valid answer of the authorization server is cached: longer than every test.
const CACHED_S: u32 = 300;

fn kind(format: Format) -> &'static str {
    match format {
        Format::Opaque => "oauth2-introspection",
        Format::Jwt => "jwt",
    }
}

impl Testbed {
    fn of(make: Make) -> Self {
        Making::of(make).start()
    }

    /// An upstream's endpoint, which is also the resource that tokens for it are for.
    fn resource(&self, upstream: &str) -> String {
        format!("http://{}/{upstream}/mcp", self.witgate.address())
    }

    /// A caller with a token for an upstream.
    async fn caller(&self, upstream: &str, scope: &str) -> Caller {
        let resource = self.resource(upstream);
        let token = self.server.token(&resource, scope).await.unwrap();
        Caller::with_token(resource, &token)
    }
}

/// The arguments of `echo`.
fn hello() -> Value {
    json!({ "text": "hello" })
}
