//! The login through a provider: its beginning on the login page, and its end where the provider leads the browser back.

use secrecy::SecretString;

use super::answers::{SiteAnswer, retry_after, see_other};
use super::form_token::{self, FormPurpose};
use super::pages::{self, LoginNotice};
use super::params::OauthParams;
use super::{AccountSite, LoginAttempt, SiteVisit, browser, paths};
use crate::database::AccountDatabase;
use crate::database::identities::{ArrivalOutcome, ProviderArrival, RefusedArrival};
use crate::database::sessions::SessionStart;
use crate::event::{AccountAction, AccountEvent};
use crate::login_method::LoginMethod;
use crate::meters::LoginOutcome;
use crate::moment::now_ms;
use crate::provider::{LoginBrowser, ProviderFault, ProviderNotice};
use crate::random;

/// A login that has succeeded.
struct ArrivedUser {
    secret: SecretString,
    user: String,
    is_new: bool,
    has_other_roles: bool,
}

impl AccountSite {
    /// Sends the browser to the provider.
    pub(super) fn leave_for_provider(&self, visit: &SiteVisit, provider: usize) -> SiteAnswer {
        let Ok(form) = OauthParams::of_form(visit) else { return pages::bad_form() };
        let next = form.get("next").unwrap_or_default();
        let secret = self.cookies.browser(&visit.headers).filter(|secret| {
            form_token::is_genuine(self.store.forms(), FormPurpose::Login, secret, next, &form)
        });
        let Some(secret) = secret else {
            return self.login_form(visit, next, Some(LoginNotice::FormExpired));
        };
        let browser = LoginBrowser { secret: &secret, next, source: visit.source() };
        match self.providers.begin(provider, browser) {
            Ok(url) => see_other(url.as_str()),
            Err(fault) => self.refuse_arrival(visit, next, &fault),
        }
    }

    /// Takes the answer of the provider. Then the browser goes on as after a login with a password.
    pub(super) async fn arrive_from_provider(&self, visit: &SiteVisit, provider: usize) -> SiteAnswer {
        let Some(secret) = self.cookies.browser(&visit.headers) else {
            return self.refuse_arrival(visit, "", &ProviderFault::Mismatch);
        };
        // Each wrong answer costs a request to the provider. They count for the network alone.
        let name = format!("providers {:?}", visit.source());
        let attempt = LoginAttempt { peer: visit.peer, name: &name, browser: None };
        let ticket = match self.guard.begin(attempt) {
            Ok(ticket) => ticket,
            Err(seconds) => {
                self.store.meters().login(LoginOutcome::Paused);
                return self.refuse_login(visit, "", LoginNotice::Paused(seconds));
            }
        };
        let finished = self.providers.finish(provider, &visit.query, (&secret, visit.source())).await;
        match &finished {
            Ok(_) => ticket.succeed(),
            Err(fault) if fault.is_guess() => drop(ticket),
            Err(_) => ticket.withdraw(),
        }
        let proven = match finished {
            Ok(proven) => proven,
            Err(ProviderFault::NotAllowed(refused)) => {
                let fault = self.turn_away(visit, refused).await;
                return self.refuse_arrival(visit, "", &fault);
            }
            Err(fault) => return self.refuse_arrival(visit, "", &fault),
        };
        let provider = proven.arrival.provider.clone();
        match self.settle(visit, proven.arrival).await {
            Ok(ArrivedUser { secret, user, is_new, has_other_roles }) => {
                self.store.meters().login(LoginOutcome::Right);
                let user = witgate_base::printable::clean(&user);
                tracing::info!(user, provider, is_new, has_other_roles, "a person has logged in");
                let mut answer = see_other(&paths::after_login(&proven.next));
                self.cookies.set_session(&mut answer, &secret);
                answer
            }
            Err(fault) => self.refuse_arrival(visit, &proven.next, &fault),
        }
    }

    /// Finds the account, and begins a session.
    async fn settle(
        &self,
        visit: &SiteVisit,
        arrival: ProviderArrival,
    ) -> Result<ArrivedUser, ProviderFault> {
        let (peer, former) = (visit.peer, self.cookies.session(&visit.headers));
        let start = SessionStart {
            method: LoginMethod::Provider,
            provider: Some(arrival.provider.clone()),
            browser: browser::described(&visit.headers),
        };
        let secret = SecretString::from(random::text()?);
        let work = move |database: &mut AccountDatabase| {
            database.seen_from(peer);
            match database.arrive(&arrival, (&secret, &start), now_ms())? {
                ArrivalOutcome::User { user, is_new, has_other_roles } => {
                    // The browser loses the secret of its former session, so that nobody could end it later.
                    if let Some(former) = &former {
                        database.end_session(former)?;
                    }
                    Ok(ArrivedUser { secret, user: user.name, is_new, has_other_roles })
                }
                ArrivalOutcome::NoAccount => Err(ProviderFault::NoAccount { subject: arrival.subject }),
                ArrivalOutcome::Unlinked => Err(ProviderFault::Unlinked { subject: arrival.subject }),
                ArrivalOutcome::TooManyAccounts => {
                    Err(ProviderFault::TooManyAccounts { subject: arrival.subject })
                }
                ArrivalOutcome::Disabled => Err(ProviderFault::Disabled),
            }
        };
        self.store.run(visit.source(), work).await
    }

    /// Ends what somebody whom no rule admits has from former logins. Returns the reason of their refusal.
    async fn turn_away(&self, visit: &SiteVisit, refused: Box<RefusedArrival>) -> ProviderFault {
        let (peer, former) = (visit.peer, refused.clone());
        let work = move |database: &mut AccountDatabase| {
            database.seen_from(peer);
            database.turn_away(&former, now_ms())
        };
        match self.store.run(visit.source(), work).await {
            Ok(()) => ProviderFault::NotAllowed(refused),
            Err(error) => ProviderFault::Store(error),
        }
    }

    fn refuse_arrival(&self, visit: &SiteVisit, next: &str, fault: &ProviderFault) -> SiteAnswer {
        let code = fault.code();
        self.store.meters().login(fault.outcome());
        if let Some(others) = self.lines.turn(code) {
            let peer = visit.peer.map(tracing::field::display);
            let detail = witgate_base::printable::clean(&fault.detail());
            tracing::info!(code, detail, peer, others, "a login through a provider was refused");
            let event = AccountEvent::now(AccountAction::LoginRefused).because(code);
            self.store.record(AccountEvent { others, peer: visit.peer, ..event });
        }
        let Some(notice) = fault.notice() else { return pages::unavailable_now() };
        let mut answer = self.login_form(visit, next, Some(LoginNotice::Provider(notice)));
        *answer.status_mut() = notice.status();
        if notice == ProviderNotice::Busy {
            retry_after(&mut answer, 2);
        }
        answer
    }
}
