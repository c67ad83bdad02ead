//! Files with the current tokens of credentials, for child processes, whose environment cannot change. Only the owner may
//! read them. A new token replaces a file as a whole.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::fault::{OutboundFault, OutboundProblem};
use crate::token_folder::TokenFolder;
use crate::upstream_credential::UpstreamCredential;
use witgate_base::digest::sha256;
use witgate_base::whole_file;
use witgate_plugin::Digest;
use witgate_runtime::workers;

/// The interval at which a credential is asked for its token, beside the news of new ones.
const LOOK: Duration = Duration::from_secs(1);

/// Maximum time that a process waits for its files, so that it does not start without tokens that exist.
const PATIENCE: Duration = Duration::from_secs(6);

/// The token files of one upstream.
#[derive(Debug)]
pub struct TokenFiles {
    files: BTreeMap<String, Arc<TokenFile>>,
    has_begun: AtomicBool,
    stop: CancellationToken,
    folder: Arc<TokenFolder>,
}

/// The error if there can be no token files.
#[derive(Debug, thiserror::Error)]
#[error("the directory `{}` for token files cannot be used: {error}", path.display())]
pub struct TokenFolderError {
    path: PathBuf,
    error: io::Error,
}

/// One file.
#[derive(Debug)]
struct TokenFile {
    path: PathBuf,
    credential: ArcSwap<UpstreamCredential>,
    state: Mutex<FileState>,
    /// The number of times that the credential was asked.
    looks: watch::Sender<u64>,
    /// It exists as long as its files are written.
    _folder: Arc<TokenFolder>,
}

/// The content of a file, as far as it is known.
#[derive(Debug, Default)]
struct FileState {
    written: Option<Digest>,
    /// The problem that was logged last.
    problem: Option<String>,
}

impl TokenFiles {
    /// Files for these credentials, by environment variable, in a directory of its own within `parent`. Nothing is
    /// written yet.
    ///
    /// # Errors
    /// If there can be no such directory.
    pub fn new(
        parent: &Path,
        credentials: BTreeMap<String, Arc<UpstreamCredential>>,
    ) -> Result<Self, TokenFolderError> {
        let failed = |error| TokenFolderError { path: parent.to_owned(), error };
        let folder = Arc::new(TokenFolder::make(parent).map_err(failed)?);
        let file = |(number, (variable, credential))| {
            // Variables can have any characters, and names of files cannot.
            let path = folder.file(&format!("token-{number}"));
            (variable, Arc::new(TokenFile::new(path, credential, Arc::clone(&folder))))
        };
        let files = credentials.into_iter().enumerate().map(file).collect();
        Ok(Self { files, has_begun: AtomicBool::new(false), stop: CancellationToken::new(), folder })
    }

    /// The paths of the files, by environment variable.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.files.iter().map(|(variable, file)| (variable.as_str(), file.path.as_path()))
    }

    /// Uses other credentials for these variables from now on.
    pub fn replace(&self, credentials: BTreeMap<String, Arc<UpstreamCredential>>) {
        for (variable, credential) in credentials {
            if let Some(file) = self.files.get(&variable) {
                file.credential.store(credential);
            }
        }
    }

    /// Writes the files from now on, and waits until all tokens that there are have been written.
    pub async fn begin(&self) {
        if !self.has_begun.swap(true, Ordering::Relaxed) {
            for file in self.files.values() {
                workers::background().spawn(Arc::clone(file).keep(self.stop.clone()));
            }
        }
        let written = self.files.values().map(|file| async {
            // The sender lives as long as the file.
            drop(file.looks.subscribe().wait_for(|looks| *looks > 0).await);
        });
        drop(timeout(PATIENCE, join_all(written)).await);
    }

    /// Checks that the token of `credential` is in its files, if it has some.
    ///
    /// # Errors
    /// As long as it is not.
    pub fn check(&self, credential: &UpstreamCredential) -> Result<(), OutboundFault> {
        let has_begun = self.has_begun.load(Ordering::Relaxed);
        let own = self
            .files
            .values()
            .filter(|file| file.credential.load().settings().name == credential.settings().name);
        for file in own {
            if has_begun && file.state.lock().written.is_none() {
                let why = "its token is not yet in its file".to_owned();
                let problem = OutboundProblem::unreachable(why);
                return Err(OutboundFault::new(&credential.settings().name, problem));
            }
        }
        Ok(())
    }

    /// Removes the files, and writes none any more.
    pub fn end(&self) {
        self.stop.cancel();
        self.files.values().for_each(|file| file.remove());
        self.folder.remove();
    }
}

impl Drop for TokenFiles {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl TokenFile {
    fn new(path: PathBuf, credential: Arc<UpstreamCredential>, folder: Arc<TokenFolder>) -> Self {
        let (credential, looks) = (ArcSwap::new(credential), watch::Sender::new(0));
        Self { path, credential, state: Mutex::default(), looks, _folder: folder }
    }

    /// Writes each new token, until `stop`.
    async fn keep(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let credential = self.credential.load_full();
            let changed = credential.changed();
            self.look(&credential, &stop).await;
            self.looks.send_modify(|looks| *looks += 1);
            tokio::select! {
                () = stop.cancelled() => {}
                () = changed => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    async fn look(self: &Arc<Self>, credential: &UpstreamCredential, stop: &CancellationToken) {
        let problem = match credential.secret().await {
            Ok(token) => self.write(token, stop).await.err().map(|error| error.to_string()),
            // A token that has ended, or whose login was taken back, is of no use.
            Err(fault) => {
                self.remove();
                Some(fault.to_string())
            }
        };
        let mut state = self.state.lock();
        if state.problem != problem {
            match &problem {
                Some(why) => {
                    tracing::warn!(credential = &*credential.settings().name, %why, "there is no new token file")
                }
                None => {
                    tracing::info!(credential = &*credential.settings().name, "there is a token file again")
                }
            }
            state.problem = problem;
        }
    }

    async fn write(self: &Arc<Self>, token: SecretString, stop: &CancellationToken) -> io::Result<()> {
        let digest = sha256(token.expose_secret().as_bytes());
        if self.state.lock().written == Some(digest) {
            return Ok(());
        }
        let (file, stop) = (Arc::clone(self), stop.clone());
        let write = move || {
            // Under the lock, no file is written after the end.
            let mut state = file.state.lock();
            if stop.is_cancelled() {
                return Ok(());
            }
            whole_file::replace(&file.path, |new| new.write_all(token.expose_secret().as_bytes()))?;
            state.written = Some(digest);
            Ok(())
        };
        spawn_blocking(write).await.map_err(io::Error::other)?
    }

    fn remove(&self) {
        let mut state = self.state.lock();
        if state.written.take().is_some()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::error!(path = %self.path.display(), %error, "a token file cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests;
