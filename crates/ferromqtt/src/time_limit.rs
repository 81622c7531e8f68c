//! Waiting for a message with a time limit, at whose end it is withdrawn if it has not been sent.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::publish::{Published, Receipt};
use crate::room::{Accepted, InLine};
use crate::shared::Shared;
use crate::state::Submitted;
use crate::{Delivery, PublishError};

/// How a message that was submitted ends, or that it has not within `limit`.
pub(crate) async fn settled_within(
    limit: Duration,
    shared: Arc<Shared>,
    submitted: Submitted,
) -> Result<Published, PublishError> {
    let mut time = pin!(sleep(limit));
    let (op, outcome) = match submitted {
        Submitted::Sent => return Ok(Published::SENT),
        Submitted::Accepted(op, outcome) => (op, outcome),
        Submitted::Waits(place) => {
            let waiting = InLine::new(Arc::clone(&shared), place);
            accepted_before(time.as_mut(), limit, waiting).await?
        }
    };
    let mut receipt = Receipt::waiting(outcome);
    if let Some(published) = before(time, &mut receipt).await {
        return published;
    }
    match shared.withdraw(op) {
        Some(delivery) => Err(PublishError::TimedOut { limit, delivery }),
        None => receipt.await, // it has its outcome, which is about to come
    }
}

/// Waits until a message is accepted, for `limit` at most.
pub(crate) async fn accepted_within(limit: Duration, waiting: InLine) -> Accepted {
    accepted_before(pin!(sleep(limit)), limit, waiting).await
}

async fn accepted_before(time: Pin<&mut Sleep>, limit: Duration, mut waiting: InLine) -> Accepted {
    if let Some(accepted) = before(time, &mut waiting).await {
        return accepted;
    }
    match waiting.leave() {
        true => Err(PublishError::TimedOut {
            limit,
            delivery: Delivery::NotSent,
        }),
        false => waiting.await, // accepted or refused at this moment
    }
}

/// What `future` completes with, unless the time is over before. When both happen at once, `future` counts.
async fn before<F: Future + Unpin>(mut time: Pin<&mut Sleep>, mut future: F) -> Option<F::Output> {
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
