//! The environment variables that a configuration may name. They are passed as an argument, so that the meaning of a
//! configuration does not depend on the process that reads it.

mod misspelt;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use zeroize::Zeroizing;

use crate::env_file::EnvFile;
use crate::secret_programs::SecretPrograms;

/// Environment variables. Printing shows only their names, never their values.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, Zeroizing<String>>,
    /// The values that programs have printed. Clones share them, so that a reload need not run them again.
    programs: SecretPrograms,
}

impl Environment {
    /// The environment of this process. Variables that are not UTF-8 are left out.
    #[expect(clippy::disallowed_methods, reason = "the one place")]
    pub fn of_process() -> Self {
        let text =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        std::env::vars_os().filter_map(text).collect()
    }

    /// The value of the variable `name`, if it is set and not empty. A line `API_KEY=` in a file of variables counts
    /// as not set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.as_str()).filter(|value| !value.is_empty())
    }

    /// True if the variable is set, even to an empty text.
    pub fn has(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    /// These variables, and those of `file` that are not set.
    #[must_use]
    pub fn with(&self, file: EnvFile) -> Self {
        let mut variables = self.variables.clone();
        for (name, value) in file.variables {
            variables.entry(name).or_insert(value);
        }
        Self { variables, programs: self.programs.clone() }
    }

    /// The secrets that programs have printed.
    pub fn programs(&self) -> &SecretPrograms {
        &self.programs
    }

    /// The names of all variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }
}

/// A variable of this process with any encoding, which no configuration names.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let own = |(name, value): (N, V)| (name.into(), Zeroizing::new(value.into()));
        Self { variables: variables.into_iter().map(own).collect(), programs: SecretPrograms::default() }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
