//! The page of an account: who is logged in, in which browsers, and which clients have access; and the logout.

use secrecy::SecretString;

use super::answers::{SiteAnswer, see_other};
use super::form_token::{self, FormPurpose};
use super::pages;
use super::pages::account::{self as page, AccountContent, AccountForm, Changed};
use super::params::OauthParams;
use super::{AccountSite, SiteVisit};
use crate::database::grants::id_of;
use crate::database::sessions::{BrowserSession, handle_of};
use crate::database::{AccountDatabase, now_ms};
use crate::error::AccountsError;

impl AccountSite {
    /// The page.
    pub(super) async fn account_page(&self, visit: &SiteVisit) -> SiteAnswer {
        let (session, secret) = match self.own_session(visit).await {
            Ok(found) => found,
            Err(answer) => return *answer,
        };
        let (user, settings) = (session.user.id.clone(), self.settings.clone());
        let read = move |database: &mut AccountDatabase| {
            let now = now_ms();
            Ok::<_, AccountsError>(AccountContent {
                grants: database.live_grants_of(&user, &settings, now)?,
                sessions: database.sessions_of(&user, &settings, now)?,
                factor: database.authenticator_of(&user)?,
                keys: database.keys_of(&user)?.len(),
                now,
            })
        };
        match self.store.run(visit.source(), read).await {
            Ok(content) => page::account(&AccountForm {
                token: &self.token_of(FormPurpose::Account, &secret),
                logout: &self.token_of(FormPurpose::Logout, &secret),
                user: &session.user,
                own: handle_of(&secret),
                content: &content,
                changed: Changed::of_query(&visit.query),
                has_passkeys: self.settings.passkey_host().is_some(),
            }),
            Err(error) => pages::unavailable(&error),
        }
    }

    /// Ends the access of a client, or the session of another browser.
    pub(super) async fn change_account(&self, visit: &SiteVisit) -> SiteAnswer {
        let (form, session, _) = match self.own_form(visit, FormPurpose::Account).await {
            Ok(form) => form,
            Err(answer) => return *answer,
        };
        let (user, peer) = (session.user, visit.peer);
        let ended = match (form.get("grant").and_then(id_of), form.get("session").and_then(id_of)) {
            (Some(grant), None) => {
                let end = move |database: &mut AccountDatabase| {
                    database.seen_from(peer);
                    database.end_grant(&user.id, grant, "ended").map(drop)
                };
                self.store.run(visit.source(), end).await
            }
            (None, Some(handle)) => {
                let end = move |database: &mut AccountDatabase| {
                    database.seen_from(peer);
                    database.end_session_of(&user, handle)
                };
                self.store.run(visit.source(), end).await
            }
            _ => return pages::bad_form(),
        };
        match ended {
            Ok(()) => see_other("/account"),
            Err(error) => pages::unavailable(&error),
        }
    }

    /// The session of somebody who is logged in, with its secret; or else the answer.
    pub(super) async fn own_session(
        &self,
        visit: &SiteVisit,
    ) -> Result<(BrowserSession, SecretString), Box<SiteAnswer>> {
        match self.session(visit).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(Box::new(see_other("/login"))),
            Err(error) => Err(Box::new(pages::unavailable(&error))),
        }
    }

    /// The form of somebody who is logged in, with their session and its secret; or else the answer.
    pub(super) async fn own_form(
        &self,
        visit: &SiteVisit,
        purpose: FormPurpose,
    ) -> Result<(OauthParams, BrowserSession, SecretString), Box<SiteAnswer>> {
        let Ok(form) = OauthParams::of_form(visit) else { return Err(Box::new(pages::bad_form())) };
        let (session, secret) = self.own_session(visit).await?;
        match form_token::is_genuine(self.store.forms(), purpose, &secret, "", &form) {
            true => Ok((form, session, secret)),
            false => Err(Box::new(pages::bad_form())),
        }
    }

    /// The page that asks whether to log out.
    pub(super) async fn logout_page(&self, visit: &SiteVisit) -> SiteAnswer {
        match self.session(visit).await {
            Ok(Some((session, secret))) => {
                page::logout(&self.token_of(FormPurpose::Logout, &secret), &session.user.name)
            }
            Ok(None) => page::logged_out(),
            Err(error) => pages::unavailable(&error),
        }
    }

    /// Ends the session, and the access of all clients if the person wants that.
    pub(super) async fn log_out(&self, visit: &SiteVisit) -> SiteAnswer {
        let Ok(form) = OauthParams::of_form(visit) else { return pages::bad_form() };
        let (session, secret) = match self.session(visit).await {
            Ok(Some(found)) => found,
            Ok(None) => return page::logged_out(),
            Err(error) => return pages::unavailable(&error),
        };
        if !form_token::is_genuine(self.store.forms(), FormPurpose::Logout, &secret, "", &form) {
            return page::logout(&self.token_of(FormPurpose::Logout, &secret), &session.user.name);
        }
        let (user, ends_all, peer) = (session.user.id, form.get("everywhere").is_some(), visit.peer);
        let work = move |database: &mut AccountDatabase| {
            database.seen_from(peer);
            end(database, &user, &secret, ends_all)
        };
        match self.store.run(visit.source(), work).await {
            Ok(()) => {
                let mut answer = page::logged_out();
                self.cookies.end_session(&mut answer);
                answer
            }
            Err(error) => pages::unavailable(&error),
        }
    }

    pub(super) fn token_of(&self, purpose: FormPurpose, secret: &SecretString) -> String {
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
