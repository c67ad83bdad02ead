//! Random requests: of callers with keys and tokens, good and bad ones, for calls, reads and lists.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};
use witgate_base::clock::since_epoch;
use witgate_base::digest::sha256;
use witgate_flow::Arrival;
use witgate_message::credential::Credentials;
use witgate_plugin::{Scheme, Transport};
use witgate_testing::keys;

/// The key of tokens.
static SIGNING: LazyLock<EncodingKey> =
    LazyLock::new(|| EncodingKey::from_ec_pem(keys::PRIVATE.as_bytes()).unwrap());

/// The names of the keys in [`key_store`].
const KEYS: [&str; 4] = ["ada", "ben", "old", "gone"];

/// A store with two good keys, an expired one and a revoked one.
pub(super) fn key_store() -> String {
    let entries = [
        ("ada", "roles = ['greeter', 'user']\nscopes = ['math']\nallow = ['*']"),
        ("ben", "roles = ['user']\nallow = ['a*', 'pay', 'resource:*']\ndeny = ['ab']"),
        ("old", "roles = ['greeter']\nallow = ['*']\nexpires = 2026-01-02T00:00:00Z"),
        ("gone", "roles = ['greeter']\nallow = ['*']\nrevoked = 2026-01-02T00:00:00Z"),
    ];
    let entry = |(name, rest): (&str, &str)| {
        let digest = sha256(key_text(name).as_bytes());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "[[keys]]\nname = '{name}'\nid = '{name}'\nsha256 = '{digest}'\ncreated = 2026-01-01T00:00:00Z\n{rest}\n"
        )
    };
    format!("version = 1\n{}", entries.map(entry).concat())
}

fn key_text(name: &str) -> String {
    format!("the-key-of-{name}-which-is-long-enough-to-be-one")
}

/// The credential of a sender.
#[derive(Clone, Debug)]
enum Shown {
    Nothing,
    Key(&'static str),
    Stranger(u8),
    Token { claims: Value, is_forged: bool },
    Garbage(String),
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct RandomRequest {
    shown: Vec<Shown>,
    over_http: bool,
    peer: Option<u8>,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Value,
}

impl RandomRequest {
    pub(super) fn any() -> impl Strategy<Value = Self> {
        let shown =
            prop_oneof![12 => prop::collection::vec(shown(), 1), 1 => prop::collection::vec(shown(), 2)];
        let peer = prop::option::of(any::<u8>());
        (shown, any::<bool>(), peer, headers(), body()).prop_map(|(shown, over_http, peer, headers, body)| {
            Self { shown, over_http, peer, headers, body }
        })
    }

    /// The call of a tool by the owner of a good key.
    pub(super) fn of_ada(tool: &str) -> Self {
        let params = json!({ "name": tool, "arguments": {} });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let (shown, headers) = (vec![Shown::Key("ada")], Vec::new());
        Self { shown, over_http: true, peer: Some(1), headers, body }
    }

    /// The same with a key that nobody has.
    pub(super) fn of_stranger(number: u8) -> Self {
        Self { shown: vec![Shown::Stranger(number)], ..Self::of_ada("a") }
    }

    pub(super) fn arrival(&self) -> Arrival {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        let mut credentials = Credentials::default();
        for shown in &self.shown {
            shown.add_to(&mut headers, &mut credentials);
        }
        let transport = if self.over_http { Transport::Http } else { Transport::Stdio };
        Arrival {
            under_way: Default::default(),
            known: Default::default(),
            transport,
            peer: self.peer.map(|end| IpAddr::V4(Ipv4Addr::new(192, 0, 2, end))),
            certificate: None,
            headers: if self.over_http { headers } else { HeaderMap::new() },
            body: self.body.to_string().into(),
            shown: (!self.over_http).then_some(credentials),
            session: None,
        }
    }
}

impl Shown {
    /// As a header, and as over stdio.
    fn add_to(&self, headers: &mut HeaderMap, credentials: &mut Credentials) {
        let text = match self {
            Self::Nothing => return,
            Self::Key(name) => key_text(name),
            Self::Stranger(number) => format!("a-key-that-no-store-contains-number-{number}"),
            Self::Token { claims, is_forged } => token(claims, *is_forged),
            Self::Garbage(text) => text.clone(),
        };
        credentials.add(Scheme::Bearer, None, SecretString::from(text.as_str()));
        if let Ok(value) = HeaderValue::try_from(format!("Bearer {text}")) {
            headers.append(AUTHORIZATION, value);
        }
    }
}

fn token(claims: &Value, is_forged: bool) -> String {
    let mut text = encode(&Header::new(Algorithm::ES256), claims, &SIGNING).unwrap();
    if is_forged {
        let (signed, _) = text.rsplit_once('.').unwrap();
        text = format!("{signed}.{}", "A".repeat(86));
    }
    text
}

fn shown() -> impl Strategy<Value = Shown> {
    prop_oneof![
        1 => Just(Shown::Nothing),
        6 => prop::sample::select(KEYS.to_vec()).prop_map(Shown::Key),
        1 => any::<u8>().prop_map(Shown::Stranger),
        5 => (claims(), prop::bool::weighted(0.1))
            .prop_map(|(claims, is_forged)| Shown::Token { claims, is_forged }),
        1 => "[ -~]{0,40}".prop_map(Shown::Garbage),
    ]
}

fn claims() -> impl Strategy<Value = Value> {
    let some = |names: &[&'static str]| prop::sample::subsequence(names.to_vec(), 0..=names.len());
    let audience = prop_oneof![8 => Just("https://mcp.example.com/up"), 1 => Just("https://other.example")];
    let left = prop_oneof![8 => Just(3600_i64), 1 => Just(-3600)];
    let team =
        prop::option::of(prop::sample::select(vec![json!("red"), json!("blue"), json!(["red"]), json!(7)]));
    let tenant = prop::option::of(prop::sample::select(vec!["acme", "globex", "../acme"]));
    let names = (some(&["greeter", "user", "other"]), some(&["math", "deep"]));
    ("[a-c]", names, audience, left, team, tenant).prop_map(
        |(subject, (roles, scopes), audience, left, team, tenant)| {
            let now = i64::try_from(since_epoch().as_secs()).unwrap();
            let mut claims = json!({
                "sub": subject, "aud": audience, "iss": "https://idp.example.com", "iat": now - 7200,
                "exp": now + left, "roles": roles, "scope": scopes.join(" "),
            });
            if let Some(team) = team {
                claims["team"] = team;
            }
            if let Some(tenant) = tenant {
                claims["tenant"] = tenant.into();
            }
            claims
        },
    )
}

fn headers() -> impl Strategy<Value = Vec<(HeaderName, HeaderValue)>> {
    let names = prop::sample::select(vec![
        "x-tenant",
        "user-agent",
        "mcp-name",
        "mcp-method",
        "mcp-protocol-version",
    ]);
    let values =
        prop::sample::select(vec!["a", "pay", "tools/call", "2025-11-25", "2026-07-28", "acme", "\u{ff}"]);
    let header = (names, values).prop_map(|(name, value)| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    });
    prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(header, 0..3)]
}

fn body() -> impl Strategy<Value = Value> {
    let meta = prop_oneof![
        4 => Just(None),
        1 => Just(Some(json!({ "progressToken": 1 }))),
        1 => Just(Some(json!({ "example.com/note": ["a", { "b": null }] }))),
        1 => Just(Some(json!("no object"))),
    ];
    (call(), meta).prop_map(|((method, mut params), meta)| {
        if let Some(meta) = meta {
            params["_meta"] = meta;
        }
        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
    })
}

fn call() -> impl Strategy<Value = (&'static str, Value)> {
    let tools = prop_oneof![
        4 => prop::sample::select(vec!["pay", "a", "get_sum", "drop", "read_file"]).prop_map(str::to_owned),
        2 => "[ab]{1,3}",
        1 => "\\PC{0,6}",
    ];
    let tool = (tools, arguments())
        .prop_map(|(name, arguments)| ("tools/call", json!({ "name": name, "arguments": arguments })));
    let uris = vec!["file:///a", "file:///b", "crm://acme/1", "crm://globex/1", "crm://acme/../globex"];
    let resource = prop::sample::select(uris).prop_map(|uri| ("resources/read", json!({ "uri": uri })));
    let prompt = "[ab]{1,2}".prop_map(|name| ("prompts/get", json!({ "name": name })));
    let lists =
        vec!["tools/list", "resources/list", "prompts/list", "resources/templates/list", "ping", "acme/run"];
    let list = prop::sample::select(lists).prop_map(|method| (method, json!({})));
    prop_oneof![8 => tool, 2 => resource, 2 => prompt, 2 => list]
}

fn arguments() -> impl Strategy<Value = Value> {
    let amount = prop_oneof![
        2 => Just(json!({})),
        4 => (0..20_u8).prop_map(|amount| json!({ "amount": amount })),
        1 => Just(json!({ "amount": "5" })),
        1 => Just(json!({ "amount": { "value": 5 } })),
    ];
    let path = prop::option::of(prop::sample::select(vec!["/srv/docs/a", "/srv/docs/../b", "/etc/passwd"]));
    (amount, path, any::<bool>()).prop_map(|(mut arguments, path, tenanted)| {
        if let Some(path) = path {
            arguments["path"] = path.into();
        }
        if tenanted {
            arguments["tenant"] = "acme".into();
        }
        arguments
    })
}
