//! Requirements of the revisions of the protocol for an authorization server and the resources that it protects, seen
//! from outside. Each case is tried with the clients of each revision to which it applies.

use super::*;

/// The revisions, from the oldest.
const REVISIONS: [&str; 4] = ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"];

/// A client of a revision, and its person.
struct Trial<'a> {
    running: &'a Running,
    revision: &'static str,
    client: String,
    person: Person<'a>,
}

type Case = (&'static str, &'static str, fn(&mut Trial<'_>) -> Result<(), String>);

/// The cases, each with the revision that introduced it.
const CASES: [Case; 14] = [
    ("metadata is complete", "2025-03-26", metadata),
    ("metadata names the issuer of answers", "2026-07-28", issuer_of_answers),
    ("documents about clients are taken", "2025-11-25", documents),
    ("a public client gets a token", "2025-03-26", public_client),
    ("an answer has state and issuer once", "2025-03-26", one_answer),
    ("an error has state and issuer once", "2026-07-28", one_error),
    ("PKCE is required", "2025-03-26", pkce),
    ("a code is used once", "2025-03-26", one_use),
    ("refresh tokens rotate", "2025-06-18", rotation),
    ("a client ends its own login", "2025-03-26", revocation),
    ("the metadata of the resource is at its path", "2025-06-18", resource_metadata),
    ("a challenge leads to that metadata", "2025-06-18", challenge),
    ("a token is for one resource", "2025-06-18", audience),
    ("offline_access is only in the server's metadata", "2026-07-28", offline_access),
];

#[test]
fn each_revision_gets_what_it_requires() {
    let running = setup("").serve();
    let (mut tried, mut failed) = (0, Vec::new());
    for revision in REVISIONS {
        for (what, since, case) in CASES.into_iter().filter(|(_, since, _)| *since <= revision) {
            tried += 1;
            if let Err(why) = case(&mut Trial::new(&running, revision)) {
                failed.push(format!("{revision}, since {since}: {what}: {why}"));
            }
        }
    }
    assert!(failed.is_empty(), "{}\n{}", failed.join("\n"), running.log());
    assert!(tried >= 30, "{tried} cases");
}

impl<'a> Trial<'a> {
    fn new(running: &'a Running, revision: &'static str) -> Self {
        let metadata = json!({
            "client_name": "Desk", "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        });
        let answer = Request::post(&running.address(), "/register", metadata.to_string()).send();
        let client = body(&answer)["client_id"].as_str().unwrap().to_owned();
        Self { running, revision, client, person: Person::new(running) }
    }

    fn issuer(&self) -> String {
        format!("http://{}", self.running.address())
    }

    fn document(&self, path: &str) -> Value {
        let request = Request::new("GET", &self.running.address(), path);
        body(&request.with("MCP-Protocol-Version", self.revision).send())
    }

    /// The request of a client. Those of the first revision name no resource.
    fn query(&self, more: &[(&str, &str)]) -> String {
        let (challenge, url) = (URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes())), self.running.url());
        let mut own = vec![
            ("response_type", "code"),
            ("client_id", &self.client),
            ("redirect_uri", REDIRECT),
            ("state", "s"),
            ("scope", "tools:read"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        if self.revision > "2025-03-26" {
            own.push(("resource", &url));
        }
        own.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        let all = own.iter().chain(more).filter(|(_, value)| !value.is_empty());
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish()
    }

    /// The parameters of the answer to a request whose person consents.
    fn answer(&mut self, query: &str) -> Vec<(String, String)> {
        let page = self.person.get(&format!("/authorize?{query}"));
        let place = match page.header("location") {
            Some(place) => place.to_owned(),
            None => self.consent(&page, query),
        };
        let place = url::Url::parse(&place).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert!(place.as_str().starts_with(REDIRECT), "{place}");
        place.query_pairs().into_owned().collect()
    }

    fn consent(&mut self, page: &Answer, query: &str) -> String {
        let (form, next) = (field(page, "form"), field(page, "next"));
        let fields = [("form", &*form), ("next", &*next), ("name", "ada"), ("password", PASSWORD)];
        let place = self.person.post("/login", &fields).header("location").unwrap().to_owned();
        let page = self.person.get(&place);
        let fields = [("form", &*field(&page, "form")), ("request", query), ("decision", "allow")];
        self.person.post("/oauth/consent", &fields).header("location").unwrap().to_owned()
    }

    fn code(&mut self) -> String {
        let query = self.query(&[]);
        let answer = self.answer(&query);
        answer.into_iter().find(|(name, _)| name == "code").unwrap().1
    }

    fn exchange(&mut self, code: &str, verifier: &str) -> Answer {
        let (url, client) = (self.running.url(), self.client.clone());
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("client_id", &*client),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", verifier),
        ];
        if self.revision > "2025-03-26" {
            form.push(("resource", &url));
        }
        self.person.post("/token", &form)
    }

    fn tokens(&mut self) -> Value {
        let code = self.code();
        body(&self.exchange(&code, VERIFIER))
    }

    fn refresh(&mut self, token: &str) -> Answer {
        let client = self.client.clone();
        let form = [("grant_type", "refresh_token"), ("client_id", &*client), ("refresh_token", token)];
        self.person.post("/token", &form)
    }
}

fn is(what: &str, found: impl std::fmt::Debug, is_so: bool) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(format!("{what}: {found:?}")) }
}

fn metadata(trial: &mut Trial<'_>) -> Result<(), String> {
    let (issuer, metadata) = (trial.issuer(), trial.document("/.well-known/oauth-authorization-server"));
    is("the issuer", &metadata, metadata["issuer"] == issuer)?;
    for name in [
        "authorization_endpoint",
        "token_endpoint",
        "registration_endpoint",
        "revocation_endpoint",
        "jwks_uri",
    ] {
        let endpoint = metadata[name].as_str().unwrap_or_default();
        is(name, &metadata, endpoint.starts_with(&format!("{issuer}/oauth/")))?;
    }
    for (name, value) in [
        ("response_types_supported", "code"),
        ("grant_types_supported", "authorization_code"),
        ("grant_types_supported", "refresh_token"),
        ("token_endpoint_auth_methods_supported", "none"),
        ("code_challenge_methods_supported", "S256"),
    ] {
        let has = metadata[name].as_array().is_some_and(|all| all.contains(&value.into()));
        is(name, &metadata, has)?;
    }
    let plain = metadata["code_challenge_methods_supported"].to_string().contains("plain");
    is("plain", &metadata, !plain)
}

fn issuer_of_answers(trial: &mut Trial<'_>) -> Result<(), String> {
    let metadata = trial.document("/.well-known/oauth-authorization-server");
    is("iss", &metadata, metadata["authorization_response_iss_parameter_supported"] == true)
}

fn documents(trial: &mut Trial<'_>) -> Result<(), String> {
    let metadata = trial.document("/.well-known/oauth-authorization-server");
    is("documents", &metadata, metadata["client_id_metadata_document_supported"] == true)
}

fn public_client(trial: &mut Trial<'_>) -> Result<(), String> {
    let code = trial.code();
    let answer = trial.exchange(&code, VERIFIER);
    is("no-store", &answer, answer.header("cache-control") == Some("no-store"))?;
    let tokens = body(&answer);
    is(
        "the type",
        &tokens,
        tokens["token_type"].as_str().unwrap_or_default().eq_ignore_ascii_case("bearer"),
    )?;
    is("the lifetime", &tokens, tokens["expires_in"].as_i64() > Some(0))?;
    is("the scope", &tokens, tokens["scope"] == "tools:read")?;
    let called = call(trial.running, &tokens);
    is("the call", &called, called.status == 200)
}

fn one_answer(trial: &mut Trial<'_>) -> Result<(), String> {
    let (query, issuer) = (trial.query(&[]), trial.issuer());
    let answer = trial.answer(&query);
    let values = |name: &str| {
        answer.iter().filter(|(own, _)| own == name).map(|(_, value)| &**value).collect::<Vec<_>>()
    };
    let is_right = values("state") == ["s"] && values("iss") == [&*issuer] && values("code").len() == 1;
    is("the answer", &answer, is_right && values("error").is_empty())
}

fn one_error(trial: &mut Trial<'_>) -> Result<(), String> {
    let (query, issuer) = (trial.query(&[("prompt", "none")]), trial.issuer());
    let answer = trial.answer(&query);
    let values = |name: &str| {
        answer.iter().filter(|(own, _)| own == name).map(|(_, value)| &**value).collect::<Vec<_>>()
    };
    let is_right = values("state") == ["s"] && values("iss") == [&*issuer] && values("error").len() == 1;
    is("the error", &answer, is_right && values("code").is_empty())
}

fn pkce(trial: &mut Trial<'_>) -> Result<(), String> {
    for more in [
        &[("code_challenge", ""), ("code_challenge_method", "")][..],
        &[("code_challenge_method", "plain")],
        &[("code_challenge_method", "S512")],
        &[("code_challenge_method", "")],
    ] {
        let query = trial.query(more);
        let answer = trial.answer(&query);
        let error = answer.iter().find(|(name, _)| name == "error").map(|(_, value)| &**value);
        is("the request", (more, &answer), error == Some("invalid_request"))?;
    }
    let code = trial.code();
    let answer = trial.exchange(&code, "a-different-verifier-that-is-at-least-43-characters");
    is("the verifier", &answer, answer.status == 400 && body(&answer)["error"] == "invalid_grant")
}

fn one_use(trial: &mut Trial<'_>) -> Result<(), String> {
    let code = trial.code();
    let first = trial.exchange(&code, VERIFIER);
    is("the first use", &first, first.status == 200)?;
    let second = trial.exchange(&code, VERIFIER);
    is("the second use", &second, body(&second)["error"] == "invalid_grant")
}

fn rotation(trial: &mut Trial<'_>) -> Result<(), String> {
    let tokens = trial.tokens();
    let first = tokens["refresh_token"].as_str().ok_or("no refresh token")?.to_owned();
    let next = body(&trial.refresh(&first));
    let second = next["refresh_token"].as_str().unwrap_or_default().to_owned();
    is("the successor", &next, !second.is_empty() && second != first)?;
    let repeated = body(&trial.refresh(&first));
    is("a repetition", &repeated, repeated["refresh_token"] == second)?;
    let called = call(trial.running, &next);
    is("the call", &called, called.status == 200)
}

fn revocation(trial: &mut Trial<'_>) -> Result<(), String> {
    let tokens = trial.tokens();
    let token = tokens["refresh_token"].as_str().ok_or("no refresh token")?.to_owned();
    let client = trial.client.clone();
    for token in ["unknown", &token] {
        let answer = trial.person.post("/oauth/revoke", &[("token", token), ("client_id", &client)]);
        is("the revocation", &answer, answer.status == 200)?;
    }
    let answer = trial.refresh(&token);
    is("the refresh", &answer, body(&answer)["error"] == "invalid_grant")
}

fn resource_metadata(trial: &mut Trial<'_>) -> Result<(), String> {
    let metadata = trial.document("/.well-known/oauth-protected-resource/mcp");
    is("the resource", &metadata, metadata["resource"] == trial.running.url())?;
    is("the servers", &metadata, metadata["authorization_servers"] == json!([trial.issuer()]))
}

fn challenge(trial: &mut Trial<'_>) -> Result<(), String> {
    let place = format!("resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"", trial.issuer());
    let request = Request::stateless(&trial.running.address(), "/mcp", "tools/list", json!({}));
    for (request, has_error) in [(request.clone(), false), (request.bearer("wrong"), true)] {
        let answer = request.send();
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        is("the status", &answer, answer.status == 401)?;
        is("the place", challenge, challenge.starts_with("Bearer ") && challenge.contains(&place))?;
        is("the error", challenge, challenge.contains("error=\"invalid_token\"") == has_error)?;
    }
    Ok(())
}

fn audience(trial: &mut Trial<'_>) -> Result<(), String> {
    let tokens = trial.tokens();
    let access = tokens["access_token"].as_str().ok_or("no token")?;
    let claims = URL_SAFE_NO_PAD.decode(access.split('.').nth(1).unwrap_or_default()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    is("the audience", &claims, claims["aud"] == trial.running.url())?;
    let query = trial.query(&[("resource", "https://other.example.com/mcp")]);
    let answer = trial.answer(&query);
    let error = answer.iter().find(|(name, _)| name == "error").map(|(_, value)| &**value);
    is("another resource", &answer, error == Some("invalid_target"))
}

fn offline_access(trial: &mut Trial<'_>) -> Result<(), String> {
    let metadata = trial.document("/.well-known/oauth-authorization-server");
    is("the server", &metadata, metadata["scopes_supported"].to_string().contains("offline_access"))?;
    let resource = trial.document("/.well-known/oauth-protected-resource/mcp");
    is("the resource", &resource, !resource.to_string().contains("offline_access"))?;
    let answer = Request::stateless(&trial.running.address(), "/mcp", "tools/list", json!({})).send();
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    is("the challenge", challenge, !challenge.contains("offline_access"))
}
