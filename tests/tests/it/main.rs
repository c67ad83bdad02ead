//! The integration tests, in one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod examples;
mod pages;
mod attacks;
mod bad_input;
mod policies;
mod secrets;
