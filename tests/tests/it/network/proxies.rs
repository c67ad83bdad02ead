//! Proxies on the route to servers.

use serde_json::json;
use witgate_tests::gateway::{Running, Setup, unframed};
use witgate_tests::pki::{Authority, Order};
use witgate_tests::tls_server::SecureServer;
use witgate_tests::tunnels::Proxy;
use witgate_tests::wire::Request;

use super::{before, list};

const NAME: &str = "far.example.test";

/// A server that is reached only through a proxy, and a client that trusts it.
struct Far {
    server: SecureServer,
    proxy: Proxy,
    setup: Setup,
}

impl Far {
    fn new() -> Self {
        let authority = Authority::new("CA");
        let server = SecureServer::start(&authority.issue(&Order::server(NAME)));
        let (proxy, setup) = (Proxy::to(server.port()), Setup::new());
        setup.file("ca.pem", authority.pem());
        Self { server, proxy, setup }
    }

    /// Before an upstream at the name, with this under `[network]`.
    fn upstream(self, network: &str) -> (Running, Proxy) {
        let network = format!("[network]\nca_file = 'ca.pem'\n{network}");
        before(&self.setup, "", &format!("https://{NAME}/mcp"), &network);
        (self.setup.serve(), self.proxy)
    }
}

#[test]
fn an_upstream_is_reached_through_the_proxy_which_gets_only_its_own_credential() {
    let far = Far::new();
    let url = format!("http://gate:hunter2%21@{}", far.proxy.address());
    let setup = far.setup.env("PROXY_URL", &url);
    let (gateway, proxy) = Far { setup, ..far }.upstream("proxy = { env = 'PROXY_URL' }");
    assert_eq!(list(&gateway).result()["tools"], json!([]));
    let targets = proxy.requests();
    let credential = "Proxy-Authorization: Basic Z2F0ZTpodW50ZXIyIQ==";
    assert!(targets.iter().all(|head| head.starts_with(&format!("CONNECT {NAME}:443 "))), "{targets:?}");
    assert!(!targets.is_empty() && targets.iter().all(|head| head.contains(credential)), "{targets:?}");
    let config = gateway.setup().run(&["config", "show"]);
    let text = gateway.log() + &String::from_utf8_lossy(&config.stdout);
    assert!(!text.contains("hunter2") && !text.contains("Z2F0ZTpodW50ZXIyIQ"), "{text}");
}

#[test]
fn proxies_of_the_environment_are_used_if_configured_with_exceptions() {
    for (network, no_proxy, is_reached) in [
        ("proxy = 'environment'", "", true),
        ("proxy = 'environment'", "other.test, example.test", false),
        ("proxy = 'environment'\nno_proxy = ['far.example.test']", "", false),
        ("", "", false),
    ] {
        let far = Far::new();
        let address = far.proxy.address();
        let setup = far.setup.env("https_proxy", &address).env("NO_PROXY", no_proxy);
        let (gateway, proxy) = Far { setup, ..far }.upstream(network);
        assert_eq!(list(&gateway).result()["tools"].is_array(), is_reached, "{network} {no_proxy}");
        assert_eq!(!proxy.requests().is_empty(), is_reached, "{network} {no_proxy}");
        let check = gateway.setup().run(&["check"]);
        let text = unframed(&String::from_utf8_lossy(&check.stderr));
        let warned = text.contains("https_proxy is set, but Witgate does not use it");
        assert_eq!(warned, network.is_empty(), "{text}");
    }
}

/// Introspects a token at `endpoint`, and returns the status and the requests that the proxy got.
fn introspected(endpoint: &str, network: &str) -> (u16, Vec<String>, u64) {
    let Far { server, proxy, setup } = Far::new();
    let setup = setup.env("SECRET", "sesame");
    setup.config(
        "",
        &format!(
            "[network]\nca_file = 'ca.pem'\nproxy = 'http://{}'\n{network}\n\
             [upstreams.own]\nown_tools = true\n[policies.opaque]\nkind = 'oauth2-introspection'\n\
             [policies.opaque.config]\nendpoint = '{endpoint}'\naudience = 'b'\nclient_id = 'gate'\n\
             client_secret = {{ env = 'SECRET' }}\n\
             [policies.roles]\nkind = 'rbac'\n[policies.roles.config.roles]\nguest = {{ allow = ['*'] }}\n\
             [pipeline]\nauthenticate = ['opaque']\nauthorize = ['roles']\n",
            proxy.address()
        ),
    );
    let gateway = setup.serve();
    let call = Request::stateless(&gateway.address(), "/mcp", "tools/list", json!({}));
    let status = call.bearer("opaque").send().status;
    (status, proxy.requests(), server.request_count())
}

#[test]
fn addresses_are_checked_also_behind_a_proxy() {
    // The name does not resolve here, so that Witgate cannot check its address.
    let (status, requests, _) = introspected(&format!("https://{NAME}/"), "");
    assert_eq!((status, requests.len()), (503, 0), "{requests:?}");
    // The proxy resolves the name.
    let (status, requests, answered) = introspected(&format!("https://{NAME}/"), "proxy_resolves = true");
    assert_eq!((status, requests.len(), answered), (401, 1, 1), "{requests:?}");
    // Witgate checks addresses itself.
    let (status, requests, _) = introspected("https://169.254.169.254/", "proxy_resolves = true");
    assert_eq!((status, requests.len()), (503, 0), "{requests:?}");
    // Requests to local servers bypass the proxy.
    let (_, requests, _) = introspected("https://127.0.0.1:1/", "proxy_resolves = true");
    assert!(requests.is_empty(), "{requests:?}");
}
