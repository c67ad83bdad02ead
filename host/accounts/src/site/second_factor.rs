//! The second factor on the page of an account: its set-up, new recovery codes, and its removal. Each asks for the
//! password again.

use http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};

use super::answers::{SiteAnswer, see_other};
use super::form_token::FormPurpose;
use super::pages;
use super::pages::notice::FormNotice;
use super::pages::second_factor::{self as page, FactorForm};
use super::password::PasswordRefusal;
use super::{AccountSite, SiteVisit, paths};
use crate::database::sessions::BrowserSession;
use crate::database::{AccountDatabase, now_ms};
use crate::error::AccountsError;

impl AccountSite {
    /// The page.
    pub(super) async fn factor_page(&self, visit: &SiteVisit) -> SiteAnswer {
        match self.own_session(visit).await {
            Ok((session, secret)) => self.factor_form(visit, &session, &secret, None).await,
            Err(answer) => *answer,
        }
    }

    async fn factor_form(
        &self,
        visit: &SiteVisit,
        session: &BrowserSession,
        secret: &SecretString,
        notice: Option<FormNotice>,
    ) -> SiteAnswer {
        let user = session.user.id.clone();
        let find = move |database: &mut AccountDatabase| database.authenticator_of(&user);
        match self.store.run(visit.source(), find).await {
            Ok(factor) => page::factor(FactorForm {
                token: &self.token_of(FormPurpose::SecondFactor, secret),
                user: &session.user.name,
                factor,
                is_required: self.settings.second_factor.is_for(&session.user.roles),
                notice,
            }),
            Err(error) => pages::unavailable(&error),
        }
    }

    /// Changes the second factor.
    pub(super) async fn change_factor(&self, visit: &SiteVisit) -> SiteAnswer {
        let (form, session, secret) = match self.own_form(visit, FormPurpose::SecondFactor).await {
            Ok(form) => form,
            Err(answer) => return *answer,
        };
        if let Some(code) = form.get("code") {
            return self.confirm_factor(visit, &session, &secret, code).await;
        }
        match self.confirm_password(visit, &form, &session.user).await {
            Ok(_) => {}
            Err(PasswordRefusal::Store(error)) => return pages::unavailable(&error),
            Err(PasswordRefusal::Notice(notice)) => {
                return self.factor_form(visit, &session, &secret, Some(notice)).await;
            }
        }
        match form.get("action") {
            Some("set-up") => self.offer_factor(visit, &session, &secret).await,
            Some("codes") => self.renew_codes(visit, &session).await,
            Some("remove") => self.remove_factor(visit, &session, &secret).await,
            _ => pages::bad_form(),
        }
    }

    /// Shows a secret for an app.
    async fn offer_factor(
        &self,
        visit: &SiteVisit,
        session: &BrowserSession,
        secret: &SecretString,
    ) -> SiteAnswer {
        let (owner, user) = (secret.clone(), session.user.id.clone());
        let offer =
            move |database: &mut AccountDatabase| database.offer_authenticator(&owner, &user, now_ms());
        match self.store.run(visit.source(), offer).await {
            Ok(offered) => {
                let token = self.token_of(FormPurpose::SecondFactor, secret);
                self.set_up_form(paths::SECOND_FACTOR, &token, "", (&offered, &session.user.name), None)
            }
            Err(error) => pages::unavailable(&error),
        }
    }

    /// Sets up the secret that the page has shown.
    async fn confirm_factor(
        &self,
        visit: &SiteVisit,
        session: &BrowserSession,
        secret: &SecretString,
        code: &str,
    ) -> SiteAnswer {
        let (owner, user, code) = (secret.clone(), session.user.clone(), SecretString::from(code));
        let peer = visit.peer;
        let work = move |database: &mut AccountDatabase| {
            let now = now_ms();
            database.seen_from(peer);
            let confirmed = database.confirm_authenticator(&owner, &user, code.expose_secret(), now)?;
            Ok::<_, AccountsError>(match confirmed {
                Some(codes) => Ok(codes),
                None => Err(database.offered_authenticator(&owner, &user.id, now)?),
            })
        };
        match self.store.run(visit.source(), work).await {
            Ok(Ok(codes)) => {
                let user = witgate_base::printable::clean(&session.user.name);
                tracing::info!(user, "a person has set up a second factor");
                page::recovery_codes(&codes, "/account?changed=factor")
            }
            Ok(Err(Some(offered))) => {
                let token = self.token_of(FormPurpose::SecondFactor, secret);
                let notice = Some(FormNotice::wrong_code());
                self.set_up_form(paths::SECOND_FACTOR, &token, "", (&offered, &session.user.name), notice)
            }
            Ok(Err(None)) => see_other(paths::SECOND_FACTOR),
            Err(error) => pages::unavailable(&error),
        }
    }

    async fn renew_codes(&self, visit: &SiteVisit, session: &BrowserSession) -> SiteAnswer {
        let (user, peer) = (session.user.clone(), visit.peer);
        let work = move |database: &mut AccountDatabase| {
            database.seen_from(peer);
            database.renew_recovery_codes(&user)
        };
        match self.store.run(visit.source(), work).await {
            Ok(Some(codes)) => page::recovery_codes(&codes, "/account?changed=codes"),
            Ok(None) => see_other(paths::SECOND_FACTOR),
            Err(error) => pages::unavailable(&error),
        }
    }

    async fn remove_factor(
        &self,
        visit: &SiteVisit,
        session: &BrowserSession,
        secret: &SecretString,
    ) -> SiteAnswer {
        if self.settings.second_factor.is_for(&session.user.roles) {
            let sentence =
                "This server requires a second factor. You can use another app instead.".to_owned();
            let notice = FormNotice::general(StatusCode::FORBIDDEN, sentence);
            return self.factor_form(visit, session, secret, Some(notice)).await;
        }
        let (user, peer) = (session.user.id.clone(), visit.peer);
        let work = move |database: &mut AccountDatabase| {
            database.seen_from(peer);
            database.remove_authenticator(&user)
        };
        match self.store.run(visit.source(), work).await {
            Ok(_) => {
                let user = witgate_base::printable::clean(&session.user.name);
                tracing::info!(user, "a person has removed their second factor");
                see_other("/account?changed=no-factor")
            }
            Err(error) => pages::unavailable(&error),
        }
    }
}
