//! Accounts: one-time links, second factors, and the pages for them, with the real programs.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use witgate_tests::clients::{Clients, Scenario, Session};
use witgate_tests::gateway::Setup;
use witgate_tests::oauth::{browser, directory};
use witgate_tests::wire::Answer;

use super::logins::{PASSWORD, Person, field, setup_with};

const CHOSEN: &str = "a small planet of tea";

/// Runs a command. Returns its answer and its messages.
fn run(setup: &Setup, arguments: &[&str], input: &str) -> (String, String) {
    let mut command = setup.command(arguments);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    (String::from_utf8_lossy(&output.stdout).into_owned(), said)
}

fn submit(person: &mut Person<'_>, page: &Answer, place: &str, fields: &[(&str, &str)]) -> Answer {
    let token = field(page, "form");
    let mut form = vec![("form", &*token)];
    form.extend(fields);
    person.post(place, &form)
}

/// The code of the app with this key.
fn code(key: &str) -> String {
    let key = data_encoding::BASE32_NOPAD.decode(key.replace(' ', "").as_bytes()).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mac =
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key), &(now / 30).to_be_bytes());
    let at = usize::from(mac.as_ref()[19] & 15);
    let number = u32::from_be_bytes(mac.as_ref()[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

#[test]
fn an_invited_person_chooses_a_password_and_sets_up_the_required_second_factor() {
    let setup = setup_with(|_| "second_factor = \"required\"\n".to_owned(), "");
    let (link, said) = run(&setup, &["user", "add", "ben", "--accounts", "--role", "ops", "--invite"], "");
    assert!(said.contains("once, within 72 hours"), "{said}");
    let running = setup.serve();
    let path = |link: &str| format!("/{}", link.trim().splitn(4, '/').nth(3).unwrap());
    let mut person = Person::new(&running);
    let page = person.get(&path(&link));
    let secret = field(&page, "code");
    let fields = [("code", &*secret), ("new", CHOSEN), ("again", CHOSEN)];
    assert!(submit(&mut person, &page, "/login/link", &fields).text().contains("Your password is set"));
    assert_eq!(person.get(&path(&link)).status, 404);

    let page = person.get("/login");
    let answer = submit(&mut person, &page, "/login", &[("name", "ben"), ("password", CHOSEN)]);
    assert_eq!(answer.header("location"), Some("/login/code"));
    assert_eq!(person.get("/account").header("location"), Some("/login"));
    let page = person.get("/login/code");
    let text = page.text();
    let key = text.split("<code class=\"key\">").nth(1).unwrap().split('<').next().unwrap();
    let answer = submit(&mut person, &page, "/login/code", &[("code", &code(key))]);
    assert!(answer.text().contains("Your recovery codes"), "{}", answer.text());
    assert_eq!(person.get("/account").status, 200);

    let (state, _) = run(running.setup(), &["--json", "user", "second-factor", "ben"], "");
    let state: Value = serde_json::from_str(&state).unwrap();
    assert_eq!((&state["second_factor"], &state["name"]), (&true.into(), &"ben".into()));
    let (reset, _) = run(running.setup(), &["user", "reset-link", "ben"], "");
    let page = person.get(&path(&reset));
    let secret = field(&page, "code");
    let fields = [("code", &*secret), ("new", "another planet"), ("again", "another planet")];
    submit(&mut person, &page, "/login/link", &fields);
    assert_eq!(person.get("/account").header("location"), Some("/login"), "the login has ended");
    run(running.setup(), &["user", "second-factor", "ben", "--remove"], "");
    let secrets = [CHOSEN, "another planet", &*secret, key];
    assert!(secrets.iter().all(|secret| !running.log().contains(secret)), "{}", running.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_adds_a_passkey_in_a_real_browser_and_logs_in_with_it_alone() {
    let origin = |setup: &Setup| setup.address().replace("127.0.0.1", "http://localhost");
    let setup = setup_with(|setup| format!("issuer = \"{}\"\n", origin(setup)), "");
    let origin = origin(&setup);
    let running = setup.serve();
    let session = Session::http(origin).limit(std::time::Duration::from_secs(60));
    let more = [
        format!("--browser={}", browser().unwrap().display()),
        "--name=ada".to_owned(),
        format!("--password={PASSWORD}"),
    ];
    let clients = Clients::installed().unwrap();
    let seen: Scenario =
        clients.drive_other(&directory().join("passkey.mjs"), &session, &more).await.unwrap();
    assert_eq!(seen.error, None, "{seen:?}\n{}", running.log());
    assert!(seen.steps["added"][0].as_str().unwrap().starts_with("Test device"), "{seen:?}");
    assert_eq!((&seen.steps["loggedIn"], &seen.steps["complaints"]), (&json!("Your account"), &json!([])));
    assert_eq!(seen.steps["unverified"], "That did not work. Try again.", "{seen:?}");
}
