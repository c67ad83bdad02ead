//! The Tokio runtime of commands.

use std::time::Duration;

use super::outcome::CommandFailure;
use witgate_runtime::workers;

/// The time for which idle blocking threads are kept: practically forever. One such thread is started at once. If there
/// were none and the system gave no further thread, Tokio would panic; with one, the work waits.
const KEEP_THREADS: Duration = Duration::from_secs(365 * 86_400);

/// Starts a runtime for the asynchronous commands.
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
