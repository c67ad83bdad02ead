//! The page on identity providers, tried with tokens of the form that each provider issues, and with its metadata and
//! keys at their usual paths. The tests read the configuration from the page.

mod id_tokens;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, workspace};
use witgate_tests::issuer::{Issuer, Page};
use witgate_tests::recorder::Recorder;
use witgate_tests::wire::{Answer, Request, contains};

/// The upstream of the page.
const OWN: &str = "own_tools = true";

/// The page's name for this server.
const RESOURCE: &str = "https://mcp.example.com/mcp";

/// The paths of each JWT provider's keys. Entra's for v1 are at another host than the issuer, which can be no
/// private one as here.
const KEYS: [(&str, &str); 10] = [
    ("Entra ID, v2 tokens", "/8f2e1c5a-0000-4000-8000-0123456789ab/discovery/v2.0/keys"),
    ("Entra ID, v1 tokens", "/common/discovery/keys"),
    ("Okta", "/oauth2/default/v1/keys"),
    ("Auth0", "/.well-known/jwks.json"),
    ("Keycloak", "/realms/acme/protocol/openid-connect/certs"),
    ("Amazon Cognito", "/eu-west-1_Example/.well-known/jwks.json"),
    ("Dex", "/dex/keys"),
    ("ZITADEL", "/oauth/v2/keys"),
    ("authentik", "/application/o/mcp/jwks/"),
    ("Cloudflare Access", "/cdn-cgi/access/certs"),
];

/// A section of the page.
struct Section {
    settings: String,
    token: String,
}

/// The beginning of a configuration, and the sections that have blocks, by their headings.
fn page() -> (String, BTreeMap<String, Section>) {
    let page = std::fs::read_to_string(workspace().join("docs/identity-providers.md")).unwrap();
    let mut parts = page.split("\n## ");
    let beginning = block(parts.next().unwrap(), "toml").unwrap();
    let section = |text: &str| {
        let (settings, token) = (block(text, "toml")?, block(text, "json")?);
        Some((text.lines().next()?.to_owned(), Section { settings, token }))
    };
    (beginning, parts.filter_map(section).collect())
}

fn block(text: &str, language: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("```{language}\n"))?;
    Some(rest.split_once("```")?.0.to_owned())
}

/// A running provider, and a gateway with the configuration of the page.
struct Scene {
    provider: Issuer,
    gateway: Running,
    key: KeyPair,
    token: Value,
    header: Option<String>,
    role: String,
}

impl Scene {
    fn of(name: &str, component: bool) -> Self {
        Self::before(name, component, OWN)
    }

    /// The same, with an upstream of these settings.
    fn before(name: &str, component: bool, upstream: &str) -> Self {
        let (beginning, mut sections) = page();
        let section = sections.remove(name).unwrap_or_else(|| panic!("the page has no {name}"));
        let (provider, setup) = (Issuer::start(), Setup::new().env("INTROSPECTION_SECRET", "guards nothing"));
        let settings: toml::Table = toml::from_str(&section.settings).unwrap();
        let policy = &settings["policies"]["idp"];
        let issuer = policy["config"]["issuer"].as_str().unwrap();
        let origin = url::Url::parse(issuer).unwrap().origin().ascii_serialization();
        let with_test_urls =
            |text: &str| text.replace(&origin, &provider.url()).replace(RESOURCE, &setup.url());
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        publish(&provider, name, &with_test_urls(issuer), &key);
        let kind = policy["kind"].as_str().unwrap();
        let mut text = with_test_urls(&section.settings);
        if component {
            let path = setup.component(kind);
            let line = format!("kind = \"{kind}\"\n");
            text = text.replacen(&line, &format!("{line}component = '{}'\n", path.display()), 1);
        }
        let (server, rest) = beginning.split_once("\n\n").unwrap();
        assert!(rest.contains(OWN));
        let rest = rest.replace(OWN, upstream);
        setup.config(&with_test_urls(&server.replace("[server]\n", "")), &format!("{rest}\n{text}"));
        let token = serde_json::from_str(&with_test_urls(&section.token)).unwrap();
        let header = policy["config"].get("header").map(|header| header.as_str().unwrap().to_owned());
        let roles = settings["policies"]["roles"]["config"]["roles"].as_table().unwrap();
        let role = roles.keys().next().unwrap().clone();
        Self { provider, gateway: setup.serve(), key, token, header, role }
    }

    /// The claims of an access token, as the page shows them.
    fn claims(&self) -> Value {
        self.token["claims"].clone()
    }

    /// A token with these claims.
    fn sign(&self, claims: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let (mut header, mut claims) = (self.token["header"].clone(), claims.clone());
        header["kid"] = json!("key");
        claims["iat"] = json!(now);
        claims["nbf"] = json!(now);
        claims["exp"] = json!(now + 300);
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(&header), encode(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A call with this credential.
    fn call(&self, token: &str) -> Answer {
        let params = json!({ "name": "echo", "arguments": { "message": "hello" } });
        let request = Request::stateless(&self.gateway.address(), "/mcp", "tools/call", params);
        match &self.header {
            Some(name) => request.with(name, token).send(),
            None => request.bearer(token).send(),
        }
    }

    /// The status of a call with a token of these claims, and the reason if it is refused or denied.
    fn outcome(&self, claims: &Value) -> (u16, String) {
        let token = self.sign(claims);
        let answer = self.call(&token);
        let signature = token.rsplit_once('.').unwrap().1;
        assert!(!self.gateway.log().contains(signature), "a token is in the log");
        outcome(&answer)
    }

    /// The same for an opaque token, for which the provider answers this.
    fn outcome_of(&self, opaque: &str, answer: &Value) -> (u16, String) {
        self.provider.put("/admin/oauth2/introspect", Page::json(answer));
        outcome(&self.call(opaque))
    }
}

fn outcome(answer: &Answer) -> (u16, String) {
    match answer.status {
        200 => (200, String::new()),
        status => (status, answer.refusal().2),
    }
}

/// Metadata behind the issuer, as all of them have it, and keys where this one has them.
fn publish(provider: &Issuer, name: &str, issuer: &str, key: &KeyPair) {
    let Some((_, path)) = KEYS.iter().find(|(provider, _)| *provider == name) else { return };
    let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let public = key.public_key();
    let jwk = json!({
        "kty": "RSA", "use": "sig", "kid": "key", "n": number(public.modulus().big_endian_without_leading_zero()),
        "e": number(public.exponent().big_endian_without_leading_zero()),
    });
    provider.put(path, Page::json(&json!({ "keys": [jwk] })));
    if name != "Cloudflare Access" {
        let metadata = json!({ "issuer": issuer, "jwks_uri": format!("{}{path}", provider.url()) });
        let under = issuer.trim_end_matches('/').strip_prefix(&provider.url()).unwrap();
        provider.put(&format!("{under}/.well-known/openid-configuration"), Page::json(&metadata));
    }
}

fn refused(reason: &str) -> (u16, String) {
    (401, reason.to_owned())
}

/// Every provider's access token is accepted for its role and no other; a token for another resource is refused.
#[test]
fn access_tokens_of_every_provider_are_accepted_for_their_audience() {
    for (name, _) in KEYS {
        for component in [false, true] {
            let scene = Scene::of(name, component);
            let claims = scene.claims();
            assert_eq!(scene.outcome(&claims), (200, String::new()), "{name}: {}", scene.gateway.log());
            let others = claims.to_string().replace(&format!("{:?}", scene.role), "\"others\"");
            let others: Value = serde_json::from_str(&others).unwrap();
            assert_eq!(scene.outcome(&others), (403, "not-allowed".to_owned()), "{name}");
            let audience = if name == "Amazon Cognito" { "client_id" } else { "aud" };
            let mut elsewhere = claims.clone();
            elsewhere[audience] = json!("https://other.example");
            assert_eq!(scene.outcome(&elsewhere), refused("wrong-audience"), "{name}");
        }
    }
}

/// Every provider's ID token is refused, also where it is for the same client.
#[test]
fn id_tokens_of_every_provider_are_refused() {
    for (name, _) in KEYS {
        for component in [false, true] {
            let scene = Scene::of(name, component);
            let (claims, reason) = id_tokens::of(name, scene.claims());
            assert_eq!(scene.outcome(&claims), refused(reason), "{name}: {}", scene.gateway.log());
        }
    }
}

/// Hydra calls refresh tokens active as well, and ID tokens inactive.
#[test]
fn opaque_tokens_of_hydra_are_accepted_for_allowed_clients() {
    for component in [false, true] {
        let scene = Scene::of("Ory Hydra", component);
        let answer = scene.token["answer"].clone();
        let with = |name: &str, value: Value| {
            let mut answer = answer.clone();
            answer[name] = value;
            answer
        };
        let outcome = scene.outcome_of("ory_at_one", &answer);
        assert_eq!(outcome, (200, String::new()), "{}", scene.gateway.log());
        let others = with("ext", json!({ "groups": ["others"] }));
        assert_eq!(scene.outcome_of("ory_at_two", &others), (403, "not-allowed".to_owned()));
        let client = with("client_id", json!("tablet"));
        assert_eq!(scene.outcome_of("ory_at_three", &client), refused("wrong-audience"));
        let audience = with("aud", json!(["https://other.example"]));
        assert_eq!(scene.outcome_of("ory_at_four", &audience), refused("wrong-audience"));
        let refresh = with("token_use", json!("refresh_token"));
        assert_eq!(scene.outcome_of("ory_rt_five", &refresh), refused("wrong-type"));
        assert_eq!(scene.outcome_of("an.id.token", &json!({ "active": false })), refused("inactive"));
    }
}

/// No token of Google's is accepted, with any configuration.
#[test]
fn no_token_of_google_is_accepted() {
    let (_, sections) = page();
    assert!(!sections.contains_key("Google"));
    let mut scene = Scene::of("Auth0", false);
    scene.token["header"] = json!({ "alg": "RS256", "typ": "JWT" });
    let issuer = scene.claims()["iss"].clone();
    let client = "407408718192.apps.googleusercontent.com";
    let id_token = json!({
        "iss": issuer, "azp": client, "aud": scene.gateway.url(), "sub": "110169484474386276334", "hd": "example.com",
        "email": "ada@example.com", "email_verified": true, "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q", "permissions": [scene.role],
    });
    assert_eq!(scene.outcome(&id_token), refused("wrong-type"));
    assert_eq!(outcome(&scene.call("ya29.a0AfB_byC0123456789")).0, 401);
}

/// The token of a proxy is read from its header alone.
#[test]
fn a_token_is_accepted_only_from_its_own_header() {
    for component in [false, true] {
        let mut scene = Scene::of("Cloudflare Access", component);
        let token = scene.sign(&scene.claims());
        assert_eq!(scene.call(&token).status, 200, "{}", scene.gateway.log());
        assert_eq!(scene.call(&format!("Bearer {token}")).status, 401);
        scene.header = None;
        assert_eq!(scene.call(&token).status, 401);
    }
}

/// Neither an upstream nor the log gets it, and in a query it is refused.
#[test]
fn a_token_in_a_header_is_not_forwarded() {
    let upstream = Recorder::start();
    let mut scene = Scene::before("Cloudflare Access", true, &format!("url = '{}'", upstream.url()));
    let token = scene.sign(&scene.claims());
    assert_eq!(scene.call(&token).status, 200, "{}", scene.gateway.log());
    let record = upstream.seen();
    assert!(contains(&record, b"tools/call"));
    let header = scene.header.take().unwrap();
    for part in [token.rsplit_once('.').unwrap().1, header.to_lowercase().as_str()] {
        assert!(!contains(&record.to_ascii_lowercase(), part.to_lowercase().as_bytes()), "{part}");
    }
    assert!(!scene.gateway.log().contains(&token));
    let queried = Request::post(&scene.gateway.address(), &format!("/mcp?{header}={token}"), "{}").send();
    assert_eq!(queried.status, 400, "{}", queried.text());
}
