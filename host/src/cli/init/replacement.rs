//! Replaces a file as a whole.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use witgate_base::whole_file;

/// Writes a file as a whole: after an error, or a kill at any time, there is the former file. Its permissions stay, and
/// so does a symbolic link to it.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let former = match path.canonicalize() {
        Ok(former) => former,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return File::create(path)?.write_all(text.as_bytes());
        }
        Err(error) => return Err(error),
    };
    let permissions = former.metadata()?.permissions();
    whole_file::replace(&former, |new| {
        new.set_permissions(permissions)?;
        new.write_all(text.as_bytes())?;
        new.sync_all()
    })
}
