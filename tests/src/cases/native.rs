//! The policies as built-ins.

use std::sync::Arc;

use witgate::policy::cases::{Ask, Outcome};
use witgate_api_key::ApiKey;
use witgate_client_certificate::ClientCertificate;
use witgate_jwt::Jwt;
use witgate_oauth2_introspection::Introspection;
use witgate_plugin::{Authenticate, Authorize, Call, ConfigError, Credential, Plugin, Principal, Wants};
use witgate_rbac::Rbac;

use super::host::FakeHost;
use super::run::Subject;
use super::table::{Case, Kind, Step};

/// Runs the policies natively.
#[derive(Clone, Copy, Debug)]
pub struct Native;

/// A configured built-in.
#[derive(Debug)]
#[allow(missing_docs, reason = "the shipped policies")]
pub enum BuiltIn {
    ApiKey(ApiKey),
    Jwt(Box<Jwt>),
    Introspection(Box<Introspection>),
    ClientCertificate(ClientCertificate),
    Rbac(Rbac),
}

impl Subject for Native {
    type Configured = BuiltIn;

    async fn configure(&self, case: &Case) -> Result<(BuiltIn, Wants), ConfigError> {
        fn of<P: Plugin>(case: &Case, wrap: fn(P) -> BuiltIn) -> Result<(BuiltIn, Wants), ConfigError> {
            let (policy, wants) = P::configure_json(&case.policy, &case.config.to_string())?;
            Ok((wrap(policy), wants))
        }
        match case.kind {
            Kind::ApiKey => of(case, BuiltIn::ApiKey),
            Kind::Jwt => of(case, |policy| BuiltIn::Jwt(Box::new(policy))),
            Kind::Introspection => of(case, |policy| BuiltIn::Introspection(Box::new(policy))),
            Kind::ClientCertificate => of(case, BuiltIn::ClientCertificate),
            Kind::Rbac => of(case, BuiltIn::Rbac),
        }
    }

    async fn ask(&self, policy: &BuiltIn, step: &Step, host: Arc<FakeHost>) -> Outcome {
        let call = call(step);
        match &step.ask {
            Ask::Who { scheme, value } => {
                let credential = Credential { scheme: *scheme, value };
                Outcome::Verdict(match policy {
                    BuiltIn::ApiKey(policy) => policy.authenticate(&*host, &call, &credential).await,
                    BuiltIn::Jwt(policy) => policy.authenticate(&*host, &call, &credential).await,
                    BuiltIn::Introspection(policy) => policy.authenticate(&*host, &call, &credential).await,
                    BuiltIn::ClientCertificate(policy) => {
                        policy.authenticate(&*host, &call, &credential).await
                    }
                    BuiltIn::Rbac(_) => panic!("rbac authenticates nobody"),
                })
            }
            Ask::May(caller) => {
                let principal = Principal {
                    subject: &caller.subject,
                    proven_by: &caller.proven_by,
                    roles: &caller.roles,
                    scopes: &caller.scopes,
                };
                Outcome::Decision(match policy {
                    BuiltIn::ApiKey(policy) => policy.authorize(&*host, &call, &principal).await,
                    BuiltIn::Rbac(policy) => policy.authorize(&*host, &call, &principal).await,
                    BuiltIn::Jwt(_) | BuiltIn::Introspection(_) | BuiltIn::ClientCertificate(_) => {
                        panic!("authorizes nothing")
                    }
                })
            }
        }
    }
}

fn call(step: &Step) -> Call<'_> {
    Call {
        method: &step.call.method,
        kind: step.call.kind,
        target: &step.call.target,
        transport: step.call.transport,
        listing: step.call.listing,
    }
}
