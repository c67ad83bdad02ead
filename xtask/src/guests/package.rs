//! A package, and the component that it becomes.

use std::path::PathBuf;

use witgate_build::guest::STRIPPED;

/// A crate that becomes a component.
pub(super) struct Guest {
    pub(super) package: String,
    /// Below `target/plugins`, without `.wasm`.
    pub(super) output: String,
    pub(super) profile: &'static str,
    /// The manifest of a workspace of its own, if it has one.
    pub(super) manifest: Option<PathBuf>,
    /// The component that it is composed with, if it is.
    pub(super) behind: Option<String>,
}

impl Guest {
    pub(super) fn new(package: impl Into<String>, output: impl Into<String>) -> Self {
        Self {
            package: package.into(),
            output: output.into(),
            profile: STRIPPED,
            manifest: None,
            behind: None,
        }
    }
}
