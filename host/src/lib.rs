//! Witgate: an MCP host whose security is made of WebAssembly plugins.
//!
//! Most people want the program `witgate`. This library is for programs that contain an MCP server, and want it guarded:
//!
//! - [`embed`]: the whole pipeline as a tower layer before a service of your own, built from a `witgate.toml` and changed
//!   with it while it runs.
//! - [`config`]: that file, read, checked and resolved; all its faults at once, each with its place.
//! - The crate `witgate-plugin`: for writing a policy.
//!
//! A program can check a configuration without serving anything:
//!
//! ```no_run
//! use witgate::config::{Environment, load};
//!
//! match load(Some("witgate.toml".as_ref()), &Environment::of_process()) {
//!     Ok(loaded) => {
//!         for upstream in &loaded.config.upstreams {
//!             println!("{} is served at {}", upstream.name, upstream.path);
//!         }
//!     }
//!     Err(faults) => faults.iter().for_each(|fault| eprintln!("{fault}")),
//! }
//! ```
//!
//! `ARCHITECTURE.md` in the repository is the map of the crates behind it, which change without notice.

#![forbid(unsafe_code)]
// The path of one call is a deep nest of futures.
#![recursion_limit = "256"]

mod access;
mod account_pages;
mod accounts;
mod admin;
mod caller_tools;
#[doc(hidden)]
pub mod cli;
mod control;
pub mod embed;
mod loopback;
mod operation;
mod outgoing_checkpoints;
mod reload;
mod revocation;
mod routes;
mod serve;
mod traces;

/// The configuration file `witgate.toml`: read, checked and resolved.
pub mod config {
    #[doc(inline)]
    pub use witgate_config::Config;
    #[doc(inline)]
    pub use witgate_config::diagnostic::Diagnostic;
    #[doc(inline)]
    pub use witgate_config::environment::Environment;
    #[doc(inline)]
    pub use witgate_config::resolve::{LoadedConfig, load};
}

/// Compiles the README's examples.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
