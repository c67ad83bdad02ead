//! Sentences about the last attempt with a form.

use http::StatusCode;
use maud::{Markup, html};
use witgate_pages::{NOTICE, alert};

use crate::provider::ProviderNotice;

/// A sentence above the login form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::site) enum LoginNotice {
    /// Name or password is wrong.
    Wrong,
    /// Too many attempts have failed: the seconds until the next one.
    Paused(u32),
    /// Too many people log in at the same time: the seconds until the next attempt.
    Busy(u32),
    /// The form is too old, or the browser accepts no cookies.
    FormExpired,
    /// The password is right, and not enough: a passkey of the user has to be shown.
    PasskeyNeeded,
    /// A login through a provider has failed.
    Provider(ProviderNotice),
}

impl LoginNotice {
    pub(in crate::site) fn sentence(self) -> String {
        match self {
            Self::Wrong => "The name or the password is wrong.".to_owned(),
            Self::Paused(seconds) => {
                format!("There were too many failed attempts. Try again in {seconds} seconds.")
            }
            Self::Busy(_) => "Too many people are logging in. Try again in a moment.".to_owned(),
            Self::FormExpired => {
                "This page was too old. Begin again; your browser has to accept cookies.".to_owned()
            }
            Self::PasskeyNeeded => "This server requires a second factor of you, and you have passkeys: log in with one \
                                    of them. Then you can also set up an app. If you have lost them, ask whoever runs \
                                    this server."
                .to_owned(),
            Self::Provider(notice) => notice.sentence().to_owned(),
        }
    }
}

/// A sentence above a form.
#[derive(Clone, Debug)]
pub(in crate::site) struct FormNotice {
    pub(super) status: StatusCode,
    pub(super) sentence: String,
    /// The name of the field that it is about.
    field: Option<&'static str>,
}

impl FormNotice {
    /// A sentence about a field.
    pub(in crate::site) fn about(status: StatusCode, sentence: String, field: &'static str) -> Self {
        Self { status, sentence, field: Some(field) }
    }

    /// A sentence about the whole form.
    pub(in crate::site) fn general(status: StatusCode, sentence: String) -> Self {
        Self { status, sentence, field: None }
    }

    /// The sentence to somebody who is logged in and has to show their password again.
    pub(in crate::site) fn of_login(notice: LoginNotice) -> Self {
        match notice {
            LoginNotice::Wrong => {
                Self::about(notice.status(), "The password is wrong.".to_owned(), "current")
            }
            other => Self::general(other.status(), other.sentence()),
        }
    }

    /// The sentence about a wrong code.
    pub(in crate::site) fn wrong_code() -> Self {
        let sentence = "The code is wrong, or was used before. Wait for the next one, and check the clock of your device.";
        Self::about(StatusCode::FORBIDDEN, sentence.to_owned(), "code")
    }

    pub(super) fn markup(&self) -> Markup {
        alert(&self.sentence)
    }
}

/// A field of a form, which refers to the sentence about it.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) label: &'a str,
    pub(super) kind: FieldKind,
}

/// The kind of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldKind {
    /// The present password.
    Password,
    /// A new password.
    NewPassword,
    /// A code of an app.
    Code,
}

impl Field<'_> {
    /// The label and the field. The one that a sentence is about has the focus, or else the first one of a page.
    pub(super) fn markup(self, notice: Option<&FormNotice>, is_first: bool) -> Markup {
        let Self { name, label, kind } = self;
        let about = notice.and_then(|notice| notice.field);
        let is_wrong = about == Some(name);
        let has_focus = about.map_or(is_first, |about| about == name);
        let described = (is_wrong || (is_first && about.is_none() && notice.is_some())).then_some(NOTICE);
        let invalid = is_wrong.then_some("true");
        html! {
            label for=(name) { (label) }
            @match kind {
                FieldKind::Password => {
                    input id=(name) name=(name) type="password" autocomplete="current-password" required
                        maxlength="1024" autofocus[has_focus] aria-invalid=[invalid] aria-describedby=[described];
                }
                FieldKind::NewPassword => {
                    input id=(name) name=(name) type="password" autocomplete="new-password" required minlength="8"
                        maxlength="1024" autofocus[has_focus] aria-invalid=[invalid] aria-describedby=[described];
                }
                FieldKind::Code => {
                    input.digits id=(name) name=(name) inputmode="numeric" autocomplete="one-time-code" required
                        maxlength="16" spellcheck="false" autofocus[has_focus] aria-invalid=[invalid]
                        aria-describedby=[described];
                }
            }
        }
    }
}
