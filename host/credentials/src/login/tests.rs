//! A login: what the person opens, and what comes back.

use std::collections::BTreeMap;

use serde_json::json;
use witgate_config::Network;

use super::*;
use crate::provider_double::{ProviderDouble, grant_of};

fn login(provider: &ProviderDouble, folder: &std::path::Path, issuer: Option<&str>) -> Login {
    let mut credential = provider.credential(folder);
    let grant = grant_of(&mut credential);
    grant.issuer = issuer.map(str::to_owned);
    grant.params = BTreeMap::from([("access_type".to_owned(), "offline".to_owned())]);
    let redirect = Url::parse("http://127.0.0.1:4711/callback").unwrap();
    Login::begin(&credential, &Ways::new(&Network::default()), redirect).unwrap()
}

fn query(url: &Url) -> BTreeMap<String, String> {
    url.query_pairs().into_owned().collect()
}

#[tokio::test]
async fn a_code_is_exchanged_with_the_verifier_of_its_challenge() {
    let folder = tempfile::tempdir().unwrap();
    let provider = ProviderDouble::start(|_, _| {
        let answer = json!({
            "access_token": "a", "refresh_token": "r", "token_type": "bearer", "expires_in": 60, "scope": "repo",
        });
        (200, answer.to_string())
    });
    let login = login(&provider, folder.path(), None);
    let asked = query(&login.url());
    assert_eq!((&*asked["response_type"], &*asked["code_challenge_method"]), ("code", "S256"));
    assert_eq!((&*asked["scope"], &*asked["access_type"]), ("repo read:user", "offline"));
    let answer = format!("http://127.0.0.1:4711/callback?code=c%2F1&state={}", asked["state"]);
    let code = login.code(&answer).unwrap();
    let grant = login.redeem(&code).await.unwrap();
    let form = &provider.forms()[0];
    assert_eq!((&*form["code"], &*form["redirect_uri"]), ("c/1", "http://127.0.0.1:4711/callback"));
    let challenge = URL_SAFE_NO_PAD.encode(sha256(form["code_verifier"].as_bytes()));
    assert_eq!(challenge, asked["code_challenge"]);
    assert_eq!(grant.refresh.as_ref().unwrap().expose_secret(), "r");
    assert_eq!(login.not_granted(&grant), ["read:user"], "the person has unticked it");
}

#[tokio::test]
async fn an_answer_of_another_login_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let provider = ProviderDouble::start(|_, _| (200, "{}".to_owned()));
    let [login, other] = [(); 2].map(|()| login(&provider, folder.path(), Some("https://idp.example.com")));
    let state = &query(&login.url())["state"];
    assert_ne!(*state, query(&other.url())["state"]);
    let answer =
        |rest: &str| login.code(&format!("/callback?{rest}")).map(|code| code.expose_secret().to_owned());
    assert_eq!(other.code(&format!("/callback?code=c&state={state}")).err(), Some(LoginError::State));
    assert_eq!(answer("code=c&state=").err(), Some(LoginError::State));
    assert_eq!(answer("code=c").err(), Some(LoginError::NoAnswer));
    assert_eq!(answer(&format!("state={state}")).err(), Some(LoginError::NoAnswer));
    assert_eq!(answer(&format!("code=c&code=d&state={state}")).err(), Some(LoginError::NoAnswer));
    assert_eq!(answer(&format!("code=c&state={state}&state=x")).err(), Some(LoginError::NoAnswer));
    for twice in ["iss=https://idp.example.com", "error=access_denied"] {
        let answer = answer(&format!("code=c&state={state}&{twice}&{twice}"));
        assert_eq!(answer.err(), Some(LoginError::NoAnswer), "{twice}");
    }
    let refused = LoginError::Refused("access_denied".to_owned());
    assert_eq!(answer(&format!("error=access_denied&state={state}")).err(), Some(refused));
    let evil = "https://evil.example.com";
    assert_eq!(
        answer(&format!("code=c&state={state}&iss={evil}")).err(),
        Some(LoginError::Issuer(evil.to_owned()))
    );
    assert_eq!(answer(&format!("code=c&state={state}&iss=https://idp.example.com")).as_deref(), Ok("c"));
}

#[tokio::test]
async fn a_refused_code_names_the_command_to_start_again() {
    for error in ["invalid_grant", "bad_verification_code"] {
        let folder = tempfile::tempdir().unwrap();
        let provider = ProviderDouble::start(move |_, _| (200, json!({ "error": error }).to_string()));
        let login = login(&provider, folder.path(), None);
        let fault = login.redeem(&"c".into()).await.unwrap_err();
        assert!(
            fault
                .to_string()
                .contains("PKCE verification failed: start again with `witgate credential login hub`")
        );
    }
}

/// GitHub issues no ID tokens.
#[tokio::test]
async fn an_account_is_named_by_the_server_of_the_provider() {
    let folder = tempfile::tempdir().unwrap();
    let provider = ProviderDouble::start(|form, _| match form.is_empty() {
        true => (200, json!({ "login": "octocat" }).to_string()),
        false => (200, json!({ "access_token": "a", "token_type": "bearer" }).to_string()),
    });
    let login = |path: Option<&str>| {
        let mut credential = provider.credential(folder.path());
        let grant = grant_of(&mut credential);
        grant.account_url = path.map(|path| grant.token.token_url.join(path).unwrap());
        let redirect = Url::parse("http://127.0.0.1:4711/callback").unwrap();
        Login::begin(&credential, &Ways::new(&Network::default()), redirect).unwrap()
    };
    assert_eq!(login(Some("/user")).redeem(&"c".into()).await.unwrap().account.as_deref(), Some("octocat"));
    assert_eq!(login(None).redeem(&"c".into()).await.unwrap().account, None);
}
