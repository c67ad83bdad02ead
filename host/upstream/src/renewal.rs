//! The settings of an upstream that can change while Witgate runs: headers or environment, from the configuration and
//! its files of secrets, and the identity for the upstream. A change of its target needs a restart.

use std::sync::Arc;

use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};

use super::any_upstream::{AnyUpstream, ServerUpstream};
use super::child::program::Program;
use super::child::renewal::LaunchSettings;
use super::http::{LiveRequestSettings, SetUpError, Sse};
use witgate_base::signing::Signer;
use witgate_config::identity::IdentitySettings;
use witgate_config::{self as config, UpstreamTarget};

type NamedSecrets = Vec<(String, SecretString)>;

/// A running upstream, and the settings that a reload may change.
pub struct Renewable {
    name: String,
    place: String,
    taken: Mutex<(NamedSecrets, IdentitySettings)>,
    own: RenewableParts,
}

enum RenewableParts {
    Headers(LiveRequestSettings),
    Environment(LaunchSettings),
    Streams(LaunchSettings, Arc<Sse>),
}

impl std::fmt::Debug for Renewable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renewable").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Renewable {
    /// `upstream`, which was built from `config`. None: a reload can change nothing of it.
    pub fn of(upstream: &AnyUpstream, config: &config::Upstream) -> Option<Self> {
        let (own, taken) = match (upstream.server(), &config.target) {
            (ServerUpstream::Http(http), UpstreamTarget::Url { headers, .. }) => {
                (RenewableParts::Headers(http.giving()), headers)
            }
            (ServerUpstream::Sse(child, sse), UpstreamTarget::Sse { headers, .. }) => {
                (RenewableParts::Streams(child.launching(), Arc::clone(sse)), headers)
            }
            (ServerUpstream::Child(child), UpstreamTarget::Command { env, .. }) => {
                (RenewableParts::Environment(child.launching()), env)
            }
            _ => return None,
        };
        let taken = Mutex::new((taken.clone(), config.identity.clone()));
        Some(Self { name: config.name.clone(), place: config.place(), taken, own })
    }

    /// The upstream's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key that signs identity tokens for the upstream.
    pub fn signer(&self) -> Option<Arc<Signer>> {
        let taken = self.taken.lock();
        taken.1.token.as_ref().map(|token| Arc::clone(&token.signer))
    }

    /// Applies `config`, and returns true if it is a change. If the target changes, nothing is applied before a
    /// restart, so that a credential for another place is not sent to this one.
    ///
    /// # Errors
    /// If a header is invalid.
    pub fn take(&self, config: &config::Upstream) -> Result<bool, SetUpError> {
        let (UpstreamTarget::Url { headers: texts, .. }
        | UpstreamTarget::Sse { headers: texts, .. }
        | UpstreamTarget::Command { env: texts, .. }) = &config.target
        else {
            return Ok(false);
        };
        let mut taken = self.taken.lock();
        let (before, identity) = &*taken;
        if config.place() != self.place || same(before, texts) && *identity == config.identity {
            return Ok(false);
        }
        match (&self.own, &config.target) {
            (RenewableParts::Headers(headers), UpstreamTarget::Url { .. }) => {
                headers.replace(texts, &config.identity)?
            }
            (RenewableParts::Streams(launching, sse), UpstreamTarget::Sse { .. }) => {
                launching.replace(Arc::new(sse.with_headers(texts)?));
            }
            (RenewableParts::Environment(launching), UpstreamTarget::Command { argv, .. }) => {
                let name = self.name.clone();
                let identity = config.identity.env.clone();
                launching.replace(Arc::new(Program {
                    name,
                    argv: argv.clone(),
                    env: texts.clone(),
                    identity,
                }));
            }
            _ => return Ok(false),
        }
        *taken = (texts.clone(), config.identity.clone());
        Ok(true)
    }
}

fn same(some: &NamedSecrets, others: &NamedSecrets) -> bool {
    let equal = |((name, value), (other, text)): (&(String, SecretString), &(String, SecretString))| {
        name == other && value.expose_secret() == text.expose_secret()
    };
    some.len() == others.len() && some.iter().zip(others).all(equal)
}
