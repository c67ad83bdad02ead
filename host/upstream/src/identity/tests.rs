use std::collections::BTreeSet;

use ::http::HeaderName;
use witgate_plugin::Identity as Known;

use super::*;
use witgate_base::party::ANONYMOUS;
use witgate_base::signing::Signer;
use witgate_testing::keys::PRIVATE;

const SUBJECT: HeaderName = HeaderName::from_static("x-subject");
const ROLES: HeaderName = HeaderName::from_static("x-roles");
const TOKEN: HeaderName = HeaderName::from_static("x-token");

/// A caller, as the policy `policy` knows them.
struct Person {
    policy: String,
    known: Known,
}

impl Person {
    fn principal(&self) -> Principal {
        Principal::new(self.policy.as_str().into(), self.known.issuer.as_deref(), &self.known.subject)
    }

    fn facts(&self) -> CallerFacts<'_> {
        CallerFacts { principal: self.principal(), known: &self.known, decision: DecisionId::default() }
    }
}

fn person(policy: &str, issuer: Option<&str>, subject: &str, roles: &[&str]) -> Person {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    let issuer = issuer.map(str::to_owned);
    let known = Known { subject: subject.to_owned(), issuer, roles, ..Known::default() };
    Person { policy: policy.to_owned(), known }
}

fn anonymous() -> Person {
    person(ANONYMOUS, None, "anonymous", &["guest"])
}

fn in_headers() -> IdentitySettings {
    IdentitySettings {
        headers: vec![(IdentityField::Subject, SUBJECT), (IdentityField::Roles, ROLES)],
        ..IdentitySettings::default()
    }
}

fn by_token(claims: &[IdentityField], sub: IdentityField) -> IdentityToken {
    IdentityToken {
        header: TOKEN,
        audience: "http://127.0.0.1:1/mcp".to_owned(),
        lifetime: Duration::from_secs(60),
        sub,
        claims: claims.to_vec(),
        signer: Arc::new(Signer::new("https://mcp.example.com".to_owned(), &PRIVATE.into()).unwrap()),
    }
}

fn sent_headers(identity: &IdentitySettings, facts: Option<&CallerFacts<'_>>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    set(&mut headers, facts, identity).unwrap();
    headers
}

/// The subject and the roles as an upstream reads them by the rule on the page: split, then decode.
fn read(headers: &HeaderMap) -> (Option<String>, Vec<String>) {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap());
    let roles = text(ROLES).into_iter().flat_map(|roles| roles.split(','));
    (text(SUBJECT).map(decode), roles.map(decode).collect())
}

/// Names that would be somebody else, something more, or nothing at all, were they written as they are.
const HOSTILE: [&str; 16] = [
    "ada",
    "ada\r\nX-Roles: admin",
    "ada\n",
    " ada",
    "ada ",
    "ada,admin",
    "ada, admin",
    "ada;role=admin",
    "ada%2Cadmin",
    "%61da",
    "=?utf-8?q?ada?=",
    "\"ada\"",
    "ada+admin@example.com",
    "ada\u{0}",
    "\u{202e}ada",
    "ad\u{430}",
];

#[test]
fn each_encoded_name_decodes_to_itself_and_is_unique() {
    let mut written = BTreeSet::new();
    for subject in HOSTILE {
        let caller = person("keys", None, subject, &[subject, "reader"]);
        let headers = sent_headers(&in_headers(), Some(&caller.facts()));
        assert_eq!(headers.len(), 2);
        assert_eq!(read(&headers), (Some(subject.to_owned()), vec![subject.to_owned(), "reader".to_owned()]));
        let value = headers[SUBJECT].to_str().unwrap().to_owned();
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b",;\"\\+".contains(&byte);
        assert!(value.bytes().all(is_plain), "{value}");
        assert!(written.insert(value), "{subject:?}");
    }
    let usual = "https://idp.example.com/realms/a:b@c/~x_y-z.(1)=!*'|";
    let headers = sent_headers(&in_headers(), Some(&person("k", None, usual, &[]).facts()));
    assert_eq!((&headers[SUBJECT], headers.get(ROLES)), (&HeaderValue::from_static(usual), None));
}

#[test]
fn no_two_principals_have_the_same_text() {
    let parts = ["a", "a|b", "b|", "", "|", "%7C", "a%7Cb"];
    let mut texts = BTreeSet::new();
    for policy in parts {
        for issuer in parts {
            for subject in parts {
                let principal = person(policy, Some(issuer), subject, &[]).principal();
                let text = principal_text(&principal);
                assert_eq!(text.matches('|').count(), 2, "{text}");
                assert!(texts.insert(text), "{principal:?}");
            }
        }
    }
}

#[test]
fn identity_headers_of_the_caller_are_removed() {
    let anonymous = anonymous();
    for facts in [None, Some(anonymous.facts())] {
        let mut headers = HeaderMap::new();
        headers.append(SUBJECT, HeaderValue::from_static("root"));
        headers.append(SUBJECT, HeaderValue::from_static("admin"));
        set(&mut headers, facts.as_ref(), &in_headers()).unwrap();
        assert_eq!(headers.get(SUBJECT), None);
    }
}

#[test]
fn kinds_are_distinguished_and_anonymous_callers_have_no_name() {
    let fields = [
        IdentityField::Kind,
        IdentityField::Principal,
        IdentityField::Subject,
        IdentityField::Issuer,
        IdentityField::Policy,
    ];
    let of = |whose: Option<&Person>| {
        let principal = whose.map(Person::principal);
        fields.map(|field| of_process(field, principal.as_ref()).unwrap_or_else(|| "-".to_owned()))
    };
    assert_eq!(of(None), ["witgate", "-", "-", "-", "-"]);
    assert_eq!(of(Some(&anonymous())), ["anonymous", "-", "-", "-", "-"]);
    let ada = person("idp", Some("https://idp.example.com"), "auth0|ada", &[]);
    let principal = "idp|https://idp.example.com|auth0%7Cada";
    assert_eq!(of(Some(&ada)), ["known", principal, "auth0|ada", "https://idp.example.com", "idp"]);
    // One who is called so is somebody.
    let other = person("idp", None, "anonymous", &[]);
    assert_eq!(of(Some(&other))[0], "known");
}

#[test]
fn a_token_has_only_the_configured_claims() {
    let now = Duration::from_secs(1_000);
    let ada = person("idp", Some("https://idp.example.com"), "ada", &["a,b", "c"]);
    let facts = ada.facts();
    let plain = claims(&by_token(&[], IdentityField::Subject), Some(&facts), now, "id");
    assert_eq!(
        Value::Object(plain),
        json!({
            "iss": "https://mcp.example.com", "aud": "http://127.0.0.1:1/mcp", "iat": 1000, "exp": 1060, "jti": "id",
            "kind": "known", "sub": "ada", "policy": "idp", "issuer": "https://idp.example.com",
        })
    );
    let full = by_token(
        &[IdentityField::Roles, IdentityField::Scopes, IdentityField::Decision],
        IdentityField::Principal,
    );
    let full_claims = claims(&full, Some(&facts), now, "id");
    assert_eq!(full_claims["roles"], json!(["a,b", "c"]));
    assert_eq!(full_claims["scope"], "");
    assert_eq!(full_claims["decision"], "00000000000000000000000000000000");
    assert_eq!(full_claims["sub"], "idp|https://idp.example.com|ada");
    let own = claims(&full, None, now, "id");
    let names: Vec<_> = own.keys().map(String::as_str).collect();
    assert_eq!(names, ["aud", "exp", "iat", "iss", "jti", "kind"]);
}

#[test]
fn a_token_expires_with_its_identity() {
    let known = Known { subject: "ada".to_owned(), expires_at: Some(1_007), ..Known::default() };
    let ada = Person { policy: "idp".to_owned(), known };
    let facts = ada.facts();
    let claims =
        claims(&by_token(&[], IdentityField::Subject), Some(&facts), Duration::from_secs(1_000), "id");
    assert_eq!(claims["exp"], 1007);
}

#[test]
fn each_request_has_its_own_token_which_is_not_printed() {
    let identity = IdentitySettings {
        token: Some(by_token(&[], IdentityField::Subject)),
        ..IdentitySettings::default()
    };
    let (one, other) = (sent_headers(&identity, None), sent_headers(&identity, None));
    assert_ne!(one[TOKEN], other[TOKEN]);
    assert!(one[TOKEN].is_sensitive());
    let bearer = IdentityToken { header: AUTHORIZATION, ..by_token(&[], IdentityField::Subject) };
    let identity = IdentitySettings { token: Some(bearer), ..IdentitySettings::default() };
    assert!(sent_headers(&identity, None)[AUTHORIZATION].to_str().unwrap().starts_with("Bearer ey"));
}

#[test]
fn an_identity_that_cannot_be_sent_refuses_the_call() {
    let many: Vec<String> = (0..256).map(|number| format!("{number}{}", "x".repeat(200))).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let known = person("keys", None, "ada", &many);
    let token = IdentitySettings {
        token: Some(by_token(&[IdentityField::Roles], IdentityField::Subject)),
        ..IdentitySettings::default()
    };
    for identity in [in_headers(), token] {
        let facts = known.facts();
        let sent_headers = set(&mut HeaderMap::new(), Some(&facts), &identity);
        assert_eq!(sent_headers, Err(Rejection::UnsendableIdentity("it is longer than a header may be")));
    }
    let zero = person("keys", None, "a\0b", &[]).principal();
    let sent_headers = variables(&[(IdentityField::Subject, "S".to_owned())], Some(&zero));
    assert_eq!(
        sent_headers,
        Err(Rejection::UnsendableIdentity("an environment variable cannot hold a zero byte"))
    );
}
