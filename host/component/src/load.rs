//! Loads components: checks the digest of the file, and takes the compiled code from memory, from disk, or from the
//! compiler.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use aws_lc_rs::digest::{Context, SHA256};
use parking_lot::Mutex;
use rustix::fs::OFlags;
use tempfile::NamedTempFile;
use wasmtime::component::{Component, InstancePre};
use witgate_plugin::{Description, Digest};

use super::compile::{CompileError, Compiler, LARGEST_OUTPUT};
use super::engine::Engine;
use super::fault::of_machine;
use super::grants::GrantedInterfaces;
use super::settings::Schema;
use super::state::State;
use super::store::ComponentStore;
use witgate_base::cause::Cause;
use witgate_base::clock;
use witgate_base::digest::{digest_text, sha256};
use witgate_base::provenance::{Provenance, ProvenanceError};
use witgate_base::whole_file;
use witgate_runtime::leftovers;

/// Largest component file. A guest with an interpreter has 12 to 18 MB.
const LARGEST_FILE: u64 = 64 << 20;

/// Maximum size of the compiled code on disk: a hundred components of interpreted languages, or thousands of others.
const LARGEST_CACHE: u64 = 4 << 30;

/// Bytes of the digest at the beginning of a file of the cache.
const DIGEST: usize = size_of::<Digest>();

/// The error when a component could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file does not exist.
    #[error("there is no file {0}; build the component, or take out `component` to use the built-in")]
    Missing(PathBuf),
    /// The file exists, but cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// The file is too large.
    #[error("{0} has {1} bytes; a component may have {LARGEST_FILE}")]
    TooLarge(PathBuf, u64),
    /// The file does not have the required provenance.
    #[error(transparent)]
    Provenance(#[from] ProvenanceError),
    /// The file cannot be compiled.
    #[error("{0} {1}")]
    Compile(PathBuf, CompileError),
    /// The file is being compiled in the background.
    #[error("{0} is being compiled")]
    Compiling(PathBuf),
    /// The file could not be compiled in the last attempt.
    #[error("{0}")]
    NotCompiled(String, Cause),
    /// A formerly loaded component is no longer stored.
    #[error("no copy of the component {} is left; put its file back", digest_text(.0))]
    Gone(Digest),
}

impl LoadError {
    /// The cause.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Missing(_) | Self::TooLarge(..) | Self::Gone(_) => Cause::Content,
            Self::Unreadable(_, error) => Cause::of(error),
            Self::Provenance(error) => error.cause(),
            Self::Compile(_, error) => error.cause(),
            Self::Compiling(_) => Cause::Compiling,
            Self::NotCompiled(_, cause) => *cause,
        }
    }

    /// True if the component's file does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(_))
    }
}

/// A compiled component.
#[derive(Clone)]
pub struct LoadedComponent {
    /// The component.
    pub component: Component,
    /// SHA-256 of its file.
    pub digest: Digest,
    /// The facts about the component.
    facts: Arc<ComponentFacts>,
}

/// The facts that follow from a component's content. They are found once, for all generations.
#[derive(Default)]
struct ComponentFacts {
    linked: Mutex<HashMap<GrantedInterfaces, InstancePre<State>>>,
    description: OnceLock<Description>,
    schema: OnceLock<Arc<Schema>>,
}

impl LoadedComponent {
    fn new(component: Component, digest: Digest) -> Self {
        Self { component, digest, facts: Arc::default() }
    }

    /// The component linked with the granted imports. `link` is called the first time.
    pub(super) fn linked<E>(
        &self,
        granted: GrantedInterfaces,
        link: impl FnOnce() -> Result<InstancePre<State>, E>,
    ) -> Result<InstancePre<State>, E> {
        let linked = || self.facts.linked.lock();
        if let Some(known) = linked().get(&granted).cloned() {
            return Ok(known);
        }
        let made = link()?;
        linked().insert(granted, made.clone());
        Ok(made)
    }

    /// The component's description of itself, if `describe` has been called.
    pub fn description(&self) -> Option<&Description> {
        self.facts.description.get()
    }

    /// Keeps the component's description of itself.
    pub fn describe(&self, description: Description) -> &Description {
        self.facts.description.get_or_init(|| description)
    }

    /// The schema in the description.
    ///
    /// # Errors
    /// If it is invalid.
    pub fn schema(&self, description: &Description) -> Result<Arc<Schema>, String> {
        if let Some(known) = self.facts.schema.get() {
            return Ok(Arc::clone(known));
        }
        let schema = Arc::new(Schema::read(&description.config_schema)?);
        Ok(Arc::clone(self.facts.schema.get_or_init(|| schema)))
    }
}

impl std::fmt::Debug for LoadedComponent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Loaded").field(&digest_text(&self.digest)).finish()
    }
}

/// A component file that was read.
pub(super) enum FoundComponent {
    /// It need not be compiled.
    Compiled(LoadedComponent),
    /// It has to be compiled.
    Uncompiled(UncompiledComponent),
}

/// The bytes of a component that has to be compiled, from the file at `path`.
pub(super) struct UncompiledComponent {
    path: PathBuf,
    bytes: Vec<u8>,
    pub(super) digest: Digest,
}

/// Compiles components, each content only once.
#[derive(Debug)]
pub struct Loader {
    engine: Engine,
    compiler: Compiler,
    cache: Option<DiskCache>,
    store: Option<ComponentStore>,
    compiled: Mutex<HashMap<Digest, LoadedComponent>>,
}

impl Loader {
    /// A loader that keeps compiled components in `cache`, if that directory can be trusted.
    pub fn new(engine: Engine, compiler: Compiler, cache: Option<PathBuf>) -> Self {
        let cache = cache.and_then(|dir| match DiskCache::open(dir, &engine) {
            Ok(cache) => Some(cache),
            Err(reason) => {
                tracing::warn!("compiled components are not kept on disk: {reason}");
                None
            }
        });
        Self { engine, compiler, cache, store: None, compiled: Mutex::default() }
    }

    /// The same, with the component files stored in `store`.
    #[must_use]
    pub fn keeping(self, store: Option<ComponentStore>) -> Self {
        Self { store, ..self }
    }

    /// The engine of the compiled code.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Loads a component file. The compilation takes a second of processor time per few megabytes, in another process.
    ///
    /// # Errors
    /// With the fault of the file.
    pub async fn load(&self, path: &Path, from: &Provenance) -> Result<LoadedComponent, LoadError> {
        match self.load_compiled(path, from).await? {
            FoundComponent::Compiled(loaded) => Ok(loaded),
            FoundComponent::Uncompiled(uncompiled) => self.finish(uncompiled).await,
        }
    }

    /// Reads a component file, and loads it if it need not be compiled.
    ///
    /// # Errors
    /// With the fault of the file.
    pub(super) async fn load_compiled(
        &self,
        path: &Path,
        from: &Provenance,
    ) -> Result<FoundComponent, LoadError> {
        let (bytes, digest) = read(path.to_owned(), from.clone()).await?;
        if let Some(loaded) = self.compiled(&digest) {
            return Ok(FoundComponent::Compiled(loaded));
        }
        if let Some(store) = &self.store {
            store.put(&bytes, &digest);
        }
        Ok(match self.cached(&digest) {
            Some(component) => FoundComponent::Compiled(self.remember(component, digest)),
            None => FoundComponent::Uncompiled(UncompiledComponent { path: path.to_owned(), bytes, digest }),
        })
    }

    /// Compiles a component that has been read.
    ///
    /// # Errors
    /// With its fault.
    pub(super) async fn finish(&self, uncompiled: UncompiledComponent) -> Result<LoadedComponent, LoadError> {
        let UncompiledComponent { path, bytes, digest } = uncompiled;
        let component =
            self.compile(bytes, &digest).await.map_err(|error| LoadError::Compile(path, error))?;
        Ok(self.remember(component, digest))
    }

    /// Keeps a compiled component that may have been removed from memory since.
    pub(super) fn take_over(&self, loaded: &LoadedComponent) -> LoadedComponent {
        self.compiled.lock().entry(loaded.digest).or_insert_with(|| loaded.clone()).clone()
    }

    fn cached(&self, digest: &Digest) -> Option<Component> {
        let compiled = self.cache.as_ref()?.get(digest)?;
        let component = deserialize(&self.engine, &compiled);
        component.inspect_err(|error| tracing::warn!("a cached component is compiled again: it {error}")).ok()
    }

    /// A component that was loaded before, even if its file has changed since.
    ///
    /// # Errors
    /// If it is not stored, or cannot be read at the moment.
    pub async fn kept(&self, digest: &Digest) -> Result<LoadedComponent, LoadError> {
        if let Some(loaded) = self.compiled(digest) {
            return Ok(loaded);
        }
        let store = self.store.as_ref().ok_or(LoadError::Gone(*digest))?;
        let file = store.file(digest);
        let bytes = match store.get(digest) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(LoadError::Gone(*digest)),
            Err(error) => return Err(LoadError::Unreadable(file, error)),
        };
        let component = self.compile(bytes, digest).await.map_err(|error| LoadError::Compile(file, error))?;
        Ok(self.remember(component, *digest))
    }

    /// A component that is compiled already.
    pub fn compiled(&self, digest: &Digest) -> Option<LoadedComponent> {
        self.compiled.lock().get(digest).cloned()
    }

    /// Removes all components except these from memory.
    pub fn keep_only(&self, digests: &HashSet<Digest>) {
        self.compiled.lock().retain(|digest, _| digests.contains(digest));
        if let Some(store) = &self.store {
            store.keep_only(digests);
        }
    }

    fn remember(&self, component: Component, digest: Digest) -> LoadedComponent {
        let loaded = LoadedComponent::new(component, digest);
        self.compiled.lock().insert(digest, loaded.clone());
        loaded
    }

    async fn compile(&self, bytes: Vec<u8>, digest: &Digest) -> Result<Component, CompileError> {
        if let Some(component) = self.cached(digest) {
            return Ok(component);
        }
        let compiled = self.compiler.compile(&self.engine, bytes).await?;
        if let Some(cache) = &self.cache {
            cache.put(&compiled, digest);
        }
        deserialize(&self.engine, &compiled)
    }
}

/// Reads a file and checks its provenance, on a thread that may wait for the disk.
async fn read(path: PathBuf, from: Provenance) -> Result<(Vec<u8>, Digest), LoadError> {
    let place = path.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let bytes = read_bytes(&path)?;
        let digest = sha256(&bytes);
        from.check(&path, &bytes, &digest)?;
        Ok((bytes, digest))
    });
    reading.await.unwrap_or_else(|error| Err(LoadError::Unreadable(place, std::io::Error::other(error))))
}

/// The bytes of a component file.
///
/// # Errors
/// If it does not exist, or is too large.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, LoadError> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => LoadError::Missing(path.to_owned()),
        _ => LoadError::Unreadable(path.to_owned(), error),
    };
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if size > LARGEST_FILE {
        return Err(LoadError::TooLarge(path.to_owned(), size));
    }
    fs::read(path).map_err(unreadable)
}

/// Loads code that the compiler of this program has made.
fn deserialize(engine: &Engine, compiled: &[u8]) -> Result<Component, CompileError> {
    // SAFETY: the bytes come from this process, from a process of the same program over a pipe, or from the disk
    // cache. Nobody else can write the files of the cache, and their digest shows that they are unchanged. Nobody else
    // can write to their memory, and the engine copies them. The engine checks version and settings itself.
    #[expect(unsafe_code, reason = "see SAFETY")]
    let component = unsafe { Component::deserialize(engine.inner(), compiled) };
    component.map_err(|error| match of_machine(&error) {
        true => CompileError::NotLoaded(format!("{error:#}")),
        false if is_forbidden(&error) => CompileError::NotExecutable(error.root_cause().to_string()),
        false => CompileError::TooLarge(error.to_string()),
    })
}

/// True if the system forbids executable memory. Loading needs nothing else that could be forbidden.
fn is_forbidden(error: &wasmtime::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.chain().find_map(|cause| cause.downcast_ref::<Errno>());
    errno.is_some_and(|errno| matches!(*errno, Errno::ACCESS | Errno::PERM))
}

/// Compiled components on disk, in a directory that only the user can write.
///
/// A process that can write there could run code in this process, as if it could write to the program itself. So a
/// directory or file that others could have written is not used. Disks and copies can also be faulty: a file begins
/// with a digest, which is compared with that of the bytes in use.
#[derive(Debug)]
struct DiskCache {
    dir: PathBuf,
    /// The id of the engine of the code.
    id: String,
    owner: u32,
}

impl DiskCache {
    /// Opens the part of `dir` for this engine's version and settings.
    fn open(dir: PathBuf, engine: &Engine) -> Result<Self, String> {
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

    fn file(&self, digest: &Digest) -> PathBuf {
        let text = digest_text(digest);
        self.dir.join(format!("{}.cwasm", text.trim_start_matches("sha256:")))
    }

    /// The compiled code of the component with `digest`, if it is stored and unchanged. A damaged file is removed.
    fn get(&self, digest: &Digest) -> Option<Vec<u8>> {
        let path = self.file(digest);
        let file = self.open_own(&path)?;
        // The time of the last use, for removing the oldest files.
        let _ = file.set_modified(clock::system_time());
        let mut whole = Vec::new();
        file.take(LARGEST_OUTPUT + 1).read_to_end(&mut whole).ok()?;
        let compiled = whole.split_off(whole.len().min(DIGEST));
        if whole == self.seal(digest, &compiled) {
            return Some(compiled);
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
    fn put(&self, compiled: &[u8], digest: &Digest) {
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
