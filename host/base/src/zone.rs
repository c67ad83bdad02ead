//! Zones of host names, in settings: `*.example.com`.

/// The prefix of a zone. It stands for exactly one label before the rest of the name.
pub const ANY_LABEL: &str = "*.";
