//! The check that nobody but root and the user of this process can replace a program.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// The most symbolic links on the way to a program, as in Linux.
const MOST_LINKS: usize = 40;

/// The program at `found`, without symbolic links: the file that was checked is the one to run.
///
/// # Errors
/// With the reason why it is not safe to run.
pub(super) fn checked(found: &Path) -> Result<PathBuf, String> {
    let not_found = |error| format!("it cannot be found: {error}");
    let target = found.canonicalize().map_err(not_found)?;
    if !is_program(&target) {
        return Err("it is not a file that may be executed".to_owned());
    }
    let links = folders_of_links(&std::path::absolute(found).map_err(not_found)?)?;
    for folder in links.iter().map(PathBuf::as_path).chain(target.parent()) {
        is_safe(folder)?;
    }
    match others_can_write(&target)? {
        true => Err("users other than its owner can write it".to_owned()),
        false => Ok(target),
    }
}

/// True if there is a file that somebody may execute.
pub(super) fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o111 != 0)
}

/// The directories that have the symbolic links on the way along `path`, without links themselves.
fn folders_of_links(path: &Path) -> Result<Vec<PathBuf>, String> {
    let parts = |path: &Path| -> Vec<PathBuf> {
        path.components().rev().map(|part| PathBuf::from(part.as_os_str())).collect()
    };
    let (mut open, mut reached, mut folders) = (parts(path), PathBuf::new(), Vec::new());
    while let Some(part) = open.pop() {
        if part.as_path() == Path::new("..") {
            reached.pop();
            continue;
        }
        let next = reached.join(&part);
        match next.read_link() {
            Ok(_) if folders.len() >= MOST_LINKS => {
                return Err("its path has too many symbolic links".to_owned());
            }
            Ok(target) => {
                open.extend(parts(&target).into_iter().filter(|part| !is_here(part)));
                folders.push(reached.clone());
            }
            Err(_) => reached = next,
        }
    }
    Ok(folders)
}

fn is_here(part: &Path) -> bool {
    part.components().next() == Some(Component::CurDir)
}

/// Checks that nobody else can replace what is in `folder`. In a directory above it, the sticky bit is enough if nobody
/// else owns the directory: it keeps others from renaming what is not theirs.
fn is_safe(folder: &Path) -> Result<(), String> {
    for (place, above) in folder.ancestors().enumerate() {
        let is_sticky = above.metadata().is_ok_and(|metadata| {
            metadata.mode() & 0o1000 != 0 && (metadata.uid() == 0 || metadata.uid() == user())
        });
        if others_can_write(above)? && !(place > 0 && is_sticky) {
            return Err(format!("users other than its owner can write the directory `{}`", above.display()));
        }
    }
    Ok(())
}

/// True if somebody can write who is neither root nor the user of this process.
fn others_can_write(path: &Path) -> Result<bool, String> {
    let metadata =
        path.metadata().map_err(|error| format!("`{}` cannot be checked: {error}", path.display()))?;
    let group = rustix::process::getegid().as_raw();
    let is_foreign = metadata.uid() != 0 && metadata.uid() != user();
    let is_foreign_group = metadata.gid() != 0 && metadata.gid() != group;
    Ok(is_foreign || metadata.mode() & 0o002 != 0 || metadata.mode() & 0o020 != 0 && is_foreign_group)
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}
