//! Other programs: run in silence and in bounded time; what they said is shown only when they fail.

use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Time limit for a question such as `--version`.
const PROBE: Duration = Duration::from_secs(20);

/// Interval at which a running program is checked: short beside the shortest thing that is waited for.
const GLANCE: Duration = Duration::from_millis(20);

/// Time that output may still take after a program has ended: something that it left behind may hold the
/// pipe.
const LINGER: Duration = Duration::from_secs(2);

/// The end of a program.
#[derive(Debug)]
pub struct ProgramEnd {
    /// None: it was ended because its time was up.
    status: Option<ExitStatus>,
    limit: Duration,
    /// Its output on stdout and stderr, in that order of time.
    pub output: String,
}

impl ProgramEnd {
    /// Its exit code. None: it did not end by itself.
    pub fn code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }

    /// True if it reported success.
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

/// Runs a program that has to succeed within `limit`, and returns what it said.
pub fn run(command: &mut Command, limit: Duration) -> Result<String> {
    let ended = attempt(command, limit)?;
    if !ended.succeeded() {
        bail!("{command:?} failed ({}):\n{}", ended.reason(), ended.output.trim_end());
    }
    Ok(ended.output)
}

/// Runs a program that may fail.
pub fn attempt(command: &mut Command, limit: Duration) -> Result<ProgramEnd> {
    let (mut reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    // The command holds the pipe's writing ends; reading would never end while it does.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let said = Arc::new(Mutex::new(Vec::new()));
    let collector = thread::spawn({
        let said = Arc::clone(&said);
        move || {
            let mut chunk = [0; 8192];
            while let Ok(length @ 1..) = reader.read(&mut chunk) {
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                said.extend_from_slice(chunk.get(..length).unwrap_or_default());
            }
        }
    });
    let status = wait(&mut child, started, limit, &said)?;
    let ended = Instant::now();
    while !collector.is_finished() && ended.elapsed() < LINGER {
        thread::sleep(GLANCE);
    }
    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(ProgramEnd { status, limit, output: String::from_utf8_lossy(&said).into_owned() })
}

fn wait(
    child: &mut Child,
    started: Instant,
    limit: Duration,
    said: &Mutex<Vec<u8>>,
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
        ticker.show(started, said);
        thread::sleep(GLANCE);
    }
}

/// On a terminal: one line with the time and what the program said last, gone when it ends.
struct Ticker {
    shown: Option<Instant>,
    wanted: bool,
}

impl Ticker {
    fn new() -> Self {
        Self { shown: None, wanted: io::stderr().is_terminal() && !in_ci() }
    }

    fn show(&mut self, started: Instant, said: &Mutex<Vec<u8>>) {
        let due = self.shown.map_or(Duration::from_secs(1), |shown| shown.elapsed());
        if !self.wanted || started.elapsed() < Duration::from_secs(1) || due < Duration::from_millis(500) {
            return;
        }
        self.shown = Some(Instant::now());
        let said = said.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(said.trim_ascii_end());
        let last = text.rsplit(['\n', '\r']).next().unwrap_or_default();
        // Of a tool of the author's own; what would move the cursor shows as its escape.
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

/// Says what is going to happen where a person looks, before it does: standard output is for what programs read.
pub fn announce(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}

/// True if a program runs and reports success.
pub fn works(command: &mut Command) -> bool {
    attempt(command, PROBE).is_ok_and(|ended| ended.succeeded())
}

/// The answer of a program on stdout to a short question, without the last line's end.
pub fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let said = output.status.success().then_some(output.stdout)?;
    Some(String::from_utf8(said).ok()?.trim().to_owned())
}

/// True if this run is a machine's: no colours, no moving lines.
pub fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false" && value != "0")
}

/// Asks a process of ours to end.
pub fn terminate(process: u32) {
    signal("TERM", &[process]);
}

/// Ends a process of ours and all that descends from it. Only Linux shows the descendants; elsewhere they end with
/// the pipes that they hold.
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

/// Through the shell's own `kill`: the program of that name is missing on small installations.
fn signal(name: &str, processes: &[u32]) {
    let ids: Vec<String> = processes.iter().map(u32::to_string).collect();
    let script = format!("kill -{name} {}", ids.join(" "));
    let _ = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).stderr(Stdio::null()).status();
}
