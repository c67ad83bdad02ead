//! The text of the pages.

use ::http::{Response, StatusCode};
use maud::{Markup, html};
use witgate_pages::{alert, hidden, page};

use crate::http::body::Body;
use witgate_credentials::connect::ConnectedAccount;

/// A page.
pub(super) struct Page {
    title: String,
    content: Markup,
}

/// The fixed parts of a form.
pub(super) struct PageForm<'a> {
    pub(super) action: &'a str,
    pub(super) token: &'a str,
    pub(super) link: &'a str,
}

impl Page {
    /// The page that asks for the credential of the principal to whom a link was given. `takes`: user names, and
    /// certificates.
    pub(super) fn who_are_you(
        name: &str,
        provider: &str,
        (takes_users, takes_certificates): (bool, bool),
        problem: Option<&str>,
        form: &PageForm<'_>,
    ) -> Self {
        let content = html! {
            p {
                "You are about to connect your account at " strong { (provider) } ", for calls that you make through \
                 this server. Go on only if you have just asked for it."
            }
            @if let Some(problem) = problem { (alert(problem)) }
            form method="post" action=(form.action) {
                (form.hidden())
                @if takes_users {
                    label for="user" { "User name, if you show a password" }
                    input #user name="user" autocomplete="username" autocapitalize="none";
                }
                label for="credential" { "Key, token or password with which your client calls this server" }
                input #credential name="credential" type="password" autocomplete="off" autofocus
                    required[!takes_certificates];
                button type="submit" { "Continue" }
            }
        };
        Self { title: format!("Connect an account for {name}"), content }
    }

    /// The page with the number that a person compares with the one in their client.
    pub(super) fn compare(name: &str, provider: &str, code: &str, form: &PageForm<'_>) -> Self {
        let content = html! {
            p {
                "You are about to connect your account at " strong { (provider) } ". Go on only if your client shows \
                 the same number:"
            }
            p.number { (code) }
            form method="post" action=(form.action) {
                (form.hidden())
                button type="submit" { "The numbers are the same" }
            }
        };
        Self { title: format!("Connect an account for {name}"), content }
    }

    /// The page with the connected account.
    pub(super) fn connected(name: &str, account: &ConnectedAccount, form: &PageForm<'_>) -> Self {
        let title = match &account.account {
            Some(account) => format!("Connected as {account}"),
            None => "Connected".to_owned(),
        };
        let lacking = account.not_granted.join(", ");
        let content = html! {
            p.done role="status" {
                "Your account is connected for " strong { (name) } ". You can close this page and repeat the call in \
                 your client."
            }
            @if !lacking.is_empty() {
                (alert(&format!("The provider has not granted {lacking}. Some calls may fail.")))
            }
            form method="post" action=(form.action) {
                (form.hidden())
                button type="submit" { "Disconnect" }
            }
        };
        Self { title, content }
    }

    /// The page after an account was disconnected.
    pub(super) fn disconnected(name: &str) -> Self {
        let content = html! {
            p.done role="status" {
                "The tokens for " strong { (name) } " are forgotten here. Take the access back at the provider, too."
            }
        };
        Self { title: "Disconnected".to_owned(), content }
    }

    /// The page for something that is not possible.
    pub(super) fn problem(title: &str, message: &str) -> Self {
        Self { title: title.to_owned(), content: alert(message) }
    }

    pub(super) fn response(self, status: StatusCode) -> Response<Body> {
        page(status, &self.title, self.content).map(Body::whole)
    }
}

impl PageForm<'_> {
    fn hidden(&self) -> Markup {
        html! { (hidden("form", self.token)) (hidden("t", self.link)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_elsewhere_becomes_markup() {
        let evil = "\"><script>alert(1)</script>&'";
        let form = PageForm { action: evil, token: evil, link: evil };
        let account = ConnectedAccount {
            account: Some(evil.to_owned()),
            not_granted: vec![evil.to_owned()],
            link: evil.into(),
        };
        for page in [
            Page::who_are_you(evil, evil, (true, true), Some(evil), &form),
            Page::compare(evil, evil, evil, &form),
            Page::connected(evil, &account, &form),
            Page::disconnected(evil),
            Page::problem(evil, evil),
        ] {
            let text = format!("{} {}", html! { (page.title) }.into_string(), page.content.into_string());
            assert!(!text.contains("<script") && text.contains("&quot;&gt;&lt;script"), "{text}");
        }
    }
}
