//! The login with name and password. Neither the answer nor its time tells which names there are.

use std::time::Duration;

use http::StatusCode;
use secrecy::SecretString;
use tokio::time::sleep;
use witgate_basic::credential::{composed, composed_password};
use witgate_basic::hash::PasswordHash;
use witgate_plugin::PasswordError;

use super::answers::{SiteAnswer, retry_after, see_other};
use super::form_token::{self, FormPurpose};
use super::known_browser;
use super::pages::{self, LoginForm, LoginNotice};
use super::params::OauthParams;
use super::{AccountSite, LoginAttempt, SiteVisit, browser, paths};
use crate::database::begun_logins::LoginStep;
use crate::database::users::AccountUser;
use crate::database::{AccountDatabase, now_ms};
use crate::error::AccountsError;
use crate::event::{AccountAction, AccountEvent};
use crate::meters::LoginOutcome;
use crate::random;
use witgate_services::passwords::PasswordCheck;

/// The time of an answer in a pause, about that of a check of a password under load.
const PAUSED_ANSWER: Duration = Duration::from_secs(1);

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
        self.with_browser(visit, |secret| {
            let token = form_token::token(self.store.forms(), FormPurpose::Login, secret, next);
            let has_passkeys = self.settings.passkey_host().is_some();
            let providers: Vec<_> = self.providers.names().collect();
            pages::login(&LoginForm { token: &token, next, notice, has_passkeys, providers: &providers })
        })
    }

    /// A page with a form that is bound to the browser, before somebody is logged in.
    pub(super) fn with_browser(
        &self,
        visit: &SiteVisit,
        page: impl FnOnce(&SecretString) -> SiteAnswer,
    ) -> SiteAnswer {
        let known = self.cookies.browser(&visit.headers);
        let is_new = known.is_none();
        let secret = match known.map_or_else(|| random::text().map(SecretString::from), Ok) {
            Ok(secret) => secret,
            Err(error) => return pages::unavailable(&error),
        };
        let mut answer = page(&secret);
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
        let attempt = self.attempt(visit, &name);
        match self.judge(visit, attempt, &password).await {
            Ok(LoginStep::Session(secret)) => {
                tracing::info!(user = witgate_base::printable::clean(&name), "a person has logged in");
                let mut answer = see_other(&paths::after_login(next));
                self.begin_in_browser(&mut answer, &secret, attempt);
                answer
            }
            Ok(LoginStep::Code(secret)) => {
                let mut answer = see_other(&paths::before(paths::CODE, next));
                self.cookies.set_login(&mut answer, &secret);
                answer
            }
            Ok(LoginStep::Passkey) => self.ask_for_passkey(visit, next),
            Err(LoginFault::Store(error)) => pages::unavailable(&error),
            Err(LoginFault::Refused(notice)) => {
                if let (LoginNotice::Paused(_), Ok(_place)) = (notice, self.delays.try_acquire()) {
                    sleep(PAUSED_ANSWER).await;
                }
                self.refuse_login(visit, next, notice)
            }
        }
    }

    /// An attempt of this browser to log in as a user.
    pub(super) fn attempt<'a>(&self, visit: &SiteVisit, name: &'a str) -> LoginAttempt<'a> {
        let known = self.cookies.known(&visit.headers);
        let browser =
            known.and_then(|cookie| known_browser::id_in(self.store.forms(), &cookie, name, now_ms()));
        LoginAttempt { peer: visit.peer, name, browser }
    }

    /// Gives a browser its session, and makes it a known one.
    pub(super) fn begin_in_browser(
        &self,
        answer: &mut SiteAnswer,
        session: &SecretString,
        attempt: LoginAttempt<'_>,
    ) {
        self.cookies.set_session(answer, session);
        if attempt.browser.is_none()
            && let Ok(cookie) = known_browser::cookie(self.store.forms(), attempt.name, now_ms())
        {
            self.cookies.set_known(answer, &cookie);
        }
    }

    /// The page after a login that was refused.
    pub(super) fn refuse_login(&self, visit: &SiteVisit, next: &str, notice: LoginNotice) -> SiteAnswer {
        let code = notice.code();
        if let Some(others) = self.lines.turn(code) {
            let peer = visit.peer.map(tracing::field::display);
            tracing::info!(code, peer, others, "a login was refused");
            if notice != LoginNotice::Wrong {
                let event = AccountEvent::now(AccountAction::LoginRefused).because(code);
                self.store.record(AccountEvent { others, peer: visit.peer, ..event });
            }
        }
        let mut answer = self.login_form(visit, next, Some(notice));
        if let LoginNotice::Paused(seconds) | LoginNotice::Busy(seconds) = notice {
            retry_after(&mut answer, seconds);
        }
        answer
    }

    /// Checks name and password, and begins a session. An attempt counts as failed from its beginning, until it is known
    /// to be right: who closes the connection before the answer has tried all the same.
    async fn judge(
        &self,
        visit: &SiteVisit,
        attempt: LoginAttempt<'_>,
        password: &str,
    ) -> Result<LoginStep, LoginFault> {
        let meters = self.store.meters();
        let ticket = self.guard.begin(attempt).map_err(|seconds| {
            meters.login(LoginOutcome::Paused);
            LoginFault::Refused(LoginNotice::Paused(seconds))
        })?;
        match self.check(visit, attempt.name, password).await {
            Ok(Some(step)) => {
                ticket.succeed();
                match step {
                    LoginStep::Session(_) => meters.login(LoginOutcome::Right),
                    LoginStep::Passkey => meters.login(LoginOutcome::Wrong),
                    // Its end counts.
                    LoginStep::Code(_) => {}
                }
                Ok(step)
            }
            Ok(None) => {
                drop(ticket);
                meters.login(LoginOutcome::Wrong);
                Err(LoginFault::Refused(LoginNotice::Wrong))
            }
            Err(fault) => {
                ticket.withdraw();
                meters.login(LoginOutcome::Unavailable);
                Err(fault)
            }
        }
    }

    /// The next step, such as a session. None: name or password is wrong.
    async fn check(
        &self,
        visit: &SiteVisit,
        name: &str,
        password: &str,
    ) -> Result<Option<LoginStep>, LoginFault> {
        let (source, wanted) = (visit.source(), name.to_owned());
        let find = move |database: &mut AccountDatabase| {
            // Both, so that the time is the same for each name.
            let (user, decoy) = (database.user_at_login(&wanted)?, database.decoy(&wanted)?);
            let hash = user.as_ref().map_or(decoy, |user| user.hash.clone());
            Ok::<_, AccountsError>((user, hash))
        };
        let (user, hash) = self.store.run(source, find).await?;
        let renews = Some(self.settings.password_cost);
        let checked = match self.passwords.check(hash.as_str(), password, source, renews).await {
            Ok(checked) => checked,
            Err(PasswordError::Busy(seconds)) => {
                return Err(LoginFault::Refused(LoginNotice::Busy(seconds)));
            }
            Err(_) => PasswordCheck { is_right: false, renewed: None },
        };
        let begun = match &user {
            Some(user) if checked.is_right && user.disabled.is_none() => {
                self.begin(visit, user.clone(), checked.renewed).await?
            }
            _ => None,
        };
        let refused = match &begun {
            None => Some(LoginNotice::Wrong),
            Some(LoginStep::Passkey) => Some(LoginNotice::PasskeyNeeded),
            Some(LoginStep::Session(_) | LoginStep::Code(_)) => None,
        };
        if let Some(notice) = refused {
            self.record_wrong(visit, user.as_ref(), notice.code());
        }
        Ok(begun)
    }

    /// Records a login with a wrong name, password or code. A name that nobody has may be a password, and is left out.
    pub(super) fn record_wrong(&self, visit: &SiteVisit, user: Option<&AccountUser>, reason: &str) {
        let event = AccountEvent::now(AccountAction::LoginRefused).because(reason);
        let event = user.into_iter().fold(event, |event, user| event.about(&user.id, &user.name));
        self.store.record(AccountEvent { peer: visit.peer, ..event });
    }

    async fn begin(
        &self,
        visit: &SiteVisit,
        user: AccountUser,
        renewed: Option<PasswordHash>,
    ) -> Result<Option<LoginStep>, AccountsError> {
        let (browser, settings) = (browser::described(&visit.headers), self.settings.clone());
        let (peer, former) = (visit.peer, self.cookies.session(&visit.headers));
        let remembered = self.cookies.remembered(&visit.headers);
        let work = move |database: &mut AccountDatabase| {
            database.seen_from(peer);
            let shown = (&*browser, remembered.as_ref());
            let begun = database.pass_password(&user, shown, &settings, now_ms())?;
            // The browser loses the secret of its former session, so that nobody could end it later.
            if let (Some(LoginStep::Session(_)), Some(former)) = (&begun, &former) {
                database.end_session(former)?;
            }
            if let (Some(_), Some(renewed)) = (&begun, &renewed) {
                database.renew_hash(&user.id, &user.hash, renewed)?;
            }
            Ok(begun)
        };
        self.store.run(visit.source(), work).await
    }
}

/// The reason why somebody is not let in.
pub(super) enum LoginFault {
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
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Wrong => "login-failed",
            Self::Paused(_) => "login-locked",
            Self::Busy(_) => "login-busy",
            Self::FormExpired => "form-expired",
            Self::PasskeyNeeded => "passkey-needed",
            Self::Provider(_) => "provider",
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Wrong | Self::PasskeyNeeded => StatusCode::FORBIDDEN,
            Self::Paused(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::FormExpired => StatusCode::BAD_REQUEST,
            Self::Provider(notice) => notice.status(),
        }
    }
}
