//! Requests to the token endpoint of an authorization server (RFC 6749, section 3.2). An answer may carry a token that
//! exists only once, so it is waited for longer than policies wait.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::Full;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;
use url::Url;
use witgate_plugin::{Assertion, HttpError};

use super::assertion::{SigningKey, TYPE};
use super::client::exchange;
use super::exchange::{FetchError, WholeResponse};
use super::{add_fields, basic};
use crate::network::Ways;
use crate::network::reach::{Reach, literal_address};

/// Maximum time for an answer. Slow providers take some seconds; after half a minute there is no answer.
pub const TOKEN_ANSWER: Duration = Duration::from_secs(30);

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// Without it, GitHub answers with a form.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Without any, GitHub refuses.
const PROGRAM: HeaderValue = HeaderValue::from_static("witgate");

/// A client at an authorization server, with its authentication (RFC 6749, section 2.3).
#[derive(Clone)]
pub struct TokenClient {
    /// The client's id.
    pub id: String,
    /// The authentication.
    pub authentication: TokenClientAuth,
}

/// The authentication of a client.
#[derive(Clone)]
pub enum TokenClientAuth {
    /// A public client has none.
    None,
    /// `client_secret_basic`.
    Basic(SecretString),
    /// `client_secret_post`.
    Post(SecretString),
    /// `private_key_jwt` (RFC 7523, section 2.2).
    PrivateKey {
        /// The private key.
        key: Arc<SigningKey>,
        /// The audience of assertions.
        audience: String,
    },
}

/// Sends a form to the token endpoint at `url`. Addresses are checked, and redirects are not followed.
///
/// # Errors
/// If there is no complete answer in time.
pub async fn ask_token_endpoint(
    ways: &Ways,
    url: &Url,
    fields: &[(&str, &str)],
    client: &TokenClient,
) -> Result<WholeResponse, FetchError> {
    if literal_address(url).is_some_and(|address| !Reach::Private.covers(address)) {
        return Err(HttpError::NotGranted.into());
    }
    let asking = exchange(ways, Reach::Private, request(url, fields, client)?);
    timeout(TOKEN_ANSWER, asking).await.unwrap_or_else(|_| Err(HttpError::TimedOut.into()))
}

/// Maximum time for an answer about an account, which is only shown.
const ACCOUNT_ANSWER: Duration = Duration::from_secs(10);

/// Asks the server at `url` about the account of an access token. Addresses are checked, and redirects are not followed.
///
/// # Errors
/// If there is no complete answer in time.
pub async fn ask_about_account(
    ways: &Ways,
    url: &Url,
    access: &SecretString,
) -> Result<WholeResponse, FetchError> {
    if literal_address(url).is_some_and(|address| !Reach::Private.covers(address)) {
        return Err(HttpError::NotGranted.into());
    }
    let token = HeaderValue::try_from(format!("Bearer {}", access.expose_secret()));
    let mut token = token.map_err(|_| HttpError::InvalidRequest)?;
    token.set_sensitive(true);
    let request = Request::get(url.as_str()).header(AUTHORIZATION, token).header(ACCEPT, JSON);
    let request = request.header(USER_AGENT, PROGRAM).body(Full::new(Bytes::new()));
    let asking = exchange(ways, Reach::Private, request.map_err(|_| HttpError::InvalidRequest)?);
    timeout(ACCOUNT_ANSWER, asking).await.unwrap_or_else(|_| Err(HttpError::TimedOut.into()))
}

fn request(
    url: &Url,
    fields: &[(&str, &str)],
    client: &TokenClient,
) -> Result<Request<Full<Bytes>>, HttpError> {
    let mut body = Vec::new();
    add_fields(&mut body, fields);
    let mut builder = Request::builder().method(Method::POST).uri(url.as_str());
    builder = builder.header(CONTENT_TYPE, FORM).header(ACCEPT, JSON).header(USER_AGENT, PROGRAM);
    let id = ("client_id", client.id.as_str());
    match &client.authentication {
        TokenClientAuth::None => add_fields(&mut body, &[id]),
        TokenClientAuth::Basic(secret) => builder = builder.header(AUTHORIZATION, basic(&client.id, secret)?),
        TokenClientAuth::Post(secret) => {
            add_fields(&mut body, &[id, ("client_secret", secret.expose_secret())]);
        }
        TokenClientAuth::PrivateKey { key, audience } => {
            let (id, audience) = (client.id.clone(), audience.clone());
            let assertion = Assertion { id, key: String::new(), key_id: None, algorithm: None, audience };
            let signed = key.sign(&assertion)?;
            let fields =
                [("client_id", &*client.id), ("client_assertion_type", TYPE), ("client_assertion", &signed)];
            add_fields(&mut body, &fields);
        }
    }
    builder.body(Full::new(body.into())).map_err(|_| HttpError::InvalidRequest)
}

impl fmt::Debug for TokenClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenClient").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn sent(authentication: TokenClientAuth) -> (Option<String>, String) {
        let url = Url::parse("https://idp.example.com/token").unwrap();
        let client = TokenClient { id: "me & you".to_owned(), authentication };
        let request = request(&url, &[("grant_type", "client_credentials")], &client).unwrap();
        let header = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        (header, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_client_authenticates_in_each_way() {
        let secret = SecretString::from("s:%");
        let id = "client_id=me+%26+you";
        assert_eq!(sent(TokenClientAuth::None).await, (None, format!("grant_type=client_credentials&{id}")));
        let (header, body) = sent(TokenClientAuth::Basic(secret.clone())).await;
        assert_eq!(header.as_deref(), Some("Basic bWUrJTI2K3lvdTpzJTNBJTI1"), "me+%26+you:s%3A%25");
        assert_eq!(body, "grant_type=client_credentials");
        let (header, body) = sent(TokenClientAuth::Post(secret)).await;
        assert_eq!(
            (header, body),
            (None, format!("grant_type=client_credentials&{id}&client_secret=s%3A%25"))
        );
        let key = SigningKey::from_pem(&witgate_testing::keys::PRIVATE.into()).unwrap();
        let audience = "https://idp.example.com".to_owned();
        let (_, body) = sent(TokenClientAuth::PrivateKey { key: Arc::new(key), audience }).await;
        assert!(body.contains("client-assertion-type%3Ajwt-bearer&client_assertion=ey"), "{body}");
    }

    #[tokio::test]
    async fn the_address_of_cloud_metadata_is_never_asked() {
        let client = TokenClient { id: "a".to_owned(), authentication: TokenClientAuth::None };
        let url = Url::parse("http://169.254.169.254/token").unwrap();
        let refused = ask_token_endpoint(&Ways::closed(), &url, &[], &client).await;
        assert_eq!(refused.unwrap_err().error, HttpError::NotGranted);
    }
}
