//! The page of the keys that a person has made for themselves.

use secrecy::SecretString;

use super::answers::{SiteAnswer, see_other};
use super::form_token::{self, FormPurpose};
use super::pages;
use super::pages::own_keys::{KeyNotice, OwnKeysForm, SCOPE};
use super::params::OauthParams;
use super::{AccountSite, SiteVisit};
use crate::database::AccountDatabase;
use crate::database::now_ms;
use crate::database::own_keys::{OwnKey, OwnKeyFault, OwnKeyTerms};
use crate::database::sessions::BrowserSession;
use crate::error::AccountsError;

/// The path of the page.
const PATH: &str = "/account/keys";

const DAY_MS: i64 = 86_400_000;

/// The longest lifetime that the page offers, in days.
const LONGEST_DAYS: i64 = 3_650;

/// The change that a person wants.
enum KeyChange {
    Make(OwnKeyTerms),
    End(String),
}

impl AccountSite {
    /// The page.
    pub(super) async fn own_keys_page(&self, visit: &SiteVisit) -> SiteAnswer {
        match self.session(visit).await {
            Ok(Some((session, secret))) => self.show_keys(visit, &session, &secret, KeyNotice::Nothing).await,
            Ok(None) => see_other("/login"),
            Err(error) => pages::unavailable(&error),
        }
    }

    /// Makes a key, or ends one.
    pub(super) async fn change_own_keys(&self, visit: &SiteVisit) -> SiteAnswer {
        let Ok(form) = OauthParams::of_form(visit) else { return pages::bad_form() };
        let (session, secret) = match self.session(visit).await {
            Ok(Some(found)) => found,
            Ok(None) => return see_other("/login"),
            Err(error) => return pages::unavailable(&error),
        };
        let is_genuine = form_token::is_genuine(self.store.forms(), FormPurpose::OwnKeys, &secret, "", &form);
        let Some(change) = self.wanted(&form).filter(|_| is_genuine) else { return pages::bad_form() };
        let (user, peer) = (session.user.id.clone(), visit.peer);
        let work = move |database: &mut AccountDatabase| {
            database.seen_from(peer);
            apply(database, &user, change)
        };
        match self.store.run(visit.source(), work).await {
            Ok(Some((key, text))) => {
                tracing::info!(user = session.user.id, key = key.id, "a person has made a key");
                self.show_keys(visit, &session, &secret, KeyNotice::Key(&key, &text)).await
            }
            Ok(None) => see_other(PATH),
            Err(OwnKeyFault::Store(error)) => pages::unavailable(&error),
            Err(fault) => self.show_keys(visit, &session, &secret, KeyNotice::Fault(&fault)).await,
        }
    }

    async fn show_keys(
        &self,
        visit: &SiteVisit,
        session: &BrowserSession,
        secret: &SecretString,
        shown: KeyNotice<'_>,
    ) -> SiteAnswer {
        let user = session.user.id.clone();
        let keys = self.store.run(visit.source(), move |database| database.keys_of(&user)).await;
        match keys {
            Ok(keys) => pages::own_keys::own_keys(&OwnKeysForm {
                token: &form_token::token(self.store.forms(), FormPurpose::OwnKeys, secret, ""),
                keys: &keys,
                scopes: &self.settings.scopes,
                shown,
            }),
            Err(error) => pages::unavailable(&error),
        }
    }

    /// The change in a form. None: it is not from the page.
    fn wanted(&self, form: &OauthParams) -> Option<KeyChange> {
        if let Some(id) = form.get("end") {
            return Some(KeyChange::End(id.to_owned()));
        }
        let expires = match form.get("days")? {
            "never" => None,
            days => {
                let days = days.parse().ok().filter(|days| (1..=LONGEST_DAYS).contains(days))?;
                Some(now_ms() + days * DAY_MS)
            }
        };
        let scopes: Vec<_> = form.names_after(SCOPE).map(str::to_owned).collect();
        let are_known = scopes.iter().all(|scope| self.settings.scopes.contains_key(scope));
        let name = form.get("name").unwrap_or_default().trim().to_owned();
        are_known.then_some(KeyChange::Make(OwnKeyTerms { name, scopes, expires }))
    }
}

fn apply(
    database: &mut AccountDatabase,
    user: &str,
    change: KeyChange,
) -> Result<Option<(OwnKey, SecretString)>, OwnKeyFault> {
    match change {
        KeyChange::Make(terms) => database.make_key(user, terms, now_ms()).map(Some),
        KeyChange::End(id) => {
            let ended: Result<_, AccountsError> = database.end_key(user, &id, now_ms());
            Ok(ended.map(|_| None)?)
        }
    }
}
