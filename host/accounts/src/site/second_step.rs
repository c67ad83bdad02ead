//! The second step of a login: a code of an authenticator app. Who needs a second factor and has none sets one up here.

use secrecy::{ExposeSecret as _, SecretString};

use super::answers::{SiteAnswer, see_other};
use super::form_token::{self, FormPurpose};
use super::pages::notice::FormNotice;
use super::pages::second_factor::{self as page, CodeForm, SetUpForm};
use super::pages::{self, LoginNotice};
use super::params::OauthParams;
use super::{AccountSite, LoginAttempt, SiteVisit, browser, paths};
use crate::database::begun_logins::{BegunLogin, SecondStep};
use crate::database::{AccountDatabase, now_ms};
use crate::error::AccountsError;
use crate::meters::LoginOutcome;
use crate::totp::TotpSecret;

impl AccountSite {
    /// The page, before the request of a client that has this query.
    pub(super) async fn code_page(&self, visit: &SiteVisit) -> SiteAnswer {
        let Some(login) = self.cookies.login(&visit.headers) else {
            return self.login_form(visit, &visit.query, None);
        };
        self.code_form(visit, &login, &visit.query, None).await
    }

    async fn code_form(
        &self,
        visit: &SiteVisit,
        login: &SecretString,
        next: &str,
        notice: Option<FormNotice>,
    ) -> SiteAnswer {
        let secret = login.clone();
        let find = move |database: &mut AccountDatabase| {
            let now = now_ms();
            let Some(login) = database.begun_login(&secret, now)? else { return Ok(None) };
            let offered = match login.has_factor {
                true => None,
                false => database.offered_authenticator(&secret, &login.user.id, now)?,
            };
            Ok::<_, AccountsError>(Some((login, offered)))
        };
        let token = form_token::token(self.store.forms(), FormPurpose::Code, login, next);
        match self.store.run(visit.source(), find).await {
            Ok(Some((BegunLogin { has_factor: true, .. }, _))) => {
                let remembers = self.remembers_browsers().then_some(self.settings.second_factor_remembered);
                page::code(CodeForm { token: &token, next, remembers, notice })
            }
            Ok(Some((BegunLogin { user, .. }, Some(secret)))) => {
                self.set_up_form(paths::CODE, &token, next, (&secret, &user.name), notice)
            }
            Ok(_) => self.login_form(visit, next, Some(LoginNotice::FormExpired)),
            Err(error) => pages::unavailable(&error),
        }
    }

    /// The form that shows a secret for an app.
    pub(super) fn set_up_form(
        &self,
        action: &str,
        token: &str,
        next: &str,
        (secret, user): (&TotpSecret, &str),
        notice: Option<FormNotice>,
    ) -> SiteAnswer {
        let (text, address) = (secret.text(), secret.address(&self.settings.host(), user));
        page::set_up(SetUpForm { action, token, next, secret: &text, address: address.as_ref(), notice })
    }

    /// Takes the code, and begins the session.
    pub(super) async fn take_code(&self, visit: &SiteVisit) -> SiteAnswer {
        let Ok(form) = OauthParams::of_form(visit) else { return pages::bad_form() };
        let next = form.get("next").unwrap_or_default();
        let login = self.cookies.login(&visit.headers).filter(|secret| {
            form_token::is_genuine(self.store.forms(), FormPurpose::Code, secret, next, &form)
        });
        let Some(login) = login else { return self.login_form(visit, next, Some(LoginNotice::FormExpired)) };
        let begun = {
            let secret = login.clone();
            let find = move |database: &mut AccountDatabase| database.begun_login(&secret, now_ms());
            self.store.run(visit.source(), find).await
        };
        let user = match begun {
            Ok(Some(begun)) => begun.user,
            Ok(None) => return self.login_form(visit, next, Some(LoginNotice::FormExpired)),
            Err(error) => return pages::unavailable(&error),
        };
        let code = form.get("code").unwrap_or_default();
        let remembers = form.get("remember") == Some("yes") && self.remembers_browsers();
        let attempt = self.attempt(visit, &user.name);
        let notice = match self.judge_code(visit, attempt, &login, (code, remembers)).await {
            Ok(SecondStep::Done { session, codes, remembered }) => {
                let mut answer = self.logged_in(attempt, &session, &codes, next);
                if let Some(secret) = remembered {
                    let time = self.settings.second_factor_remembered;
                    self.cookies.set_remembered(&mut answer, &secret, time);
                }
                return answer;
            }
            Ok(SecondStep::Over) => {
                return self.login_form(visit, next, Some(LoginNotice::FormExpired));
            }
            Ok(SecondStep::Wrong) => {
                self.record_wrong(visit, Some(&user), "second-factor-failed");
                FormNotice::wrong_code()
            }
            Ok(SecondStep::Paused(seconds)) => FormNotice::of_login(LoginNotice::Paused(seconds)),
            Err(error) => return pages::unavailable(&error),
        };
        if let Some(others) = self.lines.turn("second-factor-failed") {
            let peer = visit.peer.map(tracing::field::display);
            tracing::info!(code = "second-factor-failed", peer, others, "a login was refused");
        }
        self.code_form(visit, &login, next, Some(notice)).await
    }

    /// True if a browser need not show a code for some time, if its user wants that.
    fn remembers_browsers(&self) -> bool {
        !self.settings.second_factor_remembered.is_zero()
    }

    /// Judges a code, as an attempt to log in.
    async fn judge_code(
        &self,
        visit: &SiteVisit,
        attempt: LoginAttempt<'_>,
        login: &SecretString,
        code: (&str, bool),
    ) -> Result<SecondStep, AccountsError> {
        let meters = self.store.meters();
        let ticket = match self.guard.begin(attempt) {
            Ok(ticket) => ticket,
            Err(seconds) => {
                meters.login(LoginOutcome::Paused);
                return Ok(SecondStep::Paused(seconds));
            }
        };
        let step = self.pass_code(visit, login, code).await;
        match &step {
            Ok(SecondStep::Done { .. }) => ticket.succeed(),
            Ok(SecondStep::Wrong) => drop(ticket),
            Ok(SecondStep::Paused(_) | SecondStep::Over) | Err(_) => ticket.withdraw(),
        }
        meters.login(match &step {
            Ok(SecondStep::Done { .. }) => LoginOutcome::Right,
            Ok(SecondStep::Wrong | SecondStep::Over) => LoginOutcome::Wrong,
            Ok(SecondStep::Paused(_)) => LoginOutcome::Paused,
            Err(_) => LoginOutcome::Unavailable,
        });
        step
    }

    async fn pass_code(
        &self,
        visit: &SiteVisit,
        login: &SecretString,
        (code, remembers): (&str, bool),
    ) -> Result<SecondStep, AccountsError> {
        let (login, code) = (login.clone(), SecretString::from(code));
        let (browser, former) = (browser::described(&visit.headers), self.cookies.session(&visit.headers));
        let peer = visit.peer;
        let work = move |database: &mut AccountDatabase| {
            database.seen_from(peer);
            let step = database.pass_code(&login, code.expose_secret(), (&browser, remembers), now_ms())?;
            if let (SecondStep::Done { .. }, Some(former)) = (&step, &former) {
                database.end_session(former)?;
            }
            Ok(step)
        };
        self.store.run(visit.source(), work).await
    }

    fn logged_in(
        &self,
        attempt: LoginAttempt<'_>,
        session: &SecretString,
        codes: &[SecretString],
        next: &str,
    ) -> SiteAnswer {
        tracing::info!(user = witgate_base::printable::clean(attempt.name), "a person has logged in");
        let place = paths::after_login(next);
        let mut answer = match codes {
            [] => see_other(&place),
            codes => page::recovery_codes(codes, &place),
        };
        self.begin_in_browser(&mut answer, session, attempt);
        self.cookies.end_login(&mut answer);
        answer
    }
}
