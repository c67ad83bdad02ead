//! The errors of building a component, as far as callers distinguish them.

use std::io;
use std::path::Path;

/// The error when a project was not created, or not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name, a place or a file of the project is invalid: the fault, and what to do.
    #[error("{0}")]
    Project(String),
    /// `plugin.toml` is invalid: the fault, and what to do.
    #[error("{0}")]
    Manifest(String),
    /// A tool is missing: its name, and the commands that install it.
    #[error("{0}")]
    Tools(String),
    /// The source does not compile, or the component does not fit its world.
    #[error("{0}")]
    Source(String),
    /// A file cannot be read or written.
    #[error("{0}")]
    File(String),
}

impl Error {
    pub(crate) fn io(path: &Path, error: &io::Error) -> Self {
        Self::File(format!("{}: {error}", path.display()))
    }

    /// An error of the installation of tools.
    pub(crate) fn tools(error: anyhow::Error) -> Self {
        Self::Tools(format!("{error:#}"))
    }
}
