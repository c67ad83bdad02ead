//! The client's authentication to the authorization server.

use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::{Assertion, Client, ClientAuth, ConfigError};

use crate::Config;

/// The client's method of authentication to the authorization server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum AuthMethod {
    /// `client_secret_basic`: in the `Authorization` header.
    Basic,
    /// `client_secret_post`: in the form.
    Post,
    /// By an assertion that the host signs (RFC 7523).
    PrivateKeyJwt,
}

/// The authentication in the settings, which have to name exactly one.
pub(crate) fn auth(config: &Config) -> Result<ClientAuth, ConfigError> {
    match (&config.client_secret, &config.client_key) {
        (Some(secret), None) => with_secret(config, secret),
        (None, Some(key)) => with_key(config, key),
        (None, None) => Err(ConfigError::at("", "either `client_secret` or `client_key` is needed")),
        (Some(_), Some(_)) => {
            Err(ConfigError::at("/client_key", "beside `client_secret`; a client proves itself in one way"))
        }
    }
}

fn with_secret(config: &Config, secret: &str) -> Result<ClientAuth, ConfigError> {
    if secret.is_empty() {
        return Err(ConfigError::at("/client_secret", "empty; the server has to know the client"));
    }
    for (pointer, given) in
        [("/client_key_id", &config.client_key_id), ("/client_key_algorithm", &config.client_key_algorithm)]
    {
        if given.is_some() {
            return Err(ConfigError::at(pointer, "without `client_key`; take it out"));
        }
    }
    let client = Client { id: config.client_id.clone(), secret: secret.to_owned() };
    match config.auth_method {
        None | Some(AuthMethod::Basic) => Ok(ClientAuth::Basic(client)),
        Some(AuthMethod::Post) => Ok(ClientAuth::Post(client)),
        Some(AuthMethod::PrivateKeyJwt) => {
            Err(ConfigError::at("/auth_method", "`private_key_jwt` needs `client_key`, not a secret"))
        }
    }
}

fn with_key(config: &Config, key: &str) -> Result<ClientAuth, ConfigError> {
    if matches!(config.auth_method, Some(AuthMethod::Basic | AuthMethod::Post)) {
        return Err(ConfigError::at(
            "/auth_method",
            "needs `client_secret`; with a key it is `private_key_jwt`",
        ));
    }
    // The issuer is what every server takes for itself (draft-ietf-oauth-rfc7523bis).
    let audience = config.issuer.as_ref().or(config.endpoint.as_ref());
    Ok(ClientAuth::PrivateKeyJwt(Assertion {
        id: config.client_id.clone(),
        key: key.to_owned(),
        key_id: config.client_key_id.clone(),
        algorithm: config.client_key_algorithm.clone(),
        audience: audience.cloned().unwrap_or_default(),
    }))
}
