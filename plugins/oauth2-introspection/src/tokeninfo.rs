//! The answer of a tokeninfo or userinfo endpoint, in the form of an introspection (RFC 7662).

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use witgate_plugin::json::Json;
use witgate_plugin::{Claims, Unavailability};

/// The answer about a token that the server does not know.
pub(crate) const INACTIVE: &str = r#"{"active":false}"#;

/// The answer with the members `active` and `exp`. `now` is the time of the answer, in seconds since the Unix epoch.
pub(crate) fn as_introspection(text: &str, now: u64) -> Result<String, Unavailability> {
    let claims = Claims::parse(text).map_err(|_| odd("is not a strict JSON object"))?;
    if claims.get("error").is_some() {
        return Ok(INACTIVE.to_owned());
    }
    let raw =
        |json: String| RawValue::from_string(json).map_err(|_| odd("has a member that cannot be written"));
    let mut members: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(text).map_err(|_| odd("is not a JSON object"))?;
    if !members.contains_key("active") {
        members.insert("active".to_owned(), raw("true".to_owned())?);
    }
    if let Some(end) = end(&claims, now)? {
        members.insert("exp".to_owned(), raw(end.to_string())?);
    }
    serde_json::to_string(&members).map_err(|_| odd("cannot be written"))
}

/// The earlier one of `exp` and `expires_in`.
fn end(claims: &Claims<'_>, now: u64) -> Result<Option<u64>, Unavailability> {
    let (exp, left) = (number(claims, "exp")?, number(claims, "expires_in")?);
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times of this millennium are exact, and casts of floats saturate"
    )]
    let ends = [exp, left.map(|left| now as f64 + left)].map(|end| end.map(|end| end as u64));
    Ok(ends.into_iter().flatten().min())
}

/// A member that is a number. Some servers write it as text.
fn number(claims: &Claims<'_>, name: &str) -> Result<Option<f64>, Unavailability> {
    let number = match claims.get(name) {
        None => return Ok(None),
        Some(Json::Number(number)) => Some(number.as_f64()),
        Some(Json::String(text)) => text.parse().ok().filter(|number: &f64| number.is_finite()),
        Some(_) => None,
    };
    number.map(Some).ok_or_else(|| odd(&format!("has `{name}` that is not a number")))
}

fn odd(what: &str) -> Unavailability {
    Unavailability::new(format!("the server's answer {what}"), None)
}

#[cfg(test)]
mod tests {
    use witgate_plugin::testing::{FakeHost, json, status, tool};
    use witgate_plugin::{ClientAuth, Credential, Method, Plugin, Scheme, Verdict};

    use crate::Introspection;

    const ENDPOINT: &str = "https://idp.example.com/oauth/tokeninfo";

    fn configured(more: &str) -> Result<Introspection, String> {
        let config =
            format!(r#"{{ "style": "tokeninfo", "endpoint": "{ENDPOINT}", "client_id": "desk" {more} }}"#);
        let configured = Introspection::configure_json("idp", &config);
        configured.map(|(policy, _)| policy).map_err(|error| error.to_string())
    }

    fn said(host: &FakeHost) -> String {
        let credential = Credential { scheme: Scheme::Bearer, value: "the-token" };
        match host.authenticate(&configured("").unwrap(), &tool("echo"), &credential) {
            Verdict::Identity(identity) => {
                format!("{} {:?} {}", identity.subject, identity.expires_at, identity.scopes.join("+"))
            }
            Verdict::Refused(refusal) => refusal.reason,
            Verdict::Unavailable(_) => "unavailable".to_owned(),
            Verdict::NotMine => "not mine".to_owned(),
        }
    }

    fn answered(answer: &str) -> String {
        said(&FakeHost::new().answer(Method::Get, ENDPOINT, json(answer)))
    }

    #[test]
    fn the_server_is_asked_with_the_token_as_bearer() {
        let answer = r#"{"sub":"ada","aud":"desk","expires_in":300,"scope":"a b"}"#;
        let host = FakeHost::new().answer(Method::Get, ENDPOINT, json(answer));
        assert_eq!(said(&host), format!("ada Some({}) a+b", 1_767_225_600 + 300));
        let [request] = host.requests().try_into().expect("one request");
        assert!(matches!(request.client_auth, ClientAuth::None) && request.body.is_empty());
        assert!(request.headers.contains(&("Authorization".to_owned(), "Bearer the-token".to_owned())));
        // The answer is used again, with the end that it had.
        let later = host.at(1_767_225_600 + 50);
        assert_eq!(said(&later), format!("ada Some({}) a+b", 1_767_225_600 + 300));
        assert_eq!(later.requests().len(), 1);
    }

    #[test]
    fn the_end_is_the_earlier_one() {
        let end = |members: &str| answered(&format!(r#"{{"sub":"ada","aud":"desk"{members}}}"#));
        for (members, wanted) in [
            (r#","exp":1767225700"#, "ada Some(1767225700) "),
            (r#","exp":"1767225700""#, "ada Some(1767225700) "),
            (r#","exp":1767225700,"expires_in":50"#, "ada Some(1767225650) "),
            (r#","exp":1767225700,"expires_in":"500""#, "ada Some(1767225700) "),
            (r#","expires_in":0"#, "expired"),
            (r#","expires_in":-5"#, "expired"),
            (r#","expires_in":"soon""#, "unavailable"),
            (r#","expires_in":null"#, "ada None "),
            ("", "ada None "),
        ] {
            assert_eq!(end(members), wanted, "{members}");
        }
    }

    #[test]
    fn a_token_of_another_client_is_refused() {
        for (answer, wanted) in [
            (r#"{"sub":"ada","aud":"other"}"#, "wrong-audience"),
            (r#"{"sub":"ada"}"#, "missing-claim"),
            (r#"{"sub":"ada","azp":"desk"}"#, "ada None "),
            (r#"{"sub":"ada","azp":"desk","aud":["desk","x"]}"#, "ada None "),
            (r#"{"sub":"ada","azp":"other","aud":"desk"}"#, "wrong-audience"),
            (r#"{"sub":"ada","azp":"desk","aud":"elsewhere"}"#, "wrong-audience"),
            (r#"{"active":false,"sub":"ada","aud":"desk"}"#, "inactive"),
            (r#"{"error":"invalid_token","sub":"ada","aud":"desk"}"#, "inactive"),
            (r#"{"active":"yes","sub":"ada","aud":"desk"}"#, "unavailable"),
            (r#"{"sub":"ada","aud":"desk","aud":"desk"}"#, "unavailable"),
            ("[]", "unavailable"),
        ] {
            assert_eq!(answered(answer), wanted, "{answer}");
        }
        for (code, wanted) in
            [(400, "inactive"), (401, "inactive"), (403, "unavailable"), (500, "unavailable")]
        {
            assert_eq!(said(&FakeHost::new().answer(Method::Get, ENDPOINT, status(code))), wanted, "{code}");
        }
    }

    #[test]
    fn a_userinfo_endpoint_has_to_name_the_client() {
        let answered = |audience: &str, answer: &str| {
            let config = format!(
                r#"{{ "style": "userinfo", "endpoint": "{ENDPOINT}", "client_id": "desk", "audience_claim": "azp" {audience} }}"#
            );
            let (policy, _) = Introspection::configure_json("idp", &config).expect("good settings");
            let host = FakeHost::new().answer(Method::Get, ENDPOINT, json(answer));
            let credential = Credential { scheme: Scheme::Bearer, value: "the-token" };
            match host.authenticate(&policy, &tool("echo"), &credential) {
                Verdict::Identity(identity) => {
                    assert_eq!(identity.scopes, [""; 0], "an answer about a person has none");
                    format!("{} {:?}", identity.subject, identity.roles)
                }
                Verdict::Refused(refusal) => refusal.reason,
                other => format!("{other:?}"),
            }
        };
        for (answer, wanted) in [
            (r#"{"sub":"ada","azp":"desk","roles":["reader"]}"#, "ada [\"reader\"]"),
            (r#"{"sub":"ada","azp":["desk"]}"#, "ada []"),
            (r#"{"sub":"ada","azp":"desk","scope":"admin"}"#, "ada []"),
            (r#"{"client_id":"ada","azp":"desk"}"#, "missing-claim"),
            (r#"{"sub":"ada","azp":"other"}"#, "wrong-audience"),
            (r#"{"sub":"ada"}"#, "missing-claim"),
            (r#"{"sub":"ada","aud":"desk"}"#, "missing-claim"),
            (r#"{"azp":"desk"}"#, "missing-claim"),
        ] {
            assert_eq!(answered("", answer), wanted, "{answer}");
        }
        let other = r#", "audience": ["phone"]"#;
        assert_eq!(answered(other, r#"{"sub":"ada","azp":"phone"}"#), "ada []");
        assert_eq!(answered(other, r#"{"sub":"ada","azp":"desk"}"#), "wrong-audience");
    }

    #[test]
    fn settings_without_meaning_are_refused() {
        for (more, wanted) in [
            (r#", "client_secret": "a""#, "/client_secret"),
            (r#", "answer_keys": ["a"]"#, "/answer_keys"),
            (r#", "auth_method": "post""#, "/auth_method"),
            (r#", "dpop": "optional""#, "/dpop"),
            (r#", "accept_without_audience": true"#, "/accept_without_audience"),
        ] {
            assert!(configured(more).unwrap_err().contains(wanted), "{more}");
        }
        let userinfo = format!(r#"{{ "style": "userinfo", "endpoint": "{ENDPOINT}", "client_id": "desk" }}"#);
        let fault = Introspection::configure_json("idp", &userinfo).map(|_| ()).unwrap_err().to_string();
        assert!(fault.contains("/audience_claim") && fault.contains("needed with `userinfo`"), "{fault}");
        let without = r#"{ "style": "tokeninfo", "issuer": "https://idp.example.com", "client_id": "desk" }"#;
        let fault = Introspection::configure_json("idp", without).map(|_| ()).unwrap_err().to_string();
        assert!(fault.contains("/endpoint"), "{fault}");
    }
}
