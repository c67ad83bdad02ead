//! A package, and the component that is built from it.

use std::path::PathBuf;

use witgate_build::guest::STRIPPED;

/// A crate that is built as a component.
pub(super) struct Guest {
    pub(super) package: String,
    /// The path of the component below `target/plugins`, without `.wasm`.
    pub(super) output: String,
    pub(super) profile: &'static str,
    /// The manifest of the guest's own workspace, if it has one.
    pub(super) manifest: Option<PathBuf>,
    /// The component with which the guest is composed, if any.
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
