//! The headers and settings of requests to an HTTP upstream, and the errors of its set-up.

use std::sync::Arc;

use ::http::header::{CONTENT_TYPE, HOST};
use ::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use secrecy::{ExposeSecret, SecretString};

use super::line::UpstreamLine;
use super::outgoing::{Draft, Outgoing};
use crate::identity::RequestSender;
use witgate_config::identity::IdentitySettings;
use witgate_config::secret_programs::SecretLifetime;
use witgate_credentials::token_files::TokenFolderError;
use witgate_credentials::upstream_credential::{InvalidCredential, UpstreamCredential};
use witgate_flow::reject::Rejection;

/// The headers and settings of requests to an HTTP upstream.
#[derive(Debug, Default)]
pub(super) struct RequestSettings {
    /// The upstream's own headers, such as its credential.
    pub(super) own: HeaderMap,
    /// The lifetimes of the secrets in these headers.
    pub(super) lifetimes: Vec<SecretLifetime>,
    /// The identity that the upstream receives.
    pub(super) identity: IdentitySettings,
    /// The credential in requests.
    pub(super) credential: Option<Arc<UpstreamCredential>>,
}

impl RequestSettings {
    /// A request to `uri` over `line`, with its headers and its sender, without the credential.
    ///
    /// # Errors
    /// If a secret in the headers has expired, or the sender's identity cannot be sent.
    pub(super) fn introduced(
        &self,
        (line, uri): (&UpstreamLine, &Uri),
        sender: RequestSender<'_>,
        draft: impl FnOnce(&Uri, &HeaderMap) -> Draft,
    ) -> Result<Outgoing, Rejection> {
        if self.lifetimes.iter().any(SecretLifetime::is_over) {
            return Err(Rejection::secret_expired());
        }
        let mut outgoing = draft(uri, &self.own).introduced(&self.identity, sender)?;
        if let RequestSender::Caller(caller, ..) = sender {
            line.introduce(&mut outgoing, caller);
        }
        Ok(outgoing)
    }

    /// True if the server cannot tell requests with the other settings from those with these by a credential: the headers,
    /// each of which may be one, and the credential are the same. Upstreams share a credential with equal settings.
    pub(super) fn has_account_of(&self, other: &Self) -> bool {
        let is_same_credential = match (&self.credential, &other.credential) {
            (Some(own), Some(others)) => Arc::ptr_eq(own, others),
            (None, None) => true,
            _ => false,
        };
        is_same_credential && self.own == other.own
    }
}

/// The error when an HTTP upstream cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// The URL is not valid for HTTP.
    #[error("the URL of the upstream cannot be used: {0}")]
    Url(#[from] ::http::uri::InvalidUri),
    /// No program embeds this upstream.
    #[error(
        "`embedded = true` is for a program that embeds Witgate, and this program does not; start that program, or write `command`, `url` or `own_tools = true`"
    )]
    Embedded,
    /// The settings of this upstream are invalid.
    #[error("its configuration cannot be used")]
    Broken,
    /// A configured header is invalid. The error does not contain its value.
    #[error("the header {0:?} of the upstream has a name or value that HTTP does not allow")]
    Header(String),
    /// A credential is invalid.
    #[error(transparent)]
    Credential(#[from] InvalidCredential),
    /// There is no port of this machine for the APIs of child processes.
    #[error("there is no port for the `apis` of its processes: {0}")]
    Loopback(std::io::Error),
    /// There is no directory for token files.
    #[error(transparent)]
    TokenFolder(#[from] TokenFolderError),
    /// There are no random numbers.
    #[error("there are no random numbers: {0}")]
    Random(getrandom::Error),
}

pub(super) fn own_headers(headers: &[(String, SecretString)]) -> Result<HeaderMap, SetUpError> {
    let mut own = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let wrong = || SetUpError::Header(name.clone());
        let header = HeaderName::try_from(name.as_str()).map_err(|_| wrong())?;
        if header == HOST || header == CONTENT_TYPE {
            return Err(wrong());
        }
        let mut value = HeaderValue::try_from(value.expose_secret()).map_err(|_| wrong())?;
        value.set_sensitive(true);
        own.insert(header, value);
    }
    Ok(own)
}
