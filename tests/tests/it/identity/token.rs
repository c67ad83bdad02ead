//! Identity tokens, in front of a server that verifies them by its own library.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use witgate_tests::clients::Clients;
use witgate_tests::gateway::{await_some, free_port};

use super::{of_issuer, serve, setup};

/// A FastMCP server, which ends with the test.
struct Who {
    child: Child,
    url: String,
}

impl Who {
    fn start(python: &Path, gateway: &str, port: u16) -> Self {
        let url = format!("http://127.0.0.1:{port}/mcp");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/identity/token_server.py");
        let child = Command::new(python)
            .arg(script)
            .args([&format!("{gateway}/.well-known/jwks.json"), gateway, &url, &port.to_string()])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        await_some("the server to listen", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Self { child, url }
    }
}

impl Drop for Who {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_accepts_only_tokens_of_witgate_knows_each_caller() {
    know_each_other(&Clients::installed().unwrap().python()).await;
}

/// A server of the stateful era receives the identity in the sessions that the bridge opens, one for each caller.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_the_stateful_era_knows_each_caller() {
    know_each_other(&Clients::installed().unwrap().python_of("python-1")).await;
}

async fn know_each_other(python: &Path) {
    let (setup, port) = (setup(), free_port());
    let gateway = format!("http://{}", setup.address());
    let config = format!(
        "[signing]\nkey = {{ file = 'signing.pem' }}\n\
         [upstreams.who]\nurl = 'http://127.0.0.1:{port}/mcp'\n\
         [upstreams.who.identity]\nheaders = {{ decision = 'X-Witgate-Decision' }}\n\
         token = {{ header = 'Authorization', sub = 'principal', claims = ['roles', 'decision'] }}"
    );
    let (running, callers) = serve(setup, &config, &["ada", "bob"]);
    let server = Who::start(python, &gateway, port);
    // The same name, but another principal.
    let other = of_issuer(&running, "ada", &json!(["user", "a,b"]));
    let expected = [
        (&callers[0], "keys||ada", Value::Null, json!(["user"])),
        (&callers[1], "keys||bob", Value::Null, json!(["user"])),
        (&other, "idp|https://idp.example.com|ada", json!("https://idp.example.com"), json!(["a,b", "user"])),
    ];
    for (caller, principal, issuer, roles) in expected {
        let session = caller.open_session().await;
        for answer in [caller.call("who", json!({})).await, caller.call_in(&session, "who", json!({})).await]
        {
            let content = answer.content();
            let claims = &content["claims"];
            assert_eq!((&claims["sub"], &claims["kind"]), (&json!(principal), &json!("known")), "{content}");
            assert_eq!((&claims["issuer"], &claims["roles"]), (&issuer, &roles), "{content}");
            assert_eq!((&claims["iss"], &claims["aud"]), (&json!(gateway), &json!(server.url)), "{content}");
            let decision = claims["decision"].as_str().unwrap();
            assert_eq!(content["headers"]["x-witgate-decision"], decision, "{content}");
            running.await_log(&format!("decision=\"{decision}\""));
            assert_eq!(content["headers"].get("x-api-key"), None, "{content}");
        }
    }
    // Nobody gets in without Witgate, because the server requires the token.
    let direct = reqwest::Client::new().post(&server.url).header("X-Witgate-Decision", "1");
    assert_eq!(direct.body("{}").send().await.unwrap().status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_set_is_public_cacheable_and_without_private_parts() {
    let config = "[signing]\nkey = { file = 'signing.pem' }\n[upstreams.x]\nurl = 'http://127.0.0.1:9/mcp'\n\
                  [upstreams.x.identity]\ntoken = { sub = 'principal' }";
    let (running, _) = serve(setup(), config, &[]);
    let url = format!("http://{}/.well-known/jwks.json", running.address());
    let response =
        reqwest::Client::new().get(&url).header("Origin", "https://elsewhere.example").send().await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert_eq!(response.headers()["cache-control"], "max-age=300");
    let set: Value = response.json().await.unwrap();
    let keys = set["keys"].as_array().unwrap();
    assert_eq!((keys.len(), &keys[0]["alg"], keys[0].get("d")), (1, &json!("ES256"), None));
    let posted = reqwest::Client::new().post(&url).send().await.unwrap();
    assert_eq!(posted.status(), 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_signing_key_there_is_no_key_set() {
    let (running, _) = serve(setup(), "[upstreams.own]\nown_tools = true", &[]);
    let url = format!("http://{}/.well-known/jwks.json", running.address());
    assert_eq!(reqwest::get(url).await.unwrap().status(), 404);
}
