//! The policies as components, in the host's real engine under its real limits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use witgate::config::Limits;
use witgate::plugin::compile::Compiler;
use witgate::plugin::engine::Engine;
use witgate::plugin::instance::PrepareError;
use witgate::plugin::load::{Loaded, Loader};
use witgate::plugin::trial::{Question, Surroundings, Trial};
use witgate::policy::cases::{Ask, Outcome};
use witgate::provenance::Provenance;
use witgate::services::fetch::Exchange;
use witgate_plugin::{Call, ConfigError, Credential, Host as _, HttpError, HttpRequest, HttpResponse, Wants};

use super::host::{FakeHost, keys};
use super::run::Subject;
use super::table::{Case, Kind, Step};
use crate::gateway::{component, workspace};

/// Runs the shipped components.
#[derive(Debug)]
pub struct Components {
    engine: Engine,
    loaded: HashMap<&'static str, Loaded>,
}

/// A configured component.
pub struct Configured {
    trial: Trial,
    servers: Arc<Servers>,
}

/// Hands HTTP requests to the host of the step at hand.
#[derive(Default)]
struct Servers(Mutex<Option<Arc<FakeHost>>>);

impl Exchange for Servers {
    fn answer(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let host = self.0.lock().unwrap().clone().expect("a step is at hand");
        host.answer(&request)
    }
}

impl Components {
    /// Loads them.
    pub async fn load() -> Self {
        let engine = Engine::new().unwrap();
        let cache = workspace().join("target/witgate-cache");
        let loader = Loader::new(engine.clone(), Compiler::Within, Some(cache));
        let mut loaded = HashMap::new();
        for name in ["api-key", "jwt", "oauth2-introspection", "client-certificate", "rbac"] {
            loaded.insert(name, loader.load(&component(name), &Provenance::default()).await.unwrap());
        }
        Self { engine, loaded }
    }
}

fn file(kind: Kind) -> &'static str {
    match kind {
        Kind::ApiKey => "api-key",
        Kind::Jwt => "jwt",
        Kind::Introspection => "oauth2-introspection",
        Kind::ClientCertificate => "client-certificate",
        Kind::Rbac => "rbac",
    }
}

impl Subject for Components {
    type Configured = Configured;

    async fn configure(&self, case: &Case) -> Result<(Configured, Wants), ConfigError> {
        let servers = Arc::<Servers>::default();
        let around = Surroundings {
            policy: case.policy.clone(),
            keys: keys(case),
            servers: Arc::<Servers>::clone(&servers),
            // The table is about what is decided; a slow machine is not part of it.
            limits: Limits { timeout: Duration::from_secs(5), ..Limits::default() },
        };
        let loaded = &self.loaded[file(case.kind)];
        match Trial::begin(&self.engine, loaded, case.config.to_string(), around).await {
            Ok((trial, wants)) => Ok((Configured { trial, servers }, wants)),
            Err(PrepareError::Config(error)) => Err(error),
            Err(error) => panic!("{}: {error}", case.name),
        }
    }

    async fn ask(&self, configured: &Configured, step: &Step, host: Arc<FakeHost>) -> Outcome {
        let audience = host.audience().into_owned();
        *configured.servers.0.lock().unwrap() = Some(host);
        let question = Question {
            now: step.now,
            call: Call {
                method: &step.call.method,
                kind: step.call.kind,
                target: &step.call.target,
                transport: step.call.transport,
                listing: step.call.listing,
            },
            arguments: step.call.arguments.as_deref(),
            audience: &audience,
            certificate: step.proven.certificate.as_deref(),
            proven_key: step.proven.dpop.as_deref(),
        };
        match &step.ask {
            Ask::Who { scheme, value } => {
                let credential = Credential { scheme: *scheme, value };
                Outcome::Verdict(configured.trial.authenticate(&question, &credential).await.unwrap())
            }
            Ask::May(caller) => {
                let asked = configured.trial.authorize(&question, caller.identity(), &caller.proven_by).await;
                Outcome::Decision(asked.unwrap())
            }
        }
    }
}
