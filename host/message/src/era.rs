//! The two eras of the protocol.

/// The protocol era of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// Up to 2025-11-25: `initialize`, sessions, requests of the server's.
    Stateful,
    /// From 2026-07-28 on: each request says everything about itself.
    Stateless,
}
