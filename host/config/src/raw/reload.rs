//! `[reload]` in its written form.

use schemars::JsonSchema;
use serde::Deserialize;

/// Rules for changes while Witgate runs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reload {
    /// Refuse a change of the configuration or of a component that gives somebody more access than before, or of which that
    /// cannot be found out. Default: false.
    pub no_new_access: Option<bool>,
}
