//! The credentials with which Witgate calls upstreams. They are chosen after a call is authorized, no policy sees them,
//! and a call whose credential is missing is not made.

#![forbid(unsafe_code)]

pub mod caller_token;
mod client;
mod exchanged_tokens;
pub mod fault;
mod grant_source;
pub mod grant_store;
pub mod login;
mod login_check;
mod open_renewals;
#[cfg(test)]
mod provider_double;
pub mod registry;
mod token_answer;
mod token_keeper;
mod token_sources;
pub mod upstream_credential;
