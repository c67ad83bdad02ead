//! Checks a component's output against the limits of the WIT package, because it is untrusted.

use witgate_plugin::{
    Decision, Denial, Description, EntryDecision, Identity, Refusal, Unavailability, Verdict, Wants,
};

use witgate_base::printable::clean;

/// The latest expiry, in seconds since the Unix epoch: the end of the year 9999.
const LATEST: u64 = 253_402_300_799;

/// The error says which limit is exceeded.
type CheckResult = Result<(), String>;

/// The answer of a hook.
pub(super) trait HookOutput {
    /// Checks the answer against the limits.
    ///
    /// # Errors
    /// With the exceeded limit.
    fn check(&self) -> CheckResult;

    /// True if the answer allows the call to continue.
    fn lets_through(&self) -> bool;
}

impl HookOutput for Verdict {
    fn check(&self) -> CheckResult {
        check_verdict(self)
    }

    fn lets_through(&self) -> bool {
        matches!(self, Self::Identity(_))
    }
}

impl HookOutput for Decision {
    fn check(&self) -> CheckResult {
        check_decision(self)
    }

    fn lets_through(&self) -> bool {
        matches!(self, Self::Allow | Self::Abstain)
    }
}

/// The decisions about the entries of a list.
pub(super) struct EntryDecisions {
    /// The number of entries.
    pub targets: usize,
    /// The decisions.
    pub answer: Result<Vec<EntryDecision>, Unavailability>,
}

impl HookOutput for EntryDecisions {
    fn check(&self) -> CheckResult {
        match &self.answer {
            Ok(decisions) => ensure(decisions.len() == self.targets, || {
                format!("there are {} decisions about {} entries", decisions.len(), self.targets)
            }),
            Err(unavailability) => check_unavailability(unavailability),
        }
    }

    fn lets_through(&self) -> bool {
        let denies = |decision: &EntryDecision| *decision == EntryDecision::Deny;
        self.answer.as_ref().is_ok_and(|decisions| !decisions.iter().all(denies))
    }
}

/// Checks the verdict of an authenticator against the limits.
///
/// # Errors
/// With the exceeded limit.
pub fn check_verdict(verdict: &Verdict) -> CheckResult {
    match verdict {
        Verdict::Identity(identity) => check_identity(identity),
        Verdict::NotMine => Ok(()),
        Verdict::Refused(Refusal { reason, detail }) => {
            check_reason(reason)?;
            check_detail(detail.as_deref())
        }
        Verdict::Unavailable(unavailability) => check_unavailability(unavailability),
    }
}

/// Checks the decision of an authorizer against the limits.
///
/// # Errors
/// With the exceeded limit.
pub fn check_decision(decision: &Decision) -> CheckResult {
    match decision {
        Decision::Allow | Decision::Abstain => Ok(()),
        Decision::Deny(Denial { reason, scopes, retry_after: _, detail }) => {
            check_reason(reason)?;
            check_names("scopes", scopes, is_scope)?;
            check_detail(detail.as_deref())
        }
        Decision::Unavailable(unavailability) => check_unavailability(unavailability),
    }
}

fn check_identity(identity: &Identity) -> CheckResult {
    let Identity { subject, issuer, roles, scopes, claims, expires_at } = identity;
    ensure(
        is_text(subject, 1, 512),
        || "the subject is empty, longer than 512 bytes, or contains control characters",
    )?;
    ensure(
        issuer.as_deref().is_none_or(|issuer| is_text(issuer, 1, 512)),
        || "the issuer is empty, longer than 512 bytes, or contains control characters",
    )?;
    check_names("roles", roles, |role| is_text(role, 1, 256))?;
    check_names("scopes", scopes, is_scope)?;
    if let Some(claims) = claims {
        ensure(claims.len() <= 64 << 10, || "the claims exceed 64 KiB")?;
        let object = serde_json::from_str::<&serde_json::value::RawValue>(claims)
            .is_ok_and(|raw| raw.get().starts_with('{'));
        ensure(object, || "the claims are not one JSON object")?;
    }
    ensure(expires_at.is_none_or(|at| at <= LATEST), || "the expiry is after the year 9999")
}

fn check_names(what: &str, names: &[String], good: impl Fn(&str) -> bool) -> CheckResult {
    ensure(names.len() <= 256, || format!("there are more than 256 {what}"))?;
    ensure(names.iter().all(|name| good(name)), || {
        format!("one of the {what} is empty, longer than 256 bytes, or contains invalid characters")
    })
}

/// A scope token (RFC 6749, section 3.3).
fn is_scope(scope: &str) -> bool {
    is_text(scope, 1, 256) && scope.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

fn check_reason(reason: &str) -> CheckResult {
    ensure(is_kebab(reason), || "the reason code is not kebab case of at most 64 bytes")
}

fn is_kebab(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn check_unavailability(unavailability: &Unavailability) -> CheckResult {
    check_detail(Some(&unavailability.detail))
}

fn check_detail(detail: Option<&str>) -> CheckResult {
    ensure(detail.is_none_or(|detail| detail.len() <= 1024), || "the detail exceeds 1,024 bytes")
}

/// Checks the description of a plugin against the limits.
///
/// # Errors
/// With the exceeded limit.
pub fn check_description(description: &Description) -> CheckResult {
    let Description { name, version, summary, config_schema } = description;
    ensure(is_kebab(name), || format!("the name {} is not kebab case of at most 64 bytes", shown(name)))?;
    ensure(is_text(version, 1, 64), || {
        format!(
            "the version {} is empty, longer than 64 bytes, or contains control characters",
            shown(version)
        )
    })?;
    ensure(is_text(summary, 0, 1024), || {
        format!("the summary {} is longer than 1,024 bytes, or contains control characters", shown(summary))
    })?;
    let size = config_schema.len();
    ensure(size <= 1 << 20, || format!("the config schema has {size} bytes, which is more than 1 MiB"))
}

/// Checks the `wants` of a plugin against the limits.
///
/// # Errors
/// With the exceeded limit.
pub fn check_wants(wants: &Wants) -> CheckResult {
    let is_header = |name: &String| name.parse::<http::HeaderName>().is_ok();
    let odd = |name: &&String| !is_header(name);
    let names = || wants.credential_header.iter().flat_map(|names| names.split(',')).map(str::trim);
    ensure(names().count() <= 8, || "there are more than 8 credential headers")?;
    if let Some(name) = names().find(|name| name.parse::<http::HeaderName>().is_err()) {
        return Err(format!("the credential header {} is not the name of a header", shown(name)));
    }
    if let Some(name) = names().find(|name| is_of_the_protocol(name)) {
        return Err(format!(
            "the credential header {} is a header of HTTP or MCP itself; choose another one, such as \"X-API-Key\"",
            shown(name)
        ));
    }
    ensure(wants.headers.len() <= 64, || {
        format!("there are {} headers, which are more than 64", wants.headers.len())
    })?;
    if let Some(name) = wants.headers.iter().find(odd) {
        return Err(format!("{} is not the name of a header", shown(name)));
    }
    ensure(wants.schemes.len() <= 16, || "there are more than 16 credential schemes")
}

/// True if a header has a meaning in HTTP, in MCP, or for proxies and tracing. `Authorization` also has one, but it is
/// meant for credentials.
pub fn is_of_the_protocol(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    RESERVED.contains(&name.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Reserved prefixes of names: RFC 9110, RFC 9111, Fetch, MCP 2026-07-28.
const RESERVED_PREFIXES: &[&str] =
    &["accept", "access-control-", "content-", "if-", "mcp-", "proxy-", "sec-"];

const RESERVED: &[&str] = &[
    // RFC 9110, RFC 9111, RFC 9112, RFC 9113, RFC 8470, RFC 9218.
    "age",
    "allow",
    "cache-control",
    "connection",
    "date",
    "early-data",
    "expect",
    "from",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "pragma",
    "priority",
    "range",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "www-authenticate",
    // Browsers: RFC 6454, RFC 6265, HTML.
    "cookie",
    "dnt",
    "last-event-id",
    "origin",
    "set-cookie",
    // Proofs of possession: RFC 9449.
    "dpop",
    "dpop-nonce",
    // Proxies: RFC 7239 and its predecessors.
    "forwarded",
    "x-forwarded-by",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-http-method-override",
    "x-real-ip",
    // Tracing: W3C Trace Context and Baggage.
    "baggage",
    "traceparent",
    "tracestate",
    // Proxies with buffers.
    "x-accel-buffering",
];

/// A refused name, in a form that may be shown.
fn shown(name: &str) -> String {
    let start: String = name.chars().take(64).collect();
    format!("\"{}\"", clean(&start))
}

fn is_text(text: &str, shortest: usize, longest: usize) -> bool {
    (shortest..=longest).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn ensure<S: Into<String>>(holds: bool, otherwise: impl FnOnce() -> S) -> CheckResult {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}
