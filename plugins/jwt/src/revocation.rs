//! Revoked tokens: a file of lines that `witgate token revoke` writes and that people may read.
//!
//! ```
//! # use witgate_jwt::revocation::{RevokedToken, RevokedTokens};
//! let text = r#"
//! ## a comment
//! {"jti":"a4f1","iss":"https://idp.example.com","exp":2000000300}
//! {"jti":"of any issuer"}
//! {"sid":"all tokens of this session"}
//! {"sub":"all tokens of this subject that were issued before","before":2000000000}
//! "#;
//! RevokedTokens::parse(text)?;
//! let entry = RevokedToken { jti: "a4f1".to_owned(), iss: None, exp: None };
//! assert_eq!(RevokedToken::parse(&entry.to_string())?, entry);
//! # Ok::<(), witgate_jwt::revocation::RevokedError>(())
//! ```

use std::collections::HashMap;
use std::fmt;

use witgate_plugin::json::{self, Json, Number};
use witgate_plugin::{Claims, Refusal};

use crate::token::TokenShape;

/// One revoked token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedToken {
    /// The token's id.
    pub jti: String,
    /// The issuer of the token. None: any issuer.
    pub iss: Option<String>,
    /// The expiry of the token, in seconds since the Unix epoch. The line may be removed long after that time.
    pub exp: Option<u64>,
}

/// A session, all tokens of which are revoked: those with this `sid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedSession {
    /// The id of the session.
    pub sid: String,
    /// The issuer of the tokens. None: any issuer.
    pub iss: Option<String>,
    /// The expiry of the last token, in seconds since the Unix epoch.
    pub exp: Option<u64>,
}

/// A subject, whose tokens from before a time are revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedSubject {
    /// The subject.
    pub sub: String,
    /// Tokens with an earlier `iat`, or without one, are revoked; in seconds since the Unix epoch.
    pub before: u64,
    /// The issuer of the tokens. None: any issuer.
    pub iss: Option<String>,
    /// The expiry of the last token, in seconds since the Unix epoch.
    pub exp: Option<u64>,
}

/// One line.
enum RevokedLine {
    Token(RevokedToken),
    Session(RevokedSession),
    Subject(RevokedSubject),
}

/// The error in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedError {
    line: usize,
}

impl fmt::Display for RevokedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line } = self;
        write!(
            f,
            "line {line} is not {{\"jti\":\"…\"}}, {{\"sid\":\"…\"}} or {{\"sub\":\"…\",\"before\":…}}, optionally with \"iss\" and \"exp\""
        )
    }
}

impl std::error::Error for RevokedError {}

impl RevokedToken {
    /// Reads one line.
    ///
    /// # Errors
    /// If it is not a strict JSON object with a `jti`, or has an unknown member.
    pub fn parse(line: &str) -> Result<Self, RevokedError> {
        Self::read(line).ok_or(RevokedError { line: 1 })
    }

    /// The entry that revokes a token. The token's signature is not checked.
    ///
    /// # Errors
    /// If it is not a token, or has no `jti`.
    pub fn of_token(token: &str) -> Result<Self, Refusal> {
        let shape =
            TokenShape::of(token).ok_or_else(|| Refusal::new("malformed", "this is not a signed token"))?;
        let token = shape.decode()?;
        let claims = token.claims()?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to the year 9999")]
        let exp = claims.time("exp")?.map(|end| end.ceil() as u64);
        Ok(Self { jti: id(&claims)?.to_owned(), iss: claims.name("iss")?.map(str::to_owned), exp })
    }

    fn read(line: &str) -> Option<Self> {
        match RevokedLine::read(line)? {
            RevokedLine::Token(token) => Some(token),
            RevokedLine::Session(_) | RevokedLine::Subject(_) => None,
        }
    }
}

impl RevokedLine {
    fn read(line: &str) -> Option<Self> {
        let object = json::parse_object(line).ok()?;
        let text = |value: &Json<'_>| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let (mut jti, mut sid, mut sub, mut before) = (None, None, None, None);
        let (mut iss, mut exp) = (None, None);
        for (name, value) in object.iter() {
            match (name, value) {
                ("jti", value) => jti = Some(text(value)?),
                ("sid", value) => sid = Some(text(value)?),
                ("sub", value) => sub = Some(text(value)?),
                ("iss", value) => iss = Some(text(value)?),
                ("before", Json::Number(Number::Unsigned(time))) => before = Some(*time),
                ("exp", Json::Number(Number::Unsigned(end))) => exp = Some(*end),
                _ => return None,
            }
        }
        match (jti, sid, sub, before) {
            (Some(jti), None, None, None) => Some(Self::Token(RevokedToken { jti, iss, exp })),
            (None, Some(sid), None, None) => Some(Self::Session(RevokedSession { sid, iss, exp })),
            (None, None, Some(sub), Some(before)) => {
                Some(Self::Subject(RevokedSubject { sub, before, iss, exp }))
            }
            _ => None,
        }
    }
}

/// The line, without its end.
impl fmt::Display for RevokedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, ("jti", &self.jti), "", (self.iss.as_deref(), self.exp))
    }
}

/// The line, without its end.
impl fmt::Display for RevokedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, ("sid", &self.sid), "", (self.iss.as_deref(), self.exp))
    }
}

/// The line, without its end.
impl fmt::Display for RevokedSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = format!(",\"before\":{}", self.before);
        line(f, ("sub", &self.sub), &before, (self.iss.as_deref(), self.exp))
    }
}

fn line(
    f: &mut fmt::Formatter<'_>,
    (name, id): (&str, &str),
    more: &str,
    (iss, exp): (Option<&str>, Option<u64>),
) -> fmt::Result {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    write!(f, "{{\"{name}\":{}{more}", quoted(id))?;
    if let Some(iss) = iss {
        write!(f, ",\"iss\":{}", quoted(iss))?;
    }
    if let Some(exp) = exp {
        write!(f, ",\"exp\":{exp}")?;
    }
    f.write_str("}")
}

/// The single tokens of a text, without sessions and subjects. Blank lines and lines that begin with `#` are ignored.
///
/// # Errors
/// With the first invalid line.
pub fn entries(text: &str) -> Result<Vec<RevokedToken>, RevokedError> {
    let token = |line| match line {
        RevokedLine::Token(token) => Some(token),
        RevokedLine::Session(_) | RevokedLine::Subject(_) => None,
    };
    Ok(lines(text)?.into_iter().filter_map(token).collect())
}

fn lines(text: &str) -> Result<Vec<RevokedLine>, RevokedError> {
    let lines = (1..).zip(text.lines().map(str::trim));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| RevokedLine::read(line).ok_or(RevokedError { line: number }))
        .collect()
}

/// The revoked tokens, by id, the sessions of which all tokens are revoked, and the subjects of which those from before
/// a time are.
#[derive(Clone, Debug, Default)]
pub struct RevokedTokens {
    tokens: RevokedIds,
    sessions: RevokedIds,
    subjects: HashMap<String, Vec<(Option<String>, u64)>>,
}

/// The issuers of each id. None as an issuer: any issuer.
type RevokedIds = HashMap<String, Vec<Option<String>>>;

impl RevokedTokens {
    /// Reads the whole file.
    ///
    /// # Errors
    /// As [`entries`].
    pub fn parse(text: &str) -> Result<Self, RevokedError> {
        let mut revoked = Self::default();
        for line in lines(text)? {
            let (ids, id, iss) = match line {
                RevokedLine::Token(RevokedToken { jti, iss, .. }) => (&mut revoked.tokens, jti, iss),
                RevokedLine::Session(RevokedSession { sid, iss, .. }) => (&mut revoked.sessions, sid, iss),
                RevokedLine::Subject(RevokedSubject { sub, before, iss, .. }) => {
                    revoked.subjects.entry(sub).or_default().push((iss, before));
                    continue;
                }
            };
            ids.entry(id).or_default().push(iss);
        }
        Ok(revoked)
    }

    /// Refuses a revoked token, a token of a revoked session or subject, and a token without a `jti`, which cannot be
    /// revoked.
    pub(crate) fn judge(&self, claims: &Claims<'_>) -> Result<(), Refusal> {
        let id = id(claims)?;
        let issuer = claims.name("iss")?;
        let is_of = |entry: &Option<String>| entry.is_none() || entry.as_deref() == issuer;
        let has = |ids: &RevokedIds, id: &str| ids.get(id).is_some_and(|entries| entries.iter().any(is_of));
        // Other files do not make a claim matter that tokens may have in any form.
        let session = if self.sessions.is_empty() { None } else { claims.name("sid")? };
        let of_session = session.is_some_and(|session| has(&self.sessions, session));
        match has(&self.tokens, id) || of_session || self.is_of_subject(claims, issuer)? {
            true => Err(Refusal::new("revoked", "the token is revoked")),
            false => Ok(()),
        }
    }
}

impl RevokedTokens {
    /// True if all tokens of the subject from the time of this one are revoked.
    fn is_of_subject(&self, claims: &Claims<'_>, issuer: Option<&str>) -> Result<bool, Refusal> {
        if self.subjects.is_empty() {
            return Ok(false);
        }
        let Some(entries) = claims.name("sub")?.and_then(|subject| self.subjects.get(subject)) else {
            return Ok(false);
        };
        let issued = claims.time("iat")?;
        #[allow(clippy::cast_precision_loss, reason = "0 to the year 9999")]
        let is_before = |before: u64| issued.is_none_or(|issued| issued < before as f64);
        let is_of = |iss: &Option<String>| iss.is_none() || iss.as_deref() == issuer;
        Ok(entries.iter().any(|(iss, before)| is_of(iss) && is_before(*before)))
    }
}

fn id<'c>(claims: &'c Claims<'_>) -> Result<&'c str, Refusal> {
    match claims.get("jti") {
        Some(Json::String(id)) => Ok(id),
        Some(_) => Err(Refusal::new("malformed", "the claim `jti` is not a string")),
        None => Err(Refusal::new("missing-claim", "the claim `jti` is missing")),
    }
}
