//! Witgate: an MCP host whose security is made of WebAssembly plugins.
//!
//! Most people want the program `witgate`. This library is what it is made of, for programs that have an MCP server in
//! them, and for tools around policies. Where to begin:
//!
//! - [`embed`]: the whole pipeline as a tower layer before a service of your own, made from a `witgate.toml` and changed
//!   with it while it runs.
//! - [`config`]: that file, read, checked and resolved; everything that is wrong with it at once, each with its place.
//! - [`policy`]: one check, component or built-in, behind one face; [`cases`] tests it.
//! - The crate `witgate-plugin`: for writing a policy.
//!
//! A configuration is looked at without serving anything:
//!
//! ```no_run
//! use witgate::config::environment::Environment;
//! use witgate::config::resolve;
//!
//! match resolve::load(Some("witgate.toml".as_ref()), &Environment::of_process()) {
//!     Ok(loaded) => {
//!         for upstream in &loaded.config.upstreams {
//!             println!("{} is served at {}", upstream.name, upstream.path);
//!         }
//!     }
//!     Err(faults) => faults.iter().for_each(|fault| eprintln!("{fault}")),
//! }
//! ```
//!
//! Its policies are made by a [`factory::Factory`], which is also how one finds out whether they can be used:
//!
//! ```no_run
//! # async fn example(config: witgate::config::Config) -> Result<(), Box<dyn std::error::Error>> {
//! use witgate::clock::Clock;
//! use witgate::config::environment::Environment;
//! use witgate::factory::Factory;
//! use witgate::plugin::compile::Compiler;
//! use witgate::plugin::engine::Engine;
//! use witgate::plugin::load::Loader;
//!
//! let loader = Loader::new(Engine::new()?, Compiler::Within, None);
//! let factory = Factory::new(loader, Environment::of_process(), Clock::System);
//! match factory.candidate(&config, None).await {
//!     Ok(generation) => generation.policies().for_each(|policy| println!("{} is good", policy.name())),
//!     Err(errors) => errors.iter().for_each(|error| eprintln!("{error}")),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The other modules are in the order of a request; what runs beside requests follows. They are public for the
//! program, its tests and its benchmarks, and change with them. `ARCHITECTURE.md` in the repository is the map.

// The way of one call is a deep nest of futures.
#![recursion_limit = "256"]

pub mod flow;
pub mod message;
pub mod plugin;
pub mod policy;
pub mod server;
pub mod services;
pub mod upstream;

pub mod admin;
mod breaker;
pub mod cases;
pub mod cause;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
mod descriptors;
pub mod digest;
pub mod embed;
pub mod factory;
pub mod fingerprints;
pub mod generation;
pub mod key_store;
mod leftovers;
pub mod lines;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod network;
pub mod party;
pub mod peer;
mod pem;
mod printable;
mod processes;
pub mod provenance;
pub mod reload;
pub mod serve;
mod shares;
pub mod signing;
pub mod status;
pub mod whole_file;
pub mod zone;

/// Compiles the README's examples.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
