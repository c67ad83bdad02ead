//! The page of the keys that a person has made for themselves.

use secrecy::SecretString;
use witgate_basic::hash::PasswordHash;

use super::answers::{SiteAnswer, see_other};
use super::form_token::FormPurpose;
use super::pages;
use super::pages::own_keys::{KeyNotice, OwnKeysForm, SCOPE};
use super::params::OauthParams;
use super::password::PasswordRefusal;
use super::{AccountSite, SiteVisit};
use crate::database::AccountDatabase;
use crate::database::now_ms;
use crate::database::own_keys::{KeyOrigin, OwnKey, OwnKeyFault, OwnKeyTerms};
use crate::database::sessions::BrowserSession;
use crate::database::users::AccountUser;
use crate::error::AccountsError;
use crate::login_method::LoginMethod;

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
        match self.own_session(visit).await {
            Ok((session, secret)) => self.show_keys(visit, &session, &secret, KeyNotice::Nothing).await,
            Err(answer) => *answer,
        }
    }

    /// Makes a key, or ends one.
    pub(super) async fn change_own_keys(&self, visit: &SiteVisit) -> SiteAnswer {
        let (form, session, secret) = match self.own_form(visit, FormPurpose::OwnKeys).await {
            Ok(form) => form,
            Err(answer) => return *answer,
        };
        let Some(change) = self.wanted(&form) else { return pages::bad_form() };
        match self.confirmed(visit, &form, &session.user, &change).await {
            Ok(()) => {}
            Err(PasswordRefusal::Store(error)) => return pages::unavailable(&error),
            Err(PasswordRefusal::Notice(notice)) => {
                return self.show_keys(visit, &session, &secret, KeyNotice::Password(&notice)).await;
            }
        }
        let (user, method, peer) = (session.user.id.clone(), session.method, visit.peer);
        let work = move |database: &mut AccountDatabase| {
            database.seen_from(peer);
            apply(database, &user, change, method)
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

    /// Checks the password for a new key, so that who finds an open browser cannot keep the access for themselves.
    async fn confirmed(
        &self,
        visit: &SiteVisit,
        form: &OauthParams,
        user: &AccountUser,
        change: &KeyChange,
    ) -> Result<(), PasswordRefusal> {
        match change {
            KeyChange::Make(_) if has_password(user) => {
                self.confirm_password(visit, form, user).await.map(drop)
            }
            _ => Ok(()),
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
                token: &self.token_of(FormPurpose::OwnKeys, secret),
                keys: &keys,
                scopes: &self.settings.scopes,
                asks_password: has_password(&session.user),
                needs_second_factor: self.settings.second_factor.is_for(&session.user.roles),
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

/// True if the user has a password. Who logs in through a provider may have none.
fn has_password(user: &AccountUser) -> bool {
    user.hash != PasswordHash::nobody()
}

fn apply(
    database: &mut AccountDatabase,
    user: &str,
    change: KeyChange,
    method: LoginMethod,
) -> Result<Option<(OwnKey, SecretString)>, OwnKeyFault> {
    match change {
        KeyChange::Make(terms) => {
            database.make_key(user, terms, KeyOrigin::Owner(method), now_ms()).map(Some)
        }
        KeyChange::End(id) => {
            let ended: Result<_, AccountsError> = database.end_key(user, &id, now_ms());
            Ok(ended.map(|_| None)?)
        }
    }
}
