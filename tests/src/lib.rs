//! The harness that the integration tests stand on.

pub mod clients;
