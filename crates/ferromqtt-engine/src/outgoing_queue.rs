//! The messages of the outgoing queue, in memory: which wait, and which the core has.
//!
//! What a store on disk would do in another way is what these methods do: keep a message, give the next ones in order, and
//! forget those that have ended.

use std::collections::HashMap;
use std::mem;
use std::time::{Duration, Instant};

use ferromqtt_proto::packet::MESSAGE_OVERHEAD;
use ferromqtt_proto::{
    InOrder, InvalidPublish, OpId, OutgoingLimits, OutgoingPolicy, Publish, SessionChange,
    TopicName,
};

use crate::capacity::{CapacityLine, WaitingTerms};
use crate::expiries::Expiries;

/// The bounds of the [outgoing queue](crate::Engine::queue_publish).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutgoingQueueOptions {
    /// The most that it holds, those that the core has included. Default: 10,000 messages and 64 MiB.
    pub limits: OutgoingLimits,
    /// What happens to a message that would exceed them. Only those are dropped that never were on the wire. Default: it is
    /// [refused](OutgoingPolicy::Refuse).
    pub policy: OutgoingPolicy,
    /// The most that the core has of it at a time. One message is handed over in any case. Default: 1,000 messages and 4 MiB.
    pub ahead: OutgoingLimits,
    /// What becomes of the messages when the connection ends and none follows: `true` keeps them, for a store or for another
    /// [start](crate::Engine::start); otherwise each ends as [`Outcome::Disconnected`](ferromqtt_proto::Outcome::Disconnected).
    /// Default: `true`.
    pub outlives_connection: bool,
    /// How long a message may wait at most, whatever its own terms say. It is not sent as a Message Expiry Interval where the
    /// message has none. Default: `None`, as long as it takes.
    pub max_age: Option<Duration>,
    /// Whether a message that will not get through ends as [`Outcome::Quarantined`](ferromqtt_proto::Outcome::Quarantined), for a
    /// store that keeps it; otherwise as what the server says of it, and the message is gone. Default: `false`.
    pub quarantines: bool,
    /// Whether a store that has failed does not [begin again](crate::Engine::begin_record) with this engine: what is on record and
    /// cannot go on is [kept](crate::CallEnd::Kept) for the next one. Otherwise it ends as
    /// [`Outcome::NotStored`](ferromqtt_proto::Outcome::NotStored). Default: `false`.
    pub failure_is_final: bool,
    /// Whether QoS 2 is refused as [`InvalidPublish::SessionTooShort`] where the session ends with the process: by the options of the
    /// client, or since the latest CONNACK had a Session Expiry Interval of 0. Default: `false`.
    pub needs_session: bool,
}

impl Default for OutgoingQueueOptions {
    fn default() -> Self {
        let limits = |messages, bytes| OutgoingLimits {
            messages: Some(messages),
            bytes: Some(bytes),
        };
        Self {
            limits: limits(10_000, 64 << 20),
            policy: OutgoingPolicy::Refuse,
            ahead: limits(1_000, 4 << 20),
            outlives_connection: true,
            max_age: None,
            quarantines: false,
            failure_is_final: false,
            needs_session: false,
        }
    }
}

/// A message that was accepted earlier, by another engine, and has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its key.
    pub key: u64,
    /// The message.
    pub publish: Publish,
    /// When it must no longer be sent.
    pub expires_at: Option<Instant>,
    /// A newer message to the same topic takes its place: see [`MessageTerms::keep_latest`](crate::MessageTerms::keep_latest).
    pub keep_latest: bool,
}

impl StoredMessage {
    const fn terms(&self) -> WaitingTerms {
        WaitingTerms {
            expires_at: self.expires_at,
            keep_latest: self.keep_latest,
        }
    }
}

enum QueuedState {
    Waits {
        publish: Publish,
        terms: WaitingTerms,
    },
    /// The core has the message: since this engine has handed it over, as this operation, or from an earlier one.
    HandedOver(Option<OpId>),
}

struct OutgoingEntry<C> {
    state: QueuedState,
    /// What it counts, in bytes.
    size: usize,
    /// The number of the entry by which it was accepted, or of a later one.
    recorded_at: u64,
    /// Waits for the outcome.
    token: Option<C>,
    /// Its topic, if a newer message to that takes its place.
    latest_of: Option<TopicName>,
}

pub(crate) struct OutgoingMessages<C> {
    options: OutgoingQueueOptions,
    /// Those that wait for capacity.
    pub(crate) line: CapacityLine<C>,
    /// By their keys, which rise.
    messages: InOrder<OutgoingEntry<C>>,
    bytes: usize,
    /// How many of them the core has, and their bytes.
    handed_over: (usize, usize),
    /// No message before this key waits.
    waits_from: u64,
    /// Of messages that wait.
    expiries: Expiries,
    /// The newest message to each topic of which only that is kept.
    latest: HashMap<TopicName, u64>,
    /// The store takes nothing for now.
    is_held: bool,
}

impl<C> Default for OutgoingMessages<C> {
    fn default() -> Self {
        Self::new(OutgoingQueueOptions::default(), 0, [], [])
    }
}

impl<C> OutgoingMessages<C> {
    /// A queue with messages that were accepted earlier, all by entries up to the number `recorded_at`. The core has those whose
    /// keys are in `handed_over`.
    pub(crate) fn new(
        options: OutgoingQueueOptions,
        recorded_at: u64,
        stored: impl IntoIterator<Item = StoredMessage>,
        handed_over: impl IntoIterator<Item = u64>,
    ) -> Self {
        let mut queue = Self {
            options,
            line: CapacityLine::default(),
            messages: InOrder::default(),
            bytes: 0,
            handed_over: (0, 0),
            waits_from: 0,
            expiries: Expiries::default(),
            latest: HashMap::new(),
            is_held: false,
        };
        let mut messages: Vec<_> = (stored.into_iter()).map(|it| (it.key, Some(it))).collect();
        messages.extend(handed_over.into_iter().map(|key| (key, None)));
        messages.sort_by_key(|(key, _)| *key); // in order already, but for what the core has
        messages.dedup_by(|(key, _), (before, waits)| {
            let is_same = key == before;
            if is_same {
                *waits = None; // the core has it
            }
            is_same
        });
        for (key, waits) in messages {
            match waits {
                Some(stored) => {
                    queue.push(key, recorded_at, stored.terms(), stored.publish, None);
                }
                None => queue.push_handed_over(key, recorded_at),
            }
        }
        queue
    }

    pub(crate) const fn options(&self) -> &OutgoingQueueOptions {
        &self.options
    }

    /// Whether messages are accepted at all: see [`Engine::hold_queue`](crate::Engine::hold_queue).
    pub(crate) fn hold(&mut self, is_held: bool) {
        if self.is_held && !is_held {
            self.line.move_up();
        }
        self.is_held = is_held;
    }

    /// Whether messages are accepted at all now.
    pub(crate) const fn check_held(&self) -> Result<(), InvalidPublish> {
        match self.is_held {
            true => Err(InvalidPublish::StoreBusy),
            false => Ok(()),
        }
    }

    /// Whether there is capacity for a message that counts `size`, once the message `without` has left.
    pub(crate) fn check(&self, size: usize, without: Option<u64>) -> Result<(), InvalidPublish> {
        let (messages, bytes) = self.beside(without);
        self.options.limits.check(messages, bytes, size)
    }

    /// How many messages there are beside `without`, and their bytes.
    fn beside(&self, without: Option<u64>) -> (usize, usize) {
        match without.and_then(|key| self.messages.get(key)) {
            Some(leaves) => (self.messages.len() - 1, self.bytes - leaves.size),
            None => (self.messages.len(), self.bytes),
        }
    }

    /// The oldest messages beside `without` that may leave, as many as it takes to have capacity for one that counts `size`.
    /// `None` when all of them would not be enough.
    pub(crate) fn oldest(
        &self,
        size: usize,
        without: Option<u64>,
        can_withdraw: impl Fn(OpId) -> bool,
    ) -> Option<Vec<u64>> {
        let (mut messages, mut bytes) = self.beside(without);
        let mut leave = Vec::new();
        let mut oldest = (self.messages.iter())
            .filter(|&(key, _)| Some(key) != without && self.may_leave(key, &can_withdraw));
        while self.options.limits.check(messages, bytes, size).is_err() {
            let (key, message) = oldest.next()?;
            messages -= 1;
            bytes -= message.size;
            leave.push(key);
        }
        Some(leave)
    }

    /// Whether a message can still end without being sent.
    pub(crate) fn may_leave(&self, key: u64, can_withdraw: impl Fn(OpId) -> bool) -> bool {
        match self.messages.get(key).map(|message| &message.state) {
            Some(QueuedState::Waits { .. }) => true,
            Some(QueuedState::HandedOver(op)) => op.is_some_and(can_withdraw),
            None => false,
        }
    }

    /// The message whose place a newer one to the same topic takes, if it can still end without being sent.
    pub(crate) fn replaced_by(
        &self,
        topic: &TopicName,
        can_withdraw: impl Fn(OpId) -> bool,
    ) -> Option<u64> {
        let key = *self.latest.get(topic)?;
        self.may_leave(key, can_withdraw).then_some(key)
    }

    /// Which operation of the core's a message is.
    pub(crate) fn op(&self, key: u64) -> Option<OpId> {
        match self.messages.get(key)?.state {
            QueuedState::HandedOver(op) => op,
            QueuedState::Waits { .. } => None,
        }
    }

    /// The core has taken a message as this operation.
    pub(crate) fn note_op(&mut self, key: u64, op: OpId) {
        if let Some(message) = self.messages.get_mut(key) {
            message.state = QueuedState::HandedOver(Some(op));
        }
    }

    /// Messages that wait although there is a newer one to their topic: a process has ended before it could end them.
    pub(crate) fn outdated(&self) -> Vec<u64> {
        let outdated = self.messages.iter().filter(|(key, message)| {
            let topic = message.latest_of.as_ref();
            topic.is_some_and(|topic| self.latest.get(topic) != Some(key))
        });
        outdated.map(|(key, _)| key).collect()
    }

    /// Has a message wait behind all others. Its key is larger than theirs. `recorded_at` is the number of its acceptance.
    pub(crate) fn push(
        &mut self,
        key: u64,
        recorded_at: u64,
        terms: WaitingTerms,
        publish: Publish,
        token: Option<C>,
    ) {
        let size = publish.memory_size();
        self.bytes += size;
        if let Some(end) = terms.expires_at {
            self.expiries.insert(end, key);
        }
        let latest_of = terms.keep_latest.then(|| publish.topic.clone());
        if let Some(topic) = latest_of.clone() {
            self.latest.insert(topic, key);
        }
        let message = OutgoingEntry {
            state: QueuedState::Waits { publish, terms },
            size,
            recorded_at,
            token,
            latest_of,
        };
        self.messages.push(key, message);
    }

    fn push_handed_over(&mut self, key: u64, recorded_at: u64) {
        let size = MESSAGE_OVERHEAD; // the session knows the rest
        self.bytes += size;
        self.handed_over.0 += 1;
        self.handed_over.1 += size;
        let message = OutgoingEntry {
            state: QueuedState::HandedOver(None),
            size,
            recorded_at,
            token: None,
            latest_of: None,
        };
        self.messages.push(key, message);
    }

    /// The next message for the core, if that may have one more of them.
    pub(crate) fn hand_over(&mut self) -> Option<StoredMessage> {
        let mut behind = self.messages.iter_from(self.waits_from);
        let waits = |message: &OutgoingEntry<C>| matches!(message.state, QueuedState::Waits { .. });
        let (key, message) = behind.find(|(_, message)| waits(message))?;
        drop(behind);
        let size = message.size;
        self.waits_from = key;
        let (messages, bytes) = self.handed_over;
        let has_capacity = self.options.ahead.check(messages, bytes, size).is_ok();
        if messages > 0 && !has_capacity {
            return None;
        }
        let state = &mut self.messages.get_mut(key)?.state;
        let handed_over = QueuedState::HandedOver(None);
        let QueuedState::Waits { publish, terms } = mem::replace(state, handed_over) else {
            return None;
        };
        self.waits_from = key.saturating_add(1);
        self.handed_over = (messages + 1, bytes + size);
        self.forget_expiry(key, terms.expires_at);
        Some(StoredMessage {
            key,
            publish,
            expires_at: terms.expires_at,
            keep_latest: terms.keep_latest,
        })
    }

    /// A message has ended. Returns the token that waited for that, if any.
    pub(crate) fn end(&mut self, key: u64) -> Option<C> {
        let message = self.messages.remove(key)?;
        self.bytes -= message.size;
        self.line.move_up();
        if let Some(topic) = &message.latest_of
            && self.latest.get(topic) == Some(&key)
        {
            self.latest.remove(topic);
        }
        match message.state {
            QueuedState::HandedOver(_) => {
                self.handed_over.0 -= 1;
                self.handed_over.1 -= message.size;
            }
            QueuedState::Waits { terms, .. } => self.forget_expiry(key, terms.expires_at),
        }
        message.token
    }

    fn forget_expiry(&mut self, key: u64, expires_at: Option<Instant>) {
        if let Some(end) = expires_at {
            self.expiries.remove(end, key);
        }
    }

    /// When the next of the messages that wait expires.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|(end, _)| end)
    }

    /// The key of a message that waits and has expired.
    pub(crate) fn first_expired(&self, now: Instant) -> Option<u64> {
        let (end, key) = self.expiries.first()?;
        (end <= now).then_some(key)
    }

    pub(crate) const fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many messages the core does not have yet, and their bytes.
    pub(crate) const fn waiting_with_bytes(&self) -> (usize, usize) {
        (self.waiting(), self.bytes - self.handed_over.1)
    }

    /// How many messages the core does not have yet.
    pub(crate) const fn waiting(&self) -> usize {
        self.messages.len() - self.handed_over.0
    }

    /// The key given last to one of them, or more.
    pub(crate) fn end_of_keys(&self) -> u64 {
        self.messages.end()
    }

    /// The messages that the core does not have, in order.
    pub(crate) fn into_waiting(mut self) -> Vec<StoredMessage> {
        let waiting = self
            .messages
            .drain()
            .filter_map(|(key, it)| match it.state {
                QueuedState::HandedOver(_) => None,
                QueuedState::Waits { publish, terms } => Some(StoredMessage {
                    key,
                    publish,
                    expires_at: terms.expires_at,
                    keep_latest: terms.keep_latest,
                }),
            });
        waiting.collect()
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = &C> {
        (self.messages.iter())
            .filter_map(|(_, message)| message.token.as_ref())
            .chain(self.line.tokens())
    }

    /// The keys of all of them, in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = u64> {
        self.messages.iter().map(|(key, _)| key)
    }

    /// The number of the entry by which a message was accepted.
    pub(crate) fn recorded_at(&self, key: u64) -> Option<u64> {
        Some(self.messages.get(key)?.recorded_at)
    }

    /// All messages are in the entry with this number.
    pub(crate) fn note_recorded(&mut self, sequence: u64) {
        for (_, message) in self.messages.iter_mut() {
            message.recorded_at = sequence;
        }
    }

    /// Whether a newer message to the same topic takes the place of this one.
    pub(crate) fn keeps_latest(&self, key: u64) -> bool {
        self.messages
            .get(key)
            .is_some_and(|it| it.latest_of.is_some())
    }

    /// The acceptance of each message that the core does not have, as a change for a store.
    pub(crate) fn accepted(&self, now: Instant) -> impl Iterator<Item = SessionChange> {
        (self.messages.iter()).filter_map(move |(key, message)| match &message.state {
            QueuedState::HandedOver(_) => None,
            QueuedState::Waits { publish, terms } => Some(SessionChange::Accepted {
                key,
                publish: publish.clone(),
                expires_in: (terms.expires_at).map(|end| end.saturating_duration_since(now)),
                keep_latest: terms.keep_latest,
            }),
        })
    }

    /// The token that waits for a message, if any.
    pub(crate) fn token(&self, key: u64) -> Option<&C> {
        self.messages.get(key)?.token.as_ref()
    }

    /// Takes the token of a message, which stays.
    pub(crate) fn take_token(&mut self, key: u64) -> Option<C> {
        self.messages.get_mut(key)?.token.take()
    }

    /// The messages that somebody waits for, with the numbers of the entries by which they were accepted.
    pub(crate) fn accepted_at(&self) -> impl Iterator<Item = (u64, u64)> {
        let messages = self.messages.iter();
        let awaited = messages.filter(|(_, message)| message.token.is_some());
        awaited.map(|(key, message)| (key, message.recorded_at))
    }

    /// Takes the tokens of the messages that `is_taken` names, which stay.
    pub(crate) fn take_tokens_of(
        &mut self,
        is_taken: impl Fn(u64) -> bool,
    ) -> impl Iterator<Item = (u64, C)> {
        (self.messages.iter_mut())
            .filter(move |(key, _)| is_taken(*key))
            .filter_map(|(key, message)| Some((key, message.token.take()?)))
    }

    /// Takes the tokens that `is_taken` names, with the keys of their messages, which stay.
    pub(crate) fn take_tokens(
        &mut self,
        mut is_taken: impl FnMut(&C) -> bool,
    ) -> impl Iterator<Item = (u64, C)> {
        (self.messages.iter_mut()).filter_map(move |(key, message)| {
            Some((key, message.token.take_if(|it| is_taken(it))?))
        })
    }
}
