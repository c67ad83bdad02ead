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
use tokio::sync::{Notify, watch};
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
    /// The news of another credential.
    replaced: Notify,
    /// It exists as long as its files are written.
    folder: Arc<TokenFolder>,
}

/// The content of a file, as far as it is known.
#[derive(Debug, Default)]
struct FileState {
    /// The token of the current credential that was written last.
    written: Option<Digest>,
    /// The problem that was logged last.
    problem: Option<String>,
    /// True if the file could not be removed, which was logged.
    is_stuck: bool,
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
                file.replace(credential);
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
            if has_begun && !file.is_written() {
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
        self.files.values().for_each(|file| file.remove(&mut file.state.lock()));
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
        let (state, replaced) = (Mutex::default(), Notify::new());
        Self { path, credential, state, looks, replaced, folder }
    }

    /// Uses another credential from now on. A file of a credential with another name is none for its readers.
    fn replace(&self, credential: Arc<UpstreamCredential>) {
        // Under the lock, no token of the former credential is written afterwards.
        let mut state = self.state.lock();
        let former = self.credential.swap(Arc::clone(&credential));
        if Arc::ptr_eq(&former, &credential) {
            return;
        }
        state.written = None;
        if former.settings().name != credential.settings().name {
            self.remove(&mut state);
        }
        self.replaced.notify_one();
    }

    /// True if the token of the current credential is in the file, and nobody has removed it.
    fn is_written(&self) -> bool {
        self.state.lock().written.is_some() && self.path.exists()
    }

    fn is_of(&self, credential: &Arc<UpstreamCredential>) -> bool {
        Arc::ptr_eq(&self.credential.load(), credential)
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
                () = self.replaced.notified() => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    async fn look(self: &Arc<Self>, credential: &Arc<UpstreamCredential>, stop: &CancellationToken) {
        let problem = match credential.secret().await {
            Ok(token) => self.write(credential, token, stop).await.err().map(|error| error.to_string()),
            // A token that has ended, or whose login was taken back, is of no use.
            Err(fault) => {
                let mut state = self.state.lock();
                if self.is_of(credential) {
                    self.remove(&mut state);
                }
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

    async fn write(
        self: &Arc<Self>,
        credential: &Arc<UpstreamCredential>,
        token: SecretString,
        stop: &CancellationToken,
    ) -> io::Result<()> {
        let digest = sha256(token.expose_secret().as_bytes());
        if self.state.lock().written == Some(digest) && self.path.exists() {
            return Ok(());
        }
        let (file, credential, stop) = (Arc::clone(self), Arc::clone(credential), stop.clone());
        let write = move || {
            // Under the lock, no file is written after the end.
            let mut state = file.state.lock();
            if stop.is_cancelled() || !file.is_of(&credential) {
                return Ok(());
            }
            let text = token.expose_secret().as_bytes();
            let written = file
                .folder
                .restore()
                .and_then(|()| whole_file::replace(&file.path, |new| new.write_all(text)));
            match written {
                Ok(()) => state.written = Some(digest),
                // A former token may have ended.
                Err(_) => file.remove(&mut state),
            }
            written
        };
        spawn_blocking(write).await.map_err(io::Error::other)?
    }

    /// Removes the file. If it cannot be removed, the next look tries again.
    fn remove(&self, state: &mut FileState) {
        state.written = None;
        let removed = match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        let was_stuck = std::mem::replace(&mut state.is_stuck, removed.is_err());
        if let Err(error) = removed
            && !was_stuck
        {
            tracing::error!(path = %self.path.display(), %error, "a token file cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests;
