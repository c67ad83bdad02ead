//! The pages of passkeys. They alone have a script, because browsers show passkeys to scripts only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use maud::{Markup, html};
use witgate_pages::page_with_script;

use super::account::ago;
use super::notice::{Field, FieldKind, FormNotice};
use super::{SCRIPT, hidden, page};
use crate::database::passkeys::Passkey;
use crate::database::users::AccountUser;
use crate::site::answers::SiteAnswer;
use crate::site::form_token::FIELD;
use crate::site::paths::after_login;

/// The content of the page that logs in with a passkey.
pub(in crate::site) struct PasskeyLoginForm<'a> {
    pub(in crate::site) token: &'a str,
    pub(in crate::site) next: &'a str,
    pub(in crate::site) challenge: &'a str,
    pub(in crate::site) host: &'a str,
    pub(in crate::site) notice: Option<FormNotice>,
}

/// The content of the list of passkeys.
pub(in crate::site) struct PasskeysForm<'a> {
    pub(in crate::site) token: &'a str,
    pub(in crate::site) user: &'a str,
    pub(in crate::site) passkeys: &'a [Passkey],
    pub(in crate::site) now: i64,
    pub(in crate::site) notice: Option<FormNotice>,
}

/// The content of the page on which a browser makes a passkey.
pub(in crate::site) struct NewPasskeyForm<'a> {
    pub(in crate::site) token: &'a str,
    pub(in crate::site) challenge: &'a str,
    pub(in crate::site) host: &'a str,
    pub(in crate::site) user: &'a AccountUser,
    pub(in crate::site) name: &'a str,
    /// The passkeys that the user has already.
    pub(in crate::site) known: &'a [Passkey],
}

/// The content of the page that asks for the password before a passkey is removed.
pub(in crate::site) struct RemovalForm<'a> {
    pub(in crate::site) token: &'a str,
    pub(in crate::site) user: &'a str,
    pub(in crate::site) passkey: &'a Passkey,
    pub(in crate::site) notice: Option<FormNotice>,
}

const PASSWORD: Field<'_> = Field { name: "current", label: "Your password", kind: FieldKind::Password };

pub(in crate::site) fn log_in(form: &PasskeyLoginForm<'_>) -> SiteAnswer {
    let notice = form.notice.as_ref();
    let password = if form.next.is_empty() { "/login".to_owned() } else { after_login(form.next) };
    let content = html! {
        @if let Some(notice) = notice { (notice.markup()) }
        (no_script())
        p { "Your browser asks for the passkey, and you unlock it as you unlock your device." }
        form method="post" action="/login/passkey" data-action="get" data-host=(form.host) {
            (hidden(FIELD, form.token))
            (hidden("next", form.next))
            (hidden("challenge", form.challenge))
            (filled(&["credential", "data", "client", "signature", "user"]))
            button autofocus { "Log in with a passkey" }
        }
        p { a href=(password) { "Log in with your password instead" } }
    };
    page_with_script(status(notice), "Log in with a passkey", content, &SCRIPT)
}

pub(in crate::site) fn create(form: &NewPasskeyForm<'_>) -> SiteAnswer {
    let known: Vec<_> = form.known.iter().map(|passkey| URL_SAFE_NO_PAD.encode(&passkey.id)).collect();
    let content = html! {
        (no_script())
        p { "Your browser makes a passkey, and asks where to keep it." }
        form method="post" action="/account/passkeys" data-action="create" data-host=(form.host)
            data-user=(form.user.id) data-name=(form.user.name) data-known=(known.join(" ")) {
            (hidden(FIELD, form.token))
            (hidden("name", form.name))
            (hidden("challenge", form.challenge))
            (filled(&["credential", "algorithm", "key", "data", "client"]))
            button autofocus { "Make the passkey" }
        }
        p { a href="/account/passkeys" { "Back to your passkeys" } }
    };
    page_with_script(StatusCode::OK, "New passkey", content, &SCRIPT)
}

pub(in crate::site) fn list(form: &PasskeysForm<'_>) -> SiteAnswer {
    let notice = form.notice.as_ref();
    let content = html! {
        @if let Some(notice) = notice { (notice.markup()) }
        p { "With a passkey on your phone, computer or security key, you log in without a password and a code." }
        (known(form))
        h2 { "Add a passkey" }
        form method="post" action="/account/passkeys" {
            (hidden(FIELD, form.token))
            (username(form.user))
            label for="name" { "Name of the device" }
            input #name name="name" maxlength="60" autocomplete="off" required;
            (PASSWORD.markup(notice, false))
            button { "Go on" }
        }
        p { a href="/account" { "Back to your account" } }
    };
    page(status(notice), "Passkeys", content)
}

pub(in crate::site) fn remove(form: &RemovalForm<'_>) -> SiteAnswer {
    let notice = form.notice.as_ref();
    let content = html! {
        @if let Some(notice) = notice { (notice.markup()) }
        p { "Nobody can log in with the passkey " strong { (form.passkey.name) } " after that." }
        form method="post" action="/account/passkeys" {
            (hidden(FIELD, form.token))
            (hidden("remove", &URL_SAFE_NO_PAD.encode(&form.passkey.id)))
            (username(form.user))
            (PASSWORD.markup(notice, true))
            button { "Remove the passkey" }
        }
        p { a href="/account/passkeys" { "Back to your passkeys" } }
    };
    page(status(notice), "Remove a passkey", content)
}

/// The name, which nobody changes here, for programs that store passwords.
fn username(user: &str) -> Markup {
    html! { input type="text" name="username" value=(user) autocomplete="username" readonly hidden; }
}

fn known(form: &PasskeysForm<'_>) -> Markup {
    html! {
        @if form.passkeys.is_empty() { p { "You have none." } }
        ul.items {
            @for passkey in form.passkeys {
                li {
                    div {
                        strong { (passkey.name) }
                        span.small {
                            "added " (ago(form.now - passkey.created))
                            @if let Some(used) = passkey.used { ", used " (ago(form.now - used)) }
                        }
                    }
                    form method="post" action="/account/passkeys" {
                        (hidden(FIELD, form.token))
                        (hidden("remove", &URL_SAFE_NO_PAD.encode(&passkey.id)))
                        button.other aria-label={ "Remove the passkey " (passkey.name) } { "Remove" }
                    }
                }
            }
        }
    }
}

/// Fields that the script fills.
fn filled(names: &[&str]) -> Markup {
    html! { @for name in names { (hidden(name, "")) } }
}

/// The sentences for browsers that run no script or have no passkeys, and for attempts that fail.
fn no_script() -> Markup {
    html! {
        noscript { p.notice { "Passkeys need a script on this page, and your browser does not run it." } }
        p.notice #problem role="alert" hidden {}
    }
}

fn status(notice: Option<&FormNotice>) -> StatusCode {
    notice.map_or(StatusCode::OK, |notice| notice.status)
}
