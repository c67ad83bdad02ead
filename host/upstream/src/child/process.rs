//! A running child process, and the end of it and of all its descendants.

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

/// Time for a server to end after its standard input was closed.
const AFTER_EOF: Duration = Duration::from_millis(1500);
/// Time for a server to end after SIGTERM, for example to write its data.
const AFTER_TERM: Duration = Duration::from_secs(2);
/// The longest time that a process takes to end.
pub(super) const ENDING: Duration =
    AFTER_EOF.saturating_add(AFTER_TERM).saturating_add(Duration::from_secs(1));
/// The running process groups, including those that are ending.
#[derive(Default)]
struct ProcessGroups {
    running: TaskTracker,
    kill: CancellationToken,
}

static ALL: LazyLock<ProcessGroups> = LazyLock::new(ProcessGroups::default);

/// Waits for the end of all process groups, which have been told to end. Those that take too long are killed, and so
/// are processes that have left their group.
pub async fn end_all() {
    ALL.running.close();
    if timeout(ENDING, ALL.running.wait()).await.is_err() {
        tracing::warn!(processes = ALL.running.len(), "killing processes that did not end in time");
    }
    kill_all().await;
}

/// Kills all process groups, also those that are started from now on, and processes that have left their group.
/// Returns when they have ended.
pub async fn kill_all() {
    ALL.kill.cancel();
    ALL.running.close();
    ALL.running.wait().await;
    processes::end_orphans().await;
}

/// A running process group, watched by a separate task. The group ends when all handles are dropped.
#[derive(Debug)]
pub struct Process {
    order: watch::Sender<GroupSignal>,
}

/// A signal to a process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum GroupSignal {
    Run,
    /// To end: by the closed standard input, then by SIGTERM, and then by force.
    End,
    Kill,
}

/// The leader of a group, and the resources of the group.
pub(super) struct GroupLeader {
    pub(super) name: String,
    pub(super) child: Child,
    pub(super) _own: ChildGuard,
    /// Counts while the process exists, however it ends.
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

    /// Ends the group, whose standard input is closed, in the background.
    pub fn end(&self) {
        self.order.send_if_modified(|order| {
            let is_new = *order < GroupSignal::End;
            *order = (*order).max(GroupSignal::End);
            is_new
        });
    }
}

/// Waits for the end of a process, and ends it if ordered. After the leader has ended, its descendants (`npx` starts a
/// shell that starts a server) have no connection any more, and are killed.
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

/// Waits for an order. If all handles are dropped, the process is not needed any more.
async fn at_least(orders: &mut watch::Receiver<GroupSignal>, least: GroupSignal) -> GroupSignal {
    orders.wait_for(|order| *order >= least).await.map_or(GroupSignal::Kill, |order| *order)
}

fn send(group: Option<Pid>, signal: Signal) {
    // A group that has already ended cannot be signalled, which is fine.
    group.into_iter().for_each(|group| _ = kill_process_group(group, signal));
}
