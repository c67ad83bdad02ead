//! The limit of open file descriptors (`RLIMIT_NOFILE`): raised for this process, not for the programs that it starts.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The highest soft limit that is asked for, the usual `fs.nr_open`. Where the hard limit is a thousand times as much, as
/// under some container runtimes, nothing would be gained by it.
const HIGHEST: u64 = 1 << 20;

/// The assumed limit where the system has none.
const UNLIMITED: u64 = HIGHEST;

/// The limit that this process was started with. Unset: it was not raised.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit to the hard one, at most to a million. Where that is refused, the limit stays as it is.
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

/// The maximum number of descriptors that this process may have open.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED)
}

/// Gives a process that was just started the soft limit that this one was started with: programs exist that go through
/// every possible descriptor, or use `select`, which knows 1,024. Only Linux can change another process's limit; elsewhere
/// it keeps the raised one.
pub fn restore(child: Option<u32>) {
    #[cfg(target_os = "linux")]
    if let (Some(before), Some(child)) = (BEFORE.get(), child) {
        let child = i32::try_from(child).ok().and_then(rustix::process::Pid::from_raw);
        // A child that has already ended needs no limit; what it was denied, it is denied with its former limit, too.
        _ = child.map(|child| rustix::process::prlimit(Some(child), Resource::Nofile, *before));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = child;
}
