//! The listeners: HTTP, stdio, admin and control socket. Nothing is decided here.

pub mod admin;
pub(crate) mod connections;
pub mod control;
mod hosts;
pub mod http;
pub(crate) mod proxies;
pub(crate) mod recording;
pub mod stdio;
pub mod tls;
