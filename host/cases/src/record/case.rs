//! Makes cases from hooks: each kind of question with its answer is one case.

use std::collections::{BTreeMap, HashMap};

use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use witgate_plugin::{
    Algorithm, Identity, Scheme, TargetKind, ToolAnnotations, Transport, Verdict, VerifyError,
};

use super::http;
use super::result::{RecordedCase, RecordingResult};
use super::settings::WrittenSettings;
use super::stand_in::{ClaimRules, REDACTED, StandIns};
use crate::OutcomeText as _;
use crate::{CaseCall, DIGEST, scheme_name};
use witgate_base::digest::{digest_text, sha256};
use witgate_base::printable::clean;
use witgate_component::failure::Failure;
use witgate_policy::Policy;
use witgate_policy::answer::Outcome;
use witgate_policy::tap::RecordedHook;
use witgate_services::host_calls::{HostCalls, SignatureCheck};

/// The maximum number of cases in a file.
const MOST: usize = 1000;

/// The maximum size of a file of cases in bytes, with room for the surrounding text.
const LARGEST: usize = 3 << 20;

/// Minimum length of a credential whose digest is written. A shorter one could be guessed from it.
const UNGUESSABLE: usize = 24;

/// Maximum length in bytes of cache content that is written unchanged, such as a counter or a URL.
const REMARK: usize = 512;

/// The reason why a call cannot be repeated.
type OmissionReason = &'static str;

/// The cases of one recording.
pub(super) struct Cases<'p> {
    policy: &'p Policy,
    /// True if claims are written unchanged.
    claims: bool,
    /// The texts of the policy's settings.
    settings: String,
    stand_ins: StandIns,
    cases: Vec<RecordedCase>,
    /// The positions of questions with their answers.
    places: HashMap<String, usize>,
    left_out: BTreeMap<String, u64>,
    calls: u64,
    size: usize,
}

impl<'p> Cases<'p> {
    pub(super) fn new(policy: &'p Policy, claims: bool) -> Self {
        Self {
            policy,
            claims,
            settings: WrittenSettings(policy.recorded_settings()).text(),
            stand_ins: StandIns::default(),
            cases: Vec::new(),
            places: HashMap::new(),
            left_out: BTreeMap::new(),
            calls: 0,
            size: 0,
        }
    }

    /// The number of recorded calls.
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    pub(super) fn are_full(&self) -> bool {
        self.cases.len() >= MOST || self.size >= LARGEST
    }

    /// Adds a hook.
    pub(super) fn add(&mut self, hook: &RecordedHook) {
        self.calls += 1;
        match self.case(hook) {
            Ok(case) => self.note(case, hook),
            Err(why) => *self.left_out.entry(why.to_owned()).or_default() += 1,
        }
    }

    /// Equal questions with equal answers are one case, at any time.
    fn note(&mut self, case: Map<String, Value>, hook: &RecordedHook) {
        let mut key = case.clone();
        key.remove("now");
        let key = Value::Object(key).to_string();
        if let Some(seen) = self.places.get(&key).and_then(|place| self.cases.get_mut(*place)) {
            seen.times += 1;
            return;
        }
        self.size += key.len();
        self.places.insert(key, self.cases.len());
        self.cases.push(RecordedCase { name: name(hook), case, times: 1 });
    }

    pub(super) fn recorded(self, shed: u64, ended: &'static str) -> RecordingResult {
        let is_component = self.policy.digest().is_some();
        RecordingResult {
            settings: WrittenSettings(self.policy.recorded_settings()).without_secrets(is_component),
            cases: self.cases,
            calls: self.calls,
            shed,
            left_out: self.left_out,
            ended,
        }
    }

    fn case(&mut self, hook: &RecordedHook) -> Result<Map<String, Value>, OmissionReason> {
        let notes = hook.call_log.take();
        let outcome = repeatable(hook, &notes)?;
        let mut case = Map::new();
        case.insert("policy".to_owned(), self.policy.name().to_string().into());
        case.insert("now".to_owned(), hook.now.into());
        self.put_call(&mut case, hook, &notes)?;
        let claims = ClaimRules::keeping(self.claims, words(hook, outcome));
        match (&hook.credential, hook.scope().subject.principal()) {
            (Some((scheme, value)), _) => {
                self.put_credential(&mut case, *scheme, value.expose_secret(), &claims);
            }
            (None, Some(principal)) => {
                let identity = hook.scope().subject.identity().ok_or("it names no caller")?;
                self.put_principal(&mut case, principal.proven_by, identity, &notes, &claims);
            }
            (None, None) => return Err("it names no caller"),
        }
        put_host_calls(&mut case, hook, &notes, &claims)?;
        case.insert("expect".to_owned(), expected(outcome, &claims));
        let traces = hook.scope().traces.as_ref().ok_or("the call was under way when the recording began")?;
        let case = Value::Object(case);
        match (traces.are_in(&case), case) {
            (false, Value::Object(case)) => Ok(case),
            _ => Err("the case would contain the credential"),
        }
    }

    fn put_call(
        &self,
        case: &mut Map<String, Value>,
        hook: &RecordedHook,
        notes: &HostCalls,
    ) -> Result<(), OmissionReason> {
        let subject = &hook.scope().subject;
        let mut put = |name: &str, value: Value| drop(case.insert(name.to_owned(), value));
        put("upstream", json!(subject.upstream()));
        put("audience", json!(subject.audience()));
        let call = call_text(hook.kind, &hook.target);
        let named = CaseCall::named(&call);
        if named.kind != hook.kind || named.target != hook.target {
            return Err("a case cannot write the name of the target");
        }
        put("call", call.into());
        if named.method != hook.method {
            put("method", json!(hook.method));
        }
        if hook.scope().listing {
            put("listing", true.into());
        }
        if subject.transport() == Transport::Stdio {
            put("stdio", true.into());
        }
        put_annotations(case, hook, notes)?;
        self.put_wanted(case, hook, notes)
    }

    /// Adds the parts of the request that the policy wants to see.
    fn put_wanted(
        &self,
        case: &mut Map<String, Value>,
        hook: &RecordedHook,
        notes: &HostCalls,
    ) -> Result<(), OmissionReason> {
        let scope = hook.scope();
        let host = self.policy.host(scope);
        let mut put = |name: &str, value: Value| drop(case.insert(name.to_owned(), value));
        if let Some(arguments) = host.find_arguments() {
            put("arguments_text", json!(arguments));
        }
        if let Some(meta) = host.find_meta() {
            let meta: Value = serde_json::from_str(&meta).map_err(|_| "its `_meta` cannot be read")?;
            put("meta", without_null(meta));
        }
        if let Some(peer) = host.find_peer() {
            put("peer", json!(peer));
        }
        let wanted = self.policy.wants().map(|wants| wants.headers.as_slice()).unwrap_or_default();
        let header = |name: &String| {
            let value = host.find_header(name)?;
            Some((name.clone(), json!(if is_secret(name) { REDACTED } else { &*value })))
        };
        let headers: Map<_, _> = wanted.iter().filter_map(header).collect();
        if !headers.is_empty() {
            put("headers", headers.into());
        }
        let mut proven = Map::new();
        if notes.called.contains("request.certificate-thumbprint")
            && let Some(thumbprint) = host.find_certificate_thumbprint()
        {
            proven.insert("certificate".to_owned(), json!(thumbprint));
        }
        if notes.called.contains("request.dpop-thumbprint")
            && let Some(thumbprint) = scope.subject.dpop_thumbprint()
        {
            proven.insert("dpop".to_owned(), json!(thumbprint));
        }
        if !proven.is_empty() {
            put("proven", proven.into());
        }
        Ok(())
    }

    fn put_credential(
        &mut self,
        case: &mut Map<String, Value>,
        scheme: Scheme,
        value: &str,
        claims: &ClaimRules,
    ) {
        case.insert("credential".to_owned(), self.stand_ins.of(scheme, value, claims));
        let digest = digest_text(&sha256(value.as_bytes()));
        let digest = digest.trim_start_matches("sha256:");
        // Whoever can read the settings knows the credential already, and nobody can compute it from the digest.
        if value.len() >= UNGUESSABLE && scheme != Scheme::Basic && self.settings.contains(digest) {
            case.insert("digest".to_owned(), digest.into());
        }
    }

    fn put_principal(
        &self,
        case: &mut Map<String, Value>,
        proven_by: &str,
        identity: &Identity,
        notes: &HostCalls,
        claims: &ClaimRules,
    ) {
        let mut principal = Map::new();
        let mut put = |name: &str, value: Value| drop(principal.insert(name.to_owned(), value));
        put("subject", json!(identity.subject));
        put("proven_by", json!(proven_by));
        if !identity.roles.is_empty() {
            put("roles", json!(identity.roles));
        }
        if !identity.scopes.is_empty() {
            put("scopes", json!(identity.scopes));
        }
        if let (true, Some(issuer)) = (notes.called.contains("caller.issuer"), &identity.issuer) {
            put("issuer", json!(issuer));
        }
        if let (true, Some(end)) = (notes.called.contains("caller.expires-at"), identity.expires_at) {
            put("expires_at", json!(end));
        }
        let wanted = self.policy.wants().is_some_and(|wants| wants.data.claims);
        let own = identity.claims.as_deref().filter(|_| wanted).map(serde_json::from_str);
        if let Some(Ok(Value::Object(own))) = own {
            put("claims", without_null(claims.object(&own).into()));
        }
        case.insert("principal".to_owned(), principal.into());
    }
}

/// Adds the annotations of the tool, if the hook has read them.
fn put_annotations(
    case: &mut Map<String, Value>,
    hook: &RecordedHook,
    notes: &HostCalls,
) -> Result<(), OmissionReason> {
    let is_own = |tool: &String| hook.kind == TargetKind::Tool && *tool == hook.target;
    if !notes.annotated.iter().all(is_own) {
        return Err("it read the annotations of another tool");
    }
    let found = notes.annotated.iter().find_map(|tool| hook.scope().subject.annotations(tool));
    if let Some(ToolAnnotations { read_only, destructive, idempotent, open_world }) = found {
        let written = json!({
            "readOnlyHint": read_only,
            "destructiveHint": destructive,
            "idempotentHint": idempotent,
            "openWorldHint": open_world,
        });
        case.insert("annotations".to_owned(), written);
    }
    Ok(())
}

/// The answer, if a case can expect it.
fn repeatable<'t>(hook: &'t RecordedHook, notes: &HostCalls) -> Result<&'t Outcome, OmissionReason> {
    if hook.by_fallback {
        return Err("the built-in decided in place of the component");
    }
    if notes.cut {
        return Err("it got more data from its host than a recording keeps");
    }
    // A case has a replacement for the credential, which is nobody's password.
    if notes.called.contains("crypto.verify-password") {
        return Err("it checked a password, which no recording contains");
    }
    match hook.outcome.as_ref().ok_or("it gave no answer")? {
        Outcome::Failed(Failure::Timeout | Failure::Busy | Failure::Breaker | Failure::Unavailable, _) => {
            Err("it failed for lack of time, or because of a server")
        }
        outcome => Ok(outcome),
    }
}

/// Texts that the case contains in any case.
fn words(hook: &RecordedHook, outcome: &Outcome) -> Vec<String> {
    let answered = match outcome {
        Outcome::Verdict(Verdict::Identity(identity)) => Some(identity),
        _ => None,
    };
    let asked = hook.scope().subject.identity();
    let of = answered.into_iter().chain(asked);
    of.flat_map(|identity| [&identity.subject].into_iter().chain(&identity.roles).chain(&identity.scopes))
        .cloned()
        .collect()
}

/// Adds the results of host calls, as far as a case needs them.
fn put_host_calls(
    case: &mut Map<String, Value>,
    hook: &RecordedHook,
    notes: &HostCalls,
    claims: &ClaimRules,
) -> Result<(), OmissionReason> {
    let credential = hook.credential.as_ref().map(|(_, value)| value.expose_secret());
    let subject = hook.scope().subject.identity().map(|identity| identity.subject.as_str());
    let personal: Vec<_> = subject.into_iter().filter(|subject| !subject.is_empty()).collect();
    let exchanges: Result<Vec<_>, _> = notes
        .http
        .iter()
        .map(|(request, answer)| http::written(request, answer, credential, &personal, claims))
        .collect();
    let exchanges = exchanges?;
    if !exchanges.is_empty() {
        case.insert("http".to_owned(), exchanges.into());
    }
    let mut verified: Vec<Value> = Vec::new();
    for check in notes.verified.iter().map(verification) {
        if !verified.contains(&check) {
            verified.push(check);
        }
    }
    if !verified.is_empty() {
        case.insert("verify".to_owned(), verified.into());
    }
    let place = credential.map(|credential| sha256(credential.as_bytes()));
    let mut cache = Map::new();
    for (key, value) in &notes.cached {
        let key = match place.is_some_and(|place| place.as_slice() == key) {
            true => DIGEST.to_owned(),
            false => text(key).ok_or("a key in its cache is not text")?.to_owned(),
        };
        cache.insert(key, remembered(value, claims)?.into());
    }
    if !cache.is_empty() {
        case.insert("cache".to_owned(), cache.into());
    }
    Ok(())
}

fn remembered(value: &[u8], claims: &ClaimRules) -> Result<String, OmissionReason> {
    let value = text(value).ok_or("a value in its cache is not text")?;
    match claims.text(value) {
        Some(kept) => Ok(kept),
        None if value.len() <= REMARK => Ok(value.to_owned()),
        None => Err("a value in its cache may be about the caller; `--claims` records it"),
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn verification(verified: &SignatureCheck) -> Value {
    let outcome = match verified.outcome {
        Ok(()) => "good",
        Err(VerifyError::UnknownKey) => "unknown-key",
        Err(VerifyError::UnknownKeyId) => "unknown-key-id",
        Err(VerifyError::AlgorithmMismatch) => "algorithm-mismatch",
        Err(VerifyError::BadSignature) => "bad-signature",
        Err(VerifyError::Unavailable) => "unavailable",
    };
    let algorithm = match verified.algorithm {
        Algorithm::EdDsa => "EdDSA".to_owned(),
        other => format!("{other:?}").to_uppercase(),
    };
    without_null(json!({
        "key": verified.key, "key_id": verified.key_id, "algorithm": algorithm, "outcome": outcome,
    }))
}

/// The answer in the form of an expectation. Values that are redacted in the question cannot be in it.
fn expected(outcome: &Outcome, claims: &ClaimRules) -> Value {
    let mut written = outcome.written();
    if let Some(identity) = written.get_mut("identity").and_then(Value::as_object_mut)
        && !claims.are_kept()
        && identity.get("claims").is_some_and(Value::is_object)
    {
        identity.remove("claims");
    }
    without_null(written)
}

/// TOML has no null value.
fn without_null(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name, without_null(value))).collect())
        }
        Value::Array(items) => items.into_iter().filter(|item| !item.is_null()).map(without_null).collect(),
        other => other,
    }
}

fn call_text(kind: TargetKind, target: &str) -> String {
    let prefix = match kind {
        TargetKind::Tool => "",
        TargetKind::Resource => "resource:",
        TargetKind::Prompt => "prompt:",
        TargetKind::Method => "method:",
    };
    format!("{prefix}{target}")
}

/// True if a header's name shows that its value is confidential, such as `Cookie` or `X-Hub-Signature`: a credential
/// that the pipeline does not know.
fn is_secret(header: &str) -> bool {
    let name = header.to_ascii_lowercase();
    ["auth", "cookie", "credential", "key", "password", "secret", "signature", "token"]
        .iter()
        .any(|part| name.contains(part))
}

/// The title of a case.
fn name(hook: &RecordedHook) -> String {
    let call = call_text(hook.kind, &hook.target);
    let asked = match (&hook.credential, hook.scope().subject.identity()) {
        (Some((scheme, _)), _) => format!("{call} with {}", scheme_name(*scheme)),
        (None, Some(identity)) if hook.scope().listing => {
            format!("{call} in a list for {}", identity.subject)
        }
        (None, Some(identity)) => format!("{call} by {}", identity.subject),
        (None, None) => call,
    };
    let answer = match &hook.outcome {
        Some(Outcome::Verdict(Verdict::Identity(identity))) => format!("identity {}", identity.subject),
        Some(outcome) => match outcome.class() {
            (kind, Some(reason)) => format!("{kind} {reason}"),
            (kind, None) => kind.to_owned(),
        },
        None => "nothing".to_owned(),
    };
    let text = clean(&format!("{asked}: {answer}"));
    text.chars().take(200).collect()
}
