//! What a token says, read and judged the same way by everything that understands tokens.

use crate::json::{Json, Object};
use crate::{Refusal, Unproven, json};

/// The claims of a token (RFC 7519, section 4) or of an introspection answer (RFC 7662).
///
/// A claim is named by its own name, or by a path with dots into nested objects; a claim whose
/// name holds dots itself is found first. `null` counts as absent.
#[derive(Clone, Debug)]
pub struct Claims<'a>(Object<'a>);

/// Why a claim is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimError {
    /// It is not there.
    Missing(String),
    /// It is not what it has to be.
    Malformed(String, &'static str),
}

impl From<ClaimError> for Refusal {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Missing(name) => Self::new("missing-claim", format!("the claim `{name}` is missing")),
            ClaimError::Malformed(name, what) => {
                Self::new("malformed", format!("the claim `{name}` is not {what}"))
            }
        }
    }
}

impl From<ClaimError> for Unproven {
    fn from(error: ClaimError) -> Self {
        Self::Refused(error.into())
    }
}

/// How far the issuer's clock may be off, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leeway {
    /// For `exp`.
    pub end: u32,
    /// For `nbf` and `iat`.
    pub start: u32,
}

impl<'a> Claims<'a> {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// As [`json::parse_object`].
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        json::parse_object(text).map(Self)
    }

    /// A claim's value.
    pub fn get(&self, path: &str) -> Option<&Json<'a>> {
        find(&self.0, path)
    }

    /// A claim that is a name of somebody or something: 1 to 512 bytes, no control characters.
    ///
    /// # Errors
    /// Where it is something else.
    pub fn name(&self, path: &str) -> Result<Option<&str>, ClaimError> {
        let usable = |text: &&str| (1..=512).contains(&text.len()) && !text.chars().any(char::is_control);
        self.get(path)
            .map(|value| value.as_str().filter(usable).ok_or_else(|| malformed(path, "a usable name")))
            .transpose()
    }

    /// A claim that is a boolean.
    ///
    /// # Errors
    /// Where it is something else.
    pub fn flag(&self, path: &str) -> Result<Option<bool>, ClaimError> {
        match self.get(path) {
            None => Ok(None),
            Some(Json::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(malformed(path, "true or false")),
        }
    }

    /// A claim that is a point in time, in seconds since the Unix epoch, maybe with a fraction.
    ///
    /// # Errors
    /// Where it is something else, negative, or in the last hour of the year 9999 or later.
    pub fn time(&self, path: &str) -> Result<Option<f64>, ClaimError> {
        /// So far from the end of 9999, the last that a host takes, that a leeway does not pass it.
        const END: f64 = 253_402_297_199.0;
        let within = |seconds: &f64| (0.0..=END).contains(seconds);
        let seconds = match self.get(path) {
            None => return Ok(None),
            Some(Json::Number(number)) => Some(number.as_f64()).filter(within),
            Some(_) => None,
        };
        seconds.map(Some).ok_or_else(|| malformed(path, "a point in time"))
    }

    /// A claim that is one word or a list of words, such as `roles`.
    ///
    /// # Errors
    /// Where it is something else, or passes the bounds of an identity.
    pub fn words(&self, path: &str) -> Result<Vec<String>, ClaimError> {
        self.list(path, std::iter::once)
    }

    /// A claim that is a text of scope tokens with spaces between, or a list of them, such as `scope`
    /// (RFC 6749, section 3.3).
    ///
    /// # Errors
    /// As [`Claims::words`].
    pub fn spaced_words(&self, path: &str) -> Result<Vec<String>, ClaimError> {
        let words = self.list(path, |text| text.split(' ').filter(|word| !word.is_empty()))?;
        let is_token = |word: &String| word.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
        match words.iter().all(is_token) {
            true => Ok(words),
            false => Err(malformed(path, "a list of scopes")),
        }
    }

    fn list<'s, I: Iterator<Item = &'s str>>(
        &'s self,
        path: &str,
        split: impl Fn(&'s str) -> I,
    ) -> Result<Vec<String>, ClaimError> {
        let words: Option<Vec<&str>> = match self.get(path) {
            None => return Ok(Vec::new()),
            Some(Json::String(text)) => Some(split(text).collect()),
            Some(Json::Array(items)) => items.iter().map(Json::as_str).collect(),
            Some(_) => None,
        };
        let usable = |word: &&str| (1..=256).contains(&word.len()) && !word.chars().any(char::is_control);
        words
            .filter(|words| words.len() <= 256 && words.iter().all(usable))
            .map(|words| words.into_iter().map(str::to_owned).collect())
            .ok_or_else(|| malformed(path, "a list of words"))
    }

    /// Holds `exp`, `nbf` and `iat` against the clock, as far as they are there, and gives `exp`.
    ///
    /// # Errors
    /// With the refusal that follows.
    pub fn judge_time(&self, now: u64, leeway: Leeway) -> Result<Option<u64>, Refusal> {
        #[allow(clippy::cast_precision_loss, reason = "a clock stays far below 2^53")]
        let now = now as f64;
        let end = self.time("exp")?;
        if end.is_some_and(|end| now >= end + f64::from(leeway.end)) {
            return Err(Refusal::new("expired", "the token has expired"));
        }
        for start in ["nbf", "iat"] {
            if self.time(start)?.is_some_and(|start| start > now + f64::from(leeway.start)) {
                return Err(Refusal::new("not-yet-valid", format!("`{start}` is in the future")));
            }
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to END")]
        Ok(end.map(|end| end as u64))
    }

    /// Whether the token is for one of those that `wanted` picks.
    ///
    /// # Errors
    /// With the refusal that follows.
    pub fn judge_audience(&self, wanted: impl Fn(&str) -> bool) -> Result<(), Refusal> {
        let odd = || malformed("aud", "a string or a list of strings");
        let fits = match self.get("aud").ok_or_else(|| ClaimError::Missing("aud".to_owned()))? {
            Json::String(one) => wanted(one),
            Json::Array(items) => {
                let all: Option<Vec<&str>> = items.iter().map(Json::as_str).collect();
                all.ok_or_else(odd)?.into_iter().any(wanted)
            }
            _ => return Err(odd().into()),
        };
        match fits {
            true => Ok(()),
            false => Err(Refusal::new("wrong-audience", "the token is for another audience")),
        }
    }

    /// Refuses a token that is bound to a key of its holder (`cnf`, RFC 7800): whoever shows it
    /// as a mere bearer has not shown that key.
    ///
    /// # Errors
    /// With that refusal.
    pub fn judge_binding(&self) -> Result<(), Refusal> {
        match self.get("cnf") {
            None => Ok(()),
            Some(_) => Err(Refusal::new(
                "wrong-type",
                "the token is bound to a key (`cnf`), and no proof of it was shown",
            )),
        }
    }

    /// Whose token it is: `sub`, else the first of `otherwise` that is there.
    ///
    /// # Errors
    /// Where none is there, or the first that is there is not usable.
    pub fn subject(&self, otherwise: &[&str]) -> Result<&str, ClaimError> {
        for path in std::iter::once(&"sub").chain(otherwise) {
            if let Some(subject) = self.name(path)? {
                return Ok(subject);
            }
        }
        Err(ClaimError::Missing("sub".to_owned()))
    }
}

fn find<'v, 'a>(object: &'v Object<'a>, path: &str) -> Option<&'v Json<'a>> {
    let whole = object.get(path);
    let nested = || {
        let (first, rest) = path.split_once('.')?;
        find(object.get(first)?.as_object()?, rest)
    };
    whole.or_else(nested).filter(|value| **value != Json::Null)
}

fn malformed(path: &str, what: &'static str) -> ClaimError {
    ClaimError::Malformed(path.to_owned(), what)
}
