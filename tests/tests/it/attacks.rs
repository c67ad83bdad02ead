//! Attacks over the wire: a real Witgate in front of real upstreams of every kind.

mod admin;
mod answers;
mod audit_lines;
mod blocked_log;
mod bodies;
mod breaker;
mod children;
mod connections;
mod damaged_cache;
mod lists;
mod messages;
mod protocol_headers;
mod readers;
mod recorded_credentials;
mod rights;
mod sessions;
mod shared_child;
mod stream_rights;
mod testbed;
mod transport;
