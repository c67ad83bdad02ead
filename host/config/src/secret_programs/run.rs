//! Runs a program for its output, within bounds of time and size.

use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use zeroize::Zeroizing;

use witgate_base::own_children;

/// Time limit of a run.
pub(super) const PROGRAM_TIME: Duration = Duration::from_secs(10);

/// Size limit of the output, in bytes.
const OUTPUT: usize = 64 << 10;

/// Interval at which the end of the program is checked while its output stays open.
const LOOK: Duration = Duration::from_millis(20);

/// The output of `program`, a file and the name that it is told. It gets no input, and its errors are not read, because they may contain the secret. It runs
/// in a process group of its own, which is killed at the end.
///
/// # Errors
/// With the reason, which contains no part of the output.
pub(super) fn print<'a>(
    (program, name): (&Path, &Path),
    arguments: &[String],
    variables: impl Iterator<Item = (&'a str, &'a str)>,
    directory: &Path,
    time: Duration,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut command = Command::new(program);
    command.arg0(name).args(arguments).env_clear().envs(variables).current_dir(directory);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let deadline = Instant::now() + time;
    let (mut child, _own) = own_children::start(|| command.spawn(), |child| Some(child.id()))
        .map_err(|error| format!("it cannot be started: {error}"))?;
    let output = read(&mut child, deadline);
    end_group(&child);
    let status = child.wait().map_err(|error| format!("its end is not known: {error}"))?;
    match output? {
        RunEnd::Late => Err(format!("it took more than {time:?}, and was killed")),
        RunEnd::TooMuch => Err(format!("its output has more than {OUTPUT} bytes")),
        RunEnd::Output(output) if status.success() => Ok(output),
        RunEnd::Output(_) => Err(format!("it failed ({status})")),
    }
}

/// The end of a run.
enum RunEnd {
    Output(Zeroizing<Vec<u8>>),
    TooMuch,
    Late,
}

/// Reads the output until the program ends. What a process that it has left behind prints does not count.
fn read(child: &mut Child, deadline: Instant) -> Result<RunEnd, String> {
    // With its final size, because growing would leave copies in memory.
    let mut output = Zeroizing::new(vec![0; OUTPUT + 1]);
    let mut filled = 0;
    let mut pipe = child.stdout.take().ok_or("its output cannot be read")?;
    rustix::io::ioctl_fionbio(&pipe, true).map_err(|error| format!("its output cannot be read: {error}"))?;
    let mut is_open = true;
    loop {
        // Before the read, so that everything from before the end is read.
        let has_ended = has_ended(child);
        while is_open && let Some(room) = output.get_mut(filled..).filter(|room| !room.is_empty()) {
            match pipe.read(room) {
                Ok(0) => is_open = false,
                Ok(size) => filled += size,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("its output cannot be read: {error}")),
            }
        }
        if filled > OUTPUT {
            return Ok(RunEnd::TooMuch);
        }
        if has_ended {
            output.truncate(filled);
            return Ok(RunEnd::Output(output));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(RunEnd::Late);
        }
        wait(is_open.then_some(&pipe), left.min(LOOK));
    }
}

/// Waits for output, if the pipe is open, and for `time` at most.
fn wait(pipe: Option<&std::process::ChildStdout>, time: Duration) {
    let Some(pipe) = pipe else { return std::thread::sleep(time) };
    let time = Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
    // An error is like no output: the caller looks again until the deadline.
    let _ = poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&time));
}

/// True if the program has ended. It is not reaped, so that its id is not given to another process.
fn has_ended(child: &Child) -> bool {
    let Some(id) = id(child) else { return true };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(id), options).is_ok_and(|status| status.is_some())
}

/// Kills the program, and all that it has started and that is still in its group.
fn end_group(child: &Child) {
    if let Some(id) = id(child) {
        // An empty group needs no signal.
        let _ = kill_process_group(id, Signal::KILL);
        // It may have left its group.
        let _ = kill_process(id, Signal::KILL);
    }
}

fn id(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}
