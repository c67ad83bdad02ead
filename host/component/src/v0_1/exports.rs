//! The exports, found once per component, and called with the SDK's types.

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Result, Store};
use witgate_plugin as sdk;

use super::bindings::exports::witgate::auth::{authentication, authorization, list_authorization, plugin};
use super::bindings::witgate::auth::types;
use super::convert;
use crate::state::State;

/// The positions of a component's exports.
#[derive(Clone)]
pub(crate) struct Exports {
    plugin: plugin::GuestIndices,
    authentication: Option<authentication::GuestIndices>,
    authorization: Option<authorization::GuestIndices>,
    list_authorization: Option<list_authorization::GuestIndices>,
}

impl Exports {
    /// Finds the exports. A hook with another type is an error, not a missing hook.
    pub(crate) fn find(pre: &InstancePre<State>) -> Result<Self> {
        let has = |name| pre.component().get_export_index(None, name).is_some();
        let authentication = has("witgate:auth/authentication@0.1.0")
            .then(|| authentication::GuestIndices::new(pre))
            .transpose()?;
        let authorization = has("witgate:auth/authorization@0.1.0")
            .then(|| authorization::GuestIndices::new(pre))
            .transpose()?;
        let list_authorization = has("witgate:auth/list-authorization@0.1.0")
            .then(|| list_authorization::GuestIndices::new(pre))
            .transpose()?;
        let plugin = plugin::GuestIndices::new(pre)?;
        Ok(Self { plugin, authentication, authorization, list_authorization })
    }

    pub(crate) fn authenticates(&self) -> bool {
        self.authentication.is_some()
    }

    pub(crate) fn authorizes(&self) -> bool {
        self.authorization.is_some()
    }

    /// True if many entries of a list can be decided in one call.
    pub(crate) fn authorizes_entries(&self) -> bool {
        self.list_authorization.is_some()
    }

    pub(crate) fn load(&self, store: &mut Store<State>, instance: &Instance) -> Result<GuestExports> {
        let plugin = self.plugin.load(&mut *store, instance).map_err(other_type("plugin"))?;
        let authentication = self.authentication.as_ref().map(|found| found.load(&mut *store, instance));
        let authorization = self.authorization.as_ref().map(|found| found.load(&mut *store, instance));
        let list_authorization =
            self.list_authorization.as_ref().map(|found| found.load(&mut *store, instance));
        Ok(GuestExports {
            plugin,
            authentication: authentication.transpose().map_err(other_type("authentication"))?,
            authorization: authorization.transpose().map_err(other_type("authorization"))?,
            list_authorization: list_authorization.transpose().map_err(other_type("list-authorization"))?,
        })
    }
}

fn other_type(interface: &'static str) -> impl Fn(wasmtime::Error) -> wasmtime::Error {
    move |error| error.context(format!("its `{interface}` has functions of other types"))
}

/// The exports of one instance.
pub(crate) struct GuestExports {
    plugin: plugin::Guest,
    authentication: Option<authentication::Guest>,
    authorization: Option<authorization::Guest>,
    list_authorization: Option<list_authorization::Guest>,
}

impl GuestExports {
    pub(crate) async fn describe(&self, store: &mut Store<State>) -> Result<sdk::Description> {
        Ok(convert::description(self.plugin.call_describe(store).await?))
    }

    pub(crate) async fn configure(
        &self,
        store: &mut Store<State>,
        policy: &str,
        config: &str,
    ) -> Result<Result<sdk::Wants, sdk::ConfigError>> {
        let outcome = self.plugin.call_configure(store, policy, config).await?;
        Ok(outcome.map(convert::wants).map_err(convert::config_error))
    }

    pub(crate) async fn authenticate(
        &self,
        store: &mut Store<State>,
        call: &sdk::Call<'_>,
        credential: &sdk::Credential<'_>,
    ) -> Result<sdk::Verdict> {
        let hook = self.authentication.as_ref().ok_or_else(|| missing("authenticate"))?;
        let verdict =
            hook.call_authenticate(store, convert::call(call), convert::credential(credential)).await?;
        Ok(convert::verdict(verdict))
    }

    pub(crate) async fn authorize(
        &self,
        store: &mut Store<State>,
        call: &sdk::Call<'_>,
        principal: &sdk::Principal<'_>,
    ) -> Result<sdk::Decision> {
        let hook = self.authorization.as_ref().ok_or_else(|| missing("authorize"))?;
        let names = Names::of(principal);
        let decision = hook.call_authorize(store, convert::call(call), names.principal(principal)).await?;
        Ok(convert::decision(decision))
    }

    pub(crate) async fn authorize_entries(
        &self,
        store: &mut Store<State>,
        call: &sdk::Call<'_>,
        targets: &[&str],
        principal: &sdk::Principal<'_>,
    ) -> Result<Result<Vec<sdk::EntryDecision>, sdk::Unavailability>> {
        let hook = self.list_authorization.as_ref().ok_or_else(|| missing("authorize-entries"))?;
        let names = Names::of(principal);
        let call = convert::call(call);
        let decisions = hook.call_authorize_entries(store, call, targets, names.principal(principal)).await?;
        Ok(decisions.map(convert::entry_decisions).map_err(convert::unavailability))
    }
}

/// The roles and scopes of a principal, in the form of the bindings.
struct Names<'a> {
    roles: Vec<&'a str>,
    scopes: Vec<&'a str>,
}

impl<'a> Names<'a> {
    fn of(principal: &sdk::Principal<'a>) -> Self {
        let texts = |names: &'a [String]| names.iter().map(String::as_str).collect();
        Self { roles: texts(principal.roles), scopes: texts(principal.scopes) }
    }

    fn principal(&'a self, principal: &sdk::Principal<'a>) -> types::Principal<'a> {
        types::Principal {
            subject: principal.subject,
            proven_by: principal.proven_by,
            roles: &self.roles,
            scopes: &self.scopes,
        }
    }
}

fn missing(hook: &str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("the component does not export the hook `{hook}`"))
}
