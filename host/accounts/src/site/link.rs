//! The page of a one-time link, with which somebody chooses a password. An unknown link, a used one and one that is too
//! old look the same.

use secrecy::{ExposeSecret as _, SecretString};

use super::answers::SiteAnswer;
use super::form_token::{self, FormPurpose};
use super::pages::notice::FormNotice;
use super::pages::password::{self as page, LinkForm};
use super::pages::{self, LoginNotice};
use super::params::OauthParams;
use super::password::PasswordRefusal;
use super::{AccountSite, LoginAttempt, SiteVisit};
use crate::database::users::AccountUser;
use crate::database::{AccountDatabase, now_ms};
use crate::event::{AccountAction, AccountEvent};

/// The parameter with the secret of a link.
const CODE: &str = "code";

impl AccountSite {
    /// The page, which changes nothing: programs that look at links in messages fetch it, too.
    pub(super) async fn link_page(&self, visit: &SiteVisit) -> SiteAnswer {
        let Ok(params) = OauthParams::parse(visit.query.as_bytes()) else { return page::bad_link() };
        let code = SecretString::from(params.get(CODE).unwrap_or_default());
        match self.linked_user(visit, &params).await {
            Ok(user) => self.link_form(visit, &user, &code, None),
            Err(answer) => *answer,
        }
    }

    fn link_form(
        &self,
        visit: &SiteVisit,
        user: &AccountUser,
        code: &SecretString,
        notice: Option<FormNotice>,
    ) -> SiteAnswer {
        let shown = code.expose_secret();
        self.with_browser(visit, |browser| {
            let token = form_token::token(self.store.forms(), FormPurpose::Link, browser, shown);
            page::by_link(&LinkForm { token: &token, code: shown, user: &user.name, notice })
        })
    }

    /// Gives the user of the link a password.
    pub(super) async fn use_link(&self, visit: &SiteVisit) -> SiteAnswer {
        let Ok(form) = OauthParams::of_form(visit) else { return pages::bad_form() };
        let user = match self.linked_user(visit, &form).await {
            Ok(user) => user,
            Err(answer) => return *answer,
        };
        let code = SecretString::from(form.get(CODE).unwrap_or_default());
        let shown = form.get(CODE).unwrap_or_default();
        let is_genuine = self.cookies.browser(&visit.headers).is_some_and(|secret| {
            form_token::is_genuine(self.store.forms(), FormPurpose::Link, &secret, shown, &form)
        });
        if !is_genuine {
            return self.link_form(visit, &user, &code, Some(FormNotice::of_login(LoginNotice::FormExpired)));
        }
        let used = match self.new_hash(visit, &form, &user.name, None).await {
            Ok(hash) => {
                let (code, peer) = (code.clone(), visit.peer);
                let work = move |database: &mut AccountDatabase| {
                    database.seen_from(peer);
                    database.use_link(&code, &hash, now_ms())
                };
                self.store.run(visit.source(), work).await.map_err(PasswordRefusal::from)
            }
            Err(refusal) => Err(refusal),
        };
        match used {
            Ok(Some(user)) => {
                let user = witgate_base::printable::clean(&user.name);
                tracing::info!(
                    user,
                    "a person has chosen a password by a link; their former logins have ended"
                );
                page::password_is_set()
            }
            Ok(None) => page::bad_link(),
            Err(PasswordRefusal::Notice(notice)) => self.link_form(visit, &user, &code, Some(notice)),
            Err(PasswordRefusal::Store(error)) => pages::unavailable(&error),
        }
    }

    /// The user of a link, or else the page that says that there is none.
    async fn linked_user(
        &self,
        visit: &SiteVisit,
        params: &OauthParams,
    ) -> Result<AccountUser, Box<SiteAnswer>> {
        let shown = params.get(CODE).unwrap_or_default();
        // Guesses count for the network alone: nobody can keep others from their links.
        let name = format!("links {:?}", visit.source());
        let attempt = LoginAttempt { peer: visit.peer, name: &name, browser: None };
        let ticket = self.guard.begin(attempt).map_err(|seconds| Box::new(page::link_paused(seconds)))?;
        let code = SecretString::from(shown);
        let find = move |database: &mut AccountDatabase| database.user_of_link(&code, now_ms());
        match self.store.run(visit.source(), find).await {
            Ok(Some(user)) => {
                ticket.succeed();
                Ok(user)
            }
            Ok(None) => {
                drop(ticket);
                self.note_bad_link(visit);
                Err(Box::new(page::bad_link()))
            }
            Err(error) => {
                ticket.withdraw();
                Err(Box::new(pages::unavailable(&error)))
            }
        }
    }

    fn note_bad_link(&self, visit: &SiteVisit) {
        let code = "link-unknown";
        if let Some(others) = self.lines.turn(code) {
            let peer = visit.peer.map(tracing::field::display);
            tracing::info!(code, peer, others, "a link was refused");
            let event = AccountEvent::now(AccountAction::LoginRefused).because(code);
            self.store.record(AccountEvent { others, peer: visit.peer, ..event });
        }
    }
}
