//! The output of a component: any value of the WIT package, against the bounds that the package documents.
//!
//! The first byte picks the kind of value, and the rest is made into one front to back, so that a
//! seed can be written by hand. Texts are either the input's own bytes, or one character repeated
//! up to about a bound.

use arbitrary::{Result, Unstructured};
use serde_json::value::RawValue;
use witgate_component::output::{
    check_decision, check_description, check_verdict, check_wants, is_of_the_protocol,
};
use witgate_plugin::{
    Data, Decision, Denial, Description, Identity, Refusal, Scheme, Unavailability, Verdict, Wants,
};

/// Makes a value of the input, and compares the host's verdict on it with the documented bounds.
///
/// # Panics
/// Where a value beyond its bounds passes, or an ordinary one does not.
pub fn check(data: &[u8]) {
    // A value for which the input does not suffice is none.
    let _ = judge(&mut Unstructured::new(data));
}

fn judge(u: &mut Unstructured<'_>) -> Result<()> {
    match u.int_in_range(0..=3)? {
        0 => {
            let verdict = verdict(u)?;
            agree(&verdict, check_verdict(&verdict).is_ok(), verdict_within(&verdict, documented));
            agree_on_ordinary(&verdict, check_verdict(&verdict), verdict_within(&verdict, ordinary));
        }
        1 => {
            let decision = decision(u)?;
            agree(&decision, check_decision(&decision).is_ok(), decision_within(&decision, documented));
            agree_on_ordinary(&decision, check_decision(&decision), decision_within(&decision, ordinary));
        }
        2 => {
            let answer = description(u)?;
            agree(&answer, check_description(&answer).is_ok(), description_within(&answer, documented));
            agree_on_ordinary(&answer, check_description(&answer), description_within(&answer, ordinary));
        }
        _ => {
            let wants = wants(u)?;
            agree(&wants, check_wants(&wants).is_ok(), wants_within(&wants));
        }
    }
    Ok(())
}

/// Checks that exactly the values within the bounds pass.
fn agree(value: &impl std::fmt::Debug, passes: bool, within: bool) {
    assert!(within || !passes, "beyond the bounds, and it passes: {value:.400?}");
}

/// The bounds keep nobody from saying what is usual.
fn agree_on_ordinary(
    value: &impl std::fmt::Debug,
    verdict: std::result::Result<(), String>,
    is_ordinary: bool,
) {
    assert!(verdict.is_ok() || !is_ordinary, "{verdict:?}: {value:.400?}");
}

/// The bound of the package for a text.
#[derive(Clone, Copy)]
enum Text {
    /// 1 to 512 bytes, no control characters.
    Name,
    /// 1 to 256 bytes, no control characters.
    Role,
    /// 1 to 256 bytes, no spaces.
    Scope,
    /// Kebab case, 1 to 64 bytes.
    Code,
    /// At most 1,024 bytes.
    Detail,
    /// 1 to 64 bytes, no control characters.
    Version,
    /// At most 1,024 bytes, no control characters.
    Summary,
}

/// As `wit/README.md` and the comments of `wit/*.wit` have it.
fn documented(kind: Text, text: &str) -> bool {
    let printable = !text.chars().any(|c| c < ' ' || ('\u{7f}'..='\u{9f}').contains(&c));
    let within = |least: usize, most: usize| text.len() >= least && text.len() <= most;
    match kind {
        Text::Name => within(1, 512) && printable,
        Text::Role => within(1, 256) && printable,
        Text::Scope => within(1, 256) && printable && !text.contains(char::is_whitespace),
        Text::Code => within(1, 64) && text.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-')),
        Text::Detail => within(0, 1024),
        Text::Version => within(1, 64) && printable,
        Text::Summary => within(0, 1024) && printable,
    }
}

/// True for a text that no rule could object to.
fn ordinary(kind: Text, text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    plain && documented(kind, text)
}

type Within = fn(Text, &str) -> bool;

fn verdict_within(verdict: &Verdict, within: Within) -> bool {
    match verdict {
        Verdict::Identity(identity) => identity_within(identity, within),
        Verdict::NotMine => true,
        Verdict::Refused(refusal) => {
            within(Text::Code, &refusal.reason) && opt(Text::Detail, refusal.detail.as_ref(), within)
        }
        Verdict::Unavailable(unavailability) => within(Text::Detail, &unavailability.detail),
    }
}

fn identity_within(identity: &Identity, within: Within) -> bool {
    within(Text::Name, &identity.subject)
        && opt(Text::Name, identity.issuer.as_ref(), within)
        && all(Text::Role, &identity.roles, within)
        && all(Text::Scope, &identity.scopes, within)
        && identity.claims.as_ref().is_none_or(|claims| claims.len() <= 65_536 && is_object(claims))
        // 9999-12-31T23:59:59Z: what comes later has no date that anybody writes.
        && identity.expires_at.is_none_or(|end| end < 253_402_300_800)
}

fn decision_within(decision: &Decision, within: Within) -> bool {
    match decision {
        Decision::Allow | Decision::Abstain => true,
        Decision::Deny(denial) => {
            within(Text::Code, &denial.reason)
                && all(Text::Scope, &denial.scopes, within)
                && opt(Text::Detail, denial.detail.as_ref(), within)
        }
        Decision::Unavailable(unavailability) => within(Text::Detail, &unavailability.detail),
    }
}

fn description_within(description: &Description, within: Within) -> bool {
    within(Text::Code, &description.name)
        && within(Text::Version, &description.version)
        && within(Text::Summary, &description.summary)
        && description.config_schema.len() <= 1 << 20
}

fn wants_within(wants: &Wants) -> bool {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    let names = || wants.credential_header.iter().flat_map(|names| names.split(',')).map(str::trim);
    names().chain(wants.headers.iter().map(String::as_str)).all(is_name)
        && !names().any(is_of_the_protocol)
        && names().count() <= 8
        && wants.headers.len() <= 64
        && wants.schemes.len() <= 16
}

fn opt(kind: Text, text: Option<&String>, within: Within) -> bool {
    text.is_none_or(|text| within(kind, text))
}

fn all(kind: Text, texts: &[String], within: Within) -> bool {
    texts.len() <= 256 && texts.iter().all(|text| within(kind, text))
}

fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok()
}

fn verdict(u: &mut Unstructured<'_>) -> Result<Verdict> {
    Ok(match u.int_in_range(0..=3)? {
        0 => Verdict::Identity(Identity {
            subject: text(u)?,
            issuer: maybe(u, text)?,
            roles: list(u, text)?,
            scopes: list(u, text)?,
            claims: maybe(u, claims)?,
            expires_at: maybe(u, |u| u.arbitrary())?,
        }),
        1 => Verdict::NotMine,
        2 => Verdict::Refused(Refusal { reason: text(u)?, detail: maybe(u, text)? }),
        _ => Verdict::Unavailable(unavailability(u)?),
    })
}

fn decision(u: &mut Unstructured<'_>) -> Result<Decision> {
    Ok(match u.int_in_range(0..=3)? {
        0 => Decision::Allow,
        1 => Decision::Abstain,
        2 => Decision::Deny(Denial {
            reason: text(u)?,
            scopes: list(u, text)?,
            retry_after: maybe(u, |u| u.arbitrary())?,
            detail: maybe(u, text)?,
        }),
        _ => Decision::Unavailable(unavailability(u)?),
    })
}

fn unavailability(u: &mut Unstructured<'_>) -> Result<Unavailability> {
    Ok(Unavailability { detail: text(u)?, retry_after: maybe(u, |u| u.arbitrary())? })
}

fn description(u: &mut Unstructured<'_>) -> Result<Description> {
    Ok(Description { name: text(u)?, version: text(u)?, summary: text(u)?, config_schema: schema(u)? })
}

fn wants(u: &mut Unstructured<'_>) -> Result<Wants> {
    let schemes =
        [Scheme::Bearer, Scheme::Basic, Scheme::Dpop, Scheme::Header, Scheme::Argument, Scheme::Certificate];
    Ok(Wants {
        schemes: list(u, |u| u.choose(&schemes).copied())?,
        credential_header: maybe(u, text)?,
        headers: list(u, text)?,
        data: Data::default(),
    })
}

/// Lengths on either side of the bounds.
const LENGTHS: [usize; 14] = [0, 1, 63, 64, 65, 255, 256, 257, 511, 512, 513, 1024, 1025, 4096];

/// Characters of one to four bytes, and those that some text may not hold.
const CHARACTERS: [char; 14] =
    ['a', '0', '-', 'Z', '_', ' ', '"', '\\', '\n', '\u{7f}', '\u{85}', 'é', '\u{2028}', '😀'];

/// A byte below 128 is the length of what follows; any other asks for a character repeated.
fn text(u: &mut Unstructured<'_>) -> Result<String> {
    let head: u8 = u.arbitrary()?;
    if head < 128 {
        let length = usize::from(head).min(u.len());
        return Ok(String::from_utf8_lossy(u.bytes(length)?).into_owned());
    }
    let character = u.choose(&CHARACTERS)?;
    let length = *u.choose(&LENGTHS)?;
    Ok(character.to_string().repeat(length / character.len_utf8() + length % character.len_utf8()))
}

/// Nobody reads it here: what matters is how long it is.
fn schema(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(match u.int_in_range(0..=1)? {
        0 => text(u)?,
        _ => "x".repeat(*u.choose(&[1 << 20, (1 << 20) + 1])?),
    })
}

/// JSON or not, up to about its bound.
fn claims(u: &mut Unstructured<'_>) -> Result<String> {
    let filled = |length: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(length - 8));
    Ok(match u.int_in_range(0..=2)? {
        0 => text(u)?,
        1 => filled(*u.choose(&[65_535, 65_536, 65_537])?),
        _ => format!("{{{}}}", text(u)?),
    })
}

fn maybe<T>(
    u: &mut Unstructured<'_>,
    make: impl Fn(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let is_there: bool = u.arbitrary()?;
    is_there.then(|| make(u)).transpose()
}

/// Few items, or one of them as often as about a bound says.
fn list<T: Clone>(
    u: &mut Unstructured<'_>,
    make: impl Fn(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let length = *u.choose(&[0, 1, 2, 3, 16, 17, 64, 65, 256, 257])?;
    if length > 3 {
        return Ok(vec![make(u)?; length]);
    }
    (0..length).map(|_| make(u)).collect()
}
