//! Logins at doubles of providers.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use witgate_base::clock;
use witgate_config::Network;

use super::*;
use crate::test_provider::{CLIENT, TestServer, settings};

const NONCE: &str = "NONCE";

/// A change of the claims of an ID token.
type ClaimChange = fn(&mut Value);

/// A provider whose next ID token has some claims, and two browsers.
struct Fixture {
    server: TestServer,
    claims: Arc<Mutex<Value>>,
    providers: Providers,
    browser: SecretString,
    other: SecretString,
}

impl Fixture {
    fn new(change: impl FnOnce(&mut ProviderSettings)) -> Self {
        let claims = Arc::new(Mutex::new(Value::Null));
        let server = TestServer::openid(Arc::clone(&claims));
        let mut own = settings(&server.origin);
        change(&mut own);
        let second = ProviderSettings { name: "second".to_owned(), ..own.clone() };
        let providers = Providers::new(&[own, second], &Ways::new(&Network::default()));
        let [browser, other] = ["browser", "other"].map(SecretString::from);
        Self { server, claims, providers, browser, other }
    }

    fn begin(&self) -> HashMap<String, String> {
        let browser = LoginBrowser { secret: &self.browser, next: "n=1", source: CallerDigest::of("peer") };
        let url = self.providers.begin(0, browser).unwrap();
        url.query_pairs().into_owned().collect()
    }

    async fn finish(
        &self,
        provider: usize,
        query: &str,
        browser: &SecretString,
    ) -> Result<ProvenArrival, ProviderFault> {
        self.providers.finish(provider, query, (browser, CallerDigest::of("peer"))).await
    }

    /// A whole login whose ID token is changed. [`NONCE`] stands for the nonce of the login.
    async fn log_in(&self, change: impl FnOnce(&mut Value)) -> Result<ProvenArrival, ProviderFault> {
        let asked = self.begin();
        let now = clock::since_epoch().as_secs();
        let mut claims = json!({
            "iss": self.server.origin, "aud": CLIENT, "sub": "s1", "nonce": NONCE, "iat": now, "exp": now + 60,
            "preferred_username": "ada",
        });
        change(&mut claims);
        if claims["nonce"] == NONCE {
            claims["nonce"] = asked["nonce"].clone().into();
        }
        *self.claims.lock() = claims;
        self.finish(0, &format!("code=c&state={}", asked["state"]), &self.browser).await
    }
}

fn code(outcome: Result<ProvenArrival, ProviderFault>) -> &'static str {
    outcome.map_or_else(|fault| fault.code(), |_| "good")
}

#[tokio::test]
async fn a_person_is_who_the_id_token_says() {
    let fixture = Fixture::new(|_| {});
    let proven = fixture.log_in(|_| {}).await.unwrap_or_else(|fault| panic!("{fault:?}"));
    assert_eq!(proven.next, "n=1");
    let arrival = proven.arrival;
    assert_eq!((&*arrival.subject, &*arrival.name, arrival.gets_account), ("s1", "ada", true));
    assert_eq!(arrival.issuer, fixture.server.origin);
    let asked = fixture.begin();
    assert_eq!((&*asked["code_challenge_method"], &*asked["scope"]), ("S256", "openid"));
    assert!(asked["nonce"].len() >= 43 && asked["state"].len() >= 43);
    assert!(asked["redirect_uri"].ends_with("/login/with/hub/callback"));
}

#[tokio::test]
async fn an_id_token_for_something_else_is_refused() {
    let fixture = Fixture::new(|_| {});
    let changes: &[(&str, ClaimChange)] = &[
        ("another issuer", |claims| claims["iss"] = "https://evil.example.com".into()),
        ("another client", |claims| claims["aud"] = "other".into()),
        ("no audience", |claims| drop(claims.as_object_mut().unwrap().remove("aud"))),
        ("another party", |claims| claims["azp"] = "other".into()),
        ("a party that is no text", |claims| claims["azp"] = 1.into()),
        ("several audiences without a party", |claims| claims["aud"] = json!([CLIENT, "other"])),
        ("expired", |claims| claims["exp"] = 1.into()),
        ("no end", |claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
        ("no time", |claims| drop(claims.as_object_mut().unwrap().remove("iat"))),
        ("another nonce", |claims| claims["nonce"] = "x".into()),
        ("no nonce", |claims| drop(claims.as_object_mut().unwrap().remove("nonce"))),
        ("no subject", |claims| drop(claims.as_object_mut().unwrap().remove("sub"))),
        ("a subject that is no text", |claims| claims["sub"] = 7.into()),
        ("no token", |claims| *claims = "".into()),
        ("no JWT", |claims| *claims = "a.b.c".into()),
    ];
    for (what, change) in changes {
        assert_eq!(code(fixture.log_in(change).await), "provider-token", "{what}");
    }
    let several = |claims: &mut Value| {
        claims["aud"] = json!([CLIENT, "other"]);
        claims["azp"] = CLIENT.into();
    };
    assert_eq!(code(fixture.log_in(several).await), "good");
    // Some providers mark their ID tokens.
    assert_eq!(code(fixture.log_in(|claims| claims["typ"] = "ID".into()).await), "good");
}

#[tokio::test]
async fn an_id_token_needs_a_signature_of_the_issuer() {
    let fixture = Fixture::new(|_| {});
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for (header, signature) in [
        (json!({ "alg": "none" }), ""),
        (json!({ "alg": "HS256" }), "c2ln"),
        (json!({ "alg": "ES256" }), "c2ln"),
        (json!({ "alg": "ES256", "typ": "logout+jwt" }), "c2ln"),
    ] {
        let origin = fixture.server.origin.clone();
        let asked = fixture.begin();
        let now = clock::since_epoch().as_secs();
        let claims = json!({
            "iss": origin, "aud": CLIENT, "sub": "s1", "nonce": asked["nonce"], "iat": now, "exp": now + 60,
        });
        *fixture.claims.lock() = format!("{}.{}.{signature}", part(header.clone()), part(claims)).into();
        let query = format!("code=c&state={}", asked["state"]);
        assert_eq!(code(fixture.finish(0, &query, &fixture.browser).await), "provider-token", "{header}");
    }
}

#[tokio::test]
async fn an_answer_belongs_to_one_login_in_one_browser_at_one_provider() {
    let fixture = Fixture::new(|_| {});
    let state = fixture.begin()["state"].clone();
    let good = format!("code=c&state={state}");
    let finish = async |provider, query: &str, browser| code(fixture.finish(provider, query, browser).await);
    for query in
        ["", "code=c", "code=c&state=", "code=c&state=x", &format!("code=c&state={state}&state={state}")]
    {
        assert_eq!(finish(0, query, &fixture.browser).await, "provider-state", "{query}");
    }
    assert_eq!(finish(0, &good, &fixture.other).await, "provider-state", "another browser");
    assert_eq!(finish(7, &good, &fixture.browser).await, "provider-state", "no provider");
    // The other attempts have not used it up.
    assert_eq!(finish(0, &good, &fixture.browser).await, "provider-token", "there is no ID token");
    assert_eq!(finish(0, &good, &fixture.browser).await, "provider-state", "a second time");
    let state = fixture.begin()["state"].clone();
    assert_eq!(finish(1, &format!("code=c&state={state}"), &fixture.browser).await, "provider-state");
    for (rest, refused) in [
        ("code=c&iss=https://evil.example.com", "provider-issuer"),
        ("error=access_denied", "provider-refused"),
        ("error=access_denied&iss=https://evil.example.com", "provider-issuer"),
        ("code=c&code=d", "provider-state"),
        ("nothing=1", "provider-state"),
    ] {
        let state = fixture.begin()["state"].clone();
        assert_eq!(finish(0, &format!("{rest}&state={state}"), &fixture.browser).await, refused, "{rest}");
    }
}

#[tokio::test]
async fn only_people_whom_a_rule_fits_get_in() {
    let fixture = Fixture::new(|settings| {
        settings.allow = Some(vec![PersonRule::Domain("example.com".to_owned())]);
        let admins = vec![PersonRule::Group("admins".to_owned()), PersonRule::Subject("s7".to_owned())];
        settings.roles = [("admin".to_owned(), admins)].into();
    });
    let email = |address: &'static str, verified: bool| {
        move |claims: &mut Value| {
            claims["email"] = address.into();
            claims["email_verified"] = verified.into();
        }
    };
    assert_eq!(code(fixture.log_in(|_| {}).await), "provider-not-allowed");
    assert_eq!(code(fixture.log_in(email("ada@example.com", false)).await), "provider-not-allowed");
    assert_eq!(code(fixture.log_in(email("ada@example.org", true)).await), "provider-not-allowed");
    let arrival = fixture.log_in(email("ada@example.com", true)).await.ok().unwrap().arrival;
    assert_eq!(
        (arrival.roles["admin"], arrival.matches_email),
        (false, false),
        "addresses find nobody by themselves"
    );
    let grouped = |claims: &mut Value| {
        email("ada@example.com", true)(claims);
        claims["groups"] = json!(["x", "admins"]);
    };
    assert!(fixture.log_in(grouped).await.ok().unwrap().arrival.roles["admin"]);
}

#[tokio::test]
async fn a_refused_person_is_known_with_the_roles_that_they_lose() {
    let fixture = Fixture::new(|settings| {
        settings.allow = Some(vec![PersonRule::Group("staff".to_owned())]);
        settings.roles = [("admin".to_owned(), vec![PersonRule::Everybody])].into();
    });
    let Err(ProviderFault::NotAllowed(refused)) = fixture.log_in(|_| {}).await else { panic!() };
    assert_eq!((&*refused.issuer, &*refused.subject), (&*fixture.server.origin, "s1"));
    assert_eq!((&*refused.provider, &*refused.roles), ("hub", &["admin".to_owned()][..]));
}

#[test]
fn a_login_holds_no_request_that_is_too_long() {
    let fixture = Fixture::new(|_| {});
    let begin = |length: usize| {
        let next = "n".repeat(length);
        let browser =
            LoginBrowser { secret: &fixture.browser, next: &next, source: CallerDigest::of("peer") };
        fixture.providers.begin(0, browser).map_err(|fault| fault.code()).map(drop)
    };
    assert_eq!((begin(LONGEST_NEXT), begin(LONGEST_NEXT + 1)), (Ok(()), Err("request-malformed")));
}

#[tokio::test]
async fn further_claims_are_of_the_same_person() {
    let further = TestServer::start(|_| {
        |path: &str, _: &str| match path {
            "/same" => (200, json!({ "sub": "s1", "groups": ["g"], "email": "x@example.com" }).to_string()),
            "/other" => (200, json!({ "sub": "s2", "groups": ["g"] }).to_string()),
            "/none" => (200, "{}".to_owned()),
            _ => (500, String::new()),
        }
    });
    for (path, expected) in [
        ("same", "good"),
        ("other", "provider-token"),
        ("none", "provider-token"),
        ("away", "provider-unreachable"),
    ] {
        let fixture = Fixture::new(|settings| {
            let url = Url::parse(&format!("{}/{path}", further.origin)).unwrap();
            settings.form = ProviderForm::OpenId { userinfo: Some(url), has_hosted_domain: false };
            settings.allow = Some(vec![PersonRule::Group("g".to_owned())]);
            settings.matches_email = true;
        });
        // The address of one source is not verified by the other one.
        let outcome = fixture.log_in(|claims| claims["email_verified"] = true.into()).await;
        if let Ok(proven) = &outcome {
            assert_eq!(proven.arrival.email, None);
        }
        assert_eq!(code(outcome), expected, "{path}");
    }
}

/// GitHub issues no ID tokens: its API says who somebody is, and in which organizations.
#[tokio::test]
async fn a_person_at_github_is_known_by_their_number() {
    let server = TestServer::start(|_| {
        |path: &str, _: &str| match path {
            "/token" => (200, json!({ "access_token": "a", "token_type": "bearer" }).to_string()),
            "/user" => {
                (200, json!({ "id": 583_231, "login": "Octocat", "email": "o@acme.example" }).to_string())
            }
            "/user/emails" => {
                let other = json!({ "email": "x@acme.example", "primary": false, "verified": true });
                let primary = json!({ "email": "O@Acme.Example", "primary": true, "verified": true });
                (200, json!([other, primary]).to_string())
            }
            "/user/memberships/orgs/acme" => (200, json!({ "state": "active" }).to_string()),
            "/user/memberships/orgs/invited" => (200, json!({ "state": "pending" }).to_string()),
            "/user/memberships/orgs/broken" => (500, String::new()),
            "/user/memberships/orgs/limited" => (403, json!({ "message": "rate limit" }).to_string()),
            "/user/memberships/orgs/throttled" => (429, String::new()),
            _ => (404, json!({ "message": "Not Found" }).to_string()),
        }
    });
    let log_in = async |organization: &str| {
        let mut own = settings(&server.origin);
        own.form = ProviderForm::Github {
            user: Url::parse(&format!("{}/user", server.origin)).unwrap(),
            organizations: vec![organization.to_owned()],
            needs_email: true,
        };
        own.allow = Some(vec![PersonRule::Organization(organization.to_owned())]);
        own.matches_email = true;
        own.roles = [("admin".to_owned(), vec![PersonRule::Login("octocat".to_owned())])].into();
        let providers = Providers::new(&[own], &Ways::new(&Network::default()));
        let (secret, source) = (SecretString::from("browser"), CallerDigest::of("peer"));
        let url = providers.begin(0, LoginBrowser { secret: &secret, next: "", source }).unwrap();
        let asked: HashMap<_, _> = url.query_pairs().into_owned().collect();
        assert!(!asked.contains_key("nonce"));
        providers.finish(0, &format!("code=c&state={}", asked["state"]), (&secret, source)).await
    };
    let arrival = log_in("acme").await.unwrap_or_else(|fault| panic!("{fault:?}")).arrival;
    assert_eq!((&*arrival.subject, &*arrival.name), ("583231", "Octocat"));
    assert_eq!((arrival.email.as_deref(), arrival.roles["admin"]), (Some("o@acme.example"), true));
    for (organization, expected) in [
        ("invited", "provider-not-allowed"),
        ("other", "provider-not-allowed"),
        ("broken", "provider-unreachable"),
        ("limited", "provider-unreachable"),
        ("throttled", "provider-unreachable"),
    ] {
        assert_eq!(code(log_in(organization).await), expected, "{organization}");
    }
}
