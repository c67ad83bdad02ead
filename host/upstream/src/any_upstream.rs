//! All kinds of upstreams in a configuration, behind one type.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::http::Uri;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::child::pipes::Launch;
use super::child::program::Program;
use super::child::{ChildSettings, ChildUpstream};
use super::child_credentials::ProcessCredentials;
use super::credential_states::CredentialStates;
use super::era::{EraCache, EraVerdict, SpokenEras};
use super::http::{EmbeddedService, HttpUpstream, SetUpError, Sse};
use super::needs::{self, NeededCredentials};
use super::own_tools::OwnTools;
use super::tools_beside::ToolsBeside;
use witgate_base::digest::{digest_text, sha256};
use witgate_base::party::Principal;
use witgate_config::OwnTool;
use witgate_config::{self as config, UpstreamTarget};
use witgate_credentials::fault::OutboundFault;
use witgate_credentials::registry::OutboundCredentials;
use witgate_credentials::upstream_credential::{Delegation, UpstreamCredential};
use witgate_flow::authenticate::identity::Caller;
use witgate_flow::body::BodyError;
use witgate_flow::event::Event;
use witgate_flow::limit::Admitted;
use witgate_flow::port::{Answer, SessionRequest, Upstream};
use witgate_flow::reject::Rejection;
use witgate_flow::request::Request;
use witgate_runtime::metrics::Metrics;

/// An upstream of any kind, with the own tools beside those of the server.
pub struct AnyUpstream {
    server: ServerUpstream,
    own: Option<Arc<ToolsBeside>>,
    pub(crate) needs: Arc<NeededCredentials>,
    pub(crate) of_processes: Arc<ProcessCredentials>,
    pub(crate) states: Arc<CredentialStates>,
}

/// The connection to a server of any kind.
pub(super) enum ServerUpstream {
    /// Over HTTP.
    Http(Box<HttpUpstream>),
    /// A child process, or Witgate's own tools, with which messages are exchanged in the same way.
    Child(ChildUpstream),
    /// A server with HTTP+SSE. Messages are exchanged in the same way, over an event stream.
    Sse(ChildUpstream, Arc<Sse>),
}

impl AnyUpstream {
    /// The upstream that `config` describes. Nothing is started or connected yet. `own` are Witgate's own tools. `cache`
    /// is the directory for the eras of commands, if there is one. `credentials` are those in use, with the connections to URLs. Must be called within
    /// a Tokio runtime.
    ///
    /// # Errors
    /// If an HTTP upstream's URL, headers or credential are invalid.
    pub fn new(
        config: &config::Upstream,
        grace: Duration,
        own: OwnTools,
        cache: Option<&Path>,
        credentials: &OutboundCredentials,
    ) -> Result<Self, SetUpError> {
        let ways = credentials.ways();
        let needs = Arc::new(NeededCredentials::of(&config.credentials, credentials)?);
        let states = Arc::new(CredentialStates::of(config, &needs));
        let beside =
            ToolsBeside::new((&config.own_tools, &config.own_resources), own.clone(), Arc::clone(&states));
        let child = |shared, launcher: Arc<dyn Launch>, eras| {
            let settings = ChildSettings {
                max_message: config.max_message,
                ..ChildSettings::new(&config.name, shared, config.timeout, grace)
                    .with_sessions(config.sessions)
            };
            ChildUpstream::new(settings, launcher, eras)
        };
        let of_children = &config.credentials.of_children;
        let of_processes = Arc::new(ProcessCredentials::of(of_children, credentials, config.timeout)?);
        let server = match &config.target {
            UpstreamTarget::Url { url, headers } => ServerUpstream::Http(Box::new(
                HttpUpstream::new(ways, url, headers, config.timeout)?
                    .with_sessions(config.sessions)
                    .with_identity(config.identity.clone())
                    .with_lifetimes(&config.lifetimes)
                    .with_eras(config.eras)
                    .with_messages(config.max_message)
                    .with_credential(needs::own(&config.credentials, credentials)?),
            )),
            UpstreamTarget::Sse { url, headers } => {
                let sse = Sse::new(ways, url, headers, config.timeout, config.max_message)?;
                let sse = Arc::new(sse.with_lifetimes(&config.lifetimes));
                let launcher: Arc<dyn Launch> = Arc::<Sse>::clone(&sse);
                ServerUpstream::Sse(
                    child(false, launcher, EraCache::known(EraVerdict::known(true, false))),
                    sse,
                )
            }
            UpstreamTarget::Embedded => return Err(SetUpError::Embedded),
            UpstreamTarget::Broken => return Err(SetUpError::Broken),
            UpstreamTarget::OwnTools => {
                let eras = EraCache::known(EraVerdict::known(true, true));
                ServerUpstream::Child(child(false, Arc::new(own), eras))
            }
            UpstreamTarget::Command { argv, env, shared } => {
                let (name, identity) = (config.name.clone(), config.identity.env.clone());
                let lifetimes = config.lifetimes.clone();
                let (argv, env, credentials) = (argv.clone(), env.clone(), Arc::clone(&of_processes));
                let program = Program { name, argv, env, lifetimes, identity, credentials };
                let eras = match (config.eras, cache) {
                    (Some(eras), _) => EraCache::configured(eras),
                    (None, Some(cache)) => EraCache::kept_in(kept(cache, &program)),
                    (None, None) => EraCache::default(),
                };
                ServerUpstream::Child(child(*shared, Arc::new(program), eras))
            }
        };
        Ok(Self { server, own: beside, needs, of_processes, states })
    }

    /// The upstream that `config` describes, implemented by this service, which gets requests to `uri`.
    pub fn of_service<S, B>(config: &config::Upstream, service: S, uri: Uri) -> Self
    where
        S: EmbeddedService<B>,
        S::Future: Send,
        B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static,
    {
        let upstream = HttpUpstream::of_service(service, uri, config.timeout);
        let upstream = upstream.with_sessions(config.sessions).with_eras(config.eras);
        let server = ServerUpstream::Http(Box::new(upstream.with_messages(config.max_message)));
        Self {
            server,
            own: None,
            needs: Arc::default(),
            of_processes: Arc::default(),
            states: Arc::default(),
        }
    }
}

impl AnyUpstream {
    /// The connection to the server.
    pub(super) fn server(&self) -> &ServerUpstream {
        &self.server
    }

    /// The eras that the server supports. None: it has not been asked, or its answer does not show them.
    pub fn eras(&self) -> Option<SpokenEras> {
        let eras = match &self.server {
            ServerUpstream::Http(upstream) => upstream.eras(),
            ServerUpstream::Child(upstream) | ServerUpstream::Sse(upstream, _) => upstream.eras(),
        };
        eras.remembered().map(|verdict| verdict.speaks)
    }

    /// Counts its sessions and children in `metrics`, under the upstream's name.
    pub fn count_in(&self, metrics: &Metrics, name: &str) {
        self.of_processes.count_in(metrics.api_requests(name));
        match &self.server {
            ServerUpstream::Http(upstream) => {
                upstream.count_in(metrics.sessions(name, true), metrics.bridged_sessions(name));
            }
            ServerUpstream::Child(upstream) | ServerUpstream::Sse(upstream, _) => {
                upstream.count_in(metrics.children(name), metrics.sessions(name, false));
            }
        }
    }
}

/// The file for the eras of `program`. Its name depends on the directory, which determines the program of a relative
/// argument or a package runner. It does not depend on variables, because they contain secrets.
fn kept(cache: &Path, program: &Program) -> PathBuf {
    let directory = std::env::current_dir().unwrap_or_default();
    let variables = program.env.iter().map(|(name, _)| name.as_str());
    let parts = program.argv.iter().map(String::as_str).chain(variables);
    let text = parts.fold(directory.display().to_string(), |text, part| text + "\0" + part);
    let digest = digest_text(&sha256(text.as_bytes()));
    cache.join(format!("era-{}.json", digest.trim_start_matches("sha256:")))
}

impl Upstream for AnyUpstream {
    fn delegation(&self, request: &Request, caller: &Caller) -> Result<Option<Delegation>, OutboundFault> {
        // Own tools need no credential, and `health_check` tells which one is missing.
        if self.own.as_ref().is_some_and(|own| own.answers(&request.call)) {
            return Ok(None);
        }
        self.needs.check(&request.call, &self.of_processes)?;
        match &self.server {
            ServerUpstream::Http(upstream) => upstream.delegation(caller),
            ServerUpstream::Child(_) | ServerUpstream::Sse(..) => Ok(None),
        }
    }

    fn exchanges_tokens(&self) -> bool {
        match &self.server {
            ServerUpstream::Http(upstream) => upstream.exchanges_tokens(),
            ServerUpstream::Child(_) | ServerUpstream::Sse(..) => false,
        }
    }

    fn credential_of_principals(&self) -> Option<Arc<UpstreamCredential>> {
        match &self.server {
            ServerUpstream::Http(upstream) => upstream.credential_of_principals(),
            ServerUpstream::Child(_) | ServerUpstream::Sse(..) => None,
        }
    }

    fn opens_urls(&self, session: &str, principal: &Principal) -> bool {
        match &self.server {
            ServerUpstream::Http(upstream) => upstream.opens_urls(session, principal),
            ServerUpstream::Child(_) | ServerUpstream::Sse(..) => false,
        }
    }

    fn issues_tokens(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.offers(OwnTool::IssueToken))
    }

    async fn forward(&self, admitted: Admitted) -> Result<Answer, Rejection> {
        match &self.own {
            None => self.server.forward(admitted).await,
            Some(own) => Box::pin(own.forward(admitted, &self.server)).await,
        }
    }

    async fn listen(&self, listener: SessionRequest) -> Result<BoxStream<'static, Event>, Rejection> {
        let peer = listener.request.peer;
        let events = self.server.listen(listener).await?;
        Ok(match &self.own {
            None => events,
            Some(own) => own.complete_stream(events, peer, None),
        })
    }

    async fn keeps_sessions(&self) -> bool {
        self.server.keeps_sessions().await
    }

    async fn close(&self, listener: SessionRequest) -> Result<(), Rejection> {
        self.server.close(listener).await
    }

    async fn shut_down(&self) {
        self.server.shut_down().await;
        self.of_processes.end();
    }

    async fn retire(&self, done: impl Future<Output = ()> + Send) {
        self.server.retire(done).await;
        self.of_processes.end();
    }
}

impl Upstream for ServerUpstream {
    async fn forward(&self, admitted: Admitted) -> Result<Answer, Rejection> {
        match self {
            Self::Http(upstream) => upstream.forward(admitted).await,
            // Boxed, because it is larger than the one above, which has to be fast.
            Self::Child(upstream) | Self::Sse(upstream, _) => Box::pin(upstream.forward(admitted)).await,
        }
    }

    async fn listen(&self, listener: SessionRequest) -> Result<BoxStream<'static, Event>, Rejection> {
        match self {
            Self::Http(upstream) => upstream.listen(listener).await,
            Self::Child(upstream) | Self::Sse(upstream, _) => upstream.listen(listener).await,
        }
    }

    async fn keeps_sessions(&self) -> bool {
        match self {
            Self::Http(upstream) => upstream.keeps_sessions().await,
            Self::Child(upstream) | Self::Sse(upstream, _) => upstream.keeps_sessions().await,
        }
    }

    async fn close(&self, listener: SessionRequest) -> Result<(), Rejection> {
        match self {
            Self::Http(upstream) => upstream.close(listener).await,
            Self::Child(upstream) | Self::Sse(upstream, _) => upstream.close(listener).await,
        }
    }

    async fn shut_down(&self) {
        match self {
            Self::Http(upstream) => upstream.shut_down().await,
            Self::Child(upstream) | Self::Sse(upstream, _) => upstream.shut_down().await,
        }
    }

    async fn retire(&self, done: impl Future<Output = ()> + Send) {
        match self {
            Self::Http(upstream) => upstream.retire(done).await,
            Self::Child(upstream) | Self::Sse(upstream, _) => upstream.retire(done).await,
        }
    }
}
