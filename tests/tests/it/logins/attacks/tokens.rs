//! Attacks with codes and tokens.

use super::*;

/// True if a program gets this error, and no token.
fn is_error(answer: &Answer, error: &str) -> bool {
    answer.status == 400 && body(answer)["error"] == error && !answer.text().contains("access_token")
}

fn str_of<'a>(tokens: &'a Value, name: &str) -> &'a str {
    tokens[name].as_str().unwrap_or_else(|| panic!("{tokens}"))
}

#[test]
fn a_code_is_for_its_client_redirect_and_verifier_and_once() {
    let running = setup("").serve();
    let (mut person, mut attacks) = (Person::new(&running), Attacks::default());
    let client = register(&running, "Desk", REDIRECT);
    let other = register(&running, "Other", REDIRECT);
    person.log_in("ada");
    let code = person.code(&Asked::of(&running, &client));
    let good = exchange_form(&client, &code);
    let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
    let (long, shortened) = ("a".repeat(129), &code[..code.len() - 1]);
    for (what, form, error) in [
        ("another client", with(&good, "client_id", &other), "invalid_grant"),
        ("an unknown client", with(&good, "client_id", "nobody"), "invalid_grant"),
        ("no client", with(&good, "client_id", ""), "invalid_client"),
        ("another redirect", with(&good, "redirect_uri", "http://127.0.0.1:4711/other"), "invalid_grant"),
        ("another port", with(&good, "redirect_uri", "http://127.0.0.1:4712/cb"), "invalid_grant"),
        ("no redirect", with(&good, "redirect_uri", ""), "invalid_request"),
        ("no verifier", with(&good, "code_verifier", ""), "invalid_request"),
        ("a wrong verifier", with(&good, "code_verifier", &VERIFIER.replace('0', "1")), "invalid_grant"),
        ("the challenge", with(&good, "code_verifier", &challenge), "invalid_grant"),
        ("a short verifier", with(&good, "code_verifier", "short"), "invalid_grant"),
        ("a long verifier", with(&good, "code_verifier", &long), "invalid_grant"),
        ("another resource", with(&good, "resource", "https://other.example.com/mcp"), "invalid_target"),
        ("a part of the code", with(&good, "code", shortened), "invalid_grant"),
        ("no code", with(&good, "code", ""), "invalid_request"),
        (
            "a code as a refresh token",
            vec![("grant_type", "refresh_token"), ("client_id", &*client), ("refresh_token", &*code)],
            "invalid_grant",
        ),
        ("no grant", with(&good, "grant_type", ""), "invalid_request"),
        ("a password", with(&good, "grant_type", "password"), "unsupported_grant_type"),
        ("client credentials", with(&good, "grant_type", "client_credentials"), "unsupported_grant_type"),
        (
            "an assertion",
            with(&good, "grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            "unsupported_grant_type",
        ),
        (
            "an exchange",
            with(&good, "grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            "unsupported_grant_type",
        ),
        ("two codes", [good.clone(), vec![("code", "other")]].concat(), "invalid_request"),
        ("two clients", [good.clone(), vec![("client_id", &*other)]].concat(), "invalid_request"),
    ] {
        let answer = person.post("/oauth/token", &form);
        attacks.note(what, is_error(&answer, error), &answer);
    }
    let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&good).finish();
    let get = person.get(&format!("/oauth/token?{text}"));
    attacks.note("a code in a URL", get.status == 405, &get);
    let json = json!({ "grant_type": "authorization_code", "code": code }).to_string();
    let json = Request::post(&running.address(), "/oauth/token", json).send();
    attacks.note("a code in JSON", is_error(&json, "invalid_request"), &json);
    // None of that has used it up.
    let tokens = person.post("/oauth/token", &good);
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    assert_eq!(tokens.header("cache-control"), Some("no-store"));
    let tokens = body(&tokens);
    assert_eq!(call(&running, &tokens).status, 200);
    let again = person.post("/oauth/token", &good);
    attacks.note("a second use", is_error(&again, "invalid_grant"), &again);
    let ended = || (call(&running, &tokens).status == 401).then(String::new);
    await_some("the end of the login whose code was used twice", ended);
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", &client),
        ("refresh_token", str_of(&tokens, "refresh_token")),
    ];
    let refreshed = person.post("/oauth/token", &form);
    attacks.note(
        "the tokens of a code that was used twice",
        is_error(&refreshed, "invalid_grant"),
        &refreshed,
    );
    assert!(running.log().contains("code-reused"));
    attacks.conclude(26, &running);
}

#[test]
fn a_refresh_token_is_for_its_client_and_ends_its_login_when_it_comes_back() {
    let running = setup("").serve();
    let (mut person, mut attacks) = (Person::new(&running), Attacks::default());
    let (client, tokens) = person.let_in();
    let other = register(&running, "Other", REDIRECT);
    let token = str_of(&tokens, "refresh_token");
    let access = str_of(&tokens, "access_token");
    let good = vec![("grant_type", "refresh_token"), ("client_id", &*client), ("refresh_token", token)];
    let replaced = |at: usize| {
        let old = token.as_bytes()[at];
        let new = if old == b'A' { 'B' } else { 'A' };
        format!("{}{new}{}", &token[..at], &token[at + 1..])
    };
    let (middle, last, first) = (replaced(token.len() / 2), replaced(token.len() - 1), replaced(5));
    let doubled = format!("{token}{token}");
    for (what, form, error) in [
        ("another client", with(&good, "client_id", &other), "invalid_grant"),
        ("no client", with(&good, "client_id", ""), "invalid_client"),
        ("another grant", with(&good, "refresh_token", &first), "invalid_grant"),
        ("another counter", with(&good, "refresh_token", &middle), "invalid_grant"),
        ("another code", with(&good, "refresh_token", &last), "invalid_grant"),
        ("a part", with(&good, "refresh_token", &token[..token.len() - 4]), "invalid_grant"),
        ("twice", with(&good, "refresh_token", &doubled), "invalid_grant"),
        ("an access token", with(&good, "refresh_token", access), "invalid_grant"),
        ("no token", with(&good, "refresh_token", ""), "invalid_request"),
        ("more scopes", with(&good, "scope", "tools:read"), "invalid_scope"),
        ("another resource", with(&good, "resource", "https://other.example.com/mcp"), "invalid_target"),
        ("two tokens", [good.clone(), vec![("refresh_token", token)]].concat(), "invalid_request"),
    ] {
        let answer = person.post("/oauth/token", &form);
        attacks.note(what, is_error(&answer, error), &answer);
    }
    // Another client ends nothing.
    for token in [token, access] {
        let answer = person.post("/oauth/revoke", &[("token", token), ("client_id", &other)]);
        attacks.note("a revocation by another client", call(&running, &tokens).status == 200, &answer);
    }
    // A repetition gets the same successor; a token from before the last one ends the login.
    let first = body(&person.post("/oauth/token", &good));
    assert_eq!(body(&person.post("/oauth/token", &good))["refresh_token"], first["refresh_token"]);
    let second = person.post("/oauth/token", &with(&good, "refresh_token", str_of(&first, "refresh_token")));
    let second = body(&second);
    assert_eq!(call(&running, &second).status, 200);
    let reused = person.post("/oauth/token", &good);
    attacks.note("an older token", is_error(&reused, "invalid_grant"), &reused);
    let ended = || (call(&running, &second).status == 401).then(String::new);
    await_some("the end of the login whose token came back", ended);
    let last = person.post("/oauth/token", &with(&good, "refresh_token", str_of(&second, "refresh_token")));
    attacks.note("the newest token after that", is_error(&last, "invalid_grant"), &last);
    assert!(running.log().contains("refresh-reused"));
    attacks.conclude(16, &running);
}

#[test]
fn nothing_but_an_access_token_lets_anybody_call() {
    let setup = setup("");
    // With pauses, the last attacks would be refused whatever they are.
    let config = setup.dir().join("witgate.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[lockout]\n", "")).unwrap();
    let running = setup.serve();
    let (mut person, mut attacks) = (Person::new(&running), Attacks::default());
    let (client, tokens) = person.let_in();
    let access = str_of(&tokens, "access_token").to_owned();
    let parts: Vec<_> = access.split('.').collect();
    let encoded = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
    let with_claim = |name: &str, value: Value| {
        let mut changed = claims.clone();
        changed[name] = value;
        format!("{}.{}.{}", parts[0], encoded(changed), parts[2])
    };
    let with_header = |name: &str, value: Value| {
        let mut changed = header.clone();
        changed[name] = value;
        format!("{}.{}.{}", encoded(changed), parts[1], parts[2])
    };
    let session = session_cookie(&running);
    let cookie = person.cookies[&session].clone();
    let code = person.code(&Asked::of(&running, &client));
    for (what, token) in [
        ("a refresh token", str_of(&tokens, "refresh_token").to_owned()),
        ("a session", cookie.clone()),
        ("a code", code),
        ("a client", client.clone()),
        ("another role", with_claim("roles", json!(["admin"]))),
        ("another user", with_claim("sub", "root".into())),
        ("another audience", with_claim("aud", "https://other.example.com".into())),
        ("another end", with_claim("exp", 9_999_999_999_u64.into())),
        ("no algorithm", with_header("alg", "none".into())),
        (
            "no algorithm and no signature",
            format!("{}.{}.", encoded(json!({ "alg": "none", "typ": "at+jwt" })), parts[1]),
        ),
        ("a shared secret", with_header("alg", "HS256".into())),
        ("another type", with_header("typ", "JWT".into())),
        ("another key", with_header("kid", "other".into())),
        ("a key in the header", with_header("jwk", json!({ "kty": "EC" }))),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("a part", format!("{}.{}", parts[0], parts[1])),
        ("a long signature", format!("{access}AAAA")),
    ] {
        let answer = call(&running, &json!({ "access_token": token }));
        attacks.note(what, answer.status == 401, &answer);
    }
    let request = Request::stateless(&running.address(), "/mcp", "tools/list", json!({}));
    let answer = request.with("Cookie", &format!("{session}={cookie}")).send();
    attacks.note("a cookie", answer.status == 401, &answer);
    assert_eq!(call(&running, &tokens).status, 200, "the counterpart");
    attacks.conclude(18, &running);
}
