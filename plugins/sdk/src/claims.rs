//! The claims of a token, and their checks. All policies for tokens share them.

use std::borrow::Cow;

use crate::json::{Json, Object};
use crate::{Dpop, Host, NoIdentity, Refusal, Scheme, json};

/// The claims of a token (RFC 7519, section 4) or of an introspection answer (RFC 7662).
///
/// A path names a claim: its name, or several names with dots between them for nested objects. A
/// claim whose own name contains dots has precedence. `null` counts as absent.
///
/// ```
/// use witgate_plugin::{Claims, Leeway};
///
/// let claims = Claims::parse(r#"{ "sub": "ada", "exp": 1767225600, "realm": { "roles": ["ops"] }, "scope": "a b" }"#)?;
/// assert_eq!(claims.subject(&[]).ok(), Some("ada"));
/// assert_eq!(claims.words("realm.roles").ok(), Some(vec!["ops".to_owned()]));
/// assert_eq!(claims.spaced_words("scope").ok(), Some(vec!["a".to_owned(), "b".to_owned()]));
///
/// let refusal = claims.judge_time(1_767_225_601, Leeway { end: 0, start: 0 }).unwrap_err();
/// assert_eq!(refusal.reason, "expired");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Claims<'a>(Object<'a>);

/// The fault of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimError {
    /// It is missing.
    Missing(String),
    /// It is invalid.
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

impl From<ClaimError> for NoIdentity {
    fn from(error: ClaimError) -> Self {
        Self::Refused(error.into())
    }
}

/// The tolerance for the issuer's clock, in seconds.
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

    pub(crate) fn members(&self) -> &Object<'a> {
        &self.0
    }

    /// True if the token does not contain a claim, but says that the issuer offers it at another place
    /// (`_claim_names`, OpenID Connect Core, section 5.6.2). Entra does so for many groups; in tokens that
    /// come in a URL, it writes `hasgroups` instead.
    pub fn is_elsewhere(&self, name: &str) -> bool {
        let names = self.0.get("_claim_names").and_then(Json::as_object);
        let has_groups = || self.get("hasgroups").is_some_and(|has| *has != Json::Bool(false));
        names.is_some_and(|names| names.get(name).is_some()) || (name == "groups" && has_groups())
    }

    /// A claim that is a name: 1 to 512 bytes, no control characters.
    ///
    /// # Errors
    /// If it is something else.
    pub fn name(&self, path: &str) -> Result<Option<&str>, ClaimError> {
        let usable = |text: &&str| (1..=512).contains(&text.len()) && !text.chars().any(char::is_control);
        self.get(path)
            .map(|value| {
                value
                    .as_str()
                    .filter(usable)
                    .ok_or_else(|| malformed(path, "a name of 1 to 512 bytes without control characters"))
            })
            .transpose()
    }

    /// A claim that is a boolean.
    ///
    /// # Errors
    /// If it is something else.
    pub fn flag(&self, path: &str) -> Result<Option<bool>, ClaimError> {
        match self.get(path) {
            None => Ok(None),
            Some(Json::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(malformed(path, "true or false")),
        }
    }

    /// A claim that is a point in time, in seconds since the Unix epoch, with or without a fraction.
    ///
    /// # Errors
    /// If it is something else, negative, or in the last hour of the year 9999 or later.
    pub fn time(&self, path: &str) -> Result<Option<f64>, ClaimError> {
        /// One hour before the end of 9999, which is the limit of the host: a leeway does not exceed that limit.
        const END: f64 = 253_402_297_199.0;
        let within = |seconds: &f64| (0.0..=END).contains(seconds);
        let seconds = match self.get(path) {
            None => return Ok(None),
            Some(Json::Number(number)) => Some(number.as_f64()).filter(within),
            Some(_) => None,
        };
        seconds.map(Some).ok_or_else(|| malformed(path, "a time in seconds since 1970"))
    }

    /// A claim that is one word or a list of words, such as `roles`.
    ///
    /// # Errors
    /// If it is something else, or exceeds the limits of an identity.
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
            .ok_or_else(|| malformed(path, "a list of names"))
    }

    /// Compares those of `exp`, `nbf` and `iat` that the token has with the clock, and returns `exp`.
    ///
    /// # Errors
    /// With the refusal of the token.
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

    /// Checks that the claim at `path`, such as `aud`, contains an audience that `wanted` accepts.
    ///
    /// # Errors
    /// With the refusal of the token.
    pub fn judge_audience(&self, path: &str, wanted: impl Fn(&str) -> bool) -> Result<(), Refusal> {
        let odd = || malformed(path, "a string or a list of strings");
        let fits = match self.get(path).ok_or_else(|| ClaimError::Missing(path.to_owned()))? {
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

    /// True if the token names a purpose other than access, as Keycloak (`typ`), Cognito and Hydra
    /// (`token_use`) write it.
    pub fn say_other_purpose(&self) -> bool {
        let says = |name: &str, kinds: &[&str]| {
            let is_one = |value: &Json<'_>| {
                value.as_str().is_some_and(|value| kinds.iter().any(|kind| kind.eq_ignore_ascii_case(value)))
            };
            match self.get(name) {
                Some(Json::Array(several)) => several.iter().any(is_one),
                one => one.is_some_and(is_one),
            }
        };
        says("typ", &["ID", "Refresh", "Offline", "Logout"])
            || says("token_use", &["id", "id_token", "refresh", "refresh_token"])
    }

    /// Compares the binding of the token (`cnf`, RFC 7800) with the caller's proofs: `x5t#S256` with
    /// the certificate of the connection (RFC 8705, section 3.1), and `jkt` with the key of the DPoP
    /// proof (RFC 9449, section 6.1). Every member has to match. The token has to come with a
    /// `scheme` that `dpop` accepts.
    ///
    /// # Errors
    /// With the refusal of the token.
    pub fn judge_binding<H: Host>(&self, host: &H, scheme: Scheme, dpop: Dpop) -> Result<(), Refusal> {
        let binding = Binding::of(self)?;
        if let Some(thumbprint) = binding.certificate {
            same(thumbprint, host.certificate_thumbprint(), "certificate")?;
        }
        match (binding.key, scheme) {
            (Some(thumbprint), Scheme::Dpop) => same(thumbprint, host.dpop_thumbprint(), "key"),
            (Some(_), _) => Err(Refusal::new(
                "not-proven",
                "the token is bound to a key (`cnf.jkt`), but came without a DPoP proof of this key",
            )),
            (None, Scheme::Dpop) => Err(Refusal::new(
                "not-bound",
                "the token came as DPoP, but is not bound to a key (`cnf.jkt`)",
            )),
            (None, _) if dpop == Dpop::Required => Err(Refusal::new(
                "dpop-required",
                "the token is not bound to a key, as the setting `dpop` requires",
            )),
            (None, _) => Ok(()),
        }
    }

    /// The subject of the token: `sub`, or else the first claim of `otherwise` that the token has.
    ///
    /// # Errors
    /// If the token has none of them, or the first that it has is invalid.
    pub fn subject(&self, otherwise: &[&str]) -> Result<&str, ClaimError> {
        for path in std::iter::once(&"sub").chain(otherwise) {
            if let Some(subject) = self.name(path)? {
                return Ok(subject);
            }
        }
        Err(ClaimError::Missing("sub".to_owned()))
    }
}

/// The key that a token is bound to.
#[derive(Default)]
struct Binding<'a> {
    /// `x5t#S256`.
    certificate: Option<&'a str>,
    /// `jkt`.
    key: Option<&'a str>,
}

impl<'a> Binding<'a> {
    /// Reads the binding. A binding of an unknown type is an error, because the issuer meant it to bind.
    fn of(claims: &'a Claims<'_>) -> Result<Self, Refusal> {
        let Some(cnf) = claims.get("cnf") else { return Ok(Self::default()) };
        let members = cnf.as_object().ok_or_else(|| malformed("cnf", "an object"))?;
        let mut binding = Self::default();
        for (name, value) in members.iter() {
            let place = match name {
                "x5t#S256" => &mut binding.certificate,
                "jkt" => &mut binding.key,
                _ => {
                    let detail = "the token is bound by a member of `cnf` that this policy does not support";
                    return Err(Refusal::new("unknown-binding", detail));
                }
            };
            let thumbprint = value.as_str().filter(|text| !text.is_empty());
            *place = Some(thumbprint.ok_or_else(|| malformed("cnf", "an object of thumbprints"))?);
        }
        match binding {
            Self { certificate: None, key: None } => Err(malformed("cnf", "an object of thumbprints").into()),
            binding => Ok(binding),
        }
    }
}

/// Compares two thumbprints. They are public, so the comparison need not take constant time.
fn same(bound: &str, proven: Option<Cow<'_, str>>, what: &str) -> Result<(), Refusal> {
    match proven {
        Some(proven) if proven == bound => Ok(()),
        Some(_) => Err(Refusal::new(
            "wrong-key",
            format!("the token is bound to another {what} than the caller has proven"),
        )),
        None => Err(Refusal::new(
            "not-proven",
            format!("the caller has not proven the {what} that the token is bound to"),
        )),
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
