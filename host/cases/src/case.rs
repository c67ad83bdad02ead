//! Cases with all references resolved: every value is at the place where it is used.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderMap;
use serde_json::{Map, Value};
use witgate_plugin::{Digest, Identity, Scheme, TargetKind, ToolAnnotations, Transport};

use super::Expect;
use super::exchange::Exchange;
use super::format::{ConfigFault, ExpectedWants, Principal, ProofThumbprints};
use witgate_base::digest::sha256;
use witgate_config::{KeySource, Limits, PolicyKind};
use witgate_services::host_calls::SignatureCheck;

/// The default time of a case: 2033-05-18T03:33:20Z.
pub(super) const NOW: u64 = 2_000_000_000;

/// The placeholder for the digest of the credential, which is the cache key of results for it.
pub(crate) const DIGEST: &str = "{digest}";

/// A file of cases.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The file.
    pub path: PathBuf,
    /// The component in the file.
    pub component: Option<PathBuf>,
    /// The shipped kind in the file.
    pub kind: Option<PolicyKind>,
    /// The cases, in the order of the file.
    pub cases: Vec<Case>,
}

/// One policy with its settings, and questions to it, step by step.
#[derive(Clone, Debug)]
pub struct Case {
    /// The title of the case, which says what it shows.
    pub name: String,
    /// The line of the file on which the case begins, from 1.
    pub line: usize,
    /// The name that the operator gave the policy.
    pub policy: String,
    /// The settings, in the form of the configuration.
    pub settings: CaseSettings,
    /// The time at which the policy is configured, in seconds since the Unix epoch.
    pub now: u64,
    /// The host's state.
    pub held: Arc<HostState>,
    /// The limits of a hook. None: the policy's own limits, or the default ones.
    pub limits: Option<Limits>,
    /// The expected result of `configure`.
    pub wants: Option<ExpectedWants>,
    /// The expected error of `configure`. Then there are no steps.
    pub config_error: Option<ConfigFault>,
    /// The questions, in order, to one policy with one cache.
    pub steps: Vec<Step>,
}

impl Case {
    /// A case without a file: a policy with these settings, and any questions.
    pub fn of(config: Value) -> Self {
        Self {
            name: "a question".to_owned(),
            line: 1,
            policy: "own".to_owned(),
            settings: CaseSettings::just(config),
            now: NOW,
            held: Arc::default(),
            limits: None,
            wants: None,
            config_error: None,
            steps: Vec::new(),
        }
    }
}

/// The settings of a case.
#[derive(Clone, Debug, Default)]
pub struct CaseSettings {
    /// The first settings. None: the policy's own.
    pub base: Option<Value>,
    /// The members that are merged into them.
    pub change: Map<String, Value>,
    /// The members that are removed from them.
    pub drop: Vec<String>,
}

impl CaseSettings {
    /// Only these settings.
    pub fn just(config: Value) -> Self {
        Self { base: Some(config), ..Self::default() }
    }

    /// The complete settings, based on a policy's `own`.
    pub fn over(&self, own: &Value) -> Value {
        let mut config = self.base.as_ref().unwrap_or(own).clone();
        if let Value::Object(members) = &mut config {
            *members = merged(std::mem::take(members), &self.change);
            members.retain(|name, _| !self.drop.contains(name));
        }
        config
    }
}

/// The host's state while a case runs.
#[derive(Clone, Debug, Default)]
pub struct HostState {
    /// Keys by name, including secrets.
    pub keys: BTreeMap<String, KeySource>,
    /// The secrets, by name.
    pub secrets: BTreeMap<String, String>,
}

/// A question, and its expected answer.
#[derive(Clone, Debug)]
pub struct Step {
    /// The place in the file: the case, and the step if there are several.
    pub place: Vec<String>,
    /// The question.
    pub question: Question,
    /// Parts of lines that have to be in the log, in this order.
    pub log: Vec<String>,
    /// The expected number of calls of each import.
    pub host_calls: BTreeMap<String, u64>,
    /// The expected answer.
    pub expect: Expect,
}

/// A question to one of the hooks, and its context.
#[derive(Clone, Debug)]
pub struct Question {
    /// The time, in seconds since the Unix epoch.
    pub now: u64,
    /// The upstream's name.
    pub upstream: String,
    /// The upstream's resource identifier.
    pub audience: String,
    /// The call in the question.
    pub call: CaseCall,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The address of the caller.
    pub peer: Option<IpAddr>,
    /// The caller's proofs, besides the credential.
    pub proven: ProofThumbprints,
    /// The approved annotations of the call's tool.
    pub annotations: Option<ToolAnnotations>,
    /// The question.
    pub ask: HookQuestion,
    /// The HTTP requests that the policy has to send, in order, and the answers.
    pub http: Vec<Exchange>,
    /// The initial content of the policy's cache. `{digest}` is the key of results for the credential.
    pub cache: BTreeMap<String, String>,
    /// The digest of the credential, if that is a replacement.
    pub digest: Option<Digest>,
    /// The fixed results of signature checks, for any signatures.
    pub verify: Vec<SignatureCheck>,
}

impl Question {
    /// A question with an empty context.
    pub fn new(call: CaseCall, ask: HookQuestion) -> Self {
        Self {
            now: NOW,
            upstream: "upstream".to_owned(),
            audience: String::new(),
            call,
            headers: HeaderMap::new(),
            peer: None,
            proven: ProofThumbprints::default(),
            annotations: None,
            ask,
            http: Vec::new(),
            cache: BTreeMap::new(),
            digest: None,
            verify: Vec::new(),
        }
    }

    /// The credential in the question; empty if there is none.
    pub(super) fn shown(&self) -> &[u8] {
        match &self.ask {
            HookQuestion::Who { value, .. } => value.as_bytes(),
            HookQuestion::May(_) => &[],
        }
    }

    /// The cache key for `key` in a case.
    pub(super) fn place(&self, key: &str) -> Vec<u8> {
        match key {
            DIGEST => self.digest.unwrap_or_else(|| sha256(self.shown())).to_vec(),
            key => key.as_bytes().to_vec(),
        }
    }
}

/// A call.
#[derive(Clone, Debug)]
pub struct CaseCall {
    /// The JSON-RPC method.
    pub method: String,
    /// The kind of the call's target.
    pub kind: TargetKind,
    /// The name of the call's target.
    pub target: String,
    /// The transport of the call.
    pub transport: Transport,
    /// True if a list is being filtered.
    pub listing: bool,
    /// The arguments, as JSON text.
    pub arguments: Option<String>,
    /// `_meta`, as JSON text.
    pub meta: Option<String>,
}

impl CaseCall {
    /// A call over HTTP without arguments. Its target is written as in patterns: `echo`, `resource:file:///a`.
    pub fn named(text: &str) -> Self {
        let kinds = [
            ("resource:", "resources/read", TargetKind::Resource),
            ("prompt:", "prompts/get", TargetKind::Prompt),
            ("method:", "", TargetKind::Method),
        ];
        let (target, method, kind) = kinds
            .into_iter()
            .find_map(|(prefix, method, kind)| Some((text.strip_prefix(prefix)?, method, kind)))
            .unwrap_or((text, "tools/call", TargetKind::Tool));
        Self {
            method: if method.is_empty() { target } else { method }.to_owned(),
            kind,
            target: target.to_owned(),
            transport: Transport::Http,
            listing: false,
            arguments: None,
            meta: None,
        }
    }

    /// The same call of another target, written as in patterns.
    #[must_use]
    pub fn on(self, text: &str) -> Self {
        let Self { method, kind, target, .. } = Self::named(text);
        Self { method, kind, target, ..self }
    }

    /// The call as a policy gets it.
    pub fn as_call(&self) -> witgate_plugin::Call<'_> {
        witgate_plugin::Call {
            method: &self.method,
            kind: self.kind,
            target: &self.target,
            transport: self.transport,
            listing: self.listing,
        }
    }
}

/// A question to one of the hooks.
#[derive(Clone)]
pub enum HookQuestion {
    /// A question to `authenticate`.
    Who {
        /// The scheme of the credential.
        scheme: Scheme,
        /// The credential.
        value: String,
    },
    /// A question to `authorize`.
    May(Principal),
}

impl std::fmt::Debug for HookQuestion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Who { scheme, .. } => f.debug_struct("Who").field("scheme", scheme).finish_non_exhaustive(),
            Self::May(principal) => f.debug_tuple("May").field(principal).finish(),
        }
    }
}

impl Default for Principal {
    fn default() -> Self {
        Self {
            subject: "alice".to_owned(),
            proven_by: "idp".to_owned(),
            roles: Vec::new(),
            scopes: Vec::new(),
            issuer: None,
            claims: None,
            expires_at: None,
        }
    }
}

impl Principal {
    /// The identity of the principal.
    pub fn identity(&self) -> Identity {
        Identity {
            subject: self.subject.clone(),
            issuer: self.issuer.clone(),
            roles: self.roles.clone(),
            scopes: self.scopes.clone(),
            claims: self.claims.as_ref().map(|claims| Value::Object(claims.clone()).to_string()),
            expires_at: self.expires_at,
        }
    }
}

/// Objects are merged member by member, other values are replaced. An answer is replaced as a whole.
pub(super) fn merged(mut base: Map<String, Value>, over: &Map<String, Value>) -> Map<String, Value> {
    for (name, value) in over {
        let value = match (base.remove(name), value) {
            (Some(Value::Object(base)), Value::Object(over)) if name != "expect" => {
                Value::Object(merged(base, over))
            }
            (_, value) => value.clone(),
        };
        base.insert(name.clone(), value);
    }
    base
}
