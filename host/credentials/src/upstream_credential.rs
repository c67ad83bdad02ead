//! A credential in use: the header value for requests, or the reason why there is none.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use crate::fault::{MissingSource, OutboundFault, OutboundProblem};
use witgate_config::credentials::{CredentialSettings, OutboundSource, Retrieval, SecretPlace};

/// A credential in use.
pub struct UpstreamCredential {
    settings: Arc<CredentialSettings>,
    value: Result<HeaderValue, OutboundFault>,
}

/// The facts about the credential of a call, for the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// The name of the credential.
    pub credential: Arc<str>,
    /// The account at the server or issuer, if it is known.
    pub account: Option<Arc<str>>,
    /// The issuer of the credential, if it is known.
    pub issuer: Option<Arc<str>>,
}

impl Delegation {
    /// The facts that are known of a call without its credential.
    pub fn of(fault: &OutboundFault) -> Self {
        Self { credential: Arc::clone(&fault.credential), account: None, issuer: None }
    }
}

/// The error if a secret does not fit into a header. It does not contain the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the credential `{0}` contains characters that a header cannot have")]
pub struct InvalidCredential(Arc<str>);

impl UpstreamCredential {
    /// The credential with these settings.
    ///
    /// # Errors
    /// If a secret does not fit into a header.
    pub(crate) fn new(settings: &Arc<CredentialSettings>) -> Result<Self, InvalidCredential> {
        let value = match value(settings) {
            Ok(text) => Ok(header_value(settings, &text)?),
            Err(problem) => Err(OutboundFault { credential: Arc::clone(&settings.name), problem }),
        };
        Ok(Self { settings: Arc::clone(settings), value })
    }

    /// The settings.
    pub fn settings(&self) -> &CredentialSettings {
        &self.settings
    }

    /// Adds the credential to the headers of a request, in place of others in its header.
    ///
    /// # Errors
    /// If there is no credential. Then the request must not be sent.
    pub fn add_to(&self, headers: &mut HeaderMap) -> Result<(), OutboundFault> {
        let value = self.value.clone()?;
        headers.insert(self.settings.header.clone(), value);
        Ok(())
    }

    /// Checks that no secret is missing.
    ///
    /// # Errors
    /// With the missing secret.
    pub fn check(&self) -> Result<(), OutboundFault> {
        self.value.as_ref().map(drop).map_err(Clone::clone)
    }

    /// The fault if the server has refused the credential.
    pub fn rejected(&self) -> OutboundFault {
        OutboundFault { credential: Arc::clone(&self.settings.name), problem: OutboundProblem::Rejected }
    }

    /// The facts for the audit.
    pub fn delegation(&self) -> Delegation {
        Delegation { credential: Arc::clone(&self.settings.name), account: None, issuer: None }
    }
}

fn header_value(settings: &CredentialSettings, text: &str) -> Result<HeaderValue, InvalidCredential> {
    let mut value = HeaderValue::from_str(text).map_err(|_| InvalidCredential(Arc::clone(&settings.name)))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The text of the header.
fn value(settings: &CredentialSettings) -> Result<Zeroizing<String>, OutboundProblem> {
    let prefix = &settings.prefix;
    match &settings.source {
        OutboundSource::Static(value) => Ok(Zeroizing::new(format!("{prefix}{}", secret(value)?))),
        OutboundSource::Basic { user, password } => {
            let pair = Zeroizing::new(format!("{}:{}", secret(user)?, secret(password)?));
            Ok(Zeroizing::new(format!("{prefix}{}", STANDARD.encode(pair.as_bytes()))))
        }
    }
}

fn secret(retrieval: &Retrieval) -> Result<&str, OutboundProblem> {
    match retrieval {
        Retrieval::Secret(secret) => Ok(secret.expose()),
        Retrieval::Missing(SecretPlace::Variable(name)) => {
            Err(OutboundProblem::Missing(MissingSource::Variable(name.as_str().into())))
        }
        Retrieval::Missing(SecretPlace::File) => Err(OutboundProblem::Missing(MissingSource::File)),
    }
}

impl fmt::Debug for UpstreamCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamCredential").field("name", &self.settings.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::header::{AUTHORIZATION, HeaderName};
    use proptest::prelude::*;
    use witgate_config::credentials::EqualSecret;

    use super::*;

    fn known(text: &str) -> Retrieval {
        Retrieval::Secret(EqualSecret(text.to_owned().into()))
    }

    fn credential(source: OutboundSource, header: HeaderName, prefix: &str) -> UpstreamCredential {
        let (name, prefix) = ("a".into(), prefix.to_owned());
        UpstreamCredential::new(&Arc::new(CredentialSettings { name, header, prefix, source })).unwrap()
    }

    fn sent(credential: &UpstreamCredential) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer of-the-caller"));
        credential.add_to(&mut headers).unwrap();
        headers
    }

    #[test]
    fn a_static_secret_is_sent_in_its_header_with_its_prefix() {
        let bearer = credential(OutboundSource::Static(known("sesame")), AUTHORIZATION, "Bearer ");
        assert_eq!(sent(&bearer)[AUTHORIZATION], "Bearer sesame");
        assert!(sent(&bearer)[AUTHORIZATION].is_sensitive());
        let key = HeaderName::from_static("x-api-key");
        let key = credential(OutboundSource::Static(known("sesame")), key, "");
        assert_eq!(sent(&key)["x-api-key"], "sesame");
    }

    /// RFC 7617, section 2.
    #[test]
    fn a_user_and_a_password_are_sent_as_basic_authentication() {
        let source = OutboundSource::Basic { user: known("Aladdin"), password: known("open sesame") };
        let basic = credential(source, AUTHORIZATION, "Basic ");
        assert_eq!(sent(&basic)[AUTHORIZATION], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    #[test]
    fn a_missing_secret_leaves_the_headers_as_they_are() {
        let missing = Retrieval::Missing(SecretPlace::Variable("X".to_owned()));
        for source in [
            OutboundSource::Static(missing.clone()),
            OutboundSource::Basic { user: known("u"), password: missing.clone() },
            OutboundSource::Basic { user: missing, password: known("p") },
        ] {
            let credential = credential(source, AUTHORIZATION, "Bearer ");
            let mut headers = HeaderMap::new();
            let fault = credential.add_to(&mut headers).unwrap_err();
            assert_eq!(fault.reason(), "credential-missing");
            assert_eq!(credential.check(), Err(fault));
            assert!(headers.is_empty());
        }
    }

    proptest! {
        #[test]
        fn a_secret_never_prints(secret in "[a-zA-Z0-9]{12,40}") {
            let credential = credential(OutboundSource::Static(known(&secret)), AUTHORIZATION, "Bearer ");
            let printed = format!("{credential:?} {:?} {:?}", credential.settings(), sent(&credential));
            prop_assert!(!printed.contains(&secret));
        }

        #[test]
        fn a_pair_is_read_back_as_it_was(user in "[^:\\pC]{0,20}", password in "\\PC{0,20}") {
            let source = OutboundSource::Basic { user: known(&user), password: known(&password) };
            let value = value(&CredentialSettings {
                name: "a".into(),
                header: AUTHORIZATION,
                prefix: "Basic ".to_owned(),
                source,
            });
            let value = value.unwrap();
            let decoded = STANDARD.decode(value.strip_prefix("Basic ").unwrap()).unwrap();
            let decoded = String::from_utf8(decoded).unwrap();
            prop_assert_eq!(decoded.split_once(':'), Some((user.as_str(), password.as_str())));
        }
    }
}
