//! A program that prints a secret.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::file_safety::{checked, is_program};
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
        let found = self.find()?;
        let program = checked(&found)?;
        let arguments = self.argv.get(1..).unwrap_or_default();
        let variables = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let output = print((&program, &found), arguments, variables, &self.directory, PROGRAM_TIME)?;
        let text = std::str::from_utf8(&output).map_err(|_| "its output is not text in UTF-8".to_owned())?;
        match in_file(text) {
            "" => Err("its output is empty".to_owned()),
            secret => Ok(secret.into()),
        }
    }

    /// The path by which the program is found.
    fn find(&self) -> Result<PathBuf, String> {
        let name = self.name();
        if name.contains('/') {
            return Ok(self.directory.join(name));
        }
        let search = self.variables.get("PATH").map_or("", |path| path.as_str());
        let mut places = std::env::split_paths(search).map(|folder| folder.join(name));
        places.find(|place| is_program(place)).ok_or_else(|| "it is not on PATH".to_owned())
    }
}
