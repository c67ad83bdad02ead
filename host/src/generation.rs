//! Generations: immutable, fully checked sets of policies. Exactly one is live.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use http::HeaderName;
use witgate_plugin::Digest;

use crate::config::environment::Environment;
use crate::config::{self, Config, Mode};
use crate::plugin::load::Loader;
use crate::plugin::settings::{RemoteKeys, Surroundings};
use crate::policy::{Making, Policy, PolicyError, Source};
use crate::services::Clock;

/// One immutable set of compiled policies with their config.
#[derive(Debug)]
pub struct Generation {
    number: u64,
    since: SystemTime,
    policies: BTreeMap<String, Arc<Policy>>,
    pipelines: Vec<Pipeline>,
    credential_headers: Vec<HeaderName>,
    files: BTreeSet<PathBuf>,
}

/// Who judges the calls of one upstream.
#[derive(Debug, Default)]
pub struct Pipeline {
    /// Authenticators that count, in order.
    pub authenticate: Vec<Arc<Policy>>,
    /// Authorizers that count; every one must allow.
    pub authorize: Vec<Arc<Policy>>,
    /// Authenticators whose verdict is recorded and changes nothing.
    pub shadow_authenticate: Vec<Arc<Policy>>,
    /// Authorizers whose verdict is recorded and changes nothing.
    pub shadow_authorize: Vec<Arc<Policy>>,
    /// Roles of who shows no credential at all. None: such a caller is refused.
    pub anonymous: Option<Vec<String>>,
    /// Nobody is asked for a credential, and one that is shown is not looked at.
    pub unchecked: bool,
}

impl Generation {
    /// Its number; the first is 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// When it was made.
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// Its policies by name.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.values()
    }

    /// The pipeline at a place: the upstream's place in the config. A place without a pipeline
    /// has an empty one, which denies.
    pub fn pipeline(&self, place: usize) -> &Pipeline {
        static EMPTY: Pipeline = Pipeline {
            authenticate: Vec::new(),
            authorize: Vec::new(),
            shadow_authenticate: Vec::new(),
            shadow_authorize: Vec::new(),
            anonymous: None,
            unchecked: false,
        };
        self.pipelines.get(place).unwrap_or(&EMPTY)
    }

    /// Headers that carry credentials, beside `Authorization`, as its policies declared them.
    pub fn credential_headers(&self) -> &[HeaderName] {
        &self.credential_headers
    }

    /// The files that it was made from: a change of one makes a new candidate.
    pub fn files(&self) -> &BTreeSet<PathBuf> {
        &self.files
    }

    fn digests(&self) -> Vec<Digest> {
        let digest = |policy: &Arc<Policy>| match policy.source() {
            Source::Component { digest, .. } => Some(*digest),
            Source::Builtin | Source::Fallback { .. } => None,
        };
        self.policies.values().filter_map(digest).collect()
    }
}

/// Makes generations.
#[derive(Debug)]
pub struct Factory {
    loader: Loader,
    remote: RemoteKeys,
    environment: Environment,
    clock: Clock,
}

impl Factory {
    /// A factory that compiles with `loader` and takes secrets from `environment`.
    pub fn new(loader: Loader, environment: Environment, clock: Clock) -> Self {
        Self { loader, remote: RemoteKeys::default(), environment, clock }
    }

    /// Makes a candidate: every policy of `config` that a pipeline uses is compiled, linked,
    /// configured and checked. The first generation may fall back to built-ins; for a later one
    /// a missing component is an error, so that the live one stays.
    ///
    /// # Errors
    /// With everything that is wrong, one entry per policy.
    pub async fn candidate(&self, config: &Config, number: u64) -> Result<Generation, Vec<PolicyError>> {
        let dir = config.dir();
        let making = Making {
            loader: &self.loader,
            around: Surroundings {
                dir: &dir,
                keys: &config.keys,
                remote: &self.remote,
                environment: &self.environment,
            },
            clock: &self.clock,
            may_fall_back: number == 1,
        };
        let (mut policies, mut files, mut errors) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        for policy in used(config) {
            match Policy::make(policy, making).await {
                Ok((made, from)) => {
                    files.extend(from);
                    policies.insert(policy.name.clone(), Arc::new(made));
                }
                Err(error) => errors.push(error),
            }
        }
        let pipelines = config
            .upstreams
            .iter()
            .map(|upstream| Pipeline {
                unchecked: config.auth_disabled,
                ..pipeline(&upstream.pipeline, &policies, &mut errors)
            })
            .collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        files.extend(config.path.clone());
        files.extend(config.files.iter().cloned());
        let credential_headers = policies.values().filter_map(|p| p.credential_header().cloned()).collect();
        let since = SystemTime::now();
        Ok(Generation { number, since, policies, pipelines, credential_headers, files })
    }

    /// Forgets compiled components that the live generation does not use.
    pub fn tidy(&self, live: &Generation) {
        self.loader.keep_only(&live.digests());
    }
}

/// The policies that some pipeline names.
fn used(config: &Config) -> impl Iterator<Item = &config::Policy> {
    let names: BTreeSet<_> = config
        .upstreams
        .iter()
        .flat_map(|upstream| upstream.pipeline.authenticate.iter().chain(&upstream.pipeline.authorize))
        .collect();
    config.policies.values().filter(move |policy| names.contains(&policy.name))
}

fn pipeline(
    config: &config::Pipeline,
    policies: &BTreeMap<String, Arc<Policy>>,
    errors: &mut Vec<PolicyError>,
) -> Pipeline {
    let mut members = |names: &[String], fits: fn(&Policy) -> bool, hook: &str| -> Vec<Arc<Policy>> {
        let made = names.iter().filter_map(|name| policies.get(name));
        let (fitting, others): (Vec<_>, Vec<_>) = made.cloned().partition(|policy| fits(policy));
        errors.extend(others.iter().map(|policy| PolicyError {
            policy: policy.name().to_string(),
            message: format!(
                "the pipeline lists it under `{hook}`, and it has no such hook; take it out there"
            ),
        }));
        fitting
    };
    let authenticate = members(&config.authenticate, Policy::authenticates, "authenticate");
    let authorize = members(&config.authorize, Policy::authorizes, "authorize");
    let is_shadow = |policy: &Arc<Policy>| policy.mode() == Mode::Shadow;
    let (shadow_authenticate, authenticate) = authenticate.into_iter().partition(is_shadow);
    let (shadow_authorize, authorize) = authorize.into_iter().partition(is_shadow);
    Pipeline {
        authenticate,
        authorize,
        shadow_authenticate,
        shadow_authorize,
        anonymous: config.anonymous.clone(),
        unchecked: false,
    }
}

/// The live generation, behind one atomic pointer.
#[derive(Debug)]
pub struct Generations {
    live: ArcSwap<Generation>,
}

impl Generations {
    /// Begins with a first generation.
    pub fn new(first: Generation) -> Self {
        Self { live: ArcSwap::from_pointee(first) }
    }

    /// The live generation. A request takes it once and stays on it.
    pub fn live(&self) -> Arc<Generation> {
        self.live.load_full()
    }

    /// Makes a candidate the live generation, in one step.
    pub fn flip(&self, candidate: Generation) -> Arc<Generation> {
        let next = Arc::new(candidate);
        self.live.store(Arc::clone(&next));
        next
    }
}
