//! Messages on their way: submitting one, and waiting for its outcome.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ferromqtt_engine::{Awaited, CallEnd, CallId, Purpose, Submission, at_once};
use ferromqtt_proto as proto;
use tokio::sync::oneshot;

use crate::publish::Publish;
use crate::shared::{Shared, end_of, now};
use crate::state::SharedState;
use crate::{PublishError, Published, QoS};

impl<'a> IntoFuture for Publish<'a> {
    type Output = Result<Published, PublishError>;
    type IntoFuture = PublishFuture<'a>;

    fn into_future(self) -> PublishFuture<'a> {
        PublishFuture {
            publish: self,
            stage: Stage::NotPolled,
        }
    }
}

/// Completes when a message has reached its Quality of Service: awaiting a [`Publish`] makes it.
///
/// # Cancel safety
/// Dropping it does not take back a message that was accepted, whether it is on the wire or not:
/// [`Publish::timeout`] does, if it is not. One that still waited for capacity is not sent; except one that was accepted at
/// that very moment, and was written already.
#[must_use = "futures do nothing unless awaited"]
pub struct PublishFuture<'a> {
    /// Kept whole beside the stage. As a variant of it, its fields would be moved in pieces that overlap those that were
    /// written, which costs more time than the copy itself.
    publish: Publish<'a>,
    stage: Stage,
}

enum Stage {
    NotPolled,
    Submitted {
        end: oneshot::Receiver<CallEnd>,
        /// The call, if it had to wait for capacity or has a time limit.
        call: Option<CallId>,
    },
    Done,
}

/// Encodes a message if that can be done at once.
pub(crate) fn publish_now(
    state: &mut SharedState,
    publish: &proto::Publish,
) -> Result<bool, PublishError> {
    match at_once(publish) {
        Some(packet) => state.engine.publish_now(packet, &publish.payload),
        None => Ok(false),
    }
}

impl Drop for PublishFuture<'_> {
    /// A message that still waits for capacity is not sent; an accepted one has no time limit from now on.
    fn drop(&mut self) {
        if let Stage::Submitted {
            call: Some(call), ..
        } = self.stage
        {
            let shared = &self.publish.client.shared;
            let left = shared.call(|state, _| state.engine.leave_line(call));
            drop(left); // not under the lock: it may hold a waker
        }
    }
}

impl Future for PublishFuture<'_> {
    type Output = Result<Published, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { publish, stage } = &mut *self;
        if let Stage::NotPolled = stage {
            ready!(let_others_run(cx));
            match publish.submit() {
                Ok(None) => {
                    *stage = Stage::Done;
                    return Poll::Ready(Ok(Published::SENT));
                }
                Ok(Some(submitted)) => *stage = submitted,
                Err(error) => {
                    *stage = Stage::Done;
                    return Poll::Ready(Err(error));
                }
            }
        }
        let Stage::Submitted { end, .. } = stage else {
            panic!("a PublishFuture was polled after it had completed");
        };
        let end = ready!(Pin::new(end).poll(cx)).unwrap_or(CallEnd::DriverGone);
        *stage = Stage::Done;
        Poll::Ready(publish.outcome(end))
    }
}

impl Publish<'_> {
    /// Sends the message if nothing has to be waited for, not even the lock. `None` if something has.
    #[cfg(feature = "blocking")]
    pub(crate) fn send_now(&self) -> Option<Result<(), PublishError>> {
        if self.is_on_terms() {
            return None;
        }
        let publish = self.publish.as_ref().ok()?;
        let shared = &self.client.shared;
        let mut state = shared.try_lock()?;
        match publish_now(&mut state, publish) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(refusal) => return Some(Err(refusal)),
        }
        let first = state.call_driver();
        let may_have_forked = state.may_have_forked();
        drop(state);
        if may_have_forked && shared.has_forked() {
            return Some(Err(PublishError::not_sent(crate::ConnectionError::Forked)));
        }
        if first {
            shared.driver.notify_one();
        }
        Some(Ok(()))
    }

    /// Submits the message; `None` when it was sent at once.
    fn submit(&self) -> Result<Option<Stage>, PublishError> {
        let deadline = end_of(self.limit); // which panics outside a runtime: nothing must be sent then
        let publish = self.publish.as_ref().map_err(Clone::clone)?;
        if self.terms.is_some() {
            return Err(PublishError::NotQueued);
        }
        (self.client.shared).call_untimed(|state| {
            if publish_now(state, publish)? {
                return Ok(None);
            }
            // The clock is read only here: that costs as much as encoding a small message.
            let (token, end) = oneshot::channel();
            let purpose = Purpose::Message;
            let submission = (state.engine).publish(now(), purpose, publish, deadline, token);
            let call = match submission.map_err(|(_, refusal)| refusal)? {
                Submission::Accepted(_) if deadline.is_none() => None,
                Submission::Accepted(call) | Submission::Waits(call) => Some(call),
            };
            Ok(Some(Stage::Submitted { end, call }))
        })
    }

    fn outcome(&self, end: CallEnd) -> Result<Published, PublishError> {
        let awaited = Awaited::of_publish(
            self.publish
                .as_ref()
                .map_or(QoS::AtMostOnce, |publish| publish.qos),
        );
        end.published(awaited, self.limit.unwrap_or_default())
    }
}

/// A loop of publishes that complete at once must not starve the thread's other tasks, nor write a few at a time: one
/// in so many takes from what the runtime lets a task do in a row.
const PUBLISHES_PER_UNIT: u32 = 8;

fn let_others_run(cx: &mut Context<'_>) -> Poll<()> {
    thread_local! {
        static PUBLISHES: Cell<u32> = const { Cell::new(0) };
    }
    PUBLISHES.with(|publishes| {
        if publishes.get() >= PUBLISHES_PER_UNIT {
            ready!(pin!(tokio::task::coop::consume_budget()).poll(cx));
            publishes.set(0);
        }
        publishes.set(publishes.get() + 1);
        Poll::Ready(())
    })
}

impl fmt::Debug for PublishFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::NotPolled => "not polled",
            Stage::Submitted { .. } => "submitted",
            Stage::Done => "done",
        };
        f.debug_tuple("PublishFuture").field(&stage).finish()
    }
}

/// A future that completes with the outcome of an accepted message.
///
/// # Errors
/// Each [`PublishError`] says whether the message may have arrived: [`PublishError::delivery`].
///
/// # Cancel safety
/// Dropping it changes nothing about the message, but [`Connection::disconnect`](crate::Connection::disconnect) does not wait
/// for it then.
#[must_use = "a receipt says whether the message arrived; drop it explicitly if that does not matter"]
pub struct Receipt {
    /// `None` once it was handed to the transport.
    outcome: Option<oneshot::Receiver<CallEnd>>,
    /// Where the message is stored, and its key there.
    #[cfg(feature = "outbox")]
    stored: Option<(Arc<Shared>, u64)>,
}

impl Receipt {
    /// Handed to the transport already.
    pub(crate) const fn sent() -> Self {
        Self {
            outcome: None,
            #[cfg(feature = "outbox")]
            stored: None,
        }
    }

    pub(crate) const fn waiting(outcome: oneshot::Receiver<CallEnd>) -> Self {
        Self {
            outcome: Some(outcome),
            #[cfg(feature = "outbox")]
            stored: None,
        }
    }

    /// Of a message that the outgoing queue has accepted under this key.
    #[cfg_attr(
        not(feature = "outbox"),
        expect(unused_variables, reason = "for outboxes")
    )]
    pub(crate) fn queued(
        outcome: oneshot::Receiver<CallEnd>,
        shared: &Arc<Shared>,
        key: u64,
    ) -> Self {
        Self {
            outcome: Some(outcome),
            #[cfg(feature = "outbox")]
            stored: shared.has_outbox().then(|| (Arc::clone(shared), key)),
        }
    }

    #[cfg(feature = "outbox")]
    pub(crate) const fn stored_under(&self) -> Option<&(Arc<Shared>, u64)> {
        self.stored.as_ref()
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.outcome {
            None => "sent",
            Some(_) => "accepted",
        };
        f.debug_tuple("Receipt").field(&stage).finish()
    }
}

impl Future for Receipt {
    type Output = Result<Published, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(outcome) = &mut self.outcome else {
            return Poll::Ready(Ok(Published::SENT));
        };
        let end = ready!(Pin::new(outcome).poll(cx));
        let end = end.unwrap_or(CallEnd::DriverGone);
        Poll::Ready(end.published(Awaited::PubAck, Duration::ZERO)) // it has no time limit
    }
}
