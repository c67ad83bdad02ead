//! The client's authentication to the authorization server.

use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::{Assertion, Client, ClientAuth, ConfigError};

use crate::{Config, QuestionStyle};

/// The client's method of authentication to the authorization server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum AuthMethod {
    /// `client_secret_basic`: in the `Authorization` header.
    Basic,
    /// `client_secret_post`: in the form.
    Post,
    /// `private_key_jwt`: an assertion that the host signs (RFC 7523).
    PrivateKeyJwt,
}

/// The authentication from the settings, which have to contain exactly one. An endpoint
/// that gets the token as bearer needs none.
pub(crate) fn auth(config: &Config) -> Result<ClientAuth, ConfigError> {
    if config.style != QuestionStyle::Rfc7662 {
        return Ok(ClientAuth::None);
    }
    match (&config.client_secret, &config.client_key) {
        (Some(secret), None) => with_secret(config, secret),
        (None, Some(key)) => with_key(config, key),
        (None, None) => Err(ConfigError::at("", "either `client_secret` or `client_key` is needed")),
        (Some(_), Some(_)) => {
            Err(ConfigError::at("/client_key", "not possible with `client_secret`; leave out one of them"))
        }
    }
}

fn with_secret(config: &Config, secret: &str) -> Result<ClientAuth, ConfigError> {
    if secret.is_empty() {
        return Err(ConfigError::at("/client_secret", "empty; write the secret of the client"));
    }
    for (pointer, value) in
        [("/client_key_id", &config.client_key_id), ("/client_key_algorithm", &config.client_key_algorithm)]
    {
        if value.is_some() {
            return Err(ConfigError::at(pointer, "needs `client_key`; set that, or leave this out"));
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
            "needs `client_secret`; with `client_key`, the method is `private_key_jwt`",
        ));
    }
    // Every server accepts its issuer identifier as the audience (draft-ietf-oauth-rfc7523bis).
    let audience = config.issuer.as_ref().or(config.endpoint.as_ref());
    Ok(ClientAuth::PrivateKeyJwt(Assertion {
        id: config.client_id.clone(),
        key: key.to_owned(),
        key_id: config.client_key_id.clone(),
        algorithm: config.client_key_algorithm.clone(),
        audience: audience.cloned().unwrap_or_default(),
    }))
}
