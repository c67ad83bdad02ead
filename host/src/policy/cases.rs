//! A policy's own cases: what has to come of certain calls before a candidate may go live. They are put to the real
//! check under its real limits, by a clock of their own and without a network.

mod expect;
mod written;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use serde_json::Value;
use witgate_plugin::{Call, Credential, Digest};

use super::Policy;
use super::make::{Made, Making, PolicyError, Stage};
use crate::config;
use crate::fingerprints::Fingerprints;
use crate::flow::call;
use crate::flow::identity::Caller;
use crate::flow::reject::Rejection;
use crate::flow::request::{Era, Request, Route};
use crate::services::{Clock, Scope};

pub use expect::{Expect, ExpectIdentity, ExpectUnavailable, Outcome};
pub use written::{Ask, CallOf, Case, CasesError, Principal};

impl Policy {
    /// Makes the policy that `config` describes, and puts its cases to it.
    ///
    /// # Errors
    /// With the first thing that is wrong.
    pub async fn make_rehearsed(config: &config::Policy, making: Making<'_>) -> Result<Made, PolicyError> {
        let (policy, mut files) = Self::make(config, making).await?;
        // What is gone back to was rehearsed in its own time; cases written since must not stand in the way.
        if let (Some(path), None) = (&config.cases, making.again)
            && let Err(message) = rehearse(config, path, making, policy.digest(), &mut files).await
        {
            return Err(PolicyError { policy: config.name.clone(), message, files });
        }
        Ok((policy, files))
    }
}

/// Puts the cases in the file at `path` to the policy that `config` describes.
///
/// # Errors
/// With the first case that goes otherwise, or what is wrong with the file.
async fn rehearse(
    config: &config::Policy,
    path: &Path,
    making: Making<'_>,
    digest: Option<Digest>,
    files: &mut Fingerprints,
) -> Result<(), String> {
    files.note(path);
    let cases = written::read(path).map_err(|error| error.to_string())?;
    let stage = Stage::default();
    let making = Making { clock: &Clock::Set(Arc::clone(&stage.clock)), stage: Some(&stage), ..making };
    let mut made: Option<(Option<&Value>, Policy)> = None;
    for case in &cases {
        let failed = |why: String| format!("case \"{}\" in {}: {why}", case.name, path.display());
        // Cases with the same settings follow each other, mostly.
        let policy = match made.take() {
            Some((settings, policy)) if settings == case.config.as_ref() => policy,
            _ => {
                let own = config::Policy {
                    config: case.config.clone().unwrap_or_else(|| config.config.clone()),
                    ..config.clone()
                };
                let policy = Policy::make_noting(&own, making, files).await.map_err(failed)?;
                // What is put to the test has to be what goes live.
                if policy.digest() != digest {
                    return Err("the component was replaced while it was checked".to_owned());
                }
                policy
            }
        };
        stage.clock.store(case.now, Ordering::Relaxed);
        let outcome = policy.put(case).await;
        case.expect.judge(&outcome).map_err(failed)?;
        made = Some((case.config.as_ref(), policy));
    }
    tracing::debug!(policy = %config.name, "{} cases went as they should", cases.len());
    Ok(())
}

impl Policy {
    /// Asks what a case asks.
    async fn put(&self, case: &Case) -> Outcome {
        let call = Call {
            method: &case.call.method,
            kind: case.call.kind,
            target: &case.call.target,
            transport: case.call.transport,
            listing: case.call.listing,
        };
        let asked = match &case.ask {
            Ask::Who { scheme, value } if self.judges(*scheme) => {
                let credential = Credential { scheme: *scheme, value };
                self.authenticate(&scope(case, None), &call, &credential).await.map(Outcome::Verdict)
            }
            Ask::Who { .. } => return Outcome::Verdict(witgate_plugin::Verdict::NotMine),
            Ask::May(principal) => {
                let caller = Arc::new(Caller::new(principal.identity(), principal.proven_by.as_str().into()));
                let scope = scope(case, Some(Arc::clone(&caller)));
                self.authorize(&scope, &call, &caller.as_principal()).await.map(Outcome::Decision)
            }
        };
        asked.unwrap_or_else(|rejection| match rejection {
            Rejection::Failed { failure, detail, .. } => Outcome::Failed(failure, detail),
            // A hook is rejected for no other reason.
            other => Outcome::Failed(crate::flow::reject::Failure::Trap, format!("{other:?}")),
        })
    }
}

fn scope(case: &Case, caller: Option<Arc<Caller>>) -> Scope {
    let arguments = case.call.arguments.as_deref();
    let request = Request {
        call: arguments.map_or_else(|| call::Call::bodiless("case"), call::Call::of_arguments),
        era: Era::Stateless,
        headers: HeaderMap::new(),
        peer: None,
        certificate: None,
        proven_key: OnceLock::new(),
        stood_in: OnceLock::new(),
        transport: case.call.transport,
        route: Arc::new(Route {
            upstream: case.upstream.as_str().into(),
            resource: case.audience.as_str().into(),
            pipeline: 0,
            extensions: Vec::new(),
        }),
    };
    Scope { request: Arc::new(request), caller, listing: case.call.listing }
}
