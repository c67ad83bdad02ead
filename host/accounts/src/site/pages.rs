//! The pages. They need no script, except for those of passkeys.

pub(super) mod account;
pub(super) mod notice;
pub(super) mod own_keys;
pub(super) mod passkey;
pub(super) mod password;
mod provider_buttons;
mod qr;
pub(super) mod second_factor;

use std::sync::LazyLock;

use http::StatusCode;
use maud::{Markup, html};
use witgate_pages::{NOTICE, PageScript, alert, hidden, page};

pub(super) use self::notice::LoginNotice;

use super::answers::{SiteAnswer, note, retry_after};
use super::form_token::FIELD;
use super::paths;
use super::request::PageFault;
use crate::client::description::OauthClient;
use crate::error::AccountsError;
use crate::redirect::RedirectTarget;

/// The script of the pages of passkeys.
static SCRIPT: LazyLock<PageScript> = LazyLock::new(|| PageScript::new(include_str!("pages/passkey.js")));

/// The content of the login page.
pub(super) struct LoginForm<'a> {
    pub(super) token: &'a str,
    pub(super) next: &'a str,
    pub(super) notice: Option<LoginNotice>,
    /// True if there are passkeys at this host.
    pub(super) has_passkeys: bool,
    /// For each provider, its name in paths and its name for people.
    pub(super) providers: &'a [(&'a str, &'a str)],
}

/// The content of the page that asks for consent.
pub(super) struct ConsentForm<'a> {
    pub(super) token: &'a str,
    pub(super) query: &'a str,
    pub(super) client: &'a OauthClient,
    pub(super) target: RedirectTarget,
    pub(super) resource: &'a str,
    /// The descriptions of the scopes.
    pub(super) scopes: Vec<String>,
    pub(super) user: &'a str,
}

pub(super) fn login(form: &LoginForm<'_>) -> SiteAnswer {
    // A form that is too old is shown anew.
    let refused = form.notice.filter(|notice| *notice != LoginNotice::FormExpired);
    let status = refused.map_or(StatusCode::OK, LoginNotice::status);
    let described = form.notice.map(|_| NOTICE);
    let passkeys = paths::before(paths::PASSKEY_LOGIN, form.next);
    page(
        status,
        "Log in",
        html! {
            @if let Some(notice) = form.notice { (alert(&notice.sentence())) }
            form method="post" action="/login" {
                (hidden(FIELD, form.token))
                (hidden("next", form.next))
                label for="name" { "Name" }
                input #name name="name" autocomplete="username" autocapitalize="none" spellcheck="false"
                    required autofocus maxlength="512" aria-describedby=[described];
                label for="password" { "Password" }
                input #password name="password" type="password" autocomplete="current-password" required
                    maxlength="1024" aria-describedby=[described];
                button { "Log in" }
            }
            @if form.has_passkeys { p { a href=(passkeys) { "Log in with a passkey" } } }
            (provider_buttons::buttons(form.token, form.next, form.providers))
        },
    )
}

pub(super) fn consent(form: &ConsentForm<'_>) -> SiteAnswer {
    let ConsentForm { client, .. } = form;
    let name = if client.name.is_empty() { "A program without a name" } else { &client.name };
    page(
        StatusCode::OK,
        "Allow access?",
        html! {
            p { strong { (name) } " asks to use " strong { (form.resource) } " as you, " strong { (form.user) } "." }
            @match &client.host {
                Some(host) => p { "The site " strong { (host) } " vouches for this name." },
                None => p.notice { "The program has given itself this name. Nobody has verified it." },
            }
            @if form.scopes.is_empty() {
                p { "It acts there with your rights, and asks for no scope." }
            } @else {
                p { "It acts there with your rights, and asks to:" }
                ul { @for scope in &form.scopes { li { (scope) } } }
            }
            p { "Your answer goes to " (target(&form.target)) ". If you have not started this login, deny it." }
            form method="post" action="/oauth/consent" {
                (hidden(FIELD, form.token))
                (hidden("request", form.query))
                p.choice {
                    input #paste name="paste" type="checkbox" value="yes";
                    label for="paste" { "The program runs on another computer: show me an address to paste there" }
                }
                button name="decision" value="deny" .other { "Deny" }
                button name="decision" value="allow" { "Allow" }
            }
            p { a href="/logout" { "You are not " (form.user) "?" } }
        },
    )
}

fn target(target: &RedirectTarget) -> Markup {
    match target {
        RedirectTarget::Site(host) => html! { "the site " strong { (host) } },
        RedirectTarget::ThisComputer => html! { strong { "a program on this computer" } },
        RedirectTarget::App(scheme) => html! { "the app on this computer for " strong { (scheme) ":" } },
    }
}

pub(super) fn paste(address: &str) -> SiteAnswer {
    page(
        StatusCode::OK,
        "Almost done",
        html! {
            p { label for="address" { "Copy this address, and paste it where the program asks for it. It is valid for a minute, and once." } }
            textarea #address readonly rows="6" { (address) }
        },
    )
}

/// The page about a request of a client that cannot be answered to the client.
pub(super) fn refused(status: StatusCode, fault: PageFault) -> SiteAnswer {
    let sentence = match fault {
        PageFault::Malformed => "The address of this page is not complete.",
        PageFault::Client(_) => "The program that has sent you here is not known.",
        PageFault::Redirect => {
            "The program that has sent you here wants the answer at a place that is not its own."
        }
        PageFault::Busy => "There are too many logins at the moment. Try again.",
    };
    let content = html! {
        p { (sentence) }
        p { "Begin the login in the program again. If that does not help, tell its makers: " code { (fault.shown()) } }
    };
    page(status, "This login cannot go on", content)
}

/// The page about a request whose client is at another site, and gets the error if the person wants that.
pub(super) fn returning(to: &RedirectTarget, address: &str, error: &str, description: &str) -> SiteAnswer {
    let content = html! {
        p { "The program that has sent you here has made a mistake: " (description) "." }
        p { a href=(address) rel="noreferrer" { "Go back to " (target(to)) } }
        p { "If you have not started this login, close this page. The mistake, for the makers of the program: " code { (error) } }
    };
    page(StatusCode::BAD_REQUEST, "This login cannot go on", content)
}

pub(super) fn bad_form() -> SiteAnswer {
    let content = html! { p { "This form is too old. Go back, load the page again, and try once more." } };
    page(StatusCode::BAD_REQUEST, "Try again", content)
}

pub(super) fn unavailable(error: &AccountsError) -> SiteAnswer {
    note(error);
    unavailable_now()
}

/// The same, for an error that is in the log.
pub(super) fn unavailable_now() -> SiteAnswer {
    let content = html! { p { "Logins are not possible at the moment. Try again in a moment." } };
    let mut answer = page(StatusCode::SERVICE_UNAVAILABLE, "Try again later", content);
    retry_after(&mut answer, 2);
    answer
}
