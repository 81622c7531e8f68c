//! The outgoing queue at work: messages that are accepted whether there is a connection or not, and published in order.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use ferromqtt_proto::packet::Disconnect;
use ferromqtt_proto::{
    ConnectionError, Delivery, Direction, InvalidPublish, Outcome, Properties, Publish,
    QuarantineReason, ReasonCode, Session, Stats,
};

use crate::outgoing_queue::OutgoingMessages;
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

/// How messages of the outgoing queue have ended that the core did not have.
#[derive(Debug, Default)]
pub(crate) struct QueueCounts {
    dropped: u64,
    expired: u64,
    replaced: u64,
}

impl QueueCounts {
    const fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Dropped => self.dropped += 1,
            Outcome::Expired => self.expired += 1,
            Outcome::Replaced => self.replaced += 1,
            _ => {}
        }
    }
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
        // Of a session that was not restored, they may not be on record yet.
        let recorded_at = self.core.journal_end(Direction::Sent);
        let queue = OutgoingMessages::new(options, recorded_at, stored, handed_over);
        self.core.reserve_keys(queue.end_of_keys());
        self.outgoing = Some(Box::new(queue));
        self.stored.is_closed = false;
        self.end_outdated();
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

    /// Ends the engine, and returns its session for another one, with the messages of the outgoing queue that are not in the
    /// session, for [`open_outgoing_queue`](Self::open_outgoing_queue) of that engine. Those whose contents a store alone has are not
    /// among them.
    ///
    /// [Settle](Self::settle) before, until that returns `false`, and take what is [woken](Self::next_woken): the ends of messages
    /// are lost otherwise, and nobody learns of them. Tokens that are still held are dropped: [take](Self::take_held) them before.
    pub fn into_session(self) -> (Session, Vec<StoredMessage>) {
        let waiting = self.outgoing.map(|queue| queue.into_waiting());
        (self.core.into_session(), waiting.unwrap_or_default())
    }

    pub(crate) fn check_queue_open(&self) -> Result<(), PublishRefusal> {
        match &self.standing {
            Standing::Ended(cause)
                if !self.options.restarts
                    || *cause == ConnectionError::DriverGone
                    || !self.queue_outlives_connection() =>
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

    /// Accepts those that wait for capacity, and hands over messages to the core while there is a connection, as far as the core
    /// may have more of them. Returns whether there were any.
    pub(crate) fn feed_core(&mut self, now: Instant) -> bool {
        if self.outgoing.is_none() {
            return false;
        }
        let mut any = self.let_into_queue(now);
        if !self.is_connected() {
            return any;
        }
        self.expire_queued(now);
        while let Some(next) = self.outgoing.as_mut().and_then(|queue| queue.hand_over()) {
            any = true;
            let StoredMessage {
                key,
                mut publish,
                expires_at,
                keep_latest: _,
            } = next;
            if expires_at.is_some() && !self.core.options().protocol.is_v5() {
                without_expiry(&mut publish); // accepted for 5.0, before the server turned out to speak 3.1.1
            }
            match (self.core).publish_recorded(now, key, publish, expires_at) {
                Ok(op) => {
                    if let Some(queue) = &mut self.outgoing {
                        queue.note_op(key, op);
                    }
                }
                Err(error) => self.end_queued(key, Outcome::NotPossible(error)),
            }
        }
        any
    }

    /// The core's counters, with the messages of the outgoing queue that it does not have, and how those have ended.
    pub fn stats(&self) -> Stats {
        let mut stats = self.core.stats();
        if let Some(queue) = &self.outgoing {
            let (messages, bytes) = queue.waiting_with_bytes();
            stats.outgoing += messages;
            stats.outgoing_bytes += bytes;
        }
        stats.dropped += self.queue_counts.dropped;
        stats.expired += self.queue_counts.expired;
        stats.replaced += self.queue_counts.replaced;
        stats
    }

    /// Ends the messages that have waited too long.
    pub(crate) fn expire_queued(&mut self, now: Instant) {
        while let Some(key) = (self.outgoing.as_ref()).and_then(|queue| queue.first_expired(now)) {
            self.end_queued(key, Outcome::Expired);
        }
        let behind = (self.outgoing.as_mut()).map(|queue| queue.distant.expired(now));
        for key in behind.unwrap_or_default() {
            self.end_queued(key, Outcome::Expired);
        }
    }

    /// Ends a message that the core does not have.
    pub(crate) fn end_queued(&mut self, key: u64, outcome: Outcome) {
        self.queue_counts.count(&outcome);
        self.core.record_ended(key);
        self.on_ended(key, outcome);
    }

    /// A message has ended, which may be one of the session that this queue has not accepted.
    pub(crate) fn on_ended(&mut self, key: u64, outcome: Outcome) {
        let quarantines = (self.outgoing.as_ref()).is_some_and(|it| it.options().quarantines);
        let outcome = match quarantines {
            true => quarantined(outcome),
            false => outcome,
        };
        if self.core.options().journal {
            self.ended.push_back((key, outcome.clone()));
        }
        if let Some(sequence) = (self.outgoing.as_ref()).and_then(|queue| queue.recorded_at(key)) {
            self.end_stored_wait(key, sequence);
        }
        let is_kept = self.is_kept(key, &outcome);
        match self.outgoing.as_mut().and_then(|queue| queue.end(key)) {
            Some(token) if is_kept => {
                let end = CallEnd::Kept { key };
                self.woken.push_back(Woken::Call(token, end));
            }
            Some(token) => {
                if T::is_gone(&token) {
                    let outcome = outcome.clone();
                    self.report(Fact::MessageEnded { key, outcome });
                }
                let end = CallEnd::Completed(outcome);
                self.woken.push_back(Woken::Call(token, end));
            }
            None => self.report(Fact::MessageEnded { key, outcome }),
        }
    }

    /// Whether a message that cannot go on without the store, which has failed, is on record there: the next engine has it.
    fn is_kept(&self, key: u64, outcome: &Outcome) -> bool {
        let Some(queue) = self
            .outgoing
            .as_ref()
            .filter(|it| it.options().failure_is_final)
        else {
            return false;
        };
        let number = queue.recorded_at(key);
        let is_on_record = number.is_some_and(|it| self.stored.is_on_record(it));
        is_on_record && matches!(outcome, Outcome::NotStored { .. })
    }

    /// How the messages of the outgoing queue have ended since this was last asked, by their keys, with
    /// [`Options::journal`](ferromqtt_proto::Options::journal): the entries of [`poll_journal`](Self::poll_journal) say only that
    /// they have. To be asked before those are polled.
    pub fn take_ended(&mut self) -> impl Iterator<Item = (u64, Outcome)> + use<'_, T> {
        self.ended.drain(..)
    }

    /// Whether the outgoing queue accepts no message for now, since its store takes none: each is refused as
    /// [`InvalidPublish::StoreBusy`](ferromqtt_proto::InvalidPublish::StoreBusy), or waits where it would wait for capacity.
    pub fn hold_queue(&mut self, is_held: bool) {
        if let Some(queue) = &mut self.outgoing {
            queue.hold(is_held);
        }
    }

    /// Whether the outgoing queue, or the session, has a message that has not ended.
    pub fn holds_outgoing(&self, key: u64) -> bool {
        let queued = (self.outgoing.as_ref()).is_some_and(|queue| queue.recorded_at(key).is_some());
        queued || self.core.recorded().any(|(it, _)| it == key)
    }

    /// Whether the outgoing queue is open.
    pub const fn has_outgoing_queue(&self) -> bool {
        self.outgoing.is_some()
    }

    /// Whether the outgoing queue holds any message.
    pub(crate) fn has_queued(&self) -> bool {
        self.queued().0 > 0
    }

    /// Whether the outgoing queue holds messages that the core does not have.
    pub(crate) fn has_waiting(&self) -> bool {
        (self.outgoing.as_ref()).is_some_and(|queue| queue.waiting() > 0)
    }

    /// Gives back the tokens of all messages of the outgoing queue, which stay: with [`CallEnd::Kept`], or where a store was to
    /// have them and does not, with [`CallEnd::NotStored`].
    pub(crate) fn release_all_queued(&mut self) {
        self.release_kept();
        let Some(queue) = &mut self.outgoing else {
            return;
        };
        let tokens = queue.take_tokens(|_| true);
        let woken =
            (tokens.into_iter()).map(|(key, token)| Woken::Call(token, CallEnd::NotStored { key }));
        self.woken.extend(woken);
    }

    /// Gives back the tokens of messages that are kept for another start, or for a store's next engine.
    pub(crate) fn release_kept(&mut self) {
        let has_store = self.core.options().journal;
        let Some(queue) = &mut self.outgoing else {
            return;
        };
        let kept: HashSet<_> = (queue.accepted_at())
            .filter(|(_, number)| !has_store || self.stored.is_on_record(*number))
            .map(|(key, _)| key)
            .collect();
        let tokens = queue.take_tokens_of(|key| kept.contains(&key));
        let woken = tokens
            .into_iter()
            .map(|(key, token)| Woken::Call(token, CallEnd::Kept { key }));
        self.woken.extend(woken);
    }

    /// Whether messages stay in the outgoing queue when no connection follows.
    fn queue_outlives_connection(&self) -> bool {
        let queue = self.outgoing.as_ref();
        queue.is_none_or(|queue| queue.options().outlives_connection)
    }

    /// No connection follows: the messages of the outgoing queue end, or are counted as [undone](Self::undone) and stay.
    pub(crate) fn end_outgoing_queue(&mut self, cause: &ConnectionError) {
        if self.queue_outlives_connection() {
            if self.core.options().journal {
                self.release_kept(); // the others when they are on record, or the store is closed without them
            }
            return self.count_queued();
        }
        let in_core: HashMap<_, _> = self.core.release_recorded().into_iter().collect();
        let keys: Vec<_> = (self.outgoing.iter()).flat_map(|it| it.keys()).collect();
        for key in keys {
            let delivery = in_core.get(&key).copied().unwrap_or(Delivery::NotSent);
            let token = self.outgoing.as_mut().and_then(|queue| queue.end(key));
            if let Some(draining) = &mut self.draining {
                draining.undone.count(delivery);
            }
            if !self.reports_undone() && token.as_ref().is_none_or(T::is_gone) {
                self.unawaited.count(delivery);
            }
            if let Some(token) = token {
                self.cut_short += 1;
                let cause = cause.clone();
                let outcome = Outcome::Disconnected { cause, delivery };
                let end = CallEnd::Completed(outcome);
                self.woken.push_back(Woken::Call(token, end));
            }
        }
    }

    /// Counts the messages of the outgoing queue as [undone](Self::undone).
    fn count_queued(&mut self) {
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

/// The outcome of a message of a store that keeps what will not get through.
fn quarantined(outcome: Outcome) -> Outcome {
    let why = match &outcome {
        Outcome::Refused { reason, .. } => match reason {
            ReasonCode::PacketTooLarge => QuarantineReason::TooLarge,
            ReasonCode::UnspecifiedError
            | ReasonCode::ImplementationSpecificError
            | ReasonCode::NotAuthorized
            | ReasonCode::TopicNameInvalid
            | ReasonCode::PayloadFormatInvalid
            | ReasonCode::RetainNotSupported
            | ReasonCode::QosNotSupported => QuarantineReason::Refused(reason.value()),
            _ => return outcome, // such as Quota exceeded, which passes
        },
        Outcome::NotPossible(error) | Outcome::GivenUp(error) => match error {
            InvalidPublish::TooLarge { .. }
            | InvalidPublish::TooLargeWithTopic { .. }
            | InvalidPublish::PayloadTooLarge { .. } => QuarantineReason::TooLarge,
            InvalidPublish::QosNotSupported { .. } => {
                QuarantineReason::Refused(ReasonCode::QosNotSupported.value())
            }
            InvalidPublish::RetainNotSupported { .. } => {
                QuarantineReason::Refused(ReasonCode::RetainNotSupported.value())
            }
            InvalidPublish::TopicLimit(_) => {
                QuarantineReason::Refused(ReasonCode::TopicNameInvalid.value())
            }
            _ => return outcome,
        },
        _ => return outcome,
    };
    Outcome::Quarantined { why }
}

/// Takes out the Message Expiry Interval, which only 5.0 has: the message still expires in the queue.
fn without_expiry(publish: &mut Publish) {
    let Some(properties) = &mut publish.properties else {
        return;
    };
    properties.message_expiry_interval = None;
    if **properties == Properties::default() {
        publish.properties = None;
    }
}
