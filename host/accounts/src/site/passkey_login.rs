//! The login with a passkey alone. The browser asks the person for it, by the script of this page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use secrecy::SecretString;

use super::answers::{SiteAnswer, see_other};
use super::challenge::{self, PasskeyCeremony, challenge};
use super::form_token::{self, FormPurpose};
use super::pages::notice::FormNotice;
use super::pages::passkey::{self as page, PasskeyLoginForm};
use super::pages::{self, LoginNotice};
use super::params::OauthParams;
use super::{AccountSite, LoginAttempt, SiteVisit, browser, paths};
use crate::database::passkeys::PasskeyRefusal;
use crate::database::users::AccountUser;
use crate::database::{AccountDatabase, now_ms};
use crate::error::AccountsError;
use crate::meters::LoginOutcome;
use crate::passkey::{PasskeyAnswer, PasskeyFault, PasskeyServer};

/// The bytes of a field in base 64.
pub(super) fn bytes_of(form: &OauthParams, name: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(form.get(name).unwrap_or_default()).unwrap_or_default()
}

impl AccountSite {
    /// The page, before the request of a client that has this query.
    pub(super) fn passkey_page(&self, visit: &SiteVisit) -> SiteAnswer {
        self.passkey_form(visit, &visit.query, None)
    }

    /// The page for somebody whose password is not enough. Where there are no passkeys at the host, nobody can show theirs.
    pub(super) fn ask_for_passkey(&self, visit: &SiteVisit, next: &str) -> SiteAnswer {
        let notice = LoginNotice::PasskeyNeeded;
        if let Some(others) = self.lines.turn(notice.code()) {
            let peer = visit.peer.map(tracing::field::display);
            tracing::info!(code = notice.code(), peer, others, "a login was refused");
        }
        match self.settings.passkey_host() {
            Some(_) => self.passkey_form(visit, next, Some(FormNotice::of_login(notice))),
            None => self.login_form(visit, next, Some(notice)),
        }
    }

    fn passkey_form(&self, visit: &SiteVisit, next: &str, notice: Option<FormNotice>) -> SiteAnswer {
        let Some(host) = self.settings.passkey_host() else { return super::answers::nothing_here() };
        self.with_browser(visit, |secret| {
            let forms = self.store.forms();
            let token = form_token::token(forms, FormPurpose::PasskeyLogin, secret, next);
            match challenge(forms, PasskeyCeremony::LogIn, secret, now_ms()) {
                Ok(challenge) => page::log_in(&PasskeyLoginForm {
                    token: &token,
                    next,
                    challenge: &challenge,
                    host: &host,
                    notice,
                }),
                Err(error) => pages::unavailable(&error),
            }
        })
    }

    /// Takes the answer of the passkey, and begins the session.
    pub(super) async fn log_in_by_passkey(&self, visit: &SiteVisit) -> SiteAnswer {
        let Ok(form) = OauthParams::of_form(visit) else { return pages::bad_form() };
        let next = form.get("next").unwrap_or_default();
        let challenge = form.get("challenge").unwrap_or_default();
        let is_genuine = self.cookies.browser(&visit.headers).is_some_and(|secret| {
            let forms = self.store.forms();
            form_token::is_genuine(forms, FormPurpose::PasskeyLogin, &secret, next, &form)
                && challenge::is_open(forms, PasskeyCeremony::LogIn, &secret, challenge, now_ms())
        });
        if !is_genuine {
            let notice = FormNotice::of_login(LoginNotice::FormExpired);
            return self.passkey_form(visit, next, Some(notice));
        }
        match self.judge_passkey(visit, &form, challenge).await {
            Ok((user, session)) => {
                tracing::info!(user = witgate_base::printable::clean(&user.name), "a person has logged in");
                let mut answer = see_other(&paths::after_login(next));
                self.begin_in_browser(&mut answer, &session, self.attempt(visit, &user.name));
                answer
            }
            Err(PasskeyLoginFault::Paused(seconds)) => {
                let notice = FormNotice::of_login(LoginNotice::Paused(seconds));
                self.passkey_form(visit, next, Some(notice))
            }
            Err(PasskeyLoginFault::Refused(fault, user)) => {
                self.note_bad_passkey(visit, user.as_deref(), fault);
                self.passkey_form(visit, next, Some(refused()))
            }
            Err(PasskeyLoginFault::Store(error)) => pages::unavailable(&error),
        }
    }

    /// Judges an answer, as an attempt to log in.
    async fn judge_passkey(
        &self,
        visit: &SiteVisit,
        form: &OauthParams,
        challenge: &str,
    ) -> Result<(AccountUser, SecretString), PasskeyLoginFault> {
        // Nobody guesses passkeys; the pauses bound the work for signatures. They count for the network alone.
        let name = format!("passkeys {:?}", visit.source());
        let attempt = LoginAttempt { peer: visit.peer, name: &name, browser: None };
        let meters = self.store.meters();
        let ticket = self.guard.begin(attempt).map_err(|seconds| {
            meters.login(LoginOutcome::Paused);
            PasskeyLoginFault::Paused(seconds)
        })?;
        match self.pass_passkey(visit, form, challenge).await {
            Ok(passed) => {
                ticket.succeed();
                meters.login(LoginOutcome::Right);
                Ok(passed)
            }
            Err(PasskeyRefusal::Fault { fault, user }) => {
                drop(ticket);
                meters.login(LoginOutcome::Wrong);
                Err(PasskeyLoginFault::Refused(fault, user))
            }
            Err(PasskeyRefusal::Store(error)) => {
                ticket.withdraw();
                meters.login(LoginOutcome::Unavailable);
                Err(PasskeyLoginFault::Store(error))
            }
        }
    }

    async fn pass_passkey(
        &self,
        visit: &SiteVisit,
        form: &OauthParams,
        challenge: &str,
    ) -> Result<(AccountUser, SecretString), PasskeyRefusal> {
        let [id, data, client, signature] =
            ["credential", "data", "client", "signature"].map(|name| bytes_of(form, name));
        let handle = form.get("user").unwrap_or_default().to_owned();
        let (origin, host) = (self.settings.issuer.clone(), self.settings.passkey_host().unwrap_or_default());
        let (challenge, peer) = (challenge.to_owned(), visit.peer);
        let (browser, former) = (browser::described(&visit.headers), self.cookies.session(&visit.headers));
        let work = move |database: &mut AccountDatabase| {
            database.seen_from(peer);
            let server = PasskeyServer { origin: &origin, host: &host };
            let shown = PasskeyAnswer { data: &data, client: &client, signature: &signature };
            let terms = (server, &*challenge);
            let passed = database.pass_passkey(&id, &handle, terms, &shown, &browser, now_ms())?;
            if let Some(former) = &former {
                database.end_session(former)?;
            }
            Ok(passed)
        };
        self.store.run(visit.source(), work).await
    }

    /// Notes that a passkey lets nobody in, or is not added.
    pub(super) fn note_bad_passkey(
        &self,
        visit: &SiteVisit,
        user: Option<&AccountUser>,
        fault: PasskeyFault,
    ) {
        if let Some(others) = self.lines.turn(fault.0) {
            let peer = visit.peer.map(tracing::field::display);
            tracing::info!(code = fault.0, peer, others, "a passkey was refused");
        }
        self.record_wrong(visit, user, fault.0);
    }
}

/// The same for every passkey that lets nobody in.
fn refused() -> FormNotice {
    let sentence = "This passkey lets nobody in. Try again, or log in with your password.";
    FormNotice::general(StatusCode::FORBIDDEN, sentence.to_owned())
}

enum PasskeyLoginFault {
    Paused(u32),
    Refused(PasskeyFault, Option<Box<AccountUser>>),
    Store(AccountsError),
}
