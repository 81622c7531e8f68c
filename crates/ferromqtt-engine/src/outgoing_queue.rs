//! The messages of the outgoing queue: which wait, and which the core has.
//!
//! In the order of their keys they are in three parts: those at the front, with their contents; the [distant ones](DistantMessages), whose
//! contents are in the store alone; and behind it those whose acceptance is not on record yet, with their contents again. Without
//! a [window](OutgoingQueueOptions::window) all are at the front. What moves them is in `window.rs`.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::time::{Duration, Instant};

use ferromqtt_proto::packet::MESSAGE_OVERHEAD;
use ferromqtt_proto::{
    InOrder, InvalidPublish, OpId, OutgoingLimits, OutgoingPolicy, Publish, SessionChange,
    TopicName,
};

use crate::capacity::{CapacityLine, WaitingTerms};
use crate::distant::DistantMessages;
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
    /// The most that waits in memory with its contents, beside what the core has and what is not on record yet. Of the messages
    /// beyond, the contents are in the store alone, and [fetched](crate::Engine::next_fetch) from there when it is their turn. One
    /// is held in any case. Default: no limit, for a queue without a store that gives them back.
    pub window: OutgoingLimits,
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
            window: OutgoingLimits::NONE,
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

pub(crate) enum QueuedState {
    Waits {
        publish: Publish,
        terms: WaitingTerms,
    },
    /// The core has the message, as this operation.
    HandedOver(Option<OpId>),
}

pub(crate) struct OutgoingEntry<C> {
    pub(crate) state: QueuedState,
    /// What it counts, in bytes.
    pub(crate) size: usize,
    /// The number of the entry by which it was accepted, or of a later one.
    pub(crate) recorded_at: u64,
    /// Waits for the outcome.
    pub(crate) token: Option<C>,
    /// Its topic, if a newer message to that takes its place.
    pub(crate) latest_of: Option<TopicName>,
}

pub(crate) struct OutgoingMessages<C> {
    pub(crate) options: OutgoingQueueOptions,
    /// Those that wait for capacity.
    pub(crate) line: CapacityLine<C>,
    /// Those at the front, by their keys, which rise: those that the core has, and those that it has next.
    pub(crate) front: InOrder<OutgoingEntry<C>>,
    /// How many of them wait, and their bytes.
    pub(crate) front_waits: (usize, usize),
    /// Behind them, those whose contents are in the store alone.
    pub(crate) distant: DistantMessages<C>,
    /// Behind those, what waits until it is on record.
    pub(crate) fresh: InOrder<OutgoingEntry<C>>,
    /// Those that the core has from an earlier engine, wherever their keys are, with the numbers of entries that have them.
    restored: BTreeMap<u64, u64>,
    pub(crate) bytes: usize,
    /// How many of them the core has, and their bytes.
    handed_over: (usize, usize),
    /// No message before this key waits at the front.
    waits_from: u64,
    /// Of messages that wait in memory.
    pub(crate) expiries: Expiries,
    /// The newest message to each topic of which only that is kept.
    pub(crate) latest: HashMap<TopicName, u64>,
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
        let restored: BTreeMap<_, _> = (handed_over.into_iter())
            .map(|key| (key, recorded_at))
            .collect();
        let size = restored.len() * MESSAGE_OVERHEAD; // the session knows the rest
        let mut queue = Self {
            options,
            line: CapacityLine::default(),
            front: InOrder::default(),
            front_waits: (0, 0),
            distant: DistantMessages::default(),
            fresh: InOrder::default(),
            bytes: size,
            handed_over: (restored.len(), size),
            restored,
            waits_from: 0,
            expiries: Expiries::default(),
            latest: HashMap::new(),
            is_held: false,
        };
        let mut stored: Vec<_> = stored.into_iter().collect();
        stored.retain(|it| !queue.restored.contains_key(&it.key)); // the core has it
        stored.sort_by_key(|it| it.key); // in order already
        stored.dedup_by_key(|it| it.key);
        for it in stored {
            queue.push(it.key, recorded_at, it.terms(), it.publish, None);
        }
        queue
    }

    /// Whether the core has a message from an earlier engine.
    pub(crate) fn is_restored(&self, key: u64) -> bool {
        self.restored.contains_key(&key)
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
        match without.and_then(|key| self.size(key)) {
            Some(size) => (self.len() - 1, self.bytes - size),
            None => (self.len(), self.bytes),
        }
    }

    /// A message whose contents are in memory, or which this engine has handed over.
    pub(crate) fn get(&self, key: u64) -> Option<&OutgoingEntry<C>> {
        match self.front.get(key) {
            None if !self.fresh.is_empty() => self.fresh.get(key),
            found => found,
        }
    }

    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut OutgoingEntry<C>> {
        match self.front.get_mut(key) {
            None if !self.fresh.is_empty() => self.fresh.get_mut(key),
            found => found,
        }
    }

    /// What a message counts that may leave.
    fn size(&self, key: u64) -> Option<usize> {
        match self.get(key) {
            Some(message) => Some(message.size),
            None => self.distant.size(key),
        }
    }

    /// Those with contents in memory, or which this engine has handed over, in order.
    pub(crate) fn in_memory(&self) -> impl Iterator<Item = (u64, &OutgoingEntry<C>)> {
        self.front.iter().chain(self.fresh.iter())
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
        let sizes = |(key, message): (u64, &OutgoingEntry<C>)| (key, message.size);
        let all = (self.front.iter().map(sizes))
            .chain(self.distant.iter())
            .chain(self.fresh.iter().map(sizes));
        let mut oldest =
            all.filter(|&(key, _)| Some(key) != without && self.may_leave(key, &can_withdraw));
        while self.options.limits.check(messages, bytes, size).is_err() {
            let (key, size) = oldest.next()?;
            messages -= 1;
            bytes -= size;
            leave.push(key);
        }
        Some(leave)
    }

    /// Whether a message can still end without being sent.
    pub(crate) fn may_leave(&self, key: u64, can_withdraw: impl Fn(OpId) -> bool) -> bool {
        match self.get(key).map(|message| &message.state) {
            Some(QueuedState::Waits { .. }) => true,
            Some(QueuedState::HandedOver(op)) => op.is_some_and(can_withdraw),
            None => self.distant.contains(key),
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
        match self.front.get(key)?.state {
            QueuedState::HandedOver(op) => op,
            QueuedState::Waits { .. } => None,
        }
    }

    /// The core has taken a message as this operation.
    pub(crate) fn note_op(&mut self, key: u64, op: OpId) {
        if let Some(message) = self.front.get_mut(key) {
            message.state = QueuedState::HandedOver(Some(op));
        }
    }

    /// Messages that wait although there is a newer one to their topic: a process has ended before it could end them.
    pub(crate) fn outdated(&self) -> Vec<u64> {
        let in_memory = self.in_memory();
        let in_memory = in_memory.filter_map(|(key, it)| Some((key, it.latest_of.as_ref()?)));
        (in_memory.chain(self.distant.latest()))
            .filter(|(key, topic)| self.latest.get(*topic) != Some(key))
            .map(|(key, _)| key)
            .collect()
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
        if self.distant.is_empty() && self.fresh.is_empty() && self.has_room(size) {
            self.push_front(key, message);
        } else {
            self.fresh.push(key, message);
        }
    }

    /// Has a message that waits be the last one at the front.
    pub(crate) fn push_front(&mut self, key: u64, message: OutgoingEntry<C>) {
        self.front_waits.0 += 1;
        self.front_waits.1 += message.size;
        self.front.push(key, message);
    }

    /// The next message for the core, if that may have one more of them.
    pub(crate) fn hand_over(&mut self) -> Option<StoredMessage> {
        if !self.fresh.is_empty() {
            self.move_up();
        }
        let mut behind = self.front.iter_from(self.waits_from);
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
        let state = &mut self.front.get_mut(key)?.state;
        let handed_over = QueuedState::HandedOver(None);
        let QueuedState::Waits { publish, terms } = mem::replace(state, handed_over) else {
            return None;
        };
        self.waits_from = key.saturating_add(1);
        self.handed_over = (messages + 1, bytes + size);
        self.front_waits.0 -= 1;
        self.front_waits.1 -= size;
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
        let (size, latest_of, token) = match self.front.remove(key) {
            Some(message) => {
                match message.state {
                    QueuedState::HandedOver(_) => {
                        self.handed_over.0 -= 1;
                        self.handed_over.1 -= message.size;
                    }
                    QueuedState::Waits { terms, .. } => {
                        self.front_waits.0 -= 1;
                        self.front_waits.1 -= message.size;
                        self.forget_expiry(key, terms.expires_at);
                    }
                }
                (message.size, message.latest_of, message.token)
            }
            None => self.end_behind(key)?,
        };
        self.bytes -= size;
        self.line.move_up();
        if let Some(topic) = &latest_of
            && self.latest.get(topic) == Some(&key)
        {
            self.latest.remove(topic);
        }
        token
    }

    /// As [`end`](Self::end), of a message that is not at the front.
    fn end_behind(&mut self, key: u64) -> Option<(usize, Option<TopicName>, Option<C>)> {
        if let Some(message) = self.distant.remove(key) {
            let extra = message.extra;
            return Some((message.size, extra.latest_of, extra.token));
        }
        if let Some(message) = self.fresh.remove(key) {
            if let QueuedState::Waits { terms, .. } = message.state {
                self.forget_expiry(key, terms.expires_at);
            }
            return Some((message.size, message.latest_of, message.token));
        }
        self.restored.remove(&key)?;
        self.handed_over.0 -= 1;
        self.handed_over.1 -= MESSAGE_OVERHEAD;
        Some((MESSAGE_OVERHEAD, None, None))
    }

    pub(crate) fn forget_expiry(&mut self, key: u64, expires_at: Option<Instant>) {
        if let Some(end) = expires_at {
            self.expiries.remove(end, key);
        }
    }

    /// When the next of the messages that wait expires, at the earliest.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let in_memory = self.expiries.first().map(|(end, _)| end);
        match self.distant.next_expiry() {
            None => in_memory,
            behind => [behind, in_memory].into_iter().flatten().min(),
        }
    }

    /// The key of a message that waits in memory and has expired.
    pub(crate) fn first_expired(&self, now: Instant) -> Option<u64> {
        let (end, key) = self.expiries.first()?;
        (end <= now).then_some(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.front.len() + self.distant.len() + self.fresh.len() + self.restored.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many messages the core does not have yet, and their bytes.
    pub(crate) fn waiting_with_bytes(&self) -> (usize, usize) {
        (self.waiting(), self.bytes - self.handed_over.1)
    }

    /// How many messages the core does not have yet.
    pub(crate) fn waiting(&self) -> usize {
        self.len() - self.handed_over.0
    }

    /// The key given last to one of them, or more.
    pub(crate) fn end_of_keys(&self) -> u64 {
        let restored = self.restored.last_key_value();
        let restored = restored.map_or(0, |(&last, _)| last.saturating_add(1));
        (self.front.end().max(self.distant.end()))
            .max(self.fresh.end())
            .max(restored)
    }

    /// The messages in memory that the core does not have, in order.
    pub(crate) fn into_waiting(mut self) -> Vec<StoredMessage> {
        let in_memory = self.front.drain().chain(self.fresh.drain());
        let waiting = in_memory.filter_map(|(key, it)| match it.state {
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

    /// The keys of all of them, in order, those that the core has from an earlier engine first.
    pub(crate) fn keys(&self) -> impl Iterator<Item = u64> {
        (self.restored.keys().copied())
            .chain(self.front.iter().map(|(key, _)| key))
            .chain(self.distant.iter().map(|(key, _)| key))
            .chain(self.fresh.iter().map(|(key, _)| key))
    }

    /// The number of the entry by which a message was accepted.
    pub(crate) fn recorded_at(&self, key: u64) -> Option<u64> {
        match self.get(key) {
            Some(message) => Some(message.recorded_at),
            None if self.distant.contains(key) => Some(0), // it was on record when it was set aside
            None => self.restored.get(&key).copied(),
        }
    }

    /// All messages but the distant ones are in the entry with this number.
    pub(crate) fn note_recorded(&mut self, sequence: u64) {
        for (_, message) in self.front.iter_mut().chain(self.fresh.iter_mut()) {
            message.recorded_at = sequence;
        }
        for recorded_at in self.restored.values_mut() {
            *recorded_at = sequence;
        }
    }

    /// Whether a newer message to the same topic takes the place of this one.
    pub(crate) fn keeps_latest(&self, key: u64) -> bool {
        self.get(key).is_some_and(|it| it.latest_of.is_some())
    }

    /// The acceptance of each message in memory that the core does not have, as a change for a store.
    pub(crate) fn accepted(&self, now: Instant) -> impl Iterator<Item = SessionChange> {
        (self.in_memory()).filter_map(move |(key, message)| match &message.state {
            QueuedState::HandedOver(_) => None,
            QueuedState::Waits { publish, terms } => Some(SessionChange::Accepted {
                key,
                publish: publish.clone(),
                expires_in: (terms.expires_at).map(|end| end.saturating_duration_since(now)),
                keep_latest: terms.keep_latest,
            }),
        })
    }
}
