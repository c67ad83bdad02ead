//! The login with name and password. Neither the answer nor its time tells which names there are.

use http::StatusCode;
use secrecy::SecretString;
use witgate_basic::credential::{composed, composed_password};
use witgate_basic::hash::PasswordHash;
use witgate_plugin::PasswordError;

use super::answers::{SiteAnswer, retry_after, see_other};
use super::form_token::{self, FormPurpose};
use super::pages::{self, LoginForm, LoginNotice};
use super::params::OauthParams;
use super::{AccountSite, LoginAttempt, SiteVisit};
use crate::database::now_ms;
use crate::database::users::AccountUser;
use crate::error::AccountsError;
use crate::random;
use witgate_services::passwords::PasswordCheck;

impl AccountSite {
    /// The page without a request of a client.
    pub(super) fn login_page(&self, visit: &SiteVisit) -> SiteAnswer {
        self.login_form(visit, "", None)
    }

    /// The page, before the request of a client that has this query.
    pub(super) fn login_form(
        &self,
        visit: &SiteVisit,
        next: &str,
        notice: Option<LoginNotice>,
    ) -> SiteAnswer {
        let known = self.cookies.browser(&visit.headers);
        let is_new = known.is_none();
        let secret = match known.map_or_else(|| random::text().map(SecretString::from), Ok) {
            Ok(secret) => secret,
            Err(error) => return pages::unavailable(&error),
        };
        let token = form_token::token(self.store.forms(), FormPurpose::Login, &secret, next);
        let providers: Vec<_> = self.providers.names().collect();
        let mut answer = pages::login(&LoginForm { token: &token, next, notice, providers: &providers });
        if is_new {
            self.cookies.set_browser(&mut answer, &secret);
        }
        answer
    }

    /// Logs in. Then the browser goes on with the request of the client, or to the page of the account.
    pub(super) async fn log_in(&self, visit: &SiteVisit) -> SiteAnswer {
        let Ok(form) = OauthParams::of_form(visit) else { return pages::bad_form() };
        let next = form.get("next").unwrap_or_default();
        let is_genuine = self.cookies.browser(&visit.headers).is_some_and(|secret| {
            form_token::is_genuine(self.store.forms(), FormPurpose::Login, &secret, next, &form)
        });
        if !is_genuine {
            return self.login_form(visit, next, Some(LoginNotice::FormExpired));
        }
        let name = composed(form.get("name").unwrap_or_default());
        let password = composed_password(form.get("password").unwrap_or_default());
        let attempt = LoginAttempt { peer: visit.peer, name: &name, password: &password };
        match self.judge(visit, attempt).await {
            Ok(secret) => {
                tracing::info!(user = witgate_base::printable::clean(&name), "a person has logged in");
                let place = match next {
                    "" => "/account".to_owned(),
                    query => format!("/oauth/authorize?{query}"),
                };
                let mut answer = see_other(&place);
                self.cookies.set_session(&mut answer, &secret);
                answer
            }
            Err(LoginFault::Store(error)) => pages::unavailable(&error),
            Err(LoginFault::Refused(notice)) => {
                let peer = visit.peer.map(tracing::field::display);
                tracing::info!(code = notice.code(), peer, "a login was refused");
                let mut answer = self.login_form(visit, next, Some(notice));
                *answer.status_mut() = notice.status();
                if let LoginNotice::Paused(seconds) | LoginNotice::Busy(seconds) = notice {
                    retry_after(&mut answer, seconds);
                }
                answer
            }
        }
    }

    /// Checks name and password, and begins a session.
    async fn judge(&self, visit: &SiteVisit, attempt: LoginAttempt<'_>) -> Result<SecretString, LoginFault> {
        if let Some(seconds) = self.guard.pause(attempt) {
            return Err(LoginFault::Refused(LoginNotice::Paused(seconds)));
        }
        let source = visit.source();
        let name = attempt.name.to_owned();
        let find = move |database: &mut crate::database::AccountDatabase| {
            let user = database.user_at_login(&name)?;
            let hash = match &user {
                Some(user) => user.hash.clone(),
                None => database.decoy(&name)?,
            };
            Ok::<_, AccountsError>((user, hash))
        };
        let (user, hash) = self.store.run(source, find).await?;
        let renews = Some(self.settings.password_cost);
        let checked = self.passwords.check(hash.as_str(), attempt.password, source, renews).await;
        let PasswordCheck { is_right, renewed } = checked.map_err(|error| match error {
            PasswordError::Busy(seconds) => LoginFault::Refused(LoginNotice::Busy(seconds)),
            _ => LoginFault::Refused(LoginNotice::Wrong),
        })?;
        let user = user.filter(|user| is_right && user.disabled.is_none());
        let secret = match user {
            Some(user) => self.begin(visit, user, renewed).await?,
            None => None,
        };
        self.guard.note(attempt, secret.is_some());
        secret.ok_or(LoginFault::Refused(LoginNotice::Wrong))
    }

    async fn begin(
        &self,
        visit: &SiteVisit,
        user: AccountUser,
        renewed: Option<PasswordHash>,
    ) -> Result<Option<SecretString>, AccountsError> {
        let work = move |database: &mut crate::database::AccountDatabase| {
            let begun = database.begin_session(&user, now_ms())?;
            if let (Some(_), Some(renewed)) = (&begun, &renewed) {
                database.renew_hash(&user.id, &user.hash, renewed)?;
            }
            Ok(begun)
        };
        self.store.run(visit.source(), work).await
    }
}

enum LoginFault {
    Refused(LoginNotice),
    Store(AccountsError),
}

impl From<AccountsError> for LoginFault {
    fn from(error: AccountsError) -> Self {
        match error {
            AccountsError::Busy => Self::Refused(LoginNotice::Busy(2)),
            other => Self::Store(other),
        }
    }
}

impl LoginNotice {
    fn code(self) -> &'static str {
        match self {
            Self::Wrong => "login-failed",
            Self::Paused(_) => "login-locked",
            Self::Busy(_) => "login-busy",
            Self::FormExpired => "form-expired",
            Self::Provider(_) => "provider",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Wrong => StatusCode::FORBIDDEN,
            Self::Paused(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::FormExpired => StatusCode::BAD_REQUEST,
            Self::Provider(notice) => notice.status(),
        }
    }
}
