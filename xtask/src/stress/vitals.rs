//! The resources of a process, as the kernel counts them.

use std::fs;

use anyhow::{Context, Result};

/// The resources of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vitals {
    /// Resident memory, in bytes.
    pub(crate) memory: u64,
    pub(crate) threads: usize,
    pub(crate) files: usize,
}

impl Vitals {
    pub(crate) fn of(process: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        let count =
            |what: &str| Ok::<_, std::io::Error>(fs::read_dir(format!("/proc/{process}/{what}"))?.count());
        Ok(Self {
            memory: kibibytes.context("no VmRSS")? * 1024,
            threads: count("task")?,
            files: count("fd")?,
        })
    }
}
