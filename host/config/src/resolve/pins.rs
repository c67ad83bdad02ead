//! `pins` of an upstream, and the file of approved definitions.

use std::sync::Arc;

use super::resolver::Resolver;
use crate::pins::{LockFile, LockFileError, PinMode, Pins, lock_path};
use crate::raw;
use witgate_base::cause::Cause;
use witgate_base::whole_file::FileError;

impl Resolver<'_> {
    /// The comparison of an upstream's definitions with the approved ones. None: there is none.
    pub(super) fn pins(&mut self, name: &str, written: &raw::Upstream) -> Option<Pins> {
        let mode = match written.pins? {
            raw::PinSetting::Off => return None,
            raw::PinSetting::Warn => PinMode::Warn,
            raw::PinSetting::Hold => PinMode::Hold,
        };
        let path = lock_path(&self.base);
        self.files.note(&path);
        let at = ["upstreams", name, "pins"];
        let file = match LockFile::read(&path) {
            Ok(file) => file.unwrap_or_default(),
            Err(error) => {
                let help = "restore a copy of the file, such as the last one in git, or remove it and approve all \
                            definitions again with `witgate upstream approve`";
                self.error_of(cause(&error), &at, error.to_string(), help);
                return Some(Pins { mode, approved: Arc::default(), is_damaged: true });
            }
        };
        let approved = file.approved(name);
        if approved.is_empty() {
            let consequence = match mode {
                PinMode::Warn => "each of its tools, prompts and resources is reported",
                PinMode::Hold => "its tools, prompts and resources are neither listed nor callable",
            };
            let message = format!("no definition of the upstream `{name}` is approved, so {consequence}");
            let help = format!(
                "look at them with `witgate upstream diff {name} --live`, and approve them with `witgate upstream \
                 approve {name} --live`"
            );
            self.warning(&at, message, help);
        }
        Some(Pins { mode, approved: Arc::new(approved), is_damaged: false })
    }
}

fn cause(error: &LockFileError) -> Cause {
    match error {
        LockFileError::File(FileError::Io { error, .. }) => Cause::of(error),
        LockFileError::File(_) | LockFileError::Damaged { .. } => Cause::Content,
    }
}
