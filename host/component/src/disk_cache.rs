//! Compiled components on disk.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::digest::{Context, SHA256};
use rustix::fs::{Access, AtFlags, CWD, OFlags, accessat};
use tempfile::NamedTempFile;
use witgate_plugin::Digest;

use super::compile::LARGEST_OUTPUT;
use super::engine::Engine;
use witgate_base::clock;
use witgate_base::digest::digest_text;
use witgate_base::whole_file;
use witgate_runtime::leftovers;

/// Maximum size of the compiled code on disk: a hundred components of interpreted languages, or thousands of others.
const LARGEST_CACHE: u64 = 4 << 30;

/// Bytes of the digest at the beginning of a file of the cache.
const DIGEST: usize = size_of::<Digest>();

/// Compiled components on disk, in a directory that only the user can write.
///
/// A process that can write there could run code in this process, as if it could write to the program itself. So a
/// directory or file that others could have written is not used. Disks and copies can also be faulty: a file begins
/// with a digest, which is compared with that of the bytes in use.
#[derive(Debug)]
pub(super) struct DiskCache {
    dir: PathBuf,
    /// The id of the engine of the code.
    id: String,
    owner: u32,
}

impl DiskCache {
    /// Opens the part of `dir` for this engine's version and settings.
    pub(super) fn open(dir: PathBuf, engine: &Engine) -> Result<Self, String> {
        let id = engine_id(engine);
        let dir = dir.join(format!("{id}-sha256"));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(|error| format!("cannot create {}: {error}", dir.display()))?;
        let metadata = fs::metadata(&dir).map_err(|error| error.to_string())?;
        // The owner of a file that this process has just written. Other files in the cache must have the same owner.
        let probe = NamedTempFile::new_in(&dir)
            .map_err(|error| format!("cannot write to {}: {error}", dir.display()))?;
        let owner = probe.as_file().metadata().map_err(|error| error.to_string())?.uid();
        if metadata.uid() != owner || metadata.permissions().mode() & 0o022 != 0 {
            return Err(format!("{} can be written by others", dir.display()));
        }
        leftovers::remove(&dir);
        Ok(Self { dir, id, owner })
    }

    /// The number of compiled components in `dir` for this engine, without a change there.
    ///
    /// # Errors
    /// With the reason why they cannot be used, or none can be added.
    pub(super) fn examine(dir: &Path, engine: &Engine) -> Result<usize, String> {
        let own = dir.join(format!("{}-sha256", engine_id(engine)));
        let existing = own.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
        accessat(CWD, existing, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
            .map_err(|error| format!("cannot write to {}: {error}", existing.display()))?;
        let Ok(metadata) = fs::metadata(&own) else { return Ok(0) };
        if metadata.permissions().mode() & 0o022 != 0 {
            return Err(format!("{} can be written by others", own.display()));
        }
        let entries =
            fs::read_dir(&own).map_err(|error| format!("cannot read {}: {error}", own.display()))?;
        let names = entries.flatten().map(|entry| entry.path());
        Ok(names.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm")).count())
    }

    fn file(&self, digest: &Digest) -> PathBuf {
        let text = digest_text(digest);
        self.dir.join(format!("{}.cwasm", text.trim_start_matches("sha256:")))
    }

    /// The compiled code of the component with `digest`, if it is stored and unchanged. A damaged file is removed.
    pub(super) fn get(&self, digest: &Digest) -> Option<Vec<u8>> {
        let path = self.file(digest);
        let file = self.open_own(&path)?;
        // The time of the last use, for removing the oldest files.
        let _ = file.set_modified(clock::system_time());
        let size = file.metadata().ok()?.len();
        if let Some(compiled) =
            read_sealed(file, size).filter(|(seal, compiled)| *seal == self.seal(digest, compiled))
        {
            return Some(compiled.1);
        }
        tracing::warn!("{} is damaged: it is removed, and the component is compiled anew", path.display());
        let _ = fs::remove_file(path);
        None
    }

    /// Opens a file that nobody else could have written.
    fn open_own(&self, path: &Path) -> Option<fs::File> {
        let flags = i32::try_from(OFlags::NOFOLLOW.bits()).ok()?;
        let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
        let metadata = file.metadata().ok()?;
        let is_own = metadata.uid() == self.owner && metadata.permissions().mode() & 0o022 == 0;
        (metadata.is_file() && is_own).then_some(file)
    }

    /// The first bytes of a cache file: SHA-256 over the component's digest, the engine and the code.
    fn seal(&self, digest: &Digest, compiled: &[u8]) -> Digest {
        let mut context = Context::new(&SHA256);
        [self.id.as_bytes(), digest, compiled].into_iter().for_each(|part| context.update(part));
        let mut seal = Digest::default();
        seal.iter_mut().zip(context.finish().as_ref()).for_each(|(byte, from)| *byte = *from);
        seal
    }

    /// Stores a compiled component. A failure of this has no other consequences.
    pub(super) fn put(&self, compiled: &[u8], digest: &Digest) {
        let written = whole_file::replace(&self.file(digest), |new| {
            new.write_all(&self.seal(digest, compiled))?;
            new.write_all(compiled)?;
            new.sync_all()
        });
        if let Err(reason) = written {
            tracing::debug!("a compiled component was not kept on disk: {reason}");
        }
        let kept = self.kept();
        let free = rustix::fs::statvfs(&self.dir)
            .map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        trim(&kept, LARGEST_CACHE.min(half_of_disk(&kept, free)));
    }

    /// The files of the cache, the least recently used first.
    fn kept(&self) -> Vec<CachedFile> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let kept = entries.filter(|entry| entry.path().extension().is_some_and(|suffix| suffix == "cwasm"));
        let mut kept: Vec<_> = kept
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some(CachedFile { used: metadata.modified().ok()?, size: metadata.len(), path: entry.path() })
            })
            .collect();
        kept.sort_unstable();
        kept
    }
}

/// A file of the cache.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct CachedFile {
    used: SystemTime,
    size: u64,
    path: PathBuf,
}

/// Half of the space that the cache has and could have, in bytes. Key stores and the state may be on the same disk,
/// and a full disk prevents the revocation of a key.
fn half_of_disk(kept: &[CachedFile], free: u64) -> u64 {
    kept.iter().map(|file| file.size).sum::<u64>().saturating_add(free) / 2
}

/// Removes files from the beginning of `kept` until at most `most` bytes are left. Running code is mapped already, and
/// stays.
fn trim(kept: &[CachedFile], most: u64) {
    let mut total: u64 = kept.iter().map(|file| file.size).sum();
    for file in kept {
        if total <= most {
            return;
        }
        total -= file.size;
        let _ = fs::remove_file(&file.path);
    }
}

/// The first bytes of a file with `size` bytes, and the code that follows. The code is read into memory of its size: a
/// buffer that grows would be copied, and take pages of more than twice the size.
fn read_sealed(mut file: fs::File, size: u64) -> Option<(Digest, Vec<u8>)> {
    let mut seal = Digest::default();
    file.read_exact(&mut seal).ok()?;
    let rest = usize::try_from(size.min(LARGEST_OUTPUT + 1)).ok()?.saturating_sub(DIGEST);
    let mut compiled = Vec::with_capacity(rest);
    file.take(LARGEST_OUTPUT).read_to_end(&mut compiled).ok()?;
    Some((seal, compiled))
}

/// The name of the cache's directory, which changes with the engine's version or settings.
fn engine_id(engine: &Engine) -> String {
    use std::hash::{Hash as _, Hasher as _};
    let mut hasher = std::hash::DefaultHasher::new();
    engine.inner().precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use witgate_base::digest::sha256;

    #[test]
    fn leftovers_of_killed_processes_are_removed_and_files_being_written_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::new().unwrap();
        let cache = DiskCache::open(dir.path().to_owned(), &engine).unwrap();
        let left = NamedTempFile::new_in(&cache.dir).unwrap().keep().unwrap();
        left.0.set_modified(clock::system_time() - 2 * leftovers::AGE).unwrap();
        let fresh = NamedTempFile::new_in(&cache.dir).unwrap();
        let digest = sha256(b"a component");
        cache.put(b"compiled", &digest);
        let cache = DiskCache::open(dir.path().to_owned(), &engine).unwrap();
        assert!(!left.1.exists(), "nobody will ever rename it");
        assert!(fresh.path().exists());
        assert!(cache.file(&digest).exists());
    }

    #[test]
    fn a_full_cache_evicts_the_least_recently_used_code() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::new().unwrap();
        let cache = DiskCache::open(dir.path().to_owned(), &engine).unwrap();
        let component = b"\0asm\x0d\0\x01\0";
        let compiled = engine.inner().precompile_component(component).unwrap();
        let digests = [b"a", b"b", b"c"].map(|name| sha256(name));
        for (digest, age) in digests.iter().zip([30, 20, 10]) {
            cache.put(&compiled, digest);
            let file = fs::File::open(cache.file(digest)).unwrap();
            file.set_modified(clock::system_time() - std::time::Duration::from_secs(age)).unwrap();
        }
        assert!(cache.get(&digests[0]).is_some());
        trim(&cache.kept(), 2 * (DIGEST + compiled.len()) as u64);
        let kept = digests.map(|digest| cache.file(&digest).exists());
        assert_eq!(kept, [true, false, true]);
    }

    #[test]
    fn the_cache_leaves_half_of_a_small_disk_free() {
        let kept = [3, 5].map(|size| CachedFile { used: clock::system_time(), size, path: PathBuf::new() });
        assert_eq!(half_of_disk(&kept, 4), 6, "4 free and 8 kept");
        assert_eq!(half_of_disk(&kept, 0), 4, "the disk is full");
        assert!(half_of_disk(&kept, u64::MAX) > LARGEST_CACHE, "the size of the disk is unknown");
    }

    #[test]
    fn damaged_code_is_never_used_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::new().unwrap();
        let cache = DiskCache::open(dir.path().to_owned(), &engine).unwrap();
        let component = b"\0asm\x0d\0\x01\0";
        let compiled = engine.inner().precompile_component(component).unwrap();
        let (digest, other) = (sha256(component), sha256(b"another"));
        let file = cache.file(&digest);
        cache.put(&compiled, &other);
        let good = fs::read(cache.file(&other)).unwrap();
        cache.put(&compiled, &digest);
        let own = fs::read(&file).unwrap();
        let damage = |at: usize| [&own[..at], &[own[at] ^ 1], &own[at + 1..]].concat();
        let cut = own[..own.len() - 1].to_vec();
        let longer = [&own[..], b"x"].concat();
        let bare = compiled.clone();
        for broken in [
            vec![],
            b"half".to_vec(),
            damage(0),
            damage(31),
            damage(32),
            damage(own.len() - 1),
            cut,
            longer,
            bare,
            good,
        ] {
            fs::write(&file, &broken).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(cache.get(&digest).is_none(), "{} bytes", broken.len());
            assert!(!file.exists(), "what is damaged is removed");
        }
        cache.put(&compiled, &digest);
        assert_eq!(cache.get(&digest), Some(compiled));
        std::os::unix::fs::symlink(&file, cache.file(&sha256(b"a link"))).unwrap();
        assert!(cache.open_own(&cache.file(&sha256(b"a link"))).is_none());
    }
}
