//! The limit of open file descriptors (`RLIMIT_NOFILE`). It is raised for this process, but not for the programs that
//! it starts.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The maximum soft limit: the usual value of `fs.nr_open`. Some container runtimes set a hard limit that is a thousand
/// times as high, which would be of no use.
const HIGHEST: u64 = 1 << 20;

/// The assumed limit if the system sets none.
const UNLIMITED: u64 = HIGHEST;

/// The limit at the start of this process. Unset: the limit was not raised.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit to the hard limit, at most to 1,048,576. If the system refuses, the limit stays as it is.
pub fn raise() {
    let before = getrlimit(Resource::Nofile);
    let highest = before.maximum.unwrap_or(HIGHEST).min(HIGHEST);
    if before.current.is_none_or(|current| current >= highest) {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(highest), ..before }) {
        Ok(()) => _ = BEFORE.set(before),
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised (RLIMIT_NOFILE)"),
    }
}

/// The maximum number of open descriptors of this process.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED)
}

/// Gives a new child process the soft limit with which this process was started. Some programs go through every
/// possible descriptor, or use `select`, which can only handle 1,024. Only Linux can change the limit of another
/// process; on other systems, the child keeps the raised limit.
pub fn restore(child: Option<u32>) {
    #[cfg(target_os = "linux")]
    if let (Some(before), Some(child)) = (BEFORE.get(), child) {
        let child = i32::try_from(child).ok().and_then(rustix::process::Pid::from_raw);
        // A child that has already ended needs no limit. If the system refuses, the child keeps the raised limit.
        _ = child.map(|child| rustix::process::prlimit(Some(child), Resource::Nofile, *before));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = child;
}
