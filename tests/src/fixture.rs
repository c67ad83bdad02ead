//! An MCP server with one of everything, for the tests to put behind Witgate.
//!
//! Its answers are those that the official conformance suite requires of a server in revisions 2025-11-25 and
//! 2026-07-28: names, texts and schemas are the suite's, not ours. It protects nothing, so that every refusal in a
//! test comes from Witgate.

#![expect(
    deprecated,
    reason = "the suite still asks for sampling, roots and logging, which SEP-2577 deprecates"
)]

mod changes;
mod completions;
mod input;
mod payloads;
mod prompts;
mod resources;
mod server;
mod sessions;
mod state;
mod tools;
pub mod transports;

pub use state::Fixture;
