//! The page of an account, and those of the logout.

use http::StatusCode;
use maud::{Markup, html};

use super::{hidden, page};
use crate::database::authenticators::Authenticator;
use crate::database::grants::ClientGrant;
use crate::database::sessions::{OpenSession, SessionHandle};
use crate::database::users::AccountUser;
use crate::random::hex;
use crate::site::answers::SiteAnswer;
use crate::site::form_token::FIELD;

/// The content of the page.
pub(in crate::site) struct AccountForm<'a> {
    pub(in crate::site) token: &'a str,
    pub(in crate::site) logout: &'a str,
    pub(in crate::site) user: &'a AccountUser,
    /// The session of this browser.
    pub(in crate::site) own: SessionHandle,
    pub(in crate::site) content: &'a AccountContent,
    pub(in crate::site) changed: Option<Changed>,
    /// True if there are passkeys at this host.
    pub(in crate::site) has_passkeys: bool,
}

/// The state of an account.
pub(in crate::site) struct AccountContent {
    pub(in crate::site) grants: Vec<ClientGrant>,
    pub(in crate::site) sessions: Vec<OpenSession>,
    pub(in crate::site) factor: Option<Authenticator>,
    /// The number of keys that the person has made.
    pub(in crate::site) keys: usize,
    /// The time now, in milliseconds since 1970.
    pub(in crate::site) now: i64,
}

/// A change that the page confirms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::site) enum Changed {
    Password,
    Factor,
    Codes,
    NoFactor,
}

impl Changed {
    /// The change that a query names.
    pub(in crate::site) fn of_query(query: &str) -> Option<Self> {
        match query {
            "changed=password" => Some(Self::Password),
            "changed=factor" => Some(Self::Factor),
            "changed=codes" => Some(Self::Codes),
            "changed=no-factor" => Some(Self::NoFactor),
            _ => None,
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Password => "Your password is changed. All other logins have ended.",
            Self::Factor => "Your second factor is set up. Your other browsers are logged out.",
            Self::Codes => "Your former recovery codes are of no use any more.",
            Self::NoFactor => "Your second factor is removed.",
        }
    }
}

pub(in crate::site) fn account(form: &AccountForm<'_>) -> SiteAnswer {
    let AccountContent { grants, sessions, factor, keys, now } = form.content;
    let content = html! {
        @if let Some(changed) = form.changed { p.done role="status" { (changed.sentence()) } }
        p { "You are logged in as " strong { (form.user.name) } "." }
        @if !form.user.roles.is_empty() { p { "Roles: " (form.user.roles.join(", ")) } }
        h2 { "Login" }
        ul.links {
            li { a href="/account/password" { "Change your password" } }
            li {
                a href="/account/second-factor" { "Second factor" }
                (if factor.is_some() { ": set up" } else { ": not set up" })
            }
            @if form.has_passkeys { li { a href="/account/passkeys" { "Passkeys" } } }
            li { a href="/account/keys" { "Keys for programs" } ": " (keys) }
        }
        h2 { "Programs with access" }
        (granted(form.token, grants, *now))
        h2 { "Browsers where you are logged in" }
        (open(form, sessions, *now))
        (logout_form(form.logout))
    };
    page(StatusCode::OK, "Your account", content)
}

fn granted(token: &str, grants: &[ClientGrant], now: i64) -> Markup {
    html! {
        @if grants.is_empty() { p { "There are none." } }
        ul.items {
            @for grant in grants {
                @let name = if grant.client_name.is_empty() { "A program without a name" } else { &grant.client_name };
                li {
                    div {
                        strong { (name) }
                        span.small { (grant.resource) }
                        span.small { "used " (ago(now - grant.used)) }
                    }
                    form method="post" action="/account" {
                        (hidden(FIELD, token))
                        (hidden("grant", &hex(&grant.id)))
                        button.other aria-label={ "End the access of " (name) } { "End access" }
                    }
                }
            }
        }
    }
}

fn open(form: &AccountForm<'_>, sessions: &[OpenSession], now: i64) -> Markup {
    html! {
        ul.items {
            @for session in sessions {
                @let name = if session.browser.is_empty() { "A browser" } else { &session.browser };
                @let is_own = session.handle == form.own;
                li {
                    div {
                        strong { (name) }
                        @if is_own { span.small { "this browser" } }
                        span.small { "logged in " (ago(now - session.created)) ", used " (ago(now - session.used)) }
                    }
                    @if !is_own {
                        form method="post" action="/account" {
                            (hidden(FIELD, form.token))
                            (hidden("session", &hex(&session.handle)))
                            button.other aria-label={ "Log out " (name) ", logged in " (ago(now - session.created)) } {
                                "Log out"
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A time in the past, as people say it.
pub(super) fn ago(ms: i64) -> String {
    let minutes = ms / 60_000;
    let (number, unit) = match minutes {
        ..1 => return "just now".to_owned(),
        1..60 => (minutes, "minute"),
        60..2_880 => (minutes / 60, "hour"),
        _ => (minutes / 1_440, "day"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural} ago")
}

pub(in crate::site) fn logout(token: &str, user: &str) -> SiteAnswer {
    let content = html! {
        p { "You are logged in as " strong { (user) } "." }
        (logout_form(token))
    };
    page(StatusCode::OK, "Log out", content)
}

fn logout_form(token: &str) -> Markup {
    html! {
        form method="post" action="/logout" {
            (hidden(FIELD, token))
            p.choice {
                input #everywhere name="everywhere" type="checkbox" value="yes";
                label for="everywhere" { "Also log out all other browsers, and end the access of all programs" }
            }
            button { "Log out" }
        }
    }
}

pub(in crate::site) fn logged_out() -> SiteAnswer {
    let content = html! {
        p { "You are logged out." }
        p { a href="/login" { "Log in" } }
    };
    page(StatusCode::OK, "Logged out", content)
}
