//! The integration tests, in one binary.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod attacks;
mod bad_input;
mod examples;
mod pages;
mod policies;
mod secrets;
