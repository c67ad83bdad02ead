//! Clients that are known by a document at their own site, which is reached through a proxy.

use witgate_tests::pki::{Authority, Order};
use witgate_tests::tls_server::SecureServer;
use witgate_tests::tunnels::Proxy;

use super::*;

/// The documents, by the names of their files.
fn documents() -> Vec<(String, Value)> {
    let files = std::fs::read_dir(directory().join("clients")).unwrap().map(|entry| entry.unwrap().path());
    let named = files.map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
    });
    named.collect()
}

fn path_of(id: &str) -> String {
    url::Url::parse(id).unwrap().path().to_owned()
}

/// A gateway that reaches the sites of clients, where these documents are.
fn gateway(documents: impl IntoIterator<Item = (String, String)>) -> (Running, Proxy, SecureServer) {
    let authority = Authority::new("CA");
    let names = ["claude.ai", "chatgpt.com", "vscode.dev"].map(str::to_owned).to_vec();
    let certificate = authority.issue(&Order { dns: names, for_servers: true, ..Order::default() });
    let server = SecureServer::with_documents(&certificate, documents.into_iter().collect());
    let proxy = Proxy::to(server.port());
    let network = format!(
        "[network]\nca_file = \"ca.pem\"\nproxy = \"http://{}\"\nproxy_resolves = true\n",
        proxy.address()
    );
    let setup = Setup::new();
    setup.file("ca.pem", authority.pem());
    super::configure(&setup, "", &network);
    (setup.serve(), proxy, server)
}

fn query(running: &Running, client: &str, redirect: &str) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", redirect),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("resource", &format!("{}?kb_name=x", running.url())),
            ("scope", "openid offline_access tools:read"),
        ])
        .finish()
}

#[test]
fn each_client_gets_in_at_each_of_its_addresses() {
    let all = documents();
    let texts = all.iter().map(|(_, text)| (path_of(text["client_id"].as_str().unwrap()), text.to_string()));
    let (running, _proxy, server) = gateway(texts);
    let mut person = Person::new(&running);
    let page = person.get("/login");
    let form = [("form", &*field(&page, "form")), ("next", ""), ("name", "ada"), ("password", PASSWORD)];
    person.post("/login", &form);
    for (name, document) in &all {
        let client = document["client_id"].as_str().unwrap();
        let host = url::Url::parse(client).unwrap().host_str().unwrap().to_owned();
        for redirect in document["redirect_uris"].as_array().unwrap() {
            let written = redirect.as_str().unwrap();
            // A program takes any free port.
            let redirect = match url::Url::parse(written).unwrap() {
                url if url.scheme() == "http" && url.port().is_none() => {
                    let mut url = url;
                    url.set_port(Some(54_321)).unwrap();
                    url.to_string()
                }
                _ => written.to_owned(),
            };
            let query = query(&running, client, &redirect);
            let page = person.get(&format!("/oauth/authorize?{query}"));
            let text = page.text();
            for words in
                [&*host, "vouches for this name", document["client_name"].as_str().unwrap(), "Read things"]
            {
                assert!(text.contains(words), "{name} {redirect}: {words}\n{text}\n{}", running.log());
            }
            let form = [("form", &*field(&page, "form")), ("request", &*query), ("decision", "allow")];
            let answer = person.post("/oauth/consent", &form);
            let place = url::Url::parse(answer.header("location").unwrap()).unwrap();
            assert!(place.as_str().starts_with(&redirect), "{place}");
            let code = place.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
            let form = [
                ("grant_type", "authorization_code"),
                ("client_id", client),
                ("code", &code),
                ("redirect_uri", &redirect),
                ("code_verifier", VERIFIER),
                ("resource", &format!("{}?kb_name=x", running.url())),
            ];
            let tokens = body(&person.post("/oauth/token", &form));
            assert_eq!(tokens["scope"], "tools:read", "{name}: {tokens}");
            assert_eq!(call(&running, &tokens).status, 200, "{name}");
        }
    }
    assert_eq!(server.request_count(), all.len() as u64, "a document is fetched once");
}

#[test]
fn a_document_is_only_about_the_client_at_its_address() {
    let (_, mut document) = documents().into_iter().find(|(name, _)| name == "claude").unwrap();
    let good = document["client_id"].as_str().unwrap().to_owned();
    let redirect = document["redirect_uris"][0].as_str().unwrap().to_owned();
    let mut texts = vec![(path_of(&good), document.to_string()), ("/copy".to_owned(), document.to_string())];
    document["client_id"] = "https://claude.ai/secret".into();
    document["client_secret"] = "x".into();
    texts.push(("/secret".to_owned(), document.to_string()));
    texts.push(("/large".to_owned(), " ".repeat(6 << 10) + &document.to_string()));
    texts.push(("/html".to_owned(), "<html>".to_owned()));
    let (running, proxy, _server) = gateway(texts);
    let mut person = Person::new(&running);
    let mut refused = |client: &str, redirect: &str| {
        let answer = person.get(&format!("/oauth/authorize?{}", query(&running, client, redirect)));
        (answer.status, answer.header("location").is_some(), answer.text().contains("name=\"password\""))
    };
    assert_eq!(refused(&good, &redirect), (200, false, true));
    for evil in
        ["https://claude.ai/other", "https://evil.example.com/", "http://127.0.0.1/api/mcp/auth_callback"]
    {
        assert_eq!(refused(&good, evil), (400, false, false), "{evil}");
    }
    for path in ["copy", "secret", "large", "html", "missing"] {
        assert_eq!(refused(&format!("https://claude.ai/{path}"), &redirect), (400, false, false), "{path}");
    }
    let before = proxy.requests().len();
    for client in
        ["https://127.0.0.1/a", "https://169.254.169.254/a", "https://10.0.0.1/a", "https://localhost/a"]
    {
        assert_eq!(refused(client, &redirect), (400, false, false), "{client}");
    }
    assert_eq!(proxy.requests().len(), before, "the proxy is not asked for private places either");
}
