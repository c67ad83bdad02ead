//! The integration tests, in one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking
#![allow(clippy::indexing_slicing)] // JSON that lacks a member reads as null, which no assertion takes for a success

mod clients;
mod conformance;
mod policies;
