//! Loads components, links them with the granted interfaces, keeps their instances in pools, and calls them within
//! their limits.

pub mod anatomy;
pub mod compile;
pub mod compile_queue;
mod disk_cache;
pub mod engine;
pub mod engine_start;
mod epochs;
pub mod failure;
pub mod fault;
pub mod grants;
pub mod instance;
pub mod last_lines;
mod linker;
pub mod load;
pub mod output;
pub mod pool;
pub mod settings;
mod slow_lane;
mod state;
pub mod store;
mod time;
mod trace;
pub mod v0_1;
