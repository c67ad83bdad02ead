//! The values that the hooks exchange with the host: the WIT interface `types`, as plain Rust.

/// The transport of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Streamable HTTP.
    Http,
    /// Standard input and output of the host's process.
    Stdio,
}

/// The kind of target that a call acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetKind {
    /// A tool, by its name.
    Tool,
    /// A resource or a resource template, by its URI.
    Resource,
    /// A prompt, by its name.
    Prompt,
    /// A protocol method that acts on none of the above.
    Method,
}

/// One MCP request, parsed strictly once by the host.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The JSON-RPC method, for example `tools/call`.
    pub method: &'a str,
    /// The kind of thing that `target` names.
    pub kind: TargetKind,
    /// Tool name, resource URI, prompt name, or the method again for [`TargetKind::Method`].
    pub target: &'a str,
    /// The transport of the call.
    pub transport: Transport,
    /// True if the host asks whether the caller may see an entry of a list. The call has no arguments then.
    pub listing: bool,
}

/// The hints of a tool about its behaviour (`annotations` of MCP), as the operator has approved them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolAnnotations {
    /// `readOnlyHint`: the tool does not change its environment.
    pub read_only: bool,
    /// `destructiveHint`: the tool may destroy something, rather than only add.
    pub destructive: bool,
    /// `idempotentHint`: a second call with the same arguments changes nothing more.
    pub idempotent: bool,
    /// `openWorldHint`: the tool may act on things outside of the server, such as the web.
    pub open_world: bool,
}

impl Default for ToolAnnotations {
    /// The values of hints that a definition does not have, by the specification of MCP.
    fn default() -> Self {
        Self { read_only: false, destructive: true, idempotent: false, open_world: true }
    }
}

/// The scheme of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `Authorization: Bearer`, or `MCP_BEARER_TOKEN` over stdio.
    Bearer,
    /// `Authorization: Basic`, still in base64.
    Basic,
    /// `Authorization: DPoP`.
    Dpop,
    /// The header named by [`crate::Wants::credential_header`], or `MCP_API_KEY` over stdio.
    Header,
    /// A declared credential field of the tool's arguments.
    Argument,
    /// A client certificate in PEM.
    Certificate,
}

/// The caller's credential. Prints its scheme, never its value.
#[derive(Clone, Copy)]
pub struct Credential<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// The credential itself, without the scheme's name.
    pub value: &'a str,
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

/// The identity of a caller, as an authenticator has established it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The principal, unique within `issuer`.
    pub subject: String,
    /// The issuer of the subject.
    pub issuer: Option<String>,
    /// Roles.
    pub roles: Vec<String>,
    /// OAuth scopes.
    pub scopes: Vec<String>,
    /// Other claims, as one JSON object.
    pub claims: Option<String>,
    /// The expiry of the identity, in seconds since the Unix epoch.
    pub expires_at: Option<u64>,
}

/// The fault of a credential that the plugin recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// A reason code in kebab case.
    pub reason: String,
    /// A sentence for the operator's log.
    pub detail: Option<String>,
}

impl Refusal {
    /// A reason code and a sentence for the operator.
    pub fn new(reason: &str, detail: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), detail: Some(detail.into()) }
    }
}

/// The plugin could not decide because something that it needs did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailability {
    /// A sentence for the operator's log.
    pub detail: String,
    /// Seconds until a retry makes sense.
    pub retry_after: Option<u32>,
}

impl Unavailability {
    /// A sentence for the operator, and the seconds until a retry makes sense, if they are known.
    pub fn new(detail: impl Into<String>, retry_after: Option<u32>) -> Self {
        Self { detail: detail.into(), retry_after }
    }
}

/// The verdict of an authenticator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The credential is valid. It belongs to this identity.
    Identity(Identity),
    /// This plugin does not judge credentials of this kind. The host asks the next authenticator.
    NotMine,
    /// This plugin judges credentials of this kind, and this one is invalid. The host asks no other
    /// authenticator.
    Refused(Refusal),
    /// This plugin could not find out whether the credential is valid. The host denies the call.
    Unavailable(Unavailability),
}

impl Verdict {
    /// A refusal with a reason code and a sentence for the operator.
    pub fn refused(reason: &str, detail: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(reason, detail))
    }

    /// An unavailability with a sentence for the operator.
    pub fn unavailable(detail: impl Into<String>, retry_after: Option<u32>) -> Self {
        Self::Unavailable(Unavailability::new(detail, retry_after))
    }
}

/// Every verdict except an identity: the error with which the steps of a check end, by `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoIdentity {
    /// As [`Verdict::NotMine`].
    NotMine,
    /// As [`Verdict::Refused`].
    Refused(Refusal),
    /// As [`Verdict::Unavailable`].
    Unavailable(Unavailability),
}

impl From<Refusal> for NoIdentity {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Unavailability> for NoIdentity {
    fn from(unavailability: Unavailability) -> Self {
        Self::Unavailable(unavailability)
    }
}

impl From<Result<Identity, NoIdentity>> for Verdict {
    fn from(outcome: Result<Identity, NoIdentity>) -> Self {
        match outcome {
            Ok(identity) => Self::Identity(identity),
            Err(NoIdentity::NotMine) => Self::NotMine,
            Err(NoIdentity::Refused(refusal)) => Self::Refused(refusal),
            Err(NoIdentity::Unavailable(unavailability)) => Self::Unavailable(unavailability),
        }
    }
}

/// The identity that an authorizer decides about.
#[derive(Clone, Copy, Debug)]
pub struct Principal<'a> {
    /// The principal, unique within its issuer.
    pub subject: &'a str,
    /// Name of the policy that established the identity, or `anonymous`.
    pub proven_by: &'a str,
    /// Roles of the identity.
    pub roles: &'a [String],
    /// OAuth scopes of the identity.
    pub scopes: &'a [String],
}

/// The reason why a call is not allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denial {
    /// A reason code in kebab case.
    pub reason: String,
    /// All scopes that the operation needs, if more scopes would help.
    pub scopes: Vec<String>,
    /// Seconds until a retry makes sense.
    pub retry_after: Option<u32>,
    /// A sentence for the operator's log.
    pub detail: Option<String>,
}

/// The decision of an authorizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// This plugin allows the call.
    Allow,
    /// This plugin has no rule for this identity. If all authorizers abstain, the host denies the call.
    Abstain,
    /// This plugin denies the call.
    Deny(Denial),
    /// This plugin could not decide. The host denies the call.
    Unavailable(Unavailability),
}

/// The decision of an authorizer about one entry of a list: a [`Decision`] without the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryDecision {
    /// The caller sees the entry.
    Allow,
    /// This plugin has no rule for this identity and this entry.
    Abstain,
    /// The caller does not see the entry.
    Deny,
}

impl From<EntryDecision> for Decision {
    /// A denial has no reason.
    fn from(decision: EntryDecision) -> Self {
        match decision {
            EntryDecision::Allow => Self::Allow,
            EntryDecision::Abstain => Self::Abstain,
            EntryDecision::Deny => Self::Deny(Denial::default()),
        }
    }
}

impl TryFrom<Decision> for EntryDecision {
    type Error = Unavailability;

    fn try_from(decision: Decision) -> Result<Self, Unavailability> {
        match decision {
            Decision::Allow => Ok(Self::Allow),
            Decision::Abstain => Ok(Self::Abstain),
            Decision::Deny(_) => Ok(Self::Deny),
            Decision::Unavailable(unavailability) => Err(unavailability),
        }
    }
}

impl Decision {
    /// A denial with a reason code and a sentence for the operator.
    pub fn deny(reason: &str, detail: impl Into<String>) -> Self {
        Self::Deny(Denial { reason: reason.to_owned(), detail: Some(detail.into()), ..Denial::default() })
    }
}
