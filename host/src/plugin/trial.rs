//! A component on trial: the real component in the real engine under the real limits, called about
//! what a test case says, with the case's own clock, keys and servers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use witgate_plugin::{Call, Credential, Decision, Identity, Principal, Verdict, Wants};

use super::engine::Engine;
use super::fault::Fault;
use super::grants::Granted;
use super::instance::{PrepareError, Prepared};
use super::load::Loaded;
use super::pool::Pool;
use crate::config::{Isolation, Limits};
use crate::flow::call;
use crate::flow::certificate::ClientCertificate;
use crate::flow::dpop::ProvenKey;
use crate::flow::identity::Caller;
use crate::flow::request::{Era, Request, Route};
use crate::services::cache::Cache;
use crate::services::fetch::{Exchange, Fetcher};
use crate::services::keys::{Key, Keyring};
use crate::services::{Clock, Scope, Services};

/// What surrounds the component.
pub struct Surroundings {
    /// The policy's name.
    pub policy: String,
    /// The keys that it may name.
    pub keys: HashMap<String, Arc<Key>>,
    /// Who answers its HTTP requests.
    pub servers: Arc<dyn Exchange>,
    /// What a call may use up.
    pub limits: Limits,
}

/// A configured component on trial.
#[derive(Debug)]
pub struct Trial {
    pool: Arc<Pool>,
    clock: Arc<AtomicU64>,
}

/// What a hook is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The time, in seconds since the Unix epoch.
    pub now: u64,
    /// The call.
    pub call: Call<'a>,
    /// The call's arguments, as JSON text.
    pub arguments: Option<&'a str>,
    /// The upstream's resource identifier.
    pub audience: &'a str,
    /// The thumbprint of the connection's client certificate.
    pub certificate: Option<&'a str>,
    /// The thumbprint of the key that the caller has proven to hold.
    pub proven_key: Option<&'a str>,
}

impl Trial {
    /// Links the component with everything that can be granted, and hands it its settings.
    ///
    /// # Errors
    /// When it is not of a world, or does not take its settings.
    pub async fn begin(
        engine: &Engine,
        loaded: &Loaded,
        config: String,
        around: Surroundings,
    ) -> Result<(Self, Wants), PrepareError> {
        let clock = Arc::new(AtomicU64::new(0));
        let services = Arc::new(Services {
            keys: Keyring::new(around.keys),
            cache: Some(Cache::new(around.limits.cache)),
            fetcher: Some(Fetcher::answered_by(around.servers)),
            clock: Clock::Set(Arc::clone(&clock)),
            ..Services::bare(&around.policy)
        });
        let prepared =
            Prepared::new(engine, loaded, Granted::EVERYTHING, Arc::clone(&services), around.limits)?;
        let (pool, wants) = Pool::configure(prepared, config, true, Isolation::default()).await?;
        let _ = services.wants.set(wants.clone());
        Ok((Self { pool: Arc::new(pool), clock }, wants))
    }

    /// Asks who shows `credential`.
    ///
    /// # Errors
    /// With how it failed to say.
    pub async fn authenticate(
        &self,
        question: &Question<'_>,
        credential: &Credential<'_>,
    ) -> Result<Verdict, Fault> {
        let scope = self.scope(question, None);
        self.pool.authenticate(&scope, &question.call, credential).await
    }

    /// Asks whether whoever `identity` is may make the call.
    ///
    /// # Errors
    /// With how it failed to say.
    pub async fn authorize(
        &self,
        question: &Question<'_>,
        identity: Identity,
        proven_by: &str,
    ) -> Result<Decision, Fault> {
        let caller = Arc::new(Caller::new(identity, proven_by.into()));
        let scope = self.scope(question, Some(Arc::clone(&caller)));
        let identity = caller.identity();
        let principal = Principal {
            subject: &identity.subject,
            proven_by,
            roles: &identity.roles,
            scopes: &identity.scopes,
        };
        self.pool.authorize(&scope, &question.call, &principal).await
    }

    fn scope(&self, question: &Question<'_>, caller: Option<Arc<Caller>>) -> Scope {
        self.clock.store(question.now, Ordering::Relaxed);
        let request = Request {
            call: question.arguments.map_or_else(|| call::Call::bodiless("trial"), call::Call::of_arguments),
            era: Era::Stateful,
            headers: HeaderMap::new(),
            peer: None,
            certificate: question.certificate.map(ClientCertificate::of_thumbprint).map(Arc::new),
            proven_key: question
                .proven_key
                .map(ProvenKey::on_trial)
                .map_or_else(OnceLock::new, OnceLock::from),
            stood_in: OnceLock::new(),
            transport: question.call.transport,
            route: Arc::new(Route {
                upstream: "upstream".into(),
                resource: question.audience.into(),
                pipeline: 0,
                extensions: Vec::new(),
            }),
        };
        Scope { request: Arc::new(request), caller, listing: question.call.listing }
    }
}
