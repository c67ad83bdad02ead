//! Providers for tests.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use url::Url;

use crate::test_accounts::ISSUER;
use witgate_base::signing::{Signer, key_set};
use witgate_config::account_logins::{PersonRule, ProviderForm, ProviderSettings, provider_callback_path};
use witgate_config::credentials::{ClientProof, GrantSettings, TokenSettings};

/// The id of Witgate at the provider.
pub(crate) const CLIENT: &str = "gate";

/// A provider of OpenID Connect at an origin. Everybody there gets an account.
pub(crate) fn settings(origin: &str) -> ProviderSettings {
    let url = |path: &str| Url::parse(&format!("{origin}{path}")).unwrap();
    ProviderSettings {
        name: "hub".to_owned(),
        label: "The Hub".to_owned(),
        client: GrantSettings {
            authorize_url: url("/authorize"),
            token: TokenSettings {
                token_url: url("/token"),
                issuer: origin.into(),
                client_id: CLIENT.into(),
                proof: ClientProof::None,
                scopes: vec!["openid".to_owned()],
                audience: None,
                resource: None,
                refresh_before: Duration::from_secs(300),
            },
            issuer: Some(origin.to_owned()),
            params: BTreeMap::new(),
            redirect_uri: url("/unused"),
            account_url: None,
            connect: None,
            names_scopes: false,
            is_endless: false,
            state: std::env::temp_dir(),
            file: None,
        },
        redirect_uri: Url::parse(&format!("{ISSUER}{}", provider_callback_path("hub"))).unwrap(),
        form: ProviderForm::OpenId { userinfo: None, has_hosted_domain: false },
        issuer: origin.to_owned(),
        allow: Some(vec![PersonRule::Everybody]),
        makes_accounts: true,
        matches_email: false,
        roles: BTreeMap::new(),
    }
}

/// The answer of a server to a request for a path, with the body of the request.
type Answers = dyn Fn(&str, &str) -> (u16, String) + Send + Sync;

/// A server on loopback.
pub(crate) struct TestServer {
    /// Its origin.
    pub(crate) origin: String,
}

impl TestServer {
    /// Starts a server whose answers depend on its origin.
    pub(crate) fn start<A>(answers: impl FnOnce(&str) -> A) -> Self
    where
        A: Fn(&str, &str) -> (u16, String) + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let answers: Arc<Answers> = Arc::new(answers(&origin));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answers = Arc::clone(&answers);
                std::thread::spawn(move || converse(&stream, &*answers));
            }
        });
        Self { origin }
    }

    /// A provider of OpenID Connect, whose ID tokens have these claims.
    pub(crate) fn openid(claims: Arc<Mutex<Value>>) -> Self {
        Self::start(move |origin| {
            let origin = origin.to_owned();
            let signer = Signer::new(origin.clone(), &witgate_testing::keys::PRIVATE.into()).unwrap();
            move |path: &str, _: &str| match path {
                "/.well-known/oauth-authorization-server" => {
                    let metadata = json!({ "issuer": origin, "jwks_uri": format!("{origin}/jwks") });
                    (200, metadata.to_string())
                }
                "/jwks" => {
                    let keys = key_set(std::slice::from_ref(signer.public())).unwrap();
                    (200, String::from_utf8(keys.to_vec()).unwrap())
                }
                "/token" => {
                    let claims = claims.lock().clone();
                    let id_token = match &claims {
                        Value::String(token) => token.clone(),
                        claims => signer.sign(claims).unwrap(),
                    };
                    let tokens = json!({ "access_token": "a", "token_type": "bearer", "id_token": id_token });
                    (200, tokens.to_string())
                }
                _ => (404, String::new()),
            }
        })
    }
}

fn converse(mut stream: &TcpStream, answers: &Answers) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if line.trim().is_empty() {
            break;
        }
        head.push(line);
    }
    let length = head.iter().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("content-length:").map(|value| value.trim().parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let path = head[0].split(' ').nth(1)?;
    let (status, text) = answers(path, &String::from_utf8(body).unwrap());
    let length = text.len();
    let answer =
        format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}");
    stream.write_all(answer.as_bytes()).ok()
}
