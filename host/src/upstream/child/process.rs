//! A child process: how it is started, what it inherits, and how it and all it has started ends.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncRead;
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pipes::{Launch, Pipes};
use crate::config::environment;
use crate::config::identity::Field;
use crate::descriptors;
use crate::lines::input::{Lines, Read};
use crate::party::Principal;
use crate::printable;
use crate::processes::{self, Own};
use crate::shares::Share;
use crate::upstream::identity::variables;

/// Environment variables that a program needs to run, to find its home and to reuse its package cache. A list
/// of what is let through, not of what is held back: nothing secret of the host's can be forgotten here.
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
/// The longest that a process takes to end, once it is to.
pub(super) const ENDING: Duration =
    AFTER_EOF.saturating_add(AFTER_TERM).saturating_add(Duration::from_secs(1));
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
    /// Further variables, in which it is told whose it is.
    pub identity: Vec<(Field, String)>,
}

impl Launch for Program {
    fn launch(&self, seat: Share, whose: Option<&Principal>) -> BoxFuture<'_, Result<Pipes, String>> {
        let told = variables(&self.identity, whose);
        Box::pin(async move {
            let told = told.map_err(|_| {
                "the identity cannot be sent to the upstream: a zero byte in a name".to_owned()
            })?;
            self.spawn(seat, told)
        })
    }
}

impl Program {
    fn spawn(&self, seat: Share, told: Vec<(String, String)>) -> Result<Pipes, String> {
        let (program, arguments) = self.argv.split_first().ok_or("the command is empty")?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(inherited());
        command.envs(self.env.iter().map(|(name, value)| (name, value.expose_secret())));
        command.envs(told);
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
        let process = Process::watch(Running { name: self.name.clone(), child, _own: own, _seat: seat });
        Ok(Pipes { input: Box::new(input), output: Box::new(output), process: Some(process) })
    }
}

fn inherited() -> impl Iterator<Item = (&'static str, OsString)> {
    INHERITED.iter().filter_map(|&name| Some((name, environment::variable(name)?)))
}

/// The process groups that run: those that are let go of are on their way out and still there.
#[derive(Default)]
struct All {
    running: TaskTracker,
    kill: CancellationToken,
}

static ALL: LazyLock<All> = LazyLock::new(All::default);

/// Waits for the end of every process group, which has been asked for. What takes longer than it may is killed, and so
/// is what has escaped from its group.
pub(crate) async fn end_all() {
    ALL.running.close();
    if timeout(ENDING, ALL.running.wait()).await.is_err() {
        tracing::warn!(processes = ALL.running.len(), "killing processes that did not end in time");
    }
    kill_all().await;
}

/// Kills every process group at once, whatever is started from now on, and what has escaped from its group. Returns
/// when they have ended.
pub(crate) async fn kill_all() {
    ALL.kill.cancel();
    ALL.running.close();
    ALL.running.wait().await;
    processes::end_orphans().await;
}

/// A running process group, in the care of a task of its own. The group ends when all of these are dropped.
#[derive(Debug)]
pub(crate) struct Process {
    order: watch::Sender<Order>,
}

/// A signal to a process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Run,
    /// By itself, for its standard input is closed; else on SIGTERM, else by force.
    End,
    Kill,
}

/// The leader of a group, and what is held for it.
struct Running {
    name: String,
    child: Child,
    _own: Own,
    /// Counts as long as the process is there, however it ends.
    _seat: Share,
}

impl Process {
    fn watch(running: Running) -> Self {
        let (order, orders) = watch::channel(Order::Run);
        ALL.running.spawn(tend(running, orders));
        Self { order }
    }

    /// Kills the group at once.
    pub(crate) fn kill(&self) {
        self.order.send_replace(Order::Kill);
    }

    /// Ends the group, whose standard input is closed. That goes on by itself.
    pub(crate) fn end(&self) {
        self.order.send_if_modified(|order| {
            let is_new = *order < Order::End;
            *order = (*order).max(Order::End);
            is_new
        });
    }
}

/// Waits for the end of a process and sees to it where that is ordered. Once the leader has ended, what it has started
/// (`npx` starts a shell that starts a server) has no one left to talk to, and is killed.
async fn tend(mut running: Running, orders: watch::Receiver<Order>) {
    let group = running.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let ended = {
        let waiting = running.child.wait();
        tokio::pin!(waiting);
        tokio::select! {
            ended = &mut waiting => ended,
            () = obey(group, orders) => waiting.await,
        }
    };
    send(group, Signal::KILL);
    match ended {
        Ok(status) => tracing::info!(upstream = running.name, %status, "child process ended"),
        Err(error) => tracing::warn!(upstream = running.name, %error, "child process lost"),
    }
}

/// Waits for the order to end a group, and ends it.
async fn obey(group: Option<Pid>, mut orders: watch::Receiver<Order>) {
    let order = tokio::select! {
        order = at_least(&mut orders, Order::End) => order,
        () = ALL.kill.cancelled() => Order::Kill,
    };
    if order == Order::End {
        for (patience, signal) in [(AFTER_EOF, Some(Signal::TERM)), (AFTER_TERM, None)] {
            tokio::select! {
                () = sleep(patience) => {}
                _ = at_least(&mut orders, Order::Kill) => break,
                () = ALL.kill.cancelled() => break,
            }
            signal.into_iter().for_each(|signal| send(group, signal));
        }
    }
    send(group, Signal::KILL);
}

/// Waits for an order. Where nobody holds the process any more, it has no use.
async fn at_least(orders: &mut watch::Receiver<Order>, least: Order) -> Order {
    orders.wait_for(|order| *order >= least).await.map_or(Order::Kill, |order| *order)
}

fn send(group: Option<Pid>, signal: Signal) {
    // A group that has already ended cannot be signalled; that is what was wanted.
    group.into_iter().for_each(|group| _ = kill_process_group(group, signal));
}

async fn log(name: String, errors: ChildStderr) {
    log_lines(errors, |line| tracing::debug!(upstream = %name, "{line}")).await;
}

async fn log_lines(errors: impl AsyncRead + Unpin, mut say: impl FnMut(&str)) {
    let mut lines = Lines::new(errors, LOG_LINE);
    loop {
        match lines.next().await {
            Ok(Read::Line(line)) => say(&printable::line(&String::from_utf8_lossy(&line))),
            Ok(Read::TooLong(_)) => say("(a line too long to show)"),
            Ok(Read::End) | Err(_) => return,
        }
    }
}

/// Checks that a command could be started: its program is found and may be executed.
///
/// # Errors
/// What is missing, and where it was looked for.
pub fn check(argv: &[String]) -> Result<(), String> {
    let program = argv.first().filter(|program| !program.is_empty()).ok_or("the command is empty")?;
    if program.contains('/') {
        return executable(Path::new(program)).map_err(|why| format!("`{program}` {why}"));
    }
    let path = environment::variable("PATH").unwrap_or_default();
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

/// The advice for a program that is often missing.
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
