//! The harness of the integration tests.

// Tests end at the first failed expectation, and report it by a panic.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

pub mod cases;
pub mod clients;
pub mod conformance;
pub mod console;
pub mod fixture;
pub mod gateway;
pub mod hostile;
pub mod issuer;
pub mod oauth;
pub mod pki;
pub mod possession;
pub mod provider;
pub mod recorder;
pub mod tls_client;
pub mod tls_server;
pub mod tunnels;
pub mod wire;
