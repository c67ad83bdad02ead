//! TLS and mutual TLS towards clients: real certificates, real handshakes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, await_some, unframed};
use witgate_tests::pki::{Authority, Issued, Order};
use witgate_tests::possession::{now, sha256};
use witgate_tests::tls_client::TlsClient;
use witgate_tests::wire::{Answer, Request};

const SECRET: &str = "a secret of the host that is long enough";
const ADA: &str = "spiffe://example.com/agents/ada";

/// The authorities of one test.
struct Pki {
    servers: Authority,
    clients: Authority,
}

impl Pki {
    fn new() -> Self {
        Self { servers: Authority::new("Servers CA"), clients: Authority::new("Clients CA") }
    }

    fn server(&self) -> Issued {
        self.servers.issue(&Order::server("127.0.0.1"))
    }

    fn client(&self) -> Issued {
        self.clients.issue(&Order::client(ADA))
    }
}

/// A directory with a certificate, its key and the clients' CA, and a configuration that names them.
fn set_up(pki: &Pki, more: &str) -> Setup {
    let setup = Setup::new().env("JWT_SECRET", SECRET);
    install(&setup, &pki.server());
    setup.file("clients.pem", pki.clients.pem());
    setup.component("jwt");
    setup.component("client-certificate");
    let upstream = |name: &str, policies: &str| {
        format!(
            "[upstreams.{name}]\nown_tools = true\n\
             [upstreams.{name}.pipeline]\nauthenticate = [{policies}]\nauthorize = ['roles']\n"
        )
    };
    let upstreams = [
        upstream("built-in", "'certificates', 'tokens'"),
        upstream("component", "'certificates-component', 'tokens-component'"),
        upstream("watched", "'tokens', 'watched'")
            .replace("authorize", "anonymous = { roles = ['agent'] }\nauthorize"),
        upstream("tokens", "'tokens'"),
        upstream("tokens-component", "'tokens-component'"),
    ];
    let policies = |suffix: &str, component: fn(&str) -> String| {
        format!(
            "[policies.certificates{suffix}]\nkind = 'client-certificate'\n{}\n\
             config = {{ subject = 'san-uri', roles = {{ agent = 'spiffe://example.com/agents/*' }} }}\n\
             [policies.tokens{suffix}]\nkind = 'jwt'\n{}\n\
             config = {{ keys = ['idp'], algorithms = ['HS256'] }}\n",
            component("client-certificate"),
            component("jwt"),
        )
    };
    setup.config(
        "",
        &format!(
            "[server.tls]\ncertificate = 'server.pem'\nkey = {{ file = 'server.key' }}\n{more}\n\
             [policies.watched]\nkind = 'client-certificate'\nmode = 'shadow'\nconfig.subject = 'san-uri'\n\
             [keys.idp]\nsecret = {{ env = 'JWT_SECRET' }}\n\
             [policies.roles]\nkind = 'rbac'\n[policies.roles.config.roles]\nagent = {{ allow = ['*'] }}\n\
             {}{}{}",
            policies("", |_| String::new()),
            policies("-component", |name| format!("component = 'plugins/{name}.wasm'")),
            upstreams.concat(),
        ),
    );
    setup
}

/// As operators do: each file is replaced by renaming.
fn install(setup: &Setup, issued: &Issued) {
    for (name, content) in [("server.key", &issued.key), ("server.pem", &issued.pem)] {
        let new = setup.file(".new", content);
        std::fs::rename(new, setup.dir().join(name)).unwrap();
    }
}

fn list(gateway: &Running, path: &str) -> Request {
    Request::stateless(&gateway.address(), path, "tools/list", json!({})).without("Connection")
}

fn token(gateway: &Running, path: &str, cnf: Value) -> String {
    let mut claims = json!({
        "sub": "bob", "aud": format!("https://{}{path}", gateway.address()), "exp": now() + 600, "roles": ["agent"],
    });
    if !cnf.is_null() {
        claims["cnf"] = cnf;
    }
    let key = EncodingKey::from_secret(SECRET.as_bytes()).unwrap();
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
}

fn reason(answer: Option<Answer>) -> (u16, String) {
    let answer = answer.expect("an answer");
    (answer.status, answer.refusal().2)
}

#[test]
fn only_https_is_accepted() {
    let pki = Pki::new();
    let gateway = set_up(&pki, "").serve();
    // The default resource, and with it the audience, says so.
    let request = list(&gateway, "/tokens/mcp").bearer(&token(&gateway, "/tokens/mcp", Value::Null));
    let mut connection = TlsClient::new(&pki.servers, None).connect(&gateway.address());
    for _ in 0..3 {
        let answer = connection.send(&request).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(connection.protocol().as_deref(), Some(&b"http/1.1"[..]));
    assert!(gateway.log().contains("serving https://"), "{}", gateway.log());
    assert_eq!(request.clone().with("Connection", "close").send().status, 0, "plain HTTP is not answered");
    assert!(TlsClient::new(&pki.clients, None).send(&request).is_none(), "the client does not trust it");
}

#[test]
fn a_slow_handshake_delays_no_other_client() {
    let pki = Pki::new();
    let gateway = set_up(&pki, "").serve();
    let dawdlers: Vec<_> = (0..32)
        .map(|number| {
            let mut stream = TcpStream::connect(gateway.address()).unwrap();
            if number % 2 == 0 {
                stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).unwrap();
            }
            stream
        })
        .collect();
    let request = list(&gateway, "/tokens/mcp");
    assert_eq!(reason(TlsClient::new(&pki.servers, None).send(&request)).1, "no-credential");
    // The gateway closes the connections of slow clients.
    for mut stream in dawdlers {
        stream.set_read_timeout(Some(witgate_tests::gateway::PATIENCE)).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
}

#[test]
fn a_new_certificate_is_used_for_new_connections() {
    let pki = Pki::new();
    let gateway = set_up(&pki, "").serve();
    let client = TlsClient::new(&pki.servers, None);
    let request = list(&gateway, "/tokens/mcp");
    let peer = || {
        let mut connection = client.connect(&gateway.address());
        connection.send(&request).expect("an answer");
        connection.server_certificate()
    };
    let mut old = client.connect(&gateway.address());
    assert_eq!(old.send(&request).unwrap().status, 401);
    let first = old.server_certificate();
    assert_eq!(peer(), first);

    let second = pki.server();
    install(gateway.setup(), &second);
    await_some("the new certificate", || (peer() == second.der).then_some(()));
    assert_eq!(old.send(&request).unwrap().status, 401, "the old connection goes on");

    // An unusable file is refused with its reason, and the former ones stay.
    gateway.setup().file("server.pem", "no certificate");
    gateway.await_log("was not applied; the former certificate stays: server.tls.certificate");
    assert_eq!(peer(), second.der);
    gateway.setup().file("server.pem", &pki.server().pem);
    gateway.await_log("certificate and key cannot be used together");
    assert_eq!(peer(), second.der);
    std::fs::remove_file(gateway.setup().dir().join("server.key")).unwrap();
    gateway.await_log("server.key cannot be read");
    assert_eq!(peer(), second.der);

    // After the repair.
    let third = pki.server();
    install(gateway.setup(), &third);
    await_some("the third certificate", || (peer() == third.der).then_some(()));
    assert_eq!(old.send(&request).unwrap().status, 401);
    for key in [&second.key, &third.key] {
        let secret = key.lines().nth(1).unwrap();
        assert!(!gateway.log().contains(secret), "a key is on the log");
    }
}

/// Sets the limit of descriptors of a process, and returns the former limit.
fn limit_descriptors(process: u32, limit: &str) -> String {
    let prlimit = |arguments: &[&str]| {
        let output =
            Command::new("prlimit").args(["--pid", &process.to_string()]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let before = prlimit(&["--nofile", "--output", "SOFT", "--noheadings", "--raw"]);
    prlimit(&[&format!("--nofile={limit}:")]);
    before
}

#[test]
fn a_new_certificate_is_used_without_a_notification_and_after_a_lack_of_descriptors() {
    let pki = Pki::new();
    let setup = set_up(&pki, "");
    let (links, names) = (setup.dir().join("links"), ["server.key", "server.pem"]);
    std::fs::create_dir(&links).unwrap();
    names.iter().for_each(|name| std::fs::hard_link(setup.dir().join(name), links.join(name)).unwrap());
    let gateway = setup.serve();
    let client = TlsClient::new(&pki.servers, None);
    let request = list(&gateway, "/tokens/mcp");
    let served = || {
        let mut connection = client.connect(&gateway.address());
        connection.send(&request).expect("an answer");
        connection.server_certificate()
    };
    let first = served();
    // The files themselves, by names in a directory that nobody watches.
    let second = pki.server();
    assert_ne!(second.der, first);
    std::fs::write(links.join("server.key"), &second.key).unwrap();
    std::fs::write(links.join("server.pem"), &second.pem).unwrap();
    await_some("the certificate without a notification", || (served() == second.der).then_some(()));

    let before = limit_descriptors(gateway.pid(), "1");
    let third = pki.server();
    install(gateway.setup(), &third);
    gateway.await_log("Too many open files");
    std::thread::sleep(Duration::from_secs(1));
    limit_descriptors(gateway.pid(), &before);
    await_some("the certificate that could not be read", || (served() == third.der).then_some(()));
}

#[test]
fn a_client_certificate_gives_an_identity() {
    let pki = Pki::new();
    let gateway = set_up(&pki, "client_ca = 'clients.pem'").serve();
    let client = pki.client();
    for path in ["/built-in/mcp", "/component/mcp"] {
        let request = list(&gateway, path);
        let send = |own: Option<&Issued>| TlsClient::new(&pki.servers, own).send(&request);
        let answer = send(Some(&client)).expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let log = gateway.await_log(&format!("subject=\"{ADA}\""));
        assert!(log.contains("issuer=\"CN=Clients CA"), "{log}");
        assert!(!log.contains("BEGIN CERTIFICATE"), "{log}");

        let other = pki.clients.issue(&Order::client("https://example.com/agents/ada"));
        let tools = |answer: Option<Answer>| answer.expect("an answer").names("tools", "name").len();
        assert!(tools(send(Some(&client))) > 0, "{path}");
        assert_eq!(tools(send(Some(&other))), 0, "no role: {path}");
        let nameless = pki.clients.issue(&Order::default());
        assert_eq!(reason(send(Some(&nameless))), (401, "no-subject".to_owned()), "{path}");

        assert!(send(None).is_none(), "a certificate is required: {path}");
        let foreign = Authority::new("Clients CA").issue(&Order::client(ADA));
        assert!(send(Some(&foreign)).is_none(), "a foreign CA of the same name: {path}");
        let servers = pki.servers.issue(&Order::client(ADA));
        assert!(send(Some(&servers)).is_none(), "the CA of the servers: {path}");
        let expired = Order { not_after: Some(now() - 60), ..Order::client(ADA) };
        assert!(send(Some(&pki.clients.issue(&expired))).is_none(), "expired: {path}");
        let early = Order { not_before: Some(now() + 3600), ..Order::client(ADA) };
        assert!(send(Some(&pki.clients.issue(&early))).is_none(), "not yet valid: {path}");
        let server = Order { for_servers: true, ..Order::client(ADA) };
        assert!(send(Some(&pki.clients.issue(&server))).is_none(), "for servers: {path}");
    }
}

#[test]
fn an_optional_certificate_may_be_missing_but_not_invalid() {
    let pki = Pki::new();
    let gateway = set_up(&pki, "client_ca = 'clients.pem'\nclient_certificates = 'optional'").serve();
    let client = pki.client();
    for path in ["/built-in/mcp", "/component/mcp"] {
        let request = list(&gateway, path);
        let send = |own: Option<&Issued>, request: &Request| TlsClient::new(&pki.servers, own).send(request);
        assert_eq!(send(Some(&client), &request).unwrap().status, 200, "{path}");
        assert_eq!(reason(send(None, &request)), (401, "no-credential".to_owned()), "{path}");
        let foreign = Authority::new("Clients CA").issue(&Order::client(ADA));
        assert!(send(Some(&foreign), &request).is_none(), "{path}");
        let bearer = request.bearer(&token(&gateway, path, Value::Null));
        assert_eq!(send(None, &bearer).unwrap().status, 200, "{path}");
    }
    // Where one is only watched, a certificate changes nothing for who may call without.
    let request = list(&gateway, "/watched/mcp");
    let answer = TlsClient::new(&pki.servers, Some(&client)).send(&request).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Where no policy judges certificates, one is no credential, and no wrong one either.
    let request = list(&gateway, "/tokens/mcp");
    let answer = TlsClient::new(&pki.servers, Some(&client)).send(&request);
    assert_eq!(reason(answer), (401, "no-credential".to_owned()));
}

#[test]
fn a_connection_does_not_outlive_its_certificate() {
    let pki = Pki::new();
    let gateway = set_up(&pki, "client_ca = 'clients.pem'").serve();
    let end = now() + 8;
    let client = pki.clients.issue(&Order { not_after: Some(end), ..Order::client(ADA) });
    let bound = json!({ "x5t#S256": sha256(&client.der) });
    let tls = TlsClient::new(&pki.servers, Some(&client));
    let mut connection = tls.connect(&gateway.address());
    let paths = ["/built-in/mcp", "/component/mcp"];
    for path in paths {
        let answer = connection.send(&list(&gateway, path)).expect("an answer");
        assert!(answer.status == 200 || now() > end, "{path}: {}", answer.text());
    }
    await_some("the certificate to expire", || (now() > end).then_some(()));
    connection.idle(Duration::from_millis(10));
    for path in paths {
        assert_eq!(reason(connection.send(&list(&gateway, path))), (401, "expired".to_owned()), "{path}");
    }
    for path in ["/tokens/mcp", "/tokens-component/mcp"] {
        let request = list(&gateway, path).bearer(&token(&gateway, path, bound.clone()));
        assert_eq!(reason(connection.send(&request)), (401, "not-proven".to_owned()), "{path}");
    }
}

#[test]
fn a_token_bound_to_a_certificate_is_valid_only_with_it() {
    let pki = Pki::new();
    let gateway = set_up(&pki, "client_ca = 'clients.pem'\nclient_certificates = 'optional'").serve();
    let (own, other) = (pki.client(), pki.client());
    for path in ["/tokens/mcp", "/tokens-component/mcp"] {
        let send = |own: Option<&Issued>, cnf: Value| {
            let request = list(&gateway, path).bearer(&token(&gateway, path, cnf));
            TlsClient::new(&pki.servers, own).send(&request)
        };
        let bound = || json!({ "x5t#S256": sha256(&own.der) });
        let answer = send(Some(&own), bound()).expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let refused = |reason: &str| (401, reason.to_owned());
        assert_eq!(reason(send(Some(&other), bound())), refused("wrong-key"), "{path}");
        assert_eq!(reason(send(None, bound())), refused("not-proven"), "{path}");
        let both = json!({ "x5t#S256": sha256(&own.der), "jkt": sha256(b"key") });
        assert_eq!(
            reason(send(Some(&own), both)),
            refused("not-proven"),
            "all that is there has to fit: {path}"
        );
        let unknown = json!({ "x5t#S256": sha256(&own.der), "x5t": "AAAA" });
        assert_eq!(reason(send(Some(&own), unknown)), refused("unknown-binding"), "{path}");
        assert_eq!(send(Some(&own), Value::Null).unwrap().status, 200, "a token that is not bound: {path}");
    }
}

/// More of the configuration, what is spoilt, and what is told of it.
type Fault = (&'static str, fn(&Setup, &Pki), &'static str);

#[test]
fn unusable_tls_settings_are_reported_before_the_start() {
    let pki = Pki::new();
    let faults: [Fault; 7] = [
        (
            "",
            |setup, _| drop(std::fs::remove_file(setup.dir().join("server.pem"))),
            "server.pem cannot be read",
        ),
        (
            "",
            |setup, _| drop(std::fs::remove_file(setup.dir().join("server.key"))),
            "server.key cannot be read",
        ),
        ("", |setup, _| drop(setup.file("server.pem", "")), "there is no certificate in"),
        ("", |setup, _| drop(setup.file("server.key", "secret")), "this is not a private key in PEM"),
        ("", |setup, pki| drop(setup.file("server.key", pki.server().key)), "cannot be used together"),
        (
            "client_ca = 'clients.pem'",
            |setup, _| drop(setup.file("clients.pem", "")),
            "there is no certificate in",
        ),
        ("client_certificates = 'required'", |_, _| {}, "nothing says which CA"),
    ];
    for (more, spoil, message) in faults {
        let setup = set_up(&pki, more);
        spoil(&setup, &pki);
        let checked = setup.run(&["check"]);
        let text = unframed(&format!(
            "{}{}",
            String::from_utf8_lossy(&checked.stdout),
            String::from_utf8_lossy(&checked.stderr)
        ));
        assert_eq!(checked.status.code(), Some(1), "{message}: {text}");
        assert!(text.contains(message), "{message}: {text}");
        let served = setup.run(&["serve"]);
        let text = unframed(&String::from_utf8_lossy(&served.stderr));
        assert_eq!(served.status.code(), Some(78), "{message}: {text}");
        assert!(text.contains(message), "{message}: {text}");
    }
    let good = set_up(&pki, "client_ca = 'clients.pem'").run(&["check"]);
    assert_eq!(good.status.code(), Some(0), "{}", String::from_utf8_lossy(&good.stdout));
}
