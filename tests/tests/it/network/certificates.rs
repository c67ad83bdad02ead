//! Certificates of servers that Witgate calls: the log names the fault of a bad one.

use serde_json::json;
use witgate_tests::gateway::{Setup, unframed};
use witgate_tests::pki::{Authority, Issued, Order};
use witgate_tests::tls_client::TlsClient;
use witgate_tests::tls_server::SecureServer;
use witgate_tests::wire::Request;

use super::{before, list};

/// Header and claims of a token whose key has to be fetched.
const TOKEN: &str =
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.eyJpc3MiOiJhIiwiYXVkIjoiYiIsImV4cCI6NDEwMjQ0NDgwMCwic3ViIjoieCJ9";

/// Certificates with one fault each, and the message in the log.
fn bad(authority: &Authority) -> [(Issued, &'static str); 3] {
    let good = Order::server("127.0.0.1");
    let expired = Order { not_before: Some(1_000_000_000), not_after: Some(1_100_000_000), ..good.clone() };
    [
        (authority.issue(&expired), "certificate expired"),
        (Authority::new("Somebody else").issue(&good), "UnknownIssuer"),
        (authority.issue(&Order::server("other.example")), "certificate not valid for name"),
    ]
}

fn trusting(authority: &Authority) -> Setup {
    let setup = Setup::new();
    let file = setup.file("ca.pem", authority.pem());
    setup.env("SSL_CERT_FILE", file.to_str().unwrap())
}

#[test]
fn the_log_says_why_an_upstream_is_not_trusted() {
    let authority = Authority::new("CA");
    for (certificate, cause) in bad(&authority) {
        let server = SecureServer::start(&certificate);
        let setup = trusting(&authority);
        before(&setup, "", &format!("https://127.0.0.1:{}/mcp", server.port()), "");
        let gateway = setup.serve();
        assert_eq!(list(&gateway).refusal().2, "upstream-unreachable");
        gateway.await_log(cause);
        assert_eq!(server.request_count(), 0);
    }
}

#[test]
fn the_log_says_why_a_key_set_or_an_authorization_server_is_not_trusted() {
    let authority = Authority::new("CA");
    for (certificate, cause) in bad(&authority) {
        let server = SecureServer::start(&certificate);
        let url = format!("https://127.0.0.1:{}", server.port());
        let setup = trusting(&authority).env("SECRET", "sesame");
        setup.config(
            "",
            &format!(
                "[upstreams.own]\nown_tools = true\n[policies.tokens]\nkind = 'jwt'\n\
                 config = {{ keys = [{{ jwks_url = '{url}' }}], algorithms = ['ES256'], issuer = 'a', audience = 'b' }}\n\
                 [policies.opaque]\nkind = 'oauth2-introspection'\n[policies.opaque.config]\nendpoint = '{url}'\n\
                 audience = 'b'\nclient_id = 'gate'\nclient_secret = {{ env = 'SECRET' }}\n\
                 [policies.roles]\nkind = 'rbac'\n[policies.roles.config.roles]\nguest = {{ allow = ['*'] }}\n\
                 [pipeline]\nauthenticate = ['tokens', 'opaque']\nauthorize = ['roles']\n"
            ),
        );
        let gateway = setup.serve();
        let call = Request::stateless(&gateway.address(), "/mcp", "tools/list", json!({}));
        let token = format!("{}.{}", TOKEN, "A".repeat(86));
        assert_eq!(call.clone().bearer(&token).send().status, 503);
        let log = gateway.await_log(cause);
        assert!(log.contains("cannot fetch the JWK Set"), "{log}");
        assert_eq!(call.bearer("opaque").send().status, 503);
        let log = gateway.await_log("a server that a policy asks gave no answer");
        assert!(log.lines().any(|line| line.contains("gave no answer") && line.contains(cause)), "{log}");
        assert_eq!(server.request_count(), 0);
    }
}

#[test]
fn the_log_says_once_why_handshakes_of_clients_fail() {
    let authority = Authority::new("CA");
    let own = authority.issue(&Order::server("127.0.0.1"));
    let setup = Setup::new();
    setup.file("own.pem", &own.pem);
    setup.file("own.key", &own.key);
    before(
        &setup,
        "[server.tls]\ncertificate = 'own.pem'\nkey = { file = 'own.key' }",
        "http://127.0.0.1:1",
        "",
    );
    let gateway = setup.serve();
    let stranger = TlsClient::new(&Authority::new("CA"), None);
    let request = Request::new("GET", &gateway.address(), "/mcp");
    assert!((0..5).all(|_| stranger.send(&request).is_none()));
    let log = gateway.await_log("a TLS handshake failed");
    assert_eq!(log.matches("a TLS handshake failed").count(), 1, "{log}");
}

/// Each worker has its own connections, so that there may be several.
#[test]
fn a_connection_with_tls_is_used_for_several_requests() {
    let authority = Authority::new("CA");
    let server = SecureServer::start(&authority.issue(&Order::server("127.0.0.1")));
    let setup = trusting(&authority);
    before(&setup, "", &format!("https://127.0.0.1:{}/mcp", server.port()), "");
    let gateway = setup.serve();
    for _ in 0..10 {
        assert!(list(&gateway).result()["tools"].is_array());
    }
    let (connections, requests) = (server.connection_count(), server.request_count());
    assert!(requests >= 10 && connections < requests, "{connections} connections for {requests} requests");
}

#[test]
fn a_configured_authority_is_trusted_and_changes_at_run_time() {
    let (authority, other) = (Authority::new("CA"), Authority::new("Other CA"));
    let server = SecureServer::start(&authority.issue(&Order::server("127.0.0.1")));
    let setup = Setup::new();
    setup.file("ca.pem", other.pem());
    let network = "[network]\nca_file = 'ca.pem'\nsystem_cas = false\n";
    before(&setup, "", &format!("https://127.0.0.1:{}/mcp", server.port()), network);
    let gateway = setup.serve();
    assert_eq!(list(&gateway).refusal().2, "upstream-unreachable");
    gateway.setup().file("ca.pem", authority.pem());
    gateway.await_log("new connections use the changed [network]");
    assert!(list(&gateway).result()["tools"].is_array());
    // An unusable certificate changes nothing.
    gateway.setup().file("ca.pem", "no certificate");
    gateway.await_log("there is no certificate in");
    assert!(list(&gateway).result()["tools"].is_array());
    let check = gateway.setup().run(&["check"]);
    assert_eq!(check.status.code(), Some(1));
    assert!(unframed(&String::from_utf8_lossy(&check.stderr)).contains("there is no certificate in"));
}
