//! The integration tests, in one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking

mod policies;
mod shutdown;
mod swap;
mod talk;
mod upstream_faults;
