//! Witgate: an MCP host whose security is made of WebAssembly plugins.
//!
//! The modules stand in the order of a request.

pub mod cli;
pub mod config;
pub mod server;
pub mod flow;
pub mod policy;
pub mod plugin;
pub mod generation;
pub mod key_store;
pub mod plugin;
pub mod policy;
pub mod reload;
pub mod serve;
pub mod server;
pub mod services;
pub mod generation;
pub mod reload;
pub mod upstream;
pub mod metrics;
pub mod status;
pub mod serve;
