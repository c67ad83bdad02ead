//! Resolves the written configuration: it reads secrets, makes paths absolute, fills in defaults, and reports all
//! faults at once.

mod account_logins;
mod accounts;
mod annotation_conditions;
mod arguments;
mod audit;
mod checkpoint_places;
mod child_credentials;
mod configured_keys;
mod credentials;
mod description;
mod endpoints;
mod environment_only;
mod grants;
mod identity;
mod issuing_key;
mod keys;
mod limit_preset;
mod limits;
mod lint;
mod load;
mod lockout;
mod network;
mod own_keys;
mod own_tools;
mod passwords;
mod pins;
mod pipeline;
mod plain_http;
mod policies;
mod proxies;
mod resolver;
mod secret;
mod server;
mod service_names;
mod sessions;
mod settings;
mod signing;
mod telemetry;
mod tls;
mod token_issue;
mod token_store;
mod tokens;
mod upstreams;

use std::io;
use std::path::{Path, PathBuf};

use self::load::finish;
use self::plain_http::places_of_passwords;
use self::resolver::{Resolver, base};
use self::token_issue::TokenContext;
use super::accounts::AccountPlace;
use super::diagnostic::Diagnostic;
use super::document::Document;
use super::env_file::EnvFile;
use super::environment::Environment;
use super::secrets::SecretSources;
use super::{BrokenParts, Config, ControlSocket, raw, shape};
use witgate_base::cause::Cause;
use witgate_base::fingerprints::Fingerprints;
use witgate_base::path::absolute;

pub use configured_keys::ConfiguredKey;
pub use environment_only::WrappedServer;
pub use keys::key;
pub use load::{LoadedConfig, Strictness};
pub use passwords::password_cost;
pub use proxies::network as network_of;
pub use settings::{description, schema as settings_schema};
pub use upstreams::resources;

/// Loads the configuration file at `path`. None: only the environment counts.
///
/// # Errors
/// With all faults and warnings, in the order of the file.
pub fn load(path: Option<&Path>, environment: &Environment) -> Result<LoadedConfig, Vec<Diagnostic>> {
    match path {
        Some(path) => load_parts(path, environment, Strictness::Whole),
        None => environment_only::load(environment, None),
    }
}

/// The configuration of the environment alone, in front of a server that the command line names.
///
/// # Errors
/// With all faults and warnings.
pub fn load_wrapped(
    server: &WrappedServer,
    environment: &Environment,
) -> Result<LoadedConfig, Vec<Diagnostic>> {
    environment_only::load(environment, Some(server))
}

/// Loads the configuration file at `path`. With [`Strictness::Parts`], it loads the usable parts, and `config.broken`
/// lists the others.
///
/// # Errors
/// As [`load`].
pub fn load_parts(
    path: &Path,
    environment: &Environment,
    strictness: Strictness,
) -> Result<LoadedConfig, Vec<Diagnostic>> {
    let mut files = Fingerprints::default();
    files.note(&absolute(path));
    let text = read(path).map_err(|fault| vec![fault])?;
    load_noting(path, &text, environment, files, TextOrigin { is_earlier: false, last: None, strictness })
}

/// The origin of a text, and its purpose.
#[derive(Clone, Copy)]
struct TextOrigin<'a> {
    /// True if the text is a former content of the file. Its components may no longer exist.
    is_earlier: bool,
    /// The variables that count if the file of variables has a fault. None: the fault counts.
    last: Option<&'a Environment>,
    strictness: Strictness,
}

/// Loads a former content of the configuration file at `path`. Its files are read in their current state, except
/// components, which may no longer exist.
///
/// # Errors
/// As [`load`].
pub fn load_text(
    path: &Path,
    text: &str,
    environment: &Environment,
) -> Result<LoadedConfig, Vec<Diagnostic>> {
    load_text_parts(path, text, environment, None, Strictness::Whole)
}

/// As [`load_text`], and with [`Strictness::Parts`] as [`load_parts`]. `last` are the variables of the running
/// generation: if the file of variables has a fault, they count, and the fault is a warning. So such a fault never
/// prevents the revocation of a key.
///
/// # Errors
/// As [`load`].
pub fn load_text_parts(
    path: &Path,
    text: &str,
    environment: &Environment,
    last: Option<&Environment>,
    strictness: Strictness,
) -> Result<LoadedConfig, Vec<Diagnostic>> {
    let mut files = Fingerprints::default();
    files.note(&absolute(path));
    load_noting(path, text, environment, files, TextOrigin { is_earlier: true, last, strictness })
}

fn load_noting(
    path: &Path,
    text: &str,
    environment: &Environment,
    mut files: Fingerprints,
    origin: TextOrigin<'_>,
) -> Result<LoadedConfig, Vec<Diagnostic>> {
    let name = path.display().to_string();
    let (document, twice) = Document::parse(&name, text);
    if !document.is_whole() {
        return Err(twice);
    }
    let (file, faults) = fit(&document);
    let (environment, noticed) = match with_env_file(&document, &file, environment, path, &mut files) {
        Ok((environment, warnings)) => (environment, warnings),
        Err(fault) => match origin.last {
            Some(last) => (last.clone(), vec![fault.into_warning()]),
            None => (environment.clone(), vec![fault]),
        },
    };
    let faults = [faults, twice, noticed].concat();
    let resolve = |sources: &SecretSources| {
        let mut resolver = Resolver::new(&document, sources, path, faults.clone(), files.clone());
        resolver.again = origin.is_earlier;
        resolver.environment_beside_file();
        let config = resolver.config(&file).map(|config| Config { text: text.to_owned(), ..config });
        (config, resolver.faults)
    };
    let sources = sources(&environment, &file, &base(path));
    // Programs that have not run yet run side by side, and not one after the other.
    for _ in 0..MOST_ROUNDS {
        let beginning = sources.beginning();
        let (config, faults) = resolve(&beginning);
        if !beginning.have_begun() {
            return finish(config, faults, origin.strictness);
        }
        if !environment.programs().await_first_runs() {
            break;
        }
    }
    let (config, faults) = resolve(&sources);
    finish(config, faults, origin.strictness)
}

/// The most rounds in which the programs of secrets run side by side, some in each.
const MOST_ROUNDS: usize = 8;

/// The sources of secrets of a configuration in the directory `base`, without a configuration file: of the defaults.
pub fn sources(environment: &Environment, file: &raw::File, base: &Path) -> SecretSources {
    let state = base.join(file.server.state.as_deref().unwrap_or(server::DEFAULT_STATE));
    SecretSources::new(environment, &file.secrets, base, &state)
}

/// The variables of the process with those of the file that `server.env_file` names, and warnings about that file.
///
/// # Errors
/// If the file cannot be read, or a line is invalid.
fn with_env_file(
    document: &Document<'_>,
    file: &raw::File,
    environment: &Environment,
    path: &Path,
    files: &mut Fingerprints,
) -> Result<(Environment, Vec<Diagnostic>), Diagnostic> {
    let Some(written) = &file.server.env_file else { return Ok((environment.clone(), Vec::new())) };
    let variables = base(path).join(written);
    files.note(&variables);
    match EnvFile::read(&variables) {
        Ok(mut file) => {
            let warnings = std::mem::take(&mut file.warnings);
            Ok((environment.with(file), warnings))
        }
        // The fault has a place in the file of variables, or else it gets that of the setting.
        Err(fault) if fault.position().is_some() => Err(fault),
        Err(fault) => Err(document.placed(fault, &["server", "env_file"])),
    }
}

fn read(path: &Path) -> Result<String, Diagnostic> {
    let name = path.display();
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Diagnostic::error(format!("there is no configuration file `{name}`"))
            .help("make one with `witgate init`, or name one with `--config FILE`"),
        _ => Diagnostic::error(format!("the configuration file `{name}` cannot be read: {error}"))
            .help("it has to be a file that the user who starts Witgate may read")
            .because_of(Cause::of(&error)),
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Diagnostic::error(format!("the configuration file `{name}` is not UTF-8, from byte {at} on"))
            .help("save it as UTF-8")
    })
}

/// Validates the document: returns its valid part, and the faults.
fn fit(document: &Document<'_>) -> (raw::File, Vec<Diagnostic>) {
    let (fitted, mut faults) = shape::fit(document, raw::schema());
    let file = serde_json::from_value(fitted.into()).unwrap_or_else(|error| {
        // The schema is made from the types, so this does not happen. If it did, silence would mean a configuration
        // that nobody wrote.
        faults.push(Diagnostic::error(format!("the configuration does not match its schema: {error}")));
        raw::File::default()
    });
    (file, faults)
}

/// The configuration for commands other than `serve`: the written file, without reading other files, so that creating
/// a key does not need the secrets of an upstream.
#[derive(Debug)]
pub struct Outline {
    /// The valid part of the file.
    pub file: raw::File,
    /// The directory for relative paths.
    pub base: PathBuf,
    /// The errors in the rest.
    pub faults: Vec<Diagnostic>,
}

impl Outline {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// If there is no such file, or it is not TOML.
    pub fn read(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        let text = read(path).map_err(|fault| vec![fault])?;
        let (document, faults) = Document::parse(&path.display().to_string(), &text);
        if !faults.is_empty() {
            return Err(faults);
        }
        let (file, faults) = fit(&document);
        Ok(Self { file, base: base(path), faults })
    }

    /// Reads the valid part of the file at `path`, even if it is not TOML at the moment.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn recover(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        let text = read(path).map_err(|fault| vec![fault])?;
        let (document, mut faults) = Document::parse(&path.display().to_string(), &text);
        let (file, misfits) = fit(&document);
        faults.extend(misfits);
        Ok(Self { file, base: base(path), faults })
    }

    /// The component files of the policies.
    pub fn components(&self) -> Vec<PathBuf> {
        let named = self.file.policies.values().filter_map(|policy| policy.component.as_ref());
        named.map(|component| self.base.join(component)).collect()
    }

    /// The directory for data that survives a restart.
    pub fn state(&self) -> PathBuf {
        self.base.join(self.file.server.state.as_deref().unwrap_or(server::DEFAULT_STATE))
    }

    /// The variables that the configuration may name: `environment`, and those of `server.env_file`.
    ///
    /// # Errors
    /// If that file cannot be read, or a line is invalid.
    pub fn environment(&self, environment: &Environment) -> Result<Environment, Diagnostic> {
        match &self.file.server.env_file {
            Some(file) => Ok(environment.with(EnvFile::read(&self.base.join(file))?)),
            None => Ok(environment.clone()),
        }
    }

    /// The sources of secrets.
    ///
    /// # Errors
    /// If the file of variables cannot be read, or a line is invalid.
    pub fn secrets(&self, environment: &Environment) -> Result<SecretSources, Diagnostic> {
        Ok(self.sources(&self.environment(environment)?))
    }

    /// The sources of secrets with these variables.
    pub fn sources(&self, environment: &Environment) -> SecretSources {
        sources(environment, &self.file, &self.base)
    }

    /// The files of accounts. None: there is no `[accounts]`.
    pub fn accounts(&self) -> Option<AccountPlace> {
        self.file.accounts.as_ref().map(|_| accounts::place(&self.file, &self.base))
    }

    /// The names of the service, which are no passwords.
    pub fn service_names(&self) -> Vec<String> {
        service_names::service_names(&self.file)
    }

    /// The origin of the pages of accounts. None: there is no `[accounts]`.
    pub fn accounts_origin(&self) -> Option<String> {
        self.file.accounts.as_ref().map(|written| accounts::default_issuer(&self.file, written))
    }

    /// The issuer of the subjects at the provider of `[accounts.login.NAME]`. None: there is no such provider.
    pub fn identity_issuer(&self, login: &str) -> Option<String> {
        let login = self.file.accounts.as_ref()?.login.get(login)?;
        account_logins::identity_issuer(self.file.credentials.get(&login.credential)?)
    }

    /// The path of the control socket.
    pub fn control(&self) -> ControlSocket {
        let given = self.file.server.control.as_deref();
        let path = self.base.join(given.unwrap_or(server::DEFAULT_CONTROL));
        ControlSocket { path, is_given: given.is_some() }
    }
}

/// The fault of `policy` in the configuration `file`, at the setting with which the message begins (`config.roles.ops:
/// …`), or else at the policy. Without a file, only the message.
pub fn policy_fault(file: Option<&Path>, policy: &str, message: &str) -> Diagnostic {
    let whole = format!("the policy `{policy}` cannot be used: {message}");
    let setting = message.split_once(": ").map(|(setting, _)| setting).filter(|at| at.starts_with("config"));
    let steps = setting.unwrap_or_default().split('.').filter(|step| !step.is_empty());
    let at: Vec<_> = ["policies", policy].into_iter().chain(steps).collect();
    let place = |path: &Path| {
        let text = read(path).ok()?;
        let (document, faults) = Document::parse(&path.display().to_string(), &text);
        faults.is_empty().then(|| document.error(&at, whole.clone()))
    };
    file.and_then(place).unwrap_or_else(|| Diagnostic::error(whole.clone()))
}

/// A fault of the setting `at`, at its place in the configuration `file`.
pub fn fault_at(file: Option<&Path>, at: &[&str], message: &str) -> Diagnostic {
    let place = |path: &Path| {
        let text = read(path).ok()?;
        let (document, faults) = Document::parse(&path.display().to_string(), &text);
        faults.is_empty().then(|| document.error(at, message))
    };
    file.and_then(place).unwrap_or_else(|| Diagnostic::error(message))
}

/// A remark about the setting `at` in `text`, which diagnostics call `name`, with `label` at the caret. If there is no such
/// setting, it is about the table that would contain it.
pub fn remark_in((name, text): (&str, &str), at: &[&str], message: &str, label: &str) -> Diagnostic {
    let (document, _) = Document::parse(name, text);
    document.warning(at, message).label(label)
}

impl Resolver<'_> {
    /// Reads every section, even if an earlier one has faults.
    fn config(&mut self, file: &raw::File) -> Option<Config> {
        self.store_identity(&file.secrets);
        let keys = self.keys(&file.keys);
        let policies = self.policies(file);
        let server = self.server(&file.server);
        self.state = self.path(file.server.state.as_deref().unwrap_or(server::DEFAULT_STATE));
        let signing = self.signing(file);
        let credentials = self.credentials(file, signing.as_ref());
        let audit = self.audit(file);
        let mut upstreams = self.upstreams(file, &policies, signing.as_ref(), &credentials);
        let endpoints = self.endpoints(file, &upstreams);
        self.injects_in_private(&upstreams, &policies);
        self.annotations_are_approved(&upstreams, &policies);
        self.unused(file, &policies);
        if let Some(server) = &server {
            let places = places_of_passwords(file, &policies);
            self.no_passwords_in_clear(&file.server, server, &places);
            self.guesses_without_pause(file, server, &places);
        }
        let network = self.network(&file.network);
        let telemetry = self.telemetry(&file.telemetry);
        self.proxies_unused(&file.network, &upstreams, keys.values().any(network::is_fetched));
        let server = self.with_resource_hosts(server?, &upstreams, &endpoints);
        self.answers_fit(&server, &upstreams);
        let accounts = self.accounts(file, &upstreams, &credentials);
        self.accounts_are_used(file, &policies);
        self.own_tools_have_subjects(file, &upstreams);
        let server = self.of_accounts(server, accounts.as_ref());
        let limits = self.call_limits(file, &upstreams, &policies);
        let context = TokenContext {
            file,
            policies: &policies,
            keys: &keys,
            signing: signing.as_ref(),
            limits: &limits,
        };
        self.token_issues(&mut upstreams, context);
        let lockout = self.lockout(file);
        let password_cost = self.password_cost(&file.passwords);
        let denied_peers = self.denied_peers(&file.server);
        let lint_exceptions = self.lint_exceptions(&file.lint);
        Some(Config {
            path: Some(self.path.clone()),
            text: String::new(),
            server,
            network: Some(network),
            upstreams,
            endpoints,
            policies,
            keys,
            credentials,
            signing,
            accounts,
            limits,
            lockout,
            password_cost,
            denied_peers,
            no_new_access: file.reload.no_new_access.unwrap_or_default(),
            audit,
            telemetry,
            lint_exceptions,
            files: std::mem::take(&mut self.files),
            broken: BrokenParts::default(),
            environment: self.environment.clone(),
            secrets: self.sources.waiting(),
            auth_disabled: false,
        })
    }

    /// Warns about variables that count only without a file, especially about the dangerous one.
    fn environment_beside_file(&mut self) {
        let Some(fault) = environment_only::disabled(self.environment).transpose() else { return };
        let fault = match fault {
            Ok(_) => Diagnostic::error("MCP_AUTH_ENABLED=false is set, and there is a configuration file")
                .help(
                    "unset it; the `[pipeline]` of the file decides who may call (callers without a \
                     credential: `anonymous = { roles = […] }`)",
                ),
            Err(fault) => fault,
        };
        self.faults.push(fault);
    }
}

#[cfg(test)]
mod tests;
