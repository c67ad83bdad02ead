//! From a configuration to a running gateway.

use crate::config::Config;
use crate::config::environment::Environment;

/// Why Witgate could not serve.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ServeError(pub String);

/// Serves until a signal to stop.
///
/// # Errors
/// With one sentence on what keeps it from starting, before anything has started.
pub async fn run(_config: Config, _environment: Environment) -> Result<(), ServeError> {
    // Seam: filled in where the parts come together.
    Err(ServeError("this build cannot serve yet".to_owned()))
}
