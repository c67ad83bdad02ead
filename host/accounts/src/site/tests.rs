mod own_account;
mod passkeys;
mod providers;
mod timing;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use url::Url;
use witgate_config::account_logins::ProviderSettings;

use super::answers::SiteAnswer;
use super::*;
use crate::event::{AccountAction, AccountEvent};
use crate::test_accounts::{ISSUER, PASSWORD, RESOURCE, TestAccounts};

const REDIRECT: &str = "http://127.0.0.1:4711/cb";
const VERIFIER: &str = "0123456789012345678901234567890123456789012";

/// Pauses all senders at `192.0.2.1`, and counts the attempts of all others by their end.
#[derive(Default)]
struct Guard(Arc<GuardCounts>);

#[derive(Default)]
struct GuardCounts {
    right: AtomicUsize,
    wrong: AtomicUsize,
    withdrawn: AtomicUsize,
    known: AtomicUsize,
}

impl GuardCounts {
    fn all(&self) -> [usize; 4] {
        [&self.right, &self.wrong, &self.withdrawn, &self.known].map(|count| count.load(Ordering::Relaxed))
    }
}

struct Ticket(Option<Arc<GuardCounts>>);

impl LoginGuard for Guard {
    fn begin(&self, attempt: LoginAttempt<'_>) -> Result<Box<dyn LoginTicket>, u32> {
        if attempt.peer.is_some_and(|peer| peer.to_string() == "192.0.2.1") {
            return Err(9);
        }
        if attempt.browser.is_some() {
            self.0.known.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Box::new(Ticket(Some(Arc::clone(&self.0)))))
    }
}

impl LoginTicket for Ticket {
    fn succeed(mut self: Box<Self>) {
        self.0.take().unwrap().right.fetch_add(1, Ordering::Relaxed);
    }

    fn withdraw(mut self: Box<Self>) {
        self.0.take().unwrap().withdrawn.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(counts) = self.0.take() {
            counts.wrong.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A browser, and a client that it talks to.
struct Browser {
    site: AccountSite,
    accounts: TestAccounts,
    cookies: HashMap<String, String>,
    peer: Option<IpAddr>,
    counts: Arc<GuardCounts>,
    events: Arc<Mutex<Vec<AccountEvent>>>,
}

impl Browser {
    fn new() -> Self {
        Self::with(|_| ())
    }

    /// With other settings.
    fn with(change: impl FnOnce(&mut AccountSettings)) -> Self {
        Self::at(change, Ways::closed())
    }

    /// With other settings, at a site that reaches others in these ways.
    fn at(change: impl FnOnce(&mut AccountSettings), ways: Arc<Ways>) -> Self {
        let mut accounts = TestAccounts::with_password();
        change(&mut accounts.settings);
        let events = Arc::<Mutex<Vec<AccountEvent>>>::default();
        let sink = Arc::clone(&events);
        let sink = Arc::new(move |event| sink.lock().push(event));
        let store = AccountStore::open_recorded(accounts.place(), sink).unwrap();
        let counts = Arc::<GuardCounts>::default();
        let guard = Arc::new(Guard(Arc::clone(&counts)));
        let site = AccountSite::new(accounts.settings.clone(), store, ways, Arc::default(), guard);
        Self { site, accounts, cookies: HashMap::new(), peer: None, counts, events }
    }

    async fn send(
        &mut self,
        method: Method,
        place: &str,
        body: String,
        content_type: &'static str,
    ) -> SiteAnswer {
        let (path, query) = place.split_once('?').unwrap_or((place, ""));
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(COOKIE, HeaderValue::try_from(cookies.join("; ")).unwrap());
        let (path, query) = (path.to_owned(), query.to_owned());
        let visit = SiteVisit { method, path, query, headers, body: body.into(), peer: self.peer };
        let answer = self.site.respond(visit).await;
        for set in answer.headers().get_all(SET_COOKIE) {
            let text = set.to_str().unwrap();
            assert!(text.contains("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{text}");
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            match value {
                "" => drop(self.cookies.remove(name)),
                value => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
            }
        }
        answer
    }

    /// The actions of the events so far, also of those that nobody has moved yet.
    fn accounts_events(&self) -> Vec<AccountAction> {
        self.accounts.open().move_events(&|event| self.events.lock().push(event)).unwrap();
        self.events.lock().iter().map(|event| event.action).collect()
    }

    async fn get(&mut self, place: &str) -> SiteAnswer {
        self.send(Method::GET, place, String::new(), "text/plain").await
    }

    async fn post(&mut self, place: &str, form: &[(&str, &str)]) -> SiteAnswer {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.send(Method::POST, place, form, "application/x-www-form-urlencoded").await
    }

    async fn register(&mut self) -> String {
        let body = json!({ "redirect_uris": [REDIRECT, "javascript:x"], "client_name": "Desk" }).to_string();
        let answer = self.send(Method::POST, "/register", body, "application/json").await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        let answer = json_of(&answer);
        assert_eq!(answer["redirect_uris"], json!([REDIRECT]));
        answer["client_id"].as_str().unwrap().to_owned()
    }

    async fn log_in(&mut self, page: &SiteAnswer, password: &str) -> SiteAnswer {
        let page = text_of(page);
        let (token, next) = (field(&page, "form"), field(&page, "next"));
        let form = [("form", &*token), ("next", &*next), ("name", "ada"), ("password", password)];
        self.post("/login", &form).await
    }

    /// Logs in and allows the client. Returns the code.
    async fn allow(&mut self, client: &str) -> String {
        let query = request(client);
        let page = self.get(&format!("/oauth/authorize?{query}")).await;
        let answer = self.log_in(&page, PASSWORD).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{}", text_of(&answer));
        let place = location(&answer);
        assert_eq!(place, format!("/oauth/authorize?{query}"));
        let page = text_of(&self.get(&place).await);
        for words in
            ["Desk", "Notes", "ada", "a program on this computer", "Nobody has verified", "Read your notes"]
        {
            assert!(page.contains(words), "{words}: {page}");
        }
        let form = [("form", &*field(&page, "form")), ("request", &*query), ("decision", "allow")];
        let answer = self.post("/oauth/consent", &form).await;
        let answer = Url::parse(&location(&answer)).unwrap();
        let answer: HashMap<_, _> = answer.query_pairs().into_owned().collect();
        assert_eq!((&*answer["state"], &*answer["iss"], answer.len()), ("s 1", ISSUER, 3));
        answer["code"].clone()
    }

    async fn exchange(&mut self, client: &str, code: &str) -> SiteAnswer {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", client),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
            ("resource", "https://MCP.example.com/mcp/?kb_name=x"),
        ];
        self.post("/oauth/token", &form).await
    }
}

fn json_of(answer: &SiteAnswer) -> Value {
    serde_json::from_slice(answer.body()).unwrap()
}

fn text_of(answer: &SiteAnswer) -> String {
    String::from_utf8(answer.body().to_vec()).unwrap()
}

fn location(answer: &SiteAnswer) -> String {
    answer
        .headers()
        .get(LOCATION)
        .unwrap_or_else(|| panic!("{}", text_of(answer)))
        .to_str()
        .unwrap()
        .to_owned()
}

/// The value of a hidden field.
fn field(page: &str, name: &str) -> String {
    let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{page}"));
    rest.split('"').next().unwrap().replace("&amp;", "&")
}

fn request(client: &str) -> String {
    changed(client, &[])
}

/// The query of a request with these values. An empty value removes its parameter.
fn changed(client: &str, changes: &[(&str, &str)]) -> String {
    let challenge = crate::database::grants::challenge_of(VERIFIER);
    let mut params = vec![
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", REDIRECT),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("state", "s 1"),
        ("scope", "mcp:read openid offline_access"),
        ("resource", RESOURCE),
    ];
    params.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    params.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish()
}

#[tokio::test]
async fn a_person_lets_a_client_in_and_ends_its_access() {
    let mut browser = Browser::new();
    let client = browser.register().await;
    let code = browser.allow(&client).await;
    let tokens = json_of(&browser.exchange(&client, &code).await);
    assert_eq!(tokens["scope"], "mcp:read", "{tokens}");
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let form = [("grant_type", "refresh_token"), ("client_id", &*client), ("refresh_token", refresh)];
    assert_eq!(browser.post("/token", &form).await.status(), StatusCode::OK);
    let page = text_of(&browser.get("/account").await);
    let form = [("form", &*field(&page, "form")), ("grant", &*field(&page, "grant"))];
    assert_eq!(location(&browser.post("/account", &form).await), "/account");
    assert!(browser.accounts.ended().contains("\"sid\""));
    let form = [("grant_type", "refresh_token"), ("client_id", &*client), ("refresh_token", refresh)];
    assert_eq!(json_of(&browser.post("/token", &form).await)["error"], "invalid_grant");
}

#[tokio::test]
async fn a_client_ends_its_own_access_and_a_person_logs_out() {
    let mut browser = Browser::new();
    let client = browser.register().await;
    let code = browser.allow(&client).await;
    let tokens = json_of(&browser.exchange(&client, &code).await);
    let form = [("token", tokens["access_token"].as_str().unwrap()), ("client_id", &*client)];
    assert_eq!(browser.post("/oauth/revoke", &form).await.status(), StatusCode::OK);
    assert!(browser.accounts.ended().contains("\"sid\""));
    let page = text_of(&browser.get("/logout").await);
    let form = [("form", &*field(&page, "form"))];
    assert!(text_of(&browser.post("/logout", &form).await).contains("You are logged out"));
    assert_eq!(location(&browser.get("/account").await), "/login");
}

#[tokio::test]
async fn pages_are_safe_from_scripts_frames_and_caches() {
    let mut browser = Browser::new();
    let client = browser.register().await;
    let page = browser.get(&format!("/authorize?{}", request(&client))).await;
    let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("form-action") && !policy.contains("unsafe"), "{policy}");
    for (name, value) in
        [("cache-control", "no-store"), ("x-frame-options", "DENY"), ("referrer-policy", "no-referrer")]
    {
        assert_eq!(page.headers()[name], value);
    }
    assert!(!text_of(&page).contains("<script"));
    let page = text_of(&browser.get("/authorize?client_id=%3Cscript%3E").await);
    assert!(!page.contains("<script"), "{page}");
}

#[tokio::test]
async fn bad_requests_go_to_the_client_only_if_it_is_known() {
    let mut browser = Browser::new();
    let client = browser.register().await;
    for (name, value) in [
        ("client_id", "wgc_guess"),
        ("client_id", "other"),
        ("client_id", "https://127.0.0.1/x"),
        ("redirect_uri", "http://127.0.0.1:4711/other"),
        ("redirect_uri", "https://evil.example.com/cb"),
        ("redirect_uri", "http://127.0.0.1.evil.example.com:4711/cb"),
        ("redirect_uri", "http://u@127.0.0.1:4711/cb"),
        ("redirect_uri", ""),
    ] {
        let answer = browser.get(&format!("/authorize?{}", changed(&client, &[(name, value)]))).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{name}={value}");
        assert!(!answer.headers().contains_key(LOCATION), "{name}={value}");
    }
    let twice = format!("/authorize?{}&state=2", request(&client));
    assert_eq!(browser.get(&twice).await.status(), StatusCode::BAD_REQUEST);
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("resource", "https://else.example.com/mcp", "invalid_target"),
        ("response_mode", "fragment", "invalid_request"),
        ("request", "x", "request_not_supported"),
        ("prompt", "none", "interaction_required"),
    ] {
        let answer = browser.get(&format!("/authorize?{}", changed(&client, &[(name, value)]))).await;
        let place = location(&answer);
        assert!(place.starts_with(&format!("{REDIRECT}?error={error}&")), "{name}={value}: {place}");
        assert_eq!(place.matches("iss=https%3A%2F%2Fmcp.example.com").count(), 1, "{place}");
        assert_eq!(place.matches("state=s+1").count(), 1, "{place}");
    }
}

#[tokio::test]
async fn a_loopback_client_may_take_another_port() {
    let mut browser = Browser::new();
    let client = browser.register().await;
    let query = changed(&client, &[("redirect_uri", "http://127.0.0.1:9/cb")]);
    assert!(text_of(&browser.get(&format!("/authorize?{query}")).await).contains("Password"));
}

#[tokio::test]
async fn forms_of_others_do_nothing() {
    let mut browser = Browser::new();
    let client = browser.register().await;
    let query = request(&client);
    let page = browser.get(&format!("/authorize?{query}")).await;
    // Another browser's token.
    let mut other = Browser::new();
    let foreign = field(&text_of(&other.get("/login").await), "form");
    let form = [("form", &*foreign), ("name", "ada"), ("password", PASSWORD)];
    assert_eq!(browser.post("/login", &form).await.status(), StatusCode::OK);
    assert!(!browser.cookies.contains_key("__Host-witgate-session"));
    browser.log_in(&page, PASSWORD).await;
    let page = text_of(&browser.get(&format!("/authorize?{query}")).await);
    let token = field(&page, "form");
    // The token of one request for another one.
    let else_query = changed(&client, &[("state", "other")]);
    for (token, query) in [("", &query), ("x", &query), (&*token, &else_query)] {
        let form = [("form", token), ("request", query), ("decision", "allow")];
        let answer = browser.post("/oauth/consent", &form).await;
        assert_eq!(answer.status(), StatusCode::OK, "the page is shown again");
    }
    let form = [("form", &*token), ("request", &*query), ("decision", "deny")];
    assert!(location(&browser.post("/oauth/consent", &form).await).contains("error=access_denied"));
    let form = [("form", &*token), ("request", &*query), ("decision", "allow"), ("paste", "yes")];
    assert!(text_of(&browser.post("/oauth/consent", &form).await).contains("code="));
    assert_eq!(browser.post("/account", &[("form", &*token)]).await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn failed_logins_look_alike() {
    let mut browser = Browser::new();
    let page = browser.get("/login").await;
    let token = field(&text_of(&page), "form");
    let mut texts = Vec::new();
    browser.accounts.open().add_user("ben", &browser.accounts.ada.hash, &[]).unwrap();
    browser.accounts.open().disable_user("ben").unwrap();
    // An unknown name costs what a known one does: a hash of the same kind and cost.
    let decoy = browser.accounts.open().decoy("nobody").unwrap();
    assert_eq!(decoy.kind(), browser.accounts.ada.hash.kind());
    for (hashed, (name, password)) in (1..).zip([("ada", "wrong"), ("nobody", PASSWORD), ("ben", PASSWORD)]) {
        let form = [("form", &*token), ("name", name), ("password", password)];
        let answer = browser.post("/login", &form).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert_eq!(browser.site.passwords.hashed(), hashed, "{name}");
        texts.push(text_of(&answer));
    }
    assert!(texts.iter().all(|text| text == &texts[0] && text.contains("is wrong")), "{texts:?}");
    assert!(!browser.cookies.contains_key("__Host-witgate-session"));
    browser.peer = Some("192.0.2.1".parse().unwrap());
    let began = std::time::Instant::now();
    let answer = browser.log_in(&page, PASSWORD).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "guesses in a pause are no faster");
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers()["retry-after"], "9");
}

#[tokio::test]
async fn metadata_says_what_is_served() {
    let mut browser = Browser::new();
    for place in ["", "/mcp"].map(|suffix| format!("/.well-known/oauth-authorization-server{suffix}")) {
        let metadata = json_of(&browser.get(&place).await);
        assert_eq!(
            (&metadata["issuer"], &metadata["code_challenge_methods_supported"]),
            (&ISSUER.into(), &json!(["S256"]))
        );
        for name in [
            "authorization_endpoint",
            "token_endpoint",
            "registration_endpoint",
            "revocation_endpoint",
            "jwks_uri",
        ] {
            let path = metadata[name].as_str().unwrap().strip_prefix(ISSUER).unwrap().to_owned();
            assert!(browser.site.has(&path), "{path}");
        }
    }
    let keys = json_of(&browser.get("/oauth/jwks").await);
    assert!(keys["keys"][0].get("d").is_none() && keys["keys"][0]["kty"] == "EC", "{keys}");
    assert_eq!(
        browser.send(Method::DELETE, "/token", String::new(), "").await.status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn a_person_makes_and_ends_keys_of_their_own() {
    let mut browser = Browser::new();
    assert_eq!(location(&browser.get("/account/keys").await), "/login");
    let page = browser.get("/login").await;
    browser.log_in(&page, PASSWORD).await;
    let page = text_of(&browser.get("/account/keys").await);
    for words in ["There are none", "Read your notes", "name=\"scope.mcp:read\"", "Valid for"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let token = field(&page, "form");
    let new = |name, current| {
        [("form", &*token), ("name", name), ("scope.mcp:read", "yes"), ("days", "30"), ("current", current)]
    };
    for wrong in [
        vec![("name", "ci"), ("days", "30")],
        vec![("form", &*token), ("name", "ci"), ("days", "0")],
        vec![("form", &*token), ("name", "ci"), ("days", "30"), ("scope.mcp:admin", "yes")],
    ] {
        assert_eq!(browser.post("/account/keys", &wrong).await.status(), StatusCode::BAD_REQUEST);
    }
    // A session alone is not enough.
    let refused = browser.post("/account/keys", &new("ci", "wrong")).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(text_of(&refused).contains("The password is wrong") && !text_of(&refused).contains("wgk_"));
    assert!(text_of(&browser.get("/account").await).contains("Keys for programs</a>: 0"));
    let answer = browser.post("/account/keys", &new("ci", PASSWORD)).await;
    let page = text_of(&answer);
    assert!(page.contains(">wgk_") && page.contains("shown only once"), "{page}");
    let place = browser.accounts.place().own_keys();
    let file = || std::fs::read_to_string(&place).unwrap();
    assert!(file().contains("scopes = [\"mcp:read\"]") && !file().contains("wgk_"), "{}", file());
    assert!(text_of(&browser.get("/account").await).contains("Keys for programs</a>: 1"));
    let again = browser.post("/account/keys", &new("ci", PASSWORD)).await;
    assert_eq!(again.status(), StatusCode::BAD_REQUEST);
    assert!(text_of(&again).contains("a key of this name already"), "{}", text_of(&again));
    let page = text_of(&browser.get("/account/keys").await);
    assert!(!page.contains("wgk_"), "{page}");
    let end = [("form", &*token), ("end", &*field(&page, "end"))];
    assert_eq!(location(&browser.post("/account/keys", &end).await), "/account/keys");
    assert!(text_of(&browser.get("/account/keys").await).contains("There are none"));
    assert!(file().contains("revoked"), "{}", file());
}

#[tokio::test]
async fn a_faulty_request_sends_nobody_to_another_site() {
    let mut browser = Browser::new();
    let metadata = json!({ "redirect_uris": ["https://evil.example.com/cb"] }).to_string();
    let answer = browser.send(Method::POST, "/register", metadata, "application/json").await;
    let client = json_of(&answer)["client_id"].as_str().unwrap().to_owned();
    let to_site = ("redirect_uri", "https://evil.example.com/cb");
    let page = browser.get("/login").await;
    browser.log_in(&page, PASSWORD).await;
    let silent = changed(&client, &[to_site, ("prompt", "none")]);
    let logged_in = text_of(&browser.get(&format!("/authorize?{silent}")).await);
    browser.cookies.clear();
    let logged_out = text_of(&browser.get(&format!("/authorize?{silent}")).await);
    assert_eq!(logged_in, logged_out, "nobody learns who is logged in");
    for fault in [("prompt", "none"), ("response_type", "token"), ("code_challenge", "short")] {
        let answer = browser.get(&format!("/authorize?{}", changed(&client, &[to_site, fault]))).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{fault:?}");
        assert!(!answer.headers().contains_key(LOCATION), "{fault:?}");
        let page = text_of(&answer);
        assert!(
            page.contains("href=\"https://evil.example.com/cb?error=") && page.contains("evil"),
            "{page}"
        );
    }
}

#[tokio::test]
async fn a_browser_in_which_a_user_has_logged_in_is_known_for_them() {
    let mut browser = Browser::new();
    for known in [0, 1] {
        let page = browser.get("/login").await;
        assert_eq!(browser.log_in(&page, PASSWORD).await.status(), StatusCode::SEE_OTHER);
        assert_eq!(browser.counts.all(), [known + 1, 0, 0, known]);
    }
    let page = text_of(&browser.get("/login").await);
    let form = [("form", &*field(&page, "form")), ("name", "ben"), ("password", PASSWORD)];
    browser.post("/login", &form).await;
    assert_eq!(browser.counts.all(), [2, 1, 0, 1], "not for others");
}

#[tokio::test]
async fn a_login_whose_connection_is_closed_before_the_answer_counts_as_wrong() {
    let mut browser = Browser::new();
    let page = text_of(&browser.get("/login").await);
    let form = [("form", &*field(&page, "form")), ("name", "ada"), ("password", "wrong")];
    let counts = Arc::clone(&browser.counts);
    let gone = tokio::time::timeout(Duration::ZERO, browser.post("/login", &form)).await;
    assert!(gone.is_err());
    assert_eq!(counts.all(), [0, 1, 0, 0]);
}

#[tokio::test]
async fn a_login_ends_the_former_session_of_the_browser() {
    let mut browser = Browser::new();
    let page = browser.get("/login").await;
    browser.log_in(&page, PASSWORD).await;
    let former = browser.cookies.clone();
    let page = browser.get("/login").await;
    browser.log_in(&page, PASSWORD).await;
    assert_eq!(browser.get("/account").await.status(), StatusCode::OK);
    browser.cookies = former;
    assert_eq!(location(&browser.get("/account").await), "/login");
}

#[tokio::test]
async fn each_change_is_an_event_with_who_did_it() {
    let mut browser = Browser::new();
    browser.peer = Some("198.51.100.7".parse().unwrap());
    let client = browser.register().await;
    let code = browser.allow(&client).await;
    browser.exchange(&client, &code).await;
    browser.accounts.open().set_roles("ada", &["admin".to_owned()]).unwrap();
    let page = browser.get("/login").await;
    browser.log_in(&page, "wrong").await;
    browser.accounts_events();
    let ada = browser.accounts.ada.id.clone();
    let events = browser.events.lock().clone();
    let has = |action: AccountAction, by: Value| {
        events.iter().any(|event| event.action == action && json!(event.by) == by)
    };
    let operator = json!(crate::event::Actor::operator());
    for (action, by) in [
        (AccountAction::UserAdded, operator.clone()),
        (AccountAction::LoggedIn, json!({ "user": ada })),
        (AccountAction::AccessGiven, json!({ "user": ada })),
        (AccountAction::RolesChanged, operator),
        (AccountAction::LoginRefused, Value::Null),
    ] {
        assert!(has(action, by), "{action:?}: {events:#?}");
    }
    let seen = events.iter().find(|event| event.action == AccountAction::LoggedIn).unwrap();
    assert_eq!((seen.peer, seen.name.as_deref()), (browser.peer, Some("ada")));
    assert!(!format!("{events:?}").contains("wrong"), "{events:#?}");
}

#[tokio::test]
async fn a_token_that_is_used_again_is_recorded_with_its_client_and_address() {
    let mut browser = Browser::new();
    browser.peer = Some("198.51.100.7".parse().unwrap());
    let client = browser.register().await;
    let code = browser.allow(&client).await;
    let tokens = json_of(&browser.exchange(&client, &code).await);
    let first = tokens["refresh_token"].as_str().unwrap().to_owned();
    let mut token = first.clone();
    for _ in 0..2 {
        let form = [("grant_type", "refresh_token"), ("client_id", &*client), ("refresh_token", &*token)];
        token = json_of(&browser.post("/token", &form).await)["refresh_token"].as_str().unwrap().to_owned();
    }
    let form = [("grant_type", "refresh_token"), ("client_id", &*client), ("refresh_token", &*first)];
    assert_eq!(json_of(&browser.post("/token", &form).await)["error"], "invalid_grant");
    let page = text_of(&browser.get("/logout").await);
    browser.post("/logout", &[("form", &*field(&page, "form"))]).await;
    browser.accounts_events();
    let events = browser.events.lock();
    let find = |action| events.iter().find(|event| event.action == action).unwrap();
    let ended = find(AccountAction::AccessEnded);
    assert_eq!((ended.reason.as_deref(), ended.peer), (Some("refresh-reused"), browser.peer));
    assert_eq!(json!(ended.by), json!({ "client": client }));
    assert_eq!(find(AccountAction::LoggedOut).peer, browser.peer);
}

/// The files of the accounts with their content, except for the memory that processes share.
fn stored(accounts: &TestAccounts) -> HashMap<std::path::PathBuf, Vec<u8>> {
    let folders = [accounts.folder.path().to_owned(), accounts.place().folder.clone()];
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let files = files.filter(|path| !path.to_string_lossy().ends_with("-shm"));
    files.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

#[tokio::test]
async fn a_flood_of_registrations_writes_nothing() {
    let mut browser = Browser::new();
    browser.accounts_events();
    let (before, events) = (stored(&browser.accounts), browser.events.lock().len());
    assert!(before.len() >= 5, "{:?}", before.keys());
    for number in 0..10_000 {
        let good = format!("https://site-{number}.example.com/cb");
        let redirect = if number % 2 == 0 { good } else { format!("javascript:{number}") };
        let body = json!({ "redirect_uris": [redirect], "client_name": format!("Flood {number}") });
        let answer = browser.send(Method::POST, "/register", body.to_string(), "application/json").await;
        assert_eq!(answer.status().is_success(), number % 2 == 0, "{number}");
        assert!(answer.body().len() < 1_024 && !answer.headers().contains_key(SET_COOKIE), "{number}");
    }
    assert_eq!(stored(&browser.accounts), before);
    assert_eq!(browser.events.lock().len(), events);
}
