//! The outgoing queue at work: messages that are accepted whether there is a connection or not, and published in order.

use std::time::{Duration, Instant};

use ferromqtt_proto::packet::Disconnect;
use ferromqtt_proto::{ConnectionError, JournalEntry, Outcome, Publish, Session};

use crate::outgoing_queue::OutgoingQueue;
use crate::{
    CallEnd, Engine, Fact, OutgoingQueueOptions, PublishRefusal, Standing, StoredMessage, Tokens,
    Woken,
};

/// The application leaves as soon as the core has all messages of the outgoing queue.
#[derive(Debug)]
pub(crate) struct Departure {
    pub(crate) disconnect: Disconnect,
    pub(crate) until: Option<Instant>,
}

impl<T: Tokens> Engine<T> {
    /// Opens the outgoing queue, with the messages that a store has from earlier. Those whose keys are in the core's session
    /// are on their way, and are not sent a second time; the others are published in the order of their keys. What becomes of
    /// them is reported by [`Fact::MessageEnded`].
    ///
    /// Without this the queue has the default bounds. Messages that an open queue holds are lost.
    pub fn open_outgoing_queue(
        &mut self,
        options: OutgoingQueueOptions,
        stored: impl IntoIterator<Item = StoredMessage>,
    ) {
        let handed_over = self.core.recorded().map(|(key, _)| key);
        let queue = OutgoingQueue::new(options, stored, handed_over);
        self.core.reserve_keys(queue.end_of_keys());
        self.outgoing = Some(Box::new(queue));
    }

    /// Accepts a message into the outgoing queue, in any phase: also before the first connection, between two of them, and
    /// with [`EngineOptions::restarts`](crate::EngineOptions::restarts) after the last. Returns its key, a number larger than
    /// those of all messages before. It is published in the order of the keys, when there is a connection, and ends once: with
    /// its token, or when no token waits (any more), as [`Fact::MessageEnded`].
    ///
    /// `expires_in` is how long it may wait to be sent, on any version; `None` is the Message Expiry Interval of the message,
    /// if it has one, which is sent as what is left of that time.
    ///
    /// # Errors
    /// Why it is refused, and the token. It has no key then. [`InvalidPublish::QueueFull`](ferromqtt_proto::InvalidPublish::QueueFull)
    /// is for the bounds of this queue.
    pub fn queue_publish(
        &mut self,
        now: Instant,
        mut publish: Publish,
        expires_in: Option<Duration>,
        token: Option<T::Call>,
    ) -> Result<u64, (Option<T::Call>, PublishRefusal)> {
        if let Err(refusal) = self.check_queue_open() {
            return Err((token, refusal));
        }
        self.expire_queued(now); // what is over takes no capacity
        let interval = publish.properties.as_ref();
        let interval = interval.and_then(|it| it.message_expiry_interval);
        let expires_in =
            expires_in.or_else(|| interval.map(|seconds| Duration::from_secs(seconds.into())));
        let queue = self.outgoing.get_or_insert_default();
        let accepted = (queue.check(&publish))
            .and_then(|()| self.core.record_accepted(&mut publish, expires_in));
        match accepted {
            Ok(key) => {
                let expires_at = expires_in.and_then(|limit| now.checked_add(limit));
                queue.push(key, publish, expires_at, token);
                Ok(key)
            }
            Err(error) => Err((token, error.into())),
        }
    }

    /// A caller no longer waits for a message of the outgoing queue, which stays there. Returns the token; `None` when it has
    /// been given back.
    pub fn release_queued(&mut self, key: u64) -> Option<T::Call> {
        self.outgoing.as_mut()?.take_token(key)
    }

    /// How many messages the outgoing queue holds, and how many bytes they count. Those that the core has are among them
    /// until they have ended.
    pub fn queued(&self) -> (usize, usize) {
        let queue = self.outgoing.as_ref();
        queue.map_or((0, 0), |queue| (queue.len(), queue.bytes()))
    }

    /// The next change to put on record, with [`Options::journal`](ferromqtt_proto::Options::journal): see
    /// [`Client::poll_journal`](ferromqtt_proto::Client::poll_journal). A store that takes all of them before it asks for
    /// [`next_woken`](Self::next_woken) has on record what callers have learnt.
    pub fn poll_journal(&mut self) -> Option<JournalEntry> {
        self.core.poll_journal()
    }

    /// All entries up to the one numbered `sequence` are on record: the packets that depend on them may leave.
    pub fn journal_written(&mut self, sequence: u64) {
        self.core.journal_written(sequence);
    }

    /// Ends the engine, and returns its session for another one, with the messages of the outgoing queue that are not in the
    /// session, for [`open_outgoing_queue`](Self::open_outgoing_queue) of that engine.
    ///
    /// [Settle](Self::settle) before, until that returns `false`, and take what is [woken](Self::next_woken): the ends of messages
    /// are lost otherwise, and nobody learns of them. Tokens that are still held are dropped: [take](Self::take_held) them before.
    pub fn into_session(self) -> (Session, Vec<StoredMessage>) {
        let waiting = self.outgoing.map(|queue| queue.into_waiting());
        (self.core.into_session(), waiting.unwrap_or_default())
    }

    fn check_queue_open(&self) -> Result<(), PublishRefusal> {
        match &self.standing {
            Standing::Ended(cause)
                if !self.options.restarts || *cause == ConnectionError::DriverGone =>
            {
                Err(PublishRefusal::not_sent(cause.clone()))
            }
            Standing::Ended(_) => Ok(()),
            _ if self.draining.is_some() => Err(PublishRefusal::Draining),
            _ if self.departure.is_some() || self.core.is_leaving() => {
                Err(PublishRefusal::not_sent(self.end_cause()))
            }
            _ => Ok(()),
        }
    }

    /// Hands over messages to the core while there is a connection, as far as the core may have more of them. Returns whether
    /// there were any.
    pub(crate) fn feed_core(&mut self, now: Instant) -> bool {
        if self.outgoing.is_none() || !self.is_connected() {
            return false;
        }
        self.expire_queued(now);
        let mut any = false;
        while let Some(next) = self.outgoing.as_mut().and_then(|queue| queue.hand_over()) {
            any = true;
            let StoredMessage {
                key,
                publish,
                expires_at,
            } = next;
            if let Err(error) = (self.core).publish_recorded(now, key, publish, expires_at) {
                self.end_queued(key, Outcome::NotPossible(error));
            }
        }
        any
    }

    /// Ends the messages that have waited too long.
    pub(crate) fn expire_queued(&mut self, now: Instant) {
        while let Some(key) = (self.outgoing.as_ref()).and_then(|queue| queue.first_expired(now)) {
            self.end_queued(key, Outcome::Expired);
        }
    }

    /// Ends a message that the core does not have.
    fn end_queued(&mut self, key: u64, outcome: Outcome) {
        self.core.record_ended(key);
        self.on_ended(key, outcome);
    }

    /// A message has ended, which may be one of the session that this queue has not accepted.
    pub(crate) fn on_ended(&mut self, key: u64, outcome: Outcome) {
        match self.outgoing.as_mut().and_then(|queue| queue.end(key)) {
            Some(token) => {
                let end = CallEnd::Completed(outcome);
                self.woken.push_back(Woken::Call(token, end));
            }
            None => self.report(Fact::MessageEnded { key, outcome }),
        }
    }

    /// Whether the outgoing queue holds any message.
    pub(crate) fn has_queued(&self) -> bool {
        self.queued().0 > 0
    }

    /// Whether the outgoing queue holds messages that the core does not have.
    pub(crate) fn has_waiting(&self) -> bool {
        (self.outgoing.as_ref()).is_some_and(|queue| queue.waiting() > 0)
    }

    /// Gives back the tokens of all messages of the outgoing queue, which stay.
    pub(crate) fn release_all_queued(&mut self) {
        let Some(queue) = &mut self.outgoing else {
            return;
        };
        let tokens = queue.take_tokens(|_| true);
        let woken = tokens.map(|(key, token)| Woken::Call(token, CallEnd::Kept { key }));
        self.woken.extend(woken);
    }

    /// Counts the messages of the outgoing queue as [undone](Self::undone).
    pub(crate) fn count_queued(&mut self) {
        let Some(draining) = &mut self.draining else {
            return;
        };
        let waiting = (self.outgoing.as_ref()).map_or(0, |queue| queue.waiting());
        draining.undone.not_sent += waiting;
        for (_, delivery) in self.core.recorded() {
            draining.undone.count(delivery);
        }
    }

    /// Leaves once the core has all messages of the outgoing queue, or cannot get them.
    pub(crate) fn leave_when_handed_over(&mut self, now: Instant) -> bool {
        let Some(departure) = &self.departure else {
            return false;
        };
        let over = departure.until.is_some_and(|until| until <= now);
        let leaves = over || !self.has_waiting() || !self.core.is_connected();
        if leaves && let Some(departure) = self.departure.take() {
            let Departure { disconnect, until } = *departure;
            self.core.leave(now, disconnect, until);
        }
        leaves
    }
}
