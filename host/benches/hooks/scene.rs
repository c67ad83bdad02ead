//! Generations and requests, made through the same functions as in `witgate serve`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::json;
use tempfile::TempDir;
use witgate_api_key::store::Time;
use witgate_base::clock::Clock;
use witgate_cases::factory::Factory;
use witgate_component::compile::Compiler;
use witgate_component::engine::Engine;
use witgate_component::load::Loader;
use witgate_config::environment::Environment;
use witgate_config::key_store::{KeyStore, NewKey};
use witgate_config::resolve;
use witgate_flow::authenticate::authenticate;
use witgate_flow::authenticate::identity::Caller;
use witgate_flow::authorize::{Permit, authorize};
use witgate_flow::decision::DecisionId;
use witgate_flow::dpop::{Proofs, ProvenRequest};
use witgate_flow::request::{Request, Route};
use witgate_message::call::Call;
use witgate_message::credential::Credentials;
use witgate_message::era::Era;
use witgate_plugin::{Scheme, Transport};
use witgate_policy::generation::Generation;

/// The form of a check: component or native code.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    Component,
    Native,
}

impl Form {
    pub(crate) const BOTH: [Self; 2] = [Self::Component, Self::Native];

    fn component(self, name: &str) -> String {
        match self {
            Self::Native => String::new(),
            Self::Component => format!("component = {:?}\n", component(name)),
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Component => "component",
            Self::Native => "native",
        })
    }
}

/// A shipped component.
pub(crate) fn component(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let file = root.join(format!("target/plugins/{name}.wasm"));
    assert!(file.is_file(), "{} is not there: run `cargo xtask guests`", file.display());
    file
}

/// The amount of data in a request: no policy reads it.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) headers: usize,
    pub(crate) arguments: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { headers: 20, arguments: 512 }
    }
}

/// A generation, and a caller with access.
pub(crate) struct Scene {
    pub(crate) config: witgate_config::Config,
    pub(crate) factory: Factory,
    pub(crate) generation: Arc<Generation>,
    key: String,
    pub(crate) route: Arc<Route>,
    _dir: TempDir,
}

/// A password, and a hash of it with the lowest cost: only logins that are remembered are measured.
pub(crate) const PASSWORD: &str = "correct horse";
pub(crate) const PASSWORD_HASH: &str =
    "$argon2id$v=19$m=64,t=1,p=1$0hrD2JsTwtibkzKG8F6L8Q$djR0Qf8q2IVYMDfc6eIFyBOl61AuM1AkZNVbd6N+cD8";

/// A secret for HMAC.
pub(crate) const SECRET: &str = "a secret of the benches that is long enough";

impl Scene {
    /// A scene with a store of 100 keys, in front of 20 roles.
    pub(crate) async fn with_keys(form: Form) -> Self {
        let policy = "kind = 'api-key'\nconfig = { store = 'keys.toml' }\n".to_owned();
        Self::new(form, &(policy + &form.component("api-key"))).await
    }

    /// The scene with keys, whose policies only explain.
    pub(crate) async fn explaining(form: Form) -> Self {
        let Self { config, factory, generation: _, key, route, _dir } = Self::with_keys(form).await;
        let factory = factory.observing();
        let generation = Arc::new(factory.candidate(&config, None).await.unwrap());
        Self { config, factory, generation, key, route, _dir }
    }

    /// A scene with tokens, in front of 20 roles.
    pub(crate) async fn with_tokens(form: Form, algorithm: &str, key: &str) -> Self {
        let policy = format!(
            "kind = 'jwt'\nconfig = {{ keys = ['signing'], algorithms = ['{algorithm}'] }}\n{}[keys.signing]\n{key}\n",
            form.component("jwt")
        );
        Self::new(form, &policy).await
    }

    /// A scene with 100 users who have the same password, in front of 20 roles.
    pub(crate) async fn with_users(form: Form) -> Self {
        let user = |number| {
            format!(
                "[[users]]\nname = \"user-{number}\"\nid = \"u{number}\"\nhash = \"{PASSWORD_HASH}\"\n\
                 created = 2026-01-01T00:00:00Z\nroles = {}\n",
                json!(HELD)
            )
        };
        let users: String = (0..100).map(user).collect();
        let policy = format!(
            "kind = 'basic'\nconfig.users.content = '''version = 1\n{users}'''\n{}",
            form.component("basic")
        );
        Self::new(form, &policy).await
    }

    async fn new(form: Form, authenticator: &str) -> Self {
        Self::before("url = 'http://127.0.0.1:9/mcp'", form, authenticator).await
    }

    /// A scene with an authenticator in front of 20 roles, and another upstream.
    pub(crate) async fn before(upstream: &str, form: Form, authenticator: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let key = keys(&dir.path().join("keys.toml"));
        let path = dir.path().join("witgate.toml");
        let rbac = form.component("rbac");
        let text = format!(
            "[upstreams.up]\n{upstream}\nresource = '{RESOURCE}'\n\
             [pipeline]\nauthenticate = ['who']\nauthorize = ['may']\n\
             [policies.may]\nkind = 'rbac'\n{rbac}config = {{ roles = {{ {} }} }}\n\
             [policies.who]\n{authenticator}",
            roles(|name, patterns| format!("{name} = {{ allow = {patterns} }}")),
        );
        std::fs::write(&path, text).unwrap();
        let environment: Environment = [("BENCH_SECRET", SECRET)].into_iter().collect();
        let config = resolve::load(Some(&path), &environment).unwrap().config;
        let cache = Environment::of_process().get("WITGATE_CACHE").map(PathBuf::from);
        let loader = Loader::new(Engine::new().unwrap(), Compiler::Within, cache);
        let factory = Factory::new(loader, environment, Clock::System);
        let generation = Arc::new(factory.candidate(&config, None).await.unwrap());
        let route = Route {
            upstream: "up".into(),
            resource: RESOURCE.into(),
            pipeline: 0,
            extensions: Vec::new(),
            advertise_auth: false,
            disagreements: None,
        };
        Self { config, factory, generation, key, route: Arc::new(route), _dir: dir }
    }

    /// The same policies with empty caches.
    pub(crate) async fn renewed(&self) -> Generation {
        self.factory.candidate(&self.config, None).await.unwrap()
    }

    /// The key that the caller sends.
    pub(crate) fn key(&self) -> Credentials {
        let mut shown = Credentials::default();
        let header = HeaderName::from_static("x-api-key");
        shown.add(Scheme::Header, Some(header), SecretString::from(self.key.clone()));
        shown
    }

    /// The key as text.
    pub(crate) fn key_text(&self) -> &str {
        &self.key
    }

    /// A call of the last tool that the last of the caller's roles allows.
    pub(crate) fn request(&self, shape: Shape) -> ProvenRequest {
        let request = Request {
            call: Call::parse(body(shape.arguments)).unwrap(),
            decision: DecisionId::default(),
            era: Era::Stateless,
            headers: headers(shape.headers),
            peer: Some([127, 0, 0, 1].into()),
            certificate: None,
            round: None,
            hooks: Default::default(),
            definitions: Default::default(),
            transport: Transport::Http,
            route: Arc::clone(&self.route),
        };
        Proofs::default().prove(&self.generation, &Arc::new(request), &Credentials::default()).unwrap()
    }

    pub(crate) async fn caller(&self, request: &ProvenRequest) -> Arc<Caller> {
        self.authenticate(request, &self.key()).await
    }

    pub(crate) async fn authenticate(&self, request: &ProvenRequest, shown: &Credentials) -> Arc<Caller> {
        authenticate(&self.generation, request, shown).await.result.unwrap()
    }

    pub(crate) async fn authorize(&self, request: &ProvenRequest, caller: &Arc<Caller>) -> Permit {
        authorize(Arc::clone(&self.generation), request, Arc::clone(caller), None).await.result.unwrap()
    }

    /// Calls both hooks, as the flow does.
    pub(crate) async fn judge(&self, request: &ProvenRequest, shown: &Credentials) -> Permit {
        judge(&self.generation, request, shown).await
    }
}

/// Calls both hooks of a generation.
pub(crate) async fn judge(
    generation: &Arc<Generation>,
    request: &ProvenRequest,
    shown: &Credentials,
) -> Permit {
    let caller = authenticate(generation, request, shown).await.result.unwrap();
    authorize(Arc::clone(generation), request, caller, None).await.result.unwrap()
}

/// The audience of the tokens.
pub(crate) const RESOURCE: &str = "https://mcp.example.com/mcp";

/// The three roles that every caller holds.
pub(crate) const HELD: [&str; 3] = ["role03", "role09", "role15"];

/// 20 roles of 5 patterns each, in the form that `write` makes.
pub(crate) fn roles(write: impl Fn(String, serde_json::Value) -> String) -> String {
    let role = |role: usize| {
        let patterns: Vec<_> = (0..5).map(|area| format!("svc{role:02}_area{area}_get_*")).collect();
        write(format!("role{role:02}"), json!(patterns))
    };
    (0..20).map(role).collect::<Vec<_>>().join(", ")
}

/// Writes a store of 100 keys, and returns the text of one in the middle.
fn keys(path: &Path) -> String {
    std::fs::write(path, &KEYS.0).unwrap();
    KEYS.1.clone()
}

/// The store, and the key. Made once, because each new key writes the whole store.
static KEYS: LazyLock<(Vec<u8>, String)> = LazyLock::new(|| {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("keys.toml");
    let store = KeyStore::at(&path);
    let make = |n: usize| {
        let roles = HELD.map(str::to_owned).to_vec();
        let new =
            NewKey { name: format!("key{n:03}"), roles, allow: vec!["*".to_owned()], ..NewKey::default() };
        store.create(new, Time(1_700_000_000)).unwrap().text.reveal().to_owned()
    };
    let texts: Vec<_> = (0..100).map(make).collect();
    (std::fs::read(path).unwrap(), texts[50].clone())
});

/// A `tools/call` of the stateless era with `size` bytes of arguments.
pub(crate) fn body(size: usize) -> Bytes {
    let text = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {
            "name": TOOL,
            "arguments": { "text": "x".repeat(size.saturating_sub(11)) },
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    });
    text.to_string().into()
}

/// The tool that is called.
pub(crate) const TOOL: &str = "svc15_area4_get_item";

/// The headers that the protocol requires, and others up to `count`.
pub(crate) fn headers(count: usize) -> HeaderMap {
    let needed = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", TOOL),
    ];
    let named = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    let mut headers: HeaderMap = needed.into_iter().map(named).collect();
    for n in headers.len()..count {
        let name: HeaderName = format!("x-header-number-{n}").parse().unwrap();
        headers.insert(name, HeaderValue::from_static("something that nobody reads"));
    }
    headers
}
