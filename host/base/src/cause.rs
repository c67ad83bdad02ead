//! The cause of a failure: the machine, where it may pass by itself, or the content that somebody wrote,
//! where it does not.

use std::error::Error;
use std::io;
use std::io::ErrorKind;
use std::path::Path;

use crate::printable::clean;

/// The cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// In a machine that is short of descriptors, memory, threads, disk or time, or whose disk or network file system
    /// fails: the same may go well a moment later. Also what cannot be told apart from that: to try once more costs
    /// little, and a change that is not taken may be the revocation of a key.
    Machine,
    /// In a file, a setting or a component: it stays until somebody changes that.
    Content,
    /// In nothing: a component is being compiled, and is taken when that is done.
    Compiling,
}

impl Cause {
    /// The cause of a system error. A few errors belong to the paths and files themselves; every other one is
    /// the machine's.
    pub fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::InvalidFilename
            | ErrorKind::InvalidInput
            | ErrorKind::InvalidData
            | ErrorKind::UnexpectedEof
            | ErrorKind::FileTooLarge => Self::Content,
            _ if is_loop(error) => Self::Content,
            _ => Self::Machine,
        }
    }

    /// True where it may pass by itself, so that another try is worth while.
    pub fn may_pass(self) -> bool {
        self == Self::Machine
    }
}

/// Symbolic links that lead in a circle: the standard library has no stable kind for them.
fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// An error with all that it came of, in one line: what failed first stands last. Others have a say in some of it (a
/// certificate's names), so it is cleaned.
pub fn with_sources(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        // Some say what they came of themselves.
        if texts.last().is_none_or(|last| !last.ends_with(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    clean(&texts.join(": "))
}

/// True where there is a file at `path`, false where there is something else.
///
/// # Errors
/// Where nothing is there (`NotFound`), or it cannot be told.
pub fn is_file(path: &Path) -> io::Result<bool> {
    std::fs::metadata(path).map(|metadata| metadata.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn an_error_is_reported_with_its_sources_in_one_line() {
        #[derive(Debug, thiserror::Error)]
        #[error("no connection")]
        struct Outer(#[source] io::Error);
        let inner = io::Error::other(Outer(io::Error::other("other\n\u{202e}name")));
        assert_eq!(with_sources(&Outer(inner)), r"no connection: other\n\u{202e}name");
        assert_eq!(with_sources(&io::Error::other("alone")), "alone");
    }

    #[test]
    fn a_lack_of_resources_may_pass() {
        let passing = [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::AGAIN,
            Errno::IO,
            Errno::STALE,
            Errno::INTR,
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::BUSY,
            Errno::TIMEDOUT,
            Errno::NOTCONN,
            Errno::HOSTDOWN,
            Errno::NOBUFS,
            Errno::NODEV,
        ];
        for errno in passing {
            assert_eq!(Cause::of(&errno.into()), Cause::Machine, "{errno:?}");
        }
        // Reading a file takes memory for it; that error has no number.
        assert_eq!(Cause::of(&ErrorKind::OutOfMemory.into()), Cause::Machine);
        assert_eq!(Cause::of(&io::Error::other("a thread ended")), Cause::Machine);
    }

    #[test]
    fn faults_of_files_and_paths_do_not_pass() {
        let staying = [
            Errno::NOENT,
            Errno::ACCESS,
            Errno::PERM,
            Errno::NOTDIR,
            Errno::ISDIR,
            Errno::LOOP,
            Errno::NAMETOOLONG,
            Errno::INVAL,
        ];
        for errno in staying {
            assert_eq!(Cause::of(&errno.into()), Cause::Content, "{errno:?}");
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("latin-1");
        std::fs::write(&file, b"caf\xe9").unwrap();
        assert_eq!(Cause::of(&std::fs::read_to_string(&file).unwrap_err()), Cause::Content);
        assert_eq!(Cause::of(&std::fs::read(dir.path()).unwrap_err()), Cause::Content);
        std::os::unix::fs::symlink("round", dir.path().join("round")).unwrap();
        assert_eq!(Cause::of(&is_file(&dir.path().join("round")).unwrap_err()), Cause::Content);
        assert!(!is_file(dir.path()).unwrap() && is_file(&file).unwrap());
    }
}
