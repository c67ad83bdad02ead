//! Attacks on the authorization server and its pages, over the wire. Each is refused, and the counterpart of each works.

mod clients;
mod pages;
mod tokens;

use super::*;

/// The attacks of one test, and those that were not refused.
#[derive(Default)]
struct Attacks {
    tried: usize,
    succeeded: Vec<String>,
}

impl Attacks {
    /// Notes an attack, which is refused if `is_refused`.
    fn note(&mut self, what: impl std::fmt::Display, is_refused: bool, answer: &Answer) {
        self.tried += 1;
        if !is_refused {
            let place = answer.header("location").unwrap_or_default();
            self.succeeded.push(format!("{what}: {} {place:?}\n{}", answer.status, answer.text()));
        }
    }

    /// Fails unless at least `least` attacks were tried and all were refused.
    fn conclude(self, least: usize, running: &Running) {
        assert!(self.succeeded.is_empty(), "{}\n{}", self.succeeded.join("\n"), running.log());
        assert!(self.tried >= least, "{} attacks", self.tried);
    }
}

/// A request of a client, whose parameters an attack changes.
#[derive(Clone)]
struct Asked(Vec<(String, String)>);

impl Asked {
    fn of(running: &Running, client: &str) -> Self {
        let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
        let own = [
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", REDIRECT),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("resource", &running.url()),
            ("state", "own"),
        ];
        Self(own.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
    }

    fn set(&self, name: &str, value: &str) -> Self {
        let mut all = self.without(name);
        all.0.push((name.to_owned(), value.to_owned()));
        all
    }

    fn and(&self, name: &str, value: &str) -> Self {
        let mut all = self.clone();
        all.0.push((name.to_owned(), value.to_owned()));
        all
    }

    fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(own, _)| own != name).cloned().collect())
    }

    fn query(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    fn target(&self) -> String {
        format!("/oauth/authorize?{}", self.query())
    }
}

/// A client with this name and redirect, which registers itself.
fn register(running: &Running, name: &str, redirect: &str) -> String {
    let metadata = json!({ "client_name": name, "redirect_uris": [redirect] }).to_string();
    let answer = Request::post(&running.address(), "/oauth/register", metadata).send();
    body(&answer)["client_id"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

/// The name of the cookie of a session. Gateways of one machine have different ones.
fn session_cookie(running: &Running) -> String {
    format!("witgate-session-{}", running.address().rsplit_once(':').unwrap().1)
}

/// True if a page, and not a client, gets the refusal.
fn is_page(answer: &Answer) -> bool {
    answer.status == 400
        && answer.header("location").is_none()
        && !answer.text().contains("name=\"password\"")
}

impl Person<'_> {
    /// Logs in, with the session that the cookies then have.
    fn log_in(&mut self, name: &str) -> Answer {
        let page = self.get("/login");
        let form = [("form", &*field(&page, "form")), ("next", ""), ("name", name), ("password", PASSWORD)];
        self.post("/login", &form)
    }

    /// A code for a request, by the consent of the person.
    fn code(&mut self, asked: &Asked) -> String {
        let page = self.get(&asked.target());
        let query = asked.query();
        let fields = [("form", &*field(&page, "form")), ("request", &*query), ("decision", "allow")];
        let answer = self.post("/oauth/consent", &fields);
        let place = answer.header("location").unwrap_or_else(|| panic!("{}", answer.text()));
        let place = url::Url::parse(place).unwrap();
        place.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned()
    }
}

fn exchange_form<'a>(client: &'a str, code: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("client_id", client),
        ("code", code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ]
}

/// The same form with another value; an empty one leaves the field out.
fn with<'a>(
    form: &[(&'static str, &'a str)],
    name: &'static str,
    value: &'a str,
) -> Vec<(&'static str, &'a str)> {
    let others = form.iter().filter(|(own, _)| *own != name).copied();
    others.chain([(name, value)].into_iter().filter(|(_, value)| !value.is_empty())).collect()
}
