//! Properties that hold for any bytes.
//!
//! Each module has one `check`, which takes any input and panics where something does not hold. The
//! targets of `fuzz/` generate inputs; the tests run the seeds, on any toolchain.

// A check reports what does not hold by a panic.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

pub mod accounts;
pub mod config;
pub mod credentials;
pub mod dpop;
pub mod http_answer;
pub mod jwks;
pub mod jwt;
mod scan;
pub mod strict_json;
pub mod users;
pub mod wit_output;

/// Takes any input, and panics where something does not hold.
pub type Check = fn(&[u8]);

/// The checks, by the names of their fuzz targets.
pub const CHECKS: &[(&str, Check)] = &[
    ("accounts", accounts::check),
    ("config", config::check),
    ("credentials", credentials::check),
    ("dpop", dpop::check),
    ("http_answer", http_answer::check),
    ("jwks", jwks::check),
    ("jwt", jwt::check),
    ("strict_json", strict_json::check),
    ("users", users::check),
    ("wit_output", wit_output::check),
];
