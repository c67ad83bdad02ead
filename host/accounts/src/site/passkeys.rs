//! The passkeys of an account: their list, a new one, and their removal. Both changes ask for the password.

use http::StatusCode;
use secrecy::SecretString;

use super::answers::{SiteAnswer, nothing_here, see_other};
use super::challenge::{self, PasskeyCeremony, challenge};
use super::form_token::FormPurpose;
use super::pages::notice::FormNotice;
use super::pages::passkey::{self as page, NewPasskeyForm, PasskeysForm, RemovalForm};
use super::pages::{self, LoginNotice};
use super::params::OauthParams;
use super::passkey_login::bytes_of;
use super::password::PasswordRefusal;
use super::{AccountSite, SiteVisit, paths};
use crate::database::passkeys::PasskeyRefusal;
use crate::database::sessions::BrowserSession;
use crate::database::{AccountDatabase, now_ms};
use crate::passkey::{NewPasskey, PasskeyFault, PasskeyServer};

impl AccountSite {
    /// The page.
    pub(super) async fn passkeys_page(&self, visit: &SiteVisit) -> SiteAnswer {
        match self.own_session(visit).await {
            Ok((session, secret)) => self.passkeys_form(visit, &session, &secret, None).await,
            Err(answer) => *answer,
        }
    }

    async fn passkeys_form(
        &self,
        visit: &SiteVisit,
        session: &BrowserSession,
        secret: &SecretString,
        notice: Option<FormNotice>,
    ) -> SiteAnswer {
        let user = session.user.id.clone();
        let find = move |database: &mut AccountDatabase| database.passkeys_of(&user);
        match self.store.run(visit.source(), find).await {
            Ok(passkeys) => page::list(&PasskeysForm {
                token: &self.token_of(FormPurpose::Passkeys, secret),
                user: &session.user.name,
                passkeys: &passkeys,
                now: now_ms(),
                notice,
            }),
            Err(error) => pages::unavailable(&error),
        }
    }

    /// Changes the passkeys.
    pub(super) async fn change_passkeys(&self, visit: &SiteVisit) -> SiteAnswer {
        let (form, session, secret) = match self.own_form(visit, FormPurpose::Passkeys).await {
            Ok(form) => form,
            Err(answer) => return *answer,
        };
        if form.get("remove").is_some() {
            return self.remove_passkey(visit, &form, &session, &secret).await;
        }
        if form.get("challenge").is_some() {
            return self.add_passkey(visit, &form, &session, &secret).await;
        }
        match self.confirm_password(visit, &form, &session.user).await {
            Ok(_) => self.new_passkey_form(visit, &form, &session, &secret).await,
            Err(PasswordRefusal::Store(error)) => pages::unavailable(&error),
            Err(PasswordRefusal::Notice(notice)) => {
                self.passkeys_form(visit, &session, &secret, Some(notice)).await
            }
        }
    }

    /// The page on which the browser makes a passkey. Its challenge is only for somebody who has shown the password.
    async fn new_passkey_form(
        &self,
        visit: &SiteVisit,
        form: &OauthParams,
        session: &BrowserSession,
        secret: &SecretString,
    ) -> SiteAnswer {
        let Some(host) = self.settings.passkey_host() else { return nothing_here() };
        let user = session.user.id.clone();
        let find = move |database: &mut AccountDatabase| database.passkeys_of(&user);
        let known = match self.store.run(visit.source(), find).await {
            Ok(known) => known,
            Err(error) => return pages::unavailable(&error),
        };
        let ceremony = PasskeyCeremony::Add(&session.user);
        match challenge(self.store.forms(), ceremony, secret, now_ms()) {
            Ok(challenge) => page::create(&NewPasskeyForm {
                token: &self.token_of(FormPurpose::Passkeys, secret),
                challenge: &challenge,
                host: &host,
                user: &session.user,
                name: form.get("name").unwrap_or_default(),
                known: &known,
            }),
            Err(error) => pages::unavailable(&error),
        }
    }

    /// Adds what the browser has made. Failures count as failed logins, so that nobody can fill the log with them.
    async fn add_passkey(
        &self,
        visit: &SiteVisit,
        form: &OauthParams,
        session: &BrowserSession,
        secret: &SecretString,
    ) -> SiteAnswer {
        let challenge = form.get("challenge").unwrap_or_default().to_owned();
        let ceremony = PasskeyCeremony::Add(&session.user);
        if !challenge::is_open(self.store.forms(), ceremony, secret, &challenge, now_ms()) {
            let notice = FormNotice::of_login(LoginNotice::FormExpired);
            return self.passkeys_form(visit, session, secret, Some(notice)).await;
        }
        let [id, key, data, client] =
            ["credential", "key", "data", "client"].map(|name| bytes_of(form, name));
        let algorithm = form.get("algorithm").and_then(|text| text.parse().ok()).unwrap_or_default();
        let name = form.get("name").unwrap_or_default().to_owned();
        let (origin, host) = (self.settings.issuer.clone(), self.settings.passkey_host().unwrap_or_default());
        let (user, peer) = (session.user.clone(), visit.peer);
        let work = move |database: &mut AccountDatabase| {
            database.seen_from(peer);
            let server = PasskeyServer { origin: &origin, host: &host };
            let new = NewPasskey { id: &id, algorithm, key: &key, data: &data, client: &client };
            database.add_passkey(&user, &name, (server, &challenge), &new, now_ms())
        };
        let ticket = match self.guard.begin(self.attempt(visit, &session.user.name)) {
            Ok(ticket) => ticket,
            Err(seconds) => {
                let notice = FormNotice::of_login(LoginNotice::Paused(seconds));
                return self.passkeys_form(visit, session, secret, Some(notice)).await;
            }
        };
        match self.store.run(visit.source(), work).await {
            Ok(()) => {
                ticket.succeed();
                let user = witgate_base::printable::clean(&session.user.name);
                tracing::info!(user, "a person has added a passkey");
                see_other(paths::PASSKEYS)
            }
            Err(PasskeyRefusal::Fault { fault, .. }) => {
                drop(ticket);
                self.note_bad_passkey(visit, Some(&session.user), fault);
                self.passkeys_form(visit, session, secret, Some(not_added(fault))).await
            }
            Err(PasskeyRefusal::Store(error)) => {
                ticket.withdraw();
                pages::unavailable(&error)
            }
        }
    }

    /// Removes a passkey of somebody who has shown their password. Without one, the page asks for it.
    async fn remove_passkey(
        &self,
        visit: &SiteVisit,
        form: &OauthParams,
        session: &BrowserSession,
        secret: &SecretString,
    ) -> SiteAnswer {
        let id = bytes_of(form, "remove");
        let notice = match form.get("current") {
            None => None,
            Some(_) => match self.confirm_password(visit, form, &session.user).await {
                Ok(_) => return self.removed(visit, session, id).await,
                Err(PasswordRefusal::Store(error)) => return pages::unavailable(&error),
                Err(PasswordRefusal::Notice(notice)) => Some(notice),
            },
        };
        let user = session.user.id.clone();
        let find = move |database: &mut AccountDatabase| database.passkeys_of(&user);
        let known = match self.store.run(visit.source(), find).await {
            Ok(known) => known,
            Err(error) => return pages::unavailable(&error),
        };
        let Some(passkey) = known.iter().find(|passkey| passkey.id == id) else {
            return see_other(paths::PASSKEYS);
        };
        let token = self.token_of(FormPurpose::Passkeys, secret);
        page::remove(&RemovalForm { token: &token, user: &session.user.name, passkey, notice })
    }

    async fn removed(&self, visit: &SiteVisit, session: &BrowserSession, id: Vec<u8>) -> SiteAnswer {
        let (user, peer) = (session.user.clone(), visit.peer);
        let work = move |database: &mut AccountDatabase| {
            database.seen_from(peer);
            database.remove_passkey(&user, &id)
        };
        match self.store.run(visit.source(), work).await {
            Ok(()) => see_other(paths::PASSKEYS),
            Err(error) => pages::unavailable(&error),
        }
    }
}

fn not_added(fault: PasskeyFault) -> FormNotice {
    let sentence = match fault.0 {
        "passkey-known" => "This passkey is known already.",
        "passkey-too-many" => "You have too many passkeys. Remove one first.",
        _ => "The passkey was not added. Try again, or use another device.",
    };
    FormNotice::general(StatusCode::BAD_REQUEST, sentence.to_owned())
}
