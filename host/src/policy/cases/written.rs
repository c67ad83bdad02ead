//! A file of cases, as it is written: TOML, one `[[case]]` each.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use witgate_plugin::{Identity, Scheme, TargetKind, Transport};

use super::Expect;

/// The largest file.
const LARGEST: u64 = 4 << 20;

/// The most cases: each candidate waits for all of them.
const MOST: usize = 1000;

/// The time of a case that does not say: 2033-05-18T03:33:20Z.
const NOW: u64 = 2_000_000_000;

/// Why there are no cases.
#[derive(Debug, thiserror::Error)]
pub enum CasesError {
    /// The file cannot be read.
    #[error("the cases in {0} cannot be read: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// It is too large.
    #[error("{0} has {1} bytes; a file of cases may have {LARGEST}")]
    TooLarge(PathBuf, u64),
    /// It is not of the format.
    #[error("{path}:{line}: {message}; docs/configuration.md has the format")]
    Malformed {
        /// The file.
        path: String,
        /// Where.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A case asks nothing, or two things.
    #[error("case \"{1}\" in {0}: write either `credential` (who is it?) or `principal` (may he?)")]
    Ask(PathBuf, String),
    /// It has no case, or too many.
    #[error("{0} has {1} cases; write 1 to {MOST}, or take `cases` out")]
    Count(PathBuf, usize),
}

/// One question, and the answer that it has to get.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// Settings in place of the policy's own.
    pub config: Option<Value>,
    /// The time, in seconds since the Unix epoch.
    pub now: u64,
    /// The upstream's name.
    pub upstream: String,
    /// The upstream's resource identifier.
    pub audience: String,
    /// The call that it is about.
    pub call: CallOf,
    /// The question.
    pub ask: Ask,
    /// The answer.
    pub expect: Expect,
}

/// A call.
#[derive(Clone, Debug)]
pub struct CallOf {
    /// The JSON-RPC method.
    pub method: String,
    /// What kind of thing it is on.
    pub kind: TargetKind,
    /// Its name.
    pub target: String,
    /// Where it came in.
    pub transport: Transport,
    /// Whether a list is being filtered.
    pub listing: bool,
    /// The arguments, as JSON text.
    pub arguments: Option<String>,
}

impl CallOf {
    /// A call over HTTP, without arguments, of what is named as patterns write it: `echo`, `resource:file:///a`.
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
        }
    }
}

/// A question to one of the hooks.
#[derive(Clone, Debug)]
pub enum Ask {
    /// To `authenticate`.
    Who {
        /// The way the credential is shown.
        scheme: Scheme,
        /// The credential.
        value: String,
    },
    /// To `authorize`.
    May(Principal),
}

/// The caller, in a question to `authorize`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "as in the WIT record `principal` and the interface `caller`")]
pub struct Principal {
    #[serde(default = "somebody")]
    pub subject: String,
    #[serde(default = "somewhere")]
    pub proven_by: String,
    #[serde(default)]
    pub roles: Vec<String>,
    #[serde(default)]
    pub scopes: Vec<String>,
    pub issuer: Option<String>,
    pub claims: Option<Value>,
}

fn somebody() -> String {
    "alice".to_owned()
}

fn somewhere() -> String {
    "idp".to_owned()
}

impl Principal {
    /// The identity that it stands for.
    pub fn identity(&self) -> Identity {
        Identity {
            subject: self.subject.clone(),
            issuer: self.issuer.clone(),
            roles: self.roles.clone(),
            scopes: self.scopes.clone(),
            claims: self.claims.as_ref().map(ToString::to_string),
            expires_at: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "case")]
    cases: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    config: Option<Value>,
    #[serde(default = "some_time")]
    now: u64,
    #[serde(default = "some_upstream")]
    upstream: String,
    #[serde(default)]
    audience: String,
    #[serde(default = "some_tool")]
    call: String,
    #[serde(default)]
    listing: bool,
    #[serde(default)]
    stdio: bool,
    arguments: Option<Value>,
    credential: Option<WrittenCredential>,
    principal: Option<Principal>,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenCredential {
    Bearer(String),
    Basic(String),
    Dpop(String),
    Header(String),
    Argument(String),
    Certificate(String),
}

fn some_time() -> u64 {
    NOW
}

fn some_upstream() -> String {
    "upstream".to_owned()
}

fn some_tool() -> String {
    "echo".to_owned()
}

/// Reads a file of cases.
///
/// # Errors
/// When it is none.
pub(super) fn read(path: &Path) -> Result<Vec<Case>, CasesError> {
    let unreadable = |error| CasesError::Unreadable(path.to_owned(), error);
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if size > LARGEST {
        return Err(CasesError::TooLarge(path.to_owned(), size));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let file: File = toml::from_str(&text).map_err(|error| malformed(path, &text, &error))?;
    match file.cases.len() {
        1..=MOST => file.cases.into_iter().map(|written| written.case(path)).collect(),
        count => Err(CasesError::Count(path.to_owned(), count)),
    }
}

fn malformed(path: &Path, text: &str, error: &toml::de::Error) -> CasesError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    CasesError::Malformed {
        path: path.display().to_string(),
        line: before.matches('\n').count() + 1,
        message: error.message().trim().to_owned(),
    }
}

impl Written {
    fn case(self, path: &Path) -> Result<Case, CasesError> {
        let call = called(&self);
        let ask = match (self.credential, self.principal) {
            (Some(credential), None) => credential.ask(),
            (None, Some(principal)) => Ask::May(principal),
            (Some(_), Some(_)) | (None, None) => return Err(CasesError::Ask(path.to_owned(), self.name)),
        };
        Ok(Case {
            call,
            ask,
            name: self.name,
            config: self.config,
            now: self.now,
            upstream: self.upstream,
            audience: self.audience,
            expect: self.expect,
        })
    }
}

fn called(written: &Written) -> CallOf {
    let arguments = written.arguments.as_ref().filter(|_| !written.listing);
    CallOf {
        transport: if written.stdio { Transport::Stdio } else { Transport::Http },
        listing: written.listing,
        arguments: arguments.map(Value::to_string),
        ..CallOf::named(&written.call)
    }
}

impl WrittenCredential {
    fn ask(self) -> Ask {
        let (scheme, value) = match self {
            Self::Bearer(value) => (Scheme::Bearer, value),
            Self::Basic(value) => (Scheme::Basic, value),
            Self::Dpop(value) => (Scheme::Dpop, value),
            Self::Header(value) => (Scheme::Header, value),
            Self::Argument(value) => (Scheme::Argument, value),
            Self::Certificate(value) => (Scheme::Certificate, value),
        };
        Ask::Who { scheme, value }
    }
}
