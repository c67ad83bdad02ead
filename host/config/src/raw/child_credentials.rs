//! The credentials of child processes in their written form.

use schemars::JsonSchema;
use serde::Deserialize;

/// An API that a child process calls through Witgate.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Api")]
pub struct ApiTable {
    /// The URL of the API. The path of a request is added to it.
    pub to: String,
    /// The name under `[credentials]` of the credential that Witgate adds.
    pub credential: String,
}
