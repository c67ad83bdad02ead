//! The integration tests, in one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod attacks;
mod bad_input;
mod examples;
mod pages;
mod policies;
mod secrets;
