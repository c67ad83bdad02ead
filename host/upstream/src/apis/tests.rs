//! Requests of a process to an API, over real connections.

use std::collections::VecDeque;

use ::http::header::AUTHORIZATION;
use ::http::{HeaderName, StatusCode};
use bytes::Bytes;
use http_body_util::Full;
use parking_lot::Mutex;
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use url::Url;
use witgate_config::Network;
use witgate_config::credentials::{
    ApiSettings, ClientProof, CredentialSettings, EqualSecret, OutboundSource, Retrieval, SecretPlace,
    TokenSettings,
};
use witgate_credentials::registry::OutboundCredentials;
use witgate_services::network::Ways;

use super::*;

type DoubleAnswer = Response<Full<Bytes>>;

/// A request as an API gets it.
#[derive(Clone, Debug)]
struct SeenRequest {
    line: String,
    headers: ::http::HeaderMap,
    body: Bytes,
}

/// An API, which notes its requests, and answers with these answers first, and then with 200.
#[derive(Clone)]
struct ApiDouble {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<SeenRequest>>>,
    answers: Arc<Mutex<VecDeque<DoubleAnswer>>>,
}

impl ApiDouble {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let double = Self { address, seen: Arc::default(), answers: Arc::default() };
        let server = double.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move {
                    let respond = |request| {
                        let server = server.clone();
                        async move { Ok::<_, hyper::Error>(server.answer(request).await) }
                    };
                    let serving = http1::Builder::new();
                    let _ = serving.serve_connection(TokioIo::new(stream), service_fn(respond)).await;
                });
            }
        });
        double
    }

    async fn answer(&self, request: Request<Incoming>) -> DoubleAnswer {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let line = format!("{} {}", head.method, head.uri);
        let is_token = head.uri.path() == "/token";
        self.seen.lock().push(SeenRequest { line, headers: head.headers, body });
        if is_token {
            let number = self.seen().iter().filter(|request| request.line == "POST /token").count();
            let token =
                format!(r#"{{"access_token":"token-{number}","token_type":"Bearer","expires_in":3600}}"#);
            return Response::new(Full::new(token.into()));
        }
        let next = self.answers.lock().pop_front();
        next.unwrap_or_else(|| Response::new(Full::new(Bytes::from_static(b"good"))))
    }

    fn will_answer(&self, status: u16, headers: &[(&str, &str)]) {
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        self.answers.lock().push_back(answer.body(Full::new(Bytes::new())).unwrap());
    }

    fn seen(&self) -> Vec<SeenRequest> {
        self.seen.lock().clone()
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).unwrap()
    }
}

fn fixed(value: Retrieval, header: HeaderName, prefix: &str) -> CredentialSettings {
    let source = OutboundSource::Static(value);
    CredentialSettings { name: "weather".into(), header, prefix: prefix.to_owned(), source }
}

fn bearer(secret: &str) -> CredentialSettings {
    fixed(Retrieval::Secret(EqualSecret(secret.into())), AUTHORIZATION, "Bearer ")
}

fn token(api: &ApiDouble) -> CredentialSettings {
    let source = OutboundSource::ClientCredentials(TokenSettings {
        token_url: api.url("/token"),
        issuer: "idp".into(),
        client_id: "gate".into(),
        proof: ClientProof::Post(Retrieval::Secret(EqualSecret("client-secret".into()))),
        scopes: Vec::new(),
        audience: None,
        resource: None,
        refresh_before: Duration::from_secs(300),
    });
    CredentialSettings { source, ..bearer("") }
}

/// The listener of an upstream with one API.
struct ListenerDouble {
    listener: ApiListener,
    all: Arc<OutboundCredentials>,
}

impl ListenerDouble {
    fn new(to: Url, credential: CredentialSettings) -> Self {
        Self::within(to, credential, Duration::from_secs(20))
    }

    /// The API has to answer within this time.
    fn within(to: Url, credential: CredentialSettings, timeout: Duration) -> Self {
        let all = OutboundCredentials::new(Ways::new(&Network::default()));
        let settings = ApiSettings { to, credential: Arc::new(credential) };
        let credential = all.with(&settings.credential).unwrap();
        let route = ApiRoute::new("WEATHER_API", &settings, credential, all.ways(), timeout).unwrap();
        Self { listener: ApiListener::start(vec![Arc::new(route)]).unwrap(), all }
    }

    /// `/` and the secret.
    fn prefix(&self) -> String {
        let (name, address) = self.listener.variables().remove(0);
        assert_eq!(name, "WEATHER_API");
        let url = Url::parse(address.expose_secret()).unwrap();
        assert_eq!(url.host_str(), Some("127.0.0.1"));
        url.path().to_owned()
    }

    /// The answer to these bytes, after which the connection is closed.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.listener.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn get(&self, path: &str) -> String {
        let prefix = self.prefix();
        self.raw(&format!("GET {prefix}{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
    }

    async fn post(&self, body: &str) -> String {
        let (prefix, length) = (self.prefix(), body.len());
        let head =
            format!("POST {prefix}/p HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}");
        self.raw(&format!("{head}\r\n\r\n{body}")).await
    }
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("no status in {answer:?}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_gets_the_credential_in_place_of_its_own() {
    let api = ApiDouble::start().await;
    let listener = ListenerDouble::new(api.url("/v2"), bearer("sesame"));
    let prefix = listener.prefix();
    let answer = listener
        .raw(&format!(
            "POST {prefix}/x?y=z HTTP/1.1\r\nHost: evil.example.com\r\nAuthorization: Bearer own\r\nX-Other: 1\r\n\
             Cookie: a=b\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nContent-Length: 4\r\n\r\nbody"
        ))
        .await;
    assert_eq!(status(&answer), 200, "{answer}");
    let [request] = api.seen().try_into().unwrap();
    assert_eq!((request.line.as_str(), &request.body[..]), ("POST /v2/x?y=z", &b"body"[..]));
    assert_eq!(request.headers["host"], api.address.to_string());
    assert_eq!(request.headers.get_all(AUTHORIZATION).iter().count(), 1);
    assert_eq!(request.headers[AUTHORIZATION], "Bearer sesame");
    assert_eq!(request.headers["x-other"], "1");
    for name in ["cookie", "x-hop"] {
        assert!(!request.headers.contains_key(name), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_without_the_secret_leads_nowhere() {
    let api = ApiDouble::start().await;
    let listener = ListenerDouble::new(api.url("/"), bearer("sesame"));
    let prefix = listener.prefix();
    let other = format!("{}x", prefix.strip_suffix(|_: char| true).unwrap());
    let host = "Host: x\r\nConnection: close\r\n\r\n";
    for target in ["/", "/x", "//", &other, &prefix[1..], &format!("{prefix}x/y"), &format!("/{prefix}"), "*"]
    {
        let answer = listener.raw(&format!("GET {target} HTTP/1.1\r\n{host}")).await;
        assert!([400, 404].contains(&status(&answer)), "{target}: {answer}");
    }
    let absolute = format!("GET http://{}{prefix}/x HTTP/1.1\r\n{host}", api.address);
    assert_eq!(status(&listener.raw(&absolute).await), 404);
    assert!(api.seen().is_empty(), "{:?}", api.seen());
}

/// Any program of the machine can connect.
#[tokio::test(flavor = "multi_thread")]
async fn connections_without_the_secret_take_no_place_of_the_processes() {
    let api = ApiDouble::start().await;
    let listener = ListenerDouble::new(api.url("/"), bearer("sesame"));
    // It does not ask for the end of the connection, and gets it.
    let answer = listener.raw("GET /x HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(status(&answer) == 404 && answer.contains("connection: close\r\n"), "{answer}");
    let mut process = TcpStream::connect(listener.listener.address).await.unwrap();
    let request = format!("GET {}/x HTTP/1.1\r\nHost: x\r\n\r\n", listener.prefix());
    process.write_all(request.as_bytes()).await.unwrap();
    assert!(process.read(&mut answer_buffer()).await.unwrap() > 0);
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(TcpStream::connect(listener.listener.address).await.unwrap());
    }
    let answer = timeout(Duration::from_secs(60), listener.get("/x")).await.unwrap();
    assert_eq!(status(&answer), 200);
    process.write_all(request.as_bytes()).await.unwrap();
    assert!(process.read(&mut answer_buffer()).await.unwrap() > 0, "the connection of a process stays");
    let mut first = silent.swap_remove(0);
    assert_eq!(first.read(&mut answer_buffer()).await.unwrap_or_default(), 0, "the oldest one is closed");
}

fn answer_buffer() -> [u8; 4096] {
    [0; 4096]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_never_leaves_that_of_the_api() {
    let api = ApiDouble::start().await;
    let listener = ListenerDouble::new(api.url("/v2"), bearer("sesame"));
    for path in ["/../admin", "/%2e%2e/admin", "/x/..%2f..%2fadmin", "/%252e%252e/admin", "/..;/admin"] {
        let answer = listener.get(path).await;
        assert!(status(&answer) == 400 && answer.contains("bad-path"), "{path}: {answer}");
    }
    assert!(api.seen().is_empty());
    for (path, line) in [("", "GET /v2"), ("//evil.example.com/x", "GET /v2//evil.example.com/x")] {
        assert_eq!(status(&listener.get(path).await), 200);
        assert_eq!(api.seen().last().unwrap().line, line);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_shows_the_credential_is_refused() {
    let api = ApiDouble::start().await;
    let listener = ListenerDouble::new(api.url("/"), bearer("sesame"));
    let prefix = listener.prefix();
    for method in ["TRACE", "CONNECT"] {
        let request = format!("{method} {prefix}/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = listener.raw(&request).await;
        assert!([400, 404, 405].contains(&status(&answer)), "{method}: {answer}");
    }
    assert!(api.seen().is_empty());
}

/// Without the header, the API would create what the process wants to delete.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_for_another_method_is_refused() {
    let api = ApiDouble::start().await;
    let listener = ListenerDouble::new(api.url("/"), bearer("sesame"));
    let prefix = listener.prefix();
    for header in ["X-HTTP-Method-Override", "x-http-method", "X_Method_Override"] {
        let request = format!(
            "POST {prefix}/x HTTP/1.1\r\nHost: x\r\n{header}: DELETE\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let answer = listener.raw(&request).await;
        assert!(status(&answer) == 400 && answer.contains("method-override"), "{header}: {answer}");
    }
    assert!(api.seen().is_empty());
}

/// hyper reads one framing, and writes its own.
#[tokio::test(flavor = "multi_thread")]
async fn two_framings_of_a_body_smuggle_no_request() {
    let api = ApiDouble::start().await;
    let listener = ListenerDouble::new(api.url("/"), bearer("sesame"));
    let prefix = listener.prefix();
    let hidden = format!("GET {prefix}/hidden HTTP/1.1\r\nHost: x\r\n\r\n");
    let length = hidden.len() + 5;
    for framing in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}"),
        "Content-Length: 5\r\nContent-Length: 6".to_owned(),
        "Transfer-Encoding: chunked, identity".to_owned(),
    ] {
        let before = api.seen().len();
        let head = format!("POST {prefix}/p HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{framing}\r\n\r\n");
        let answer = listener.raw(&format!("{head}0\r\n\r\n{hidden}")).await;
        let seen = api.seen().split_off(before);
        assert!(seen.len() <= 1 && answer.matches("HTTP/1.1 ").count() == 1, "{framing}: {seen:?} {answer}");
        assert!(seen.iter().all(|request| request.line == "POST /p"), "{framing}: {seen:?}");
        for request in seen {
            let is_chunked = request.headers.contains_key("transfer-encoding");
            assert!(!(is_chunked && request.headers.contains_key("content-length")), "{request:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_passed_on_and_not_followed() {
    let (api, other) = (ApiDouble::start().await, ApiDouble::start().await);
    let listener = ListenerDouble::new(api.url("/"), bearer("sesame"));
    for (code, to) in [(302, other.url("/x")), (307, other.url("/x")), (308, api.url("/y"))] {
        api.will_answer(code, &[("Location", to.as_str()), ("Set-Cookie", "a=b")]);
        let answer = listener.get("/x").await;
        assert_eq!(status(&answer), code);
        assert!(answer.contains(&format!("location: {to}\r\n")) && !answer.contains("a=b"), "{answer}");
    }
    assert_eq!((api.seen().len(), other.seen().len()), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_credential_is_told_and_the_api_gets_nothing() {
    let api = ApiDouble::start().await;
    let missing = Retrieval::Missing(SecretPlace::Variable("WEATHER_API_KEY".to_owned()));
    let missing = fixed(missing, HeaderName::from_static("x-api-key"), "");
    let listener = ListenerDouble::new(api.url("/"), missing);
    let answer = listener.get("/x").await;
    assert_eq!(status(&answer), 502);
    let body: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let expected = serde_json::json!({
        "error": "credential-missing",
        "message": "Missing required auth: WEATHER_API_KEY. Set the WEATHER_API_KEY environment variable.",
        "credential": "weather",
        "how": "Set the WEATHER_API_KEY environment variable",
    });
    assert_eq!(body, expected);
    assert!(api.seen().is_empty());
    let credential = listener.all.with(&Arc::new(bearer("sesame"))).unwrap();
    listener.listener.replace(|route| Some(route.with_credential(Arc::clone(&credential))));
    assert_eq!(status(&listener.get("/x").await), 200, "at the same address");
    assert_eq!(api.seen()[0].headers[AUTHORIZATION], "Bearer sesame");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_renewed_once_and_the_request_sent_once_more() {
    let api = ApiDouble::start().await;
    let listener = ListenerDouble::new(api.url("/"), token(&api));
    assert_eq!(status(&listener.post("first").await), 200);
    // A younger token is not replaced: the server might refuse every one.
    api.will_answer(401, &[]);
    assert_eq!(status(&listener.post("second").await), 401);
    tokio::time::sleep(Duration::from_secs(11)).await;
    api.will_answer(401, &[]);
    assert_eq!(status(&listener.post("third").await), 200);
    let calls: Vec<_> = api.seen().into_iter().filter(|request| request.line == "POST /p").collect();
    let sent = |request: &SeenRequest| {
        let token = request.headers[AUTHORIZATION].to_str().unwrap().to_owned();
        (token, String::from_utf8(request.body.to_vec()).unwrap())
    };
    let sent: Vec<_> = calls.iter().map(sent).collect();
    let expected = [("1", "first"), ("1", "second"), ("1", "third"), ("2", "third")];
    let expected = expected.map(|(token, body)| (format!("Bearer token-{token}"), body.to_owned()));
    assert_eq!(sent, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_stream_in_both_directions() {
    let api = ApiDouble::start().await;
    let listener = ListenerDouble::new(api.url("/"), token(&api));
    let large = "x".repeat(3 << 20);
    api.answers.lock().push_back(Response::new(Full::new(Bytes::from(large.clone()))));
    let answer = listener.post(&large).await;
    assert!(status(&answer) == 200 && answer.ends_with(&large));
    assert_eq!(api.seen().last().unwrap().body.len(), large.len());
    // A streamed body is gone after the first attempt.
    api.will_answer(401, &[]);
    assert_eq!(status(&listener.post(&large).await), 401);
    let prefix = listener.prefix();
    let chunked = format!(
        "POST {prefix}/p HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    );
    for method in ["POST", "GET"] {
        assert_eq!(status(&listener.raw(&chunked.replace("POST", method)).await), 200);
        let seen = api.seen().pop().unwrap();
        assert_eq!((&*seen.line, &seen.body[..]), (&*format!("{method} /p"), &b"abc"[..]));
    }
}

/// The time of an answer, whatever the credential and the form of the body are.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_does_not_answer_is_given_up() {
    // Nobody accepts its connections.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = Url::parse(&format!("http://{}/", silent.local_addr().unwrap())).unwrap();
    let listener = ListenerDouble::within(to, bearer("sesame"), Duration::from_millis(300));
    let prefix = listener.prefix();
    let head = format!("POST {prefix}/p HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for rest in ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"] {
        let answer = timeout(Duration::from_secs(10), listener.raw(&format!("{head}{rest}"))).await.unwrap();
        assert!(status(&answer) == 504 && answer.contains("api-timeout"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_away_is_told_without_its_address() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listener = ListenerDouble::new(Url::parse(&format!("http://{closed}/")).unwrap(), bearer("sesame"));
    let answer = listener.get("/x").await;
    assert!(status(&answer) == 502 && answer.contains("api-unreachable"), "{answer}");
    assert!(!answer.contains(&closed.to_string()) && !answer.contains("sesame"));
}

/// An address of the metadata of clouds.
#[tokio::test]
async fn a_link_local_address_is_no_api() {
    let all = OutboundCredentials::new(Ways::new(&Network::default()));
    let credential = Arc::new(bearer("sesame"));
    let to = Url::parse("http://[::ffff:169.254.169.254]/").unwrap();
    let settings = ApiSettings { to, credential: Arc::clone(&credential) };
    let in_use = all.with(&credential).unwrap();
    assert!(ApiRoute::new("A", &settings, in_use, all.ways(), Duration::from_secs(1)).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_refused_and_an_end_closes_all() {
    let api = ApiDouble::start().await;
    let listener = ListenerDouble::new(api.url("/"), bearer("sesame"));
    // No byte more than is read: what is not read when a connection is closed may take the answer with it.
    let mut head = format!("GET {}/x HTTP/1.1\r\nHost: x\r\nX-Large: ", listener.prefix());
    head.extend(std::iter::repeat_n('x', LARGEST_HEAD - head.len()));
    let answer = listener.raw(&head).await;
    assert_eq!(status(&answer), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.as_u16());
    let mut idle = TcpStream::connect(listener.listener.address).await.unwrap();
    listener.listener.end();
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or_default(), 0);
    let closed = async { while TcpStream::connect(listener.listener.address).await.is_ok() {} };
    timeout(Duration::from_secs(60), closed).await.expect("the port is closed");
}

#[tokio::test]
async fn a_secret_never_prints() {
    let api = ApiDouble::start().await;
    let listener = ListenerDouble::new(api.url("/"), bearer("sesame"));
    let (_, address) = listener.listener.variables().remove(0);
    let printed = format!("{:?} {:?} {address:?}", listener.listener, listener.listener.shared.routes.load());
    assert!(!printed.contains(&listener.prefix()[1..]) && !printed.contains("sesame"), "{printed}");
}
