//! HTTP in a sandbox: the expected requests of a policy, and their answers.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;
use url::form_urlencoded;
use witgate_plugin::{Assertion, ClientAuth, HttpError, HttpRequest, HttpResponse, Method};

use super::report::Finding;
use witgate_services::fetch::HttpExchange as Answers;

/// Maximum number of unexpected requests of one question in the report.
const MOST: usize = 100;

/// An expected HTTP request, and its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// `GET` or `POST`, a space and the URL.
    pub request: String,
    /// The form in the body. None: any body.
    pub form: Option<BTreeMap<String, String>>,
    /// The authentication of the client, in the form of the file.
    pub auth: String,
    /// The answer.
    pub answer: Result<HttpResponse, HttpError>,
}

/// The servers of a case, with a script of exchanges, all of which have to happen.
#[derive(Debug, Default)]
pub(super) struct Servers(Mutex<ServerScript>);

#[derive(Debug, Default)]
struct ServerScript {
    /// Exchanges that may occur any number of times, in any order.
    always: Vec<Exchange>,
    expected: VecDeque<Exchange>,
    findings: Vec<Finding>,
}

impl Servers {
    /// Sets the script of a question.
    pub(super) fn expect(&self, exchanges: &[Exchange]) {
        *self.0.lock() =
            ServerScript { expected: exchanges.iter().cloned().collect(), ..ServerScript::default() };
    }

    /// Sets answers for any number of requests in any order.
    pub(super) fn answer_always(&self, exchanges: &[Exchange]) {
        *self.0.lock() = ServerScript { always: exchanges.to_vec(), ..ServerScript::default() };
    }

    /// The differences: unexpected requests, and expected ones that never came.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut script = self.0.lock();
        let missing: Vec<_> = script.expected.drain(..).collect();
        let missing =
            missing.iter().map(|exchange| Finding::new("http", &exchange.request, "nothing was sent"));
        script.findings.drain(..).chain(missing).collect()
    }
}

impl Answers for Servers {
    fn answer(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let sent = format!("{} {}", verb(request.method), request.url);
        let mut script = self.0.lock();
        if let Some(known) = script.always.iter().find(|known| known.request == sent) {
            return known.answer.clone();
        }
        let Some(expected) = script.expected.pop_front() else {
            if script.findings.len() < MOST {
                script.findings.push(Finding::new("http", "no further request", &sent));
            }
            return Err(HttpError::Unreachable);
        };
        script.findings.extend(differences(&expected, &request, &sent));
        expected.answer
    }
}

fn differences(expected: &Exchange, request: &HttpRequest, sent: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut compare = |what, expected: &str, found: &str| {
        if expected != found {
            findings.push(Finding::new(what, expected, found));
        }
    };
    compare("http", &expected.request, sent);
    compare("http client", &expected.auth, &auth(request));
    if let Some(form) = &expected.form
        && request.method == Method::Post
    {
        let is_form = |(name, value): &(String, String)| {
            name.eq_ignore_ascii_case("content-type")
                && value.starts_with("application/x-www-form-urlencoded")
        };
        let found = match request.headers.iter().any(is_form) {
            true => format!("{:?}", fields(&request.body)),
            false => "a body that is not a form".to_owned(),
        };
        compare("http form", &format!("{form:?}"), &found);
    }
    findings
}

/// Reads `application/x-www-form-urlencoded`.
fn fields(body: &[u8]) -> BTreeMap<Cow<'_, str>, Cow<'_, str>> {
    form_urlencoded::parse(body).collect()
}

/// The bearer token that the policy itself sends.
fn bearer(request: &HttpRequest) -> Option<&str> {
    let mut headers = request.headers.iter();
    let (_, value) = headers.find(|(name, _)| name.eq_ignore_ascii_case("authorization"))?;
    value.strip_prefix("Bearer ")
}

pub(crate) fn verb(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Post => "POST",
    }
}

/// The authentication in the form of a case.
pub(crate) fn auth(request: &HttpRequest) -> String {
    match &request.client_auth {
        ClientAuth::None => {
            bearer(request).map_or_else(|| "none".to_owned(), |token| format!("bearer {token}"))
        }
        ClientAuth::Basic(client) => format!("basic {} {}", client.id, client.secret),
        ClientAuth::Post(client) => format!("post {} {}", client.id, client.secret),
        ClientAuth::PrivateKeyJwt(assertion) => {
            let Assertion { id, key, key_id, algorithm, audience } = assertion;
            let [key_id, algorithm] = [key_id, algorithm].map(|text| text.as_deref().unwrap_or("-"));
            format!("private_key_jwt {id} {key} {key_id} {algorithm} {audience}")
        }
    }
}
