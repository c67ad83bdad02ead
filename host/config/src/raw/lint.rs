//! `[lint]` in its written form.

use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of `witgate lint`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Lint {
    /// Findings that are accepted: `CODE` for all of a lint, or `CODE:NAME` for those about one pattern, role or other
    /// name. Default: none.
    pub allow: Vec<String>,
}
