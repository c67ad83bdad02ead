//! The identity that an upstream receives: by headers, by a token that real libraries verify, by the environment of a
//! process. Only Witgate can set it.

mod forgery;
mod headers;
mod processes;
mod rotation;
mod token;

use std::process::Command;

use serde_json::Value;
use witgate_tests::gateway::{Running, Setup};

use crate::caller::Caller;

/// API keys, and tokens of one issuer, for the callers in `[roles]`.
const POLICIES: &str = "[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
     [keys.idp]\nsecret = { file = 'idp-secret' }\n\
     [policies.idp]\nkind = 'jwt'\nconfig = { keys = ['idp'], algorithms = ['HS256'], issuer = 'https://idp.example.com' }\n\
     [policies.rules]\nkind = 'rbac'\nconfig = { roles = { user = { allow = ['*'] }, guest = { allow = ['*'] } } }\n";

const PIPELINE: &str = "[pipeline]\nauthenticate = ['keys', 'idp']\nauthorize = ['rules']\n";

const SECRET: &str = "a secret of the issuer that is long enough";

/// A gateway before it runs, with a signing key in `signing.pem`.
fn setup() -> Setup {
    let setup = Setup::new();
    setup.file("idp-secret", SECRET);
    new_key(&setup, "signing.pem");
    setup
}

/// Makes a private key, with the public key in a file beside it.
fn new_key(setup: &Setup, name: &str) {
    let path = setup.dir().join(name);
    openssl(&[
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-out",
        path.to_str().unwrap(),
    ]);
    let public = path.with_extension("pub");
    openssl(&["pkey", "-in", path.to_str().unwrap(), "-pubout", "-out", public.to_str().unwrap()]);
}

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Serves with this upstream, and makes a key for each name.
fn serve(setup: Setup, config: &str, names: &[&str]) -> (Running, Vec<Caller>) {
    setup.config("", &format!("{config}\n{POLICIES}{PIPELINE}"));
    let key = |name: &&str| setup.key(&[name, "--allow", "*", "--role", "user"]);
    // The store must exist.
    key(&"unused");
    let keys: Vec<_> = names.iter().map(key).collect();
    let running = setup.serve();
    let callers = keys.iter().map(|key| Caller::new(running.url(), Some(key))).collect();
    (running, callers)
}

/// A caller whom the issuer calls `subject`.
fn of_issuer(running: &Running, subject: &str, roles: &Value) -> Caller {
    let claims = serde_json::json!({
        "iss": "https://idp.example.com", "aud": running.url(), "sub": subject, "roles": roles, "exp": u32::MAX,
    });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes()).unwrap();
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    Caller::with_token(running.url(), &token)
}
