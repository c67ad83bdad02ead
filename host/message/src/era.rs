//! The two eras of the protocol.

/// The protocol era of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// Up to 2025-11-25: `initialize`, sessions, and requests of the server.
    Stateful,
    /// From 2026-07-28: each request contains all its metadata.
    Stateless,
}
