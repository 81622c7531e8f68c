//! Messages that are accepted now and end later: enqueuing, with or without an outgoing queue.

use std::time::Duration;

use ferromqtt_engine::{Awaited, CallEnd, MessageTerms, QueueSubmission, Submission, at_once};
use tokio::sync::oneshot;

use crate::PublishError;
use crate::call::PendingCall;
use crate::publish::Publish;
use crate::publish_future::{Receipt, publish_now};
use crate::shared::{end_of, now};

/// # Enqueuing
impl Publish<'_> {
    /// How long the message may wait in the [outgoing queue](crate::Options::outgoing_queue) until it is sent, on any version of
    /// MQTT; `None` is no limit. Default: its Message Expiry Interval, if it has one.
    ///
    /// After that time it ends as [`PublishError::Expired`]. On 5.0 what is left of the time is sent as its Message Expiry
    /// Interval, in whole seconds, rounded up (section 3.3.2.3.3). The time runs from the call that enqueues it.
    ///
    /// It is for [`enqueue`](Self::enqueue) and [`try_enqueue`](Self::try_enqueue) with such a queue; anything else is refused as
    /// [`PublishError::NotQueued`].
    pub fn expires_in(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.terms.get_or_insert_default().expires_in = limit.into();
        self
    }

    /// Has a later message to the same topic, for which this was called too, take the place of this one while it waits in the
    /// [outgoing queue](crate::Options::outgoing_queue): this one then ends as [`PublishError::Replaced`], and the later one waits
    /// behind all others. What is on the wire is not replaced.
    ///
    /// It is for the same calls as [`expires_in`](Self::expires_in).
    ///
    /// ```no_run
    /// # async fn example(client: ferromqtt::Client) -> Result<(), ferromqtt::PublishError> {
    /// use std::time::Duration;
    ///
    /// let reading = client.publish("site/7/level", "28.4");
    /// let receipt = reading.keep_latest().expires_in(Duration::from_secs(600)).enqueue().await?;
    /// # drop(receipt);
    /// # Ok(()) }
    /// ```
    pub fn keep_latest(mut self) -> Self {
        self.terms.get_or_insert_default().keep_latest = true;
        self
    }

    /// Whether it must wait in an outgoing queue.
    pub(crate) const fn is_on_terms(&self) -> bool {
        self.terms.is_some()
    }

    fn terms(&self) -> MessageTerms {
        self.terms.as_deref().copied().unwrap_or_default()
    }

    fn check_terms(&self) -> Result<(), PublishError> {
        match self.is_on_terms() && !self.client.shared.has_queue {
            true => Err(PublishError::NotQueued),
            false => Ok(()),
        }
    }

    /// Has the outgoing queue accept the message, once it has capacity.
    async fn enqueue_on_terms(self) -> Result<Receipt, PublishError> {
        let terms = self.terms();
        let publish = self.publish?;
        let shared = &self.client.shared;
        let deadline = end_of(self.limit); // which panics outside a runtime: nothing must be sent then
        let (token, outcome) = oneshot::channel();
        let (accepted_token, accepted) = oneshot::channel();
        let submitted = shared.call(|state, now| {
            (state.engine).queue_or_wait(now, publish, terms, deadline, token, accepted_token)
        });
        let key = match submitted {
            Ok((QueueSubmission::Accepted(key), _)) => key,
            Ok((QueueSubmission::Waits(call), _)) => {
                match PendingCall::new(shared, call, accepted).end().await {
                    CallEnd::Queued { key } => key,
                    end => {
                        end.published(Awaited::Capacity, self.limit.unwrap_or_default())?;
                        return Ok(Receipt::waiting(outcome)); // cannot be: that is an error
                    }
                }
            }
            Err((_, refusal)) => return Err(refusal),
        };
        Ok(Receipt::queued(outcome, shared, key))
    }

    /// Waits until the message is accepted, which is at once unless the outgoing queue is full. The [`Receipt`] is for
    /// the rest of its way.
    ///
    /// An accepted message is written in its turn, but only while there is a connection: await the receipts of what must
    /// arrive before disconnecting.
    ///
    /// # Errors
    /// [`PublishError::Invalid`] when the message, or a limit of the server, forbids it; [`PublishError::Disconnected`]
    /// when there is no connection and none will follow; [`PublishError::TimedOut`] when there is no capacity within the
    /// [time limit](Self::timeout). Nothing was sent then.
    ///
    /// # Cancel safety
    /// Dropped while it waits for capacity, the message is not sent; except one that was accepted at that very moment, and was
    /// written already.
    ///
    /// ```no_run
    /// # async fn example(client: ferromqtt::Client) -> Result<(), ferromqtt::PublishError> {
    /// use ferromqtt::QoS;
    ///
    /// let mut receipts = Vec::new();
    /// for line in ["one", "two", "three"] {
    ///     receipts.push(client.publish("log", line).qos(QoS::AtLeastOnce).enqueue().await?);
    /// }
    /// for receipt in receipts {
    ///     receipt.await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn enqueue(self) -> Result<Receipt, PublishError> {
        tokio::task::coop::consume_budget().await; // also for a call that fails
        if self.client.shared.has_queue {
            return self.enqueue_on_terms().await;
        }
        self.check_terms()?;
        let publish = self.publish?;
        let shared = &self.client.shared;
        let deadline = end_of(self.limit); // which panics outside a runtime: nothing must be sent then
        let mut waits = None;
        let submitted = shared.call_untimed(|state| {
            if publish_now(state, &publish)? {
                return Ok(None);
            }
            let (token, outcome) = oneshot::channel();
            let accepted = || {
                let (token, accepted) = oneshot::channel();
                waits = Some(accepted);
                token
            };
            match (state.engine).enqueue(now(), &publish, deadline, token, accepted) {
                Ok(submission) => Ok(Some((submission, outcome))),
                Err((_, refusal)) => Err(refusal),
            }
        });
        let Some((submission, outcome)) = submitted? else {
            return Ok(Receipt::sent());
        };
        if let (Submission::Waits(call), Some(accepted)) = (submission, waits) {
            match PendingCall::new(shared, call, accepted).end().await {
                CallEnd::Accepted => {}
                end => _ = end.published(Awaited::Capacity, self.limit.unwrap_or_default())?,
            }
        }
        Ok(Receipt::waiting(outcome))
    }

    /// As [`enqueue`](Self::enqueue), but never waits for capacity, and needs no runtime: for callbacks and threads.
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue); and [`PublishError::QueueFull`] when the outgoing queue is full, unless its policy drops
    /// messages.
    ///
    /// ```no_run
    /// # fn example(client: ferromqtt::Client) {
    /// match client.publish("log", "one more line").try_enqueue() {
    ///     Ok(receipt) => drop(receipt),
    ///     Err(error) => eprintln!("left out: {error}"),
    /// }
    /// # }
    /// ```
    pub fn try_enqueue(self) -> Result<Receipt, PublishError> {
        self.check_terms()?;
        let terms = self.terms();
        let publish = self.publish?;
        let shared = &self.client.shared;
        let has_queue = shared.has_queue;
        shared.call(|state, now| {
            if has_queue {
                let (token, outcome) = oneshot::channel();
                return match (state.engine).queue_publish(now, publish, terms, Some(token)) {
                    Ok(key) => Ok(Receipt::queued(outcome, shared, key)),
                    Err((_, refusal)) => Err(refusal),
                };
            }
            if let Some(packet) = at_once(&publish)
                && state.engine.try_publish_now(packet, &publish.payload)?
            {
                return Ok(Receipt::sent());
            }
            let (token, outcome) = oneshot::channel();
            match state.engine.try_publish(now, publish, None, token) {
                Ok(_) => Ok(Receipt::waiting(outcome)),
                Err((_, refusal)) => Err(refusal),
            }
        })
    }
}
