//! Removes the temporary files of processes that were killed while they replaced a file.

use std::fs;
use std::path::Path;
use std::time::Duration;

use witgate_base::clock;

/// Nobody writes for so long. Younger ones may be those of another process.
pub const AGE: Duration = Duration::from_secs(600);

/// Removes old temporary files from a directory of Witgate's own.
pub fn remove(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    // As `tempfile` names them.
    let temporary = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b".tmp"));
    for entry in temporary {
        let changed = entry.metadata().and_then(|metadata| metadata.modified());
        let age = changed.ok().and_then(|changed| clock::system_time().duration_since(changed).ok());
        if age.is_some_and(|age| age > AGE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
