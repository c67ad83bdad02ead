//! Component files by digest, for rollbacks to a component whose file has been replaced.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use witgate_plugin::Digest;

use witgate_base::digest::{digest_text, sha256};
use witgate_base::whole_file;
use witgate_runtime::leftovers;

/// Bytes of a file that are compared at once.
const COMPARED: usize = 64 << 10;

/// A directory of component files.
#[derive(Debug)]
pub struct ComponentStore {
    dir: PathBuf,
}

impl ComponentStore {
    /// A store in `dir`, which is created with the first file.
    pub fn new(dir: PathBuf) -> Self {
        leftovers::remove(&dir);
        Self { dir }
    }

    /// Stores a component. A failure of this has no other consequences: rollbacks then work while the process lives.
    pub(super) fn put(&self, bytes: &[u8], digest: &Digest) {
        let file = self.file(digest);
        // A file that was cut short by a crash of the machine is written again.
        if holds(&file, bytes) {
            return;
        }
        let written = || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
            whole_file::replace(&file, |new| new.write_all(bytes))
        };
        if let Err(error) = written() {
            tracing::debug!(%error, "a component was not kept in {}", self.dir.display());
        }
    }

    /// The component with `digest`, if it is stored and unchanged.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn get(&self, digest: &Digest) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.file(digest)) {
            Ok(bytes) => Ok(Some(bytes).filter(|bytes| sha256(bytes) == *digest)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes all but `digests`.
    pub(super) fn keep_only(&self, digests: &HashSet<Digest>) {
        let wanted: HashSet<_> = digests.iter().map(|digest| self.file(digest)).collect();
        let files = fs::read_dir(&self.dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let components = files.filter(|file| file.extension().is_some_and(|suffix| suffix == "wasm"));
        for file in components.filter(|file| !wanted.contains(file)) {
            let _ = fs::remove_file(file);
        }
    }

    pub(super) fn file(&self, digest: &Digest) -> PathBuf {
        let text = digest_text(digest);
        self.dir.join(format!("{}.wasm", text.trim_start_matches("sha256:")))
    }
}

/// True if `file` has exactly these bytes. They are compared in parts: most starts find every component stored, and
/// need neither its digest nor memory for a second copy.
fn holds(file: &Path, bytes: &[u8]) -> bool {
    let Ok(mut file) = fs::File::open(file) else { return false };
    let is_as_long = file.metadata().is_ok_and(|metadata| metadata.len() == bytes.len() as u64);
    let mut read = vec![0; COMPARED.min(bytes.len())];
    is_as_long
        && bytes.chunks(COMPARED).all(|part| {
            read.get_mut(..part.len()).is_some_and(|read| file.read_exact(read).is_ok() && *read == *part)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use witgate_base::clock;

    #[test]
    fn a_truncated_component_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let store = ComponentStore::new(dir.path().to_owned());
        let digest = sha256(b"a component");
        fs::write(store.file(&digest), b"a comp").unwrap();
        assert_eq!(store.get(&digest).unwrap(), None);
        store.put(b"a component", &digest);
        assert_eq!(store.get(&digest).unwrap().as_deref(), Some(&b"a component"[..]));
    }

    #[test]
    fn a_changed_component_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let store = ComponentStore::new(dir.path().to_owned());
        let component = vec![7; 2 * COMPARED + 1];
        let digest = sha256(&component);
        for changed in [0, COMPARED - 1, COMPARED, 2 * COMPARED] {
            let mut other = component.clone();
            other[changed] = 8;
            fs::write(store.file(&digest), other).unwrap();
            store.put(&component, &digest);
            assert_eq!(store.get(&digest).unwrap().as_ref(), Some(&component), "byte {changed}");
        }
        fs::write(store.file(&digest), [&component[..], b"more"].concat()).unwrap();
        store.put(&component, &digest);
        assert_eq!(store.get(&digest).unwrap().as_ref(), Some(&component));
    }

    #[test]
    fn leftovers_of_a_killed_process_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (left, path) = tempfile::NamedTempFile::new_in(&dir).unwrap().keep().unwrap();
        left.set_modified(clock::system_time() - 2 * leftovers::AGE).unwrap();
        ComponentStore::new(dir.path().to_owned());
        assert!(!path.exists());
    }
}
