//! Values and small tools, independent of MCP, policies and the network.

#![forbid(unsafe_code)]

pub mod breaker;
pub mod cause;
pub mod clock;
pub mod digest;
pub mod fingerprints;
pub mod networks;
pub mod own_children;
pub mod party;
pub mod path;
pub mod peer;
pub mod pem;
pub mod printable;
pub mod provenance;
pub mod seal;
pub mod signing;
pub mod whole_file;
pub mod zone;
