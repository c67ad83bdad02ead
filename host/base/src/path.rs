//! Paths in full.

use std::path::{Path, PathBuf};

/// The path in full, with links as they are. Where the working directory cannot be told, it stays as it is.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
