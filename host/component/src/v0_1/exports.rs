//! The exports, found once per component, and called with the SDK's types.

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Result, Store};
use witgate_plugin as sdk;

use super::bindings::exports::witgate::auth::{authentication, authorization, plugin};
use super::bindings::witgate::auth::types;
use super::convert;
use crate::state::State;

/// The positions of a component's exports.
#[derive(Clone)]
pub(crate) struct Exports {
    plugin: plugin::GuestIndices,
    authentication: Option<authentication::GuestIndices>,
    authorization: Option<authorization::GuestIndices>,
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
        Ok(Self { plugin: plugin::GuestIndices::new(pre)?, authentication, authorization })
    }

    pub(crate) fn authenticates(&self) -> bool {
        self.authentication.is_some()
    }

    pub(crate) fn authorizes(&self) -> bool {
        self.authorization.is_some()
    }

    pub(crate) fn load(&self, store: &mut Store<State>, instance: &Instance) -> Result<GuestExports> {
        let plugin = self.plugin.load(&mut *store, instance).map_err(other_type("plugin"))?;
        let authentication = self.authentication.as_ref().map(|found| found.load(&mut *store, instance));
        let authorization = self.authorization.as_ref().map(|found| found.load(&mut *store, instance));
        Ok(GuestExports {
            plugin,
            authentication: authentication.transpose().map_err(other_type("authentication"))?,
            authorization: authorization.transpose().map_err(other_type("authorization"))?,
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
        let roles: Vec<&str> = principal.roles.iter().map(String::as_str).collect();
        let scopes: Vec<&str> = principal.scopes.iter().map(String::as_str).collect();
        let principal = types::Principal {
            subject: principal.subject,
            proven_by: principal.proven_by,
            roles: &roles,
            scopes: &scopes,
        };
        Ok(convert::decision(hook.call_authorize(store, convert::call(call), principal).await?))
    }
}

fn missing(hook: &str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("the component does not export the hook `{hook}`"))
}
