//! Reads cases from a file, and reports all faults at once, each with its place.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use witgate_plugin::{Digest, HttpError, HttpResponse, Scheme, Transport, VerifyError};

use super::case::{
    Case, CaseCall, CaseSettings, HookQuestion, HostState, NOW, Question, Step, Suite, merged,
};
use super::exchange::Exchange;
use super::format::{
    self, CaseConfig, CaseCredential, CaseFile, HeldKey, HttpFault, Verification, VerifyOutcome,
};
use witgate_base::cause::Cause;
use witgate_base::digest::{digest_of, sha256};
use witgate_config::diagnostic::Diagnostic;
use witgate_config::document::Document;
use witgate_config::shape::{fit, listed, nearest};
use witgate_config::{KeySource, Limits, PolicyKind};
use witgate_policy::make::MakeError;
use witgate_services::host_calls::SignatureCheck;
use witgate_services::witness::IMPORTS;

/// The largest file.
const LARGEST: u64 = 4 << 20;

/// Maximum number of cases, because each candidate waits for all of them.
const MOST: usize = 1000;

/// The error when there are no cases.
#[derive(Debug, thiserror::Error)]
pub enum CasesError {
    /// The file cannot be read.
    #[error("the cases in {0} cannot be read: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// The file is too large.
    #[error("{0} has {1} bytes; a file of cases may have {LARGEST}")]
    TooLarge(PathBuf, u64),
    /// The file does not have the format.
    #[error("{}", .0.first().map(ToString::to_string).unwrap_or_default())]
    Broken(Vec<Diagnostic>),
    /// The file has no case, or too many.
    #[error("{0} has {1} cases; write 1 to {MOST}, or take `cases` out")]
    Count(PathBuf, usize),
}

impl CasesError {
    /// The cause.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Unreadable(_, error) => Cause::of(error),
            Self::TooLarge(..) | Self::Broken(_) | Self::Count(..) => Cause::Content,
        }
    }
}

impl From<CasesError> for MakeError {
    fn from(error: CasesError) -> Self {
        Self { cause: error.cause(), ..error.to_string().into() }
    }
}

impl Suite {
    /// Reads the file of cases at `path`.
    ///
    /// # Errors
    /// If it is invalid.
    pub fn read(path: &Path) -> Result<Self, CasesError> {
        let unreadable = |error| CasesError::Unreadable(path.to_owned(), error);
        let size = fs::metadata(path).map_err(unreadable)?.len();
        if size > LARGEST {
            return Err(CasesError::TooLarge(path.to_owned(), size));
        }
        Self::parse(path, &fs::read_to_string(path).map_err(unreadable)?)
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// With all faults.
    pub fn parse(path: &Path, text: &str) -> Result<Self, CasesError> {
        let (document, mut faults) = Document::parse(&path.display().to_string(), text);
        let (fitted, misfits) = fit(&document, format::schema());
        faults.extend(misfits);
        if !faults.is_empty() {
            return Err(CasesError::Broken(faults));
        }
        let file: CaseFile =
            shaped(fitted).map_err(|why| CasesError::Broken(vec![document.error(&[], why)]))?;
        if !(1..=MOST).contains(&file.cases.len()) {
            return Err(CasesError::Count(path.to_owned(), file.cases.len()));
        }
        let mut reader = CaseReader { document, held: Arc::default(), faults: Vec::new(), file };
        let suite = reader.suite(path);
        match reader.faults.is_empty() {
            true => Ok(suite),
            false => Err(CasesError::Broken(reader.faults)),
        }
    }

    /// The directory of the file.
    pub fn dir(&self) -> &Path {
        self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }
}

struct CaseReader<'t> {
    document: Document<'t>,
    file: CaseFile,
    held: Arc<HostState>,
    faults: Vec<Diagnostic>,
}

/// The place of a question: its case, and its step if there are several.
type QuestionPlace = Vec<String>;

impl CaseReader<'_> {
    fn suite(&mut self, path: &Path) -> Suite {
        self.held = Arc::new(self.held());
        let cases = std::mem::take(&mut self.file.cases);
        let mut resolved: Vec<Case> = Vec::new();
        let mut lines = HashMap::new();
        for (index, raw) in cases.iter().enumerate() {
            let place = vec!["case".to_owned(), index.to_string()];
            let Some(case) = self.case(&place, raw) else { continue };
            if let Some(before) = lines.insert(case.name.clone(), case.line) {
                let message = format!("the case on line {before} has the same name");
                self.fault(&place, "name", message, "give each case a name of its own");
            }
            resolved.push(case);
        }
        let dir = path.parent().unwrap_or(Path::new(""));
        Suite {
            path: path.to_owned(),
            component: self.file.component.as_ref().map(|component| dir.join(component)),
            kind: self.kind(),
            cases: resolved,
        }
    }

    fn kind(&mut self) -> Option<PolicyKind> {
        let kind = PolicyKind::from(self.file.builtin?);
        if kind == PolicyKind::Custom {
            self.fault(
                &[],
                "builtin",
                "there is no built-in of the kind `custom`",
                "leave it out, or name a shipped kind",
            );
        }
        Some(kind)
    }

    /// The host's state for all cases.
    fn held(&mut self) -> HostState {
        let secrets = std::mem::take(&mut self.file.secrets);
        let mut keys: BTreeMap<_, _> = secrets
            .iter()
            .map(|(name, value)| (name.clone(), KeySource::Secret(value.as_str().into())))
            .collect();
        for (name, key) in std::mem::take(&mut self.file.keys) {
            let place = ["keys".to_owned(), name.clone()];
            if secrets.contains_key(&name) {
                let message = format!("`{name}` is a key and a secret");
                self.fault(&place, "", message, "give one of them another name");
            }
            match source(key) {
                Some(source) => drop(keys.insert(name, source)),
                None => self.fault(
                    &place,
                    "",
                    format!("`[keys.{name}]` is not one key"),
                    "write exactly one of `secret`, `pem`, `jwks` and `unavailable = true`",
                ),
            }
        }
        for (name, value) in &secrets {
            if value.is_empty() {
                let place = ["secrets".to_owned(), name.clone()];
                self.fault(&place, "", "a secret must not be empty", "write any text");
            }
        }
        HostState { keys, secrets }
    }

    fn case(&mut self, place: &[String], raw: &Map<String, Value>) -> Option<Case> {
        let (own, question): (Map<_, _>, Map<_, _>) =
            raw.clone().into_iter().partition(|(name, _)| format::Case::OWN.contains(&name.as_str()));
        let own: format::Case = self.shape(place, own)?;
        let settings = CaseSettings {
            base: self.base(place, own.config)?,
            change: digested_in(own.change),
            drop: own.drop,
        };
        let steps = match (&own.steps, &own.config_error) {
            (_, Some(_)) => Vec::new(),
            (None, None) => vec![self.step(place.to_vec(), place, question)?],
            (Some(steps), None) => self.steps(place, &question, steps)?,
        };
        let limits = own.limits.as_ref().or(self.file.limits.as_ref()).map(Limits::from);
        Some(Case {
            line: self.line(place),
            name: own.name,
            now: steps.first().map_or(self.file.now.unwrap_or(NOW), |step| step.question.now),
            policy: own.policy.unwrap_or_else(|| "own".to_owned()),
            settings,
            held: Arc::clone(&self.held),
            limits,
            wants: own.wants,
            config_error: own.config_error,
            steps,
        })
    }

    fn steps(
        &mut self,
        place: &[String],
        question: &Map<String, Value>,
        steps: &[Map<String, Value>],
    ) -> Option<Vec<Step>> {
        if steps.is_empty() {
            self.fault(place, "steps", "there are no steps", "write one, or leave `steps` out");
            return None;
        }
        let mut resolved = Vec::new();
        for (index, over) in steps.iter().enumerate() {
            let at = [place, &["steps".to_owned(), index.to_string()]].concat();
            resolved.push(self.step(at, place, merged(question.clone(), over))?);
        }
        Some(resolved)
    }

    fn base(&mut self, place: &[String], config: Option<CaseConfig>) -> Option<Option<Value>> {
        let written = match config {
            None => self.file.config.clone(),
            Some(CaseConfig::Written(members)) => Some(members),
            Some(CaseConfig::Named(name)) => match self.file.configs.get(&name) {
                Some(members) => Some(members.clone()),
                None => {
                    let known: Vec<_> = self.file.configs.keys().map(String::as_str).collect();
                    let help = meant(&name, &known, "define it");
                    self.fault(place, "config", format!("there is no `[configs.{name}]`"), help);
                    return None;
                }
            },
        };
        Some(written.map(|members| Value::Object(digested_in(members))))
    }

    fn step(&mut self, at: QuestionPlace, case: &[String], question: Map<String, Value>) -> Option<Step> {
        let raw: format::Question = self.shape(&at, question)?;
        let ask = self.ask(&at, case, raw.credential.as_ref(), raw.principal.as_ref())?;
        if let Some(name) = raw.host_calls.keys().find(|name| !IMPORTS.contains(&name.as_str())) {
            let help = meant(name, &IMPORTS, "write interface and function");
            self.fault(&at, "host_calls", format!("there is no import `{name}`"), help);
        }
        let Some(expect) = raw.expect.clone() else {
            let help = "add the answer, such as `expect = \"allow\"` or `expect.denied = \"REASON\"`";
            self.fault(&at, "", "nothing is expected", help);
            return None;
        };
        let http: Option<Vec<_>> =
            raw.http.iter().enumerate().map(|(index, raw)| self.exchange(&at, index, raw, &ask)).collect();
        let question = Question {
            now: raw.now.or(self.file.now).unwrap_or(NOW),
            upstream: raw
                .upstream
                .clone()
                .or_else(|| self.file.upstream.clone())
                .unwrap_or_else(|| "upstream".to_owned()),
            audience: raw.audience.clone().or_else(|| self.file.audience.clone()).unwrap_or_default(),
            call: call(&raw),
            headers: self.headers(&at, &raw.headers)?,
            peer: self.peer(&at, raw.peer.as_deref())?,
            proven: raw.proven,
            annotations: raw.annotations.map(Into::into),
            ask,
            http: http?,
            cache: raw.cache,
            digest: self.digest(&at, raw.digest.as_deref())?,
            verify: raw.verify.into_iter().map(verified).collect(),
        };
        Some(Step { place: at, question, log: raw.log, host_calls: raw.host_calls, expect })
    }

    fn ask(
        &mut self,
        at: &[String],
        case: &[String],
        credential: Option<&CaseCredential>,
        principal: Option<&format::Principal>,
    ) -> Option<HookQuestion> {
        match (credential, principal) {
            (Some(credential), None) => self.credential(at, case, credential),
            (None, Some(principal)) => Some(HookQuestion::May(principal.clone())),
            _ => {
                let message = match credential.is_some() {
                    true => "this asks two things at once",
                    false => "nothing is asked",
                };
                let help = "write either `credential` (who is it?) or `principal` (may they?)";
                self.fault(at, "", message, help);
                None
            }
        }
    }

    fn credential(
        &mut self,
        at: &[String],
        case: &[String],
        credential: &CaseCredential,
    ) -> Option<HookQuestion> {
        let CaseCredential { bearer, basic, dpop, header, argument, certificate, token } = credential;
        let plain = [
            (Scheme::Bearer, bearer),
            (Scheme::Basic, basic),
            (Scheme::Dpop, dpop),
            (Scheme::Header, header),
            (Scheme::Argument, argument),
            (Scheme::Certificate, certificate),
        ];
        let mut shown: Vec<_> = plain
            .into_iter()
            .filter_map(|(scheme, value)| Some((scheme, digest_in(value.as_ref()?))))
            .collect();
        if let Some(spec) = token {
            match spec.make(&self.file.signers, &self.file.claims) {
                Ok(value) => shown.push((spec.scheme(), value)),
                Err(why) => {
                    let place = if self.has(at, "credential") { at } else { case };
                    self.fault(place, "credential", why, "correct the token, or its signer");
                    return None;
                }
            }
        }
        let mut shown = shown.into_iter();
        match (shown.next(), shown.next()) {
            (Some((scheme, value)), None) => Some(HookQuestion::Who { scheme, value }),
            _ => {
                let help = "write exactly one of `bearer`, `basic`, `dpop`, `header`, `argument`, `certificate` and `token`";
                self.fault(at, "credential", "this is not one credential", help);
                None
            }
        }
    }

    fn headers(&mut self, at: &[String], written: &BTreeMap<String, String>) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in written {
            let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
                self.fault(
                    at,
                    "headers",
                    format!("`{name}` is not a header"),
                    "correct its name or its value",
                );
                return None;
            };
            headers.insert(name, value);
        }
        Some(headers)
    }

    fn digest(&mut self, at: &[String], written: Option<&str>) -> Option<Option<Digest>> {
        let digest = written.map(|text| digest_of(&format!("sha256:{}", digest_in(text))));
        if digest == Some(None) {
            let help = "write 64 hexadecimal digits";
            self.fault(at, "digest", "this is not a SHA-256 digest", help);
            return None;
        }
        Some(digest.flatten())
    }

    fn peer(&mut self, at: &[String], written: Option<&str>) -> Option<Option<std::net::IpAddr>> {
        match written.map(str::parse).transpose() {
            Ok(peer) => Some(peer),
            Err(_) => {
                self.fault(
                    at,
                    "peer",
                    "this is not an IP address",
                    "write one such as `192.0.2.1` or `2001:db8::1`",
                );
                None
            }
        }
    }

    fn exchange(
        &mut self,
        at: &[String],
        index: usize,
        raw: &Map<String, Value>,
        ask: &HookQuestion,
    ) -> Option<Exchange> {
        let place = [at, &["http".to_owned(), index.to_string()]].concat();
        let base = self.file.exchange.clone().unwrap_or_default();
        let raw: format::Exchange = self.shape(&place, merged(base, raw))?;
        let shown = match ask {
            HookQuestion::Who { value, .. } => value.as_str(),
            HookQuestion::May(_) => "",
        };
        let filled = |text: &String| text.replace("{credential}", shown);
        let Some(request) = raw.request.as_ref().map(filled) else {
            self.fault(&place, "", "no request is expected", "add `request = \"GET https://…\"`");
            return None;
        };
        if !request.starts_with("GET ") && !request.starts_with("POST ") {
            let help = "write `GET` or `POST`, a space and the URL";
            self.fault(&place, "request", "this is not a request", help);
            return None;
        }
        let form = raw
            .form
            .as_ref()
            .map(|form| form.iter().map(|(name, value)| (name.clone(), filled(value))).collect());
        let auth = raw.auth.as_ref().map_or_else(|| "none".to_owned(), filled);
        match self.answer(&raw) {
            Ok(answer) => Some(Exchange { request, form, auth, answer }),
            Err(why) => {
                self.fault(&place, "signed", why, "correct the token, or its signer");
                None
            }
        }
    }

    fn answer(&self, raw: &format::Exchange) -> Result<Result<HttpResponse, HttpError>, String> {
        if let Some(fault) = raw.error {
            return Ok(Err(http_error(fault)));
        }
        let plain = match (&raw.claims, &raw.json, &raw.body) {
            (Some(claims), _, _) => {
                let mut all = merged(self.file.claims.clone(), claims);
                all.retain(|name, _| !raw.without.contains(name));
                Value::Object(all).to_string()
            }
            (None, Some(json), _) => json.to_string(),
            (None, None, body) => body.clone().unwrap_or_default(),
        };
        let body = match &raw.signed {
            None => plain,
            Some(spec) => {
                let mut claims = self.file.answer.clone();
                let held = serde_json::from_str(&plain)
                    .map_err(|_| "the signed content has to be JSON".to_owned())?;
                claims.insert("token_introspection".to_owned(), held);
                spec.make(&self.file.signers, &claims)?
            }
        };
        let content_type = raw.content_type.clone().unwrap_or_else(|| "application/json".to_owned());
        Ok(Ok(HttpResponse {
            status: raw.status.unwrap_or(200),
            content_type: Some(content_type).filter(|typ| !typ.is_empty()),
            retry_after: raw.retry_after,
            body: format!("{}{body}", " ".repeat(raw.padding as usize)).into_bytes(),
        }))
    }

    /// Deserializes a table that is valid by the schema.
    fn shape<T: DeserializeOwned>(&mut self, place: &[String], members: Map<String, Value>) -> Option<T> {
        match shaped(members) {
            Ok(value) => Some(value),
            Err(why) => {
                self.fault(place, "", why, "docs/cases.md has the format");
                None
            }
        }
    }

    fn has(&self, place: &[String], key: &str) -> bool {
        let path: Vec<_> = place.iter().map(String::as_str).chain([key]).collect();
        self.document.has(&path)
    }

    /// The line on which the value at a place begins.
    fn line(&self, place: &[String]) -> usize {
        let path: Vec<_> = place.iter().map(String::as_str).collect();
        self.document.error(&path, "").position().map_or(1, |(line, _)| line)
    }

    /// A fault of the member `key` of the value at `place`, or of the value itself if it has no such member.
    fn fault(&mut self, place: &[String], key: &str, message: impl Into<String>, help: impl Into<String>) {
        let mut path: Vec<_> = place.iter().map(String::as_str).collect();
        if self.has(place, key) {
            path.push(key);
        }
        self.faults.push(self.document.error(&path, message).help(help));
    }
}

fn source(key: HeldKey) -> Option<KeySource> {
    match key {
        HeldKey { secret: Some(secret), pem: None, jwks: None, unavailable: None } => {
            Some(KeySource::Secret(secret.into()))
        }
        HeldKey { secret: None, pem: Some(pem), jwks: None, unavailable: None } => {
            Some(KeySource::Pem(pem.into()))
        }
        HeldKey { secret: None, pem: None, jwks: Some(jwks), unavailable: None } => {
            Some(KeySource::Jwks(Value::Object(jwks).to_string()))
        }
        HeldKey { secret: None, pem: None, jwks: None, unavailable: Some(true) } => {
            Some(KeySource::Unavailable)
        }
        _ => None,
    }
}

fn meant(name: &str, known: &[&str], otherwise: &str) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => otherwise.to_owned(),
        None => format!("{otherwise}, or name one of {}", listed(known)),
    }
}

fn http_error(fault: HttpFault) -> HttpError {
    match fault {
        HttpFault::NotGranted => HttpError::NotGranted,
        HttpFault::InvalidRequest => HttpError::InvalidRequest,
        HttpFault::Unreachable => HttpError::Unreachable,
        HttpFault::TimedOut => HttpError::TimedOut,
        HttpFault::TooLarge => HttpError::TooLarge,
        HttpFault::Resting => HttpError::Resting(7),
    }
}

fn verified(raw: Verification) -> SignatureCheck {
    let Verification { key, key_id, algorithm, outcome } = raw;
    let outcome = match outcome {
        VerifyOutcome::Good => Ok(()),
        VerifyOutcome::UnknownKey => Err(VerifyError::UnknownKey),
        VerifyOutcome::UnknownKeyId => Err(VerifyError::UnknownKeyId),
        VerifyOutcome::AlgorithmMismatch => Err(VerifyError::AlgorithmMismatch),
        VerifyOutcome::BadSignature => Err(VerifyError::BadSignature),
        VerifyOutcome::Unavailable => Err(VerifyError::Unavailable),
    };
    SignatureCheck { key, key_id, algorithm: algorithm.into(), outcome }
}

fn call(raw: &format::Question) -> CaseCall {
    let arguments = raw.arguments_text.clone().or_else(|| raw.arguments.as_ref().map(Value::to_string));
    let named = CaseCall::named(raw.call.as_deref().unwrap_or("echo"));
    CaseCall {
        method: raw.method.clone().unwrap_or_else(|| named.method.clone()),
        transport: if raw.stdio { Transport::Stdio } else { Transport::Http },
        listing: raw.listing,
        arguments: arguments.filter(|_| !raw.listing),
        meta: raw.meta.as_ref().map(|meta| Value::Object(meta.clone()).to_string()),
        ..named
    }
}

fn shaped<T: DeserializeOwned>(members: Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(members)).map_err(|error| error.to_string())
}

/// Replaces every `sha256(TEXT)` with the digest.
fn digested_in(members: Map<String, Value>) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name, digested(value))).collect()
}

fn digested(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(digest_in(&text)),
        Value::Array(items) => items.into_iter().map(digested).collect(),
        Value::Object(members) => Value::Object(digested_in(members)),
        other => other,
    }
}

fn digest_in(text: &str) -> String {
    let mut pieces = text.split("sha256(");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.split_once(')') {
            Some((of, rest)) => {
                out.extend(sha256(of.as_bytes()).iter().map(|byte| format!("{byte:02x}")));
                out.push_str(rest);
            }
            None => out.extend(["sha256(", piece]),
        }
    }
    out
}
