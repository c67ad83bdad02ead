//! Attacks by clients: requests for access, registrations, and documents.

use super::*;

#[test]
fn a_request_that_is_not_of_its_client_gets_a_page_and_no_redirect() {
    let running = setup("").serve();
    let (mut person, mut attacks) = (Person::new(&running), Attacks::default());
    let client = register(&running, "Desk", REDIRECT);
    let asked = Asked::of(&running, &client);
    assert!(person.get(&asked.target()).text().contains("name=\"password\""), "the counterpart");
    for redirect in [
        "http://127.0.0.1:4711/other",
        "http://127.0.0.1:4711/cb/",
        "http://127.0.0.1:4711/cb/more",
        "http://127.0.0.1:4711/cb/../evil",
        "http://127.0.0.1:4711/CB",
        "http://127.0.0.1:4711/%63b",
        "http://127.0.0.1:4711/cb?more=1",
        "http://127.0.0.1:4711/cb#fragment",
        "http://127.0.0.1:4711@evil.example.com/cb",
        "http://user@127.0.0.1:4711/cb",
        "http://127.0.0.1.evil.example.com/cb",
        "http://evil.example.com/cb",
        "http://localhost:4711/cb",
        "http://[::1]:4711/cb",
        "http://127.1:4711/cb",
        "http://2130706433:4711/cb",
        "https://127.0.0.1:4711/cb",
        "//127.0.0.1:4711/cb",
        "/cb",
        "http:\\\\127.0.0.1:4711\\cb",
        "http://127.0.0.1:4711/cb\r\nSet-Cookie: a=b",
        "http://127.0.0.1:4711/cb\0",
        " http://127.0.0.1:4711/cb",
        "javascript:alert(1)//127.0.0.1:4711/cb",
        "data:text/html,x",
        "file:///cb",
        "",
    ] {
        let answer = person.get(&asked.set("redirect_uri", redirect).target());
        attacks.note(format!("redirect {redirect:?}"), is_page(&answer), &answer);
    }
    let other = register(&running, "Other", "http://127.0.0.1:4711/other");
    let mut forged = client.clone();
    let last = forged.pop().unwrap();
    let shortened = forged.clone();
    forged.push(if last == 'A' { 'B' } else { 'A' });
    for id in [&*other, &*forged, &*shortened, "", "wgc_", "wgc_AAAA", "desk", "\0", &client.to_uppercase()] {
        let answer = person.get(&asked.set("client_id", id).target());
        attacks.note(format!("client {id:?}"), is_page(&answer), &answer);
    }
    let long = "x".repeat(9_000);
    for (what, asked) in [
        ("two clients", asked.and("client_id", &other)),
        ("two redirects", asked.and("redirect_uri", "https://evil.example.com/")),
        ("two states", asked.and("state", "other")),
        ("two challenges", asked.and("code_challenge", "x")),
        ("a long query", asked.set("state", &long)),
    ] {
        let answer = person.get(&asked.target());
        attacks.note(what, is_page(&answer), &answer);
    }
    attacks.conclude(40, &running);
}

#[test]
fn a_request_that_asks_for_less_protection_is_refused_at_the_client() {
    let running = setup("").serve();
    let (mut person, mut attacks) = (Person::new(&running), Attacks::default());
    let client = register(&running, "Desk", REDIRECT);
    let asked = Asked::of(&running, &client);
    let url = running.url();
    for (what, asked, error) in [
        ("no PKCE", asked.without("code_challenge").without("code_challenge_method"), "invalid_request"),
        ("PKCE plain", asked.set("code_challenge_method", "plain"), "invalid_request"),
        ("PKCE without a method", asked.without("code_challenge_method"), "invalid_request"),
        ("PKCE s256", asked.set("code_challenge_method", "s256"), "invalid_request"),
        ("a short challenge", asked.set("code_challenge", "abc"), "invalid_request"),
        ("a long challenge", asked.set("code_challenge", &"a".repeat(44)), "invalid_request"),
        (
            "a challenge with padding",
            asked.set("code_challenge", &format!("{}=", "a".repeat(42))),
            "invalid_request",
        ),
        ("the implicit grant", asked.set("response_type", "token"), "unsupported_response_type"),
        ("the hybrid grant", asked.set("response_type", "code id_token"), "unsupported_response_type"),
        ("no grant", asked.without("response_type"), "invalid_request"),
        ("an answer in the fragment", asked.set("response_mode", "fragment"), "invalid_request"),
        ("an answer by a form", asked.set("response_mode", "form_post"), "invalid_request"),
        ("a request object", asked.set("request", "e30.e30."), "request_not_supported"),
        (
            "a request by reference",
            asked.set("request_uri", "http://169.254.169.254/"),
            "request_uri_not_supported",
        ),
        ("another resource", asked.set("resource", "https://other.example.com/mcp"), "invalid_target"),
        ("a resource beside", asked.set("resource", &format!("{url}x")), "invalid_target"),
        ("a resource below", asked.set("resource", &format!("{url}/../admin")), "invalid_target"),
        (
            "a resource with a user",
            asked.set("resource", &url.replace("http://", "http://a@")),
            "invalid_target",
        ),
        ("a resource with a fragment", asked.set("resource", &format!("{url}#x")), "invalid_target"),
        ("no page", asked.set("prompt", "none"), "interaction_required"),
    ] {
        let answer = person.get(&asked.target());
        let place = answer.header("location").unwrap_or_default();
        let begins = place.starts_with(&format!("{REDIRECT}?error={error}&"));
        // The client learns from whom the error is, and to which request it belongs.
        let issuer = format!("http://{}", running.address());
        let issuer: String = url::form_urlencoded::byte_serialize(issuer.as_bytes()).collect();
        let is_whole = place.ends_with(&format!("&state=own&iss={issuer}"));
        attacks.note(what, begins && is_whole && !place.contains("code="), &answer);
    }
    // A state goes back as it was, and adds no header.
    let answer = person.get(&asked.set("prompt", "none").set("state", "a\r\nX-Evil: 1&code=evil").target());
    let place = answer.header("location").unwrap();
    let state = url::Url::parse(place).unwrap();
    let state = state.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let is_same = state == "a\r\nX-Evil: 1&code=evil" && answer.header("x-evil").is_none();
    attacks.note("a state with a header", is_same && !place.contains("&code="), &answer);
    attacks.conclude(21, &running);
}

#[test]
fn documents_of_clients_are_fetched_from_public_places_only() {
    let running = setup("").serve();
    let (mut person, mut attacks) = (Person::new(&running), Attacks::default());
    let asked = Asked::of(&running, "");
    let own = running.address();
    for id in [
        "http://client.example.com/a",
        "https://client.example.com",
        "https://client.example.com/",
        "https://client.example.com:8443/a",
        "https://user@client.example.com/a",
        "https://client.example.com/a#b",
        "https://client.example.com/a?b",
        "https://client.example.com/a/../b",
        "https://client.example.com/./a",
        "https://CLIENT.example.com/a",
        "https://127.0.0.1/a",
        "https://127.1/a",
        "https://2130706433/a",
        "https://0x7f000001/a",
        "https://[::1]/a",
        "https://[::ffff:127.0.0.1]/a",
        "https://0.0.0.0/a",
        "https://10.0.0.1/a",
        "https://192.168.1.1/a",
        "https://169.254.169.254/latest/meta-data",
        "https://[fd00::1]/a",
        "https://localhost/a",
        "https://localhost./a",
        "https://metadata.google.internal./a",
        "https://intranet/a",
        "https://a\u{2024}example.com/a",
        "file:///etc/passwd",
        "gopher://127.0.0.1/a",
        "ftp://client.example.com/a",
        &format!("https://{own}/a"),
        &format!("https://client.example.com/{}", "a".repeat(600)),
    ] {
        let begin = Instant::now();
        let answer = person.get(&asked.set("client_id", id).target());
        let is_quick = begin.elapsed() < Duration::from_secs(5);
        attacks.note(format!("document {id:?}"), is_page(&answer) && is_quick, &answer);
    }
    attacks.conclude(31, &running);
}

#[test]
fn registrations_write_nothing_and_give_nothing_that_is_dangerous() {
    let running = setup("").serve();
    let mut attacks = Attacks::default();
    let (address, folder) = (running.address(), running.setup().dir().to_owned());
    let send = |metadata: &str| Request::post(&address, "/oauth/register", metadata).send();
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(10_000));
    let many = json!({ "redirect_uris": vec![REDIRECT; 10_000] }).to_string();
    for metadata in [
        "",
        "null",
        "[]",
        "{}",
        "{\"redirect_uris\":[]}",
        "{\"redirect_uris\":\"http://127.0.0.1/cb\"}",
        "{\"redirect_uris\":[\"javascript:alert(1)\"]}",
        "{\"redirect_uris\":[\"http://evil.example.com/\"]}",
        "{\"redirect_uris\":[\"https://a@b.example.com/\"]}",
        "{\"redirect_uris\":[1]}",
        &deep,
        &many,
    ] {
        let answer = send(metadata);
        let what = metadata.get(..60).unwrap_or(metadata);
        attacks.note(format!("registration {what}"), answer.status >= 400 && answer.status != 500, &answer);
    }
    let files = || {
        let names = ["accounts.db", "accounts.db-wal", "witgate.state/accounts/ended.jsonl"];
        names.map(|name| std::fs::metadata(folder.join(name)).map(|found| found.len()).unwrap_or_default())
    };
    let before = files();
    let begin = Instant::now();
    for number in 0..2_000 {
        let name = format!("Client {number}");
        register(&running, &name, REDIRECT);
    }
    eprintln!("2000 registrations in {:?}", begin.elapsed());
    // The running process notes once that it has taken the events of the commands over.
    let grown = files().iter().sum::<u64>() - before.iter().sum::<u64>();
    assert!(grown < 32 << 10, "registrations write nothing, and {grown} bytes were written");
    // Nothing of a name is markup, and no name hides what it says.
    let mut person = Person::new(&running);
    person.log_in("ada");
    for name in
        ["<script>alert(1)</script>", "\" onmouseover=\"x", "A\u{202e}evil", "x\u{0}y", "</title><h1>"]
    {
        let client = register(&running, name, REDIRECT);
        let page = person.get(&Asked::of(&running, &client).target());
        let text = page.text();
        let is_escaped =
            !text.contains("<script") && !text.contains("\" onmouseover") && !text.contains('\u{202e}');
        attacks.note(
            format!("name {name:?}"),
            page.status == 200 && is_escaped && !text.contains("<h1><"),
            &page,
        );
    }
    attacks.conclude(17, &running);
}
