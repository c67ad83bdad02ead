//! Callers who wait until their entries are durable. A system call wakes a thread, so each thread is woken once for all
//! of its callers: the first one to run wakes the others.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};

use parking_lot::Mutex;

const WAITING: u8 = 0;
const DURABLE: u8 = 1;
const LOST: u8 = 2;

/// The callers on one thread whose entries are written together.
#[derive(Debug, Default)]
struct WaiterGroup {
    state: AtomicU8,
    wakers: Mutex<WaiterWakers>,
}

#[derive(Debug, Default)]
struct WaiterWakers {
    next: u64,
    waiting: Vec<(u64, Waker)>,
}

/// The groups of callers of one batch.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Vec<(ThreadId, Arc<WaiterGroup>)>);

/// A promise that an entry is durable. It resolves to false if the entry was given up.
#[derive(Debug)]
pub struct DurableEntry {
    group: Arc<WaiterGroup>,
    number: u64,
}

impl Waiters {
    /// Adds the entry of a caller on this thread.
    pub(crate) fn add(&mut self) -> DurableEntry {
        let here = thread::current().id();
        let group = match self.0.iter().find(|(thread, _)| *thread == here) {
            Some((_, group)) => Arc::clone(group),
            None => {
                let group = Arc::new(WaiterGroup::default());
                self.0.push((here, Arc::clone(&group)));
                group
            }
        };
        DurableEntry::of(group)
    }

    /// Tells all callers, and removes them.
    pub(crate) fn settle(&mut self, is_durable: bool) {
        for (_, group) in self.0.drain(..) {
            group.state.store(if is_durable { DURABLE } else { LOST }, Ordering::Release);
            let first = group.wakers.lock().waiting.pop();
            if let Some((_, waker)) = first {
                waker.wake();
            }
        }
    }
}

impl Drop for Waiters {
    fn drop(&mut self) {
        self.settle(false);
    }
}

impl WaiterGroup {
    fn result(&self) -> Option<bool> {
        match self.state.load(Ordering::Acquire) {
            WAITING => None,
            state => Some(state == DURABLE),
        }
    }

    fn wake_others(&self) {
        let others = std::mem::take(&mut self.wakers.lock().waiting);
        others.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

impl DurableEntry {
    fn of(group: Arc<WaiterGroup>) -> Self {
        let number = {
            let mut wakers = group.wakers.lock();
            wakers.next += 1;
            wakers.next
        };
        Self { group, number }
    }

    /// The promise of an entry that is lost.
    pub(crate) fn lost() -> Self {
        Self::of(Arc::new(WaiterGroup { state: AtomicU8::new(LOST), ..WaiterGroup::default() }))
    }
}

impl Future for DurableEntry {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        let mut wakers = self.group.wakers.lock();
        // With the lock, so that the result cannot come between this look and the entry in the list.
        if let Some(result) = self.group.result() {
            drop(wakers);
            self.group.wake_others();
            return Poll::Ready(result);
        }
        match wakers.waiting.iter_mut().find(|(number, _)| *number == self.number) {
            Some((_, waker)) => waker.clone_from(context.waker()),
            None => wakers.waiting.push((self.number, context.waker().clone())),
        }
        Poll::Pending
    }
}

/// A caller who disconnects may be the one who was woken, so they wake the others.
impl Drop for DurableEntry {
    fn drop(&mut self) {
        if self.group.result().is_some() {
            return self.group.wake_others();
        }
        let mut wakers = self.group.wakers.lock();
        wakers.waiting.retain(|(number, _)| *number != self.number);
        let is_settled = self.group.result().is_some();
        drop(wakers);
        if is_settled {
            self.group.wake_others();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Bell {
        fn rung(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn poll(entry: &mut DurableEntry, bell: &Arc<Bell>) -> Poll<bool> {
        Pin::new(entry).poll(&mut Context::from_waker(&Waker::from(Arc::clone(bell))))
    }

    /// Entries that wait, each with its bell.
    fn waiting(waiters: &mut Waiters, count: usize) -> Vec<(DurableEntry, Arc<Bell>)> {
        let mut all: Vec<_> = (0..count).map(|_| (waiters.add(), Arc::new(Bell::default()))).collect();
        for (entry, bell) in &mut all {
            assert_eq!(poll(entry, bell), Poll::Pending);
        }
        all
    }

    fn rung(all: &[(DurableEntry, Arc<Bell>)]) -> usize {
        all.iter().map(|(_, bell)| bell.rung()).sum()
    }

    #[test]
    fn one_caller_is_woken_and_wakes_the_others() {
        for is_durable in [true, false] {
            let mut waiters = Waiters::default();
            let mut all = waiting(&mut waiters, 5);
            waiters.settle(is_durable);
            assert_eq!(rung(&all), 1, "one system call for all");
            let (first, bell) = all.iter_mut().find(|(_, bell)| bell.rung() > 0).unwrap();
            assert_eq!(poll(first, bell), Poll::Ready(is_durable));
            assert_eq!(rung(&all), 5);
            for (entry, bell) in &mut all {
                assert_eq!(poll(entry, bell), Poll::Ready(is_durable));
            }
        }
    }

    #[test]
    fn a_caller_who_disconnects_leaves_nobody_waiting() {
        let mut waiters = Waiters::default();
        // Before the result: the last one, who would be woken.
        let mut all = waiting(&mut waiters, 3);
        drop(all.pop());
        waiters.settle(true);
        // After it: the one who was woken.
        let woken = all.iter().position(|(_, bell)| bell.rung() > 0).unwrap();
        drop(all.remove(woken));
        assert_eq!(rung(&all), all.len());
    }

    #[test]
    fn entries_that_are_given_up_wait_for_nothing() {
        let mut waiters = Waiters::default();
        let mut all = waiting(&mut waiters, 2);
        drop(waiters);
        assert_eq!(rung(&all), 1);
        let (entry, bell) = &mut all[0];
        assert_eq!(poll(entry, bell), Poll::Ready(false));
        assert_eq!(poll(&mut DurableEntry::lost(), bell), Poll::Ready(false));
    }

    /// A thread that waits for an entry.
    struct Sleeper(thread::Thread);

    impl Wake for Sleeper {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    /// Waits without a runtime.
    pub(crate) fn blocking_wait(mut entry: DurableEntry) -> bool {
        let waker = Waker::from(Arc::new(Sleeper(thread::current())));
        loop {
            match Pin::new(&mut entry).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(result) => return result,
                Poll::Pending => thread::park(),
            }
        }
    }

    #[test]
    fn no_caller_on_any_thread_is_forgotten() {
        for _ in 0..50 {
            let waiters = Arc::new(Mutex::new(Waiters::default()));
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let waiters = Arc::clone(&waiters);
                    thread::spawn(move || {
                        let entry = waiters.lock().add();
                        blocking_wait(entry)
                    })
                })
                .collect();
            while !threads.iter().all(thread::JoinHandle::is_finished) {
                waiters.lock().settle(true);
                thread::yield_now();
            }
            assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
        }
    }
}
