//! A child process: how it is started, what it inherits, and how it and all it has started ends.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use futures_util::future::BoxFuture;
use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop, ProcessGroup};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncRead;
use tokio::process::{ChildStderr, Command};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pipes::{Launch, Pipes};
use super::wire::{Lines, Read};
use crate::descriptors;
use crate::printable;

/// What a program needs to run, to find its home and to reuse its package cache. A list of what is
/// let through, not of what is held back: nothing secret of the host's can be forgotten here.
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

/// A server whose standard input was closed needs no longer than this to notice.
const AFTER_EOF: Duration = Duration::from_millis(1500);
/// And after SIGTERM, to write down what it must.
const AFTER_TERM: Duration = Duration::from_secs(2);
const SIGTERM: i32 = 15;
/// A line of a child's log is cut here.
const LOG_LINE: usize = 4 << 10;

/// A command that is started again and again.
#[derive(Debug)]
pub struct Program {
    /// The upstream's name, for the log.
    pub name: String,
    /// Program and arguments. Never empty.
    pub argv: Vec<String>,
    /// Environment beside what is inherited.
    pub env: Vec<(String, SecretString)>,
}

impl Launch for Program {
    fn launch(&self) -> BoxFuture<'_, Result<Pipes, String>> {
        Box::pin(async move { self.spawn() })
    }
}

impl Program {
    fn spawn(&self) -> Result<Pipes, String> {
        let (program, arguments) = self.argv.split_first().ok_or("the command is empty")?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(inherited());
        command.envs(self.env.iter().map(|(name, value)| (name, value.expose_secret())));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = CommandWrap::from(command)
            .wrap(ProcessGroup::leader())
            .wrap(KillOnDrop)
            .spawn()
            .map_err(|error| format!("`{program}` cannot be started: {error}"))?;
        descriptors::restore(child.id());
        let (Some(input), Some(output), Some(errors)) =
            (child.stdin().take(), child.stdout().take(), child.stderr().take())
        else {
            return Err(format!("`{program}` was started without pipes"));
        };
        tokio::spawn(log(self.name.clone(), errors));
        Ok(Pipes {
            input: Box::new(input),
            output: Box::new(output),
            process: Some(Process::watch(self.name.clone(), child)),
        })
    }
}

fn inherited() -> impl Iterator<Item = (&'static str, OsString)> {
    INHERITED.iter().filter_map(|&name| Some((name, std::env::var_os(name)?)))
}

/// The process groups that run: those that are let go of are on their way out and still there.
#[derive(Default)]
struct All {
    running: TaskTracker,
    kill: CancellationToken,
}

static ALL: LazyLock<All> = LazyLock::new(All::default);

/// Kills every process group at once, and whatever is started from now on. Returns when they have
/// ended.
pub(crate) async fn kill_all() {
    ALL.kill.cancel();
    ALL.running.close();
    ALL.running.wait().await;
}

/// A running process group, in the care of a task of its own.
#[derive(Debug)]
pub(crate) struct Process {
    order: watch::Sender<Order>,
    gone: watch::Receiver<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Run,
    Terminate,
    Kill,
}

impl Process {
    fn watch(name: String, child: Box<dyn ChildWrapper>) -> Self {
        let (order, orders) = watch::channel(Order::Run);
        let (leave, gone) = watch::channel(false);
        ALL.running.spawn(async move {
            tend(&name, child, orders).await;
            let _ = leave.send(true);
        });
        Self { order, gone }
    }

    /// Kills the group at once.
    pub(crate) fn kill(&self) {
        let _ = self.order.send(Order::Kill);
    }

    /// Waits until the process has ended.
    pub(crate) async fn gone(&self) {
        let _ = self.gone.clone().wait_for(|gone| *gone).await;
    }

    /// Ends the group, whose standard input is closed: by itself, else on SIGTERM, else by force.
    pub(crate) async fn end(&self) {
        for (patience, next) in [(AFTER_EOF, Order::Terminate), (AFTER_TERM, Order::Kill)] {
            if timeout(patience, self.gone()).await.is_ok() {
                return;
            }
            let _ = self.order.send(next);
        }
        self.gone().await;
    }
}

/// Waits for the end of a process and passes on orders. Once its leader has ended, what it has
/// started (`npx` starts a shell that starts a server) has no one left to talk to, and is killed.
async fn tend(name: &str, mut child: Box<dyn ChildWrapper>, mut orders: watch::Receiver<Order>) {
    let mut obeying = true;
    let ended = loop {
        tokio::select! {
            status = child.wait() => break status,
            changed = orders.changed(), if obeying => {
                // Nobody holds the process any more: it has no use.
                let order = if changed.is_ok() { *orders.borrow_and_update() } else { Order::Kill };
                obeying = changed.is_ok();
                obey(child.as_mut(), order);
            }
            () = ALL.kill.cancelled(), if obeying => {
                obeying = false;
                obey(child.as_mut(), Order::Kill);
            }
        }
    };
    let _ = child.start_kill();
    match ended {
        Ok(status) => tracing::info!(upstream = name, %status, "child process ended"),
        Err(error) => tracing::warn!(upstream = name, %error, "child process lost"),
    }
}

fn obey(child: &mut dyn ChildWrapper, order: Order) {
    // A group that has already ended cannot be signalled; that is what was wanted.
    let _ = match order {
        Order::Run => Ok(()),
        Order::Terminate => child.signal(SIGTERM),
        Order::Kill => child.start_kill(),
    };
}

async fn log(name: String, errors: ChildStderr) {
    log_lines(errors, |line| tracing::debug!(upstream = %name, "{line}")).await;
}

async fn log_lines(errors: impl AsyncRead + Unpin, mut say: impl FnMut(&str)) {
    let mut lines = Lines::new(errors, LOG_LINE);
    loop {
        match lines.next().await {
            Ok(Read::Line(line)) => say(&printable::line(&String::from_utf8_lossy(&line))),
            Ok(Read::TooLong) => say("(a line too long to show)"),
            Ok(Read::End) | Err(_) => return,
        }
    }
}

/// Whether a command could be started: its program is found and may be executed.
///
/// # Errors
/// What is missing, and where it was looked for.
pub fn check(argv: &[String]) -> Result<(), String> {
    let program = argv.first().filter(|program| !program.is_empty()).ok_or("the command is empty")?;
    if program.contains('/') {
        return executable(Path::new(program)).map_err(|why| format!("`{program}` {why}"));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| executable(&folder.join(program)).is_ok()) {
        return Ok(());
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

/// What brings a program that is often missing.
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
