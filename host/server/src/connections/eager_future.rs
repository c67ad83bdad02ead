//! A future that is polled again at once if it wakes itself.
//!
//! A hyper connection wakes itself with each request: the service asks for the body, which wakes the task that is being
//! polled. Tokio would queue this task and wake another worker to look at the queue. With one busy connection, that
//! costs more than all checks of its call.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// The maximum number of polls in a row. A future that keeps waking itself must then let other tasks run.
const TURNS: usize = 8;

/// The wrapper around the future.
pub(super) struct EagerFuture<F> {
    future: F,
    wakes: Arc<Wakes>,
    waker: Waker,
}

/// The wakes of the future. A wake during a poll is remembered; any other wake is passed on to the task.
#[derive(Default)]
struct Wakes {
    is_polled: AtomicBool,
    is_woken: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        // The polling thread looks at `is_woken` after it has set `is_polled` to false. So no wake is lost between the
        // two.
        if !self.is_polled.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

impl<F: Future + Unpin> EagerFuture<F> {
    pub(super) fn new(future: F) -> Self {
        let wakes = Arc::<Wakes>::default();
        Self { future, waker: Waker::from(Arc::clone(&wakes)), wakes }
    }

    /// The future.
    pub(super) fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }
}

impl<F: Future + Unpin> Future for EagerFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, wakes, waker } = self.get_mut();
        wakes.task.register(context.waker());
        for _ in 0..TURNS {
            wakes.is_woken.store(false, Ordering::SeqCst);
            wakes.is_polled.store(true, Ordering::SeqCst);
            let polled = Pin::new(&mut *future).poll(&mut Context::from_waker(waker));
            wakes.is_polled.store(false, Ordering::SeqCst);
            if polled.is_ready() || !wakes.is_woken.load(Ordering::SeqCst) {
                return polled;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread;

    use futures_util::FutureExt as _;
    use futures_util::future::poll_fn;

    use super::{EagerFuture, TURNS};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_future_that_wakes_itself_is_polled_at_once() {
        let count = Arc::<Count>::default();
        let waker = Waker::from(Arc::clone(&count));
        let mut turns = 0;
        let mut future = EagerFuture::new(poll_fn(|context| {
            turns += 1;
            context.waker().wake_by_ref();
            if turns == 3 { Poll::Ready(()) } else { Poll::Pending }
        }));
        assert!(future.poll_unpin(&mut Context::from_waker(&waker)).is_ready());
        drop(future);
        assert_eq!((turns, count.0.load(Ordering::SeqCst)), (3, 0));
    }

    #[test]
    fn a_future_that_always_wakes_itself_yields_to_others() {
        let count = Arc::<Count>::default();
        let waker = Waker::from(Arc::clone(&count));
        let mut turns = 0;
        let mut future = EagerFuture::new(poll_fn(|context| {
            turns += 1;
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        assert!(future.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        drop(future);
        assert_eq!((turns, count.0.load(Ordering::SeqCst)), (TURNS, 1));
    }

    /// No wake is lost, at whatever moment another thread sends it. A lost wake would leave the task asleep forever.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_wake_from_another_thread_is_never_lost() {
        for _ in 0..200 {
            let (sender, mut receiver) = tokio::sync::mpsc::channel::<usize>(1);
            let sending = thread::spawn(move || (0..50).try_for_each(|n| sender.blocking_send(n)));
            let received = EagerFuture::new(Box::pin(async move {
                let mut count = 0;
                while receiver.recv().await.is_some() {
                    count += 1;
                }
                count
            }));
            assert_eq!(received.await, 50);
            assert!(sending.join().is_ok_and(|sent| sent.is_ok()));
        }
    }
}
