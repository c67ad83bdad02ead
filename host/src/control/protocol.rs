//! The messages on the control socket: the commands of clients, and the answers of the running Witgate.
//!
//! The client and the gateway may be of different versions. A client ignores members that it does not know, and uses
//! defaults for those that a status lacks. Times are in seconds since the Unix epoch, digests as
//! [`witgate_base::digest::digest_text`] writes them.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use witgate_policy::generation::Recipe;

use super::definitions::UpstreamPins;

/// A command on the control socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cmd", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum ControlCommand {
    /// The access to the gateway, in short: an [`Overview`].
    Status,
    /// The policies of the live generation, and the result of the last candidate: a [`GatewayStatus`].
    PluginList,
    /// Use the files as they are now, or only tell what that would change: a
    /// [`ReloadReport`](super::reloading::ReloadReport).
    Reload {
        /// True if nothing is to change.
        #[serde(default)]
        check: bool,
    },
    /// The disagreements of shadow policies: [`Differences`].
    PluginDiff,
    /// Go back to an earlier generation: [`RollbackReport`].
    PluginRollback {
        /// The generation number. None: the most recent one with different inputs.
        #[serde(default)]
        to: Option<u64>,
        /// True if it may widen access although the configuration refuses that. An older Witgate does not know this.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        allow_new_access: bool,
    },
    /// Let the change go live that was refused last because of new access: [`AllowedAccess`].
    PluginAllowAccess {
        /// The name of the change.
        change: String,
    },
    /// The inputs of a generation that a rollback can return to: a [`RecipeReport`].
    GenerationRecipe {
        /// Its number.
        generation: u64,
    },
    /// Record the questions that a policy gets, and its answers: a [`RecordingReport`]. The answer comes at the end of
    /// the recording. A client that goes away ends the recording.
    PluginRecord {
        /// Its name.
        policy: String,
        /// The number of calls after which the recording ends.
        calls: u64,
        /// The number of seconds after which the recording ends.
        seconds: u64,
        /// True if claims are written down without redaction.
        #[serde(default)]
        claims: bool,
    },
    /// End the recording of a policy. The client that started it then gets its answer: [`StoppedRecording`].
    PluginRecordStop {
        /// Its name.
        policy: String,
    },
    /// Show or replace the filter of the log: [`LogLevelReport`].
    LogLevel {
        /// The new filter, in the form of `RUST_LOG`. None: the filter stays.
        #[serde(default)]
        level: Option<String>,
    },
    /// Forget the answers kept for a token, and judge all open streams again: [`ForgottenToken`].
    TokenForget {
        /// SHA-256 of the token. The token itself does not cross the socket.
        digest: String,
    },
    /// The state of the limits and of their buckets: [`LimitsReport`].
    Limits,
    /// The pauses after failed authentications: [`LockoutReport`].
    LockoutList,
    /// Forget failed authentications: [`ClearedLockouts`].
    LockoutClear {
        /// The address whose network is meant. None: all networks and credentials.
        #[serde(default)]
        address: Option<String>,
    },
    /// Refuse connections from a network: [`DeniedPeersReport`].
    PeersDeny {
        /// The address or network.
        network: String,
    },
    /// Accept connections from a network again: [`DeniedPeersReport`].
    PeersAllow {
        /// The address or network, as it was denied.
        network: String,
    },
    /// The networks that may not connect: [`DeniedPeersReport`].
    PeersList,
    /// The upstreams, and the number of definitions that are not approved: an
    /// [`UpstreamsReport`](super::definitions::UpstreamsReport).
    UpstreamList,
    /// The definitions that the lists of an upstream have shown: a [`ShownByLists`](super::definitions::ShownByLists).
    UpstreamDefinitions {
        /// Its name.
        upstream: String,
    },
    /// Show decisions as they are made: a [`TraceBegun`], and then each decision, as `docs/explain.md` describes it. It
    /// ends when its client goes away.
    Trace {
        /// The subject of the caller.
        #[serde(default)]
        subject: Option<String>,
        /// A tool, prompt, resource or method.
        #[serde(default)]
        tool: Option<String>,
        /// The outcome.
        #[serde(default)]
        outcome: Option<String>,
        /// The upstream.
        #[serde(default)]
        upstream: Option<String>,
    },
}

impl ControlCommand {
    /// True if the command ends when its client goes away: nobody else reads the answer.
    pub(super) fn ends_with_client(&self) -> bool {
        matches!(self, Self::PluginRecord { .. })
    }
}

/// The first answer to [`ControlCommand::Trace`]: from now on, decisions follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TraceBegun {
    /// The number of the live generation.
    pub generation: u64,
}

/// The access to a running Witgate, in short.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Overview {
    /// The version of the running Witgate.
    pub version: String,
    /// True if no upstream serves callers without a credential.
    pub auth_enabled: bool,
    /// True if a live policy knows API keys.
    pub api_key_configured: bool,
    /// The number of the live generation.
    pub generation: u64,
    /// The time at which it went live.
    pub since: u64,
    /// True if every pipeline is made from the files as they are now.
    pub whole: bool,
    /// The live policies.
    pub policies: Vec<PolicySummary>,
    /// The upstreams, in the order of the configuration.
    pub upstreams: Vec<UpstreamSummary>,
    /// The endpoints with several upstreams.
    pub endpoints: Vec<EndpointSummary>,
}

/// An endpoint with several upstreams, in short.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct EndpointSummary {
    pub name: String,
    /// The HTTP path.
    pub path: String,
    /// The names of the upstreams.
    pub upstreams: Vec<String>,
}

/// A live policy, in short.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PolicySummary {
    pub name: String,
    pub kind: String,
    pub state: PolicyState,
}

/// An upstream, in short.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct UpstreamSummary {
    pub name: String,
    /// True if callers without a credential are refused.
    pub requires_credential: bool,
    /// The policies that establish who a caller is.
    pub authenticate: Vec<String>,
    /// The policies that have to allow a call.
    pub authorize: Vec<String>,
    /// The reason why it denies every call. None: the policies decide.
    pub closed: Option<String>,
    /// `off`, `warn` or `hold`: the consequence of a definition that is not approved.
    pub pins: String,
    /// The number of listed definitions that are not approved.
    pub unapproved: usize,
}

/// The filter of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogLevelReport {
    /// The filter in force, in the form of `RUST_LOG`.
    pub level: String,
    /// The filter before, if it was replaced.
    #[serde(default)]
    pub before: Option<String>,
}

/// The status of a running Witgate.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct GatewayStatus {
    /// The number of the live generation.
    pub generation: u64,
    /// SHA-256 of everything that the generation was made from, except secrets.
    pub digest: String,
    /// The time at which it went live.
    pub since: u64,
    pub policies: Vec<PolicyStatus>,
    pub last_change: Option<Change>,
    /// Milliseconds since the files were last checked. None: no files are checked.
    pub looked_ms_ago: Option<u64>,
    /// True if every pipeline is made from the files as they are now.
    pub whole: bool,
    /// The generation that a rollback in force has returned to.
    pub rolled_back_to: Option<u64>,
    /// Changes that take effect with a restart only, in sentences.
    pub waiting_for_restart: Vec<String>,
    pub unwatched: Vec<UnwatchedFile>,
    /// The generations that a rollback can return to, oldest first; the last is the live one.
    pub generations: Vec<KeptGeneration>,
    /// The access that the last change has given and taken. None: it is not compared yet.
    pub access: Option<AccessReport>,
    /// The upstreams whose definitions are compared with the approved ones.
    pub definitions: Vec<UpstreamPins>,
}

/// The difference of access between two generations: pairs of a principal and a target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AccessReport {
    /// The earlier generation.
    pub before: u64,
    pub generation: u64,
    pub gained: usize,
    pub lost: usize,
    /// The first differences, each in a line.
    pub examples: Vec<String>,
    /// The parts that were left out, in sentences.
    pub left_out: Vec<String>,
    /// The reason why nothing is known.
    pub unknown: Option<String>,
}

/// A policy of the live generation, with its counts since the policy was made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PolicyStatus {
    pub name: String,
    pub kind: String,
    /// `enforce` or `shadow`.
    pub mode: String,
    /// The code that decides: `builtin`, `component`, `fallback` or `none`.
    pub source: String,
    /// The component's digest.
    pub digest: Option<String>,
    /// The files that the policy was made from. None: the gateway's version does not report them.
    pub files: Option<Vec<SourceFile>>,
    /// The component's version.
    pub version: Option<String>,
    pub state: PolicyState,
    /// The reason for its state.
    pub error: Option<String>,
    /// Number of hooks called.
    pub calls: u64,
    pub denials: u64,
    pub failures: u64,
    pub failures_by_reason: BTreeMap<String, u64>,
    pub fallbacks: u64,
    pub disagreements: u64,
    /// Median duration of a hook, in microseconds.
    pub p50_us: Option<f64>,
    /// 99th percentile of the duration of a hook, in microseconds.
    pub p99_us: Option<f64>,
    pub instances: Option<usize>,
    pub memory_bytes: Option<usize>,
}

/// The state of a policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PolicyState {
    Live,
    /// The policy is live, and its replacement was refused.
    CandidateRefused,
    /// The built-in policy decides in place of its component.
    Fallback,
    /// The policy cannot decide, so that its calls are denied.
    Broken,
    /// Its circuit breaker is open.
    Out,
    /// Its circuit breaker is open for some callers.
    OutForSome,
    /// A state that this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

impl fmt::Display for PolicyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A file that a policy was made from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SourceFile {
    /// Its absolute path.
    pub file: String,
    /// SHA-256 of the content. None: the file is a secret, and its digest would let others guess it.
    pub digest: Option<String>,
}

/// A file whose changes bring no notification, so that Witgate checks it once a second.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct UnwatchedFile {
    pub file: String,
    pub reason: String,
}

/// The last candidate.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Change {
    pub at: u64,
    pub milliseconds: u64,
    /// The number of the generation that went live.
    pub generation: Option<u64>,
    /// The reasons why it was refused.
    pub errors: Option<Vec<String>>,
}

/// A generation that a rollback can return to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct KeptGeneration {
    pub generation: u64,
    /// The earlier generation that it repeats.
    pub repeats: Option<u64>,
    pub since: u64,
    /// Digests of components, by policy. None: a built-in.
    pub policies: BTreeMap<String, Option<String>>,
}

/// The disagreements of the live generation's shadow policies.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Differences {
    pub generation: u64,
    pub shadows: Vec<Shadow>,
}

/// A shadow policy, and its disagreements.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Shadow {
    pub policy: String,
    pub calls: u64,
    /// Calls that the shadow policy did not judge.
    pub shed: u64,
    pub failures: u64,
    pub disagreements: u64,
    /// Disagreements for which there was no room in `kinds`.
    pub left_out: u64,
    /// The kinds of disagreements, most frequent first.
    pub kinds: Vec<DisagreementCount>,
}

/// A kind of disagreement.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DisagreementCount {
    pub count: u64,
    /// The time of the last one.
    pub last: u64,
    pub upstream: String,
    pub method: String,
    /// The target of the call. None: the disagreement was about the caller.
    pub target: Option<String>,
    /// The verdict of the live policies.
    pub live: String,
    /// The verdict of the shadow.
    pub shadow: String,
}

/// A rollback that was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RollbackReport {
    pub rolled_back_to: u64,
    /// The generation that repeats it, and is live.
    pub generation: u64,
    /// The reason why the rollback ends with the process. None: it survives a restart.
    pub unkept: Option<String>,
}

/// The permission for a change that was refused because of new access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AllowedAccess {
    /// The number of the live generation, which the change replaces soon.
    pub generation: u64,
}

/// The inputs of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecipeReport {
    pub generation: u64,
    /// True if all its pipelines follow the recipe.
    pub is_whole: bool,
    pub recipe: Recipe,
}

/// A recording of a policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RecordingReport {
    pub policy: String,
    /// The component's digest. None: the built-in decides.
    pub digest: Option<String>,
    /// The settings of the policy, without secrets.
    pub settings: Map<String, Value>,
    pub cases: Vec<ReportedCase>,
    /// Calls that were recorded.
    pub calls: u64,
    /// Calls that came faster than they could be written down.
    pub shed: u64,
    /// Calls that cannot be replayed, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// The reason why the recording ended.
    pub ended: String,
}

/// A case, and how often it was seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ReportedCase {
    pub name: String,
    pub times: u64,
    /// The case as in a file of cases, without its name.
    pub case: Map<String, Value>,
}

/// The end of a recording.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoppedRecording {
    /// The policy's name.
    pub stopped: String,
}

/// A token that was forgotten.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ForgottenToken {
    /// The policies that kept an answer for the token.
    pub forgotten_by: Vec<String>,
}

/// The limits of the live generation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LimitsReport {
    pub generation: u64,
    /// By name.
    pub limits: Vec<LimitStatus>,
}

/// A limit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LimitStatus {
    pub name: String,
    /// Such as `100/min`.
    pub rate: Option<String>,
    pub burst: Option<u32>,
    pub concurrent: Option<u32>,
    /// The properties that have a bucket for each value.
    pub per: Vec<String>,
    /// Number of calls that it has refused, since its buckets were made.
    pub hits: u64,
    /// Number of buckets that are not full or have running calls.
    pub busy: usize,
    /// The buckets that take the longest to be full.
    pub buckets: Vec<LimitBucket>,
}

/// A bucket of a limit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LimitBucket {
    /// The properties with their values. Empty: it is for all calls.
    pub of: BTreeMap<String, String>,
    /// Calls that may come at once now.
    pub remaining: Option<u64>,
    /// Running calls.
    pub running: Option<u32>,
    /// Seconds until it is full, if no further call comes.
    pub full_in_s: u64,
}

/// The failed authentications.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LockoutReport {
    /// True if the live configuration has a lockout.
    pub is_configured: bool,
    /// Those with the longest pause first.
    pub locked: Vec<LockoutStatus>,
}

/// A network or a credential with failed authentications.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LockoutStatus {
    /// The network. None: it is a credential, which is not shown.
    pub network: Option<String>,
    pub failures: u32,
    /// Seconds until the end of its pause. 0: there is none.
    pub rest_s: u64,
}

/// Failed authentications that were forgotten.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ClearedLockouts {
    /// Number of networks and credentials.
    pub cleared: usize,
}

/// The networks that may not connect.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DeniedPeersReport {
    /// Those of the live configuration.
    pub configured: Vec<String>,
    /// Those of `witgate peers deny`.
    pub denied: Vec<String>,
}

/// Writes an answer for the socket.
///
/// # Errors
/// When the answer cannot be written as JSON, which none of the answers here causes.
pub(super) fn written(answer: &impl Serialize) -> Result<Value, String> {
    serde_json::to_value(answer).map_err(|error| error.to_string())
}

/// Reads an answer, such as a [`GatewayStatus`].
///
/// # Errors
/// When it has another form, as an answer of another version may.
pub(crate) fn read<T: DeserializeOwned>(answer: &Value) -> Result<T, String> {
    T::deserialize(answer).map_err(|error| {
        format!("the running Witgate gives an unknown answer ({error}); it may be another version")
    })
}
