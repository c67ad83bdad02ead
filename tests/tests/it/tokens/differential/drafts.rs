//! Random tokens: a valid one with no, one or two changes.

use serde_json::{Map, Value, json};

use super::ALGORITHMS;
use super::random::Random;
use crate::tokens::forge::{self, AUDIENCE, ISSUER, KEYS, Keys, NOW, OTHERS, b64};

/// A token, and the changes in it.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) changes: Vec<&'static str>,
    pub(super) token: String,
}

/// A token before it is signed.
struct Draft {
    algorithm: &'static str,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    keys: &'static Keys,
    /// Functions that damage the texts before they are encoded, the signature after it is made, and the whole
    /// at the end.
    header_text: fn(String, &mut Random) -> String,
    payload_text: fn(String, &mut Random) -> String,
    signature: fn(Vec<u8>, &mut Random) -> Vec<u8>,
    whole: fn(String, &mut Random) -> String,
}

type Change = fn(&mut Draft, &mut Random);

pub(super) fn make(random: &mut Random) -> Made {
    let mut draft = Draft::good(random);
    let count = *random.pick(&[0, 0, 1, 1, 1, 1, 1, 1, 2, 2]);
    let mut changes = Vec::new();
    for _ in 0..count {
        // Valid variants are as many as others.
        let (name, change) = match random.below(3) {
            0 => random.pick(HARMLESS),
            _ => random.pick(HARMFUL),
        };
        change(&mut draft, random);
        changes.push(*name);
    }
    Made { changes, token: draft.sign(random) }
}

impl Draft {
    fn good(random: &mut Random) -> Self {
        let algorithm = *random.pick(&ALGORITHMS);
        let header = forge::header(algorithm).as_object().unwrap().clone();
        let mut claims = forge::claims().as_object().unwrap().clone();
        claims.insert("jti".to_owned(), json!(random.next().to_string()));
        Self {
            algorithm,
            header,
            claims,
            keys: &KEYS,
            header_text: |text, _| text,
            payload_text: |text, _| text,
            signature: |bytes, _| bytes,
            whole: |text, _| text,
        }
    }

    fn sign(self, random: &mut Random) -> String {
        let header = (self.header_text)(Value::Object(self.header).to_string(), random);
        let payload = (self.payload_text)(Value::Object(self.claims).to_string(), random);
        let message = format!("{}.{}", b64(header.as_bytes()), b64(payload.as_bytes()));
        let signature = (self.signature)(self.keys.sign(self.algorithm, message.as_bytes()), random);
        (self.whole)(format!("{message}.{}", b64(&signature)), random)
    }

    fn claim(&mut self, name: &str, value: Value) {
        self.claims.insert(name.to_owned(), value);
    }

    fn set(&mut self, name: &str, value: Value) {
        self.header.insert(name.to_owned(), value);
    }
}

/// Members that a good token may have.
const HARMLESS: &[(&str, Change)] = &[
    ("more claims", |draft, random| {
        let deep = json!({ "a": [1, 2.5, null, { "b": "é\u{1f600}\n" }], "c": random.next() });
        draft.claim("https://example.com/more", deep);
    }),
    ("a list of audiences", |draft, _| draft.claim("aud", json!(["https://other.example", AUDIENCE]))),
    ("another end", |draft, random| {
        let left = random.below(1_000_000) as u64;
        draft.claim("exp", json!(NOW + left));
    }),
    ("within the leeway", |draft, random| {
        let late = random.below(58) as u64;
        draft.claim("exp", json!(NOW - late));
    }),
    ("times with fractions", |draft, _| {
        draft.claim("exp", json!(2_000_000_300.25));
        draft.claim("nbf", json!(1_999_999_990.5));
    }),
    ("a start", |draft, random| {
        let early = random.below(58) as u64;
        draft.claim("nbf", json!(NOW + early));
    }),
    ("no key id", |draft, _| drop(draft.header.remove("kid"))),
    ("no type", |draft, _| drop(draft.header.remove("typ"))),
    ("an access token's type", |draft, _| draft.set("typ", json!("at+jwt"))),
    ("a header that nobody knows", |draft, _| draft.set("x", json!([1, { "y": 2 }]))),
    ("a key elsewhere", |draft, _| draft.set("jku", json!("https://evil.example/jwks.json"))),
    ("scopes and roles", |draft, _| {
        draft.claim("scope", json!("read write"));
        draft.claim("roles", json!(["staff"]));
    }),
    ("spaces between the members", |draft, _| draft.payload_text = |text, _| text.replace(",\"", " ,\n \"")),
    ("escapes", |draft, _| draft.payload_text = |text, _| text.replace("\"sub\"", "\"s\\u0075b\"")),
];

const HARMFUL: &[(&str, Change)] = &[
    ("expired", |draft, random| {
        let late = 60 + random.below(1_000_000) as u64;
        draft.claim("exp", json!(NOW - late));
    }),
    ("not yet", |draft, random| {
        let early = 61 + random.below(1_000_000) as u64;
        draft.claim("nbf", json!(NOW + early));
    }),
    ("issued later", |draft, _| draft.claim("iat", json!(NOW + 1000))),
    ("no end", |draft, _| drop(draft.claims.remove("exp"))),
    ("no audience", |draft, _| drop(draft.claims.remove("aud"))),
    ("no issuer", |draft, _| drop(draft.claims.remove("iss"))),
    ("no subject", |draft, _| drop(draft.claims.remove("sub"))),
    ("another audience", |draft, random| {
        let other = random.pick(&[
            "https://mcp.example.com/mcp/",
            "https://mcp.example.com",
            "",
            "https://other.example",
        ]);
        draft.claim("aud", json!(other));
    }),
    ("another issuer", |draft, random| {
        let other = random.pick(&[
            "https://idp.example.com/",
            "https://IDP.example.com",
            "",
            "https://other.example",
        ]);
        draft.claim("iss", json!(other));
    }),
    ("an audience that is none", |draft, random| {
        let odd =
            random.pick(&[json!(5), json!({ "a": 1 }), json!([[AUDIENCE]]), json!([]), json!(null)]).clone();
        draft.claim("aud", odd);
    }),
    ("audiences that are partly none", |draft, random| {
        let odd = random
            .pick(&[json!([AUDIENCE, 5]), json!([AUDIENCE, null]), json!([AUDIENCE, [AUDIENCE]])])
            .clone();
        draft.claim("aud", odd);
    }),
    ("an issuer that is none", |draft, random| {
        let odd = random
            .pick(&[json!([ISSUER]), json!(5), json!({ "iss": ISSUER }), json!(true), json!(null)])
            .clone();
        draft.claim("iss", odd);
    }),
    ("an end that is none", |draft, random| {
        let odd = random.pick(&[json!("soon"), json!(null), json!([]), json!({}), json!("")]).clone();
        draft.claim("exp", odd);
    }),
    ("an end as a text", |draft, _| draft.claim("exp", json!((NOW + 300).to_string()))),
    ("an end below zero", |draft, _| draft.claim("exp", json!(-5))),
    ("an end in milliseconds", |draft, _| draft.claim("exp", json!((NOW + 300) * 1000))),
    ("an end beyond all", |draft, _| draft.claim("exp", json!(1e300))),
    ("an end that overflows", |draft, _| {
        draft.payload_text = |text, _| text.replacen("\"exp\":", "\"exp\":1e400,\"x\":", 1)
    }),
    ("a start that is none", |draft, random| {
        let odd = random.pick(&[json!("soon"), json!([]), json!({})]).clone();
        draft.claim("nbf", odd);
    }),
    ("a start as a text", |draft, _| draft.claim("nbf", json!((NOW - 10).to_string()))),
    ("issued at no time", |draft, random| {
        let odd = random.pick(&[json!("soon"), json!([]), json!({})]).clone();
        draft.claim("iat", odd);
    }),
    ("a subject that is none", |draft, random| {
        let odd = random.pick(&[json!(5), json!(["alice"]), json!({})]).clone();
        draft.claim("sub", odd);
    }),
    ("an empty subject", |draft, _| draft.claim("sub", json!(""))),
    ("roles that are none", |draft, _| draft.claim("roles", json!({ "admin": true }))),
    ("scopes that are none", |draft, _| draft.claim("scope", json!([5]))),
    ("an ID token", |draft, _| draft.claim("at_hash", json!("77QmUPtjPfzWtF2AnpK9RQ"))),
    ("a logout token", |draft, _| draft.claim("events", json!({}))),
    ("bound to a key", |draft, _| draft.claim("cnf", json!({ "jkt": "x" }))),
    ("another type", |draft, _| draft.set("typ", json!("logout+jwt"))),
    ("a type that is none", |draft, _| draft.set("typ", json!(5))),
    ("a token in it", |draft, _| draft.set("cty", json!("JWT"))),
    ("a critical extension", |draft, _| {
        draft.set("crit", json!(["https://example.com/x"]));
        draft.set("https://example.com/x", json!(true));
    }),
    ("critical for nothing", |draft, _| draft.set("crit", json!([]))),
    ("not encoded, by its header", |draft, _| draft.set("b64", json!(false))),
    ("compressed, by its header", |draft, _| draft.set("zip", json!("DEF"))),
    ("another key id", |draft, random| {
        let other = random.pick(&["nobody", "", "es256", "../ES256"]);
        draft.set("kid", json!(other));
    }),
    ("the id of another key", |draft, random| {
        let others: Vec<_> = ["ES256", "ES384", "EdDSA", "RS256"]
            .into_iter()
            .filter(|kid| draft.header.get("kid") != Some(&json!(kid)))
            .collect();
        let other = *random.pick(&others);
        draft.set("kid", json!(other));
    }),
    ("a key id that is none", |draft, _| draft.set("kid", json!(5))),
    ("no algorithm", |draft, random| {
        let name = random.pick(&["none", "None", "NONE", ""]);
        draft.set("alg", json!(name));
    }),
    ("another algorithm", |draft, random| {
        let own = draft.algorithm;
        let others: Vec<_> = ["RS256", "PS256", "ES256", "ES384", "EdDSA", "HS256", "ES512", "es256"]
            .into_iter()
            .filter(|name| *name != own)
            .collect();
        let other = *random.pick(&others);
        draft.set("alg", json!(other));
    }),
    ("an algorithm that is none", |draft, random| {
        let odd = random.pick(&[json!(5), json!(null), json!(["ES256"])]).clone();
        draft.set("alg", odd);
    }),
    ("a MAC with the public key", |draft, _| {
        draft.set("alg", json!("HS256"));
        draft.algorithm = "HS256";
    }),
    ("by a stranger", |draft, _| draft.keys = &OTHERS),
    ("by a stranger with another key", |draft, _| {
        draft.keys = &OTHERS;
        let jwk = OTHERS.jwk(draft.algorithm);
        draft.set("jwk", jwk);
    }),
    ("a bit of the signature", |draft, _| {
        draft.signature = |mut bytes, random| {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
            bytes
        };
    }),
    ("a signature of zeros", |draft, _| draft.signature = |bytes, _| vec![0; bytes.len()]),
    ("a signature that is shorter", |draft, _| {
        draft.signature = |bytes, random| bytes[..random.below(bytes.len() - 1) + 1].to_vec();
    }),
    ("a signature that is longer", |draft, _| draft.signature = |bytes, _| [bytes, vec![0]].concat()),
    ("no signature", |draft, _| draft.signature = |_, _| Vec::new()),
    ("a letter of the token", |draft, _| draft.whole = another_letter),
    ("a letter less", |draft, _| draft.whole = |text, random| without(&text, random)),
    ("cut off", |draft, _| draft.whole = |text, random| text[..random.below(text.len())].to_owned()),
    ("a claim twice", |draft, _| draft.payload_text = |text, _| text.replacen('{', "{\"sub\":\"root\",", 1)),
    ("a header's member twice", |draft, _| {
        draft.header_text = |text, _| text.replacen('{', "{\"typ\":\"x\",", 1)
    }),
    ("a payload that is a list", |draft, _| draft.payload_text = |text, _| format!("[{text}]")),
    ("a payload that is cut off", |draft, _| {
        draft.payload_text = |text, _| text[..text.len() - 1].to_owned()
    }),
    ("text behind the payload", |draft, _| draft.payload_text = |text, _| text + "x"),
    ("a byte order mark", |draft, _| draft.payload_text = |text, _| format!("\u{feff}{text}")),
    ("padding", |draft, _| draft.whole = |text, _| text + "="),
    ("a space behind it", |draft, _| draft.whole = |text, _| text + " "),
    ("a line's end behind it", |draft, _| draft.whole = |text, _| text + "\n"),
    ("stray bits", |draft, _| draft.whole = stray_bits),
    ("the other alphabet", |draft, _| draft.whole = other_alphabet),
    ("a part more", |draft, _| draft.whole = |text, _| text + ".AAAA"),
];

const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Any but the last one, of which some bits may be stray ones.
fn another_letter(text: String, random: &mut Random) -> String {
    let at = random.below(text.len() - 1);
    let own = text.as_bytes()[at];
    let others: Vec<u8> = DIGITS.bytes().filter(|digit| *digit != own).collect();
    let mut bytes = text.into_bytes();
    bytes[at] = *random.pick(&others);
    String::from_utf8(bytes).unwrap()
}

fn without(text: &str, random: &mut Random) -> String {
    let at = random.below(text.len());
    format!("{}{}", &text[..at], &text[at + 1..])
}

/// The last digit of the signature, where it stands for fewer than six bits.
fn stray_bits(text: String, _: &mut Random) -> String {
    let signature = text.rsplit('.').next().unwrap();
    let last = signature.chars().last().and_then(|last| DIGITS.find(last));
    match last {
        Some(place) if !signature.len().is_multiple_of(4) => {
            let next = DIGITS.chars().nth(place + 1).unwrap();
            format!("{}{next}", &text[..text.len() - 1])
        }
        // It has none: then it is padded, which is no better.
        _ => text + "=",
    }
}

fn other_alphabet(text: String, _: &mut Random) -> String {
    let other = text.replace('-', "+").replace('_', "/");
    if other == text { text + "=" } else { other }
}
