//! The listeners: HTTP, stdio, admin and control socket. This crate makes no decisions about calls.

#![forbid(unsafe_code)]
#![recursion_limit = "256"]

pub mod connections;
pub mod hosts;
pub mod http;
pub mod proxies;
pub mod refusals;
pub mod stdio;
pub mod tls;
