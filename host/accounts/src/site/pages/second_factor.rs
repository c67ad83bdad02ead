//! The pages of the second factor.

use std::time::Duration;

use http::StatusCode;
use maud::{Markup, html};
use secrecy::{ExposeSecret as _, SecretString};

use super::notice::{Field, FieldKind, FormNotice};
use super::qr::qr;
use super::{hidden, page};
use crate::database::authenticators::Authenticator;
use crate::site::answers::SiteAnswer;
use crate::site::form_token::FIELD;

/// The number of recovery codes below which the page asks for new ones.
const FEW: usize = 3;

/// The content of the page that asks for a code at a login.
pub(in crate::site) struct CodeForm<'a> {
    pub(in crate::site) token: &'a str,
    pub(in crate::site) next: &'a str,
    /// The time for which the browser can be remembered.
    pub(in crate::site) remembers: Option<Duration>,
    pub(in crate::site) notice: Option<FormNotice>,
}

/// The content of the page that shows a secret for an app.
pub(in crate::site) struct SetUpForm<'a> {
    /// The place of the form.
    pub(in crate::site) action: &'a str,
    pub(in crate::site) token: &'a str,
    pub(in crate::site) next: &'a str,
    pub(in crate::site) secret: &'a SecretString,
    /// The address of the secret, for apps, if there is one.
    pub(in crate::site) address: Option<&'a SecretString>,
    pub(in crate::site) notice: Option<FormNotice>,
}

/// The content of the page about the second factor of an account.
pub(in crate::site) struct FactorForm<'a> {
    pub(in crate::site) token: &'a str,
    pub(in crate::site) user: &'a str,
    pub(in crate::site) factor: Option<Authenticator>,
    pub(in crate::site) is_required: bool,
    pub(in crate::site) notice: Option<FormNotice>,
}

const CODE: Field<'_> = Field { name: "code", label: "Code of six digits", kind: FieldKind::Code };

pub(in crate::site) fn code(form: CodeForm<'_>) -> SiteAnswer {
    let notice = form.notice.as_ref();
    let content = html! {
        @if let Some(notice) = notice { (notice.markup()) }
        p { "Open your authenticator app, and enter the code that it shows." }
        form method="post" action="/login/code" {
            (hidden(FIELD, form.token))
            (hidden("next", form.next))
            (CODE.markup(notice, true))
            @if let Some(time) = form.remembers {
                p.choice {
                    input #remember name="remember" type="checkbox" value="yes";
                    label for="remember" { "Do not ask for a code in this browser for " (days(time)) }
                }
            }
            button { "Log in" }
        }
        details {
            summary { "Use a recovery code instead" }
            form method="post" action="/login/code" {
                (hidden(FIELD, form.token))
                (hidden("next", form.next))
                label for="recovery" { "Recovery code" }
                input.digits #recovery name="code" autocomplete="off" autocapitalize="none" spellcheck="false"
                    required maxlength="64";
                button { "Log in" }
            }
        }
    };
    page(status(notice), "Enter your code", content)
}

/// A time in days.
fn days(time: Duration) -> String {
    match time.as_secs() / 86_400 {
        1 => "a day".to_owned(),
        days => format!("{days} days"),
    }
}

pub(in crate::site) fn set_up(form: SetUpForm<'_>) -> SiteAnswer {
    let notice = form.notice.as_ref();
    let label = "QR code with the key below, for the camera of your app";
    let content = html! {
        @if let Some(notice) = notice { (notice.markup()) }
        p { "Scan this with an authenticator app, or enter the key in it. Then enter the code that the app shows." }
        @if let Some(qr) = form.address.and_then(|address| qr(address.expose_secret(), label)) { (qr) }
        p { "Key: " code.key { (grouped(form.secret.expose_secret())) } }
        @if let Some(address) = form.address {
            p { a href=(address.expose_secret()) { "Open an app on this device" } }
        }
        form method="post" action=(form.action) {
            (hidden(FIELD, form.token))
            @if !form.next.is_empty() { (hidden("next", form.next)) }
            (CODE.markup(notice, true))
            button { "Confirm" }
        }
    };
    page(status(notice), "Set up a second factor", content)
}

/// The page that shows recovery codes, once.
pub(in crate::site) fn recovery_codes(codes: &[SecretString], place: &str) -> SiteAnswer {
    let content = html! {
        p { "Print these codes, or put them into a program for passwords. Each lets you in once if you lose your app." }
        p { strong { "They are not shown again." } }
        ul.codes { @for shown in codes { li { code { (shown.expose_secret()) } } } }
        p { a.button href=(place) { "I have stored them" } }
    };
    page(StatusCode::OK, "Your recovery codes", content)
}

pub(in crate::site) fn factor(form: FactorForm<'_>) -> SiteAnswer {
    let notice = form.notice.as_ref();
    let password = Field { name: "current", label: "Your password", kind: FieldKind::Password };
    let content = html! {
        @if let Some(notice) = notice { (notice.markup()) }
        (about(&form))
        form method="post" action="/account/second-factor" {
            (hidden(FIELD, form.token))
            input type="text" name="name" value=(form.user) autocomplete="username" readonly hidden;
            (password.markup(notice, true))
            @if form.factor.is_some() {
                // The first one is that of the Enter key. It changes nothing yet.
                button name="action" value="set-up" { "Use another app" }
                button.other name="action" value="codes" { "Make new recovery codes" }
                @if !form.is_required { button.other name="action" value="remove" { "Remove the second factor" } }
            } @else {
                button name="action" value="set-up" { "Set it up" }
            }
        }
        p { a href="/account" { "Back to your account" } }
    };
    page(status(notice), "Second factor", content)
}

fn about(form: &FactorForm<'_>) -> Markup {
    html! {
        @match form.factor {
            None => p {
                "With a second factor, a login also asks for a code of an app on your phone or computer. Somebody who \
                 finds out your password cannot log in with it alone."
            },
            Some(Authenticator { codes_left, .. }) => {
                p { "A login asks for a code of your authenticator app." }
                @if codes_left < FEW {
                    p.notice { "You have " (codes_left) " recovery codes left. Make new ones." }
                } @else {
                    p { "You have " (codes_left) " recovery codes left." }
                }
            },
        }
        @if form.is_required { p { "This server requires a second factor for you." } }
    }
}

/// A key in groups of four, as people read it.
fn grouped(key: &str) -> String {
    let characters: Vec<_> = key.chars().collect();
    characters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

fn status(notice: Option<&FormNotice>) -> StatusCode {
    notice.map_or(StatusCode::OK, |notice| notice.status)
}
