//! The credentials with which Witgate calls upstreams. They are chosen after a call is authorized, no policy sees them,
//! and a call whose credential is missing is not made.

#![forbid(unsafe_code)]

mod account;
pub mod caller_token;
mod client;
pub mod connect;
pub mod credential_user;
mod exchanged_tokens;
pub mod fault;
pub mod grant_key;
mod grant_source;
pub mod grant_store;
pub mod held_token;
pub mod login;
mod login_check;
pub mod login_id;
mod open_renewals;
mod principal_grants;
#[cfg(test)]
mod provider_double;
pub mod registry;
mod token_answer;
pub mod token_files;
mod token_folder;
mod token_keeper;
mod token_source;
mod token_sources;
pub mod upstream_credential;
