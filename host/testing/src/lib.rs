//! Helpers for the tests of the host's crates.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]

pub mod growth;
pub mod http_double;
pub mod keys;
pub mod shortage;
