//! Witgate: an MCP host whose security is made of WebAssembly plugins.
//!
//! The modules stand in the order of a request; what runs beside requests follows.

pub mod flow;
pub mod plugin;
pub mod policy;
pub mod server;
pub mod services;
pub mod upstream;

mod breaker;
pub mod cli;
pub mod config;
pub mod fingerprints;
pub mod generation;
pub mod key_store;
mod leftovers;
pub mod metrics;
pub mod provenance;
pub mod reload;
pub mod serve;
pub mod status;
pub mod whole_file;
