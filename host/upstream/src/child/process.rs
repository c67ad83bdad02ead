//! A running child process, and how it and all it has started ends.

use std::sync::LazyLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use witgate_runtime::processes::{self, ChildGuard};
use witgate_runtime::shares::Share;

/// A server whose standard input was closed needs no longer than this to notice.
const AFTER_EOF: Duration = Duration::from_millis(1500);
/// And after SIGTERM, to write down what it must.
const AFTER_TERM: Duration = Duration::from_secs(2);
/// The longest that a process takes to end, once it is to.
pub(super) const ENDING: Duration =
    AFTER_EOF.saturating_add(AFTER_TERM).saturating_add(Duration::from_secs(1));
/// The process groups that run: those that are let go of are on their way out and still there.
#[derive(Default)]
struct ProcessGroups {
    running: TaskTracker,
    kill: CancellationToken,
}

static ALL: LazyLock<ProcessGroups> = LazyLock::new(ProcessGroups::default);

/// Waits for the end of every process group, which has been asked for. What takes longer than it may is killed, and so
/// is what has escaped from its group.
pub async fn end_all() {
    ALL.running.close();
    if timeout(ENDING, ALL.running.wait()).await.is_err() {
        tracing::warn!(processes = ALL.running.len(), "killing processes that did not end in time");
    }
    kill_all().await;
}

/// Kills every process group at once, whatever is started from now on, and what has escaped from its group. Returns
/// when they have ended.
pub async fn kill_all() {
    ALL.kill.cancel();
    ALL.running.close();
    ALL.running.wait().await;
    processes::end_orphans().await;
}

/// A running process group, in the care of a task of its own. The group ends when all of these are dropped.
#[derive(Debug)]
pub struct Process {
    order: watch::Sender<GroupSignal>,
}

/// A signal to a process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum GroupSignal {
    Run,
    /// By itself, for its standard input is closed; else on SIGTERM, else by force.
    End,
    Kill,
}

/// The leader of a group, and what is held for it.
pub(super) struct GroupLeader {
    pub(super) name: String,
    pub(super) child: Child,
    pub(super) _own: ChildGuard,
    /// Counts as long as the process is there, however it ends.
    pub(super) _seat: Share,
}

impl Process {
    pub(super) fn watch(running: GroupLeader) -> Self {
        let (order, orders) = watch::channel(GroupSignal::Run);
        ALL.running.spawn(tend(running, orders));
        Self { order }
    }

    /// Kills the group at once.
    pub fn kill(&self) {
        self.order.send_replace(GroupSignal::Kill);
    }

    /// Ends the group, whose standard input is closed. That goes on by itself.
    pub fn end(&self) {
        self.order.send_if_modified(|order| {
            let is_new = *order < GroupSignal::End;
            *order = (*order).max(GroupSignal::End);
            is_new
        });
    }
}

/// Waits for the end of a process and sees to it where that is ordered. Once the leader has ended, what it has started
/// (`npx` starts a shell that starts a server) has no one left to talk to, and is killed.
async fn tend(mut running: GroupLeader, orders: watch::Receiver<GroupSignal>) {
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
async fn obey(group: Option<Pid>, mut orders: watch::Receiver<GroupSignal>) {
    let order = tokio::select! {
        order = at_least(&mut orders, GroupSignal::End) => order,
        () = ALL.kill.cancelled() => GroupSignal::Kill,
    };
    if order == GroupSignal::End {
        for (patience, signal) in [(AFTER_EOF, Some(Signal::TERM)), (AFTER_TERM, None)] {
            tokio::select! {
                () = sleep(patience) => {}
                _ = at_least(&mut orders, GroupSignal::Kill) => break,
                () = ALL.kill.cancelled() => break,
            }
            signal.into_iter().for_each(|signal| send(group, signal));
        }
    }
    send(group, Signal::KILL);
}

/// Waits for an order. Where nobody holds the process any more, it has no use.
async fn at_least(orders: &mut watch::Receiver<GroupSignal>, least: GroupSignal) -> GroupSignal {
    orders.wait_for(|order| *order >= least).await.map_or(GroupSignal::Kill, |order| *order)
}

fn send(group: Option<Pid>, signal: Signal) {
    // A group that has already ended cannot be signalled; that is what was wanted.
    group.into_iter().for_each(|group| _ = kill_process_group(group, signal));
}
