//! The cause of a failure: the machine, in which case it may pass by itself, or the content of a file, in which case
//! it does not.

use std::error::Error;
use std::io;
use std::io::ErrorKind;
use std::path::Path;

use crate::printable::clean;

/// The cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The machine is short of descriptors, memory, threads, disk or time, or its disk or network file system fails.
    /// The same action may succeed a moment later. Failures that cannot be distinguished from these belong here as
    /// well: another attempt costs little, and a lost change may be the revocation of a key.
    Machine,
    /// A file, a setting or a component is wrong. The failure stays until somebody changes it.
    Content,
    /// There is no failure: a component is being compiled, and is used when that is done.
    Compiling,
}

impl Cause {
    /// The cause of a system error. A few errors are caused by the paths and files themselves; the machine causes all
    /// others.
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

    /// True if the failure may pass by itself, so that another attempt makes sense.
    pub fn may_pass(self) -> bool {
        self == Self::Machine
    }
}

/// Symbolic links in a circle. The standard library has no stable kind for this error.
fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// An error with all its causes, in one line. The first cause comes last. Others control parts of the text, such as
/// the names in a certificate, so it is sanitized.
pub fn with_sources(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        // Some errors already contain the text of their causes.
        if texts.last().is_none_or(|last| !last.ends_with(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    clean(&texts.join(": "))
}

/// True if there is a file at `path`, false if there is something else.
///
/// # Errors
/// If nothing is there (`NotFound`), or it cannot be found out.
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
        // Reading a file needs memory; the error for that has no number.
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
