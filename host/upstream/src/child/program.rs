//! The command of a child, and its environment.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncRead;
use tokio::process::{ChildStderr, Command};

use super::pipes::{Launch, Pipes};
use super::process::{GroupLeader, Process};
use crate::child_credentials::ProcessCredentials;
use crate::identity::variables;
use witgate_base::party::Principal;
use witgate_base::printable;
use witgate_config::environment;
use witgate_config::identity::IdentityField;
use witgate_config::secret_programs::SecretLifetime;
use witgate_runtime::descriptors;
use witgate_runtime::lines::input::{LineOutcome, LineReader};
use witgate_runtime::processes;
use witgate_runtime::shares::Share;

/// Environment variables that a program needs to run, to find its home and to use its package cache. It is a list of
/// permitted variables, so that no secret of the host is passed on by mistake.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "TERM",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "NVM_DIR",
    "NODE_EXTRA_CA_CERTS",
    "npm_config_cache",
    "NPM_CONFIG_CACHE",
    "npm_config_prefix",
    "NPM_CONFIG_PREFIX",
    "npm_config_registry",
    "NPM_CONFIG_REGISTRY",
    "COREPACK_HOME",
    "PNPM_HOME",
    "DENO_DIR",
    "BUN_INSTALL",
    "UV_CACHE_DIR",
    "UV_INDEX_URL",
    "PIP_CACHE_DIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SYSTEMROOT",
];

/// Maximum length of a line in a child's log.
const LOG_LINE: usize = 4 << 10;

/// A command that can be started any number of times.
#[derive(Debug)]
pub struct Program {
    /// The upstream's name, for the log.
    pub name: String,
    /// Program and arguments. Never empty.
    pub argv: Vec<String>,
    /// Environment variables in addition to the inherited ones.
    pub env: Vec<(String, SecretString)>,
    /// The lifetimes of the secrets in these variables.
    pub lifetimes: Vec<SecretLifetime>,
    /// Variables with the caller's identity.
    pub identity: Vec<(IdentityField, String)>,
    /// The credentials that change while a process runs.
    pub(crate) credentials: Arc<ProcessCredentials>,
}

impl Launch for Program {
    fn launch(&self, seat: Share, principal: Option<&Principal>) -> BoxFuture<'_, Result<Pipes, String>> {
        let identity = variables(&self.identity, principal);
        Box::pin(async move {
            let identity = identity.map_err(|_| {
                "the identity cannot be sent to the upstream: a zero byte in a name".to_owned()
            })?;
            self.spawn(seat, identity, &self.credentials.variables().await)
        })
    }

    fn has_expired(&self) -> bool {
        self.lifetimes.iter().any(SecretLifetime::is_over)
    }
}

impl Program {
    fn spawn(
        &self,
        seat: Share,
        identity: Vec<(String, String)>,
        credentials: &[(String, SecretString)],
    ) -> Result<Pipes, String> {
        let (program, arguments) = self.argv.split_first().ok_or("the command is empty")?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(inherited());
        let secrets = self.env.iter().chain(credentials);
        command.envs(secrets.map(|(name, value)| (name, value.expose_secret())));
        command.envs(identity);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let (mut child, own) = processes::spawn(&mut command)
            .map_err(|error| format!("`{program}` cannot be started: {error}"))?;
        descriptors::restore(child.id());
        let (Some(input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(format!("`{program}` was started without pipes"));
        };
        tokio::spawn(log(self.name.clone(), errors));
        let process = Process::watch(GroupLeader { name: self.name.clone(), child, _own: own, _seat: seat });
        Ok(Pipes { input: Box::new(input), output: Box::new(output), process: Some(process) })
    }
}

fn inherited() -> impl Iterator<Item = (&'static str, OsString)> {
    INHERITED.iter().filter_map(|&name| Some((name, environment::variable(name)?)))
}

async fn log(name: String, errors: ChildStderr) {
    log_lines(errors, |line| tracing::debug!(upstream = %name, "{line}")).await;
}

async fn log_lines(errors: impl AsyncRead + Unpin, mut say: impl FnMut(&str)) {
    let mut lines = LineReader::new(errors, LOG_LINE);
    loop {
        match lines.next().await {
            Ok(LineOutcome::Line(line)) => say(&printable::line(&String::from_utf8_lossy(&line))),
            Ok(LineOutcome::TooLong(_)) => say("(a line too long to show)"),
            Ok(LineOutcome::End) | Err(_) => return,
        }
    }
}

/// Checks that a command can be started: its program exists and may be executed.
///
/// # Errors
/// With the missing program, and the places of the search.
pub fn check(argv: &[String]) -> Result<(), String> {
    let program = argv.first().filter(|program| !program.is_empty()).ok_or("the command is empty")?;
    if program.contains('/') {
        return executable(Path::new(program)).map_err(|why| format!("`{program}` {why}"));
    }
    let path = environment::variable("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| executable(&folder.join(program)).is_ok()) {
        return Ok(());
    }
    if program.contains(char::is_whitespace) {
        let words = program.split_whitespace().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
        return Err(format!(
            "`{program}` is one word: write program and arguments as separate words, [{words}]"
        ));
    }
    Err(format!("`{program}` is not installed: no program of that name in PATH{}", hint(program)))
}

fn executable(path: &Path) -> Result<(), &'static str> {
    let metadata = std::fs::metadata(path).map_err(|_| "does not exist")?;
    if !metadata.is_file() {
        return Err("is not a file");
    }
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111 == 0 {
        return Err("may not be executed");
    }
    Ok(())
}

/// Advice for a program that is often missing.
fn hint(program: &str) -> &'static str {
    match program {
        "npx" | "node" | "npm" => " (it comes with Node.js)",
        "uvx" | "uv" => " (it comes with uv, https://docs.astral.sh/uv)",
        "python3" | "python" => " (it comes with Python)",
        "docker" => " (it comes with Docker)",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
