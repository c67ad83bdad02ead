//! The secrets of a credential, and the proof that Witgate is a client of an authorization server.

use std::sync::Arc;

use crate::fault::{MissingSource, OutboundProblem};
use witgate_config::credentials::{ClientProof, Retrieval, SecretPlace, TokenSettings};
use witgate_services::fetch::{SigningKey, TokenClient, TokenClientAuth};

/// The reason why a credential cannot be used. It contains no secret.
#[derive(Debug)]
pub(crate) enum SecretError {
    /// A secret is missing.
    Missing(OutboundProblem),
    /// A secret is invalid.
    Invalid(String),
}

/// Witgate as a client.
pub(crate) fn client(settings: &TokenSettings) -> Result<TokenClient, SecretError> {
    let authentication = match &settings.proof {
        ClientProof::None => TokenClientAuth::None,
        ClientProof::Basic(value) => TokenClientAuth::Basic(secret(value)?.into()),
        ClientProof::Post(value) => TokenClientAuth::Post(secret(value)?.into()),
        ClientProof::PrivateKey { key, audience } => {
            let key = SigningKey::from_pem(&secret(key)?.into());
            let key = Arc::new(key.map_err(|error| SecretError::Invalid(error.to_string()))?);
            TokenClientAuth::PrivateKey { key, audience: audience.clone() }
        }
    };
    Ok(TokenClient { id: settings.client_id.to_string(), authentication })
}

/// The text of a secret.
pub(crate) fn secret(retrieval: &Retrieval) -> Result<&str, SecretError> {
    let place = match retrieval {
        Retrieval::Secret(secret) => return Ok(secret.expose()),
        Retrieval::Missing(place) => place,
    };
    let source = match place {
        SecretPlace::Variable(name) => MissingSource::Variable(name.as_str().into()),
        SecretPlace::File => MissingSource::File,
        SecretPlace::Store(name) => MissingSource::Store(name.as_str().into()),
    };
    Err(SecretError::Missing(OutboundProblem::Missing(source)))
}
