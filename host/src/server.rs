//! The listeners: HTTP, stdio, admin and control socket. Nothing is decided here.

pub(crate) mod connections;
pub(crate) mod hosts;
pub mod http;
pub(crate) mod proxies;
pub mod stdio;
pub mod tls;
