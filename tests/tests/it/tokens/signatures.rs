//! Signatures that are missing, damaged or forged.

use serde_json::json;

use super::forge::{KEYS, OTHERS, b64, claims, good, header, parts, token, with_claims, with_signature};
use super::{Attack, Policy};

/// The order of P-256's group (SEC 2, section 2.4.2).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
    0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The order of Ed25519's base point, with the least byte first (RFC 8032, section 5.1).
const ED_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

pub(super) fn attacks() -> Vec<Attack> {
    [malleable(), missing(), of_others(), made_up(), bent(), moved()].into_iter().flatten().collect()
}

/// ECDSA signatures come in pairs: with `s` there is `n - s`. JOSE does not say which of the two is the
/// signature (RFC 7515, appendix A.3), and both prove the same key; nothing here takes a token's text for its
/// identity, so this is no attack, and the other libraries take it as well.
fn malleable() -> Vec<Attack> {
    let token = with_signature(&header("ES256"), |message| {
        let signature = KEYS.sign("ES256", message);
        let (r, s) = signature.split_at(32);
        [r, &less(&ORDER, s)].concat()
    });
    vec![Attack::good(&Policy::public(), "good: the other one of a pair of ECDSA signatures", token)]
}

fn missing() -> Vec<Attack> {
    let policy = Policy::public();
    ["ES256", "RS256", "EdDSA"]
        .into_iter()
        .flat_map(|name| {
            let [header, payload, _] = parts(&good(name));
            [
                Attack::refused(
                    &policy,
                    format!("{name} stripped"),
                    format!("{header}.{payload}."),
                    "malformed",
                ),
                Attack::unrecognised(&policy, format!("{name} cut off"), format!("{header}.{payload}")),
            ]
        })
        .collect()
}

fn of_others() -> Vec<Attack> {
    let policy = Policy::public();
    let strangers = ["ES256", "ES384", "RS256", "PS256", "EdDSA"].into_iter().flat_map(|name| {
        let named = token(&OTHERS, name, &header(name), &claims());
        let nameless = token(&OTHERS, name, &json!({ "alg": name }), &claims());
        [
            Attack::refused(
                &policy,
                format!("{name} by a stranger, under a known id"),
                named,
                "bad-signature",
            ),
            Attack::refused(
                &policy,
                format!("{name} by a stranger, without an id"),
                nameless,
                "bad-signature",
            ),
        ]
    });
    let [header, _, signature] = parts(&good("ES256"));
    let [_, payload, _] = parts(&with_claims(&json!({ "sub": "root" })));
    let of_another = format!("{header}.{payload}.{signature}");
    strangers
        .chain([Attack::refused(&policy, "another token's signature", of_another, "bad-signature")])
        .collect()
}

fn made_up() -> Vec<Attack> {
    let one = [[0; 31].as_slice(), &[1]].concat();
    let zero = [0; 32].to_vec();
    let pairs = [
        ("r = s = 0", &zero, &zero),
        ("r = 0", &zero, &one),
        ("s = 0", &one, &zero),
        ("r = s = 1", &one, &one),
        ("r = s = n", &ORDER.to_vec(), &ORDER.to_vec()),
        ("r = n, s = 1", &ORDER.to_vec(), &one),
    ]
    .map(|(name, r, s)| ("ES256", name.to_owned(), [r.as_slice(), s].concat()));
    let others = [
        ("ES256", "no bytes but one", vec![0]),
        ("ES256", "63 bytes", vec![1; 63]),
        ("ES256", "65 bytes", vec![1; 65]),
        ("ES256", "the length of another curve", vec![1; 96]),
        ("ES256", "DER of zeros", vec![0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00]),
        ("ES384", "zeros", vec![0; 96]),
        ("EdDSA", "zeros", vec![0; 64]),
        ("EdDSA", "the neutral element and zero", [&[1][..], &[0; 63]].concat()),
        ("RS256", "zeros", vec![0; 256]),
        ("RS256", "one", [&[0; 255][..], &[1]].concat()),
        ("PS256", "zeros", vec![0; 256]),
    ]
    .map(|(alg, name, bytes)| (alg, name.to_owned(), bytes));
    pairs
        .into_iter()
        .chain(others)
        .map(|(alg, name, bytes)| {
            let token = with_signature(&header(alg), |_| bytes);
            Attack::refused(
                &Policy::public(),
                format!("a made-up {alg} signature: {name}"),
                token,
                "bad-signature",
            )
        })
        .collect()
}

/// A change of a signature that is good.
type Change = fn(&[u8]) -> Vec<u8>;

fn bent() -> Vec<Attack> {
    let changes: [(&str, &str, Change); 14] = [
        ("ES256", "in DER", der),
        ("ES256", "its halves exchanged", |bytes| [&bytes[32..], &bytes[..32]].concat()),
        ("ES256", "with the least byte first", |bytes| bytes.iter().rev().copied().collect()),
        ("ES256", "without its last byte", |bytes| bytes[..63].to_vec()),
        ("ES256", "with a byte more", |bytes| [bytes, &[0]].concat()),
        ("ES256", "with a zero before each half", |bytes| [&[0], &bytes[..32], &[0], &bytes[32..]].concat()),
        ("ES256", "twice", |bytes| [bytes, bytes].concat()),
        ("ES384", "with one bit another", |bytes| flipped(bytes, 95)),
        ("EdDSA", "with the group's order added", |bytes| {
            [&bytes[..32], &sum(&bytes[32..], &ED_ORDER)].concat()
        }),
        ("EdDSA", "its first half alone", |bytes| bytes[..32].to_vec()),
        ("RS256", "with a zero before it", |bytes| [&[0], bytes].concat()),
        ("RS256", "without its first byte", |bytes| bytes[1..].to_vec()),
        ("RS256", "with one bit another", |bytes| flipped(bytes, 128)),
        ("HS256", "its first half alone", |bytes| bytes[..16].to_vec()),
    ];
    changes
        .into_iter()
        .map(|(alg, name, change)| {
            let token = with_signature(&header(alg), |message| change(&KEYS.sign(alg, message)));
            let policy = if alg == "HS256" { Policy::secret() } else { Policy::public() };
            Attack::refused(&policy, format!("a good {alg} signature, {name}"), token, "bad-signature")
        })
        .collect()
}

/// A valid signature over other content.
fn moved() -> Vec<Attack> {
    let [header_part, payload, signature] = parts(&good("ES256"));
    let other_header = b64(json!({ "alg": "ES256", "kid": "ES256", "typ": "at+jwt" }).to_string().as_bytes());
    let root = b64(super::forge::changed(claims(), &json!({ "sub": "root" })).to_string().as_bytes());
    let sign = |message: &str| b64(&KEYS.sign("ES256", message.as_bytes()));
    [
        ("another header over it", format!("{other_header}.{payload}.{signature}")),
        ("another payload over it", format!("{header_part}.{root}.{signature}")),
        ("of the payload alone", format!("{header_part}.{payload}.{}", sign(&payload))),
        (
            "of the parts without the dot",
            format!("{header_part}.{payload}.{}", sign(&format!("{header_part}{payload}"))),
        ),
        ("of the parts before they are encoded", {
            let plain = format!("{}.{}", header("ES256"), claims());
            format!("{header_part}.{payload}.{}", sign(&plain))
        }),
    ]
    .map(|(name, token)| {
        Attack::refused(&Policy::public(), format!("a good signature, {name}"), token, "bad-signature")
    })
    .into()
}

/// As X.509 and OpenSSL write it: a sequence of two integers.
fn der(raw: &[u8]) -> Vec<u8> {
    let integer = |half: &[u8]| {
        let bare: Vec<u8> = half.iter().copied().skip_while(|byte| *byte == 0).collect();
        let sign = bare.first().is_some_and(|first| first & 0x80 != 0);
        let value = [if sign { vec![0] } else { Vec::new() }, bare].concat();
        [vec![0x02, u8::try_from(value.len()).unwrap()], value].concat()
    };
    let both = [integer(&raw[..32]), integer(&raw[32..])].concat();
    [vec![0x30, u8::try_from(both.len()).unwrap()], both].concat()
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

/// `a - b`, with the greatest byte first.
fn less(a: &[u8; 32], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut difference: Vec<u8> = a
        .iter()
        .zip(b)
        .rev()
        .map(|(a, b)| {
            let value = i16::from(*a) - i16::from(*b) - borrow;
            borrow = i16::from(value < 0);
            u8::try_from(value.rem_euclid(256)).unwrap()
        })
        .collect();
    difference.reverse();
    difference
}

/// `a + b`, with the least byte first.
fn sum(a: &[u8], b: &[u8; 32]) -> Vec<u8> {
    let mut carry = 0;
    a.iter()
        .zip(b)
        .map(|(a, b)| {
            let value = u16::from(*a) + u16::from(*b) + carry;
            carry = value >> 8;
            (value & 0xff) as u8
        })
        .collect()
}
