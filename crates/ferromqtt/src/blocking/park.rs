//! Waiting for a future without a runtime: the thread parks until the future's waker unparks it.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

struct Unparker(Thread);

impl Wake for Unparker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    /// One for each thread: a reader that waits again with the waker that it has left costs nothing.
    static WAKER: Waker = Waker::from(Arc::new(Unparker(thread::current())));
}

/// Waits until the future is ready.
pub(super) fn park_on<F: Future>(future: F) -> F::Output {
    match park_until(future, None) {
        Some(output) => output,
        None => unreachable!("there was no deadline"),
    }
}

/// Waits until the future is ready; `None` when the deadline is over before. The future is polled at least once.
pub(super) fn park_until<F: Future>(future: F, deadline: Option<Instant>) -> Option<F::Output> {
    let mut future = pin!(future);
    WAKER.with(|waker| {
        let mut cx = Context::from_waker(waker);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return Some(output);
            }
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(left) if left.is_zero() => return None,
                Some(left) => thread::park_timeout(left),
            }
        }
    })
}

/// When a time limit is over that begins now; `None` when that is too far away to be a time.
pub(super) fn deadline(limit: impl Into<Option<Duration>>) -> Option<Instant> {
    Instant::now().checked_add(limit.into()?)
}
