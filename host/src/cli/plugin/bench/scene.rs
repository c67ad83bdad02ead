//! What is measured: the component and a built-in, each as a policy, and a question that both are asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use secrecy::SecretString;
use serde_json::{Value, json};
use witgate_plugin::{Call, Credential, Identity, Scheme, TargetKind, Transport};

use super::Arguments;
use crate::cli::{Context, Failure};
use crate::config::{
    Breaker, Fallback, Grants, Isolation, KeySource, Limits, Mode, Policy as Config, PolicyKind,
};
use crate::flow::call;
use crate::flow::identity::Caller;
use crate::flow::reject::Rejection;
use crate::flow::request::{Era, Request, Route};
use crate::plugin::compile::Compiler;
use crate::plugin::engine::Engine;
use crate::plugin::load::Loader;
use crate::plugin::settings::{RemoteKeys, Surroundings};
use crate::policy::{Making, Policy};
use crate::provenance::Provenance;
use crate::services::{Clock, Scope};

/// Grants are made for whatever a component may import; nobody is at the other end.
const SECRET: &str = "bench";

/// What surrounds the policies.
pub(super) struct Scene {
    path: PathBuf,
    settings: Value,
    call: String,
    engine: Engine,
    keys: BTreeMap<String, KeySource>,
    remote: RemoteKeys,
    environment: crate::config::environment::Environment,
}

impl Scene {
    pub(super) fn new(arguments: &Arguments, context: &Context) -> Result<Self, Failure> {
        let engine = Engine::new().map_err(|error| Failure::new(error.to_string()))?;
        let secret = KeySource::Secret(SecretString::from("a secret of no use that is long enough"));
        Ok(Self {
            path: component_of(&arguments.plugin)?,
            settings: arguments.settings.as_deref().map_or_else(|| Ok(json!({})), settings)?,
            call: arguments.call.clone(),
            engine,
            keys: BTreeMap::from([(SECRET.to_owned(), secret)]),
            remote: RemoteKeys::default(),
            environment: context.environment.clone(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Compiles the component, with nothing kept from the last time.
    pub(super) async fn compile(&self) -> Result<(), Failure> {
        let loader = Loader::new(self.engine.clone(), Compiler::own(), None);
        let loaded = loader.load(&self.path, &Provenance::default()).await;
        loaded.map(drop).map_err(|error| Failure::new(error.to_string()))
    }

    /// A loader that has compiled it.
    pub(super) async fn loader(&self) -> Result<Loader, Failure> {
        let loader = Loader::new(self.engine.clone(), Compiler::own(), None);
        let loaded = loader.load(&self.path, &Provenance::default()).await;
        loaded.map_err(|error| Failure::new(error.to_string()))?;
        Ok(loader)
    }

    /// The component as a policy.
    pub(super) async fn component(&self, loader: &Loader) -> Result<Policy, Failure> {
        let config = Config {
            component: Some(self.path.clone()),
            config: self.settings.clone(),
            grants: Grants {
                http: vec!["https://bench.invalid".to_owned()],
                secrets: vec![SECRET.to_owned()],
                cache: true,
                crypto: true,
                ..Grants::default()
            },
            ..bare("component", PolicyKind::Custom)
        };
        self.make(&config, loader).await
    }

    /// A check that does next to nothing.
    pub(super) async fn native(&self, loader: &Loader) -> Result<Policy, Failure> {
        let roles = json!({ "roles": { "bench": { "allow": ["*"] } } });
        self.make(&Config { config: roles, ..bare("native", PolicyKind::Rbac) }, loader).await
    }

    async fn make(&self, config: &Config, loader: &Loader) -> Result<Policy, Failure> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        let (keys, remote, environment) = (&self.keys, &self.remote, &self.environment);
        let around = Surroundings { dir, keys, remote, environment, on_stage: false };
        let making = Making { loader, around, clock: &Clock::System, live: None, again: None, stage: None };
        let made = Policy::make(config, making).await;
        made.map(|(policy, _)| policy).map_err(|error| Failure::new(error.message))
    }

    /// The question for a policy: about a tool, from somebody whom it concerns.
    pub(super) fn asking(&self, policy: &Policy) -> Asking {
        const SCHEMES: [Scheme; 6] = [
            Scheme::Bearer,
            Scheme::Header,
            Scheme::Basic,
            Scheme::Dpop,
            Scheme::Argument,
            Scheme::Certificate,
        ];
        let identity =
            Identity { subject: "bench".to_owned(), roles: vec!["bench".to_owned()], ..Identity::default() };
        let caller = Arc::new(Caller::new(identity, "bench".into()));
        let scheme = SCHEMES.into_iter().find(|scheme| policy.judges(*scheme));
        let who = scheme.filter(|_| !policy.authorizes());
        let request = Request {
            call: call::Call::of_parts(Some("{}"), None),
            era: Era::Stateless,
            headers: HeaderMap::new(),
            peer: None,
            certificate: None,
            proven_key: OnceLock::new(),
            stood_in: OnceLock::new(),
            transport: Transport::Http,
            route: Arc::new(Route {
                upstream: "upstream".into(),
                resource: "https://mcp.example.com/mcp".into(),
                pipeline: 0,
                extensions: Vec::new(),
            }),
        };
        let caller_of_scope = who.is_none().then(|| Arc::clone(&caller));
        let scope =
            Scope { request: Arc::new(request), caller: caller_of_scope, listing: false, heard: None };
        Asking { scope, caller, target: self.call.clone(), who }
    }
}

/// A question.
pub(super) struct Asking {
    scope: Scope,
    caller: Arc<Caller>,
    target: String,
    /// Where it is who somebody is: by which credential.
    who: Option<Scheme>,
}

impl Asking {
    /// Asks it. Any answer will do.
    pub(super) async fn ask(&self, policy: &Policy) -> Result<(), Failure> {
        let call = Call {
            method: "tools/call",
            kind: TargetKind::Tool,
            target: &self.target,
            transport: Transport::Http,
            listing: false,
        };
        let asked = match self.who {
            Some(scheme) => {
                let credential = Credential { scheme, value: "a credential of nobody" };
                policy.authenticate(&self.scope, &call, &credential).await.map(drop)
            }
            None => policy.authorize(&self.scope, &call, &self.caller.as_principal()).await.map(drop),
        };
        asked.map_err(|rejection| match rejection {
            Rejection::Failed { failure, detail, .. } => Failure::new(format!(
                "the hook fails with `{}`, so there is nothing to measure: {detail}",
                failure.reason()
            )),
            other => Failure::new(format!("the hook fails: {other:?}")),
        })
    }
}

fn bare(name: &str, kind: PolicyKind) -> Config {
    Config {
        name: name.to_owned(),
        kind,
        component: None,
        fallback: Fallback::default(),
        mode: Mode::default(),
        config: json!({}),
        provenance: Provenance::default(),
        cases: None,
        limits: Limits { memory: 256 << 20, ..Limits::default() },
        isolation: Isolation::default(),
        breaker: Breaker::default(),
        grants: Grants::default(),
    }
}

/// The component file; of a plugin's directory, the one that its `plugin.toml` names.
fn component_of(plugin: &Path) -> Result<PathBuf, Failure> {
    if !plugin.is_dir() {
        return Ok(plugin.to_owned());
    }
    let project = plugin.join("plugin.toml");
    let unreadable = |why: String| Failure::new(format!("{}: {why}", project.display()));
    let text = std::fs::read_to_string(&project).map_err(|error| unreadable(error.to_string()))?;
    let table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| unreadable(error.message().to_owned()))?;
    match table.get("name").and_then(toml::Value::as_str) {
        Some(name) => Ok(plugin.join(format!("{name}.wasm"))),
        None => Err(unreadable("it has no `name`; write the plugin's".to_owned())),
    }
}

fn settings(path: &Path) -> Result<Value, Failure> {
    let unreadable = |why: String| Failure::new(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| unreadable(format!("it is not JSON: {error}")))
}
