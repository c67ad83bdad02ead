//! Roles with allow and deny patterns.
use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::*;
/// c
#[derive(Deserialize, JsonSchema)]
pub struct C {}
/// r
pub struct Rbac;
impl Plugin for Rbac {
    const NAME: &'static str = "rbac";
    const VERSION: &'static str = "0.1.0";
    const SUMMARY: &'static str = "x";
    type Config = C;
    fn configure(_: &str, _c: C) -> Result<(Self, Wants), ConfigError> { Ok((Rbac, Wants::default())) }
}
impl Authorize for Rbac {
    async fn authorize<H: Host>(&self, host: &H, call: &Call<'_>, principal: &Principal<'_>) -> Decision {
        host.log(Level::Info, call.target);
        if principal.roles.is_empty() { Decision::Abstain } else { Decision::Allow }
    }
}
witgate_plugin::export_authorizer!(Rbac);
