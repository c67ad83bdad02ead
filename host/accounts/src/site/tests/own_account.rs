//! The pages of an account: password, sessions, links, and the second factor.

use secrecy::SecretString;

use super::*;
use crate::test_accounts::password_start;
use crate::totp::TotpSecret;
use witgate_config::accounts::SecondFactorRule;

const NEW: &str = "a small planet of tea";

impl Browser {
    /// Sends a form of the page at `place`, with its token.
    async fn submit(&mut self, place: &str, fields: &[(&str, &str)]) -> SiteAnswer {
        let page = text_of(&self.get(place).await);
        let token = field(&page, "form");
        let mut form = vec![("form", &*token)];
        form.extend(fields);
        let path = place.split('?').next().unwrap().to_owned();
        self.post(&path, &form).await
    }

    async fn log_in_as(&mut self, name: &str, password: &str) -> SiteAnswer {
        self.submit("/login", &[("name", name), ("password", password)]).await
    }

    /// Sets up a second factor on the page of the account. Returns its secret and the recovery codes.
    async fn set_up(&mut self) -> (TotpSecret, Vec<String>) {
        let answer =
            self.submit("/account/second-factor", &[("current", PASSWORD), ("action", "set-up")]).await;
        self.confirm(&answer, "/account/second-factor").await
    }

    /// Confirms the secret on a page.
    async fn confirm(&mut self, page: &SiteAnswer, action: &str) -> (TotpSecret, Vec<String>) {
        let text = text_of(page);
        let secret = secret_of(&text);
        let code = code_of(&secret, now_ms());
        let answer = self.post(action, &[("form", &*field(&text, "form")), ("code", &*code)]).await;
        assert_eq!(answer.status(), StatusCode::OK, "{}", text_of(&answer));
        let codes = text_of(&answer);
        let codes: Vec<_> = codes.split("<li><code>").skip(1).map(|rest| rest[..14].to_owned()).collect();
        assert_eq!(codes.len(), 10);
        (secret, codes)
    }

    /// Logs in with a password and a code.
    async fn log_in_with(&mut self, code: &str) -> SiteAnswer {
        self.log_in_with_form(&[("code", code)]).await
    }

    /// Logs in with a password and these fields of the form for a code.
    async fn log_in_with_form(&mut self, fields: &[(&str, &str)]) -> SiteAnswer {
        self.cookies.clear();
        let answer = self.log_in_as("ada", PASSWORD).await;
        assert_eq!(location(&answer), "/login/code");
        assert!(!self.cookies.contains_key("__Host-witgate-session"));
        self.submit("/login/code", fields).await
    }
}

fn secret_of(page: &str) -> TotpSecret {
    let (_, rest) = page.split_once("<code class=\"key\">").unwrap_or_else(|| panic!("{page}"));
    TotpSecret::of(&rest.split('<').next().unwrap().replace(' ', "")).unwrap()
}

/// The code at a time. It is made in another way than the pages check it.
fn code_of(secret: &TotpSecret, now: i64) -> String {
    use secrecy::ExposeSecret as _;
    let text = secret.text();
    let key = data_encoding::BASE32_NOPAD.decode(text.expose_secret().as_bytes()).unwrap();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
    let mac = aws_lc_rs::hmac::sign(&key, &(now / 30_000).to_be_bytes());
    let mac = mac.as_ref();
    let at = usize::from(mac[19] & 15);
    let number = u32::from_be_bytes(mac[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

#[tokio::test]
async fn a_new_password_ends_everything_but_this_browser() {
    let mut browser = Browser::new();
    let client = browser.register().await;
    let code = browser.allow(&client).await;
    let tokens = json_of(&browser.exchange(&client, &code).await);
    let ada = browser.accounts.ada.clone();
    let other = browser.accounts.open().begin_session(&ada, &password_start(), now_ms()).unwrap().unwrap();
    let former = browser.cookies["__Host-witgate-session"].clone();
    for (current, new, again, said) in [
        ("wrong", NEW, NEW, "The password is wrong"),
        (PASSWORD, NEW, "other", "are different"),
        (PASSWORD, PASSWORD, PASSWORD, "your present password"),
        (PASSWORD, "short", "short", "fewer than 8"),
        (PASSWORD, "Password1!", "Password1!", "guessed first"),
        (PASSWORD, "ada.ada.ada", "ada.ada.ada", "name of the user"),
        (PASSWORD, "mcp.example.com", "mcp.example.com", "name of this service"),
    ] {
        let fields = [("current", current), ("new", new), ("again", again)];
        let answer = browser.submit("/account/password", &fields).await;
        let page = text_of(&answer);
        assert!(answer.status().is_client_error(), "{said}: {page}");
        assert!(page.contains(said) && page.contains("role=\"alert\""), "{said}: {page}");
        assert!(page.contains("aria-invalid=\"true\"") && page.contains("<title>Error: "), "{said}: {page}");
    }
    let fields = [("current", PASSWORD), ("new", NEW), ("again", NEW)];
    let answer = browser.submit("/account/password", &fields).await;
    assert_eq!(location(&answer), "/account?changed=password");
    assert_ne!(browser.cookies["__Host-witgate-session"], former);
    assert!(text_of(&browser.get("/account?changed=password").await).contains("Your password is changed"));
    let settings = browser.accounts.settings.clone();
    let mut database = browser.accounts.open();
    for secret in [other, former.into()] {
        assert!(database.session(&secret, &settings, now_ms()).unwrap().is_none());
    }
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let form = [("grant_type", "refresh_token"), ("client_id", &*client), ("refresh_token", refresh)];
    assert_eq!(browser.post("/token", &form).await.status(), StatusCode::BAD_REQUEST);
    browser.cookies.clear();
    assert_eq!(browser.log_in_as("ada", PASSWORD).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(browser.log_in_as("ada", NEW).await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_person_sees_their_browsers_and_logs_one_out() {
    let mut browser = Browser::new();
    let ada = browser.accounts.ada.clone();
    let hash = ada.hash.clone();
    let ben = browser.accounts.open().add_user("ben", &hash, &[]).unwrap();
    let mut database = browser.accounts.open();
    let other = database.begin_session(&ada, &password_start(), now_ms() - 3_600_000).unwrap().unwrap();
    let of_ben = database.begin_session(&ben, &password_start(), now_ms()).unwrap().unwrap();
    browser.log_in_as("ada", PASSWORD).await;
    let page = text_of(&browser.get("/account").await);
    assert_eq!(page.matches("name=\"session\"").count(), 0, "idle for too long: {page}");
    let other_now = database.begin_session(&ada, &password_start(), now_ms() - 60_000).unwrap().unwrap();
    let page = text_of(&browser.get("/account").await);
    assert_eq!(page.matches("name=\"session\"").count(), 1, "not this browser: {page}");
    assert!(page.contains("Firefox on Linux") && page.contains("this browser"), "{page}");
    let handle = field(&page, "session");
    let settings = browser.accounts.settings.clone();
    // The handle of somebody else's session does nothing, and a wrong token neither.
    let foreign = crate::random::hex(&crate::database::sessions::handle_of(&of_ben));
    let token = field(&page, "form");
    browser.post("/account", &[("form", &*token), ("session", &*foreign)]).await;
    assert!(database.session(&of_ben, &settings, now_ms()).unwrap().is_some());
    let answer = browser.post("/account", &[("form", "x"), ("session", &*handle)]).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(database.session(&other_now, &settings, now_ms()).unwrap().is_some());
    browser.post("/account", &[("form", &*token), ("session", &*handle)]).await;
    assert!(database.session(&other_now, &settings, now_ms()).unwrap().is_none());
    assert!(database.session(&other, &settings, now_ms()).unwrap().is_none());
    assert_eq!(browser.get("/account").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_link_works_once_and_for_its_time() {
    let mut browser = Browser::new();
    let mut database = browser.accounts.open();
    let ada = browser.accounts.ada.clone();
    let session = database.begin_session(&ada, &password_start(), now_ms()).unwrap().unwrap();
    let hour = std::time::Duration::from_secs(3_600);
    let place = |secret: &SecretString| link_address("", secret);
    let (_, old) = database.make_link("ada", hour, now_ms() - 3_600_000).unwrap();
    let expired = text_of(&browser.get(&place(&old)).await);
    let (_, replaced) = database.make_link("ada", hour, now_ms()).unwrap();
    let (_, link) = database.make_link("ada", hour, now_ms()).unwrap();
    for unknown in [place(&replaced), "/login/link?code=guess".to_owned(), "/login/link".to_owned()] {
        let answer = browser.get(&unknown).await;
        assert_eq!((answer.status(), text_of(&answer)), (StatusCode::NOT_FOUND, expired.clone()));
    }
    let place = place(&link);
    // A program that looks at the link does not use it up, and a wrong form neither.
    browser.get(&place).await;
    let code = place.split_once("code=").unwrap().1.to_owned();
    let fields = [("code", &*code), ("new", NEW), ("again", "other")];
    assert!(text_of(&browser.submit(&place, &fields).await).contains("are different"));
    let fields = [("code", &*code), ("new", "adaadaada"), ("again", "adaadaada")];
    assert!(text_of(&browser.submit(&place, &fields).await).contains("name of the user"));
    let fields = [("form", "x"), ("code", &*code), ("new", NEW), ("again", NEW)];
    assert_eq!(browser.post("/login/link", &fields).await.status(), StatusCode::BAD_REQUEST);
    let settings = browser.accounts.settings.clone();
    assert!(database.session(&session, &settings, now_ms()).unwrap().is_some());
    let fields = [("code", &*code), ("new", NEW), ("again", NEW)];
    assert!(text_of(&browser.submit(&place, &fields).await).contains("Your password is set"));
    assert!(database.session(&session, &settings, now_ms()).unwrap().is_none());
    assert_eq!(browser.get(&place).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(browser.log_in_as("ada", NEW).await.status(), StatusCode::SEE_OTHER);
    // A link of somebody who has found a way back, or is disabled, is of no use.
    let (_, link) = database.make_link("ada", hour, now_ms()).unwrap();
    database.set_password("ada", &ada.hash).unwrap();
    assert!(database.user_of_link(&link, now_ms()).unwrap().is_none());
    let (_, link) = database.make_link("ada", hour, now_ms()).unwrap();
    database.disable_user("ada").unwrap();
    database.enable_user("ada").unwrap();
    assert!(database.user_of_link(&link, now_ms()).unwrap().is_none());
    browser.peer = Some("192.0.2.1".parse().unwrap());
    assert_eq!(browser.get("/login/link?code=x").await.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_second_factor_is_asked_for_after_the_password() {
    let mut browser = Browser::new();
    browser.log_in_as("ada", PASSWORD).await;
    let wrong = browser.submit("/account/second-factor", &[("current", "x"), ("action", "set-up")]).await;
    assert_eq!(wrong.status(), StatusCode::FORBIDDEN);
    let (secret, codes) = browser.set_up().await;
    // The code that confirmed the secret cannot be used again, and neither can any other twice.
    let used = code_of(&secret, now_ms());
    assert_eq!(browser.log_in_with(&used).await.status(), StatusCode::FORBIDDEN);
    let next = code_of(&secret, now_ms() + 30_000);
    assert_eq!(location(&browser.log_in_with(&next).await), "/account");
    assert_eq!(browser.log_in_with(&next).await.status(), StatusCode::FORBIDDEN);
    for wrong in ["", "000000 0", "abcdef", &code_of(&secret, now_ms() + 90_000), &code_of(&secret, 0)] {
        let answer = browser.log_in_with(wrong).await;
        assert!(!browser.cookies.contains_key("__Host-witgate-session"), "{wrong}");
        assert!(answer.status().is_client_error(), "{wrong}: {}", text_of(&answer));
    }
    assert_eq!(location(&browser.log_in_with(&codes[3].to_uppercase()).await), "/account");
    assert_eq!(browser.log_in_with(&codes[3]).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(location(&browser.log_in_with(&codes[4]).await), "/account");
    assert!(text_of(&browser.get("/account/second-factor").await).contains("You have 8 recovery codes left"));
    let fields = [("current", PASSWORD), ("action", "codes")];
    browser.submit("/account/second-factor", &fields).await;
    assert_eq!(browser.log_in_with(&codes[5]).await.status(), StatusCode::FORBIDDEN);
    let later = now_ms() + 60_000;
    let session = {
        let ada = browser.accounts.ada.clone();
        let mut database = browser.accounts.open();
        let settings = browser.accounts.settings.clone();
        let step = database.pass_password(&ada, ("", None), &settings, later).unwrap().unwrap();
        let crate::database::begun_logins::LoginStep::Code(login) = step else { panic!("{step:?}") };
        match database.pass_code(&login, &code_of(&secret, later), ("", false), later).unwrap() {
            crate::database::begun_logins::SecondStep::Done { session, .. } => session,
            other => panic!("{other:?}"),
        }
    };
    use secrecy::ExposeSecret as _;
    browser.cookies.insert("__Host-witgate-session".to_owned(), session.expose_secret().to_owned());
    let fields = [("current", PASSWORD), ("action", "remove")];
    let answer = browser.submit("/account/second-factor", &fields).await;
    assert_eq!(location(&answer), "/account?changed=no-factor");
    browser.cookies.clear();
    assert_eq!(location(&browser.log_in_as("ada", PASSWORD).await), "/account");
}

#[tokio::test]
async fn a_browser_asks_for_no_code_if_its_user_has_chosen_that_there() {
    use crate::database::begun_logins::LoginStep;
    const REMEMBERED: &str = "__Host-witgate-remembered";
    let mut browser = Browser::new();
    browser.log_in_as("ada", PASSWORD).await;
    let (_, codes) = browser.set_up().await;
    // Without the box, nothing is remembered.
    assert_eq!(location(&browser.log_in_with(&codes[0]).await), "/account");
    assert!(!browser.cookies.contains_key(REMEMBERED));
    let answer = browser.log_in_with_form(&[("code", &codes[1]), ("remember", "yes")]).await;
    assert_eq!(location(&answer), "/account");
    let remembered = browser.cookies[REMEMBERED].clone();

    let (ada, settings) = (browser.accounts.ada.clone(), browser.accounts.settings.clone());
    let mut database = browser.accounts.open();
    let asks = |database: &mut crate::database::AccountDatabase, secret: &str, now| {
        let shown = SecretString::from(secret);
        match database.pass_password(&ada, ("", Some(&shown)), &settings, now).unwrap() {
            Some(LoginStep::Session(_)) => false,
            Some(LoginStep::Code(_)) => true,
            other => panic!("{other:?}"),
        }
    };
    let day = 86_400_000;
    assert!(!asks(&mut database, &remembered, now_ms()));
    assert!(!asks(&mut database, &remembered, now_ms() + 29 * day));
    assert!(asks(&mut database, &remembered, now_ms() + 30 * day));
    assert!(asks(&mut database, &remembered, now_ms() - day), "the clock was set back");
    assert!(asks(&mut database, "guess", now_ms()) && asks(&mut database, "", now_ms()));
    // The setting counts at the login.
    let shown = SecretString::from(remembered.as_str());
    let mut strict = settings.clone();
    strict.second_factor_remembered = Duration::ZERO;
    let step = database.pass_password(&ada, ("", Some(&shown)), &strict, now_ms()).unwrap();
    assert!(matches!(step, Some(LoginStep::Code(_))), "{step:?}");
    // The password is still needed, and nothing else.
    assert_eq!(browser.log_in_as("ada", "wrong password").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(location(&browser.log_in_as("ada", PASSWORD).await), "/account");
    browser.cookies.remove(REMEMBERED);
    assert_eq!(location(&browser.log_in_as("ada", PASSWORD).await), "/login/code");

    // Whatever ends the trust ends it in all browsers.
    let remember = |database: &mut crate::database::AccountDatabase, code: &str| {
        let step = database.pass_password(&ada, ("", None), &settings, now_ms()).unwrap();
        let Some(LoginStep::Code(login)) = step else { panic!("{step:?}") };
        match database.pass_code(&login, code, ("", true), now_ms()).unwrap() {
            crate::database::begun_logins::SecondStep::Done { remembered, .. } => remembered.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let first = remember(&mut database, &codes[2]);
    use secrecy::ExposeSecret as _;
    let session = database.begin_session(&ada, &password_start(), now_ms()).unwrap().unwrap();
    database.end_session_of(&ada, crate::database::sessions::handle_of(&session)).unwrap();
    assert!(asks(&mut database, first.expose_secret(), now_ms()), "a browser was logged out from elsewhere");
    let second = remember(&mut database, &codes[3]);
    assert!(!asks(&mut database, second.expose_secret(), now_ms()));
    database.remove_authenticator("ada").unwrap();
    drop(database);
    browser.cookies.clear();
    browser.log_in_as("ada", PASSWORD).await;
    browser.set_up().await;
    let mut database = browser.accounts.open();
    assert!(asks(&mut database, second.expose_secret(), now_ms()), "it was of another app");
}

#[tokio::test]
async fn many_wrong_codes_cause_pauses_for_all_addresses() {
    use crate::database::begun_logins::{LoginStep, SecondStep};
    let mut browser = Browser::new();
    browser.log_in_as("ada", PASSWORD).await;
    let (secret, codes) = browser.set_up().await;
    let ada = browser.accounts.ada.clone();
    let settings = browser.accounts.settings.clone();
    let mut database = browser.accounts.open();
    let mut try_at = |code: &str, now| {
        let LoginStep::Code(login) =
            database.pass_password(&ada, ("", None), &settings, now).unwrap().unwrap()
        else {
            panic!("no code is asked for")
        };
        database.pass_code(&login, code, ("", false), now).unwrap()
    };
    let mut now = now_ms() + 120_000;
    for _ in 0..10 {
        assert!(matches!(try_at("000000", now), SecondStep::Wrong));
    }
    for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert!(matches!(try_at(&code_of(&secret, now), now), SecondStep::Paused(_)), "{minutes}");
        assert!(matches!(try_at(&codes[0], now), SecondStep::Paused(_)), "{minutes}");
        now += minutes * 60_000 - 1_000;
        assert!(matches!(try_at("000000", now), SecondStep::Paused(1..=2)), "{minutes}");
        now += 1_000;
        assert!(matches!(try_at("000000", now), SecondStep::Wrong), "{minutes}");
    }
    now += 3_600_000;
    assert!(matches!(try_at(&code_of(&secret, now), now), SecondStep::Done { .. }));
    assert!(matches!(try_at("000000", now), SecondStep::Wrong), "the count begins anew");
}

#[tokio::test]
async fn a_user_who_needs_a_second_factor_sets_one_up_at_the_login() {
    let mut browser = Browser::with(|settings| {
        settings.second_factor = SecondFactorRule::Roles(vec!["ops".to_owned()]);
    });
    let ada = browser.accounts.ada.clone();
    let settings = browser.accounts.settings.clone();
    // A session from before the setting.
    let mut database = browser.accounts.open();
    let weak = database.begin_session(&ada, &password_start(), now_ms()).unwrap().unwrap();
    assert!(database.session(&weak, &settings, now_ms()).unwrap().is_none());
    let client = browser.register().await;
    let query = request(&client);
    let page = browser.get(&format!("/oauth/authorize?{query}")).await;
    let answer = browser.log_in(&page, PASSWORD).await;
    let place = location(&answer);
    assert_eq!(place, format!("/login/code?{query}"));
    assert!(!browser.cookies.contains_key("__Host-witgate-session"));
    assert_eq!(location(&browser.get("/account").await), "/login");
    let page = text_of(&browser.get(&place).await);
    assert!(page.contains("<svg") && page.contains("otpauth://totp/"), "{page}");
    let secret = secret_of(&page);
    let (token, next) = (field(&page, "form"), field(&page, "next"));
    let wrong = [("form", &*token), ("next", &*next), ("code", "000000")];
    let answer = browser.post("/login/code", &wrong).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let code = code_of(&secret, now_ms());
    // The form of one request does not serve another one.
    let other = [("form", &*token), ("next", "a=b"), ("code", &*code)];
    browser.post("/login/code", &other).await;
    assert!(!browser.cookies.contains_key("__Host-witgate-session"));
    let right = [("form", &*token), ("next", &*next), ("code", &*code)];
    let page = text_of(&browser.post("/login/code", &right).await);
    assert!(page.contains("Your recovery codes") && page.contains("/oauth/authorize?"), "{page}");
    let page = text_of(&browser.get(&format!("/oauth/authorize?{query}")).await);
    assert!(page.contains("Allow access?"), "{page}");
    let fields = [("current", PASSWORD), ("action", "remove")];
    let answer = browser.submit("/account/second-factor", &fields).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{}", text_of(&answer));
    let ben = database.add_user("ben", &ada.hash, &[]).unwrap();
    browser.cookies.clear();
    assert_eq!(location(&browser.log_in_as(&ben.name, PASSWORD).await), "/account");
}

#[tokio::test]
async fn a_second_factor_is_in_the_tokens_and_a_missing_one_ends_old_grants() {
    let mut browser = Browser::new();
    let client = browser.register().await;
    let code = browser.allow(&client).await;
    let tokens = json_of(&browser.exchange(&client, &code).await);
    assert_eq!(claims_of(&tokens)["amr"], json!(["pwd"]));
    browser.set_up().await;
    let page = text_of(&browser.get(&format!("/oauth/authorize?{}", request(&client))).await);
    let form = [("form", &*field(&page, "form")), ("request", &*request(&client)), ("decision", "allow")];
    let answer = Url::parse(&location(&browser.post("/oauth/consent", &form).await)).unwrap();
    let code = answer.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let strong = json_of(&browser.exchange(&client, &code).await);
    assert_eq!(claims_of(&strong)["amr"], json!(["pwd", "otp", "mfa"]));
    // The setting becomes stricter.
    let mut settings = browser.accounts.settings.clone();
    settings.second_factor = SecondFactorRule::Everybody;
    let mut database = browser.accounts.open();
    let mut refresh = |tokens: &Value| {
        let token = tokens["refresh_token"].as_str().unwrap();
        let shown = crate::database::grants::RefreshPresentation {
            token,
            client: &client,
            scopes: None,
            resource: None,
        };
        database.refresh(shown, &settings, now_ms()).map(drop).map_err(|fault| fault.to_string())
    };
    assert_eq!(refresh(&tokens), Err("the grant is not valid (second-factor-missing)".to_owned()));
    assert_eq!(refresh(&strong), Ok(()));
}

fn claims_of(tokens: &Value) -> Value {
    use base64::Engine as _;
    let token = tokens["access_token"].as_str().unwrap();
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[tokio::test]
async fn a_login_with_a_second_factor_is_counted_at_its_end() {
    let mut browser = Browser::new();
    browser.log_in_as("ada", PASSWORD).await;
    let (_, codes) = browser.set_up().await;
    let logins = |browser: &Browser| browser.site.store.meters().logins().map(|(_, number)| number);
    assert_eq!(logins(&browser), [1, 0, 0, 0]);
    browser.log_in_with("abcdef").await;
    assert_eq!(logins(&browser), [1, 1, 0, 0]);
    browser.log_in_with(&codes[0]).await;
    assert_eq!(logins(&browser), [2, 1, 0, 0]);
    browser.cookies.clear();
    browser.log_in_as("ada", PASSWORD).await;
    browser.peer = Some("192.0.2.1".parse().unwrap());
    browser.submit("/login/code", &[("code", &*codes[1])]).await;
    assert_eq!(logins(&browser), [2, 1, 1, 0]);
}

#[tokio::test]
async fn a_user_is_shown_few_secrets_at_the_same_time() {
    let browser = Browser::with(|settings| settings.second_factor = SecondFactorRule::Everybody);
    let (ada, settings) = (browser.accounts.ada.clone(), browser.accounts.settings.clone());
    let (mut database, now) = (browser.accounts.open(), now_ms());
    let mut begun = Vec::new();
    for number in 0..11 {
        let step = database.pass_password(&ada, ("", None), &settings, now + number).unwrap().unwrap();
        let crate::database::begun_logins::LoginStep::Code(login) = step else { panic!("{step:?}") };
        begun.push(login);
    }
    let is_offered = |login| database.offered_authenticator(login, &ada.id, now).unwrap().is_some();
    assert_eq!(begun.iter().filter(|login| is_offered(login)).count(), 10);
    assert!(!is_offered(&begun[0]), "the oldest one has ended");
}
