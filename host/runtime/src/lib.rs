//! Resources of a running process: its log and metrics, child processes, descriptors, lines from untrusted senders, and
//! tables in which each party has a share.

#![forbid(unsafe_code)]

pub mod descriptors;
pub mod leftovers;
pub mod lines;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod processes;
pub mod shares;
pub mod workers;
