//! The messages of the outgoing queue, in memory: which wait, and which the core has.
//!
//! What a store on disk would do in another way is what these methods do: keep a message, give the next ones in order, and
//! forget those that have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::Instant;

use ferromqtt_proto::packet::MESSAGE_OVERHEAD;
use ferromqtt_proto::{InOrder, InvalidPublish, OutgoingLimits, Publish};

/// The bounds of the [outgoing queue](crate::Engine::queue_publish).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutgoingQueueOptions {
    /// The most that it holds, those that the core has included. More is refused. Default: 10,000 messages and 64 MiB.
    pub limits: OutgoingLimits,
    /// The most that the core has of it at a time. One message is handed over in any case. Default: 1,000 messages and 4 MiB.
    pub ahead: OutgoingLimits,
}

impl Default for OutgoingQueueOptions {
    fn default() -> Self {
        let limits = |messages, bytes| OutgoingLimits {
            messages: Some(messages),
            bytes: Some(bytes),
        };
        Self {
            limits: limits(10_000, 64 << 20),
            ahead: limits(1_000, 4 << 20),
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
}

enum QueuedState {
    Waits {
        publish: Publish,
        expires_at: Option<Instant>,
    },
    /// The core has the message.
    HandedOver,
}

struct OutgoingEntry<C> {
    state: QueuedState,
    /// What it counts, in bytes.
    size: usize,
    /// Waits for the outcome.
    token: Option<C>,
}

pub(crate) struct OutgoingQueue<C> {
    options: OutgoingQueueOptions,
    /// By their keys, which rise.
    messages: InOrder<OutgoingEntry<C>>,
    bytes: usize,
    /// How many of them the core has, and their bytes.
    handed_over: (usize, usize),
    /// No message before this key waits.
    waits_from: u64,
    /// Of messages that wait.
    expiries: BTreeSet<(Instant, u64)>,
}

impl<C> Default for OutgoingQueue<C> {
    fn default() -> Self {
        Self::new(OutgoingQueueOptions::default(), [], [])
    }
}

impl<C> OutgoingQueue<C> {
    /// A queue with messages that were accepted earlier. The core has those whose keys are in `handed_over`.
    pub(crate) fn new(
        options: OutgoingQueueOptions,
        stored: impl IntoIterator<Item = StoredMessage>,
        handed_over: impl IntoIterator<Item = u64>,
    ) -> Self {
        let mut queue = Self {
            options,
            messages: InOrder::default(),
            bytes: 0,
            handed_over: (0, 0),
            waits_from: 0,
            expiries: BTreeSet::new(),
        };
        let mut messages: BTreeMap<_, _> = (stored.into_iter())
            .map(|it| (it.key, Some((it.publish, it.expires_at))))
            .collect();
        messages.extend(handed_over.into_iter().map(|key| (key, None)));
        for (key, waits) in messages {
            match waits {
                Some((publish, expires_at)) => queue.push(key, publish, expires_at, None),
                None => queue.push_handed_over(key),
            }
        }
        queue
    }

    /// Whether there is capacity for a message more.
    pub(crate) fn check(&self, publish: &Publish) -> Result<(), InvalidPublish> {
        let size = publish.memory_size();
        (self.options.limits).check(self.messages.len(), self.bytes, size)
    }

    /// Has a message wait behind all others. Its key is larger than theirs.
    pub(crate) fn push(
        &mut self,
        key: u64,
        publish: Publish,
        expires_at: Option<Instant>,
        token: Option<C>,
    ) {
        let size = publish.memory_size();
        self.bytes += size;
        self.expiries.extend(expires_at.map(|end| (end, key)));
        let message = OutgoingEntry {
            state: QueuedState::Waits {
                publish,
                expires_at,
            },
            size,
            token,
        };
        self.messages.push(key, message);
    }

    fn push_handed_over(&mut self, key: u64) {
        let size = MESSAGE_OVERHEAD; // the session knows the rest
        self.bytes += size;
        self.handed_over.0 += 1;
        self.handed_over.1 += size;
        let message = OutgoingEntry {
            state: QueuedState::HandedOver,
            size,
            token: None,
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
        let QueuedState::Waits {
            publish,
            expires_at,
        } = mem::replace(state, QueuedState::HandedOver)
        else {
            return None;
        };
        self.waits_from = key.saturating_add(1);
        self.handed_over = (messages + 1, bytes + size);
        self.forget_expiry(key, expires_at);
        Some(StoredMessage {
            key,
            publish,
            expires_at,
        })
    }

    /// A message has ended. Returns the token that waited for that, if any.
    pub(crate) fn end(&mut self, key: u64) -> Option<C> {
        let message = self.messages.remove(key)?;
        self.bytes -= message.size;
        match message.state {
            QueuedState::HandedOver => {
                self.handed_over.0 -= 1;
                self.handed_over.1 -= message.size;
            }
            QueuedState::Waits { expires_at, .. } => self.forget_expiry(key, expires_at),
        }
        message.token
    }

    fn forget_expiry(&mut self, key: u64, expires_at: Option<Instant>) {
        if let Some(end) = expires_at {
            self.expiries.remove(&(end, key));
        }
    }

    /// When the next of the messages that wait expires.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|&(end, _)| end)
    }

    /// The key of a message that waits and has expired.
    pub(crate) fn first_expired(&self, now: Instant) -> Option<u64> {
        let &(end, key) = self.expiries.first()?;
        (end <= now).then_some(key)
    }

    pub(crate) const fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
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
                QueuedState::HandedOver => None,
                QueuedState::Waits {
                    publish,
                    expires_at,
                } => Some(StoredMessage {
                    key,
                    publish,
                    expires_at,
                }),
            });
        waiting.collect()
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = &C> {
        (self.messages.iter()).filter_map(|(_, message)| message.token.as_ref())
    }

    /// The token that waits for a message, if any.
    pub(crate) fn token(&self, key: u64) -> Option<&C> {
        self.messages.get(key)?.token.as_ref()
    }

    /// Takes the token of a message, which stays.
    pub(crate) fn take_token(&mut self, key: u64) -> Option<C> {
        self.messages.get_mut(key)?.token.take()
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
