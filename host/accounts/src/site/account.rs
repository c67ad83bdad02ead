//! The page of an account: who is logged in, and which clients have access; and the logout.

use secrecy::SecretString;

use super::answers::{SiteAnswer, see_other};
use super::form_token::{self, FormPurpose};
use super::pages::{self, AccountForm};
use super::params::OauthParams;
use super::{AccountSite, SiteVisit};
use crate::database::grants::id_of;
use crate::database::{AccountDatabase, now_ms};
use crate::error::AccountsError;

impl AccountSite {
    /// The page.
    pub(super) async fn account_page(&self, visit: &SiteVisit) -> SiteAnswer {
        let (session, secret) = match self.session(visit).await {
            Ok(Some(found)) => found,
            Ok(None) => return see_other("/login"),
            Err(error) => return pages::unavailable(&error),
        };
        let user = session.user.id.clone();
        let settings = self.settings.clone();
        let grants =
            move |database: &mut AccountDatabase| database.live_grants_of(&user, &settings, now_ms());
        match self.store.run(visit.source(), grants).await {
            Ok(grants) => pages::account(&AccountForm {
                token: &self.token_of(FormPurpose::Account, &secret),
                logout: &self.token_of(FormPurpose::Logout, &secret),
                user: &session.user,
                grants: &grants,
            }),
            Err(error) => pages::unavailable(&error),
        }
    }

    /// Ends the access of a client.
    pub(super) async fn change_account(&self, visit: &SiteVisit) -> SiteAnswer {
        let Ok(form) = OauthParams::of_form(visit) else { return pages::bad_form() };
        let (session, secret) = match self.session(visit).await {
            Ok(Some(found)) => found,
            Ok(None) => return see_other("/login"),
            Err(error) => return pages::unavailable(&error),
        };
        let is_genuine = form_token::is_genuine(self.store.forms(), FormPurpose::Account, &secret, "", &form);
        let grant = form.get("grant").and_then(id_of).filter(|_| is_genuine);
        let Some(grant) = grant else { return pages::bad_form() };
        let user = session.user.id;
        let ended = self.store.run(visit.source(), move |database| database.end_grant(&user, grant, "ended"));
        match ended.await {
            Ok(_) => see_other("/account"),
            Err(error) => pages::unavailable(&error),
        }
    }

    /// The page that asks whether to log out.
    pub(super) async fn logout_page(&self, visit: &SiteVisit) -> SiteAnswer {
        match self.session(visit).await {
            Ok(Some((session, secret))) => {
                pages::logout(&self.token_of(FormPurpose::Logout, &secret), &session.user.name)
            }
            Ok(None) => pages::logged_out(),
            Err(error) => pages::unavailable(&error),
        }
    }

    /// Ends the session, and the access of all clients if the person wants that.
    pub(super) async fn log_out(&self, visit: &SiteVisit) -> SiteAnswer {
        let Ok(form) = OauthParams::of_form(visit) else { return pages::bad_form() };
        let (session, secret) = match self.session(visit).await {
            Ok(Some(found)) => found,
            Ok(None) => return pages::logged_out(),
            Err(error) => return pages::unavailable(&error),
        };
        if !form_token::is_genuine(self.store.forms(), FormPurpose::Logout, &secret, "", &form) {
            return pages::logout(&self.token_of(FormPurpose::Logout, &secret), &session.user.name);
        }
        let (user, ends_all) = (session.user.id, form.get("everywhere").is_some());
        let work = move |database: &mut AccountDatabase| end(database, &user, &secret, ends_all);
        match self.store.run(visit.source(), work).await {
            Ok(()) => {
                let mut answer = pages::logged_out();
                self.cookies.end_session(&mut answer);
                answer
            }
            Err(error) => pages::unavailable(&error),
        }
    }

    fn token_of(&self, purpose: FormPurpose, secret: &SecretString) -> String {
        form_token::token(self.store.forms(), purpose, secret, "")
    }
}

fn end(
    database: &mut AccountDatabase,
    user: &str,
    secret: &SecretString,
    ends_all: bool,
) -> Result<(), AccountsError> {
    database.end_session(secret)?;
    if ends_all {
        database.end_logins(user, "logged-out")?;
    }
    Ok(())
}
