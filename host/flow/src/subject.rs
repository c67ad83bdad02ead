//! The view of a request that policies get.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use witgate_config::pins::{ApprovedDefinitions, PinMode, Pins};
use witgate_plugin::{Identity, Principal, ToolAnnotations, Transport};

use super::dpop::ProvenRequest;
use crate::authenticate::identity::Caller;
use witgate_base::breaker::CallerDigest;
use witgate_services::subject::{HookLog, Subject};

/// A request, and its caller after authentication.
#[derive(Clone, Debug)]
pub struct CallSubject {
    pub(super) proven: ProvenRequest,
    pub(super) caller: Option<Arc<Caller>>,
    /// The approved definitions of the upstream, if no others can be called.
    pub(super) approved: Option<Arc<ApprovedDefinitions>>,
    /// The policy that has allowed the call, if there is an audit log.
    pub(super) allowance: OnceLock<Allowance>,
}

/// The policy that has allowed a call, and its rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The name of the policy.
    pub policy: Arc<str>,
    /// The kind and the name of the rule, if the policy tells it.
    pub rule: Option<Arc<str>>,
}

impl CallSubject {
    /// A request, and its caller if they are known.
    pub fn new(proven: ProvenRequest, caller: Option<Arc<Caller>>) -> Self {
        Self { proven, caller, approved: None, allowance: OnceLock::new() }
    }

    /// The same, at an upstream that these pins are of.
    #[must_use]
    pub fn with_pins(self, pins: Option<&Pins>) -> Self {
        let held = pins.filter(|pins| pins.mode == PinMode::Hold);
        Self { approved: held.map(|pins| Arc::clone(&pins.approved)), ..self }
    }
}

impl Subject for CallSubject {
    fn upstream(&self) -> &str {
        &self.proven.request().route.upstream
    }

    fn audience(&self) -> &str {
        &self.proven.request().route.resource
    }

    fn transport(&self) -> Transport {
        self.proven.request().transport
    }

    fn peer(&self) -> Option<IpAddr> {
        self.proven.request().peer
    }

    fn headers(&self) -> &HeaderMap {
        &self.proven.request().headers
    }

    fn arguments(&self) -> Option<&str> {
        self.proven.request().call.arguments()
    }

    fn meta(&self) -> Option<&str> {
        self.proven.request().call.meta()
    }

    fn certificate_thumbprint(&self, now: u64) -> Option<&str> {
        let certificate = self.proven.request().certificate.as_ref()?;
        certificate.is_valid_at(now).then(|| certificate.thumbprint())
    }

    fn dpop_thumbprint(&self) -> Option<&str> {
        self.proven.key().map(|key| key.thumbprint())
    }

    fn annotations(&self, tool: &str) -> Option<ToolAnnotations> {
        self.approved.as_ref()?.annotations(tool)
    }

    fn identity(&self) -> Option<&Identity> {
        self.caller.as_ref().map(|caller| caller.identity())
    }

    fn principal(&self) -> Option<Principal<'_>> {
        self.caller.as_ref().map(|caller| caller.as_principal())
    }

    fn note_allowed(&self, policy: &Arc<str>, rule: Option<(&str, &str)>) {
        if self.proven.request().route.disagreements.is_some() {
            self.allowance.get_or_init(|| Allowance {
                policy: Arc::clone(policy),
                rule: rule.map(|(kind, name)| format!("{kind}:{name}").into()),
            });
        }
    }

    fn hooks(&self) -> Option<&HookLog> {
        self.proven.request().hooks.get().map(|hooks| &**hooks)
    }

    fn source(&self) -> CallerDigest {
        match self.caller.as_deref().filter(|caller| caller.is_somebody()) {
            Some(caller) => {
                let identity = caller.identity();
                CallerDigest::of((
                    &**caller.proven_by(),
                    identity.issuer.as_deref(),
                    identity.subject.as_str(),
                ))
            }
            None => CallerDigest::of_peer(self.peer()),
        }
    }
}
