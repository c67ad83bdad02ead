//! Generations and the flow in front of them, made with the functions of `witgate serve`, without sockets.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, empty};
use http::HeaderMap;
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use witgate_base::clock::Clock;
use witgate_base::digest::sha256;
use witgate_cases::factory::Factory;
use witgate_component::compile::Compiler;
use witgate_component::engine::Engine;
use witgate_component::load::Loader;
use witgate_config::Config;
use witgate_config::environment::Environment;
use witgate_config::resolve;
use witgate_flow::decision::DecisionId;
use witgate_flow::event::Event;
use witgate_flow::limit::Admitted;
use witgate_flow::port::{Answer, AnswerBody, SessionRequest, Upstream};
use witgate_flow::reject::Rejection;
use witgate_flow::request::{Request, Route};
use witgate_flow::{Arrival, Flow};
use witgate_message::call::Call;
use witgate_message::credential::Credentials;
use witgate_message::era::Era;
use witgate_plugin::{Scheme, Transport};
use witgate_policy::generation::{Generation, Generations};
use witgate_runtime::metrics::Metrics;
use witgate_tests::gateway::workspace;

/// The caller's credential.
pub(super) const KEY: &str = "a key of the properties, long enough to be one";

/// A directory with a configuration, and the factory of its generations.
pub(super) struct GenerationSetup {
    dir: TempDir,
    factory: Factory,
}

impl GenerationSetup {
    pub(super) fn new() -> Self {
        let loader = Loader::new(
            Engine::new().unwrap(),
            Compiler::Within,
            Some(workspace().join("target/witgate-cache")),
        );
        let factory = Factory::new(loader, Environment::default(), Clock::System);
        Self { dir: TempDir::new().unwrap(), factory }
    }

    /// The same, for generations that explain decisions.
    pub(super) fn observing() -> Self {
        let Self { dir, factory } = Self::new();
        Self { dir, factory: factory.observing() }
    }

    /// The directory.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file beside the configuration.
    pub(super) fn file(&self, name: &str, content: &str) {
        std::fs::write(self.dir.path().join(name), content).unwrap();
    }

    /// The generation that `config` describes.
    pub(super) async fn generation(&self, config: &str) -> Generation {
        let config = self.config(config);
        self.factory.candidate(&config, None).await.unwrap_or_else(|errors| panic!("{errors:?}"))
    }

    /// The successor of `live` for `config`, in which one policy is broken. None: nothing in it is new.
    pub(super) async fn successor(&self, config: &str, live: &Generation) -> Option<Generation> {
        let successor = self.factory.successor(&self.config(config), live, None).await;
        assert!(!successor.errors.is_empty(), "nothing is broken");
        successor.generation
    }

    fn config(&self, text: &str) -> Config {
        let path = self.dir.path().join("witgate.toml");
        std::fs::write(&path, text).unwrap();
        let loaded = resolve::load(Some(Path::new(&path)), &Environment::default());
        loaded.unwrap_or_else(|faults| panic!("{faults:#?}\n{text}")).config
    }
}

/// A store with one key, whose text is [`KEY`].
pub(super) fn store(roles: &[String], allow: &[String], deny: &[String]) -> String {
    let digest: String = sha256(KEY.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "version = 1\n[[keys]]\nname = 'alice'\nid = 'alice'\nsha256 = '{digest}'\n\
         created = 2026-01-01T00:00:00Z\nroles = {roles:?}\nallow = {allow:?}\ndeny = {deny:?}\n"
    )
}

/// The route to the upstream at `pipeline`.
pub(super) fn route(pipeline: usize) -> Arc<Route> {
    Arc::new(Route {
        upstream: "up".into(),
        resource: "https://mcp.example.com/up".into(),
        pipeline,
        extensions: Vec::new(),
        advertise_auth: false,
        disagreements: None,
    })
}

/// A message of the stateful era, over stdio: only its body determines what it is.
pub(super) fn message(method: &str, params: &Value) -> Bytes {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string().into()
}

/// The same message, in the form that the stages get.
pub(super) fn request(pipeline: usize, method: &str, params: &Value) -> Arc<Request> {
    Arc::new(Request {
        call: Call::parse(message(method, params)).unwrap(),
        decision: DecisionId::default(),
        era: Era::Stateful,
        headers: HeaderMap::new(),
        peer: None,
        transport: Transport::Stdio,
        route: route(pipeline),
        certificate: None,
        round: None,
        hooks: Default::default(),
        definitions: Default::default(),
    })
}

/// [`KEY`] as the credential of a request.
pub(super) fn credentials(scheme: Scheme) -> Credentials {
    let mut credentials = Credentials::default();
    credentials.add(scheme, None, SecretString::from(KEY));
    credentials
}

/// The flow in front of an upstream.
pub(super) fn flow<U: Upstream>(generations: Arc<Generations>, upstream: U) -> Flow<U> {
    Flow::new(route(0), upstream, generations, &Metrics::default(), CancellationToken::new())
}

/// Sends a message with [`KEY`]; the answer's JSON.
pub(super) async fn send<U: Upstream>(
    flow: &Flow<U>,
    method: &str,
    params: &Value,
) -> Result<Value, Rejection> {
    send_showing(flow, method, params, credentials(Scheme::Bearer)).await
}

/// The same with other credentials.
pub(super) async fn send_showing<U: Upstream>(
    flow: &Flow<U>,
    method: &str,
    params: &Value,
    shown: Credentials,
) -> Result<Value, Rejection> {
    let arrival = Arrival {
        under_way: Default::default(),
        known: Default::default(),
        transport: Transport::Stdio,
        peer: None,
        certificate: None,
        headers: HeaderMap::new(),
        body: message(method, params),
        shown: Some(shown),
        session: None,
    };
    let reply = flow.handle(arrival).await?;
    match reply.body {
        AnswerBody::Message { message, .. } => Ok(serde_json::from_slice(message.as_ref()).unwrap()),
        _ => panic!("{method} is answered by something else than a message"),
    }
}

/// An upstream whose answers are made from the admitted request.
pub(super) struct Says<F>(pub(super) F);

impl<F: Fn(&Admitted) -> Value + Send + Sync> Upstream for Says<F> {
    async fn forward(&self, admitted: Admitted) -> Result<Answer, Rejection> {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "result": (self.0)(&admitted) });
        Ok(Answer { session: None, body: AnswerBody::message(bytes::Bytes::from(message.to_string())) })
    }

    async fn listen(&self, _: SessionRequest) -> Result<BoxStream<'static, Event>, Rejection> {
        Ok(empty().boxed())
    }

    async fn close(&self, _: SessionRequest) -> Result<(), Rejection> {
        Ok(())
    }

    async fn shut_down(&self) {}
}
