//! Waiting for what takes its time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// A slow machine's patience; what is waited for takes milliseconds on a good one.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Looks at something until it is there.
pub(super) fn await_some<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if started.elapsed() > PATIENCE {
            bail!("{what}: not within {} s", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(20));
    }
}
