//! The paths of pages that other pages lead to.

/// The second step of a login.
pub(super) const CODE: &str = "/login/code";

/// The login with a passkey.
pub(super) const PASSKEY_LOGIN: &str = "/login/passkey";

/// One-time links.
pub(super) const LINK: &str = "/login/link";

/// The second factor of an account.
pub(super) const SECOND_FACTOR: &str = "/account/second-factor";

/// The passkeys of an account.
pub(super) const PASSKEYS: &str = "/account/passkeys";

/// The place where a browser goes on after a login, before the request of a client that has this query.
pub(super) fn after_login(next: &str) -> String {
    match next {
        "" => "/account".to_owned(),
        query => format!("/oauth/authorize?{query}"),
    }
}

/// The page at `path`, before the request of a client that has this query.
pub(super) fn before(path: &str, next: &str) -> String {
    match next {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}
