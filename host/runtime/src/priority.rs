//! The priority of threads for work that must not delay others.

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

/// Lowers the priority of the current thread. A low priority alone is not enough on Linux, because a thread that wakes
/// up still waits for the time slice of the running thread, which is milliseconds. The class for idle threads
/// (`sched(7)`) yields at once. If the system does not permit it, the thread has the usual priority.
pub fn step_back() {
    #[cfg(target_os = "linux")]
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    #[cfg(not(target_os = "linux"))]
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
    let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy);
}
