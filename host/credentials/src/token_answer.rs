//! The answer of a token endpoint (RFC 6749, sections 5.1 and 5.2).

use std::time::Duration;

use http::StatusCode;
use secrecy::SecretString;
use serde::Deserialize;

use crate::fault::OutboundProblem;

/// The lifetime of a token whose answer names none. Most providers issue tokens for an hour.
const USUAL_LIFETIME: Duration = Duration::from_secs(3600);

/// The longest lifetime that is believed, so that no number overflows a clock.
const LONGEST_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// A token that a server has issued.
#[derive(Debug)]
pub(crate) struct AccessToken {
    /// The access token.
    pub(crate) access: SecretString,
    /// Its lifetime from now on.
    pub(crate) lifetime: Duration,
}

#[derive(Deserialize)]
struct TokenBody {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<Lifetime>,
    error: Option<String>,
}

/// Seconds. Some servers write them as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lifetime {
    Seconds(f64),
    Text(String),
}

impl Lifetime {
    fn seconds(&self) -> Option<f64> {
        let seconds = match self {
            Self::Seconds(seconds) => *seconds,
            Self::Text(text) => text.parse().ok()?,
        };
        seconds.is_finite().then_some(seconds)
    }
}

/// Reads an answer. An error may come with any status: GitHub sends 200.
///
/// # Errors
/// `Refused` if the server has said no, `Unreachable` if it has not answered as an authorization server.
pub(crate) fn read(status: StatusCode, body: &[u8]) -> Result<AccessToken, OutboundProblem> {
    let Ok(answer) = serde_json::from_slice::<TokenBody>(body) else {
        return Err(OutboundProblem::unreachable(format!("HTTP {}, not in JSON", status.as_u16())));
    };
    if let Some(error) = &answer.error {
        return Err(match status {
            status if status.is_server_error() || is_passing(error) => {
                OutboundProblem::unreachable(format!("HTTP {}, {}", status.as_u16(), code(error)))
            }
            _ => OutboundProblem::Refused { error: code(error).into() },
        });
    }
    if !status.is_success() {
        return Err(OutboundProblem::unreachable(format!("HTTP {}", status.as_u16())));
    }
    let is_bearer = answer.token_type.as_deref().is_none_or(|typ| typ.eq_ignore_ascii_case("bearer"));
    if !is_bearer {
        return Err(OutboundProblem::Refused { error: "its token is no bearer token".into() });
    }
    let Some(access) = answer.access_token else {
        return Err(OutboundProblem::unreachable("its answer has no token".to_owned()));
    };
    let lifetime = match answer.expires_in {
        None => USUAL_LIFETIME,
        Some(lifetime) => lifetime.seconds().map_or(USUAL_LIFETIME, |seconds| {
            Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_LIFETIME.as_secs_f64()))
        }),
    };
    Ok(AccessToken { access: access.into(), lifetime })
}

/// Errors that say nothing about the credential (RFC 6749, section 4.1.2.1; GitHub's limit).
fn is_passing(error: &str) -> bool {
    ["temporarily_unavailable", "server_error", "slow_down"].contains(&error)
}

/// The error code, if it is one. Other texts might contain anything.
fn code(error: &str) -> &str {
    let is_code = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    match !error.is_empty() && error.len() <= 64 && error.chars().all(is_code) {
        true => error,
        false => "an error without a code",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    use super::*;

    fn ok(body: &str) -> (String, u64) {
        let token = read(StatusCode::OK, body.as_bytes()).unwrap();
        (token.access.expose_secret().to_owned(), token.lifetime.as_secs())
    }

    fn refusal(status: u16, body: &str) -> OutboundProblem {
        read(StatusCode::from_u16(status).unwrap(), body.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_lifetime_is_a_number_or_a_text_or_an_hour() {
        for (expires, seconds) in [
            (r#","expires_in":60"#, 60),
            (r#","expires_in":"60""#, 60),
            (r#","expires_in":"soon""#, 3600),
            (r#","expires_in":-5"#, 0),
            (r#","expires_in":1e300"#, 365 * 24 * 3600),
            ("", 3600),
        ] {
            let body = format!(r#"{{"access_token":"t","token_type":"bEaReR"{expires}}}"#);
            assert_eq!(ok(&body), ("t".to_owned(), seconds), "{body}");
        }
    }

    #[test]
    fn an_error_is_an_error_with_any_status() {
        let refused = |error: &str| OutboundProblem::Refused { error: error.into() };
        assert_eq!(refusal(200, r#"{"error":"bad_refresh_token"}"#), refused("bad_refresh_token"));
        assert_eq!(refusal(401, r#"{"error":"invalid_client"}"#), refused("invalid_client"));
        assert_eq!(refusal(400, r#"{"error":"<b>\u0000"}"#), refused("an error without a code"));
        let dpop = r#"{"access_token":"t","token_type":"DPoP"}"#;
        assert_eq!(refusal(200, dpop), refused("its token is no bearer token"));
    }

    #[test]
    fn a_failure_of_the_server_is_no_refusal() {
        for (status, body) in [
            (500, r#"{"error":"server_error"}"#),
            (400, r#"{"error":"temporarily_unavailable"}"#),
            (503, "<html>"),
            (404, "{}"),
            (200, "<html>login</html>"),
            (200, "{}"),
        ] {
            let problem = refusal(status, body);
            assert!(matches!(problem, OutboundProblem::Unreachable { .. }), "{body}: {problem:?}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_panics(status in 100_u16..600, body in ".{0,200}") {
            let _ = read(StatusCode::from_u16(status).unwrap(), body.as_bytes());
        }

        #[test]
        fn a_refusal_never_repeats_a_token(token in "[a-z]{20}") {
            let body = format!(r#"{{"access_token":"{token}","error":"{token} !"}}"#);
            let problem = refusal(200, &body);
            let printed = format!("{problem:?} {problem}");
            prop_assert!(!printed.contains(&token));
        }
    }
}
