//! Loads components: checks the digest of the file, and takes the compiled code from memory, from disk, or from the
//! compiler.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use wasmtime::component::{Component, InstancePre};
use witgate_plugin::{Description, Digest};

use super::compile::{CompileError, Compiler};
use super::disk_cache::DiskCache;
use super::engine::Engine;
use super::fault::of_machine;
use super::grants::GrantedInterfaces;
use super::settings::Schema;
use super::state::State;
use super::store::ComponentStore;
use witgate_base::cause::Cause;
use witgate_base::digest::{digest_text, sha256};
use witgate_base::provenance::{Provenance, ProvenanceError};

/// The number of compiled components that a directory keeps for `engine`. Nothing is changed there.
///
/// # Errors
/// With the reason why they cannot be used, or none can be added.
pub fn examine_cache(directory: &Path, engine: &Engine) -> Result<usize, String> {
    DiskCache::examine(directory, engine)
}

/// Largest component file. A guest with an interpreter has 12 to 18 MB.
const LARGEST_FILE: u64 = 64 << 20;

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
    compiler: Compiler,
    known: Arc<KnownComponents>,
    store: Option<Arc<ComponentStore>>,
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
        let known = KnownComponents { engine, cache, in_memory: Mutex::default(), turns: Mutex::default() };
        Self { compiler, known: Arc::new(known), store: None }
    }

    /// The same, with the component files stored in `store`.
    #[must_use]
    pub fn keeping(self, store: Option<ComponentStore>) -> Self {
        Self { store: store.map(Arc::new), ..self }
    }

    /// The engine of the compiled code.
    pub fn engine(&self) -> &Engine {
        &self.known.engine
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

    /// Reads a component file, and loads it if it need not be compiled. This happens on a thread that may wait for the
    /// disk, so that several components load side by side.
    ///
    /// # Errors
    /// With the fault of the file.
    pub(super) async fn load_compiled(
        &self,
        path: &Path,
        from: &Provenance,
    ) -> Result<FoundComponent, LoadError> {
        let (known, store) = (Arc::clone(&self.known), self.store.clone());
        let (file, from) = (path.to_owned(), from.clone());
        let finding = tokio::task::spawn_blocking(move || known.find(file, &from, store.as_deref()));
        let unreadable = |error| LoadError::Unreadable(path.to_owned(), std::io::Error::other(error));
        finding.await.unwrap_or_else(|error| Err(unreadable(error)))
    }

    /// Compiles a component that has been read.
    ///
    /// # Errors
    /// With its fault.
    pub(super) async fn finish(&self, uncompiled: UncompiledComponent) -> Result<LoadedComponent, LoadError> {
        let UncompiledComponent { path, bytes, digest } = uncompiled;
        self.compile(bytes, &digest).await.map_err(|error| LoadError::Compile(path, error))
    }

    /// Keeps a compiled component that may have been removed from memory since.
    pub(super) fn take_over(&self, loaded: &LoadedComponent) -> LoadedComponent {
        self.known.remember(loaded.clone())
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
        self.compile(bytes, digest).await.map_err(|error| LoadError::Compile(file, error))
    }

    /// A component that is compiled already.
    pub fn compiled(&self, digest: &Digest) -> Option<LoadedComponent> {
        self.known.in_memory.lock().get(digest).cloned()
    }

    /// Removes all components except these from memory.
    pub fn keep_only(&self, digests: &HashSet<Digest>) {
        self.known.in_memory.lock().retain(|digest, _| digests.contains(digest));
        if let Some(store) = &self.store {
            store.keep_only(digests);
        }
    }

    /// Compiles a component, unless another policy with the same one has compiled it meanwhile.
    async fn compile(&self, bytes: Vec<u8>, digest: &Digest) -> Result<LoadedComponent, CompileError> {
        let turn = self.known.turn(digest);
        let _turn = turn.lock().await;
        if let Some(loaded) = self.compiled(digest) {
            return Ok(loaded);
        }
        let component = match self.known.on_disk(digest) {
            Some(component) => component,
            None => self.compile_now(bytes, digest).await?,
        };
        Ok(self.known.remember(LoadedComponent::new(component, *digest)))
    }

    async fn compile_now(&self, bytes: Vec<u8>, digest: &Digest) -> Result<Component, CompileError> {
        let compiled = self.compiler.compile(self.engine(), bytes).await?;
        if let Some(cache) = &self.known.cache {
            cache.put(&compiled, digest);
        }
        deserialize(self.engine(), &compiled)
    }
}

/// The components that need not be compiled, because their code is in memory or on disk.
#[derive(Debug)]
struct KnownComponents {
    engine: Engine,
    cache: Option<DiskCache>,
    in_memory: Mutex<HashMap<Digest, LoadedComponent>>,
    /// The turns to compile, as long as somebody has or awaits one.
    turns: Mutex<HashMap<Digest, Weak<CompileTurn>>>,
}

/// The turn to compile one component.
type CompileTurn = tokio::sync::Mutex<()>;

impl KnownComponents {
    /// Reads a file, checks its provenance, puts it into the store, and looks for its code.
    fn find(
        &self,
        path: PathBuf,
        from: &Provenance,
        store: Option<&ComponentStore>,
    ) -> Result<FoundComponent, LoadError> {
        let bytes = read_bytes(&path)?;
        let digest = sha256(&bytes);
        from.check(&path, &bytes, &digest)?;
        if let Some(loaded) = self.in_memory.lock().get(&digest) {
            return Ok(FoundComponent::Compiled(loaded.clone()));
        }
        if let Some(store) = store {
            store.put(&bytes, &digest);
        }
        Ok(match self.on_disk(&digest) {
            Some(component) => {
                FoundComponent::Compiled(self.remember(LoadedComponent::new(component, digest)))
            }
            None => FoundComponent::Uncompiled(UncompiledComponent { path, bytes, digest }),
        })
    }

    fn turn(&self, digest: &Digest) -> Arc<CompileTurn> {
        let mut turns = self.turns.lock();
        if let Some(turn) = turns.get(digest).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(*digest, Arc::downgrade(&turn));
        turn
    }

    fn on_disk(&self, digest: &Digest) -> Option<Component> {
        let compiled = self.cache.as_ref()?.get(digest)?;
        let component = deserialize(&self.engine, &compiled);
        component.inspect_err(|error| tracing::warn!("a cached component is compiled again: it {error}")).ok()
    }

    /// Keeps a component. If its content is in memory already, because two policies load it at the same time, the
    /// kept one is returned.
    fn remember(&self, loaded: LoadedComponent) -> LoadedComponent {
        self.in_memory.lock().entry(loaded.digest).or_insert(loaded).clone()
    }
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
