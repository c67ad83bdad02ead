//! Absolute paths.

use std::path::{Path, PathBuf};

/// The absolute path, with links unresolved. If the working directory is not known, the path stays as it is.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
