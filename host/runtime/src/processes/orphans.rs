//! Orphans: descendants whose parent has ended, so that they are now children of this process.

use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use rustix::process::{Pid, Signal, getpid, kill_process, set_child_subreaper};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use witgate_base::own_children::OwnChildren;

/// The time in which a task reaps its own child after the child has ended.
const SOON: Duration = Duration::from_millis(50);

/// The number of searches for orphans. There are several because a killed orphan may leave further orphans.
const ROUNDS: u32 = 40;

/// Adopts orphans from now on, and reaps those that have ended. Must be called within a Tokio runtime.
pub fn adopt_orphans() {
    if let Err(error) = set_child_subreaper(Some(getpid())) {
        tracing::warn!(%error, "processes that children leave behind cannot be adopted");
    }
    match signal(SignalKind::child()) {
        Ok(mut ended) => {
            tokio::spawn(async move {
                while ended.recv().await.is_some() {
                    while !reap() {
                        sleep(SOON).await;
                    }
                }
            });
        }
        Err(error) => tracing::warn!(%error, "processes that children leave behind cannot be reaped"),
    }
}

/// Reaps the orphans that have ended. False: a child that a task waits for has ended too, and is not reaped yet. It may
/// hide ended orphans.
fn reap() -> bool {
    loop {
        let own = OwnChildren::hold();
        let ended = waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT);
        let Ok(WaitStatus::Exited(id, _) | WaitStatus::Signaled(id, ..)) = ended else { return true };
        if own.contain(id.as_raw()) {
            return false;
        }
        tracing::debug!(process = id.as_raw(), "an orphan has ended");
        if waitid(Id::Pid(id), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG).is_err() {
            return true;
        }
    }
}

/// Kills the orphans, and the orphans that they leave. For the shutdown, after all children have ended.
pub async fn end_orphans() {
    for _ in 0..ROUNDS {
        let orphans = orphans();
        if orphans.is_empty() {
            return;
        }
        for id in orphans {
            tracing::info!(process = id.as_raw_nonzero().get(), "ending a process that a child left behind");
            // An orphan that has ended in the meantime needs no signal.
            let _ = kill_process(id, Signal::KILL);
        }
        sleep(SOON).await;
        reap();
    }
}

/// The running children that no task waits for.
fn orphans() -> Vec<Pid> {
    let own = OwnChildren::hold();
    let mine = getpid().as_raw_nonzero().get();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| !own.contain(*id) && is_running_child(*id, mine)).filter_map(Pid::from_raw).collect()
}

/// True if the process runs and is a child of `parent`. The format is in proc_pid_stat(5): `ID (NAME) STATE PARENT …`,
/// where the name may contain any characters.
fn is_running_child(id: i32, parent: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let (state, of) = (fields.next(), fields.next().and_then(|of| of.parse().ok()));
    of == Some(parent) && !matches!(state, None | Some("Z" | "X"))
}
