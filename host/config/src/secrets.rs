//! The sources of secrets: environment variables, files, credentials of systemd, the encrypted store, the keyring, and
//! programs.

mod secret;
mod stored;

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use zeroize::Zeroizing;

pub use self::secret::{MissingSecret, Secret};
use self::stored::StoreReader;
use crate::environment::Environment;
use crate::keyring::{KeyringEntry, KeyringPlaceError};
use crate::raw::{SecretSettings, SecretSource, StoreIdentity};
use crate::secret_programs::{ProgramFault, SecretProgram, SecretSupplier};
use crate::secret_store::{IdentityPlace, SecretStore};
use crate::secret_text::in_file;
use crate::shape::{listed, nearest};
use witgate_base::cause::{Cause, is_file};
use witgate_base::fingerprints::Fingerprints;

/// Size limit of a file with a secret, in bytes: more than any key or certificate has.
const LARGEST: u64 = 1 << 20;

/// The settings that name a source.
pub(crate) const SOURCES: [&str; 6] = ["env", "file", "credential", "stored", "keyring", "exec"];

/// The default of `secrets.store`.
const DEFAULT_STORE: &str = "secrets.age";

/// The file of the identity in the directory of the state.
const DEFAULT_IDENTITY: &str = "secrets.key";

/// The default of `ttl_s`: a changed secret is in use after five minutes at the latest.
const DEFAULT_TTL_S: u64 = 300;

/// The bits of a file's mode for users other than its owner.
const OTHERS: u32 = 0o077;

/// The variable with the directory of the credentials, which systemd sets (systemd.exec(5)).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The sources of secrets, with their settings.
#[derive(Clone, Debug, Default)]
pub struct SecretSources {
    environment: Environment,
    strict_files: bool,
    core_dumps: bool,
    /// None: a sandbox has no store.
    store: Option<StoreReader>,
    /// The number of changes of programs' secrets at the time of reading.
    changes: u64,
    /// Set if a program runs for the first time. None: the values of such programs are waited for.
    begun: Option<Arc<AtomicBool>>,
}

impl SecretSources {
    /// The sources of a configuration in the directory `base`, which keeps its data in `state`.
    pub(crate) fn new(
        environment: &Environment,
        settings: &SecretSettings,
        base: &Path,
        state: &Path,
    ) -> Self {
        let changes = environment.programs().changes();
        let SecretSettings { strict_files, core_dumps, .. } = *settings;
        let environment = environment.clone();
        let sources = Self { environment, strict_files, core_dumps, store: None, changes, begun: None };
        let path = base.join(settings.store.as_deref().unwrap_or(DEFAULT_STORE));
        let store = SecretStore::new(path, sources.identity(settings, base, state), state);
        Self { store: Some(StoreReader::new(store)), ..sources }
    }

    /// The place of the identity that decrypts the store.
    fn identity(&self, settings: &SecretSettings, base: &Path, state: &Path) -> IdentityPlace {
        let StoreIdentity { file, credential, keyring } = settings.identity.clone().unwrap_or_default();
        if let Some(name) = credential {
            return self
                .credential_path(&name)
                .map_or_else(|missing| IdentityPlace::Nowhere(missing.message), IdentityPlace::Protected);
        }
        if let Some(entry) = keyring {
            return self
                .keyring_entry(&entry)
                .map_or_else(|error| IdentityPlace::Nowhere(error.to_string()), IdentityPlace::Keyring);
        }
        IdentityPlace::File(file.map_or_else(|| state.join(DEFAULT_IDENTITY), |file| base.join(file)))
    }

    /// The encrypted store. None: there is no configuration.
    pub fn store(&self) -> Option<&SecretStore> {
        self.store.as_ref().map(StoreReader::store)
    }

    /// Remembers the state of the store that was read, so that an older one causes a warning from then on.
    pub fn remember_store(&self) {
        if let Some(store) = &self.store {
            store.remember();
        }
    }

    /// The same, which begin the programs that have not run yet, and wait for none of them.
    pub(crate) fn beginning(&self) -> Self {
        Self { begun: Some(Arc::default()), ..self.clone() }
    }

    /// The same, which wait for programs.
    pub(crate) fn waiting(&self) -> Self {
        Self { begun: None, ..self.clone() }
    }

    /// True if a program that was asked for runs for the first time, so that a secret is missing that need not be.
    pub(crate) fn have_begun(&self) -> bool {
        self.begun.as_ref().is_some_and(|begun| begun.load(Ordering::Relaxed))
    }

    /// The variables alone, for commands and sandboxes.
    pub fn of_environment(environment: Environment) -> Self {
        Self { environment, ..Self::default() }
    }

    /// True if a core dump of the process, which contains its secrets, may be made.
    pub fn are_core_dumps_permitted(&self) -> bool {
        self.core_dumps
    }

    /// The environment variables.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The number of changes of programs' secrets before these sources were read.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// True if a program's secret has changed since, or its lifetime is over.
    pub fn have_changed(&self) -> bool {
        self.environment.programs().changes() != self.changes
    }

    /// True if a file that other users may read is an error, and not only a warning.
    pub fn are_files_strict(&self) -> bool {
        self.strict_files
    }

    /// The same with other variables.
    #[must_use]
    pub fn with_environment(&self, environment: Environment) -> Self {
        Self { environment, ..self.clone() }
    }

    /// Reads the secret of `source`, with paths relative to `dir`. The files that it reads are noted in `files`, even
    /// after an error.
    ///
    /// # Errors
    /// If there is no such secret, or it is unusable. No message contains a part of a secret.
    pub(crate) fn read(
        &self,
        source: &SecretSource,
        dir: &Path,
        files: &mut Fingerprints,
    ) -> Result<Secret, MissingSecret> {
        let named = named(source);
        let has_lifetime = source.exec.is_some() || source.keyring.is_some();
        if !has_lifetime && source.ttl_s.is_some() || source.exec.is_none() && !source.exec_env.is_empty() {
            let message = "`ttl_s` and `exec_env` are about the program of `exec`, and there is none";
            return Err(MissingSecret::new(message, "leave them out"));
        }
        match (named.as_slice(), source) {
            ([_], SecretSource { env: Some(name), .. }) => self.in_variable(name),
            ([_], SecretSource { file: Some(file), .. }) => self.in_own_file(&dir.join(file), files),
            ([_], SecretSource { credential: Some(name), .. }) => self.in_credential(name, files),
            ([_], SecretSource { stored: Some(name), .. }) => self.in_store(name, files),
            ([_], SecretSource { keyring: Some(entry), .. }) => self.in_keyring(entry, source),
            ([_], SecretSource { exec: Some(argv), .. }) => self.of_program(argv, source, dir),
            ([], _) | ([_], _) => Err(MissingSecret::new(
                "nothing says where this secret comes from",
                "write `{ env = \"NAME\" }` or `{ file = \"PATH\" }`",
            )),
            (several, _) => Err(MissingSecret::new(
                format!("a secret has one source, and this names {}", listed(several)),
                "leave one of them",
            )),
        }
    }

    /// Reads the secret of a setting of a policy, whose form nobody has checked.
    ///
    /// # Errors
    /// As for every secret, or if the setting is not the source of one.
    pub fn read_setting(
        &self,
        setting: &serde_json::Value,
        dir: &Path,
        files: &mut Fingerprints,
    ) -> Result<Secret, MissingSecret> {
        // The error would quote a part of the setting, which may be a secret in the wrong place.
        let source = serde_json::from_value(setting.clone()).map_err(|_| {
            MissingSecret::new(
                "a secret is never written here",
                "use { env = \"NAME\" }, { file = \"PATH\" } or another source of secrets",
            )
        })?;
        self.read(&source, dir, files)
    }

    fn in_variable(&self, name: &str) -> Result<Secret, MissingSecret> {
        let environment = &self.environment;
        if let Some(value) = environment.get(name) {
            return Ok(Secret::from_variable(value));
        }
        let state = if environment.has(name) { "is empty" } else { "is not set" };
        let near = nearest(name, environment.names().filter(|other| *other != name));
        let help = match near {
            Some(near) => {
                format!("did you mean `{near}`, which is set? Else set `{name}` before Witgate starts")
            }
            None => format!("set `{name}` before Witgate starts, or read the secret from a `file`"),
        };
        Err(MissingSecret::new(format!("the environment variable `{name}` {state}"), help).absent())
    }

    fn in_store(&self, name: &str, files: &mut Fingerprints) -> Result<Secret, MissingSecret> {
        let help = "use `env` or `file`";
        let missing = || MissingSecret::new("there is no store of secrets here", help);
        self.store.as_ref().ok_or_else(missing)?.secret(name, files)
    }

    fn keyring_entry(&self, entry: &str) -> Result<KeyringEntry, KeyringPlaceError> {
        KeyringEntry::new(entry, |name| self.environment.get(name))
    }

    fn in_keyring(&self, entry: &str, source: &SecretSource) -> Result<Secret, MissingSecret> {
        let entry = self.keyring_entry(entry).map_err(|error| {
            let help = match error {
                KeyringPlaceError::Name => "write `{ keyring = \"SERVICE/ACCOUNT\" }`",
                KeyringPlaceError::NoBus => "start Witgate in a session of the desktop, or use `stored`",
            };
            MissingSecret::new(error.to_string(), help)
        })?;
        self.of_supplier(&SecretSupplier::Keyring(entry, ttl(source)))
    }

    fn of_program(
        &self,
        argv: &[String],
        source: &SecretSource,
        dir: &Path,
    ) -> Result<Secret, MissingSecret> {
        if argv.first().is_none_or(String::is_empty) {
            return Err(MissingSecret::new("the command of `exec` is empty", "write program and arguments"));
        }
        let variable = |name: &str| self.environment.get(name);
        let program = SecretProgram::new(argv, ttl(source), dir, variable, &source.exec_env);
        let program = program.map_err(|name| {
            let message = format!("the program is to get the variable `{name}`, which is not set or empty");
            MissingSecret::new(message, format!("set `{name}`, or take it out of `exec_env`"))
        })?;
        self.of_supplier(&SecretSupplier::Program(program))
    }

    fn of_supplier(&self, supplier: &SecretSupplier) -> Result<Secret, MissingSecret> {
        let programs = self.environment.programs();
        if let Some(begun) = self.begun.as_ref().filter(|_| programs.begin(supplier)) {
            begun.store(true, Ordering::Relaxed);
            return Err(MissingSecret::new("the secret is asked for the first time", "wait for the answer"));
        }
        let (value, lifetime) = programs
            .value(supplier)
            .map_err(|ProgramFault { message, help }| MissingSecret::new(message, help))?;
        Ok(Secret { value, file: None, warning: None, lifetime: Some(lifetime) })
    }

    /// The secret in a file of the operator, which other users should not be able to read.
    fn in_own_file(&self, path: &Path, files: &mut Fingerprints) -> Result<Secret, MissingSecret> {
        let secret = from_file(path, files)?;
        let Some(mode) = mode_for_others(path) else { return Ok(secret) };
        let shown = path.display();
        let message = format!("other users may have access to `{shown}`, whose mode is {mode:04o}");
        let help = format!("run `chmod 600 {shown}`");
        match self.strict_files {
            true => Err(MissingSecret::new(message, help)),
            false => Ok(Secret { warning: Some((message, help)), ..secret }),
        }
    }

    /// The path of a credential of systemd. Its mode tells nothing, because systemd uses access control lists.
    ///
    /// # Errors
    /// If it cannot be a name, or there is no directory with credentials.
    pub(crate) fn credential_path(&self, name: &str) -> Result<PathBuf, MissingSecret> {
        let mut steps = Path::new(name).components();
        if !matches!((steps.next(), steps.next()), (Some(Component::Normal(step)), None) if step == name) {
            let message = format!("`{name}` cannot be the name of a credential");
            return Err(MissingSecret::new(message, "write the name before the `:` of `LoadCredential=`"));
        }
        let Some(directory) = self.environment.get(CREDENTIALS) else {
            let message = format!("there are no credentials of systemd: `{CREDENTIALS}` is not set");
            let help = format!("add `LoadCredential={name}:PATH` to the unit; without systemd, use a `file`");
            return Err(MissingSecret::new(message, help).absent());
        };
        Ok(Path::new(directory).join(name))
    }

    fn in_credential(&self, name: &str, files: &mut Fingerprints) -> Result<Secret, MissingSecret> {
        let path = self.credential_path(name)?;
        from_file(&path, files).map_err(|missing| match missing.is_absent {
            true => MissingSecret {
                message: format!("there is no credential `{name}`"),
                help: format!(
                    "add `LoadCredential={name}:PATH` or `LoadCredentialEncrypted={name}:PATH` to the unit"
                ),
                ..missing
            },
            false => missing,
        })
    }
}

/// The sources that are written, of which there may be one.
pub(crate) fn named(source: &SecretSource) -> Vec<&'static str> {
    let SecretSource { env, file, credential, stored, keyring, exec, ttl_s: _, exec_env: _ } = source;
    let texts = [env, file, credential, stored, keyring].map(Option::is_some);
    let is_there = texts.into_iter().chain([exec.is_some()]);
    SOURCES.into_iter().zip(is_there).filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
}

fn ttl(source: &SecretSource) -> Duration {
    Duration::from_secs(source.ttl_s.unwrap_or(DEFAULT_TTL_S))
}

/// The mode of a file that users other than its owner may read or write.
fn mode_for_others(path: &Path) -> Option<u32> {
    let mode = std::fs::metadata(path).ok()?.mode() & 0o777;
    (mode & OTHERS != 0).then_some(mode)
}

fn from_file(path: &Path, files: &mut Fingerprints) -> Result<Secret, MissingSecret> {
    files.note(path);
    let shown = path.display();
    let unreadable = |error: io::Error| MissingSecret {
        message: match error.kind() {
            io::ErrorKind::NotFound => format!("there is no file `{shown}`"),
            _ => format!("the file `{shown}` cannot be read: {error}"),
        },
        help: "write the secret into it, and let only the user who starts Witgate read it".to_owned(),
        cause: Cause::of(&error),
        is_absent: error.kind() == io::ErrorKind::NotFound,
    };
    // A pipe would keep the reader waiting.
    if !is_file(path).map_err(unreadable)? {
        return Err(MissingSecret::new(format!("`{shown}` is not a file"), "write the path of a file"));
    }
    if std::fs::metadata(path).map_err(unreadable)?.len() > LARGEST {
        let message = format!("the file `{shown}` has more than {LARGEST} bytes");
        return Err(MissingSecret::new(message, "check the path"));
    }
    let bytes = Zeroizing::new(std::fs::read(path).map_err(unreadable)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        MissingSecret::new(
            format!("the file `{shown}` is not text in UTF-8"),
            "a secret is text; encode other bytes, for example in base64",
        )
    })?;
    match in_file(text) {
        "" => Err(MissingSecret::new(format!("the file `{shown}` is empty"), "write the secret into it")),
        secret => {
            Ok(Secret { value: secret.into(), file: Some(path.to_owned()), warning: None, lifetime: None })
        }
    }
}
