//! The text of a token: base64 in other forms, JSON that two readers read differently, and too much of everything.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::json;

use super::forge::{
    KEYS, b64, changed, claims, good, header, parts, with_claims, with_header_text, with_payload,
};
use super::{Attack, Policy};

pub(super) fn attacks() -> Vec<Attack> {
    [alphabets(), spaces(), trailing_bits(), shapes(), texts(), sizes()].into_iter().flatten().collect()
}

fn malformed(name: impl Into<String>, token: String) -> Attack {
    Attack::refused(&Policy::public(), name, token, "malformed")
}

/// Padding, and the other alphabet, each of a good token and each signed as it stands.
fn alphabets() -> Vec<Attack> {
    let [header_part, payload, signature] = parts(&good("ES256"));
    let padded_header = changed(header("ES256"), &json!({ "x": "x" })).to_string();
    let padded = [padded_header, claims().to_string()].map(|text| URL_SAFE.encode(pad(&text)));
    let message = format!("{}.{}", padded[0], padded[1]);
    let sign = |message: &str| b64(&KEYS.sign("ES256", message.as_bytes()));
    // `?` three times is `Pz8/` in the standard alphabet and `Pz8_` in the other.
    let odd = |text: &str| text.to_owned() + "???";
    let standard =
        STANDARD.encode(changed(claims(), &json!({ "sub": odd("a") })).to_string().replace('a', "?"));
    let slashed =
        STANDARD.encode(json!({ "iss": "https://idp.example.com", "x": "???>>>" }).to_string() + "  ");
    let slashed = slashed.trim_end_matches('=').to_owned();
    [
        ("padding behind the signature", format!("{header_part}.{payload}.{signature}==")),
        ("one sign of padding behind the signature", format!("{header_part}.{payload}.{signature}=")),
        ("padding in the parts that are signed", format!("{message}.{}", sign(&message))),
        ("padding behind the payload", format!("{header_part}.{payload}=.{signature}")),
        ("padding behind the header", format!("{header_part}=.{payload}.{signature}")),
        ("the standard alphabet in the payload", {
            let message = format!("{header_part}.{}", standard.trim_end_matches('='));
            format!("{message}x/+.{}", sign(&message))
        }),
        ("the standard alphabet, signed as it stands", {
            let message =
                format!("{header_part}.{}", if slashed.contains('/') { slashed } else { slashed + "/" });
            format!("{message}.{}", sign(&message))
        }),
        ("percent signs", format!("{header_part}.{payload}.{}%3D", &signature[..80])),
        ("letters beyond ASCII", format!("{header_part}.{payload}.{}é", &signature[..85])),
        ("full-width letters", format!("{header_part}.{payload}.{}Ａ", &signature[..85])),
    ]
    .map(|(name, token)| malformed(name, token))
    .into()
}

/// So that its base64 has padding.
fn pad(text: &str) -> String {
    let mut text = text.to_owned();
    while text.len().is_multiple_of(3) {
        text.push(' ');
    }
    text
}

fn spaces() -> Vec<Attack> {
    let token = good("ES256");
    let [header, payload, signature] = parts(&token);
    let inside = [" ", "\t", "\n", "\r\n", "\u{0}", "\u{a0}", "\u{200b}"].into_iter().flat_map(|space| {
        [
            (format!("{space:?} behind the token"), format!("{token}{space}")),
            (
                format!("{space:?} in the payload"),
                format!("{header}.{}{space}{}.{signature}", &payload[..8], &payload[8..]),
            ),
        ]
    });
    let before = [" ", "\n", "Bearer ", "\u{feff}"].map(|text| {
        Attack::unrecognised(
            &Policy::public(),
            format!("{text:?} before the token"),
            format!("{text}{token}"),
        )
    });
    inside.map(|(name, token)| malformed(name, token)).chain(before).collect()
}

/// Of the digits that stand for the same bytes only one is canonical.
fn trailing_bits() -> Vec<Attack> {
    let next = |text: &str| {
        let last = text.chars().last().unwrap();
        let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let place = digits.find(last).unwrap();
        format!("{}{}", &text[..text.len() - 1], digits.chars().nth(place + 1).unwrap())
    };
    let spoiled = |at: usize, token: &str| {
        let mut parts = parts(token);
        parts[at] = next(&parts[at]);
        parts.join(".")
    };
    let padded = |changes| {
        let payload = pad(&changed(claims(), &changes).to_string());
        with_payload(payload)
    };
    vec![
        malformed("stray bits in the signature", spoiled(2, &good("ES256"))),
        malformed("stray bits in the payload", spoiled(1, &padded(json!({})))),
        malformed("stray bits in the header", {
            let text = pad(&header("ES256").to_string());
            spoiled(0, &with_header_text(&text))
        }),
    ]
}

fn shapes() -> Vec<Attack> {
    let token = good("ES256");
    let [header, payload, signature] = parts(&token);
    let flattened = json!({ "protected": header, "payload": payload, "signature": signature }).to_string();
    let general = json!({
        "payload": payload,
        "signatures": [{ "protected": header, "signature": signature }],
    });
    let unrecognised = [
        ("the JSON serialization, flattened", flattened),
        ("the JSON serialization", general.to_string()),
        ("four parts", format!("{token}.{signature}")),
        ("two tokens", format!("{token},{token}")),
        ("a dot before it", format!(".{token}")),
        ("a dot behind it", format!("{token}.")),
        ("an empty header", format!(".{payload}.{signature}")),
        ("a header without a member", format!("{}.{payload}.{signature}", b64(b"{}"))),
        ("a header that is a list", format!("{}.{payload}.{signature}", b64(b"[]"))),
        ("a header in base64 of base64", format!("{}.{payload}.{signature}", b64(header.as_bytes()))),
        ("hexadecimal digits", format!("7b7d.{payload}.{signature}")),
        ("an encrypted token", format!("{}.a.b.c.d", b64(br#"{"alg":"dir","enc":"A256GCM"}"#))),
        ("a signed token in an encrypted one", {
            let header = b64(br#"{"alg":"RSA-OAEP","enc":"A256GCM","cty":"JWT"}"#);
            format!("{header}.{payload}.{signature}.{payload}.{signature}")
        }),
    ]
    .map(|(name, token)| Attack::unrecognised(&Policy::public(), name, token));
    let malformed = [
        ("no payload", format!("{header}..{signature}")),
        ("nothing but dots behind the header", format!("{header}..")),
        ("a payload that is the header", format!("{header}.{header}=.{signature}")),
    ]
    .map(|(name, token)| malformed(name, token));
    unrecognised.into_iter().chain(malformed).collect()
}

/// Payloads and headers that two readers could take for different things. All of them are signed.
fn texts() -> Vec<Attack> {
    let good = claims().to_string();
    let open = &good[..good.len() - 1];
    let payloads: [(&str, Vec<u8>); 26] = [
        ("a byte order mark", format!("\u{feff}{good}").into_bytes()),
        ("UTF-16", good.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("not UTF-8", [open.as_bytes(), b",\"x\":\"\xff\"}"].concat()),
        ("an overlong slash", [open.as_bytes(), b",\"x\":\"\xc0\xaf\"}"].concat()),
        ("half a surrogate pair", format!(r#"{open},"x":"\ud800"}}"#).into_bytes()),
        ("text behind it", format!("{good}x").into_bytes()),
        ("another object behind it", format!("{good}{good}").into_bytes()),
        ("a zero byte behind it", format!("{good}\u{0}").into_bytes()),
        ("a comment", format!("{open}/* */}}").into_bytes()),
        ("a comma too much", format!("{open},}}").into_bytes()),
        ("single quotes", good.replace('"', "'").into_bytes()),
        ("a line break in a text", format!("{open},\"x\":\"a\nb\"}}").into_bytes()),
        ("cut off", open.as_bytes().to_vec()),
        ("a list around it", format!("[{good}]").into_bytes()),
        ("a text around it", json!(good).to_string().into_bytes()),
        ("a number", b"5".to_vec()),
        ("null", b"null".to_vec()),
        ("NaN", format!(r#"{open},"x":NaN}}"#).into_bytes()),
        ("infinity", format!(r#"{open},"x":Infinity}}"#).into_bytes()),
        ("a number with a zero before it", format!(r#"{open},"x":01}}"#).into_bytes()),
        ("a number in hexadecimal digits", format!(r#"{open},"x":0x10}}"#).into_bytes()),
        ("another token", super::forge::good("ES256").into_bytes()),
        ("exp twice", format!(r#"{open},"exp":9999999999}}"#).into_bytes()),
        ("sub twice, once by escapes", format!(r#"{open},"s\u0075b":"root"}}"#).into_bytes()),
        ("aud twice", format!(r#"{open},"aud":["https://mcp.example.com/mcp"]}}"#).into_bytes()),
        ("a member twice deep inside", format!(r#"{open},"x":[{{"a":1,"a":2}}]}}"#).into_bytes()),
    ];
    let payloads =
        payloads.into_iter().map(|(name, text)| malformed(format!("payload: {name}"), with_payload(text)));
    let headers = [
        ("alg twice", r#"{"alg":"ES256","kid":"ES256","alg":"none"}"#),
        ("alg twice, once by escapes", r#"{"alg":"ES256","kid":"ES256","al\u0067":"ES256"}"#),
        ("kid twice", r#"{"alg":"ES256","kid":"ES256","kid":"other"}"#),
        ("crit twice", r#"{"alg":"ES256","kid":"ES256","crit":[],"crit":[]}"#),
        ("text behind it", r#"{"alg":"ES256","kid":"ES256"}x"#),
        ("cut off", r#"{"alg":"ES256","kid":"ES256""#),
        ("a comma too much", r#"{"alg":"ES256","kid":"ES256",}"#),
    ];
    let headers =
        headers.into_iter().map(|(name, text)| malformed(format!("header: {name}"), with_header_text(text)));
    let iss_twice = Attack::refused(
        &Policy::public(),
        "payload: iss twice",
        with_payload(format!(r#"{open},"iss":"https://idp.example.com"}}"#)),
        "malformed",
    );
    payloads.chain(headers).chain([iss_twice]).collect()
}

fn sizes() -> Vec<Attack> {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let good = claims().to_string();
    let open = &good[..good.len() - 1];
    vec![
        Attack::good(&Policy::public(), "good: 40 KB", with_claims(&json!({ "x": "x".repeat(40_000) }))),
        malformed("70 KB of claims", with_claims(&json!({ "x": "x".repeat(70_000) }))),
        malformed("a megabyte of claims", with_claims(&json!({ "x": "x".repeat(1 << 20) }))),
        malformed("70 KB of header", super::forge::with_header(&json!({ "x": "x".repeat(70_000) }))),
        malformed("70 KB of signature", {
            let [header, payload, _] = parts(&super::forge::good("ES256"));
            format!("{header}.{payload}.{}", "A".repeat(70_000))
        }),
        malformed("claims of 200 levels", with_payload(format!(r#"{open},"x":{}}}"#, deep(200)))),
        malformed("claims of 10,000 levels", with_payload(format!(r#"{open},"x":{}}}"#, deep(10_000)))),
        malformed(
            "a header of 200 levels",
            with_header_text(&format!(r#"{{"alg":"ES256","x":{}}}"#, deep(200))),
        ),
    ]
}
