//! People who log in at Witgate itself: their database, and a small OAuth 2.1 authorization server with its pages.
//!
//! Nothing here is on the path of a call. The `jwt` policy judges the tokens, from two files that this crate writes: the
//! public keys, and the logins that have ended.

#![forbid(unsafe_code)]

pub mod client;
pub mod database;
pub mod error;
pub mod event;
pub mod login_method;
pub mod meters;
mod moment;
pub mod passkey;
mod provider;
mod random;
pub mod redirect;
pub mod site;
pub mod store;
#[cfg(test)]
mod test_accounts;
#[cfg(test)]
mod test_provider;
pub mod totp;
