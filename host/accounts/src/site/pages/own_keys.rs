//! The page of the keys of a person.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use http::StatusCode;
use maud::{Markup, html};
use secrecy::{ExposeSecret as _, SecretString};

use super::notice::{Field, FieldKind, FormNotice};
use super::{hidden, page};
use crate::database::own_keys::{LONGEST_NAME, OwnKey, OwnKeyFault};
use crate::site::answers::SiteAnswer;
use crate::site::form_token::FIELD;

/// The beginning of the names of the boxes for scopes.
pub(in crate::site) const SCOPE: &str = "scope.";

/// The result of a change, above the list.
pub(in crate::site) enum KeyNotice<'a> {
    Nothing,
    /// A new key with its text.
    Key(&'a OwnKey, &'a SecretString),
    /// The reason why there is no new key.
    Fault(&'a OwnKeyFault),
    /// The password is not confirmed.
    Password(&'a FormNotice),
}

/// The content of the page.
pub(in crate::site) struct OwnKeysForm<'a> {
    pub(in crate::site) token: &'a str,
    pub(in crate::site) keys: &'a [OwnKey],
    /// The scopes that a key may have, with their descriptions.
    pub(in crate::site) scopes: &'a BTreeMap<String, String>,
    /// True if a new key needs the password.
    pub(in crate::site) asks_password: bool,
    /// True if the person needs a second factor, so that keys without one are not valid.
    pub(in crate::site) needs_second_factor: bool,
    pub(in crate::site) shown: KeyNotice<'a>,
}

pub(in crate::site) fn own_keys(form: &OwnKeysForm<'_>) -> SiteAnswer {
    let content = html! {
        @match form.shown {
            KeyNotice::Nothing => {},
            KeyNotice::Key(key, text) => {
                p role="status" {
                    label for="text" { "This is your key " strong { (key.terms.name) } ". Copy it now: it is shown only once." }
                }
                textarea #text readonly rows="2" { (text.expose_secret()) }
            },
            KeyNotice::Password(notice) => { (notice.markup()) },
            KeyNotice::Fault(fault) => p.notice role="alert" { "There is no new key: " (fault) "." },
        }
        p { "A program that shows one of your keys acts as you, with your roles and with the scopes of the key." }
        (list(form))
        h2 { "New key" }
        (new(form))
        p { a href="/account" { "Your account" } }
    };
    let status = match form.shown {
        KeyNotice::Fault(_) => StatusCode::BAD_REQUEST,
        KeyNotice::Password(notice) => notice.status,
        KeyNotice::Nothing | KeyNotice::Key(..) => StatusCode::OK,
    };
    page(status, "Your keys", content)
}

fn list(form: &OwnKeysForm<'_>) -> Markup {
    html! {
        @if form.keys.is_empty() { p { "There are none." } }
        ul.items {
            @for key in form.keys {
                li {
                    div {
                        strong { (key.terms.name) }
                        @if !key.terms.scopes.is_empty() { span.small { (key.terms.scopes.join(" ")) } }
                        @if let Some(resource) = &key.resource { span.small { "made by a program, for " (resource) } }
                        span.small { (end(key)) }
                        @if form.needs_second_factor && !key.is_strong {
                            span.small { "not valid: made without a second factor" }
                        }
                    }
                    form method="post" action="/account/keys" {
                        (hidden(FIELD, form.token))
                        (hidden("end", &key.id))
                        button.other aria-label={ "End the key " (key.terms.name) } { "End" }
                    }
                }
            }
        }
    }
}

fn new(form: &OwnKeysForm<'_>) -> Markup {
    let password = Field { name: "current", label: "Your password", kind: FieldKind::Password };
    let notice = match form.shown {
        KeyNotice::Password(notice) => Some(notice),
        _ => None,
    };
    html! {
        form method="post" action="/account/keys" {
            (hidden(FIELD, form.token))
            label for="name" { "Name" }
            input #name name="name" required maxlength=(LONGEST_NAME) autocomplete="off";
            @if !form.scopes.is_empty() {
                fieldset {
                    legend { "The key may" }
                    @for (scope, about) in form.scopes {
                        p.choice {
                            input id=(format!("{SCOPE}{scope}")) name=(format!("{SCOPE}{scope}")) type="checkbox" value="yes";
                            label for=(format!("{SCOPE}{scope}")) { (about) }
                        }
                    }
                }
            }
            label for="days" { "Valid for" }
            select #days name="days" {
                option value="30" { "30 days" }
                option value="90" selected { "90 days" }
                option value="365" { "a year" }
                option value="never" { "ever" }
            }
            @if form.asks_password { (password.markup(notice, false)) }
            button { "Make the key" }
        }
    }
}

fn end(key: &OwnKey) -> String {
    let end = key.terms.expires.and_then(|end| u64::try_from(end).ok());
    let end = end.and_then(|end| UNIX_EPOCH.checked_add(Duration::from_millis(end)));
    match end {
        Some(end) => {
            let text = humantime::format_rfc3339_seconds(end).to_string();
            format!("until {}", text.split('T').next().unwrap_or_default())
        }
        None => "without an end".to_owned(),
    }
}
