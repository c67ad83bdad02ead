//! Compiling components, in a process of its own: one that is too much for the compiler is ended with it, and
//! nobody who makes a call notices. Neither its memory nor its threads are the gateway's.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::anatomy::{Anatomy, Form};
use super::engine::{Engine, Places};

/// Processor time that one component may take, in seconds and of all threads together: 18 MB of an interpreted language
/// take ten on a slow machine.
const PROCESSOR_TIME: u64 = 60;

/// How long that may be by the clock on the wall. Everybody else goes before the compiler, so that on a busy machine it
/// gets little.
const TIME: Duration = Duration::from_secs(300);

/// Data of the process, in bytes. The compiler holds some hundred times the code that it is at; most of this
/// is what its allocator sets aside and does not use.
const MEMORY: u64 = 4 << 30;

/// Compiled code; the largest component has a quarter of that.
const LARGEST_OUTPUT: u64 = 1 << 30;

/// The argument under which the program of `Compiler::Apart` gets here.
pub const COMMAND: &str = "compile-component";

/// The one variable in the environment of that process: it is there where failures are told with their lines.
const LINES: &str = "WITGATE_COMPILES_WITH_LINES";

/// Where components are compiled.
#[derive(Clone, Debug)]
pub enum Compiler {
    /// In this process, without bounds: for commands and tests that serve nobody.
    Within,
    /// Nowhere: this process says why not. Components that were compiled before are taken all the same.
    Nowhere(&'static str),
    /// In a process of this program, which has to call [`run`] when it is started with [`COMMAND`].
    Apart(PathBuf),
}

/// Why a component is not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// It is none.
    #[error("is not a component: {0}")]
    NotAComponent(String),
    /// It takes too long.
    #[error("takes too long to compile; make it smaller, or split its largest functions")]
    TooLong,
    /// It is compiled, and does not fit into what an instance may have.
    #[error(
        "cannot be loaded: it asks for more memory, or larger tables, from the start than any policy may have ({0}); make it smaller"
    )]
    TooLarge(String),
    /// The compiler ended for want of something else.
    #[error("is too much for the compiler, which has bounds of memory and time: {0}")]
    TooMuch(String),
    /// There is no compiler.
    #[error("cannot be compiled, because the compiler does not start: {0}")]
    NoCompiler(io::Error),
}

impl Compiler {
    /// The running program itself, also where its file has been replaced since.
    pub fn own() -> Self {
        let running = Path::new("/proc/self/exe");
        match running.exists() {
            true => Self::Apart(running.to_owned()),
            false => std::env::current_exe().map_or(Self::Within, Self::Apart),
        }
    }

    /// Compiled code for `engine`, as it is kept on disk.
    ///
    /// # Errors
    /// Where there is none.
    pub(super) async fn compile(&self, engine: &Engine, bytes: Vec<u8>) -> Result<Vec<u8>, CompileError> {
        match self {
            Self::Apart(program) => apart(program, engine.places(), bytes).await,
            Self::Nowhere(why) => Err(CompileError::NoCompiler(io::Error::other(*why))),
            Self::Within => {
                let engine = engine.clone();
                let compiling = tokio::task::spawn_blocking(move || within(&engine, &bytes));
                compiling.await.unwrap_or_else(|error| Err(CompileError::TooMuch(error.to_string())))
            }
        }
    }
}

fn within(engine: &Engine, bytes: &[u8]) -> Result<Vec<u8>, CompileError> {
    if let Some(why) = Form::of(bytes).is_no_component() {
        return Err(CompileError::NotAComponent(why.to_owned()));
    }
    engine
        .inner()
        .precompile_component(bytes)
        .map_err(|error| CompileError::NotAComponent(fault_in(bytes, &error)))
}

/// What is wrong with what begins as a component.
fn fault_in(bytes: &[u8], error: &wasmtime::Error) -> String {
    let gist = gist(error);
    match Anatomy::of(bytes).broken {
        Some(_) => format!("it is cut off or damaged ({gist}); build or copy it again"),
        None => format!("it is not valid ({gist}); build it with other tools, or newer ones"),
    }
}

/// The gist of an engine's error: the first line of what lies at its root.
fn gist(error: &wasmtime::Error) -> String {
    let root = error.root_cause().to_string();
    root.lines().next().unwrap_or_default().to_owned()
}

async fn apart(program: &Path, places: Places, bytes: Vec<u8>) -> Result<Vec<u8>, CompileError> {
    let child = Command::new(program)
        .arg(COMMAND)
        // Nothing of this process's, its secrets least of all.
        .env_clear()
        .envs((places == Places::Lines).then_some((LINES, "1")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(CompileError::NoCompiler)?;
    tokio::time::timeout(TIME, converse(child, bytes)).await.unwrap_or(Err(CompileError::TooLong))
}

async fn converse(mut child: Child, bytes: Vec<u8>) -> Result<Vec<u8>, CompileError> {
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut input) = input {
            // One that ends early says why.
            let _ = input.write_all(&bytes).await;
        }
    };
    let ((), compiled, said) = tokio::join!(write, read(output, LARGEST_OUTPUT), read(errors, 4096));
    let status = child.wait().await.map_err(CompileError::NoCompiler)?;
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    match status.code() {
        Some(0) => Ok(compiled),
        Some(NOT_A_COMPONENT) => Err(CompileError::NotAComponent(crate::printable::clean(&said))),
        None if status.signal() == Some(Signal::XCPU.as_raw()) => Err(CompileError::TooLong),
        _ => Err(CompileError::TooMuch(format!("it ended with {status}"))),
    }
}

async fn read(from: Option<impl tokio::io::AsyncRead + Unpin>, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        let _ = from.take(limit).read_to_end(&mut bytes).await;
    }
    bytes
}

/// The exit code for what is no component.
const NOT_A_COMPONENT: i32 = 1;

/// The process of [`Compiler::Apart`]: a component on standard input to compiled code on standard output. Returns
/// the exit code.
pub fn run() -> u8 {
    bound();
    match compile_input() {
        Ok(()) => 0,
        Err(error) => {
            let _ = write!(io::stderr(), "{error}");
            NOT_A_COMPONENT.try_into().unwrap_or(u8::MAX)
        }
    }
}

fn compile_input() -> Result<(), String> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let places = if std::env::var_os(LINES).is_some() { Places::Lines } else { Places::Functions };
    let engine = Engine::for_compiling(places).map_err(|error| error.to_string())?;
    let compiled = within(&engine, &bytes).map_err(|error| match error {
        CompileError::NotAComponent(gist) => gist,
        other => other.to_string(),
    })?;
    io::stdout().lock().write_all(&compiled).map_err(|error| error.to_string())
}

/// Bounds this process, and lets everybody else go first. Where the system does not, the gateway still ends it
/// in time.
fn bound() {
    use rustix::process::{Resource, Rlimit, nice, setrlimit};
    for (resource, most) in [(Resource::Data, MEMORY), (Resource::Cpu, PROCESSOR_TIME), (Resource::Core, 0)] {
        // With a second more up to the last word, the signal says what it was.
        let _ = setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most + 1) });
    }
    let _ = nice(10);
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
}
