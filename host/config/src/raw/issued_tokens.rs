//! `issue_token` of `[upstreams.NAME]` in its written form.

use schemars::JsonSchema;
use serde::Deserialize;

/// The tokens that the own tool `issue_token` makes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuedTokens {
    /// The policy whose callers get tokens, of the kind `api-key` or `basic`.
    pub from: String,
    /// The policy of the kind `jwt` that accepts the tokens.
    pub policy: String,
    /// Maximum lifetime of a token in seconds. Default: 3600.
    #[schemars(range(min = 60, max = 2_592_000))]
    pub max_s: Option<u64>,
}
