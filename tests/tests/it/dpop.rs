//! Proof of possession (DPoP, RFC 9449): each rule of section 4.3 kept, and broken alone, with the built-in and with
//! the component.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, await_some};
use witgate_tests::possession::{Holder, encoded, now, sha256};
use witgate_tests::wire::{Answer, Request, STATEFUL};

const SECRET: &str = "a secret of the host that is long enough";
const PUBLIC: &str = "https://mcp.example.com";
const ALGORITHMS: &str = r#"algs="ES256 ES384 EdDSA Ed25519 PS256 PS384 PS512 RS256 RS384 RS512""#;

/// Endpoints before the built-in and before the component.
const OPTIONAL: [&str; 2] = ["/built-in/mcp", "/component/mcp"];
const REQUIRED: [&str; 2] = ["/built-in-required/mcp", "/component-required/mcp"];
const OFF: &str = "/off/mcp";

struct Testbed {
    gateway: Running,
    holder: Holder,
}

impl Testbed {
    fn new(server: &str) -> Self {
        let setup = Setup::new().env("JWT_SECRET", SECRET);
        setup.component("jwt");
        let policy = |name: &str, more: &str, dpop: &str| {
            format!(
                "[policies.{name}]\nkind = 'jwt'\n{more}\n\
                 config = {{ keys = ['idp'], algorithms = ['HS256'], dpop = '{dpop}' }}\n\
                 [upstreams.{name}]\nown_tools = true\n\
                 [upstreams.{name}.pipeline]\nauthenticate = ['{name}']\nauthorize = ['roles']\n"
            )
        };
        let component = "component = 'plugins/jwt.wasm'";
        let policies = [
            policy("built-in", "", "optional"),
            policy("component", component, "optional"),
            policy("built-in-required", "", "required"),
            policy("component-required", component, "required"),
            policy("off", "", "off"),
            policy("watched", "mode = 'shadow'", "required")
                .replace("authenticate = ['watched']", "authenticate = ['off', 'watched']"),
        ];
        setup.config(
            &format!("resource = '{PUBLIC}/mcp'\n{server}"),
            &format!(
                "[keys.idp]\nsecret = {{ env = 'JWT_SECRET' }}\n\
                 [policies.roles]\nkind = 'rbac'\n[policies.roles.config.roles]\nuser = {{ allow = ['*'] }}\n{}",
                policies.concat()
            ),
        );
        Self { gateway: setup.serve(), holder: Holder::new() }
    }

    fn request(&self, path: &str) -> Request {
        Request::stateless(&self.gateway.address(), path, "tools/list", json!({}))
    }

    /// A token for `path` that is bound to the holder's key.
    fn bound(&self, path: &str) -> String {
        token(path, json!({ "jkt": self.holder.thumbprint() }))
    }

    /// Sends `token` with a proof.
    fn show(&self, path: &str, token: &str, proof: &str) -> Answer {
        self.request(path).set("Authorization", &format!("DPoP {token}")).with("DPoP", proof).send()
    }

    /// Sends a bound token with a proof that `make` changes.
    fn prove(&self, path: &str, make: impl Fn(Making<'_>) -> String) -> Answer {
        let token = self.bound(path);
        let url = public(path);
        let proof = make(Making { holder: &self.holder, url: &url, token: &token });
        self.show(path, &token, &proof)
    }
}

/// The parts of a proof.
#[derive(Clone, Copy)]
struct Making<'a> {
    holder: &'a Holder,
    url: &'a str,
    token: &'a str,
}

impl<'a> Making<'a> {
    fn good(self) -> witgate_tests::possession::Proof<'a> {
        self.holder.proof(self.url, self.token)
    }
}

fn public(path: &str) -> String {
    format!("{PUBLIC}{path}")
}

fn token(path: &str, cnf: Value) -> String {
    let mut claims =
        json!({ "sub": "ada", "aud": public(path), "exp": now() + 600, "iat": now(), "roles": ["user"] });
    if !cnf.is_null() {
        claims["cnf"] = cnf;
    }
    let key = EncodingKey::from_secret(SECRET.as_bytes()).unwrap();
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
}

fn refused(what: &str, answer: &Answer, reason: &str, error: &str) {
    assert_eq!(answer.refusal(), (401, 401, reason.to_owned()), "{what}: {}", answer.text());
    let bearer = match error {
        "invalid_token" => r#"Bearer error="invalid_token", realm="mcp""#,
        _ => r#"Bearer realm="mcp""#,
    };
    let dpop = format!(r#"DPoP error="{error}", {ALGORITHMS}"#);
    assert_eq!(answer.all("www-authenticate"), [bearer, dpop.as_str()], "{what}");
}

/// A change of a valid proof, and the reason why it is refused.
type Broken = (&'static str, fn(Making<'_>) -> String, &'static str);

const BROKEN: &[Broken] = &[
    ("an empty one", |_| " ".to_owned(), "dpop-malformed"),
    ("no JWS", |_| "proof".to_owned(), "dpop-malformed"),
    ("two parts", |m| m.good().signed().rsplit_once('.').unwrap().0.to_owned(), "dpop-malformed"),
    ("four parts", |m| format!("{}.AAAA", m.good().signed()), "dpop-malformed"),
    ("padding", |m| format!("{}=", m.good().signed()), "dpop-malformed"),
    ("too long", |m| m.good().claim("more", "x".repeat(9000)).signed(), "dpop-malformed"),
    ("a header that is no object", |m| m.holder.signed("[]", &m.good().claims()), "dpop-malformed"),
    ("claims that are no object", |m| m.holder.signed(&m.good().head(), "[]"), "dpop-malformed"),
    (
        "a member of the header twice",
        |m| m.holder.signed(&m.good().head().replacen('{', r#"{"alg":"none","#, 1), &m.good().claims()),
        "dpop-malformed",
    ),
    (
        "a claim twice",
        |m| m.holder.signed(&m.good().head(), &m.good().claims().replacen('{', r#"{"htm":"GET","#, 1)),
        "dpop-malformed",
    ),
    ("crit", |m| m.good().header("crit", json!(["exp"])).signed(), "dpop-malformed"),
    ("no typ", |m| m.good().header("typ", Value::Null).signed(), "dpop-type"),
    ("the typ of a token", |m| m.good().header("typ", "at+jwt").signed(), "dpop-type"),
    ("the typ JWT", |m| m.good().header("typ", "JWT").signed(), "dpop-type"),
    ("a typ in another case", |m| m.good().header("typ", "DPoP+JWT").signed(), "dpop-type"),
    ("no alg", |m| m.good().header("alg", Value::Null).signed(), "dpop-algorithm"),
    ("alg none", |m| m.good().header("alg", "none").signed(), "dpop-algorithm"),
    ("a shared secret", |m| m.good().header("alg", "HS256").signed(), "dpop-algorithm"),
    ("an alg in another case", |m| m.good().header("alg", "es256").signed(), "dpop-algorithm"),
    ("an alg of another key", |m| m.good().header("alg", "RS256").signed(), "dpop-key"),
    ("no jwk", |m| m.good().header("jwk", Value::Null).signed(), "dpop-key"),
    ("a jwk that is no object", |m| m.good().header("jwk", "key").signed(), "dpop-key"),
    ("a private jwk", |m| m.good().header("jwk", m.holder.private_jwk()).signed(), "dpop-key"),
    (
        "a symmetric jwk",
        |m| m.good().header("jwk", json!({ "kty": "oct", "k": "AAAA" })).signed(),
        "dpop-key",
    ),
    (
        "a point that is none of the curve",
        |m| {
            let mut jwk = m.holder.jwk();
            jwk["x"] = jwk["y"].clone();
            m.good().header("jwk", jwk).signed()
        },
        "dpop-signature",
    ),
    ("the jwk of another", |m| m.good().header("jwk", Holder::new().jwk()).signed(), "dpop-signature"),
    (
        "the signature of another",
        |m| Holder::new().signed(&m.good().head(), &m.good().claims()),
        "dpop-signature",
    ),
    ("no signature", |m| format!("{}.", m.good().signed().rsplit_once('.').unwrap().0), "dpop-signature"),
    (
        "a signature in DER",
        |m| format!("{}.{}", m.good().signed().rsplit_once('.').unwrap().0, encoded(&[0x30; 70])),
        "dpop-signature",
    ),
    (
        "claims changed after signing",
        |m| {
            let signed = m.good().signed();
            let parts: Vec<_> = signed.split('.').collect();
            let claims = m.good().claim("jti", "another").claims();
            format!("{}.{}.{}", parts[0], encoded(claims.as_bytes()), parts[2])
        },
        "dpop-signature",
    ),
    ("no jti", |m| m.good().claim("jti", Value::Null).signed(), "dpop-malformed"),
    ("an empty jti", |m| m.good().claim("jti", "").signed(), "dpop-malformed"),
    ("a jti that is a number", |m| m.good().claim("jti", 7).signed(), "dpop-malformed"),
    ("a jti that is too long", |m| m.good().claim("jti", "x".repeat(513)).signed(), "dpop-malformed"),
    ("no htm", |m| m.good().claim("htm", Value::Null).signed(), "dpop-malformed"),
    ("another method", |m| m.good().claim("htm", "GET").signed(), "dpop-method"),
    ("a method in another case", |m| m.good().claim("htm", "post").signed(), "dpop-method"),
    ("no htu", |m| m.good().claim("htu", Value::Null).signed(), "dpop-malformed"),
    ("another host", |m| m.good().claim("htu", m.url.replace("mcp.ex", "evil.ex")).signed(), "dpop-url"),
    ("another scheme", |m| m.good().claim("htu", m.url.replace("https", "http")).signed(), "dpop-url"),
    ("another port", |m| m.good().claim("htu", m.url.replace(".com", ".com:8443")).signed(), "dpop-url"),
    ("a slash at the end", |m| m.good().claim("htu", format!("{}/", m.url)).signed(), "dpop-url"),
    ("the path of a sibling", |m| m.good().claim("htu", public("/off/mcp")).signed(), "dpop-url"),
    ("a path in another case", |m| m.good().claim("htu", m.url.replace("/mcp", "/MCP")).signed(), "dpop-url"),
    ("a user in the URL", |m| m.good().claim("htu", m.url.replace("//", "//a@")).signed(), "dpop-url"),
    ("a URL that is none", |m| m.good().claim("htu", "mcp").signed(), "dpop-url"),
    ("no iat", |m| m.good().claim("iat", Value::Null).signed(), "dpop-malformed"),
    ("an iat that is a text", |m| m.good().claim("iat", "now").signed(), "dpop-malformed"),
    ("too old", |m| m.good().claim("iat", now() - 320).signed(), "dpop-time"),
    ("of the future", |m| m.good().claim("iat", now() + 420).signed(), "dpop-time"),
    ("of before all time", |m| m.good().claim("iat", -1).signed(), "dpop-time"),
    ("of after all time", |m| m.good().claim("iat", json!(1e300)).signed(), "dpop-time"),
    ("no ath", |m| m.good().claim("ath", Value::Null).signed(), "dpop-token"),
    ("the ath of another token", |m| m.good().claim("ath", sha256(b"another")).signed(), "dpop-token"),
    (
        "an ath with padding",
        |m| m.good().claim("ath", format!("{}=", sha256(m.token.as_bytes()))).signed(),
        "dpop-token",
    ),
];

#[test]
fn each_broken_rule_of_a_proof_has_its_own_reason() {
    let testbed = Testbed::new("");
    for path in OPTIONAL.iter().chain(&REQUIRED) {
        let answer = testbed.prove(path, |making| making.good().signed());
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        for (what, make, reason) in BROKEN {
            refused(&format!("{path}: {what}"), &testbed.prove(path, make), reason, "invalid_dpop_proof");
        }
    }
}

#[test]
fn equal_notations_of_a_proof_are_accepted() {
    let testbed = Testbed::new("");
    let same: [fn(Making<'_>) -> String; 9] = [
        |m| m.good().claim("htu", m.url.replace("https", "HTTPS")).signed(),
        |m| m.good().claim("htu", m.url.replace("mcp.example.com", "MCP.Example.COM")).signed(),
        |m| m.good().claim("htu", m.url.replace(".com", ".com:443")).signed(),
        |m| m.good().claim("htu", format!("{}?a=b#c", m.url)).signed(),
        |m| m.good().claim("htu", m.url.replace("/mcp", "/%6dcp")).signed(),
        |m| m.good().claim("iat", now() - 200).signed(),
        |m| m.good().claim("iat", now() + 200).signed(),
        |m| m.good().claim("iat", json!(now() as f64 + 0.5)).signed(),
        |m| m.good().header("kid", "mine").claim("nonce", "of somebody else").claim("exp", 1).signed(),
    ];
    for path in OPTIONAL {
        for (number, make) in same.iter().enumerate() {
            let answer = testbed.prove(path, make);
            assert_eq!(answer.status, 200, "{path}: {number}: {}", answer.text());
        }
    }
}

#[test]
fn every_named_algorithm_is_accepted_only_with_its_own_key() {
    let mut testbed = Testbed::new("");
    let names = ["ES256", "ES384", "EdDSA", "Ed25519", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];
    assert_eq!(ALGORITHMS, format!("algs=\"{}\"", names.join(" ")));
    for name in names {
        testbed.holder = Holder::of(name);
        for path in OPTIONAL {
            let answer = testbed.prove(path, |making| making.good().signed());
            assert_eq!(answer.status, 200, "{path}: {name}: {}", answer.text());
        }
        for other in names {
            let same = |name: &'static str| if name == "Ed25519" { "EdDSA" } else { name };
            if same(other) != same(name) {
                let answer = testbed.prove(OPTIONAL[0], |making| making.good().header("alg", other).signed());
                let reason = answer.refusal().2;
                assert!(
                    ["dpop-key", "dpop-signature"].contains(&reason.as_str()),
                    "{name} as {other}: {reason}"
                );
            }
        }
    }
}

#[test]
fn a_proof_is_accepted_once() {
    let testbed = Testbed::new("");
    for path in OPTIONAL {
        let (token, url) = (testbed.bound(path), public(path));
        let proof = testbed.holder.proof(&url, &token).signed();
        // A refused token does not use up its proof.
        let bad = format!("{token}x");
        let other = testbed.holder.proof(&url, &bad).signed();
        refused("a bad token", &testbed.show(path, &bad, &other), "bad-signature", "invalid_token");
        assert_eq!(testbed.show(path, &token, &proof).status, 200);
        refused("again", &testbed.show(path, &token, &proof), "dpop-replayed", "invalid_dpop_proof");
        refused("and again", &testbed.show(path, &token, &proof), "dpop-replayed", "invalid_dpop_proof");
        let same_id = testbed.holder.proof(&url, &token).claim("jti", path);
        assert_eq!(testbed.show(path, &token, &same_id.signed()).status, 200);
        let later = same_id.claim("iat", now() + 1).signed();
        refused(
            "a new proof of a used jti",
            &testbed.show(path, &token, &later),
            "dpop-replayed",
            "invalid_dpop_proof",
        );
    }
}

#[test]
fn only_one_of_many_simultaneous_uses_is_accepted() {
    let testbed = Testbed::new("");
    let path = OPTIONAL[0];
    let token = testbed.bound(path);
    let proof = testbed.holder.proof(&public(path), &token).signed();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let answers: Vec<_> =
            (0..16).map(|_| scope.spawn(|| testbed.show(path, &token, &proof).status)).collect();
        answers.into_iter().map(|answer| answer.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 15, "{statuses:?}");
}

#[test]
fn a_bound_token_needs_the_scheme_dpop_and_an_unbound_one_bearer() {
    let testbed = Testbed::new("");
    let stranger = Holder::new();
    for path in OPTIONAL.iter().chain(&REQUIRED) {
        let required = REQUIRED.contains(path);
        let url = public(path);
        let (bound, plain) = (testbed.bound(path), token(path, Value::Null));
        let proof = |token: &str| testbed.holder.proof(&url, token).signed();
        let ask = || testbed.request(path);

        let answer = ask().bearer(&bound).send();
        refused("a bound token as bearer", &answer, "not-proven", "invalid_token");
        let answer = ask().bearer(&bound).with("DPoP", &proof(&bound)).send();
        refused("a proof beside a bearer token", &answer, "dpop-beside-bearer", "invalid_dpop_proof");
        let answer = ask().set("Authorization", &format!("DPoP {bound}")).send();
        refused("no proof", &answer, "dpop-missing", "invalid_dpop_proof");
        let answer = ask()
            .set("Authorization", &format!("DPoP {bound}"))
            .with("DPoP", &proof(&bound))
            .with("DPoP", &proof(&bound))
            .send();
        refused("two proofs", &answer, "dpop-several", "invalid_dpop_proof");
        let answer = testbed.show(path, &plain, &proof(&plain));
        refused("a token that is not bound, as DPoP", &answer, "not-bound", "invalid_token");
        let answer = testbed.show(path, &bound, &stranger.proof(&url, &bound).signed());
        refused("the proof of a foreign key", &answer, "wrong-key", "invalid_token");

        let answer = ask().bearer(&plain).send();
        match required {
            true => refused("a token that is not bound", &answer, "dpop-required", "invalid_token"),
            false => assert_eq!(answer.status, 200, "{path}: {}", answer.text()),
        }
        let answer = ask().send();
        let challenges = [r#"Bearer realm="mcp""#.to_owned(), format!("DPoP {ALGORITHMS}")];
        assert_eq!(
            (answer.status, answer.all("www-authenticate")),
            (401, challenges.iter().map(String::as_str).collect())
        );
    }
}

#[test]
fn a_bound_token_is_refused_if_no_policy_asks_for_proofs() {
    let testbed = Testbed::new("");
    let (bound, url) = (testbed.bound(OFF), public(OFF));
    let answer = testbed.request(OFF).bearer(&bound).send();
    assert_eq!(answer.refusal().2, "not-proven");
    assert_eq!(answer.all("www-authenticate"), [r#"Bearer error="invalid_token", realm="mcp""#]);
    let answer = testbed.show(OFF, &bound, &testbed.holder.proof(&url, &bound).signed());
    assert_eq!(answer.refusal(), (401, 401, "unrecognised".to_owned()));
    // A header of somebody else's is passed over, and goes nowhere.
    let answer = testbed.request(OFF).bearer(&token(OFF, Value::Null)).with("DPoP", "anything").send();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_shadow_policy_asks_for_no_proof() {
    let testbed = Testbed::new("");
    let path = "/watched/mcp";
    let (bound, plain, url) = (testbed.bound(path), token(path, Value::Null), public(path));
    let proof = || testbed.holder.proof(&url, &bound).signed();
    for _ in 0..2 {
        let answer = testbed.request(path).bearer(&plain).with("DPoP", "anything").send();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let answer = testbed.request(path).send();
    assert_eq!(answer.all("www-authenticate"), [r#"Bearer realm="mcp""#]);
    let once = proof();
    for proof in [&once, &once, "no proof"] {
        let answer = testbed.show(path, &bound, proof);
        assert_eq!(answer.refusal(), (401, 401, "unrecognised".to_owned()), "as without it");
    }
    // It judges nevertheless: a bearer token it would have refused, a good proof it would have taken.
    let disagreements = await_some("the shadow's verdicts", || {
        let output = testbed.gateway.setup().run(&["plugin", "diff", "--json"]);
        let text = String::from_utf8(output.stdout).unwrap();
        (text.contains("identity ada") && text.contains("refused")).then_some(text)
    });
    assert!(disagreements.contains("watched"), "{disagreements}");
}

#[test]
fn every_request_of_a_session_has_its_own_proof() {
    let testbed = Testbed::new("");
    let address = testbed.gateway.address();
    for path in OPTIONAL {
        let (token, url) = (testbed.bound(path), public(path));
        let send = |request: Request, proof: &str| {
            request.set("Authorization", &format!("DPoP {token}")).with("DPoP", proof).send()
        };
        let params = json!({
            "protocolVersion": STATEFUL, "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
        });
        let initialize = || Request::stateful(&address, path, "initialize", params.clone());
        let proof = testbed.holder.proof(&url, &token).signed();
        let answer = send(initialize(), &proof);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let session = answer.header("mcp-session-id").unwrap_or_default().to_owned();
        let list =
            || Request::stateful(&address, path, "tools/list", json!({})).with("Mcp-Session-Id", &session);
        refused("the proof of another request", &send(list(), &proof), "dpop-replayed", "invalid_dpop_proof");
        assert_eq!(send(list(), &testbed.holder.proof(&url, &token).signed()).status, 200);
        let delete = || {
            Request::new("DELETE", &address, path)
                .with("MCP-Protocol-Version", STATEFUL)
                .with("Mcp-Session-Id", &session)
        };
        let post = testbed.holder.proof(&url, &token);
        refused("a proof for POST", &send(delete(), &post.signed()), "dpop-method", "invalid_dpop_proof");
        let answer = send(delete(), &post.claim("htm", "DELETE").signed());
        assert_ne!(answer.status, 401, "{}", answer.text());
    }
}

#[test]
fn nonces_are_issued_and_required() {
    let testbed = Testbed::new("[server.dpop]\nnonces = true");
    for path in OPTIONAL {
        let answer = testbed.prove(path, |making| making.good().signed());
        refused("no nonce", &answer, "dpop-nonce", "use_dpop_nonce");
        let nonce = answer.header("dpop-nonce").expect("a nonce").to_owned();
        for odd in [json!("of somebody else"), json!(""), json!(7), json!(format!("{nonce}A"))] {
            let answer = testbed.prove(path, |making| making.good().claim("nonce", odd.clone()).signed());
            refused("an odd nonce", &answer, "dpop-nonce", "use_dpop_nonce");
        }
        for _ in 0..3 {
            let nonce = nonce.as_str();
            let answer = testbed.prove(path, |making| making.good().claim("nonce", nonce).signed());
            assert_eq!(answer.status, 200, "a nonce is good for a while: {}", answer.text());
        }
        let mut other = Testbed::new("[server.dpop]\nnonces = true");
        other.holder = Holder::new();
        let answer = other.prove(path, |making| making.good().claim("nonce", nonce.as_str()).signed());
        refused("the nonce of another server", &answer, "dpop-nonce", "use_dpop_nonce");
    }
}

#[test]
fn no_part_of_a_proof_is_logged() {
    let testbed = Testbed::new("");
    let path = OPTIONAL[0];
    let token = testbed.bound(path);
    let proof = testbed.holder.proof(&public(path), &token).signed();
    assert_eq!(testbed.show(path, &token, &proof).status, 200);
    refused("again", &testbed.show(path, &token, &proof), "dpop-replayed", "invalid_dpop_proof");
    let log = testbed.gateway.await_log("dpop-replayed");
    std::thread::sleep(Duration::from_millis(50));
    for secret in [token.as_str(), proof.as_str(), proof.rsplit('.').next().unwrap()] {
        assert!(!log.contains(secret), "{log}");
    }
}
