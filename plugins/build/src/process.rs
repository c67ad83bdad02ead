//! Other programs, run within a time limit. Their output is shown only if they fail.

use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Time limit for a question such as `--version`.
const PROBE: Duration = Duration::from_secs(20);

/// Interval at which a running program is checked. It is short compared with the time of the fastest program.
const GLANCE: Duration = Duration::from_millis(20);

/// Time for the rest of the output after a program has ended. A process that it left behind may keep the pipe open.
const LINGER: Duration = Duration::from_secs(2);

/// The end of a program.
#[derive(Debug)]
pub struct ProgramEnd {
    /// None: the program was ended because it exceeded its time limit.
    status: Option<ExitStatus>,
    limit: Duration,
    /// The program's output on stdout and stderr, in the order in which it was written.
    pub output: String,
}

impl ProgramEnd {
    /// The program's exit code. None: it did not end by itself.
    pub fn code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }

    /// True if the program reported success.
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// The failure, in words.
    pub fn reason(&self) -> String {
        match self.status {
            Some(status) => status.to_string(),
            None => format!("not done after {} s", self.limit.as_secs()),
        }
    }
}

/// Runs a program that has to succeed within `limit`, and returns its output.
pub fn run(command: &mut Command, limit: Duration) -> Result<String> {
    let end = attempt(command, limit)?;
    if !end.succeeded() {
        bail!("{command:?} failed ({}):\n{}", end.reason(), end.output.trim_end());
    }
    Ok(end.output)
}

/// Runs a program that may fail.
pub fn attempt(command: &mut Command, limit: Duration) -> Result<ProgramEnd> {
    let (mut reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    // The command holds the writing ends of the pipe. Reading would not end before they are closed.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let output = Arc::new(Mutex::new(Vec::new()));
    let collector = thread::spawn({
        let output = Arc::clone(&output);
        move || {
            let mut chunk = [0; 8192];
            while let Ok(length @ 1..) = reader.read(&mut chunk) {
                let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
                output.extend_from_slice(chunk.get(..length).unwrap_or_default());
            }
        }
    });
    let status = wait(&mut child, started, limit, &output)?;
    let end_time = Instant::now();
    while !collector.is_finished() && end_time.elapsed() < LINGER {
        thread::sleep(GLANCE);
    }
    let output = output.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(ProgramEnd { status, limit, output: String::from_utf8_lossy(&output).into_owned() })
}

fn wait(
    child: &mut Child,
    started: Instant,
    limit: Duration,
    output: &Mutex<Vec<u8>>,
) -> Result<Option<ExitStatus>> {
    let mut ticker = Ticker::new();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > limit {
            end_with_descendants(child.id());
            child.wait()?;
            return Ok(None);
        }
        ticker.show(started, output);
        thread::sleep(GLANCE);
    }
}

/// The progress on a terminal: one line with the time and the program's last output, removed at the end.
struct Ticker {
    shown: Option<Instant>,
    wanted: bool,
}

impl Ticker {
    fn new() -> Self {
        Self { shown: None, wanted: io::stderr().is_terminal() && !in_ci() }
    }

    fn show(&mut self, started: Instant, output: &Mutex<Vec<u8>>) {
        let due = self.shown.map_or(Duration::from_secs(1), |shown| shown.elapsed());
        if !self.wanted || started.elapsed() < Duration::from_secs(1) || due < Duration::from_millis(500) {
            return;
        }
        self.shown = Some(Instant::now());
        let output = output.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(output.trim_ascii_end());
        let last = text.rsplit(['\n', '\r']).next().unwrap_or_default();
        // The output may come from the author's own tool, so escape codes are made visible.
        let last: String = last.escape_debug().take(70).collect();
        let mut terminal = io::stderr().lock();
        let line = write!(terminal, "\r\x1b[K{:4} s  {last}", started.elapsed().as_secs());
        drop(line.and_then(|()| terminal.flush()));
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let mut terminal = io::stderr().lock();
            drop(write!(terminal, "\r\x1b[K").and_then(|()| terminal.flush()));
        }
    }
}

/// Announces a step on standard error, because programs read standard output.
pub fn announce(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}

/// True if a program runs and reports success.
pub fn works(command: &mut Command) -> bool {
    attempt(command, PROBE).is_ok_and(|end| end.succeeded())
}

/// The output of a short command on stdout, without the end of the last line.
pub fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = output.status.success().then_some(output.stdout)?;
    Some(String::from_utf8(text).ok()?.trim().to_owned())
}

/// True if the output is not for a person: then it has no colours and no moving lines.
pub fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false" && value != "0")
}

/// Asks a started process to end.
pub fn terminate(process: u32) {
    signal("TERM", &[process]);
}

/// Ends a started process and all its descendants. Only Linux lists descendants; on other systems they end when their
/// pipes are closed.
fn end_with_descendants(process: u32) {
    let mut all = vec![process];
    let mut next = 0;
    while let Some(&parent) = all.get(next) {
        let children =
            fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        next += 1;
    }
    signal("KILL", &all);
}

/// Sends a signal by the shell's built-in `kill`, because small installations do not have the program `kill`.
fn signal(name: &str, processes: &[u32]) {
    let ids: Vec<String> = processes.iter().map(u32::to_string).collect();
    let script = format!("kill -{name} {}", ids.join(" "));
    let _ = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).stderr(Stdio::null()).status();
}
