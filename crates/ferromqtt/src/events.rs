//! What happens to a connection, as a stream: connected, lost, and what was lost with it.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ferromqtt_engine::EventReaderId;
use futures_core::Stream;

use crate::ConnectionEvent;
use crate::shared::Shared;

/// The events of a connection, in their order. From [`Client::events`](crate::Client::events).
///
/// It is a [`Stream`], and has [`next`](Self::next) of its own. Each such stream gets every event. The latest 64 are kept,
/// or fewer where their properties take more than 1 MiB together. A reader that lags behind them gets the number of events that
/// it has [missed](ConnectionEvent::Missed). The stream ends behind the last [`Disconnected`](ConnectionEvent::Disconnected).
pub struct Events {
    pub(crate) shared: Arc<Shared>,
    reader: EventReaderId,
    /// How the connection stood when this was made.
    first: Option<ConnectionEvent>,
    /// The number of the event that comes next.
    next: u64,
}

impl Events {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let (reader, first, next) = shared.lock().engine.read_events();
        Self {
            shared,
            reader,
            first,
            next,
        }
    }

    /// The next event; `None` when the connection has ended for good and all have been taken.
    ///
    /// # Cancel safety
    /// An event is taken only when this completes.
    pub async fn next(&mut self) -> Option<ConnectionEvent> {
        poll_fn(|cx| self.poll_event(cx.waker())).await
    }

    fn poll_event(&mut self, waker: &Waker) -> Poll<Option<ConnectionEvent>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        let mut state = self.shared.lock();
        match state.engine.take_event(&mut self.next) {
            Some(event) => Poll::Ready(Some(event)),
            None if state.engine.has_ended() => Poll::Ready(None),
            None => {
                let former = state.engine.wait_for_event(self.reader, waker.clone());
                drop(state);
                drop(former); // not under the lock: whose waker it is, is not known
                Poll::Pending
            }
        }
    }
}

impl Stream for Events {
    type Item = ConnectionEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ConnectionEvent>> {
        self.poll_event(cx.waker())
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if self.shared.has_forked() {
            return; // the place in line is the parent's
        }
        let waker = (self.shared.lock().engine).stop_waiting_for_events(self.reader);
        drop(waker); // not under the lock
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
