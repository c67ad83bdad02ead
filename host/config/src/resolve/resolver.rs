//! The state of a resolution: its inputs, the faults so far, and the files that were read.

use std::io;
use std::path::{Path, PathBuf};

use crate::diagnostic::Diagnostic;
use crate::document::Document;
use crate::environment::Environment;
use crate::secret_programs::SecretLifetime;
use crate::secrets::SecretSources;
use witgate_base::cause::{Cause, is_file};
use witgate_base::fingerprints::Fingerprints;
use witgate_base::path::absolute;

/// The state that all parts of the resolution share.
pub(super) struct Resolver<'a> {
    pub(super) document: &'a Document<'a>,
    pub(super) environment: &'a Environment,
    pub(super) sources: &'a SecretSources,
    pub(super) path: PathBuf,
    pub(super) base: PathBuf,
    /// The directory for data that survives a restart.
    pub(super) state: PathBuf,
    pub(super) faults: Vec<Diagnostic>,
    /// The files that were read, including the configuration file.
    pub(super) files: Fingerprints,
    /// The lifetimes of the secrets that were read for the present upstream.
    pub(super) lifetimes: Vec<SecretLifetime>,
    /// True if the components are known already, so that their files are not read.
    pub(super) again: bool,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(
        document: &'a Document<'a>,
        sources: &'a SecretSources,
        path: &Path,
        faults: Vec<Diagnostic>,
        files: Fingerprints,
    ) -> Self {
        let (environment, path, base) = (sources.environment(), absolute(path), base(path));
        let (state, lifetimes) = (base.clone(), Vec::new());
        Self { document, environment, sources, path, base, state, faults, files, lifetimes, again: false }
    }

    pub(super) fn path(&self, written: &str) -> PathBuf {
        self.base.join(written)
    }

    pub(super) fn error(&mut self, at: &[&str], message: impl Into<String>, help: impl Into<String>) {
        self.error_of(Cause::Content, at, message, help);
    }

    pub(super) fn error_of(
        &mut self,
        cause: Cause,
        at: &[&str],
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.faults.push(self.document.error(at, message).help(help).because_of(cause));
    }

    /// Checks whether `path`, the value of the setting `at`, exists. An error of the check is reported, because it
    /// does not mean that nothing exists.
    pub(super) fn presence(&mut self, at: &[&str], path: &Path) -> Presence {
        match is_file(path) {
            Ok(true) => Presence::File,
            Ok(false) => Presence::NoFile,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Presence::Nothing,
            Err(error) => {
                let message = format!("`{}` cannot be checked: {error}", path.display());
                let help = "check that the user who starts Witgate may read it, and that its disk works";
                self.error_of(Cause::of(&error), at, message, help);
                Presence::Unknown
            }
        }
    }

    pub(super) fn warning(&mut self, at: &[&str], message: impl Into<String>, help: impl Into<String>) {
        self.faults.push(self.document.warning(at, message).help(help));
    }
}

/// The result of the check of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    File,
    NoFile,
    Nothing,
    /// The check failed, which is already reported.
    Unknown,
}

/// The directory for relative paths in the configuration file `path`.
pub(super) fn base(path: &Path) -> PathBuf {
    absolute(path).parent().map_or_else(PathBuf::new, Path::to_owned)
}
