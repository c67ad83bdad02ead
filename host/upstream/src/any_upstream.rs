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
use super::era::{EraCache, EraVerdict};
use super::http::{EmbeddedService, HttpUpstream, SetUpError, Sse};
use super::needs::{self, NeededCredentials};
use super::own_tools::OwnTools;
use witgate_base::digest::{digest_text, sha256};
use witgate_config::{self as config, UpstreamTarget};
use witgate_credentials::fault::OutboundFault;
use witgate_credentials::registry::OutboundCredentials;
use witgate_credentials::upstream_credential::Delegation;
use witgate_flow::body::BodyError;
use witgate_flow::event::Event;
use witgate_flow::limit::Admitted;
use witgate_flow::port::{Answer, SessionRequest, Upstream};
use witgate_flow::reject::Rejection;
use witgate_flow::request::Request;
use witgate_runtime::metrics::Metrics;

/// An upstream of any kind.
pub struct AnyUpstream {
    pub(crate) kind: UpstreamKind,
    pub(crate) needs: Arc<NeededCredentials>,
}

/// An upstream, by its transport.
pub(crate) enum UpstreamKind {
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
        let child = |shared, launcher: Arc<dyn Launch>, eras| {
            let settings = ChildSettings {
                max_message: config.max_message,
                ..ChildSettings::new(&config.name, shared, config.timeout, grace)
                    .with_sessions(config.sessions)
            };
            ChildUpstream::new(settings, launcher, eras)
        };
        let kind = match &config.target {
            UpstreamTarget::Url { url, headers } => UpstreamKind::Http(Box::new(
                HttpUpstream::new(ways, url, headers, config.timeout)?
                    .with_sessions(config.sessions)
                    .with_identity(config.identity.clone())
                    .with_eras(config.eras)
                    .with_messages(config.max_message)
                    .with_credential(needs::own(&config.credentials, credentials)?),
            )),
            UpstreamTarget::Sse { url, headers } => {
                let sse = Arc::new(Sse::new(ways, url, headers, config.timeout, config.max_message)?);
                let launcher: Arc<dyn Launch> = Arc::<Sse>::clone(&sse);
                UpstreamKind::Sse(
                    child(false, launcher, EraCache::known(EraVerdict::known(true, false))),
                    sse,
                )
            }
            UpstreamTarget::Embedded => return Err(SetUpError::Embedded),
            UpstreamTarget::Broken => return Err(SetUpError::Broken),
            UpstreamTarget::OwnTools => {
                let eras = EraCache::known(EraVerdict::known(true, true));
                UpstreamKind::Child(child(false, Arc::new(own), eras))
            }
            UpstreamTarget::Command { argv, env, shared } => {
                let (name, identity) = (config.name.clone(), config.identity.env.clone());
                let program = Program { name, argv: argv.clone(), env: env.clone(), identity };
                let eras = match (config.eras, cache) {
                    (Some(eras), _) => EraCache::configured(eras),
                    (None, Some(cache)) => EraCache::kept_in(kept(cache, &program)),
                    (None, None) => EraCache::default(),
                };
                UpstreamKind::Child(child(*shared, Arc::new(program), eras))
            }
        };
        let needs = NeededCredentials::of(&config.credentials, credentials)?;
        Ok(Self { kind, needs: Arc::new(needs) })
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
        let kind = UpstreamKind::Http(Box::new(upstream.with_messages(config.max_message)));
        Self { kind, needs: Arc::default() }
    }
}

impl AnyUpstream {
    /// Counts its sessions and children in `metrics`, under the upstream's name.
    pub fn count_in(&self, metrics: &Metrics, name: &str) {
        match &self.kind {
            UpstreamKind::Http(upstream) => {
                upstream.count_in(metrics.sessions(name, true), metrics.bridged_sessions(name));
            }
            UpstreamKind::Child(upstream) | UpstreamKind::Sse(upstream, _) => {
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
    fn delegation(&self, request: &Request) -> Result<Option<Delegation>, OutboundFault> {
        self.needs.check(&request.call)?;
        match &self.kind {
            UpstreamKind::Http(upstream) => upstream.delegation(),
            UpstreamKind::Child(_) | UpstreamKind::Sse(..) => Ok(None),
        }
    }

    fn exchanges_tokens(&self) -> bool {
        match &self.kind {
            UpstreamKind::Http(upstream) => upstream.exchanges_tokens(),
            UpstreamKind::Child(_) | UpstreamKind::Sse(..) => false,
        }
    }

    async fn forward(&self, admitted: Admitted) -> Result<Answer, Rejection> {
        match &self.kind {
            UpstreamKind::Http(upstream) => upstream.forward(admitted).await,
            // Boxed, because it is larger than the one above, which has to be fast.
            UpstreamKind::Child(upstream) | UpstreamKind::Sse(upstream, _) => {
                Box::pin(upstream.forward(admitted)).await
            }
        }
    }

    async fn listen(&self, listener: SessionRequest) -> Result<BoxStream<'static, Event>, Rejection> {
        match &self.kind {
            UpstreamKind::Http(upstream) => upstream.listen(listener).await,
            UpstreamKind::Child(upstream) | UpstreamKind::Sse(upstream, _) => upstream.listen(listener).await,
        }
    }

    async fn keeps_sessions(&self) -> bool {
        match &self.kind {
            UpstreamKind::Http(upstream) => upstream.keeps_sessions().await,
            UpstreamKind::Child(upstream) | UpstreamKind::Sse(upstream, _) => upstream.keeps_sessions().await,
        }
    }

    async fn close(&self, listener: SessionRequest) -> Result<(), Rejection> {
        match &self.kind {
            UpstreamKind::Http(upstream) => upstream.close(listener).await,
            UpstreamKind::Child(upstream) | UpstreamKind::Sse(upstream, _) => upstream.close(listener).await,
        }
    }

    async fn shut_down(&self) {
        match &self.kind {
            UpstreamKind::Http(upstream) => upstream.shut_down().await,
            UpstreamKind::Child(upstream) | UpstreamKind::Sse(upstream, _) => upstream.shut_down().await,
        }
    }
}
