//! The way from a link to an account, and those who are not let through.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::json;
use tempfile::TempDir;
use witgate_config::Network;
use witgate_config::credentials::{ConnectSettings, CredentialSettings};
use witgate_services::network::Ways;

use super::*;
use crate::credential_user::CredentialUser;
use crate::provider_double::{ProviderDouble, grant_of};
use crate::registry::OutboundCredentials;

struct Scene {
    desk: Arc<ConnectDesk>,
    credential: Arc<UpstreamCredential>,
    all: Arc<OutboundCredentials>,
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
        grant_of(&mut settings).connect = Some(ConnectSettings { redirect_uri: None, only_for_calls: false });
        let ways = Ways::new(&Network::default());
        let all = OutboundCredentials::new(ways);
        let credential = all.with(&Arc::new(settings.clone())).unwrap();
        Self {
            desk: ConnectDesk::new(Arc::clone(&all), local_port).unwrap(),
            credential,
            all,
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
        self.desk.begin(&self.credential, link, browser, ConnectProof::Principal(&principal(subject)))
    }

    async fn finish(&self, target: &str, browser: &str) -> Result<ConnectOutcome, LinkError> {
        let (browser, live) = (|_: &Url| Some(browser.into()), |_: usize| Some(Arc::clone(&self.credential)));
        let change = self.desk.finish("hub", target, (&browser, &live))?;
        Ok(change.make().await)
    }

    async fn disconnect(&self, link: &str, browser: &str) -> Result<ConnectOutcome, LinkError> {
        let change = self.desk.disconnect("hub", link, &|_: &Url| Some(browser.into()))?;
        Ok(change.make().await)
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
    let machine = scene.desk.begin(&scene.credential, &link, "browser of eve", ConnectProof::SameMachine);
    assert!(matches!(problem(machine), OutboundProblem::ConnectDenied { .. }));
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
async fn the_page_over_stdio_is_on_this_machine_and_shows_a_number() {
    let scene = Scene::new(Some(4711));
    let issued = scene.desk.invite(&scene.invitee("ada")).unwrap();
    assert!(issued.url.as_str().starts_with("http://127.0.0.1:4711/connect/hub?t="), "{}", issued.url);
    let code = issued.code.unwrap();
    assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
    let link = issued.url.query().unwrap().strip_prefix("t=").unwrap().to_owned();
    assert_eq!(scene.desk.look("hub", &link).unwrap().code, Some(code));
    let url = scene.desk.begin(&scene.credential, &link, "browser", ConnectProof::SameMachine).unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_when_its_credential_is_replaced() {
    let scene = Scene::new(None);
    let mut settings = scene.settings.clone();
    settings.prefix = "token ".to_owned();
    let reloaded = scene.all.with(&Arc::new(settings)).unwrap();
    let open = scene.link("ada");
    let proof = ConnectProof::SameMachine;
    assert_eq!(scene.desk.begin(&reloaded, &open, "browser", proof), Err(LinkError::Unknown));
    let url = scene.begin(&open, "browser", "ada").unwrap();
    let target = Scene::answer(&url, "code=1");
    let (browser, live) = (|_: &Url| Some("browser".into()), |_: usize| Some(Arc::clone(&reloaded)));
    let change = scene.desk.finish("hub", &target, (&browser, &live));
    assert_eq!(change.err(), Some(LinkError::Unknown));
    assert!(scene.provider.forms().is_empty(), "the code is not redeemed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_not_made_connects_nothing_and_ends_the_link() {
    let scene = Scene::new(None);
    let url = scene.begin(&scene.link("ada"), "browser", "ada").unwrap();
    let target = Scene::answer(&url, "code=1");
    let (browser, live) = (|_: &Url| Some("browser".into()), |_: usize| Some(Arc::clone(&scene.credential)));
    drop(scene.desk.finish("hub", &target, (&browser, &live)).unwrap());
    assert!(scene.provider.forms().is_empty(), "the code is not redeemed");
    assert_eq!(scene.desk.links.lock().counts(), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_credential_forgets_the_account_too() {
    let scene = Scene::new(None);
    let url = scene.begin(&scene.link("ada"), "browser", "ada").unwrap();
    let outcome = scene.finish(&Scene::answer(&url, "code=1"), "browser").await.unwrap();
    let link = outcome.result.unwrap().link;
    let mut settings = scene.settings.clone();
    settings.prefix = "token ".to_owned();
    let reloaded = scene.all.with(&Arc::new(settings)).unwrap();
    let user = CredentialUser::new(principal("ada"), None);
    reloaded.add_to(&mut HeaderMap::new(), Some(&user)).await.unwrap();
    scene.disconnect(&link, "browser").await.unwrap().result.unwrap();
    let fault = reloaded.add_to(&mut HeaderMap::new(), Some(&user)).await.unwrap_err();
    assert_eq!(fault.reason(), "connect-required");
}

#[test]
fn a_form_is_for_one_browser_and_one_link() {
    let desk = ConnectDesk::new(OutboundCredentials::new(Ways::closed()), None).unwrap();
    let token = desk.form_token("browser", "link");
    assert!(desk.is_form_token(&token, "browser", "link"));
    for (browser, link) in [("other", "link"), ("browser", "other"), ("", ""), ("browser link", "")] {
        assert!(!desk.is_form_token(&token, browser, link), "{browser} {link}");
    }
    let other = ConnectDesk::new(OutboundCredentials::new(Ways::closed()), None).unwrap();
    assert!(!other.is_form_token(&token, "browser", "link") && !desk.is_form_token("", "browser", "link"));
}

#[test]
fn the_state_of_a_request_for_input_is_for_one_principal_and_one_call() {
    let scene = Scene::new(None);
    let (ada, eve) = (scene.invitee("ada"), scene.invitee("eve"));
    let [call, other] = [sha256(b"a call"), sha256(b"another call")];
    let state = scene.desk.seal_round(&ada, &call, "link").unwrap();
    assert!(!state.contains("link"));
    assert_eq!(scene.desk.open_round(&ada, &call, &state).as_deref(), Some("link"));
    for (invitee, call) in [(&eve, &call), (&ada, &other)] {
        assert_eq!(scene.desk.open_round(invitee, call, &state), None);
    }
    assert_eq!(scene.desk.open_round(&ada, &call, &state.replace(|c: char| c.is_ascii_digit(), "0")), None);
    assert_eq!(scene.desk.open_round(&ada, &call, ""), None);
    let restarted = ConnectDesk::new(OutboundCredentials::new(Ways::closed()), None).unwrap();
    assert_eq!(restarted.open_round(&ada, &call, &state), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_the_person_and_not_for_nothing() {
    let scene = Scene::new(None);
    let issued = scene.desk.invite(&scene.invitee("ada")).unwrap();
    scene.desk.settled("unknown").await;
    let url = scene.begin(&issued.link().unwrap(), "browser", "ada").unwrap();
    let (desk, id) = (Arc::clone(&scene.desk), issued.id.clone());
    let waiting = tokio::spawn(async move { desk.settled(&id).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    scene.finish(&Scene::answer(&url, "code=1"), "browser").await.unwrap().result.unwrap();
    timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    scene.desk.settled(&issued.id).await;
}
