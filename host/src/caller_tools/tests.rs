use serde_json::Value;
use witgate_plugin::Identity;

use super::caller_login::CallerLogin;
use super::changed;

const ISSUER: &str = "https://mcp.example.com";

fn identity(issuer: Option<&str>, claims: &Value) -> Identity {
    Identity {
        subject: "u1".to_owned(),
        issuer: issuer.map(str::to_owned),
        claims: Some(claims.to_string()),
        ..Identity::default()
    }
}

#[test]
fn only_a_token_of_the_accounts_is_a_login() {
    let sid = serde_json::json!({ "sid": "00000000000000000000000000000001" });
    let login = CallerLogin::of(&identity(Some(ISSUER), &sid), ISSUER).unwrap();
    assert_eq!((&*login.user, login.grant[15]), ("u1", 1));
    for (issuer, claims) in [
        (None, &sid),
        (Some("https://other.example.com"), &sid),
        (Some(ISSUER), &serde_json::json!({})),
        (Some(ISSUER), &serde_json::json!({ "sid": "1" })),
    ] {
        assert_eq!(CallerLogin::of(&identity(issuer, claims), ISSUER), None, "{issuer:?} {claims}");
    }
}

#[test]
fn an_answer_says_if_its_change_is_not_in_force() {
    let answer = || serde_json::json!({ "logged_out": true });
    assert_eq!(changed(answer(), true), answer());
    assert_eq!(changed(answer(), false), serde_json::json!({ "logged_out": true, "in_force": false }));
}
