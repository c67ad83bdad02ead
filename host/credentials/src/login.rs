//! A login of a person at a provider: the authorization code grant (RFC 6749, section 4.1) with PKCE (RFC 7636), state
//! and issuer (RFC 9207).

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::account;
use crate::client::SecretError;
use crate::fault::OutboundProblem;
use crate::grant_store::StoredGrant;
use crate::login_id::LoginId;
use crate::token_answer::AccessToken;
use crate::token_sources::TokenEndpoint;
use witgate_base::digest::sha256;
use witgate_config::credentials::{CredentialSettings, GrantSettings, OutboundSource};
use witgate_services::network::Ways;

/// A login that has begun.
pub struct Login {
    id: LoginId,
    credential: Arc<str>,
    settings: GrantSettings,
    endpoint: TokenEndpoint,
    redirect: Url,
    state: String,
    verifier: SecretString,
}

/// The tokens of a login that only says who somebody is.
#[derive(Debug)]
pub struct LoginTokens {
    /// The access token.
    pub access: SecretString,
    /// The ID token, if the provider issues one.
    pub id_token: Option<SecretString>,
}

/// The error of a login. It contains no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The credential is not the grant of a person.
    #[error("the credential `{0}` is not of the kind `oauth`, so nobody logs in for it")]
    NoGrant(Arc<str>),
    /// The client's secret is missing, or its key is unusable.
    #[error("{0}")]
    Client(String),
    /// There are no random numbers.
    #[error("there are no random numbers")]
    Random,
    /// The text is not an answer of a provider.
    #[error("this is not the address to which the provider leads back: it has no `code`")]
    NoAnswer,
    /// The answer belongs to another login.
    #[error("State mismatch: this answer belongs to another login")]
    State,
    /// The answer comes from another issuer.
    #[error("the answer comes from another issuer, `{0}`")]
    Issuer(String),
    /// The person or the provider has refused.
    #[error("the provider refuses the login: {0}")]
    Refused(String),
    /// The provider does not accept the code.
    #[error(
        "the code is too old or was used before, or PKCE verification failed: start again with `witgate credential login {0}`"
    )]
    Code(Arc<str>),
    /// The provider gives no tokens.
    #[error("the provider gives no tokens: {0}")]
    Tokens(String),
}

impl Login {
    /// Begins a login, whose answer leads to `redirect`.
    ///
    /// # Errors
    /// If the credential is of another kind, or incomplete.
    pub fn begin(
        credential: &CredentialSettings,
        ways: &Arc<Ways>,
        redirect: Url,
    ) -> Result<Self, LoginError> {
        let OutboundSource::Grant(settings) = &credential.source else {
            return Err(LoginError::NoGrant(Arc::clone(&credential.name)));
        };
        Self::of_grant(&credential.name, GrantSettings::clone(settings), ways, redirect)
    }

    /// Begins a login with these settings, for the credential with this name.
    ///
    /// # Errors
    /// If the settings are incomplete.
    pub fn of_grant(
        credential: &Arc<str>,
        settings: GrantSettings,
        ways: &Arc<Ways>,
        redirect: Url,
    ) -> Result<Self, LoginError> {
        let endpoint = TokenEndpoint::of_grant(&settings, ways).map_err(|error| match error {
            SecretError::Missing(problem) => LoginError::Client(problem.to_string()),
            SecretError::Invalid(why) => LoginError::Client(why),
        })?;
        Ok(Self {
            // Before there is a code, which can be exchanged once.
            id: LoginId::random().map_err(|_| LoginError::Random)?,
            credential: Arc::clone(credential),
            settings,
            endpoint,
            redirect,
            state: random()?,
            verifier: random()?.into(),
        })
    }

    /// The URL that the person opens.
    pub fn url(&self) -> Url {
        let mut url = self.settings.authorize_url.clone();
        let challenge = URL_SAFE_NO_PAD.encode(sha256(self.verifier.expose_secret().as_bytes()));
        let mut query = url.query_pairs_mut();
        query.append_pair("response_type", "code");
        query.append_pair("client_id", &self.settings.token.client_id);
        query.append_pair("redirect_uri", self.redirect.as_str());
        query.append_pair("state", &self.state);
        query.append_pair("code_challenge", &challenge);
        query.append_pair("code_challenge_method", "S256");
        if !self.settings.token.scopes.is_empty() {
            query.append_pair("scope", &self.settings.token.scopes.join(" "));
        }
        if let Some(resource) = &self.settings.token.resource {
            query.append_pair("resource", resource);
        }
        query.extend_pairs(&self.settings.params);
        drop(query);
        url
    }

    /// The state, which the answer repeats.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// The code in the address to which the provider has led back.
    ///
    /// # Errors
    /// If the answer belongs to another login, or is an error.
    pub fn code(&self, answer: &str) -> Result<SecretString, LoginError> {
        let answer = self.redirect.join(answer.trim()).map_err(|_| LoginError::NoAnswer)?;
        let values = |name: &'static str| answer.query_pairs().filter(move |(other, _)| other == name);
        // A client has to refuse repeated parameters (RFC 6749, section 3.1): others may read another one of them.
        if ["state", "iss", "error", "code"].into_iter().any(|name| values(name).count() > 1) {
            return Err(LoginError::NoAnswer);
        }
        let value = |name| values(name).next().map(|(_, value)| value.into_owned());
        let state = value("state").ok_or(LoginError::NoAnswer)?;
        if verify_slices_are_equal(state.as_bytes(), self.state.as_bytes()).is_err() {
            return Err(LoginError::State);
        }
        match (value("iss"), &self.settings.issuer) {
            (Some(issuer), Some(expected)) if issuer != *expected => return Err(LoginError::Issuer(issuer)),
            _ => {}
        }
        if let Some(error) = value("error") {
            let known = error.chars().all(|c| c.is_ascii_lowercase() || c == '_') && error.len() < 64;
            return Err(LoginError::Refused(if known {
                error
            } else {
                "an error without a code".to_owned()
            }));
        }
        value("code").map(SecretString::from).ok_or(LoginError::NoAnswer)
    }

    /// Exchanges the code for a grant.
    ///
    /// # Errors
    /// If the provider does not accept it.
    pub async fn redeem(&self, code: &SecretString) -> Result<StoredGrant, LoginError> {
        let issued = self.exchange(code).await?;
        let account = match (&issued.account, &self.settings.account_url) {
            (None, Some(url)) => account::of_token(&self.endpoint.ways, url, &issued.access).await,
            (known, _) => known.clone(),
        };
        let (token, issued) = (&self.settings.token, AccessToken { account, ..issued });
        Ok(StoredGrant::new(self.id, issued, &token.scopes, token.refresh_before))
    }

    /// Exchanges the code for tokens that are not stored.
    ///
    /// # Errors
    /// If the provider does not accept it.
    pub async fn tokens(&self, code: &SecretString) -> Result<LoginTokens, LoginError> {
        let AccessToken { access, id_token, .. } = self.exchange(code).await?;
        Ok(LoginTokens { access, id_token })
    }

    async fn exchange(&self, code: &SecretString) -> Result<AccessToken, LoginError> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code.expose_secret()),
            ("redirect_uri", self.redirect.as_str()),
            ("code_verifier", self.verifier.expose_secret()),
        ];
        self.endpoint.ask(&fields).await.map_err(|problem| match problem {
            OutboundProblem::Refused { error }
                if &*error == "invalid_grant" || &*error == "bad_verification_code" =>
            {
                LoginError::Code(Arc::clone(&self.credential))
            }
            problem => LoginError::Tokens(problem.to_string()),
        })
    }

    /// The requested scopes that the provider has not granted. A person may have unticked some.
    pub fn not_granted(&self, grant: &StoredGrant) -> Vec<String> {
        let requested = self.settings.token.scopes.iter();
        // Providers leave it out of their answers, or write short names of OpenID Connect as URLs.
        let is_protocol = |scope: &str| ["offline_access", "openid", "email", "profile"].contains(&scope);
        let is_granted = |scope: &String| {
            grant.scopes.iter().any(|granted| granted == scope || granted.rsplit('/').next() == Some(scope))
        };
        requested.filter(|scope| !is_protocol(scope) && !is_granted(scope)).cloned().collect()
    }
}

/// 256 random bits.
fn random() -> Result<String, LoginError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| LoginError::Random)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests;
