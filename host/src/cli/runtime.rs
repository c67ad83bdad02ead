//! The asynchronous runtime of commands.

use std::time::Duration;

use super::outcome::CommandFailure;
use witgate_runtime::workers;

/// Keep-alive of blocking threads: practically for ever. One is there from the start, since Tokio panics
/// where there is none and the system gives no other; with one, work waits.
const KEEP_THREADS: Duration = Duration::from_secs(365 * 86_400);

/// A runtime for the commands that wait.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CommandFailure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_keep_alive(KEEP_THREADS)
        .build()
        .map_err(|error| CommandFailure::new(format!("the system gives no threads: {error}")))?;
    drop(runtime.spawn_blocking(|| {}));
    runtime.spawn(workers::beat());
    Ok(runtime)
}
