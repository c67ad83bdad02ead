//! A program that prints a secret.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::run::{PROGRAM_TIME, print};
use crate::secret_text::in_file;

/// The variables that every program gets, if they are set: those that programs need to run and to find their files.
const USUAL: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// A command with its variables. Two with equal parts print the same.
#[derive(Clone)]
pub(crate) struct SecretProgram {
    /// Program and arguments, without a shell.
    argv: Vec<String>,
    ttl: Duration,
    /// The directory in which it runs, and in which a relative path begins.
    directory: PathBuf,
    variables: BTreeMap<String, Zeroizing<String>>,
}

impl Ord for SecretProgram {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts()).then_with(|| self.values().cmp(other.values()))
    }
}

impl PartialOrd for SecretProgram {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for SecretProgram {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for SecretProgram {}

impl SecretProgram {
    /// All but the values of the variables.
    fn parts(&self) -> (&[String], Duration, &Path, Vec<&String>) {
        (&self.argv, self.ttl, &self.directory, self.variables.keys().collect())
    }

    fn values(&self) -> impl Iterator<Item = &str> {
        self.variables.values().map(|value| value.as_str())
    }

    /// The command `argv`, with the usual variables and those that are `passed`.
    ///
    /// # Errors
    /// If a variable that is passed is not set: its name.
    pub(crate) fn new<'v>(
        argv: &[String],
        ttl: Duration,
        directory: &Path,
        variable: impl Fn(&str) -> Option<&'v str>,
        passed: &[String],
    ) -> Result<Self, String> {
        let mut variables = BTreeMap::new();
        for name in USUAL {
            variables.extend(variable(name).map(|value| (name.to_owned(), Zeroizing::new(value.to_owned()))));
        }
        for name in passed {
            let value = variable(name).ok_or_else(|| name.clone())?;
            variables.insert(name.clone(), Zeroizing::new(value.to_owned()));
        }
        Ok(Self { argv: argv.to_vec(), ttl, directory: directory.to_owned(), variables })
    }

    /// The name of the program. Its arguments are never printed, because one may be a secret by mistake.
    pub(super) fn name(&self) -> &str {
        self.argv.first().map_or("", String::as_str)
    }

    /// The lifetime of what it prints.
    pub(super) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Runs it, and returns what it has printed, without line breaks at the end.
    ///
    /// # Errors
    /// With the reason, which contains no part of the output.
    pub(super) fn run(&self) -> Result<SecretString, String> {
        let program = self.locate()?;
        let arguments = self.argv.get(1..).unwrap_or_default();
        let variables = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let output = print(&program, arguments, variables, &self.directory, PROGRAM_TIME)?;
        let text = std::str::from_utf8(&output).map_err(|_| "its output is not text in UTF-8".to_owned())?;
        match in_file(text) {
            "" => Err("its output is empty".to_owned()),
            secret => Ok(secret.into()),
        }
    }

    /// The path of the program, in directories that only its owner and root can write.
    fn locate(&self) -> Result<PathBuf, String> {
        let name = self.name();
        let found = match name.contains('/') {
            true => self.directory.join(name),
            false => {
                let search = self.variables.get("PATH").map_or("", |path| path.as_str());
                let mut places = std::env::split_paths(search).map(|folder| folder.join(name));
                places.find(|place| is_program(place)).ok_or("it is not on PATH")?
            }
        };
        let target = found.canonicalize().map_err(|error| format!("it cannot be found: {error}"))?;
        if !is_program(&target) {
            return Err("it is not a file that may be executed".to_owned());
        }
        let folders = [found.parent(), target.parent()].into_iter().flatten();
        for folder in folders {
            let folder =
                folder.canonicalize().map_err(|error| format!("its directory cannot be found: {error}"))?;
            is_safe(&folder)?;
        }
        match others_can_write(&target)? {
            true => Err("users other than its owner can write it".to_owned()),
            false => Ok(found),
        }
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o111 != 0)
}

/// Checks that nobody else can replace what is in `folder`. In a directory above it, the sticky bit is enough: it keeps
/// others from renaming what is not theirs.
fn is_safe(folder: &Path) -> Result<(), String> {
    for (place, above) in folder.ancestors().enumerate() {
        let is_sticky = above.metadata().is_ok_and(|metadata| metadata.mode() & 0o1000 != 0);
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
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let is_foreign = metadata.uid() != 0 && metadata.uid() != user;
    let is_foreign_group = metadata.gid() != 0 && metadata.gid() != group;
    Ok(is_foreign || metadata.mode() & 0o002 != 0 || metadata.mode() & 0o020 != 0 && is_foreign_group)
}
