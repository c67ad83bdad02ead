//! A credential in use: the header value for requests, or the reason why there is none.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::{Either, pending};
use http::{HeaderMap, HeaderValue};
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::caller_token::CallerToken;
use crate::client::{SecretError, client, secret};
use crate::credential_user::CredentialUser;
use crate::exchanged_tokens::ExchangedTokens;
use crate::fault::{OutboundFault, OutboundProblem};
use crate::grant_source::GrantSource;
use crate::login_check::LoginCheck;
use crate::open_renewals::OpenRenewals;
use crate::principal_grants::PrincipalGrants;
use crate::token_keeper::{TokenForm, TokenKeeper, TokenSource};
use crate::token_sources::{SignedToken, TokenEndpoint};
use witgate_base::party::Principal;
use witgate_config::credentials::{CredentialSettings, OutboundSource, Retrieval, TokenSettings};
use witgate_services::network::Ways;

/// The time after which a grant is read again, so that a login, a logout, and a renewal of another process take effect.
/// Without a read, its token is used for twice that time at most.
const RECHECK: Duration = Duration::from_secs(5);

/// A credential in use.
pub struct UpstreamCredential {
    settings: Arc<CredentialSettings>,
    state: CredentialState,
    /// The login, if it is the grant of a person.
    login: Option<LoginCheck>,
}

enum CredentialState {
    /// It never changes.
    Value(HeaderValue),
    /// A secret is missing.
    Missing(OutboundProblem),
    /// A token for all callers.
    Token(Arc<TokenKeeper>),
    /// A token for each caller.
    Exchange(ExchangedTokens),
    /// A grant of each principal.
    Principals(Box<PrincipalGrants>),
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

/// The error if a credential cannot be used. It does not contain a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the credential `{credential}` cannot be used: {why}")]
pub struct InvalidCredential {
    credential: Arc<str>,
    why: String,
}

impl UpstreamCredential {
    /// The credential with these settings, whose issuer is asked over `ways`. Renewals of a grant are among those `open`.
    ///
    /// # Errors
    /// If a secret does not fit into a header, or a key cannot sign.
    pub(crate) fn new(
        settings: &Arc<CredentialSettings>,
        ways: &Arc<Ways>,
        open: &OpenRenewals,
    ) -> Result<Self, InvalidCredential> {
        let state = match CredentialState::of(settings, ways, open) {
            Err(SecretError::Missing(problem)) => CredentialState::Missing(problem),
            Err(SecretError::Invalid(why)) => {
                return Err(InvalidCredential { credential: Arc::clone(&settings.name), why });
            }
            Ok(state) => state,
        };
        let login = match &settings.source {
            OutboundSource::Grant(grant) if grant.connect.is_none() => {
                Some(LoginCheck::new(&settings.name, grant))
            }
            _ => None,
        };
        Ok(Self { settings: Arc::clone(settings), state, login })
    }

    /// The settings.
    pub fn settings(&self) -> &CredentialSettings {
        &self.settings
    }

    /// True if it is made from the token of each caller.
    pub fn is_exchanged(&self) -> bool {
        matches!(self.state, CredentialState::Exchange(_))
    }

    /// True if each principal has a grant of their own.
    pub fn is_of_principals(&self) -> bool {
        matches!(self.state, CredentialState::Principals(_))
    }

    /// True if handshakes and lists go to the server without it, for callers who have no account.
    pub fn is_only_for_calls(&self) -> bool {
        match &self.settings.source {
            OutboundSource::Grant(grant) => {
                grant.connect.as_ref().is_some_and(|connect| connect.only_for_calls)
            }
            _ => false,
        }
    }

    /// True if it differs by caller.
    pub fn needs_user(&self) -> bool {
        self.is_exchanged() || self.is_of_principals()
    }

    /// True if another one can take the place of one that the server refuses.
    pub fn is_renewable(&self) -> bool {
        matches!(self.state, CredentialState::Token(_)) || self.needs_user()
    }

    /// Adds the credential to the headers of a request, in place of others in its header. It waits at most five seconds
    /// for a token.
    ///
    /// # Errors
    /// If there is no credential. Then the request must not be sent.
    pub async fn add_to(
        &self,
        headers: &mut HeaderMap,
        user: Option<&CredentialUser>,
    ) -> Result<(), OutboundFault> {
        let value = match self.at_hand(user) {
            Some(value) => value,
            // Boxed, because most calls do not wait.
            None => Box::pin(self.value(user)).await.map_err(|problem| self.fault(problem))?,
        };
        headers.insert(self.settings.header.clone(), value);
        Ok(())
    }

    /// Replaces the credential in `headers`, which the server does not accept.
    ///
    /// # Errors
    /// If there is no other one.
    pub async fn replace_in(
        &self,
        headers: &mut HeaderMap,
        user: Option<&CredentialUser>,
    ) -> Result<(), OutboundFault> {
        let refused = headers.get(&self.settings.header);
        let keeper = self.keeper(user).map_err(|problem| self.fault(problem))?;
        let keeper = keeper.ok_or_else(|| self.rejected())?;
        let value = keeper
            .in_place_of(refused, self.exchanged_token(user))
            .await
            .map_err(|problem| self.fault(problem))?;
        headers.insert(self.settings.header.clone(), value);
        Ok(())
    }

    /// The secret or token without the text before it in its header.
    ///
    /// # Errors
    /// If there is none.
    pub async fn secret(&self) -> Result<SecretString, OutboundFault> {
        let value = self.value(None).await.map_err(|problem| self.fault(problem))?;
        let secret = value.as_bytes().strip_prefix(self.settings.prefix.as_bytes());
        let secret = secret.and_then(|secret| std::str::from_utf8(secret).ok());
        secret.map(SecretString::from).ok_or_else(|| self.rejected())
    }

    /// Waits for the next token from now on. Of a secret that stays the same, for ever.
    pub fn changed(&self) -> impl Future<Output = ()> + Send {
        match &self.state {
            CredentialState::Token(keeper) => Either::Left(keeper.changed()),
            _ => Either::Right(pending()),
        }
    }

    /// Gets a new token from the issuer.
    ///
    /// # Errors
    /// If it is no token of Witgate or of `user`, or there is none.
    pub async fn renew(&self, user: Option<&CredentialUser>) -> Result<(), OutboundFault> {
        let renewed = match &self.state {
            CredentialState::Missing(problem) => Err(problem.clone()),
            CredentialState::Value(_) | CredentialState::Exchange(_) => Ok(()),
            CredentialState::Token(keeper) => keeper.renewed_now().await,
            CredentialState::Principals(grants) => match user {
                None => Err(OutboundProblem::NoPrincipal),
                Some(user) => match grants.of(user.principal()) {
                    Ok(keeper) => keeper.renewed_now().await,
                    Err(problem) => Err(problem),
                },
            },
        };
        renewed.map_err(|problem| self.fault(problem))
    }

    /// The number of the account that `user` has connected, if each caller has one and its token is in memory. It changes
    /// when they connect or disconnect an account.
    pub fn account_number(&self, user: Option<&CredentialUser>) -> Option<u64> {
        match &self.state {
            CredentialState::Principals(grants) => grants.of(user?.principal()).ok()?.account_number(),
            _ => None,
        }
    }

    /// Forgets what is in memory of a principal's grant, which has changed.
    pub(crate) fn forget(&self, principal: &Principal) {
        if let CredentialState::Principals(grants) = &self.state {
            grants.forget(principal);
        }
    }

    /// Checks that no secret is missing.
    ///
    /// # Errors
    /// With the missing secret.
    pub fn check(&self) -> Result<(), OutboundFault> {
        match &self.state {
            CredentialState::Missing(problem) => Err(self.fault(problem.clone())),
            _ => Ok(()),
        }
    }

    /// Checks that no secret is missing, and that somebody has logged in, if that is needed.
    ///
    /// # Errors
    /// With the missing secret or login.
    pub fn check_with_login(&self) -> Result<(), OutboundFault> {
        self.check()?;
        self.login.as_ref().map_or(Ok(()), LoginCheck::check).map_err(|problem| self.fault(problem))
    }

    /// The same for the calls of `principal`, who may have to connect an account of their own.
    ///
    /// # Errors
    /// With the missing secret or login.
    pub fn check_for(&self, principal: &Principal) -> Result<(), OutboundFault> {
        match &self.settings.source {
            OutboundSource::Grant(grant) if self.is_of_principals() && !principal.is_nameless() => {
                LoginCheck::of_principal(&self.settings.name, grant, principal)
                    .map_err(|problem| self.fault(problem))
            }
            _ => self.check_with_login(),
        }
    }

    /// The fault if the server has refused the credential.
    pub fn rejected(&self) -> OutboundFault {
        self.fault(OutboundProblem::Rejected)
    }

    /// The facts for the audit of a call by `principal`.
    pub fn delegation(&self, principal: &Principal) -> Delegation {
        let (account, issuer) = match &self.settings.source {
            OutboundSource::ClientCredentials(settings) => {
                (Some(Arc::clone(&settings.client_id)), Some(&settings.issuer))
            }
            OutboundSource::Exchange(settings) => (None, Some(&settings.issuer)),
            OutboundSource::Grant(settings) => (self.account(principal), Some(&settings.token.issuer)),
            OutboundSource::Signed { subject, issuer, .. } => (Some(Arc::clone(subject)), Some(issuer)),
            OutboundSource::Static(_) | OutboundSource::Basic { .. } => (None, None),
        };
        Delegation { credential: Arc::clone(&self.settings.name), account, issuer: issuer.cloned() }
    }

    /// The account of a grant, if its tokens are in memory.
    fn account(&self, principal: &Principal) -> Option<Arc<str>> {
        match &self.state {
            CredentialState::Token(keeper) => keeper.account(),
            CredentialState::Principals(grants) => grants.of(principal).ok()?.account(),
            _ => None,
        }
    }

    fn at_hand(&self, user: Option<&CredentialUser>) -> Option<HeaderValue> {
        match &self.state {
            CredentialState::Value(value) => Some(value.clone()),
            CredentialState::Missing(_) => None,
            CredentialState::Token(keeper) => keeper.at_hand(None),
            CredentialState::Exchange(_) | CredentialState::Principals(_) => {
                self.keeper(user).ok()??.at_hand(self.exchanged_token(user))
            }
        }
    }

    async fn value(&self, user: Option<&CredentialUser>) -> Result<HeaderValue, OutboundProblem> {
        match &self.state {
            CredentialState::Value(value) => Ok(value.clone()),
            CredentialState::Missing(problem) => Err(problem.clone()),
            CredentialState::Token(keeper) => keeper.token(None).await,
            CredentialState::Exchange(_) | CredentialState::Principals(_) => {
                let keeper = self.keeper(user)?.ok_or(OutboundProblem::Rejected)?;
                keeper.token(self.exchanged_token(user)).await
            }
        }
    }

    /// The keeper of the token for `user`. None: it is no token.
    fn keeper(&self, user: Option<&CredentialUser>) -> Result<Option<Arc<TokenKeeper>>, OutboundProblem> {
        match &self.state {
            CredentialState::Value(_) | CredentialState::Missing(_) => Ok(None),
            CredentialState::Token(keeper) => Ok(Some(Arc::clone(keeper))),
            CredentialState::Exchange(tokens) => {
                let token = self.exchanged_token(user).ok_or(OutboundProblem::NoCallerToken)?;
                Ok(Some(tokens.of(token)))
            }
            CredentialState::Principals(grants) => {
                grants.of(user.ok_or(OutboundProblem::NoPrincipal)?.principal()).map(Some)
            }
        }
    }

    /// The token of `user`, if it is exchanged.
    fn exchanged_token<'a>(&self, user: Option<&'a CredentialUser>) -> Option<&'a Arc<CallerToken>> {
        user.filter(|_| self.is_exchanged())?.token()
    }

    fn fault(&self, problem: OutboundProblem) -> OutboundFault {
        OutboundFault::new(&self.settings.name, problem)
    }
}

impl CredentialState {
    fn of(settings: &CredentialSettings, ways: &Arc<Ways>, open: &OpenRenewals) -> Result<Self, SecretError> {
        let form = |refresh_before| TokenForm {
            credential: Arc::clone(&settings.name),
            prefix: settings.prefix.clone(),
            refresh_before,
            recheck: None,
        };
        Ok(match &settings.source {
            OutboundSource::Static(value) => {
                Self::Value(header_value(&format!("{}{}", settings.prefix, secret(value)?))?)
            }
            OutboundSource::Basic { user, password } => Self::Value(basic(&settings.prefix, user, password)?),
            OutboundSource::ClientCredentials(token) => {
                let source = endpoint(token, "client_credentials", ways)?;
                Self::Token(TokenKeeper::new(source, form(token.refresh_before)))
            }
            OutboundSource::Exchange(token) => {
                let source = endpoint(token, "urn:ietf:params:oauth:grant-type:token-exchange", ways)?;
                Self::Exchange(ExchangedTokens::new(source, form(token.refresh_before)))
            }
            OutboundSource::Grant(grant) => {
                let form = TokenForm { recheck: Some(RECHECK), ..form(grant.token.refresh_before) };
                let source = GrantSource::of(&settings.name, grant, ways, open)?;
                match grant.connect {
                    None => Self::Token(TokenKeeper::new(Arc::new(source), form)),
                    Some(_) => Self::Principals(Box::new(PrincipalGrants::new(source, form))),
                }
            }
            OutboundSource::Signed { signer, audience, subject, lifetime, .. } => {
                let (signer, audience, subject) = (Arc::clone(signer), audience.clone(), subject.to_string());
                let source = SignedToken { signer, audience, subject, lifetime: *lifetime };
                Self::Token(TokenKeeper::new(Arc::new(source), form(*lifetime / 2)))
            }
        })
    }
}

fn endpoint(
    settings: &TokenSettings,
    grant: &str,
    ways: &Arc<Ways>,
) -> Result<Arc<dyn TokenSource>, SecretError> {
    let mut fields = vec![("grant_type", grant.to_owned())];
    if !settings.scopes.is_empty() {
        fields.push(("scope", settings.scopes.join(" ")));
    }
    fields.extend(settings.audience.iter().map(|audience| ("audience", audience.clone())));
    fields.extend(settings.resource.iter().map(|resource| ("resource", resource.clone())));
    let (ways, url, client) = (Arc::clone(ways), settings.token_url.clone(), client(settings)?);
    Ok(Arc::new(TokenEndpoint { ways, url, client, fields, usual: None }))
}

/// RFC 7617, section 2.
fn basic(prefix: &str, user: &Retrieval, password: &Retrieval) -> Result<HeaderValue, SecretError> {
    let pair = Zeroizing::new(format!("{}:{}", secret(user)?, secret(password)?));
    header_value(&format!("{prefix}{}", STANDARD.encode(pair.as_bytes())))
}

fn header_value(text: &str) -> Result<HeaderValue, SecretError> {
    let unfit = |_| SecretError::Invalid("it contains characters that a header cannot have".to_owned());
    let mut value = HeaderValue::from_str(text).map_err(unfit)?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for UpstreamCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamCredential").field("name", &self.settings.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
