//! HTTP exchanges of a live policy, in the form of a case.

use serde_json::{Map, Value, json};
use url::form_urlencoded;
use witgate_plugin::{HttpError, HttpRequest, HttpResponse, Method};

use super::stand_in::ClaimRules;
use crate::{auth, verb};

/// The pause of a failing server in a case, in seconds.
const RESTING_S: u32 = 7;

/// A request and its answer. An exchange with one of the `personal` texts is about the caller.
///
/// # Errors
/// With the reason why it cannot be written.
pub(super) fn written(
    request: &HttpRequest,
    answer: &Result<HttpResponse, HttpError>,
    credential: Option<&str>,
    personal: &[&str],
    claims: &ClaimRules,
) -> Result<Value, &'static str> {
    let mut exchange = Map::new();
    let sent = format!("{} {}", verb(request.method), request.url);
    exchange.insert("request".to_owned(), without(&sent, credential).into());
    if let Some(form) = form(request) {
        let form: Map<_, _> =
            form.into_iter().map(|(name, value)| (name, without(&value, credential).into())).collect();
        exchange.insert("form".to_owned(), form.into());
    }
    let auth = auth(request);
    if auth != "none" {
        exchange.insert("auth".to_owned(), without(&auth, credential).into());
    }
    let body = String::from_utf8_lossy(&request.body);
    let headers = request.headers.iter().map(|(_, value)| value.as_str());
    let is_personal = headers.chain([sent.as_str(), &body]).any(|part| {
        personal.iter().any(|text| part.contains(text))
            || credential.is_some_and(|credential| holds(part, credential))
    });
    match answer {
        Ok(answer) => exchange.extend(answered(answer, is_personal, claims)?),
        Err(error) => drop(exchange.insert("error".to_owned(), error_name(*error)?.into())),
    }
    Ok(exchange.into())
}

fn answered(
    answer: &HttpResponse,
    is_personal: bool,
    claims: &ClaimRules,
) -> Result<Map<String, Value>, &'static str> {
    let text = std::str::from_utf8(&answer.body).map_err(|_| "a server's answer is not text")?;
    let body = match is_personal && !text.is_empty() {
        true => {
            claims.text(text).ok_or("a server's answer about the caller is neither an object nor a token")?
        }
        false => text.to_owned(),
    };
    let mut written = Map::new();
    written.insert("status".to_owned(), answer.status.into());
    written.insert("content_type".to_owned(), json!(answer.content_type.as_deref().unwrap_or_default()));
    if let Some(seconds) = answer.retry_after {
        written.insert("retry_after".to_owned(), seconds.into());
    }
    written.insert("body".to_owned(), body.into());
    Ok(written)
}

fn error_name(error: HttpError) -> Result<&'static str, &'static str> {
    match error {
        HttpError::NotGranted => Ok("not-granted"),
        HttpError::InvalidRequest => Ok("invalid-request"),
        HttpError::Unreachable => Ok("unreachable"),
        HttpError::TimedOut => Ok("timed-out"),
        HttpError::TooLarge => Ok("too-large"),
        HttpError::Resting(RESTING_S) => Ok("resting"),
        HttpError::Resting(_) => {
            Err("requests to a server were paused, for a time that a case cannot contain")
        }
    }
}

/// The fields of a form. None: the body is not a form.
fn form(request: &HttpRequest) -> Option<Vec<(String, String)>> {
    let is_form = |(name, value): &(String, String)| {
        name.eq_ignore_ascii_case("content-type") && value.starts_with("application/x-www-form-urlencoded")
    };
    let fields = || form_urlencoded::parse(&request.body).into_owned().collect();
    (request.method == Method::Post && request.headers.iter().any(is_form)).then(fields)
}

fn percent(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn holds(text: &str, credential: &str) -> bool {
    !credential.is_empty() && (text.contains(credential) || text.contains(&percent(credential)))
}

/// The text with `{credential}` in place of the credential.
fn without(text: &str, credential: Option<&str>) -> String {
    match credential.filter(|credential| !credential.is_empty()) {
        Some(credential) => {
            text.replace(credential, "{credential}").replace(&percent(credential), "{credential}")
        }
        None => text.to_owned(),
    }
}
