//! Logins with passkeys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::database::AccountDatabase;
use crate::database::begun_logins::{LoginStep, SecondStep};
use crate::database::users::AccountUser;
use crate::passkey::tests::{Device, SERVER, client};
use witgate_config::accounts::SecondFactorRule;

const NAME: &str = "Phone & co";

/// The fields that a browser adds to the form of a page.
type Filled = Vec<(&'static str, String)>;

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn new_passkey_fields(device: &Device, challenge: &str) -> Filled {
    vec![
        ("credential", text(Device::ID)),
        ("algorithm", "-7".to_owned()),
        ("key", text(&device.key())),
        ("data", text(&device.new_data())),
        ("client", text(&client("webauthn.create", challenge, SERVER.origin))),
    ]
}

impl Browser {
    /// The page of a form, with the fields that it has, and those that `fill` makes for its challenge.
    async fn answered(
        &mut self,
        page: &SiteAnswer,
        path: &str,
        kept: &[&str],
        fill: impl FnOnce(&str) -> Filled,
    ) -> SiteAnswer {
        let page = text_of(page);
        let kept: Vec<_> = kept.iter().map(|name| (*name, field(&page, name))).collect();
        let filled = fill(&field(&page, "challenge"));
        let form: Vec<_> = kept.iter().chain(&filled).map(|(name, value)| (*name, value.as_str())).collect();
        self.post(path, &form).await
    }

    /// The page that makes a passkey.
    async fn new_passkey(&mut self, password: &str) -> SiteAnswer {
        let page = text_of(&self.get("/account/passkeys").await);
        let form = [("form", &*field(&page, "form")), ("current", password), ("name", NAME)];
        self.post("/account/passkeys", &form).await
    }

    async fn add(&mut self, device: &Device) -> SiteAnswer {
        let page = self.new_passkey(PASSWORD).await;
        self.added(&page, device).await
    }

    /// Answers the page that makes a passkey.
    async fn added(&mut self, page: &SiteAnswer, device: &Device) -> SiteAnswer {
        let kept = ["form", "name", "challenge"];
        self.answered(page, "/account/passkeys", &kept, |challenge| new_passkey_fields(device, challenge))
            .await
    }

    /// The reasons of the refused logins of a user.
    fn refusals(&self, user: &AccountUser) -> Vec<String> {
        let events = self.events.lock();
        let refused = events.iter().filter(|event| event.action == AccountAction::LoginRefused);
        let of_user = refused.filter(|event| event.user.as_ref() == Some(&user.id));
        of_user.filter_map(|event| event.reason.clone()).collect()
    }

    async fn log_in_by(&mut self, device: &Device, place: &str, user: &str) -> SiteAnswer {
        let page = self.get(place).await;
        self.answered(&page, "/login/passkey", &["form", "next", "challenge"], |challenge| {
            let (data, client) = (device.data(SERVER.host), client("webauthn.get", challenge, SERVER.origin));
            let signature = device.sign(&data, &client);
            vec![
                ("credential", text(Device::ID)),
                ("data", text(&data)),
                ("client", text(&client)),
                ("signature", text(&signature)),
                ("user", user.to_owned()),
            ]
        })
        .await
    }
}

#[tokio::test]
async fn a_passkey_logs_in_alone_and_until_it_is_removed() {
    let mut browser = Browser::new();
    let (device, ada) = (Device::new(), browser.accounts.ada.clone());
    let page = browser.get("/login").await;
    browser.log_in(&page, PASSWORD).await;
    assert_eq!(browser.new_passkey("wrong").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(location(&browser.add(&device).await), "/account/passkeys");
    let page = text_of(&browser.get("/account/passkeys").await);
    assert!(page.contains("Phone &amp; co"), "{page}");
    let again = browser.add(&device).await;
    assert!(text_of(&again).contains("is known already"), "{}", text_of(&again));

    browser.cookies.clear();
    // Not by somebody else's name, and not with another key.
    for (device, user) in [(&device, "other"), (&device, ""), (&Device::new(), &*ada.id)] {
        let answer = browser.log_in_by(device, "/login/passkey", user).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert!(text_of(&answer).contains("lets nobody in"));
        assert!(!browser.cookies.contains_key("__Host-witgate-session"));
    }
    let client_id = browser.register().await;
    let query = request(&client_id);
    let page = text_of(&browser.get(&format!("/oauth/authorize?{query}")).await);
    assert!(page.contains("href=\"/login/passkey?response_type=code&amp;"), "{page}");
    let answer = browser.log_in_by(&device, &format!("/login/passkey?{query}"), &ada.id).await;
    assert_eq!(location(&answer), format!("/oauth/authorize?{query}"));
    let page = text_of(&browser.get("/account/passkeys").await);
    assert!(page.contains("used just now"), "{page}");
    let (token, id) = (field(&page, "form"), field(&page, "remove"));
    let form = [("form", &*token), ("remove", &*id)];
    let page = text_of(&browser.post("/account/passkeys", &form).await);
    assert!(page.contains("Remove a passkey") && page.contains("Phone &amp; co"), "{page}");
    let remove = |password| [("form", &*token), ("remove", &*id), ("current", password)];
    let answer = browser.post("/account/passkeys", &remove("wrong")).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(browser.accounts.open().passkeys_of(&ada.id).unwrap().len(), 1);
    assert_eq!(location(&browser.post("/account/passkeys", &remove(PASSWORD)).await), "/account/passkeys");
    assert!(browser.accounts.open().passkeys_of(&ada.id).unwrap().is_empty());
    browser.cookies.clear();
    let answer = browser.log_in_by(&device, "/login/passkey", &ada.id).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let actions: Vec<_> = browser.accounts_events();
    for action in [AccountAction::PasskeyAdded, AccountAction::LoggedIn, AccountAction::PasskeyRemoved] {
        assert!(actions.contains(&action), "{actions:?}");
    }
}

#[tokio::test]
async fn an_answer_counts_once_and_in_its_browser() {
    let mut browser = Browser::new();
    let (device, ada) = (Device::new(), browser.accounts.ada.clone());
    let page = browser.get("/login").await;
    browser.log_in(&page, PASSWORD).await;
    browser.add(&device).await;
    let session = browser.cookies.remove("__Host-witgate-session");
    let page = text_of(&browser.get("/login/passkey").await);
    let challenge = field(&page, "challenge");
    let (data, json) = (device.data(SERVER.host), client("webauthn.get", &challenge, SERVER.origin));
    let signature = device.sign(&data, &json);
    let token = field(&page, "form");
    let (credential, data, json, signature) = (text(Device::ID), text(&data), text(&json), text(&signature));
    let form = [
        ("form", &*token),
        ("challenge", &*challenge),
        ("credential", &*credential),
        ("data", &*data),
        ("client", &*json),
        ("signature", &*signature),
        ("user", &*ada.id),
    ];
    assert_eq!(location(&browser.post("/login/passkey", &form).await), "/account");
    // Again, and from a browser that the page was not shown to.
    browser.cookies.remove("__Host-witgate-session");
    assert_eq!(browser.post("/login/passkey", &form).await.status(), StatusCode::FORBIDDEN);
    browser.cookies.clear();
    assert_eq!(browser.post("/login/passkey", &form).await.status(), StatusCode::BAD_REQUEST);
    // A challenge for a login makes no passkey.
    browser.cookies.extend(session.map(|value| ("__Host-witgate-session".to_owned(), value)));
    let login = field(&text_of(&browser.get("/login/passkey").await), "challenge");
    let page = text_of(&browser.get("/account/passkeys").await);
    let token = field(&page, "form");
    let form = [("form", &*token), ("challenge", &*login), ("name", "x")];
    assert_eq!(browser.post("/account/passkeys", &form).await.status(), StatusCode::BAD_REQUEST);
    browser.accounts.open().disable_user("ada").unwrap();
    let answer = browser.log_in_by(&device, "/login/passkey", &ada.id).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert!(text_of(&answer).contains("lets nobody in"));
}

/// A thief of the session without the password shows its secret as the cookie of a browser before a login.
#[tokio::test]
async fn a_challenge_for_a_login_adds_no_passkey_to_the_session_with_the_same_secret() {
    let mut browser = Browser::new();
    let (device, ada) = (Device::new(), browser.accounts.ada.clone());
    let page = browser.get("/login").await;
    browser.log_in(&page, PASSWORD).await;
    let session = browser.cookies["__Host-witgate-session"].clone();
    browser.cookies.insert("__Host-witgate-browser".to_owned(), session);
    let login = text_of(&browser.get("/login/passkey").await);
    let list = text_of(&browser.get("/account/passkeys").await);
    let challenge = field(&login, "challenge");
    for token in [&login, &list].map(|page| field(page, "form")) {
        let filled = new_passkey_fields(&device, &challenge);
        let mut form = vec![("form", &*token), ("challenge", &*challenge), ("name", "Stolen")];
        form.extend(filled.iter().map(|(name, value)| (*name, value.as_str())));
        let answer = browser.post("/account/passkeys", &form).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{}", text_of(&answer));
        assert!(browser.accounts.open().passkeys_of(&ada.id).unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_challenge_for_a_new_passkey_ends_with_the_password() {
    let mut browser = Browser::new();
    let (device, ada) = (Device::new(), browser.accounts.ada.clone());
    let page = browser.get("/login").await;
    browser.log_in(&page, PASSWORD).await;
    let page = browser.new_passkey(PASSWORD).await;
    let renewed =
        witgate_services::passwords::algorithm::hash_of(PASSWORD, browser.accounts.settings.password_cost);
    browser.accounts.open().renew_hash(&ada.id, &ada.hash, &renewed.unwrap()).unwrap();
    let answer = browser.added(&page, &device).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{}", text_of(&answer));
    assert!(browser.accounts.open().passkeys_of(&ada.id).unwrap().is_empty());
}

#[tokio::test]
async fn a_password_alone_sets_up_no_app_for_a_user_with_passkeys() {
    let mut browser = Browser::new();
    let (device, ada) = (Device::new(), browser.accounts.ada.clone());
    let page = browser.get("/login").await;
    browser.log_in(&page, PASSWORD).await;
    // A login that began before there was a passkey.
    let mut settings = browser.accounts.settings.clone();
    settings.second_factor = SecondFactorRule::Everybody;
    let mut database = browser.accounts.open();
    let begun = database.pass_password(&ada, ("", None), &settings, now_ms()).unwrap();
    let Some(LoginStep::Code(begun)) = begun else { panic!("{begun:?}") };
    assert!(database.begun_login(&begun, now_ms()).unwrap().is_some());
    browser.add(&device).await;
    assert!(database.begun_login(&begun, now_ms()).unwrap().is_none());
    assert!(matches!(database.pass_code(&begun, "000000", ("", false), now_ms()).unwrap(), SecondStep::Over));

    browser.site.settings.second_factor = SecondFactorRule::Everybody;
    browser.cookies.clear();
    let client_id = browser.register().await;
    let query = request(&client_id);
    let page = browser.get(&format!("/oauth/authorize?{query}")).await;
    let answer = browser.log_in(&page, PASSWORD).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let page = text_of(&answer);
    assert!(page.contains("you have passkeys") && page.contains("data-action=\"get\""), "{page}");
    assert_eq!(field(&page, "next"), query);
    for name in ["session", "login"].map(|name| format!("__Host-witgate-{name}")) {
        assert!(!browser.cookies.contains_key(&name), "{name}");
    }
    assert_eq!(browser.refusals(&ada), ["passkey-needed"]);
    let answer = browser.log_in_by(&device, &format!("/login/passkey?{query}"), &ada.id).await;
    assert_eq!(location(&answer), format!("/oauth/authorize?{query}"));
}

#[tokio::test]
async fn a_refused_passkey_is_recorded_with_its_user() {
    let mut browser = Browser::new();
    let (mut device, ada) = (Device::new(), browser.accounts.ada.clone());
    let page = browser.get("/login").await;
    browser.log_in(&page, PASSWORD).await;
    browser.add(&device).await;
    browser.cookies.clear();
    device.counter = 5;
    assert_eq!(location(&browser.log_in_by(&device, "/login/passkey", &ada.id).await), "/account");
    device.counter = 4;
    browser.log_in_by(&device, "/login/passkey", &ada.id).await;
    browser.log_in_by(&Device::new(), "/login/passkey", &ada.id).await;
    browser.log_in_by(&device, "/login/passkey", "somebody else").await;
    assert_eq!(browser.refusals(&ada), ["passkey-copied", "passkey-signature"]);
}

#[tokio::test]
async fn a_passkey_that_is_not_added_counts_as_a_failure_and_uses_its_challenge_up() {
    let mut browser = Browser::new();
    let (device, ada) = (Device::new(), browser.accounts.ada.clone());
    let page = browser.get("/login").await;
    browser.log_in(&page, PASSWORD).await;
    let page = browser.new_passkey(PASSWORD).await;
    let [_, before, ..] = browser.counts.all();
    let mut unverified = Device::new();
    unverified.flags = 1;
    assert_eq!(browser.added(&page, &unverified).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(browser.added(&page, &device).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(browser.refusals(&ada), ["passkey-unverified", "passkey-challenge"]);
    assert_eq!(browser.counts.all()[1], before + 2);
    assert!(browser.accounts.open().passkeys_of(&ada.id).unwrap().is_empty());
    assert_eq!(location(&browser.add(&device).await), "/account/passkeys");
}

#[tokio::test]
async fn a_passkey_that_changes_its_kind_or_logs_in_too_often_is_refused() {
    let mut browser = Browser::new();
    let (mut device, ada) = (Device::new(), browser.accounts.ada.clone());
    let page = browser.get("/login").await;
    browser.log_in(&page, PASSWORD).await;
    browser.add(&device).await;
    browser.cookies.clear();
    device.flags |= 0x08;
    browser.log_in_by(&device, "/login/passkey", &ada.id).await;
    device.flags ^= 0x08;
    for _ in 1..200 {
        assert_eq!(location(&browser.log_in_by(&device, "/login/passkey", &ada.id).await), "/account");
    }
    let answer = browser.log_in_by(&device, "/login/passkey", &ada.id).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(browser.refusals(&ada), ["passkey-changed", "passkey-too-often"]);
}

/// A reset follows a theft, and the thief may have added a passkey. Whoever changes the password themselves keeps theirs.
#[tokio::test]
async fn a_reset_by_an_operator_removes_all_passkeys_and_the_change_of_a_person_none() {
    let mut browser = Browser::new();
    let (device, ada) = (Device::new(), browser.accounts.ada.clone());
    let page = browser.get("/login").await;
    browser.log_in(&page, PASSWORD).await;
    browser.add(&device).await;
    let number = |database: &AccountDatabase| database.passkeys_of(&ada.id).unwrap().len();
    let mut database = browser.accounts.open();
    let reset: [fn(&mut AccountDatabase, &AccountUser); 2] = [
        |database, ada| drop(database.set_password("ada", &ada.hash).unwrap()),
        |database, ada| {
            let hour = Duration::from_secs(3_600);
            let (_, link) = database.make_link("ada", hour, now_ms()).unwrap();
            database.use_link(&link, &ada.hash, now_ms()).unwrap().unwrap();
        },
    ];
    for reset in reset {
        database.change_password(&ada, &ada.hash).unwrap().unwrap();
        database.end_logins("ada", "ended").unwrap();
        assert_eq!(number(&database), 1);
        reset(&mut database, &ada);
        assert_eq!(number(&database), 0);
        browser.cookies.clear();
        let answer = browser.log_in_by(&device, "/login/passkey", &ada.id).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        let page = browser.get("/login").await;
        browser.log_in(&page, PASSWORD).await;
        browser.add(&device).await;
    }
    assert!(browser.accounts_events().contains(&AccountAction::PasskeyRemoved));
}

#[tokio::test]
async fn pages_of_passkeys_run_their_script_alone() {
    let mut browser = Browser::new();
    let page = browser.get("/login/passkey").await;
    let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("; script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(text_of(&page).matches("<script").count(), 1);
    for place in ["/login", "/account"] {
        let page = browser.get(place).await;
        let policy = page.headers().get(CONTENT_SECURITY_POLICY).map(|policy| policy.to_str().unwrap());
        assert!(policy.is_none_or(|policy| !policy.contains("script-src")), "{place}: {policy:?}");
    }
    let mut by_address = Browser::with(|settings| settings.issuer = "https://192.0.2.7".to_owned());
    assert!(!text_of(&by_address.get("/login").await).contains("passkey"));
    assert_eq!(by_address.get("/login/passkey").await.status(), StatusCode::NOT_FOUND);
}
