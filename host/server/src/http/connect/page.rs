//! The text of the pages.

use std::sync::LazyLock;

use ::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use ::http::{HeaderValue, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::http::body::Body;
use crate::http::responses::with_status;
use witgate_base::digest::sha256;
use witgate_credentials::connect::ConnectedAccount;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1rem/1.5 system-ui,sans-serif;margin:0;padding:2rem 1rem}\
main{max-width:32rem;margin:0 auto}\
h1{font-size:1.4rem}\
label{display:block;margin-top:1rem;font-weight:600}\
input{box-sizing:border-box;width:100%;padding:.5rem;font:inherit}\
button{margin-top:1.25rem;padding:.5rem 1.25rem;font:inherit}\
.code{font:600 2rem/1.5 ui-monospace,monospace;letter-spacing:.2em}\
.problem{border-inline-start:.25rem solid #c62828;padding-inline-start:.75rem}";

/// Only the style of these pages is loaded. There is no `form-action`: it would stop the way from a form to the provider.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = STANDARD.encode(sha256(STYLE.as_bytes()));
    let text =
        format!("default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; frame-ancestors 'none'");
    HeaderValue::try_from(text)
        .unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"))
});

/// A page.
pub(super) struct Page {
    title: String,
    content: String,
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
        let problem = problem.map_or_else(String::new, |text| {
            format!("<p class=\"problem\" role=\"alert\">{}</p>", escaped(text))
        });
        let user = match takes_users {
            true => {
                "<label for=\"user\">User name, if you show a password</label>\
                 <input id=\"user\" name=\"user\" autocomplete=\"username\" autocapitalize=\"none\">"
            }
            false => "",
        };
        let required = if takes_certificates { "" } else { " required" };
        let content = format!(
            "<p>You are about to connect your account at <strong>{}</strong>, for calls that you make through this \
             server. Go on only if you have just asked for it.</p>{problem}\
             <form method=\"post\" action=\"{}\">{}{user}\
             <label for=\"credential\">Key, token or password with which your client calls this server</label>\
             <input id=\"credential\" name=\"credential\" type=\"password\" autocomplete=\"off\" autofocus{required}>\
             <button type=\"submit\">Continue</button></form>",
            escaped(provider),
            escaped(form.action),
            form.hidden(),
        );
        Self { title: format!("Connect an account for {name}"), content }
    }

    /// The page with the number that a person compares with the one in their client.
    pub(super) fn compare(name: &str, provider: &str, code: &str, form: &PageForm<'_>) -> Self {
        let content = format!(
            "<p>You are about to connect your account at <strong>{}</strong>. Go on only if your client shows the same \
             number:</p><p class=\"code\">{}</p>\
             <form method=\"post\" action=\"{}\">{}<button type=\"submit\">The numbers are the same</button></form>",
            escaped(provider),
            escaped(code),
            escaped(form.action),
            form.hidden(),
        );
        Self { title: format!("Connect an account for {name}"), content }
    }

    /// The page with the connected account.
    pub(super) fn connected(name: &str, account: &ConnectedAccount, form: &PageForm<'_>) -> Self {
        let title = match &account.account {
            Some(account) => format!("Connected as {account}"),
            None => "Connected".to_owned(),
        };
        let lacking = match account.not_granted.as_slice() {
            [] => String::new(),
            scopes => format!(
                "<p class=\"problem\" role=\"alert\">The provider has not granted {}. Some calls may fail.</p>",
                escaped(&scopes.join(", "))
            ),
        };
        let content = format!(
            "<p role=\"status\">Your account is connected for <strong>{}</strong>. You can close this page and repeat \
             the call in your client.</p>{lacking}\
             <form method=\"post\" action=\"{}\">{}<button type=\"submit\">Disconnect</button></form>",
            escaped(name),
            escaped(form.action),
            form.hidden(),
        );
        Self { title, content }
    }

    /// The page after an account was disconnected.
    pub(super) fn disconnected(name: &str) -> Self {
        let content = format!(
            "<p role=\"status\">The tokens for <strong>{}</strong> are forgotten here. Take the access back at the \
             provider, too.</p>",
            escaped(name)
        );
        Self { title: "Disconnected".to_owned(), content }
    }

    /// The page for something that is not possible.
    pub(super) fn problem(title: &str, message: &str) -> Self {
        let content = format!("<p class=\"problem\" role=\"alert\">{}</p>", escaped(message));
        Self { title: title.to_owned(), content }
    }

    pub(super) fn response(&self, status: StatusCode) -> Response<Body> {
        let title = escaped(&self.title);
        let text = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>{title}</title><style>{STYLE}</style></head>\
             <body><main><h1>{title}</h1>{}</main></body></html>",
            self.content
        );
        let mut response = with_status(status, Body::whole(text.into()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        response
    }
}

impl PageForm<'_> {
    fn hidden(&self) -> String {
        format!(
            "<input type=\"hidden\" name=\"form\" value=\"{}\"><input type=\"hidden\" name=\"t\" value=\"{}\">",
            escaped(self.token),
            escaped(self.link)
        )
    }
}

/// A text within HTML, or within an attribute in double quotes.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
        escaped
    })
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
            let text = format!("{}{}", escaped(&page.title), page.content);
            assert!(!text.contains("<script") && !text.contains("&'"), "{text}");
        }
    }

    #[test]
    fn a_page_runs_nothing_and_is_in_no_frame() {
        let response = Page::problem("No", "no").response(StatusCode::OK);
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("form-action"), "{policy}");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(response.headers()[REFERRER_POLICY], "no-referrer");
    }
}
