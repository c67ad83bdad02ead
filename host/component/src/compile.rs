//! Compiles components in a separate process. A component that is too expensive for the compiler ends only that
//! process, and no caller notices. Its memory and threads are not the gateway's.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::anatomy::{Anatomy, FileForm};
use super::engine::{Engine, Places, Room};
use witgate_base::cause::Cause;
use witgate_base::printable::clean;
use witgate_config::environment;
use witgate_runtime::processes;

/// Processor time for one component, in seconds and of all threads together. On a slow machine, 18 MB of an
/// interpreted language take ten.
const PROCESSOR_TIME: u64 = 60;

/// Limit of the wall-clock time of a compilation. The compiler has the lowest priority, so it is slow on a busy
/// machine.
const TIME: Duration = Duration::from_secs(300);

/// Limit of the memory of the process, in bytes. The compiler needs some hundred times the size of the code that it
/// compiles; most of this is reserved by its allocator and not used.
const MEMORY: u64 = 4 << 30;

/// Maximum size of compiled code. That of the largest component is a quarter of it.
pub(super) const LARGEST_OUTPUT: u64 = 1 << 30;

/// The argument with which the program of `Compiler::Apart` is started.
pub const COMMAND: &str = "compile-component";

/// The only variable in the environment of that process. It is set if failures are reported with their lines.
const LINES: &str = "WITGATE_COMPILES_WITH_LINES";

/// This variable is set if the address space has no room for reservations.
const SCARCE: &str = "WITGATE_COMPILES_FOR_LITTLE_ROOM";

/// The place of compilation.
#[derive(Clone, Debug)]
pub enum Compiler {
    /// In this process, without limits: for commands and tests that serve nobody.
    Within,
    /// Nowhere, for the given reason. Components that are already compiled are used nevertheless.
    Nowhere(&'static str),
    /// In a process of this program, which has to call [`run`] if it is started with [`COMMAND`].
    Apart(PathBuf),
}

/// The error when a component cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The file is not a component.
    #[error("is not a component: {0}")]
    NotAComponent(String),
    /// The compilation exceeds its processor time.
    #[error("takes too long to compile; make it smaller, or split its largest functions")]
    TooLong,
    /// The compilation exceeds its wall-clock time, but not its processor time: the processors are busy.
    #[error("is not compiled within {} seconds, because the machine is busy; give it time", TIME.as_secs())]
    TooSlow,
    /// The component is compiled, but exceeds the limits of an instance.
    #[error(
        "cannot be loaded: it asks for more memory, or larger tables, from the start than any policy may have ({0}); make it smaller"
    )]
    TooLarge(String),
    /// The component is compiled, but this process may not run compiled code.
    #[error(
        "cannot be loaded: this process may not make memory executable ({0}), which compiled components need; remove the restriction, such as `MemoryDenyWriteExecute=` of systemd, or use no components"
    )]
    NotExecutable(String),
    /// The component is compiled, but the machine has not enough resources to load it.
    #[error("cannot be loaded now: {0}; check that the machine has free memory and descriptors")]
    NotLoaded(String),
    /// The compiler ended early, or somebody else ended it, because memory or threads were missing. The component may
    /// have used up the compiler's limits, or the machine may have none.
    #[error("exceeds the compiler's limits of memory and time, or the machine lacks memory: {0}")]
    Ended(String),
    /// The compiler cannot be started, or its output cannot be read.
    #[error("cannot be compiled now, because the compiler cannot be started, or does not answer: {0}")]
    NoAnswer(io::Error),
    /// There is no compiler.
    #[error("cannot be compiled, because there is no compiler: {0}")]
    NoCompiler(&'static str),
}

impl CompileError {
    /// The cause.
    pub fn cause(&self) -> Cause {
        match self {
            Self::NotAComponent(_)
            | Self::TooLong
            | Self::TooLarge(_)
            | Self::NotExecutable(_)
            | Self::NoCompiler(_) => Cause::Content,
            Self::TooSlow | Self::NotLoaded(_) | Self::Ended(_) | Self::NoAnswer(_) => Cause::Machine,
        }
    }
}

impl Compiler {
    /// The running program itself, even if its file has been replaced since.
    pub fn own() -> Self {
        let running = Path::new("/proc/self/exe");
        match running.exists() {
            true => Self::Apart(running.to_owned()),
            false => std::env::current_exe().map_or(Self::Within, Self::Apart),
        }
    }

    /// Compiled code for `engine`, in the form of the disk cache.
    ///
    /// # Errors
    /// If the component cannot be compiled.
    pub(super) async fn compile(&self, engine: &Engine, bytes: Vec<u8>) -> Result<Vec<u8>, CompileError> {
        match self {
            Self::Apart(program) => apart(program, engine, bytes).await,
            Self::Nowhere(why) => Err(CompileError::NoCompiler(why)),
            Self::Within => {
                let engine = engine.clone();
                let compiling = tokio::task::spawn_blocking(move || within(&engine, &bytes));
                compiling.await.unwrap_or_else(|error| Err(CompileError::Ended(error.to_string())))
            }
        }
    }
}

fn within(engine: &Engine, bytes: &[u8]) -> Result<Vec<u8>, CompileError> {
    if let Some(why) = FileForm::of(bytes).is_no_component() {
        return Err(CompileError::NotAComponent(why.to_owned()));
    }
    engine
        .inner()
        .precompile_component(bytes)
        .map_err(|error| CompileError::NotAComponent(fault_in(bytes, &error)))
}

/// The error in a file with the first bytes of a component.
fn fault_in(bytes: &[u8], error: &wasmtime::Error) -> String {
    let gist = gist(error);
    let anatomy = Anatomy::of(bytes);
    let newer = anatomy.imports.iter().find(|import| import.starts_with("wasi:") && import.contains("@0.3."));
    if let Some(import) = newer {
        return format!(
            "it is for WASI 0.3 (`{import}`), which this host does not have; build it for WASI 0.2 (`wasm32-wasip2`), or without WASI"
        );
    }
    match anatomy.broken {
        Some(_) => format!("it is cut off or damaged ({gist}); build or copy it again"),
        None => format!("it is not valid ({gist}); build it with other tools, or newer ones"),
    }
}

/// The main message of an engine's error: the first line of its root cause.
fn gist(error: &wasmtime::Error) -> String {
    let root = error.root_cause().to_string();
    root.lines().next().unwrap_or_default().to_owned()
}

async fn apart(program: &Path, engine: &Engine, bytes: Vec<u8>) -> Result<Vec<u8>, CompileError> {
    let mut command = Command::new(program);
    command
        .arg(COMMAND)
        // The compiler gets nothing from the environment of this process, especially no secrets.
        .env_clear()
        .envs((engine.places() == Places::Lines).then_some((LINES, "1")))
        .envs((engine.room() == Room::Scarce).then_some((SCARCE, "1")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let (child, _own) = processes::spawn(&mut command).map_err(CompileError::NoAnswer)?;
    tokio::time::timeout(TIME, converse(child, bytes)).await.unwrap_or(Err(CompileError::TooSlow))
}

async fn converse(mut child: Child, bytes: Vec<u8>) -> Result<Vec<u8>, CompileError> {
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (written, compiled, said) =
        tokio::join!(write(input, &bytes), read(output, LARGEST_OUTPUT), read(errors, 4096));
    let status = child.wait().await.map_err(CompileError::NoAnswer)?;
    let said = String::from_utf8_lossy(&said.unwrap_or_default()).trim().to_owned();
    match status.code() {
        Some(0) => compiled.map_err(CompileError::NoAnswer),
        // The compiler's message is about its input.
        Some(NOT_A_COMPONENT) => match written {
            Ok(()) => Err(CompileError::NotAComponent(clean(&said))),
            Err(error) => Err(CompileError::NoAnswer(error)),
        },
        Some(NO_MACHINE) => Err(CompileError::NoAnswer(io::Error::other(clean(&said)))),
        None if status.signal() == Some(Signal::XCPU.as_raw()) => Err(CompileError::TooLong),
        _ => Err(CompileError::Ended(format!("it ended with {status}"))),
    }
}

/// If the compiler ends early, it reports why. That it stops reading is no error.
async fn write(to: Option<impl tokio::io::AsyncWrite + Unpin>, bytes: &[u8]) -> io::Result<()> {
    let Some(mut to) = to else { return Ok(()) };
    match to.write_all(bytes).await {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

async fn read(from: Option<impl tokio::io::AsyncRead + Unpin>, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(limit).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// The exit code for a file that is not a component.
const NOT_A_COMPONENT: i32 = 1;

/// The exit code if the machine prevents reading, working or writing.
const NO_MACHINE: i32 = 2;

/// The process of [`Compiler::Apart`]. It reads a component from standard input, and writes the compiled code to
/// standard output. Returns the exit code.
pub fn run() -> u8 {
    bound();
    let (code, why) = match compile_input() {
        Ok(()) => return 0,
        Err(CompileError::NotAComponent(gist)) => (NOT_A_COMPONENT, gist),
        Err(error) => (NO_MACHINE, error.to_string()),
    };
    let _ = write!(io::stderr(), "{why}");
    code.try_into().unwrap_or(u8::MAX)
}

fn compile_input() -> Result<(), CompileError> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).map_err(CompileError::NoAnswer)?;
    let places = if environment::variable(LINES).is_some() { Places::Lines } else { Places::Functions };
    let room = if environment::variable(SCARCE).is_some() { Room::Scarce } else { Room::Reserved };
    let engine = Engine::for_compiling(places, room)
        .map_err(|error| CompileError::NoAnswer(io::Error::other(error)))?;
    let compiled = within(&engine, &bytes)?;
    io::stdout().lock().write_all(&compiled).map_err(CompileError::NoAnswer)
}

/// Limits this process, and lowers its priority. If the system does not permit that, the gateway still ends it in
/// time.
fn bound() {
    use rustix::process::{Resource, Rlimit, nice, setrlimit};
    for (resource, most) in [(Resource::Data, MEMORY), (Resource::Cpu, PROCESSOR_TIME), (Resource::Core, 0)] {
        // The hard limit is one second higher, so that the signal of the soft limit reports the reason.
        let _ = setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most + 1) });
    }
    let _ = nice(10);
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Compiles with this shell script as the compiler.
    async fn compiled(script: &str) -> Result<Vec<u8>, CompileError> {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("compiler");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let engine = Engine::for_compiling(Places::Functions, Room::Reserved).unwrap();
        Compiler::Apart(program).compile(&engine, vec![0; 1 << 20]).await
    }

    #[tokio::test]
    async fn a_killed_compiler_is_no_fault_of_the_component() {
        for script in ["kill -KILL $$", "kill -ABRT $$", "kill -TERM $$", "exit 2", "exit 101"] {
            let error = compiled(script).await.unwrap_err();
            assert_eq!(error.cause(), Cause::Machine, "{script}: {error}");
        }
        let engine = Engine::for_compiling(Places::Functions, Room::Reserved).unwrap();
        let none =
            Compiler::Apart("/nowhere/compiler".into()).compile(&engine, Vec::new()).await.unwrap_err();
        assert_eq!(none.cause(), Cause::Machine, "{none}");
    }

    #[tokio::test]
    async fn a_compiler_that_fails_by_itself_is_a_fault_of_the_component() {
        for script in ["cat >/dev/null; echo no >&2; exit 1", "exit 1", "kill -XCPU $$"] {
            let error = compiled(script).await.unwrap_err();
            assert_eq!(error.cause(), Cause::Content, "{script}: {error}");
        }
        assert_eq!(compiled("cat >/dev/null; printf code").await.unwrap(), b"code");
    }
}
