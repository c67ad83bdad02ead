//! The way from a link to an account, and those who are not let through.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::json;
use tempfile::TempDir;
use witgate_config::Network;
use witgate_config::credentials::{ConnectSettings, CredentialSettings};

use super::*;
use crate::credential_user::CredentialUser;
use crate::provider_double::{ProviderDouble, grant_of};
use crate::registry::OutboundCredentials;

struct Scene {
    desk: Arc<ConnectDesk>,
    credential: Arc<UpstreamCredential>,
    settings: CredentialSettings,
    provider: ProviderDouble,
    _folder: TempDir,
}

impl Scene {
    /// A provider that answers each code with tokens of its own.
    fn new(local_port: Option<u16>) -> Self {
        let provider = ProviderDouble::start(|form, _| {
            let code = form.get("code").cloned().unwrap_or_default();
            let answer =
                json!({ "access_token": format!("access-{code}"), "token_type": "bearer", "scope": "repo" });
            (200, answer.to_string())
        });
        let folder = tempfile::tempdir().unwrap();
        let mut settings = provider.credential(folder.path());
        grant_of(&mut settings).connect = Some(ConnectSettings { redirect_uri: None });
        let ways = Ways::new(&Network::default());
        let all = OutboundCredentials::new(Arc::clone(&ways));
        let credential = all.with(&Arc::new(settings.clone())).unwrap();
        Self {
            desk: ConnectDesk::new(ways, local_port).unwrap(),
            credential,
            settings,
            provider,
            _folder: folder,
        }
    }

    fn invitee(&self, subject: &str) -> Invitee {
        Invitee {
            credential: Arc::clone(&self.credential),
            principal: principal(subject),
            upstream: 0,
            resource: "https://gate.example.com/mcp".into(),
        }
    }

    /// The text of a link for `subject`.
    fn link(&self, subject: &str) -> String {
        let url = self.desk.invite(&self.invitee(subject)).unwrap().url;
        url.query().unwrap().strip_prefix("t=").unwrap().to_owned()
    }

    fn begin(&self, link: &str, browser: &str, subject: &str) -> Result<Url, LinkError> {
        self.desk.begin("hub", link, browser, ConnectProof::Principal(&principal(subject)))
    }

    async fn finish(&self, target: &str, browser: &str) -> Result<ConnectOutcome, LinkError> {
        self.desk.finish("hub", target, &|_: &Url| Some(browser.into())).await
    }

    async fn disconnect(&self, link: &str, browser: &str) -> Result<ConnectOutcome, LinkError> {
        self.desk.disconnect("hub", link, &|_: &Url| Some(browser.into())).await
    }

    /// The answer of the provider to a browser that was sent to `url`.
    fn answer(url: &Url, rest: &str) -> String {
        let (_, state) = url.query_pairs().find(|(name, _)| name == "state").unwrap();
        format!("/connect/hub/callback?{rest}&state={state}")
    }

    async fn sent(&self, subject: &str) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        let user = CredentialUser::new(principal(subject), None);
        self.credential.add_to(&mut headers, Some(&user)).await.map_err(|fault| fault.reason())?;
        Ok(headers[AUTHORIZATION].to_str().unwrap().to_owned())
    }
}

fn principal(subject: &str) -> Principal {
    Principal::new("keys".into(), None, subject)
}

fn problem<T>(result: Result<T, LinkError>) -> OutboundProblem {
    match result.map(drop) {
        Err(LinkError::Problem(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_connects_an_account_that_nobody_else_gets() {
    let scene = Scene::new(None);
    let mut announced = scene.desk.announcements();
    assert_eq!(scene.sent("ada").await, Err("connect-required"));
    let link = scene.link("ada");
    let facts = scene.desk.look("hub", &link).unwrap();
    assert_eq!(facts.page.as_str(), "https://gate.example.com/connect/hub");
    let url = scene.begin(&link, "browser", "ada").unwrap();
    let redirect = url.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
    assert_eq!(redirect, "https://gate.example.com/connect/hub/callback");
    let answer = Scene::answer(&url, "code=1");
    let outcome = scene.finish(&answer, "browser").await.unwrap();
    assert_eq!(outcome.principal, Some(principal("ada")));
    assert_eq!(outcome.result.unwrap().not_granted, ["read:user"]);
    assert_eq!(announced.recv().await.unwrap().principal, principal("ada"));
    assert_eq!(scene.sent("ada").await.as_deref(), Ok("Bearer access-1"));
    for other in ["eve", ""] {
        assert_eq!(scene.sent(other).await, Err("connect-required"), "{other}");
    }
    let namesake =
        CredentialUser::new(Principal::new("idp".into(), Some("https://idp.example.com"), "ada"), None);
    let fault = scene.credential.add_to(&mut HeaderMap::new(), Some(&namesake)).await.unwrap_err();
    assert_eq!(fault.reason(), "connect-required");
    let nobody = CredentialUser::new(Principal::new("anonymous".into(), None, "anonymous"), None);
    let fault = scene.credential.add_to(&mut HeaderMap::new(), Some(&nobody)).await.unwrap_err();
    assert_eq!(fault.reason(), "no-principal");
    assert_eq!(
        scene.credential.add_to(&mut HeaderMap::new(), None).await.unwrap_err().reason(),
        "no-principal"
    );
    // Each code is redeemed once.
    assert_eq!(problem(scene.finish(&answer, "browser").await), OutboundProblem::StateMismatch);
    assert_eq!(scene.provider.forms().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_another_principal_opens_binds_to_nobody() {
    let scene = Scene::new(None);
    let link = scene.link("ada");
    assert!(matches!(
        problem(scene.begin(&link, "browser of eve", "eve")),
        OutboundProblem::ConnectDenied { .. }
    ));
    let machine = scene.desk.begin("hub", &link, "browser of eve", ConnectProof::SameMachine);
    assert!(matches!(problem(machine), OutboundProblem::ConnectDenied { .. }));
    assert_eq!(scene.desk.begin("other", &link, "b", ConnectProof::SameMachine), Err(LinkError::Unknown));
    // It is still that of ada, who goes to the provider and gives its address to eve.
    let url = scene.begin(&link, "browser of ada", "ada").unwrap();
    let answer = Scene::answer(&url, "code=of-eve");
    let outcome = scene.finish(&answer, "browser of eve").await.unwrap();
    assert_eq!(outcome.principal, None, "nobody is blamed");
    assert_eq!(outcome.result.unwrap_err(), OutboundProblem::StateMismatch);
    assert!(scene.provider.forms().is_empty(), "the code is not redeemed");
    for subject in ["ada", "eve"] {
        assert_eq!(scene.sent(subject).await, Err("connect-required"), "{subject}");
    }
    let forged = answer.replace("state=", "state=x");
    assert_eq!(problem(scene.finish(&forged, "browser of ada").await), OutboundProblem::StateMismatch);
    let twice = format!("{answer}&state=x");
    assert_eq!(problem(scene.finish(&twice, "browser of ada").await), OutboundProblem::StateMismatch);
    // Nothing of that ends the login of ada.
    let outcome = scene.finish(&Scene::answer(&url, "code=2"), "browser of ada").await.unwrap();
    assert!(outcome.result.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_used_once_and_is_the_same_until_then() {
    let scene = Scene::new(None);
    let link = scene.link("ada");
    assert_eq!(scene.link("ada"), link, "a client that repeats its call fills no table");
    assert_ne!(scene.link("bob"), link);
    scene.begin(&link, "browser", "ada").unwrap();
    assert_eq!(scene.desk.look("hub", &link), None);
    assert_eq!(scene.begin(&link, "browser", "ada"), Err(LinkError::Unknown));
    assert_ne!(scene.link("ada"), link);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_provider_ends_the_link() {
    let scene = Scene::new(None);
    let url = scene.begin(&scene.link("ada"), "browser", "ada").unwrap();
    let answer = Scene::answer(&url, "error=access_denied");
    let outcome = scene.finish(&answer, "browser").await.unwrap();
    assert_eq!(outcome.result.unwrap_err().detail(), Some("the provider refuses the login: access_denied"));
    assert_eq!(scene.desk.links.lock().counts(), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_disconnected_by_the_browser_that_has_connected_it() {
    let scene = Scene::new(None);
    let url = scene.begin(&scene.link("ada"), "browser", "ada").unwrap();
    let outcome = scene.finish(&Scene::answer(&url, "code=1"), "browser").await.unwrap();
    let link = outcome.result.unwrap().link;
    let other = scene.disconnect(&link, "another browser").await;
    assert_eq!(problem(other), OutboundProblem::StateMismatch);
    assert_eq!(scene.sent("ada").await.as_deref(), Ok("Bearer access-1"));
    scene.disconnect(&link, "browser").await.unwrap().result.unwrap();
    assert_eq!(scene.sent("ada").await, Err("connect-required"));
    assert_eq!(
        scene.desk.connected(&scene.invitee("ada"), "browser").await,
        Err(OutboundProblem::NotConnected)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn over_stdio_the_page_is_on_this_machine_and_shows_a_number() {
    let scene = Scene::new(Some(4711));
    let issued = scene.desk.invite(&scene.invitee("ada")).unwrap();
    assert!(issued.url.as_str().starts_with("http://127.0.0.1:4711/connect/hub?t="), "{}", issued.url);
    let code = issued.code.unwrap();
    assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
    let link = issued.url.query().unwrap().strip_prefix("t=").unwrap().to_owned();
    assert_eq!(scene.desk.look("hub", &link).unwrap().code, Some(code));
    let url = scene.desk.begin("hub", &link, "browser", ConnectProof::SameMachine).unwrap();
    let outcome = scene.finish(&Scene::answer(&url, "code=1"), "browser").await.unwrap();
    assert!(outcome.result.is_ok());
    assert_eq!(scene.sent("ada").await.as_deref(), Ok("Bearer access-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_is_bounded_and_each_principal_has_a_share() {
    let scene = Scene::new(None);
    let first = scene.link("bob");
    for _ in 0..100 {
        // Used links stay until their end.
        scene.begin(&scene.link("ada"), "browser", "ada").unwrap();
    }
    let (links, principals, states) = scene.desk.links.lock().counts();
    assert_eq!((links, principals, states), (17, 2, 16));
    assert!(scene.desk.look("hub", &first).is_some(), "the others lose nothing");
    assert!(!format!("{:?}", scene.settings).contains("secret"));
}

#[test]
fn a_form_is_for_one_browser_and_one_link() {
    let desk = ConnectDesk::new(Ways::closed(), None).unwrap();
    let token = desk.form_token("browser", "link");
    assert!(desk.is_form_token(&token, "browser", "link"));
    for (browser, link) in [("other", "link"), ("browser", "other"), ("", ""), ("browser link", "")] {
        assert!(!desk.is_form_token(&token, browser, link), "{browser} {link}");
    }
    let other = ConnectDesk::new(Ways::closed(), None).unwrap();
    assert!(!other.is_form_token(&token, "browser", "link") && !desk.is_form_token("", "browser", "link"));
}
