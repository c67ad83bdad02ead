//! Sessions of a login, over renewals, other logins and the stop.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ::http::header::AUTHORIZATION;
use ::http::{HeaderValue, Method, Response};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use parking_lot::Mutex;
use secrecy::SecretString;
use tower::Service;
use url::Url;
use witgate_base::clock;
use witgate_base::party::{ANONYMOUS, Principal};
use witgate_config::credentials::{
    ClientProof, CredentialSettings, EqualSecret, GrantSettings, OutboundSource, Retrieval, TokenSettings,
};
use witgate_config::identity::IdentitySettings;
use witgate_credentials::grant_key::GrantKey;
use witgate_credentials::grant_store::{GrantStore, StoredGrant};
use witgate_credentials::login_id::LoginId;
use witgate_credentials::registry::OutboundCredentials;
use witgate_flow::port::Upstream as _;
use witgate_message::headers::SESSION_ID;
use witgate_services::network::Ways;

use super::super::held_session::HttpHeldSession;
use super::super::outgoing::{self, Outgoing};
use super::*;
use crate::bridge::InitializeAnswer;

/// A server that refuses some tokens.
#[derive(Clone, Default)]
struct ServerDouble {
    refused: Option<&'static str>,
    delay: Duration,
    /// The requests: method, session, and token.
    seen: Arc<Mutex<Vec<(Method, String, String)>>>,
    /// The requests at this moment, and their maximum.
    open: Arc<AtomicUsize>,
    most_open: Arc<AtomicUsize>,
}

impl Service<Outgoing> for ServerDouble {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, outgoing: Outgoing) -> Self::Future {
        let header = |name: &str| {
            let value = outgoing.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (session, token) = (header(SESSION_ID.as_str()), header(AUTHORIZATION.as_str()));
        let is_refused = self.refused == Some(&*token);
        self.seen.lock().push((outgoing.method().clone(), session, token));
        self.most_open.fetch_max(self.open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let (delay, open) = (self.delay, Arc::clone(&self.open));
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            open.fetch_sub(1, Ordering::SeqCst);
            let mut response = Response::new(Full::default());
            if is_refused {
                *response.status_mut() = StatusCode::UNAUTHORIZED;
            }
            Ok(response)
        })
    }
}

/// An upstream with a login that all callers share.
struct Scene {
    upstream: HttpUpstream,
    server: ServerDouble,
    credential: Arc<UpstreamCredential>,
    store: GrantStore,
    /// The provider, which nobody should ask.
    provider: TcpListener,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn new(server: ServerDouble) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let provider = TcpListener::bind("127.0.0.1:0").unwrap();
        provider.set_nonblocking(true).unwrap();
        let url = Url::parse(&format!("http://{}/token", provider.local_addr().unwrap())).unwrap();
        let token = TokenSettings {
            token_url: url.clone(),
            issuer: "https://provider.example.com".into(),
            client_id: "gate".into(),
            proof: ClientProof::Post(Retrieval::Secret(EqualSecret("secret".into()))),
            scopes: Vec::new(),
            audience: None,
            resource: None,
            refresh_before: Duration::from_secs(300),
        };
        let grant = GrantSettings {
            authorize_url: url,
            token,
            issuer: None,
            params: BTreeMap::new(),
            redirect_uri: Url::parse("http://127.0.0.1/callback").unwrap(),
            account_url: None,
            connect: None,
            names_scopes: false,
            is_endless: false,
            state: folder.path().to_owned(),
            file: None,
        };
        let store = GrantStore::of(&grant);
        let settings = CredentialSettings {
            name: "hub".into(),
            header: AUTHORIZATION,
            prefix: "Bearer ".to_owned(),
            source: OutboundSource::Grant(Box::new(grant)),
        };
        let ways = Ways::new(&witgate_config::Network::default());
        let credential = OutboundCredentials::new(ways).with(&Arc::new(settings)).unwrap();
        let upstream = upstream(&server).with_credential(Some(Arc::clone(&credential)));
        Self { upstream, server, credential, store, provider, _folder: folder }
    }

    /// Stores a token of `login` that lives for so many seconds.
    fn store(&self, login: LoginId, access: &str, seconds: u64) {
        let key = GrantKey::shared(&"hub".into());
        let grant = StoredGrant {
            login,
            account: None,
            access: access.into(),
            refresh: Some("refresh".into()),
            end: Some(clock::since_epoch().as_secs() + seconds),
            renewal: None,
            scopes: Vec::new(),
            has_ended: false,
        };
        self.store.write(&key, &grant, &self.store.lock(&key).unwrap()).unwrap();
    }

    /// Stores another token, which is in use from now on.
    async fn replace(&self, login: LoginId, access: &str) {
        self.store(login, access, 3600);
        self.credential.renew(None).await.unwrap();
    }

    async fn compose<'s>(&self, session: Option<&'s BoundSession>) -> Result<ComposedRequest<'s>, Rejection> {
        compose(&self.upstream, session).await
    }

    /// A session that a request of now has opened.
    async fn session(&self) -> BoundSession {
        session(&self.upstream).await
    }

    async fn farewells(&self) -> Vec<String> {
        farewells(&self.upstream, &self.server).await
    }
}

async fn compose<'s>(
    upstream: &HttpUpstream,
    session: Option<&'s BoundSession>,
) -> Result<ComposedRequest<'s>, Rejection> {
    let id = session.and_then(BoundSession::id).cloned();
    let draft = |uri: &Uri, own: &HeaderMap| outgoing::own_post(uri, own, Bytes::new(), None, id.as_ref());
    upstream.compose(RequestSender::Witgate, session, draft).await
}

/// A session that a request of now has opened.
async fn session(upstream: &HttpUpstream) -> BoundSession {
    let composed = compose(upstream, None).await.unwrap();
    let answered = upstream.request(composed).await.unwrap();
    BoundSession::opened(Some(&HeaderValue::from_static("s")), answered.given, answered.token)
}

/// The requests to end sessions, with their tokens.
async fn farewells(upstream: &HttpUpstream, server: &ServerDouble) -> Vec<String> {
    upstream.farewells.settle().await;
    let seen = server.seen.lock();
    seen.iter().filter(|(method, ..)| method == Method::DELETE).map(|(.., token)| token.clone()).collect()
}

fn upstream(server: &ServerDouble) -> HttpUpstream {
    let uri = Uri::from_static("http://localhost/mcp");
    HttpUpstream::of_service(server.clone(), uri, Duration::from_secs(10))
}

fn login() -> LoginId {
    LoginId::random().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_login() {
    let scene = Scene::new(ServerDouble::default());
    let former = login();
    scene.store(former, "a", 3600);
    let session = scene.session().await;
    // A renewal changes nothing, whatever the provider calls the account.
    scene.replace(former, "b").await;
    assert!(scene.compose(Some(&session)).await.is_ok());
    assert!(session.ended().now_or_never().is_none());
    scene.replace(login(), "c").await;
    for _ in 0..2 {
        let refused = scene.compose(Some(&session)).await.err();
        assert!(matches!(refused, Some(Rejection::SessionNotFound)), "{refused:?}");
        assert!(session.ended().now_or_never().is_some(), "its streams end");
    }
    assert_eq!(scene.farewells().await, ["Bearer b"], "once, in the name of its login");
    assert!(scene.compose(None).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_never_gets_the_token_of_another_login_after_a_refusal() {
    for is_other in [false, true] {
        let scene = Scene::new(ServerDouble { refused: Some("Bearer a"), ..ServerDouble::default() });
        let former = login();
        scene.store(former, "a", 3600);
        let session = scene.session().await;
        let composed = scene.compose(Some(&session)).await.unwrap();
        let alone = scene.compose(None).await.unwrap();
        let newer = if is_other { login() } else { former };
        scene.replace(newer, "b").await;
        match scene.upstream.request(composed).await {
            Err(SendFault::OtherLogin) => assert!(is_other),
            Err(fault) => panic!("{fault:?}"),
            Ok(answered) => {
                assert!(!is_other);
                assert_eq!(answered.response.status(), StatusCode::OK);
            }
        }
        let in_session: Vec<_> =
            scene.server.seen.lock().iter().filter(|(.., session, _)| session == "s").cloned().collect();
        let has_newer = in_session.iter().any(|(.., token)| token == "Bearer b");
        assert_eq!(has_newer, !is_other, "{in_session:?}");
        // A request that opens a session belongs to the login that is accepted.
        let answered = scene.upstream.request(alone).await.unwrap();
        assert_eq!(answered.response.status(), StatusCode::OK);
        assert_eq!(answered.token.unwrap().login(), Some(newer));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_a_login_has_no_request_without_it() {
    let scene = Scene::new(ServerDouble::default());
    scene.store(login(), "a", 3600);
    let token = scene.upstream.request(scene.compose(None).await.unwrap()).await.unwrap().token;
    let given = scene.upstream.given.load_full();
    let session = BoundSession::opened(None, Arc::clone(&given), None);
    let admits = |token: Option<&Arc<HeldToken>>| session.admits(&given, token);
    assert!(admits(None) && admits(token.as_ref()), "the first login");
    assert!(!admits(None) && admits(token.as_ref()));
    scene.replace(login(), "b").await;
    let other = scene.upstream.request(scene.compose(None).await.unwrap()).await.unwrap().token;
    assert!(!admits(other.as_ref()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_session_is_worth_no_renewal() {
    let scene = Scene::new(ServerDouble::default());
    scene.store(login(), "a", 2);
    let session = scene.session().await;
    let farewell = || {
        let callers = HeaderMap::new();
        scene.upstream.farewells.compose(RequestSender::Witgate, &session, None, &callers)
    };
    assert!(farewell().is_some());
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert!(farewell().is_none());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(scene.provider.accept().is_err(), "nobody has asked the provider");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_many_sessions_in_a_bounded_time() {
    for (delay, is_told) in [(Duration::from_millis(10), true), (Duration::from_secs(60), false)] {
        let server = ServerDouble { delay, ..ServerDouble::default() };
        let upstream = upstream(&server);
        let id = HeaderValue::from_static("s");
        let session = BoundSession::opened(Some(&id), upstream.given.load_full(), None);
        (0..100).for_each(|_| upstream.farewells.say(&session, None));
        let begin = Instant::now();
        upstream.shut_down().await;
        assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
        assert!(server.most_open.load(Ordering::SeqCst) <= 16);
        assert_eq!(server.seen.lock().len() == 100, is_told);
    }
}

/// An upstream with a credential that is no login, which a reload replaces.
struct FixedScene {
    upstream: HttpUpstream,
    server: ServerDouble,
    all: Arc<OutboundCredentials>,
}

impl FixedScene {
    fn new(secret: Option<&str>, header: &str) -> Self {
        let server = ServerDouble::default();
        let all = OutboundCredentials::new(Ways::closed());
        let scene = Self { upstream: upstream(&server), server, all };
        scene.reload(secret, header);
        scene
    }

    fn reload(&self, secret: Option<&str>, header: &str) {
        let credential = secret.map(|secret| {
            let settings = CredentialSettings {
                name: "hub".into(),
                header: AUTHORIZATION,
                prefix: String::new(),
                source: OutboundSource::Static(Retrieval::Secret(EqualSecret(secret.into()))),
            };
            self.all.with(&Arc::new(settings)).unwrap()
        });
        let headers = [("x-team".to_owned(), SecretString::from(header))];
        self.upstream.giving().replace(&headers, &[], &IdentitySettings::default(), credential).unwrap();
    }
}

#[tokio::test]
async fn a_session_ends_if_a_reload_changes_a_credential_that_is_no_login() {
    for (secret, header) in [(Some("b"), "red"), (None, "red"), (Some("a"), "blue")] {
        let scene = FixedScene::new(Some("a"), "red");
        let session = session(&scene.upstream).await;
        scene.reload(Some("a"), "red");
        assert!(compose(&scene.upstream, Some(&session)).await.is_ok(), "nothing has changed");
        scene.reload(secret, header);
        for _ in 0..2 {
            let refused = compose(&scene.upstream, Some(&session)).await.err();
            assert!(matches!(refused, Some(Rejection::SessionNotFound)), "{refused:?}");
        }
        assert!(session.ended().now_or_never().is_some(), "its streams end");
        assert!(compose(&scene.upstream, None).await.is_ok());
        let told = farewells(&scene.upstream, &scene.server).await;
        assert_eq!(told, ["a"], "once, with the credential of the session");
    }
    let scene = FixedScene::new(None, "red");
    let session = session(&scene.upstream).await;
    scene.reload(Some("a"), "red");
    assert!(compose(&scene.upstream, Some(&session)).await.is_err(), "it was opened without a credential");
}

#[tokio::test]
async fn a_reload_ends_unused_sessions_of_the_bridge_with_another_account() {
    let scene = FixedScene::new(Some("a"), "red");
    let hold = async |name: &str| {
        let bound = session(&scene.upstream).await;
        let (opened, meter) = (InitializeAnswer::default(), Default::default());
        let held = Arc::new(HttpHeldSession::begin(opened, bound, meter));
        let principal = Principal::new("keys".into(), None, name);
        scene.upstream.held.insert(principal, Arc::clone(&held));
        held
    };
    drop(hold("ada").await);
    let in_use = hold("bob").await;
    scene.reload(Some("a"), "red");
    assert_eq!(scene.upstream.held.len(), 2, "nothing has changed");
    scene.reload(Some("b"), "red");
    assert_eq!(scene.upstream.held.len(), 0);
    assert!(in_use.bound.ended().now_or_never().is_none(), "its call goes on");
    assert_eq!(farewells(&scene.upstream, &scene.server).await, ["a"]);
}

#[tokio::test]
async fn a_session_that_has_ended_has_no_message_of_nobody() {
    let scene = FixedScene::new(Some("a"), "red");
    let session = session(&scene.upstream).await;
    let nobody = CredentialUser::new(Principal::new(ANONYMOUS.into(), None, ANONYMOUS), None);
    let given = scene.upstream.given.load_full();
    let is_admitted = || scene.upstream.is_admitted(Some(&session), Some(&nobody), (&given, None));
    assert!(is_admitted());
    session.end();
    assert!(!is_admitted());
}
