//! The header `alg`: missing, changed, and keys used for another algorithm.

use serde_json::{Value, json};

use super::forge::{
    KEYS, claims, header, mac, parts, pem, token, with_header, with_header_text, with_signature,
};
use super::{Attack, Policy, forge};

pub(super) fn attacks() -> Vec<Attack> {
    [good(), none(), other_names(), public_keys_as_secrets(), confused_keys()].into_iter().flatten().collect()
}

fn good() -> Vec<Attack> {
    let public = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];
    let public =
        public.map(|name| Attack::good(&Policy::public(), format!("good: {name}"), forge::good(name)));
    let secret = Attack::good(&Policy::secret(), "good: HS256", forge::good("HS256"));
    let newer = Attack::good(
        &Policy::public(),
        "good: Ed25519",
        token(&KEYS, "EdDSA", &json!({ "alg": "Ed25519", "kid": "EdDSA" }), &claims()),
    );
    public.into_iter().chain([secret, newer]).collect()
}

fn none() -> Vec<Attack> {
    let spellings =
        ["none", "None", "NONE", "nOnE", "NoNe", "none ", " none", "none\u{0}", "n\u{43e}ne", "ｎｏｎｅ", ""];
    let signed = spellings.into_iter().flat_map(|name| {
        let token = with_header(&json!({ "alg": name }));
        let secret = with_signature(&json!({ "alg": name }), |message| KEYS.sign("HS256", message));
        [
            Attack::refused(
                &Policy::public(),
                format!("alg {name:?} over a good signature"),
                token,
                "algorithm",
            ),
            Attack::refused(&Policy::secret(), format!("alg {name:?} over a good MAC"), secret, "algorithm"),
        ]
    });
    let unsigned = ["none", "None", "NONE", "nOnE"].into_iter().map(|name| {
        let [header, payload, _] = parts(&with_header(&json!({ "alg": name })));
        Attack::refused(
            &Policy::public(),
            format!("alg {name:?} without a signature"),
            format!("{header}.{payload}."),
            "malformed",
        )
    });
    let escaped = Attack::refused(
        &Policy::public(),
        "alg none by escapes",
        with_header_text(r#"{"\u0061lg":"n\u006fne","kid":"ES256"}"#),
        "algorithm",
    );
    signed.chain(unsigned).chain([escaped]).collect()
}

fn other_names() -> Vec<Attack> {
    let names = [
        "es256",
        "Es256",
        "eS256",
        "ES-256",
        "ES256 ",
        "ES256K",
        "ES512",
        "RS1",
        "rs256",
        "RSA-OAEP",
        "dir",
        "A128KW",
        "PBES2-HS256+A128KW",
        "SHA256withECDSA",
        "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
        "../../ES256",
    ];
    let others = names.into_iter().map(|name| {
        let token = with_header(&json!({ "alg": name }));
        Attack::refused(&Policy::public(), format!("alg {name:?}"), token, "algorithm")
    });
    let of_another_type: [Value; 5] =
        [json!(5), json!(true), json!(["ES256"]), json!({ "ES256": 1 }), json!([])];
    let odd = of_another_type.into_iter().map(|alg| {
        let name = format!("alg {alg}");
        Attack::refused(&Policy::public(), name, with_header(&json!({ "alg": alg })), "malformed")
    });
    let null = with_header_text(r#"{"alg":null,"kid":"ES256"}"#);
    others
        .chain(odd)
        .chain([
            Attack::refused(&Policy::public(), "no alg", with_header(&json!({ "alg": null })), "malformed"),
            Attack::refused(&Policy::public(), "alg null", null, "malformed"),
        ])
        .collect()
}

/// The classic confusion: everybody has the public key, so everybody could make this MAC.
fn public_keys_as_secrets() -> Vec<Attack> {
    let mut secrets = Vec::new();
    for name in ["RS256", "ES256"] {
        let (der, jwk) = (KEYS.der(name), KEYS.jwk(name));
        let texts =
            ["n", "x"].iter().filter_map(|part| jwk[*part].as_str()).map(|text| text.as_bytes().to_vec());
        secrets.extend([
            (format!("{name} in PEM"), pem(&der, "\n").into_bytes()),
            (format!("{name} in PEM, without the last line's end"), pem(&der, "").into_bytes()),
            (format!("{name} in DER"), der),
            (format!("{name} as a JWK's text"), jwk.to_string().into_bytes()),
        ]);
        secrets.extend(texts.map(|text| (format!("{name} as its number's text"), text)));
    }
    secrets.push(("the whole set".to_owned(), forge::set().to_string().into_bytes()));
    secrets.push(("nothing".to_owned(), Vec::new()));
    // Even if HS256 is configured, public keys are not for it.
    let careless = Policy::public().with("algorithms", json!(["HS256"]));
    let mut attacks = Vec::new();
    for (name, secret) in secrets {
        let honest = with_signature(&json!({ "alg": "HS256" }), |message| mac(&secret, message));
        let lying = with_signature(&header("RS256"), |message| mac(&secret, message));
        let of = |what: &str| format!("a MAC with {name}, {what}");
        attacks.extend([
            Attack::refused(&Policy::public(), of("by HS256"), honest.clone(), "algorithm"),
            Attack::refused(&careless, of("where HS256 is configured"), honest, "algorithm"),
            Attack::refused(&Policy::public(), of("by RS256"), lying, "bad-signature"),
        ]);
    }
    attacks
}

fn confused_keys() -> Vec<Attack> {
    let public = Policy::public();
    let key_of_another = [
        ("ES256", "ES384"),
        ("ES384", "ES256"),
        ("RS256", "ES256"),
        ("ES256", "RS256"),
        ("EdDSA", "ES256"),
        ("ES256", "EdDSA"),
    ];
    let by_id = key_of_another.into_iter().map(|(alg, kid)| {
        let token = token(&KEYS, kid, &json!({ "alg": alg, "kid": kid }), &claims());
        Attack::refused(&public, format!("{alg} with the key for {kid}"), token, "algorithm")
    });
    let signed_otherwise = [
        ("PS256", "RS256"),
        ("RS256", "PS256"),
        ("ES256", "ES384"),
        ("ES384", "ES256"),
        ("EdDSA", "ES256"),
        ("ES256", "HS256"),
    ];
    let nameless = signed_otherwise.into_iter().map(|(alg, signer)| {
        let token = token(&KEYS, signer, &json!({ "alg": alg }), &claims());
        Attack::refused(&public, format!("{alg} over a signature by {signer}"), token, "bad-signature")
    });
    let only_rsa = Policy::public().with("algorithms", json!(["RS256"]));
    let not_configured = ["PS256", "ES256", "EdDSA"].map(|name| {
        Attack::refused(
            &only_rsa,
            format!("{name} where only RS256 is configured"),
            forge::good(name),
            "algorithm",
        )
    });
    by_id.chain(nameless).chain(not_configured).collect()
}
