//! Resources of a running process: its log and metrics, child processes, descriptors, lines from untrusted senders,
//! tables in which each party has a share, and the buckets of limits.

#![forbid(unsafe_code)]

pub mod buckets;
pub mod core_dumps;
pub mod descriptors;
pub mod free_memory;
pub mod leftovers;
pub mod lines;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod priority;
pub mod processes;
pub mod shares;
pub mod workers;
