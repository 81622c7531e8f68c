//! An operation that a caller waits for.

use ferromqtt_engine::{CallEnd, CallId};
use tokio::sync::oneshot;

use crate::shared::Shared;

/// A call that was submitted. Dropping it gives it up, unless that is [lasting](Self::lasting): what is not on the wire yet is
/// taken back.
#[derive(Debug)]
pub(crate) struct PendingCall<'a> {
    shared: &'a Shared,
    id: CallId,
    end: oneshot::Receiver<CallEnd>,
    /// Not to be given up, or not any more.
    ended: bool,
}

impl<'a> PendingCall<'a> {
    pub(crate) const fn new(
        shared: &'a Shared,
        id: CallId,
        end: oneshot::Receiver<CallEnd>,
    ) -> Self {
        Self {
            shared,
            id,
            end,
            ended: false,
        }
    }

    /// The operation goes on when nobody waits for it.
    pub(crate) const fn lasting(mut self) -> Self {
        self.ended = true;
        self
    }

    /// How the wait ends.
    pub(crate) async fn end(mut self) -> CallEnd {
        let end = (&mut self.end).await.unwrap_or(CallEnd::DriverGone);
        self.ended = true;
        end
    }
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let given_up = (self.shared).call(|state, _| state.engine.give_up(self.id));
            drop(given_up); // not under the lock: it may hold a waker
        }
    }
}
