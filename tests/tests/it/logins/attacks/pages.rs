//! Attacks on the person at the pages: forms of other sites, frames, sessions of others, addresses that lead away.

use super::*;

#[test]
fn forms_of_other_sites_and_other_browsers_do_nothing() {
    let setup = setup("");
    succeed(&setup, &["user", "add", "eve", "--accounts", "--password-stdin"], PASSWORD);
    let running = setup.serve();
    let mut attacks = Attacks::default();
    let client = register(&running, "Desk", REDIRECT);
    let asked = Asked::of(&running, &client);
    let query = asked.query();
    let (mut ada, mut eve) = (Person::new(&running), Person::new(&running));
    assert_eq!(eve.log_in("eve").header("location"), Some("/account"));
    assert_eq!(ada.log_in("ada").header("location"), Some("/account"));
    let of_eve = field(&eve.get(&asked.target()), "form");
    let page = ada.get(&asked.target());
    let own = field(&page, "form");
    let other = asked.set("state", "other").query();
    let wider = asked.set("scope", "tools:read").query();
    let logout = field(&ada.get("/logout"), "form");
    for (what, form) in [
        ("no code of the form", vec![("request", &*query), ("decision", "allow")]),
        ("that of another person", vec![("form", &*of_eve), ("request", &*query), ("decision", "allow")]),
        ("that of another form", vec![("form", &*logout), ("request", &*query), ("decision", "allow")]),
        ("that of another request", vec![("form", &*own), ("request", &*other), ("decision", "allow")]),
        ("that of fewer scopes", vec![("form", &*own), ("request", &*wider), ("decision", "allow")]),
        ("no request", vec![("form", &*own), ("decision", "allow")]),
        (
            "two decisions",
            vec![("form", &*own), ("request", &*query), ("decision", "deny"), ("decision", "allow")],
        ),
    ] {
        let answer = ada.post("/oauth/consent", &form);
        attacks.note(format!("consent: {what}"), answer.header("location").is_none(), &answer);
    }
    let mut stranger = Person::new(&running);
    let form = [("form", &*own), ("request", &*query), ("decision", "allow")];
    let answer = stranger.post("/oauth/consent", &form);
    attacks.note("consent without a session", answer.header("location").is_none(), &answer);
    for decision in ["deny", "", "ALLOW", "allow "] {
        let answer =
            ada.post("/oauth/consent", &[("form", &*own), ("request", &*query), ("decision", decision)]);
        let place = answer.header("location").unwrap_or_default();
        attacks.note(format!("decision {decision:?}"), place.contains("error=access_denied"), &answer);
    }
    let answer = ada.get(&format!("/oauth/consent?form={own}&decision=allow"));
    attacks.note("consent by a link", answer.status == 405, &answer);
    // A login of the attacker in the browser of the victim.
    let page = eve.get("/login");
    let form = [("form", &*field(&page, "form")), ("next", ""), ("name", "eve"), ("password", PASSWORD)];
    for cookies in [true, false] {
        let mut victim = Person::new(&running);
        if cookies {
            victim.get("/login");
        }
        let answer = victim.post("/login", &form);
        let is_refused =
            answer.header("location").is_none() && !victim.cookies.contains_key(&session_cookie(&running));
        attacks.note(format!("a login of somebody else, cookies: {cookies}"), is_refused, &answer);
    }
    // The end of somebody's logins.
    let answer = ada.post("/logout", &[("form", &*own), ("everywhere", "yes")]);
    attacks.note("a logout by another form", ada.get("/account").status == 200, &answer);
    let answer = ada.post("/account", &[("form", &*field(&eve.get("/account"), "form")), ("grant", "00")]);
    attacks.note("the account of somebody else", answer.header("location").is_none(), &answer);
    // The counterpart.
    let answer = ada.post("/oauth/consent", &[("form", &*own), ("request", &*query), ("decision", "allow")]);
    assert!(answer.header("location").unwrap().starts_with(&format!("{REDIRECT}?code=")));
    attacks.conclude(17, &running);
}

#[test]
fn the_access_of_others_is_neither_seen_nor_ended() {
    let setup = setup("");
    succeed(&setup, &["user", "add", "eve", "--accounts", "--password-stdin"], PASSWORD);
    let running = setup.serve();
    let (mut ada, mut eve, mut attacks) = (Person::new(&running), Person::new(&running), Attacks::default());
    let (_, tokens) = ada.let_in();
    let page = ada.get("/account");
    let grant = field(&page, "grant");
    eve.log_in("eve");
    let seen = eve.get("/account");
    attacks.note("the page of another account", !seen.text().contains(&grant), &seen);
    // She has a form with a genuine code of her own, and the id of a grant of somebody else.
    let own = field(&eve.get("/account"), "form");
    for id in [&*grant, "", "00", &"f".repeat(32), "../../x"] {
        let answer = eve.post("/account", &[("form", &own), ("grant", id)]);
        attacks.note(format!("the grant {id:?}"), call(&running, &tokens).status == 200, &answer);
    }
    let form = [("form", &*field(&ada.get("/account"), "form")), ("grant", &*grant)];
    assert_eq!(ada.post("/account", &form).header("location"), Some("/account"));
    let ended = || (call(&running, &tokens).status == 401).then(String::new);
    await_some("the end of the own one", ended);
    attacks.conclude(6, &running);
}

#[test]
fn pages_are_in_no_frame_run_no_script_and_lead_nowhere_else() {
    let running = setup("").serve();
    let (mut person, mut attacks) = (Person::new(&running), Attacks::default());
    let client = register(&running, "Desk", REDIRECT);
    let asked = Asked::of(&running, &client);
    let mut pages = vec![
        ("login", person.get("/login")),
        ("login of a client", person.get(&asked.target())),
        ("refusal", person.get("/oauth/authorize")),
        ("logout", person.get("/logout")),
    ];
    person.log_in("ada");
    pages.push(("consent", person.get(&asked.target())));
    pages.push(("account", person.get("/account")));
    for (what, page) in pages {
        let policy = page.header("content-security-policy").unwrap_or_default().to_owned();
        let is_closed = policy.contains("default-src 'none'")
            && policy.contains("frame-ancestors 'none'")
            && policy.contains("base-uri 'none'")
            && !policy.contains("unsafe")
            && page.header("x-frame-options") == Some("DENY")
            && page.header("x-content-type-options") == Some("nosniff")
            && page.header("referrer-policy") == Some("no-referrer")
            && page.header("cache-control") == Some("no-store");
        attacks.note(format!("headers of the page: {what}"), is_closed, &page);
        let text = page.text();
        let is_plain = !text.contains("<script") && !text.contains(" src=") && !text.contains("onclick");
        attacks.note(format!("scripts of the page: {what}"), is_plain, &page);
    }
    // Where a login leads, it leads to a page of this server.
    for next in [
        "https://evil.example.com/",
        "//evil.example.com/",
        "/\\evil.example.com",
        "\r\nX-Evil: 1",
        "javascript:x",
    ] {
        let mut victim = Person::new(&running);
        let page = victim.get(&format!("/oauth/authorize?{next}&next={next}").replace("\r\n", "%0d%0a"));
        attacks.note(format!("a login page for {next:?}"), page.header("location").is_none(), &page);
        let page = victim.get("/login");
        let form =
            [("form", &*field(&page, "form")), ("next", next), ("name", "ada"), ("password", PASSWORD)];
        let answer = victim.post("/login", &form);
        // The code of the form is for another `next`.
        attacks.note(format!("a login that leads to {next:?}"), answer.header("location").is_none(), &answer);
    }
    for target in
        ["/login?next=https://evil.example.com/", "/logout?next=//evil.example.com", "/account?x=//evil"]
    {
        let answer = person.get(target);
        let place = answer.header("location").unwrap_or("/");
        attacks.note(target, place.starts_with('/') && !place.starts_with("//"), &answer);
    }
    attacks.conclude(25, &running);
}

#[test]
fn a_session_is_new_after_a_login_and_two_tabs_do_not_mix() {
    let running = setup("").serve();
    let (mut attacks, session) = (Attacks::default(), session_cookie(&running));
    // A session that the attacker has put into the browser.
    let mut person = Person::new(&running);
    for fixed in ["x", &"a".repeat(43)] {
        person.cookies.clear();
        person.cookies.insert(session.clone(), fixed.to_owned());
        let answer = person.log_in("ada");
        attacks.note("a fixed session", person.cookies[&session] != fixed, &answer);
    }
    // Two logins give two sessions, and the end of one is not that of the other.
    let first = person.cookies.clone();
    let mut again = Person::new(&running);
    again.log_in("ada");
    assert_ne!(first[&session], again.cookies[&session]);
    // Two cookies of the same name are none.
    let two = format!("{session}={}; {session}=x", first[&session]);
    let answer = Request::new("GET", &running.address(), "/account").with("Cookie", &two).send();
    attacks.note("two sessions", answer.header("location") == Some("/login"), &answer);
    // Two tabs with requests of two clients.
    let [desk, phone] = ["Desk", "Phone"].map(|name| register(&running, name, REDIRECT));
    let asked = [&desk, &phone].map(|client| Asked::of(&running, client).set("state", client));
    let pages = [person.get(&asked[0].target()), person.get(&asked[1].target())];
    for (mine, others) in [(0, 1), (1, 0)] {
        let query = asked[others].query();
        let form = [("form", &*field(&pages[mine], "form")), ("request", &*query), ("decision", "allow")];
        let answer = person.post("/oauth/consent", &form);
        attacks.note("the consent of another tab", answer.header("location").is_none(), &answer);
    }
    for (client, asked) in [(&desk, &asked[0]), (&phone, &asked[1])] {
        let code = person.code(asked);
        for wrong in [&desk, &phone].into_iter().filter(|other| *other != client) {
            let answer = person.post("/oauth/token", &exchange_form(wrong, &code));
            attacks.note("the code of another tab", answer.status == 400, &answer);
        }
        assert_eq!(person.post("/oauth/token", &exchange_form(client, &code)).status, 200);
    }
    // Names of hosts that are not the own one.
    for host in ["evil.example.com", "127.0.0.1.evil.example.com"] {
        for target in ["/login", "/.well-known/oauth-authorization-server", &asked[0].target()] {
            let answer = Request::new("GET", &running.address(), target).set("Host", host).send();
            let is_refused = answer.status >= 400 && !answer.text().contains(host);
            attacks.note(format!("{target} at {host}"), is_refused, &answer);
        }
    }
    attacks.conclude(13, &running);
}
