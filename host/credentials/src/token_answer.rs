//! The answer of a token endpoint (RFC 6749, sections 5.1 and 5.2).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::fault::OutboundProblem;
use crate::login_id::LoginId;

/// The longest lifetime that is believed, so that no number overflows a clock.
const LONGEST_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// A token that a server has issued.
#[derive(Debug)]
pub(crate) struct AccessToken {
    /// The access token.
    pub(crate) access: SecretString,
    /// Its lifetime from now on. None: the answer names none.
    pub(crate) lifetime: Option<Duration>,
    /// The refresh token, if there is one.
    pub(crate) refresh: Option<SecretString>,
    /// The scopes, if the answer names them.
    pub(crate) scopes: Option<Vec<String>>,
    /// The name of the account in the ID token, if there is one.
    pub(crate) account: Option<String>,
    /// The login that it belongs to, if it was read from the store.
    pub(crate) login: Option<LoginId>,
    /// The ID token, if there is one.
    pub(crate) id_token: Option<SecretString>,
    /// The reason why the access token cannot be used. The refresh token is good in any case.
    pub(crate) flaw: Option<&'static str>,
}

impl AccessToken {
    /// An access token alone.
    pub(crate) fn of(access: SecretString, lifetime: Option<Duration>) -> Self {
        Self {
            access,
            lifetime,
            refresh: None,
            scopes: None,
            account: None,
            login: None,
            id_token: None,
            flaw: None,
        }
    }
}

/// Reads an answer. An error may come with any status: GitHub sends 200. Only the tokens have to be as they should: a new
/// refresh token exists only once, and must not be lost because of another member.
///
/// # Errors
/// `Refused` if the server has said no, `Unreachable` if it has not answered as an authorization server.
pub(crate) fn read(status: StatusCode, body: &[u8]) -> Result<AccessToken, OutboundProblem> {
    let Ok(answer) = serde_json::from_slice::<Map<String, Value>>(body) else {
        return Err(OutboundProblem::unreachable(format!("HTTP {}, not in JSON", status.as_u16())));
    };
    let text = |name| answer.get(name).and_then(Value::as_str);
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        let error = error.as_str().unwrap_or_default();
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
    let (access, refresh) =
        (text("access_token"), text("refresh_token").filter(|refresh| !refresh.is_empty()));
    if access.is_none() && refresh.is_none() {
        return Err(OutboundProblem::unreachable("its answer has no token".to_owned()));
    }
    let is_bearer = text("token_type").is_none_or(|typ| typ.eq_ignore_ascii_case("bearer"));
    let flaw = match (access, is_bearer) {
        (None, _) => Some("its answer has no access token"),
        (Some(_), false) => Some("its token is no bearer token"),
        (Some(_), true) => None,
    };
    Ok(AccessToken {
        access: access.unwrap_or_default().into(),
        lifetime: answer.get("expires_in").and_then(lifetime),
        refresh: refresh.map(SecretString::from),
        scopes: text("scope").and_then(scopes),
        account: text("id_token").and_then(account),
        login: None,
        id_token: text("id_token").map(SecretString::from),
        flaw,
    })
}

/// A lifetime in seconds. Some servers write them as a text.
fn lifetime(written: &Value) -> Option<Duration> {
    let seconds = match written {
        Value::String(text) => text.parse().ok()?,
        seconds => seconds.as_f64()?,
    };
    let believed = |seconds: f64| Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_LIFETIME.as_secs_f64()));
    seconds.is_finite().then(|| believed(seconds))
}

/// The scopes in an answer. GitHub separates them by commas, and names none for its Apps.
fn scopes(text: &str) -> Option<Vec<String>> {
    let scopes = text.split([' ', ',']).filter(|scope| !scope.is_empty()).map(str::to_owned);
    Some(scopes.collect::<Vec<_>>()).filter(|scopes| !scopes.is_empty())
}

/// The name of the account in an ID token. It comes from the token endpoint itself, so its signature need not be checked
/// (OpenID Connect Core, section 3.1.3.7), and it is only shown.
fn account(id_token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(id_token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let claim = |name: &&str| claims.get(*name)?.as_str().filter(|text| text.len() <= 256).map(str::to_owned);
    ["email", "preferred_username", "sub"].iter().find_map(claim)
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

    fn ok(body: &str) -> (String, Option<u64>) {
        let token = read(StatusCode::OK, body.as_bytes()).unwrap();
        (token.access.expose_secret().to_owned(), token.lifetime.map(|lifetime| lifetime.as_secs()))
    }

    fn refusal(status: u16, body: &str) -> OutboundProblem {
        read(StatusCode::from_u16(status).unwrap(), body.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_lifetime_is_a_number_or_a_text() {
        for (expires, seconds) in [
            (r#","expires_in":60"#, Some(60)),
            (r#","expires_in":"60""#, Some(60)),
            (r#","expires_in":"soon""#, None),
            (r#","expires_in":-5"#, Some(0)),
            (r#","expires_in":1e300"#, Some(365 * 24 * 3600)),
            ("", None),
        ] {
            let body = format!(r#"{{"access_token":"t","token_type":"bEaReR"{expires}}}"#);
            assert_eq!(ok(&body), ("t".to_owned(), seconds), "{body}");
        }
    }

    #[test]
    fn no_other_member_costs_a_token() {
        for other in [
            r#""expires_in":[60]"#,
            r#""expires_in":null"#,
            r#""scope":["repo"]"#,
            r#""id_token":{}"#,
            r#""token_type":1"#,
            r#""error":null"#,
        ] {
            let body = format!(r#"{{"access_token":"t","refresh_token":"r",{other}}}"#);
            let token = read(StatusCode::OK, body.as_bytes()).unwrap();
            assert_eq!(token.refresh.unwrap().expose_secret(), "r", "{other}");
        }
    }

    #[test]
    fn scopes_are_separated_by_spaces_or_commas() {
        assert_eq!(scopes("repo,read:user"), Some(vec!["repo".to_owned(), "read:user".to_owned()]));
        assert_eq!(scopes("a b"), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(scopes(""), None);
    }

    #[test]
    fn an_account_is_named_by_the_id_token() {
        let token = |claims: &str| format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(
            account(&token(r#"{"sub":"1","email":"ada@example.com"}"#)).as_deref(),
            Some("ada@example.com")
        );
        assert_eq!(account(&token(r#"{"sub":"1"}"#)).as_deref(), Some("1"));
        for wrong in ["", "a.b.c", &token("[]"), &token(r#"{"sub":1}"#)] {
            assert_eq!(account(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_error_is_an_error_with_any_status() {
        let refused = |error: &str| OutboundProblem::Refused { error: error.into() };
        assert_eq!(refusal(200, r#"{"error":"bad_refresh_token"}"#), refused("bad_refresh_token"));
        assert_eq!(refusal(401, r#"{"error":"invalid_client"}"#), refused("invalid_client"));
        assert_eq!(refusal(400, r#"{"error":{"code":1}}"#), refused("an error without a code"));
        assert_eq!(refusal(400, r#"{"error":"<b>\u0000"}"#), refused("an error without a code"));
    }

    /// A refresh token exists only once.
    #[test]
    fn a_flaw_of_the_access_token_leaves_the_refresh_token() {
        for (access, flaw) in [
            (r#""access_token":"t","token_type":"DPoP""#, "its token is no bearer token"),
            (r#""token_type":"Bearer""#, "its answer has no access token"),
        ] {
            let body = format!(r#"{{{access},"refresh_token":"r"}}"#);
            let token = read(StatusCode::OK, body.as_bytes()).unwrap();
            assert_eq!((token.flaw, token.refresh.unwrap().expose_secret()), (Some(flaw), "r"));
        }
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
