//! The buttons for providers, below the login with a password.

use maud::{Markup, html};
use witgate_pages::hidden;

use crate::site::form_token::FIELD;
use witgate_config::account_logins::provider_path;

/// The buttons: for each provider its name in paths, and its name for people.
pub(super) fn buttons(token: &str, next: &str, providers: &[(&str, &str)]) -> Markup {
    html! {
        @for (name, label) in providers {
            form method="post" action=(provider_path(name)) {
                (hidden(FIELD, token))
                (hidden("next", next))
                button.other { "Log in with " (label) }
            }
        }
    }
}
