//! Genuine tokens with impossible claims, or claims for another place or time.

use serde_json::{Value, json};
use witgate_cases::{Expect, ExpectIdentity};
use witgate_plugin::UNREAD_ROLES;

use super::forge::{AUDIENCE, NOW, claims, with_claims, with_payload};
use super::{Attack, Policy};

pub(super) fn attacks() -> Vec<Attack> {
    [ends(), starts(), audiences(), subjects(), roles(), lists(), bindings()].into_iter().flatten().collect()
}

fn claiming(name: &str, value: &Value, reason: &str) -> Attack {
    let label: String = format!("{name} {value}").chars().take(80).collect();
    let null = value.is_null();
    // `null` counts as no claim.
    let token = if null { with_text(name, "null") } else { with_claims(&json!({ name: value })) };
    Attack::refused(&Policy::public(), label, token, reason)
}

/// `name` with a value as no library would write it.
fn with_text(name: &str, value: &str) -> String {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    let text = claims.to_string();
    with_payload(format!("{},\"{name}\":{value}}}", &text[..text.len() - 1]))
}

fn ends() -> Vec<Attack> {
    let expired =
        [json!(0), json!(1), json!(NOW - 60), json!(NOW - 61), json!(1.5), json!(1_999_999_939.999)];
    let odd = [
        json!("2000000300"),
        json!(""),
        json!("never"),
        json!("2033-05-18T03:38:20Z"),
        json!(true),
        json!([2_000_000_300]),
        json!({ "seconds": 2_000_000_300 }),
        json!(-1),
        json!(-2_000_000_300_i64),
        json!(2_000_000_300_000_u64),
        json!(9_007_199_254_740_993_u64),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e300),
        json!(253_402_300_800_u64),
    ];
    let texts = ["1e400", "-1e400", "9999999999999999999999999", "2000000300e5", "-0.1"];
    let malformed = odd.iter().map(|value| claiming("exp", value, "malformed"));
    let texts = texts.map(|text| {
        Attack::refused(&Policy::public(), format!("exp {text}"), with_text("exp", text), "malformed")
    });
    let missing =
        Attack::refused(&Policy::public(), "no exp", with_claims(&json!({ "exp": null })), "missing-claim");
    let good = [
        ("2000000300.5", "a fraction"),
        ("2.0000003e9", "an exponent"),
        ("20000003E2", "an exponent without a point"),
    ]
    .map(|(text, name)| {
        Attack::good(&Policy::public(), format!("good: exp with {name}"), with_text("exp", text))
    });
    expired
        .iter()
        .map(|value| claiming("exp", value, "expired"))
        .chain(malformed)
        .chain(texts)
        .chain([
            missing,
            claiming("exp", &Value::Null, "missing-claim"),
            claiming("exp", &json!(-0.0), "expired"),
        ])
        .chain(good)
        .collect()
}

fn starts() -> Vec<Attack> {
    ["nbf", "iat"]
        .into_iter()
        .flat_map(|name| {
            let early = [json!(NOW + 61), json!(NOW + 10_000), json!(2_000_000_060.5)];
            let odd =
                [json!("0"), json!(-1), json!([]), json!(false), json!(1e300), json!(1_999_999_990_000_u64)];
            let early = early.map(|value| claiming(name, &value, "not-yet-valid"));
            early.into_iter().chain(odd.map(|value| claiming(name, &value, "malformed")))
        })
        .collect()
}

fn audiences() -> Vec<Attack> {
    let others = [
        "",
        "*",
        "https://mcp.example.com",
        "https://mcp.example.com/",
        "https://mcp.example.com/mc",
        "https://mcp.example.com/mcp/",
        "https://mcp.example.com/mcp/other",
        "https://mcp.example.com/mcp?x",
        "https://mcp.example.com/mcp#",
        "https://mcp.example.com/MCP",
        "https://MCP.example.com/mcp",
        "HTTPS://mcp.example.com/mcp",
        "http://mcp.example.com/mcp",
        "https://mcp.example.com:443/mcp",
        "https://mcp.example.com./mcp",
        "https://mcp.example.com/./mcp",
        "https://mcp.example.com/%6dcp",
        "https://mcp.example.com//mcp",
        "https://mcp.example.com/mcp ",
        " https://mcp.example.com/mcp",
        "https://mcp.example.com/mcp\n",
        "https://mcp.example.com/mcp\u{0}",
        "https://mcp.example.com/mcp https://other.example",
        "https://mcp.example.com/mcp,https://other.example",
        "https://mcp.example.com.evil.example/mcp",
        "https://evil.example/https://mcp.example.com/mcp",
        "https://mcp.еxample.com/mcp",
        "https://sibling.example.com/mcp",
        "https://mcp.example.com/sibling/mcp",
    ];
    let others = others.map(|audience| claiming("aud", &json!(audience), "wrong-audience"));
    let lists =
        [json!([]), json!(["https://sibling.example.com/mcp", "https://mcp.example.com/mcp/"]), json!([""])];
    let lists = lists.map(|audience| claiming("aud", &audience, "wrong-audience"));
    let odd = [
        json!(5),
        json!(true),
        json!({ "aud": AUDIENCE }),
        json!({ AUDIENCE: true }),
        json!([[AUDIENCE]]),
        json!([AUDIENCE, 5]),
        json!([AUDIENCE, null]),
        json!([AUDIENCE, [AUDIENCE]]),
        json!([{ "aud": AUDIENCE }]),
        json!([[[[[[AUDIENCE]]]]]]),
    ];
    let odd = odd.map(|audience| claiming("aud", &audience, "malformed"));
    let none = [
        claiming("aud", &Value::Null, "missing-claim"),
        Attack::refused(&Policy::public(), "no aud", with_claims(&json!({ "aud": null })), "missing-claim"),
    ];
    let good = [json!([AUDIENCE]), json!(["https://sibling.example.com", AUDIENCE])].map(|audience| {
        Attack::good(
            &Policy::public(),
            format!("good: aud {audience}"),
            with_claims(&json!({ "aud": audience })),
        )
    });
    others.into_iter().chain(lists).chain(odd).chain(none).chain(good).collect()
}

fn subjects() -> Vec<Attack> {
    let odd = [
        json!(""),
        json!(5),
        json!(["alice"]),
        json!({ "sub": "alice" }),
        json!("alice\nroot"),
        json!("alice\u{0}"),
        json!("a\u{1b}[2J"),
        json!("x".repeat(513)),
    ];
    let none =
        Attack::refused(&Policy::public(), "no sub", with_claims(&json!({ "sub": null })), "missing-claim");
    odd.into_iter().map(|subject| claiming("sub", &subject, "malformed")).chain([none]).collect()
}

/// Unreadable roles grant nothing: the host denies every call that needs a rule.
fn roles() -> Vec<Attack> {
    [
        json!(5),
        json!({ "admin": true }),
        json!(["admin", 5]),
        json!([["admin"]]),
        json!([""]),
        json!(["x".repeat(257)]),
        json!((0..257).map(|n| format!("r{n}")).collect::<Vec<_>>()),
    ]
    .into_iter()
    .map(|value| {
        let label: String = value.to_string().chars().take(80).collect();
        let roles = Some(vec![UNREAD_ROLES.to_owned()]);
        let expect = Expect::Identity(Box::new(ExpectIdentity { roles, ..ExpectIdentity::default() }));
        let token = with_claims(&json!({ "roles": value }));
        Attack { name: format!("roles {label}"), policy: Policy::public(), token, expect }
    })
    .collect()
}

fn lists() -> Vec<Attack> {
    [
        ("scope", json!(["read", 5])),
        ("scope", json!({ "read": true })),
        ("scope", json!("read\nwrite")),
        ("scope", json!("read \"write\"")),
        ("scope", json!("r\u{e9}ad")),
        ("scp", json!(5)),
    ]
    .into_iter()
    .map(|(name, value)| claiming(name, &value, "malformed"))
    .collect()
}

/// Attacks with bound tokens: a mere bearer has not proven the key that they are bound to.
fn bindings() -> Vec<Attack> {
    let thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    [
        (json!({ "jkt": thumbprint }), "not-proven"),
        (json!({ "x5t#S256": thumbprint }), "not-proven"),
        (json!({ "kid": "x" }), "unknown-binding"),
        (json!({}), "malformed"),
        (json!("x"), "malformed"),
    ]
    .into_iter()
    .map(|(binding, reason)| claiming("cnf", &binding, reason))
    .collect()
}
