//! The pages for new passwords.

use http::StatusCode;
use maud::{Markup, html};

use super::notice::{Field, FieldKind, FormNotice};
use super::{LoginNotice, hidden, page};
use crate::site::answers::{SiteAnswer, retry_after};
use crate::site::form_token::FIELD;

/// The content of the page that changes a password.
pub(in crate::site) struct PasswordForm<'a> {
    pub(in crate::site) token: &'a str,
    pub(in crate::site) user: &'a str,
    pub(in crate::site) notice: Option<FormNotice>,
}

/// The content of the page of a one-time link.
pub(in crate::site) struct LinkForm<'a> {
    pub(in crate::site) token: &'a str,
    pub(in crate::site) code: &'a str,
    pub(in crate::site) user: &'a str,
    pub(in crate::site) notice: Option<FormNotice>,
}

pub(in crate::site) fn change(form: &PasswordForm<'_>) -> SiteAnswer {
    let notice = form.notice.as_ref();
    let current = Field { name: "current", label: "Present password", kind: FieldKind::Password };
    let content = html! {
        @if let Some(notice) = notice { (notice.markup()) }
        form method="post" action="/account/password" {
            (hidden(FIELD, form.token))
            (username(form.user))
            (current.markup(notice, true))
            (new_fields(notice, false))
            p {
                "Your other browsers are logged out then, and the access of all programs ends. Passkeys stay: if somebody \
                 else may have your password, look whether all of them are yours."
            }
            button { "Change the password" }
        }
        p { a href="/account" { "Back to your account" } }
    };
    page(status(notice), "Change your password", content)
}

pub(in crate::site) fn by_link(form: &LinkForm<'_>) -> SiteAnswer {
    let notice = form.notice.as_ref();
    let content = html! {
        @if let Some(notice) = notice { (notice.markup()) }
        p { "This is for the user " strong { (form.user) } "." }
        form method="post" action="/login/link" {
            (hidden(FIELD, form.token))
            (hidden("code", form.code))
            (username(form.user))
            (new_fields(notice, true))
            p { "All logins from before end, and passkeys are removed." }
            button { "Set the password" }
        }
    };
    page(status(notice), "Choose a password", content)
}

/// The same for every link that is of no use.
pub(in crate::site) fn bad_link() -> SiteAnswer {
    let content = html! {
        p { "It was used before, is too old, or is not complete." }
        p { "Ask whoever has sent it for another one." }
    };
    page(StatusCode::NOT_FOUND, "This link is not valid", content)
}

pub(in crate::site) fn link_paused(seconds: u32) -> SiteAnswer {
    let notice = LoginNotice::Paused(seconds);
    let mut answer = page(notice.status(), "Try again later", html! { p { (notice.sentence()) } });
    retry_after(&mut answer, seconds);
    answer
}

pub(in crate::site) fn password_is_set() -> SiteAnswer {
    let content = html! {
        p { "You can log in with your name and the new password now. If you had passkeys, add them again." }
        p { a href="/login" { "Log in" } }
    };
    page(StatusCode::OK, "Your password is set", content)
}

fn new_fields(notice: Option<&FormNotice>, is_first: bool) -> Markup {
    let new =
        Field { name: "new", label: "New password, at least 8 characters", kind: FieldKind::NewPassword };
    let again = Field { name: "again", label: "The same again", kind: FieldKind::NewPassword };
    html! { (new.markup(notice, is_first)) (again.markup(notice, false)) }
}

/// The name, which nobody changes here, for programs that store passwords.
fn username(user: &str) -> Markup {
    html! { input type="text" name="name" value=(user) autocomplete="username" readonly hidden; }
}

fn status(notice: Option<&FormNotice>) -> StatusCode {
    notice.map_or(StatusCode::OK, |notice| notice.status)
}
