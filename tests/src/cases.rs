//! The shared table of cases: what each of the shipped policies has to say, whatever runs it.
//!
//! A [`Table`] is read from `tests/cases/*.toml` and is free of code. [`run()`] puts it to a
//! [`Subject`]: the built-in ([`native::Native`]), or a component in the host's engine
//! ([`component::Components`]). Everything
//! that a policy may ask of its host while a case runs is answered by [`FakeHost`], so that clock,
//! keys and servers are the case's own.

pub mod component;
pub mod host;
pub mod native;
mod raw;
pub mod run;
pub mod table;
pub mod token;

pub use host::FakeHost;
pub use run::{Subject, run};
pub use table::{Case, Exchange, Key, Kind, Step, Table};
