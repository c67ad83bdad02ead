//! `[passwords]` in its written form.

use schemars::JsonSchema;
use serde::Deserialize;

/// The cost of new hashes of passwords, with Argon2id. It can only be higher than the default.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Passwords {
    /// Memory in KiB. Default: 19456.
    #[schemars(range(min = 19_456, max = 131_072))]
    pub memory_kib: Option<u32>,
    /// Passes over the memory. Default: 2.
    #[schemars(range(min = 2, max = 53))]
    pub passes: Option<u32>,
    /// Lanes, which one thread computes. Default: 1.
    #[schemars(range(min = 1, max = 4))]
    pub lanes: Option<u32>,
}
