//! Orphans: descendants whose parent has ended, and that are children of this process for that.

use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use rustix::process::{Pid, Signal, getpid, kill_process, set_child_subreaper};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::OWN;

/// Until a child of our own that has ended is buried by the task that waits for it.
const SOON: Duration = Duration::from_millis(50);

/// Number of rounds in which orphans are sought, because a killed one may leave others behind in its turn.
const ROUNDS: u32 = 40;

/// Takes orphans from now on, and buries those that have ended. Must be called within a Tokio runtime.
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

/// Buries the orphans that have ended. False: a child of our own has ended as well and is not buried yet; it may hide
/// others.
fn reap() -> bool {
    loop {
        let own = OWN.lock();
        let ended = waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT);
        let Ok(WaitStatus::Exited(id, _) | WaitStatus::Signaled(id, ..)) = ended else { return true };
        if own.contains(&id.as_raw()) {
            return false;
        }
        tracing::debug!(process = id.as_raw(), "an orphan has ended");
        if waitid(Id::Pid(id), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG).is_err() {
            return true;
        }
    }
}

/// Kills the orphans, and those that they leave behind in their turn. For the end, when no child runs any more.
pub async fn end_orphans() {
    for _ in 0..ROUNDS {
        let orphans = orphans();
        if orphans.is_empty() {
            return;
        }
        for id in orphans {
            tracing::info!(process = id.as_raw_nonzero().get(), "ending a process that a child left behind");
            // One that has ended meanwhile is what was wanted.
            let _ = kill_process(id, Signal::KILL);
        }
        sleep(SOON).await;
        reap();
    }
}

/// The children that nobody waits for and that run.
fn orphans() -> Vec<Pid> {
    let own = OWN.lock();
    let mine = getpid().as_raw_nonzero().get();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| !own.contains(id) && is_running_child(*id, mine)).filter_map(Pid::from_raw).collect()
}

/// By proc_pid_stat(5): `ID (NAME) STATE PARENT …`, where the name may hold anything.
fn is_running_child(id: i32, parent: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let (state, of) = (fields.next(), fields.next().and_then(|of| of.parse().ok()));
    of == Some(parent) && !matches!(state, None | Some("Z" | "X"))
}
