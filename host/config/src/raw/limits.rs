//! `[limits]` and `[lockout]`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::limits::CredentialKind;
use crate::limits::LimitPer;

/// A limit of calls: how many in a time, and how many at the same time. At least one of `rate` and `concurrent`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CallLimit {
    /// Several limits at once, in place of all other settings: `chapter-6` admits 1000 calls a minute of a caller with an
    /// API key, 500 with a token, and 100 with another credential or none.
    pub preset: Option<LimitPreset>,
    /// Patterns of the limited calls. `method:NAME` stands for all messages of a method. Default: `*`, every call of
    /// tools, resources and prompts.
    pub on: Option<Vec<String>>,
    /// The properties of a call that have a bucket of their own for each value. Default: one bucket for all calls.
    pub per: Vec<LimitPer>,
    /// Calls in a time, such as `100/min`; the units are `s`, `min`, `h` and `day`.
    pub rate: Option<String>,
    /// Calls that may come at once. Default: the number in `rate`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<u32>,
    /// Calls that may run at the same time.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub concurrent: Option<u32>,
    /// Only for callers with one of these roles. Default: all callers.
    pub roles: Option<Vec<String>>,
    /// Only for callers with one of these kinds of credentials. Default: all kinds.
    pub kinds: Option<Vec<CredentialKind>>,
    /// Only for these upstreams. Default: all upstreams.
    pub upstreams: Option<Vec<String>>,
}

/// Limits that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LimitPreset {
    /// By the kind of credential: 1000, 500 and 100 calls a minute.
    #[serde(rename = "chapter-6")]
    Chapter6,
}

/// Pauses after failed authentications, for each address and each credential.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Lockout {
    /// Failures without a pause. Default: 10.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub failures: Option<u32>,
    /// Seconds of the first pause; each further failure doubles it. Default: 5.
    #[schemars(range(min = 1, max = 86_400))]
    pub pause_s: Option<u64>,
    /// Seconds of the longest pause. Default: 900.
    #[schemars(range(min = 1, max = 604_800))]
    pub max_pause_s: Option<u64>,
    /// Seconds without a failure after which all failures are forgotten. Default: 900.
    #[schemars(range(min = 1, max = 604_800))]
    pub forget_s: Option<u64>,
}
