//! The settings of an upstream that can change while Witgate runs: headers or environment, from the configuration and
//! its files of secrets, and the identity for the upstream. A change of its target needs a restart.

use std::sync::Arc;

use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};

use super::any_upstream::{AnyUpstream, ServerUpstream};
use super::child::program::Program;
use super::child::renewal::LaunchSettings;
use super::child_credentials::ProcessCredentials;
use super::credential_states::CredentialStates;
use super::http::{LiveRequestSettings, SetUpError, Sse};
use super::needs::{self, NeededCredentials};
use witgate_base::signing::Signer;
use witgate_config::credentials::UpstreamCredentials;
use witgate_config::identity::IdentitySettings;
use witgate_config::secret_programs::SecretLifetime;
use witgate_config::{self as config, UpstreamTarget};
use witgate_credentials::registry::OutboundCredentials;

type NamedSecrets = Vec<(String, SecretString)>;

/// A running upstream, and the settings that a reload may change.
pub struct Renewable {
    name: String,
    /// The text of its target.
    target: String,
    taken: Mutex<RenewableSettings>,
    own: RenewableParts,
    needs: Arc<NeededCredentials>,
    of_processes: Arc<ProcessCredentials>,
    states: Arc<CredentialStates>,
    credentials: Arc<OutboundCredentials>,
}

/// The settings that are in use.
struct RenewableSettings {
    texts: NamedSecrets,
    absent: Vec<String>,
    lifetimes: Vec<SecretLifetime>,
    identity: IdentitySettings,
    credentials: UpstreamCredentials,
}

impl RenewableSettings {
    fn new(texts: &NamedSecrets, config: &config::Upstream) -> Self {
        let (identity, credentials) = (config.identity.clone(), config.credentials.clone());
        let (texts, absent) = (texts.clone(), config.absent.clone());
        Self { texts, absent, lifetimes: config.lifetimes.clone(), identity, credentials }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.launches_same(other) && self.credentials == other.credentials && self.absent == other.absent
    }

    /// True if processes and streams start in the same way.
    fn launches_same(&self, other: &Self) -> bool {
        let is_same = same(&self.texts, &other.texts) && self.lifetimes == other.lifetimes;
        is_same && self.identity == other.identity
    }
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
    pub fn of(
        upstream: &AnyUpstream,
        config: &config::Upstream,
        credentials: &Arc<OutboundCredentials>,
    ) -> Option<Self> {
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
        let taken = Mutex::new(RenewableSettings::new(taken, config));
        let (needs, states) = (Arc::clone(&upstream.needs), Arc::clone(&upstream.states));
        Some(Self {
            name: config.name.clone(),
            target: place(config),
            taken,
            own,
            needs,
            of_processes: Arc::clone(&upstream.of_processes),
            states,
            credentials: Arc::clone(credentials),
        })
    }

    /// The upstream's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key that signs identity tokens for the upstream.
    pub fn signer(&self) -> Option<Arc<Signer>> {
        let taken = self.taken.lock();
        taken.identity.token.as_ref().map(|token| Arc::clone(&token.signer))
    }

    /// Applies `config`, and returns true if it is a change. If the target changes, nothing is applied before a
    /// restart, so that a credential for another place is not sent to this one.
    ///
    /// # Errors
    /// If a header or a credential is invalid.
    pub fn take(&self, config: &config::Upstream) -> Result<bool, SetUpError> {
        let (UpstreamTarget::Url { headers: texts, .. }
        | UpstreamTarget::Sse { headers: texts, .. }
        | UpstreamTarget::Command { env: texts, .. }) = &config.target
        else {
            return Ok(false);
        };
        let new = RenewableSettings::new(texts, config);
        let mut taken = self.taken.lock();
        if place(config) != self.target || taken.is_same(&new) {
            return Ok(false);
        }
        self.needs.replace(&config.credentials, &self.credentials)?;
        self.of_processes.replace(&config.credentials.of_children, &self.credentials)?;
        match (&self.own, &config.target) {
            // Processes and streams get nothing of what has changed.
            (RenewableParts::Environment(_) | RenewableParts::Streams(..), _)
                if taken.launches_same(&new) => {}
            (RenewableParts::Headers(headers), UpstreamTarget::Url { .. }) => {
                let credential = needs::own(&config.credentials, &self.credentials)?;
                headers.replace(texts, &config.lifetimes, &config.identity, credential)?;
            }
            (RenewableParts::Streams(launching, sse), UpstreamTarget::Sse { .. }) => {
                launching.replace(Arc::new(sse.with_headers(texts)?.with_lifetimes(&config.lifetimes)));
            }
            (RenewableParts::Environment(launching), UpstreamTarget::Command { argv, .. }) => {
                let name = self.name.clone();
                let identity = config.identity.env.clone();
                launching.replace(Arc::new(Program {
                    name,
                    argv: argv.clone(),
                    env: texts.clone(),
                    lifetimes: config.lifetimes.clone(),
                    identity,
                    credentials: Arc::clone(&self.of_processes),
                }));
            }
            _ => return Ok(false),
        }
        self.states.replace(config);
        *taken = new;
        Ok(true)
    }
}

/// A text of all places that get credentials.
fn place(config: &config::Upstream) -> String {
    format!("{} {}", config.target.place(), config.credentials.of_children.place())
}

fn same(some: &NamedSecrets, others: &NamedSecrets) -> bool {
    let equal = |((name, value), (other, text)): (&(String, SecretString), &(String, SecretString))| {
        name == other && value.expose_secret() == text.expose_secret()
    };
    some.len() == others.len() && some.iter().zip(others).all(equal)
}
