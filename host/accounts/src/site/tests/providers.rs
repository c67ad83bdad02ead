//! Logins through a provider, on the pages.

use parking_lot::Mutex;
use witgate_base::clock;
use witgate_config::Network;
use witgate_config::account_logins::PersonRule;

use super::*;
use crate::test_accounts::password_start;
use crate::test_provider::{CLIENT, TestServer, settings};

const CALLBACK: &str = "/login/with/hub/callback";

/// A browser at a site with one provider, which knows one person.
struct Guest {
    browser: Browser,
    claims: Arc<Mutex<Value>>,
    origin: String,
}

impl Guest {
    fn new(change: impl FnOnce(&mut ProviderSettings)) -> Self {
        let claims = Arc::new(Mutex::new(Value::Null));
        let server = TestServer::openid(Arc::clone(&claims));
        let mut own = settings(&server.origin);
        change(&mut own);
        let browser = Browser::at(|settings| settings.providers = vec![own], Ways::new(&Network::default()));
        Self { browser, claims, origin: server.origin }
    }

    /// Presses the button on a page. Returns what the provider is asked.
    async fn leave(&mut self, page: &SiteAnswer) -> HashMap<String, String> {
        let page = text_of(page);
        assert!(page.contains("Log in with The Hub"), "{page}");
        let form = [("form", &*field(&page, "form")), ("next", &*field(&page, "next"))];
        let answer = self.browser.post("/login/with/hub", &form).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{}", text_of(&answer));
        let url = Url::parse(&location(&answer)).unwrap();
        assert_eq!(url.origin().ascii_serialization(), self.origin);
        let asked: HashMap<_, _> = url.query_pairs().into_owned().collect();
        let now = clock::since_epoch().as_secs();
        *self.claims.lock() = json!({
            "iss": self.origin, "aud": CLIENT, "sub": "s1", "nonce": asked["nonce"], "iat": now, "exp": now + 60,
            "preferred_username": "grace",
        });
        asked
    }

    /// A whole login. Returns the last answer.
    async fn log_in(&mut self) -> SiteAnswer {
        let page = self.browser.get("/login").await;
        let asked = self.leave(&page).await;
        self.browser.get(&format!("{CALLBACK}?code=c&state={}", asked["state"])).await
    }
}

fn sets_session(answer: &SiteAnswer) -> bool {
    let mut set = answer.headers().get_all(SET_COOKIE).iter();
    set.any(|cookie| cookie.to_str().unwrap().starts_with("__Host-witgate-session="))
}

#[tokio::test]
async fn a_person_gets_in_through_a_provider_and_goes_on_with_the_client() {
    let mut guest = Guest::new(|_| {});
    let client = guest.browser.register().await;
    let query = request(&client);
    let page = guest.browser.get(&format!("/oauth/authorize?{query}")).await;
    // A session that somebody else has put into the browser does not become that of the person.
    guest.browser.cookies.insert("__Host-witgate-session".to_owned(), "fixed".to_owned());
    let asked = guest.leave(&page).await;
    let answer = guest.browser.get(&format!("{CALLBACK}?code=c&state={}", asked["state"])).await;
    assert_eq!(location(&answer), format!("/oauth/authorize?{query}"), "{}", text_of(&answer));
    assert!(sets_session(&answer));
    assert_ne!(guest.browser.cookies["__Host-witgate-session"], "fixed");
    let page = text_of(&guest.browser.get(&location(&answer)).await);
    assert!(page.contains("Allow access?") && page.contains("grace"), "{page}");
    for action in [AccountAction::UserAdded, AccountAction::LoggedIn] {
        recorded(&guest.browser, action, Some("grace"));
    }
}

/// Checks that this event is recorded, for the user with this name.
fn recorded(browser: &Browser, action: AccountAction, name: Option<&str>) {
    browser.accounts_events();
    let events = browser.events.lock();
    let is_there = events.iter().any(|event| event.action == action && event.name.as_deref() == name);
    assert!(is_there, "no {action:?}: {events:?}");
}

#[tokio::test]
async fn an_answer_that_the_provider_does_not_vouch_for_is_a_failed_login() {
    let mut guest = Guest::new(|_| {});
    let page = guest.browser.get("/login").await;
    let asked = guest.leave(&page).await;
    // Any site can make a browser open such an address.
    guest.browser.get(&format!("{CALLBACK}?code=c&state=other")).await;
    assert_eq!(guest.browser.counts.all(), [0, 0, 1, 0]);
    guest.claims.lock()["nonce"] = json!("of another login");
    let refused = guest.browser.get(&format!("{CALLBACK}?code=c&state={}", asked["state"])).await;
    assert!(!sets_session(&refused));
    assert_eq!(guest.browser.counts.all(), [0, 1, 1, 0]);
    assert!(sets_session(&guest.log_in().await));
    assert_eq!(guest.browser.counts.all(), [1, 1, 1, 0]);
    guest.browser.peer = Some("192.0.2.1".parse().unwrap());
    let refused = guest.log_in().await;
    assert_eq!((refused.status(), sets_session(&refused)), (StatusCode::TOO_MANY_REQUESTS, false));
}

#[tokio::test]
async fn a_person_without_a_password_makes_keys_without_one() {
    let mut guest = Guest::new(|_| {});
    assert!(sets_session(&guest.log_in().await));
    let page = text_of(&guest.browser.get("/account/keys").await);
    assert!(!page.contains("name=\"current\""), "{page}");
    let form = [("form", &*field(&page, "form")), ("name", "ci"), ("days", "30")];
    let page = text_of(&guest.browser.post("/account/keys", &form).await);
    assert!(page.contains(">wgk_"), "{page}");
}

#[tokio::test]
async fn a_login_at_a_provider_begins_with_the_own_form_only() {
    let mut guest = Guest::new(|_| {});
    let page = text_of(&guest.browser.get("/login").await);
    let token = field(&page, "form");
    for form in [
        vec![],
        vec![("form", "")],
        vec![("form", "AAAA")],
        vec![("form", &*token), ("next", "another=request")],
    ] {
        let answer = guest.browser.post("/login/with/hub", &form).await;
        assert_eq!(answer.headers().get(LOCATION), None, "{form:?}");
    }
    guest.browser.cookies.clear();
    let answer = guest.browser.post("/login/with/hub", &[("form", &token)]).await;
    assert_eq!(answer.headers().get(LOCATION), None, "another browser");
    for (method, place) in
        [(Method::GET, "/login/with/hub"), (Method::POST, CALLBACK), (Method::HEAD, CALLBACK)]
    {
        let answer = guest.browser.send(method.clone(), place, String::new(), "text/plain").await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {place}");
    }
    assert!(!guest.browser.site.has("/login/with/other") && !guest.browser.site.is_for_programs(CALLBACK));
}

#[tokio::test]
async fn an_answer_in_another_browser_lets_nobody_in() {
    let mut guest = Guest::new(|_| {});
    let page = guest.browser.get("/login").await;
    let asked = guest.leave(&page).await;
    let own = guest.browser.cookies.clone();
    let answer = format!("{CALLBACK}?code=c&state={}", asked["state"]);
    // The attacker sends their own answer to a victim, who has no cookies, or those of another visit.
    guest.browser.cookies.clear();
    for _ in 0..2 {
        let refused = guest.browser.get(&answer).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        assert!(
            !sets_session(&refused) && text_of(&refused).contains("another login"),
            "{}",
            text_of(&refused)
        );
    }
    guest.browser.cookies = own;
    assert!(sets_session(&guest.browser.get(&answer).await));
    assert!(!sets_session(&guest.browser.get(&answer).await), "the back button shows no second login");
}

#[tokio::test]
async fn a_person_without_a_good_account_stays_out() {
    let mut guest = Guest::new(|settings| settings.makes_accounts = false);
    let refused = guest.log_in().await;
    assert_eq!((refused.status(), sets_session(&refused)), (StatusCode::FORBIDDEN, false));
    let issuer = guest.origin.clone();
    let mut database = guest.browser.accounts.open();
    database.link_identity("ada", &issuer, "s1").unwrap();
    assert_eq!(location(&guest.log_in().await), "/account");
    assert!(text_of(&guest.browser.get("/account").await).contains("ada"));
    database.disable_user("ada").unwrap();
    let refused = guest.log_in().await;
    assert_eq!((refused.status(), sets_session(&refused)), (StatusCode::FORBIDDEN, false));
    assert_eq!(guest.browser.get("/account").await.status(), StatusCode::SEE_OTHER, "the session has ended");
}

/// Somebody who has left is refused by the rules, and their former logins end.
#[tokio::test]
async fn a_person_whom_the_rules_refuse_is_logged_out_everywhere() {
    let mut guest = Guest::new(|settings| {
        settings.allow = Some(vec![PersonRule::Subject("s2".to_owned())]);
        settings.roles = [("ops".to_owned(), vec![PersonRule::Everybody])].into();
    });
    let issuer = guest.origin.clone();
    let mut database = guest.browser.accounts.open();
    database.link_identity("ada", &issuer, "s1").unwrap();
    let ada = guest.browser.accounts.ada.clone();
    let session = database.begin_session(&ada, &password_start(), now_ms()).unwrap().unwrap();
    let refused = guest.log_in().await;
    assert_eq!((refused.status(), sets_session(&refused)), (StatusCode::FORBIDDEN, false));
    assert!(database.session(&session, &guest.browser.accounts.settings, now_ms()).unwrap().is_none());
    assert_eq!(database.named_user("ada").unwrap().roles, Vec::<String>::new());
    recorded(&guest.browser, AccountAction::RolesChanged, Some("ada"));
}

#[tokio::test]
async fn a_provider_that_fails_lets_nobody_in() {
    let mut guest = Guest::new(|settings| {
        settings.client.token.token_url = Url::parse("http://127.0.0.1:1/token").unwrap();
    });
    let refused = guest.log_in().await;
    assert_eq!((refused.status(), sets_session(&refused)), (StatusCode::BAD_GATEWAY, false));
    recorded(&guest.browser, AccountAction::LoginRefused, None);
}
