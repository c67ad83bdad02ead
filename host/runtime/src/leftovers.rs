//! The removal of temporary files that killed processes have left. Such a process was about to replace a file.

use std::fs;
use std::path::Path;
use std::time::Duration;

use witgate_base::clock;

/// The minimum age of a file that is removed. No write takes that long. A younger file may still be in use by another
/// process.
pub const AGE: Duration = Duration::from_secs(600);

/// Removes old temporary files from a directory of Witgate's own.
pub fn remove(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    // `tempfile` gives its files such names.
    let temporary = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b".tmp"));
    for entry in temporary {
        let changed = entry.metadata().and_then(|metadata| metadata.modified());
        let age = changed.ok().and_then(|changed| clock::system_time().duration_since(changed).ok());
        if age.is_some_and(|age| age > AGE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
