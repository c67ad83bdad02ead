//! Recordings of every shipped kind, as built-in and as component: they pass against the same policy.

use serde_json::json;
use witgate_tests::gateway::Setup;
use witgate_tests::pki::{Authority, Order};
use witgate_tests::tls_client::TlsClient;
use witgate_tests::wire::Request;

use super::testbed::{POLICIES, Recording, Testbed, UPSTREAMS};

#[tokio::test(flavor = "multi_thread")]
async fn recorded_cases_give_the_same_answers() {
    let testbed = Testbed::start();
    for upstream in UPSTREAMS {
        let recordings: Vec<_> = POLICIES
            .map(|policy| format!("{policy}-{upstream}"))
            .map(|policy| testbed.record(&policy, &[]))
            .into_iter()
            .collect();
        testbed.call(upstream).await;
        let recorded: Vec<_> = recordings.into_iter().map(Recording::end).collect();
        for (policy, recorded) in POLICIES.into_iter().zip(&recorded) {
            let text = format!("{upstream}: {}\n{}", recorded.report, recorded.text);
            assert_eq!(recorded.report["left_out"], json!({}), "{text}");
            let cases = match policy {
                // ada with each of her tools, ben, who has no key, and four tokens, which the policy does not
                // recognise.
                "keys" => 8,
                // A good token and a bad one; opaque ones are not its own.
                "tokens" => 4,
                // Asked twice about the good one, of which the second is remembered; the bad one, and the JWTs that are not
                // shown to it.
                "idp" => 3,
                // ada by her key and by her token, ben, eve; and ada's other tool.
                _ => 5,
            };
            assert_eq!(recorded.report["cases"], cases, "{text}");
            let other = match upstream {
                "own" => format!("plugins/{}.wasm", kind(policy)),
                _ => "builtin".to_owned(),
            };
            let tested = testbed.test(recorded, &["--against", &other]);
            assert_eq!((tested.code, tested.failed()), (Some(0), Vec::new()), "{text}\n{}", tested.report);
        }
        std::fs::remove_dir_all(testbed.gateway.setup().dir().join("recorded")).unwrap();
    }
    let log = testbed.gateway.log();
    let uid =
        format!("uid={}", std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()));
    assert_eq!(log.matches("RECORDING: it has ended").count(), 8, "{log}");
    assert!(log.lines().filter(|line| line.contains("RECORDING")).all(|line| line.contains(&uid)), "{log}");
}

fn kind(policy: &str) -> &'static str {
    match policy {
        "keys" => "api-key",
        "tokens" => "jwt",
        "idp" => "oauth2-introspection",
        _ => "rbac",
    }
}

#[test]
fn a_certificate_is_recorded_without_its_key_and_its_signature() {
    let (servers, clients) = (Authority::new("Servers CA"), Authority::new("Clients CA"));
    let server = servers.issue(&Order::server("127.0.0.1"));
    let client = clients.issue(&Order::client("spiffe://example.com/agents/ada"));
    let setup = Setup::new();
    setup.file("server.pem", &server.pem);
    setup.file("server.key", &server.key);
    setup.file("clients.pem", clients.pem());
    setup.component("client-certificate");
    setup.config(
        "",
        "[server.tls]\ncertificate = 'server.pem'\nkey = { file = 'server.key' }\n\
         client_ca = 'clients.pem'\nclient_certificates = 'required'\n\
         [upstreams.own]\nown_tools = true\n\
         [policies.certificates]\nkind = 'client-certificate'\ncomponent = 'plugins/client-certificate.wasm'\n\
         limits = { timeout_ms = 20000 }\n\
         config = { subject = 'san-uri', roles = { agent = 'spiffe://example.com/agents/*' } }\n\
         [policies.rules]\nkind = 'rbac'\nconfig = { roles = { agent = { allow = ['*'] } } }\n\
         [pipeline]\nauthenticate = ['certificates']\nauthorize = ['rules']\n",
    );
    let testbed = Testbed { gateway: setup.serve(), ada: String::new(), ben: String::new() };
    let recording = testbed.record("certificates", &[]);
    let call = Request::stateless(
        &testbed.gateway.address(),
        "/mcp",
        "tools/call",
        json!({ "name": "echo", "arguments": { "text": "hello" } }),
    );
    let answer = TlsClient::new(&servers, Some(&client)).send(&call).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let recorded = recording.end();
    assert_eq!(recorded.report["cases"], 1, "{}", recorded.text);
    assert!(recorded.text.contains("spiffe://example.com/agents/ada"), "{}", recorded.text);
    let tested = testbed.test(&recorded, &["--against", "builtin"]);
    assert_eq!(tested.code, Some(0), "{}", tested.report);
    // The file contains a certificate with another signature, which is its last part.
    let own: String = client.pem.lines().filter(|line| !line.starts_with('-')).collect();
    let text: String = recorded.text.lines().filter(|line| !line.contains("CERTIFICATE")).collect();
    assert!(!text.contains(&own[own.len() - 40..]), "the signature is in the file");
    assert!(!text.replace("\\n", "").contains(&own), "{text}");
}
