//! Compiles components in the background. The compiler may take minutes for one, and other changes do not wait for it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use witgate_plugin::Digest;

use super::load::{FoundComponent, LoadError, LoadedComponent, Loader, UncompiledComponent};
use witgate_base::cause::Cause;
use witgate_base::provenance::Provenance;

/// The queue. A round is one attempt to build a generation. Components that a round does not ask for are no longer
/// compiled.
#[derive(Debug)]
pub struct CompileQueue {
    loader: Arc<Loader>,
    jobs: Arc<Mutex<Jobs>>,
    done: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Jobs {
    round: u64,
    by_digest: HashMap<Digest, Job>,
}

#[derive(Debug)]
struct Job {
    /// The last round that asked for the component.
    round: u64,
    state: JobState,
}

#[derive(Debug)]
enum JobState {
    /// The compiler is running. Dropping this ends it.
    Running { _task: AbortOnDropHandle<()> },
    /// The component is compiled, but has not been fetched yet.
    Done(LoadedComponent),
    /// The component cannot be compiled: the message, and its cause.
    Failed(String, Cause),
}

impl CompileQueue {
    /// A queue for `loader`.
    pub fn new(loader: Arc<Loader>) -> Self {
        Self { loader, jobs: Arc::default(), done: Arc::default() }
    }

    /// Loads a component file, as [`Loader::load`] does. If it has to be compiled, this only starts the compilation.
    ///
    /// # Errors
    /// `Compiling`, or the fault of the file.
    pub async fn load(&self, path: &Path, from: &Provenance) -> Result<LoadedComponent, LoadError> {
        match self.loader.load_compiled(path, from).await? {
            FoundComponent::Compiled(loaded) => Ok(loaded),
            FoundComponent::Uncompiled(uncompiled) => self.ask(path, uncompiled),
        }
    }

    /// Starts a round.
    pub fn begin_round(&self) {
        self.jobs.lock().round += 1;
    }

    /// Ends a round: components that it has not asked for are dropped. Failures of the machine are tried again.
    pub fn end_round(&self) {
        let mut jobs = self.jobs.lock();
        let round = jobs.round;
        let is_asked_for = |job: &Job| job.round == round;
        let may_pass = |job: &Job| matches!(&job.state, JobState::Failed(_, cause) if cause.may_pass());
        jobs.by_digest.retain(|_, job| is_asked_for(job) && !may_pass(job));
    }

    /// Waits until a component is compiled, or its compilation has failed.
    pub async fn done(&self) {
        self.done.notified().await;
    }

    fn ask(&self, path: &Path, uncompiled: UncompiledComponent) -> Result<LoadedComponent, LoadError> {
        let mut jobs = self.jobs.lock();
        let (round, digest) = (jobs.round, uncompiled.digest);
        if let Some(job) = jobs.by_digest.get_mut(&digest) {
            job.round = round;
            return match &job.state {
                JobState::Running { .. } => Err(LoadError::Compiling(path.to_owned())),
                JobState::Done(loaded) => Ok(self.loader.take_over(loaded)),
                JobState::Failed(message, cause) => Err(LoadError::NotCompiled(message.clone(), *cause)),
            };
        }
        tracing::info!("{} is being compiled; everything else continues", path.display());
        let state = JobState::Running { _task: self.compile(uncompiled) };
        jobs.by_digest.insert(digest, Job { round, state });
        Err(LoadError::Compiling(path.to_owned()))
    }

    fn compile(&self, uncompiled: UncompiledComponent) -> AbortOnDropHandle<()> {
        let (loader, jobs, done) = (Arc::clone(&self.loader), Arc::clone(&self.jobs), Arc::clone(&self.done));
        let digest = uncompiled.digest;
        AbortOnDropHandle::new(tokio::spawn(async move {
            let state = match loader.finish(uncompiled).await {
                Ok(loaded) => JobState::Done(loaded),
                Err(error) => JobState::Failed(error.to_string(), error.cause()),
            };
            if let Some(job) = jobs.lock().by_digest.get_mut(&digest) {
                job.state = state;
            }
            done.notify_one();
        }))
    }
}
