//! Waiting for a message with a time limit, at whose end it is withdrawn if it has not been sent.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ferromqtt_proto::OpId;
use tokio::time::{Sleep, sleep};

use crate::publish::{Published, Receipt};
use crate::room::{Accepted, InLine};
use crate::shared::Shared;
use crate::state::Submitted;
use crate::{Delivery, PublishError};

/// How a message that was submitted ends, or that it has not within `limit`.
pub(crate) async fn settled_within(
    limit: Begun,
    shared: Arc<Shared>,
    submitted: Submitted,
) -> Result<Published, PublishError> {
    let mut limit = TimeLimit::from(limit);
    let (op, outcome) = match submitted {
        Submitted::Sent => return Ok(Published::SENT),
        Submitted::Accepted(op, outcome) => (op, outcome),
        Submitted::Waits(place) => {
            let waiting = InLine::new(Arc::clone(&shared), place);
            limit.accepted(waiting).await?
        }
    };
    let receipt = Receipt::waiting(outcome);
    let settled = limit.settled(&shared, op, receipt).await;
    settled.unwrap_or_else(|delivery| Err(limit.is_over(delivery)))
}

/// The beginning of a time limit that may not be needed.
pub(crate) struct Begun {
    limit: Duration,
    time: Sleep,
}

impl Begun {
    /// Panics outside a runtime with timers.
    pub(crate) fn now(limit: Duration) -> Self {
        Self {
            limit,
            time: sleep(limit),
        }
    }
}

impl From<Begun> for TimeLimit {
    fn from(begun: Begun) -> Self {
        Self {
            limit: begun.limit,
            time: Box::pin(begun.time),
        }
    }
}

/// A time limit that has begun.
pub(crate) struct TimeLimit {
    limit: Duration,
    time: Pin<Box<Sleep>>,
}

impl TimeLimit {
    pub(crate) fn new(limit: Duration) -> Self {
        Begun::now(limit).into()
    }

    /// Waits until a message is accepted. When the time is over before, it leaves the line.
    pub(crate) async fn accepted(&mut self, mut waiting: InLine) -> Accepted {
        if let Some(accepted) = self.before(&mut waiting).await {
            return accepted;
        }
        match waiting.leave() {
            true => Err(self.is_over(Delivery::NotSent)),
            false => waiting.await, // accepted or refused at this moment
        }
    }

    /// Waits for the outcome of `op`. When the time is over before, `op` is withdrawn: tells whether it has reached the wire.
    pub(crate) async fn settled<F: Future + Unpin>(
        &mut self,
        shared: &Shared,
        op: OpId,
        mut outcome: F,
    ) -> Result<F::Output, Delivery> {
        if let Some(outcome) = self.before(&mut outcome).await {
            return Ok(outcome);
        }
        match shared.withdraw(op) {
            Some(delivery) => Err(delivery),
            None => Ok(outcome.await), // the core has it already, and it is about to come
        }
    }

    /// What `future` completes with, unless the time is over before. When both happen at once, `future` counts.
    async fn before<F: Future + Unpin>(&mut self, mut future: F) -> Option<F::Output> {
        let time = &mut self.time;
        poll_fn(|cx| {
            if let Poll::Ready(output) = Pin::new(&mut future).poll(cx) {
                return Poll::Ready(Some(output));
            }
            match time.is_elapsed() {
                true => Poll::Ready(None),
                false => time.as_mut().poll(cx).map(|()| None),
            }
        })
        .await
    }

    /// What a message ends as when the time is over.
    pub(crate) fn is_over(&self, delivery: Delivery) -> PublishError {
        PublishError::TimedOut {
            limit: self.limit,
            delivery,
        }
    }
}
