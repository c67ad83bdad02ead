//! Attacks over the wire: a real Witgate before real upstreams of every kind.

mod messages;
mod rights;
mod sessions;
mod transport;
mod world;
