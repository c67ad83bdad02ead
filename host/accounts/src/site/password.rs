//! New passwords: on the page of an account, which asks for the former one.

use http::StatusCode;
use secrecy::SecretString;
use witgate_basic::credential::composed_password;
use witgate_basic::hash::PasswordHash;
use witgate_plugin::PasswordError;
use zeroize::Zeroizing;

use super::answers::{SiteAnswer, see_other};
use super::browser;
use super::form_token::FormPurpose;
use super::login::LoginFault;
use super::pages::notice::FormNotice;
use super::pages::password::{self as page, PasswordForm};
use super::pages::{self, LoginNotice};
use super::params::OauthParams;
use super::{AccountSite, SiteVisit};
use crate::database::sessions::{BrowserSession, SessionStart};
use crate::database::users::AccountUser;
use crate::database::{AccountDatabase, now_ms};
use crate::error::AccountsError;
use witgate_config::user_store::{NewPassword, password_fault};

impl AccountSite {
    /// The page.
    pub(super) async fn password_page(&self, visit: &SiteVisit) -> SiteAnswer {
        match self.own_session(visit).await {
            Ok((session, secret)) => self.password_form(&session, &secret, None),
            Err(answer) => *answer,
        }
    }

    fn password_form(
        &self,
        session: &BrowserSession,
        secret: &SecretString,
        notice: Option<FormNotice>,
    ) -> SiteAnswer {
        let token = self.token_of(FormPurpose::Password, secret);
        page::change(&PasswordForm { token: &token, user: &session.user.name, notice })
    }

    /// Gives the person another password. Their other browsers are logged out, and the access of all programs ends.
    pub(super) async fn change_own_password(&self, visit: &SiteVisit) -> SiteAnswer {
        let (form, session, secret) = match self.own_form(visit, FormPurpose::Password).await {
            Ok(form) => form,
            Err(answer) => return *answer,
        };
        match self.changed_password(visit, &form, &session).await {
            Ok(Some(secret)) => {
                let mut answer = see_other("/account?changed=password");
                self.cookies.set_session(&mut answer, &secret);
                answer
            }
            Ok(None) => see_other("/login"),
            Err(PasswordRefusal::Store(error)) => pages::unavailable(&error),
            Err(PasswordRefusal::Notice(notice)) => self.password_form(&session, &secret, Some(notice)),
        }
    }

    /// The secret of a new session. None: the former one is over.
    async fn changed_password(
        &self,
        visit: &SiteVisit,
        form: &OauthParams,
        session: &BrowserSession,
    ) -> Result<Option<SecretString>, PasswordRefusal> {
        let current = self.confirm_password(visit, form, &session.user).await?;
        let hash = self.new_hash(visit, form, &session.user.name, Some(&current)).await?;
        let start = SessionStart::here(session.method, &browser::described(&visit.headers));
        let (user, peer) = (session.user.clone(), visit.peer);
        let work = move |database: &mut AccountDatabase| {
            database.seen_from(peer);
            match database.change_password(&user, &hash)? {
                Some(user) => database.begin_session(&user, &start, now_ms()),
                None => Ok(None),
            }
        };
        let secret = self.store.run(visit.source(), work).await?;
        let user = witgate_base::printable::clean(&session.user.name);
        tracing::info!(user, "a person has changed their password; their other logins have ended");
        Ok(secret)
    }

    /// The hash of the new password in a form.
    pub(super) async fn new_hash(
        &self,
        visit: &SiteVisit,
        form: &OauthParams,
        user: &str,
        former: Option<&str>,
    ) -> Result<PasswordHash, PasswordRefusal> {
        let text = composed_password(form.get("new").unwrap_or_default());
        let refused = |sentence: String, field| {
            Err(PasswordRefusal::Notice(FormNotice::about(StatusCode::BAD_REQUEST, sentence, field)))
        };
        if text != composed_password(form.get("again").unwrap_or_default()) {
            return refused("The two new passwords are different.".to_owned(), "again");
        }
        if former == Some(&*text) {
            return refused("This is your present password. Choose another one.".to_owned(), "new");
        }
        let new = NewPassword { user, services: &self.settings.service_names, text: &text };
        if let Some(fault) = password_fault(new, false) {
            return refused(format!("This is not possible: {fault}. Choose another one."), "new");
        }
        let hash = self.passwords.hash(&text, self.settings.password_cost, visit.source()).await;
        hash.map_err(|error| {
            let seconds = if let PasswordError::Busy(seconds) = error { seconds } else { 2 };
            PasswordRefusal::Notice(FormNotice::of_login(LoginNotice::Busy(seconds)))
        })
    }

    /// The present password of somebody who is logged in, which a form has to contain.
    pub(super) async fn confirm_password(
        &self,
        visit: &SiteVisit,
        form: &OauthParams,
        user: &AccountUser,
    ) -> Result<Zeroizing<String>, PasswordRefusal> {
        let current = composed_password(form.get("current").unwrap_or_default());
        self.check_password(visit, user, &current).await?;
        Ok(current)
    }

    /// Checks the password of somebody who is logged in. Wrong ones count like failed logins.
    async fn check_password(
        &self,
        visit: &SiteVisit,
        user: &AccountUser,
        password: &str,
    ) -> Result<(), LoginFault> {
        let ticket = self.guard.begin(self.attempt(visit, &user.name));
        let ticket = ticket.map_err(|seconds| LoginFault::Refused(LoginNotice::Paused(seconds)))?;
        match self.passwords.check(user.hash.as_str(), password, visit.source(), None).await {
            Ok(checked) if checked.is_right => {
                ticket.succeed();
                Ok(())
            }
            Err(PasswordError::Busy(seconds)) => {
                ticket.withdraw();
                Err(LoginFault::Refused(LoginNotice::Busy(seconds)))
            }
            Ok(_) | Err(_) => {
                drop(ticket);
                self.record_wrong(visit, Some(user), LoginNotice::Wrong.code());
                Err(LoginFault::Refused(LoginNotice::Wrong))
            }
        }
    }
}

/// The reason why a password is not changed.
pub(super) enum PasswordRefusal {
    Notice(FormNotice),
    Store(AccountsError),
}

impl From<AccountsError> for PasswordRefusal {
    fn from(error: AccountsError) -> Self {
        LoginFault::from(error).into()
    }
}

impl From<LoginFault> for PasswordRefusal {
    fn from(fault: LoginFault) -> Self {
        match fault {
            LoginFault::Refused(notice) => Self::Notice(FormNotice::of_login(notice)),
            LoginFault::Store(error) => Self::Store(error),
        }
    }
}
