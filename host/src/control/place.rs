//! The path of the control socket: the configured one, else beside the configuration, else, if that directory is
//! read-only, in the user's runtime directory, which the system closes to all others.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::{Control, ControlError};
use witgate_base::digest::sha256;
use witgate_config::ControlSocket;
use witgate_config::environment::Environment;

/// The directory of one user for the time of their session (XDG Base Directory Specification). A directory that is
/// open to all will not do: another user could make the socket first and answer in Witgate's name.
const RUNTIME_DIRECTORY: &str = "XDG_RUNTIME_DIR";

/// The consequence of a missing control socket.
const WITHOUT: &str = "without it there is no `witgate plugin list`, and `witgate key` cannot tell whether its change is in use; set `server.control` to a path in a directory that can be written";

impl Control {
    /// Listens at `wanted`, or else at the other path that is permitted. None, and a warning: neither works.
    ///
    /// # Errors
    /// As [`Control::bind`], if the configuration names the path.
    pub(crate) fn bind_near(
        wanted: &ControlSocket,
        environment: &Environment,
    ) -> Result<Option<Self>, ControlError> {
        let error = match Self::bind(&wanted.path) {
            Err(ControlError::Io(_, error)) if !wanted.is_given && is_closed(&error) => error,
            bound => return bound.map(Some),
        };
        let configured = wanted.path.display();
        let Some(path) = elsewhere(&wanted.path, environment) else {
            tracing::warn!("no control socket: {configured} cannot be made ({error}); {WITHOUT}");
            return Ok(None);
        };
        let bound = Self::bind(&path)?;
        let path = path.display();
        tracing::warn!(
            "the control socket is {path}, because {configured} cannot be made ({error}); only the same user finds it there"
        );
        Ok(Some(bound))
    }
}

/// The reason why this process cannot create the socket at `wanted`.
pub(crate) fn fault(wanted: &ControlSocket, environment: &Environment) -> Option<String> {
    let directory = wanted.path.parent()?;
    let error = accessat(CWD, directory, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).err()?;
    let error = io::Error::from(error);
    let shown = wanted.path.display();
    match elsewhere(&wanted.path, environment).filter(|_| !wanted.is_given && is_closed(&error)) {
        Some(_) => None,
        None => Some(format!("the control socket {shown} cannot be made ({error}); {WITHOUT}")),
    }
}

/// The path at which clients look for the socket.
pub(crate) fn find(wanted: &ControlSocket, environment: &Environment) -> PathBuf {
    let other = elsewhere(&wanted.path, environment)
        .filter(|other| !wanted.is_given && !wanted.path.exists() && other.exists());
    other.unwrap_or_else(|| wanted.path.clone())
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// A path for each configuration, so that several Witgates of one user do not share a socket.
fn elsewhere(path: &Path, environment: &Environment) -> Option<PathBuf> {
    let directory = Path::new(environment.get(RUNTIME_DIRECTORY)?);
    let whole = std::path::absolute(path).ok()?;
    let digest = sha256(whole.as_os_str().as_encoded_bytes());
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    directory.is_absolute().then(|| directory.join(format!("witgate-{name}.sock")))
}
