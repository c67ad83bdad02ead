//! `pins` of an upstream.

use schemars::JsonSchema;
use serde::Deserialize;

/// The consequence of a definition that is not approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PinSetting {
    /// Definitions are not compared.
    Off,
    /// It is reported.
    Warn,
    /// It is reported, and the entry is neither listed nor callable.
    Hold,
}
