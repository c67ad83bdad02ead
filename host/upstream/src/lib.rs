//! The implementations of the flow's interface to upstreams (`flow::port`).

#![forbid(unsafe_code)]
#![recursion_limit = "256"]

pub mod any_upstream;
mod apis;
pub mod bridge;
pub mod caller_tools;
pub mod child;
mod child_credentials;
mod credential_states;
pub mod era;
pub mod http;
mod identity;
mod needs;
mod own_entries;
pub mod own_tools;
pub mod renewal;
pub mod session;
mod session_owner;
mod tools_beside;
