//! The credentials that calls of tools need. As long as one is missing, Witgate denies the call before the server does.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::child_credentials::ProcessCredentials;
use witgate_base::party::Principal;
use witgate_config::credentials::{ChildCredentials, UpstreamCredentials};
use witgate_credentials::fault::{MissingSource, OutboundFault, OutboundProblem};
use witgate_credentials::registry::OutboundCredentials;
use witgate_credentials::upstream_credential::{InvalidCredential, UpstreamCredential};
use witgate_message::call::{Access, Call};
use witgate_plugin::TargetKind;

/// The credentials of one upstream.
#[derive(Debug, Default)]
struct CredentialsInUse {
    /// That in its requests.
    own: Option<Arc<UpstreamCredential>>,
    /// Those that calls of its tools need.
    of_tools: BTreeMap<String, Vec<Arc<UpstreamCredential>>>,
    /// Those of its child processes.
    of_children: Vec<Arc<UpstreamCredential>>,
}

/// The credentials that calls need, which a reload can replace.
#[derive(Debug, Default)]
pub(crate) struct NeededCredentials(ArcSwap<CredentialsInUse>);

impl NeededCredentials {
    /// Those of the configuration.
    ///
    /// # Errors
    /// If a secret is invalid.
    pub(crate) fn of(
        written: &UpstreamCredentials,
        all: &OutboundCredentials,
    ) -> Result<Self, InvalidCredential> {
        let needs = Self::default();
        needs.replace(written, all)?;
        Ok(needs)
    }

    /// Uses those of a changed configuration from now on.
    ///
    /// # Errors
    /// If a secret is invalid. Then the former ones stay.
    pub(crate) fn replace(
        &self,
        written: &UpstreamCredentials,
        all: &OutboundCredentials,
    ) -> Result<(), InvalidCredential> {
        let mut of_tools = BTreeMap::new();
        for (tool, needed) in &written.needs {
            let needed = needed.iter().map(|settings| all.with(settings)).collect::<Result<_, _>>()?;
            of_tools.insert(tool.clone(), needed);
        }
        let ChildCredentials { apis, token_files, folder: _ } = &written.of_children;
        let of_children = apis.values().map(|api| &api.credential).chain(token_files.values());
        let of_children = of_children.map(|settings| all.with(settings)).collect::<Result<_, _>>()?;
        self.0.store(Arc::new(CredentialsInUse { own: own(written, all)?, of_tools, of_children }));
        Ok(())
    }

    /// Checks that a call has the credentials that its tool needs, and that processes have theirs.
    ///
    /// # Errors
    /// With the first one that is missing.
    pub(crate) fn check(&self, call: &Call, of_processes: &ProcessCredentials) -> Result<(), OutboundFault> {
        let in_use = self.0.load();
        let tools = &in_use.of_tools;
        if tools.is_empty() || call.method() != "tools/call" {
            return Ok(());
        }
        let targets = match call.access() {
            Access::Open => &[][..],
            Access::Target(target) => std::slice::from_ref(target),
            Access::Targets(targets) => targets,
        };
        let called = targets.iter().filter(|target| target.kind == TargetKind::Tool);
        let needed = called.filter_map(|target| tools.get(&*target.name)).flatten();
        needed.into_iter().try_for_each(|credential| {
            credential.check_with_login()?;
            of_processes.check(credential)
        })
    }

    /// The names of all credentials of the upstream, with the state of each for `principal`.
    pub(crate) fn states(&self, principal: &Principal) -> BTreeMap<String, &'static str> {
        let in_use = self.0.load();
        let all = in_use.own.iter().chain(in_use.of_tools.values().flatten()).chain(&in_use.of_children);
        all.map(|credential| (credential.settings().name.to_string(), state(credential, principal))).collect()
    }
}

/// The state of a credential, for `health_check`.
fn state(credential: &UpstreamCredential, principal: &Principal) -> &'static str {
    match credential.check_for(principal).map_err(|fault| fault.problem) {
        Ok(()) => CONFIGURED,
        Err(OutboundProblem::Missing(MissingSource::Login) | OutboundProblem::NotConnected) => "connect",
        Err(OutboundProblem::Ended) => EXPIRED,
        Err(_) => MISSING,
    }
}

/// The states of a secret.
pub(crate) const CONFIGURED: &str = "configured";
pub(crate) const MISSING: &str = "missing";
pub(crate) const EXPIRED: &str = "expired";

/// The credential in requests to an upstream.
///
/// # Errors
/// If a secret is invalid.
pub(crate) fn own(
    written: &UpstreamCredentials,
    all: &OutboundCredentials,
) -> Result<Option<Arc<UpstreamCredential>>, InvalidCredential> {
    written.own.as_ref().map(|settings| all.with(settings)).transpose()
}
