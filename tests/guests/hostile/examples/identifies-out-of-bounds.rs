//! Identifies callers as somebody whom the bounds of the WIT package do not have: whom, the credential says.

use witgate_guest_hostile::{
    ConfigError, Credential, Hostile, Identity, Verdict, Wants, authenticator, wants_key,
};

/// The year 10000, in seconds since the Unix epoch.
const YEAR_10000: u64 = 253_402_300_800;

fn claims(text: impl Into<String>) -> Identity {
    Identity { claims: Some(text.into()), ..somebody() }
}

fn somebody() -> Identity {
    Identity { subject: "somebody".to_owned(), ..Identity::default() }
}

fn named(subject: impl Into<String>) -> Identity {
    Identity { subject: subject.into(), ..Identity::default() }
}

struct Guest;

impl Hostile for Guest {
    fn configure() -> Result<Wants, ConfigError> {
        Ok(wants_key())
    }

    fn authenticate(credential: &Credential<'_>) -> Verdict {
        Verdict::Identity(match credential.value {
            "nobody" => named(""),
            "long-name" => named("x".repeat(513)),
            "name-with-escape" => named("\u{1b}[2Jroot"),
            "name-with-newline" => named("me\nINFO forged"),
            "long-issuer" => Identity { issuer: Some("x".repeat(513)), ..somebody() },
            "many-roles" => Identity { roles: vec!["r".to_owned(); 257], ..somebody() },
            "empty-role" => Identity { roles: vec![String::new()], ..somebody() },
            "spaced-scope" => Identity { scopes: vec!["one two".to_owned()], ..somebody() },
            "claims-no-json" => claims("{\"a\":"),
            "claims-no-object" => claims("[1]"),
            "claims-twice" => claims("{} {}"),
            "claims-nan" => claims("{\"a\":NaN}"),
            "claims-large" => claims(format!("{{\"a\":\"{}\"}}", "x".repeat(64 << 10))),
            "claims-deep" => claims(format!("{{\"a\":{}1{}}}", "[".repeat(30_000), "]".repeat(30_000))),
            "claims-beyond-numbers" => claims("{\"a\":1e999999,\"b\":-1e-999999}"),
            "lives-long" => Identity { expires_at: Some(YEAR_10000), ..somebody() },
            "lives-forever" => Identity { expires_at: Some(u64::MAX), ..somebody() },
            "has-never-lived" => Identity { expires_at: Some(0), ..somebody() },
            "name-from-right-to-left" => named("me\u{202e}FORGED"),
            _ => somebody(),
        })
    }
}

authenticator!(Guest);
