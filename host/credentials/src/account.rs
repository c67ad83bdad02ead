//! The name of an account at a provider, which is only shown.

use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

use witgate_services::fetch::ask_about_account;
use witgate_services::network::Ways;

/// The members of an answer that may have the name: GitHub; OpenID Connect Core, section 5.1.
const NAMES: [&str; 4] = ["login", "email", "preferred_username", "sub"];

/// The longest name that is shown.
const LONGEST: usize = 256;

/// The name of the account of a token, as the server at `url` tells it. None: it does not, and nothing depends on it.
pub(crate) async fn of_token(ways: &Ways, url: &Url, access: &SecretString) -> Option<String> {
    match ask_about_account(ways, url, access).await {
        Ok(answer) if answer.status().is_success() => name_in(answer.body()),
        Ok(answer) => {
            tracing::debug!(status = answer.status().as_u16(), "the provider tells no name of the account");
            None
        }
        Err(error) => {
            tracing::debug!(%error, "the provider tells no name of the account");
            None
        }
    }
}

fn name_in(body: &[u8]) -> Option<String> {
    let answer: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let named = NAMES.iter().find_map(|name| answer.get(*name)?.as_str());
    named.filter(|name| name.len() <= LONGEST && !name.chars().any(char::is_control)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_that_of_the_provider() {
        assert_eq!(
            name_in(br#"{"id":1,"login":"octocat","email":"o@example.com"}"#).as_deref(),
            Some("octocat")
        );
        assert_eq!(name_in(br#"{"sub":"7","email":"o@example.com"}"#).as_deref(), Some("o@example.com"));
        for none in ["", "[]", "{}", r#"{"login":7}"#, r#"{"login":"a\u0000"}"#] {
            assert_eq!(name_in(none.as_bytes()), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn an_answer_never_panics(body in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = name_in(&body);
        }
    }
}
