//! Zones of host names, as settings write them: `*.example.com`.

/// The prefix that lets an allowed host stand for the names of a zone: exactly one label comes before the
/// rest.
pub const ANY_LABEL: &str = "*.";
