//! Any upstream that the configuration can name.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use secrecy::{ExposeSecret, SecretString};

use super::child::{ChildUpstream, Program, Settings};
use super::era::{Eras, Verdict};
use super::http::{HttpUpstream, SetUpError};
use super::own_tools::{AuthStatus, OwnTools};
use super::{Answer, Event, Listener, Upstream};
use crate::config::{self, Target};
use crate::flow::limit::Admitted;
use crate::flow::reject::Rejection;

/// Any upstream that the configuration can name.
pub enum AnyUpstream {
    /// Streamable HTTP.
    Http(Box<HttpUpstream>),
    /// A child process, or the host's own tools.
    Child(ChildUpstream),
}

impl AnyUpstream {
    /// The upstream that `config` describes; nothing is started or connected to yet. `auth` is what
    /// the host's own tools tell of the set-up. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// Where a URL or header cannot be used.
    pub fn new(
        config: &config::Upstream,
        grace: Duration,
        auth: AuthStatus,
    ) -> Result<Self, SetUpError> {
        let settings = |shared| Settings::new(&config.name, shared, config.timeout, grace);
        Ok(match &config.target {
            Target::Url { url, headers } => {
                Self::Http(Box::new(HttpUpstream::new(url, headers, config.timeout)?))
            }
            Target::Command { argv, env, shared } => {
                let program =
                    Program { name: config.name.clone(), argv: argv.clone(), env: again(env) };
                Self::Child(ChildUpstream::new(settings(*shared), Arc::new(program), Eras::default()))
            }
            Target::OwnTools => {
                let eras = Eras::known(Verdict::known(true, true));
                Self::Child(ChildUpstream::new(settings(true), Arc::new(OwnTools::new(auth)), eras))
            }
        })
    }
}

impl Upstream for AnyUpstream {
    async fn forward(&self, admitted: Admitted) -> Result<Answer, Rejection> {
        match self {
            Self::Http(upstream) => upstream.forward(admitted).await,
            Self::Child(upstream) => upstream.forward(admitted).await,
        }
    }

    async fn listen(&self, listener: Listener) -> Result<BoxStream<'static, Event>, Rejection> {
        match self {
            Self::Http(upstream) => upstream.listen(listener).await,
            Self::Child(upstream) => upstream.listen(listener).await,
        }
    }

    async fn close(&self, listener: Listener) -> Result<(), Rejection> {
        match self {
            Self::Http(upstream) => upstream.close(listener).await,
            Self::Child(upstream) => upstream.close(listener).await,
        }
    }

    async fn shut_down(&self) {
        match self {
            Self::Http(upstream) => upstream.shut_down().await,
            Self::Child(upstream) => upstream.shut_down().await,
        }
    }
}

fn again(env: &[(String, SecretString)]) -> Vec<(String, SecretString)> {
    let copy = |(name, value): &(String, SecretString)| {
        (name.clone(), SecretString::from(value.expose_secret()))
    };
    env.iter().map(copy).collect()
}
