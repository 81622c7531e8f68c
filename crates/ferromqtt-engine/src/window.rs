//! Which messages of the outgoing queue have their contents in memory: the first ones, and those that are not on record yet. The
//! others are in a store, which is asked for them when the first ones run low.

use std::time::Instant;

use ferromqtt_proto::{Direction, Publish, TopicName};

use crate::capacity::WaitingTerms;
use crate::distant::{SetAside, SetAsideExtra};
use crate::outgoing_queue::{OutgoingEntry, OutgoingMessages, QueuedState};
use crate::{CallEnd, Engine, OutgoingQueueOptions, Tokens, Woken};

/// A message that waits, and whose contents are in a store alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistantMessage {
    /// Its key.
    pub key: u64,
    /// About what it [counts](ferromqtt_proto::Publish::memory_size), in bytes, until it is fetched. 4 GiB at most.
    pub size: usize,
    /// When it must no longer be sent.
    pub expires_at: Option<Instant>,
    /// Its topic, if a newer message to that takes its place: see [`MessageTerms::keep_latest`](crate::MessageTerms::keep_latest).
    pub latest_of: Option<TopicName>,
}

impl<C> OutgoingMessages<C> {
    /// Whether one more message that counts `size` may wait at the front.
    pub(crate) fn has_room(&self, size: usize) -> bool {
        let (messages, bytes) = self.front_waits;
        messages == 0 || self.options.window.check(messages, bytes, size).is_ok()
    }

    fn first_fresh(&self) -> Option<&OutgoingEntry<C>> {
        self.fresh.iter().next().map(|(_, message)| message)
    }

    /// Has those behind be at the front as far as there is room, if nothing is between.
    pub(crate) fn move_up(&mut self) {
        while self.distant.is_empty()
            && self.first_fresh().is_some_and(|it| self.has_room(it.size))
            && let Some((key, message)) = self.fresh.pop_first()
        {
            self.push_front(key, message);
        }
    }

    /// All entries up to the number `on_record` are on record: gives back the memory of what is beyond the window.
    pub(crate) fn set_aside(&mut self, on_record: u64) {
        self.move_up();
        let is_on_record = |it: &OutgoingEntry<C>| it.recorded_at <= on_record;
        while self.first_fresh().is_some_and(is_on_record)
            && let Some((key, message)) = self.fresh.pop_first()
        {
            let expires_at = match message.state {
                QueuedState::Waits { terms, .. } => terms.expires_at,
                QueuedState::HandedOver(_) => None,
            };
            self.forget_expiry(key, expires_at);
            let aside = SetAside {
                size: message.size,
                expires_at,
                extra: SetAsideExtra {
                    token: message.token,
                    latest_of: message.latest_of,
                },
            };
            self.distant.push(key, aside);
        }
    }

    /// Has a message be the last of the distant ones. Its key is larger than theirs, and nothing is behind them.
    fn push_distant(&mut self, message: DistantMessage) {
        self.bytes += message.size;
        if let Some(topic) = message.latest_of.clone() {
            self.latest.insert(topic, message.key);
        }
        let aside = SetAside {
            size: message.size,
            expires_at: message.expires_at,
            extra: SetAsideExtra {
                token: None,
                latest_of: message.latest_of,
            },
        };
        self.distant.push(message.key, aside);
    }

    /// The first of the distant messages, as many as there is room for at the front once half of that is free.
    fn next_fetch(&self) -> Vec<u64> {
        let window = &self.options.window;
        let (mut messages, mut bytes) = self.front_waits;
        let is_low = |limit: Option<usize>, has| limit.is_none_or(|limit| has <= limit / 2);
        if !is_low(window.messages, messages) || !is_low(window.bytes, bytes) {
            return Vec::new();
        }
        let fits = |&(_, size): &(u64, usize)| {
            let fits = messages == 0 || window.check(messages, bytes, size).is_ok();
            messages += 1;
            bytes += size;
            fits
        };
        (self.distant.iter().take_while(fits))
            .map(|(key, _)| key)
            .collect()
    }

    /// A distant message is at the front from now on, with its contents. The distant ones before it are, too, or have
    /// left. Nothing happens when it is not distant any more.
    fn put_fetched(&mut self, key: u64, publish: Publish) {
        let Some(SetAside {
            size: counted,
            expires_at,
            extra,
        }) = self.distant.remove(key)
        else {
            return;
        };
        let size = publish.memory_size();
        self.bytes = self.bytes - counted + size;
        if let Some(end) = expires_at {
            self.expiries.insert(end, key);
        }
        let terms = WaitingTerms {
            expires_at,
            keep_latest: extra.latest_of.is_some(),
        };
        let message = OutgoingEntry {
            state: QueuedState::Waits { publish, terms },
            size,
            recorded_at: 0,
            token: extra.token,
            latest_of: extra.latest_of,
        };
        self.push_front(key, message);
    }
}

impl<T: Tokens> Engine<T> {
    /// As [`open_outgoing_queue`](Self::open_outgoing_queue), where the contents of the messages stay in the store until they are
    /// [fetched](Self::next_fetch). They are given in the order of their keys. None of them is in the core's session.
    pub fn open_distant_queue(
        &mut self,
        options: OutgoingQueueOptions,
        stored: impl IntoIterator<Item = DistantMessage>,
    ) {
        self.open_outgoing_queue(options, []);
        let Some(queue) = &mut self.outgoing else {
            return;
        };
        for message in stored {
            if message.key >= queue.distant.end() && !queue.is_restored(message.key) {
                queue.push_distant(message);
            }
        }
        self.core.reserve_keys(queue.end_of_keys());
        self.end_outdated();
    }

    /// The messages of the outgoing queue whose contents are to be read from the store next, by their keys, in this order. Empty while
    /// enough of them are in memory: see [`OutgoingQueueOptions::window`]. It says the same until [`put_fetched`](Self::put_fetched)
    /// has them.
    pub fn next_fetch(&self) -> Vec<u64> {
        match &self.outgoing {
            Some(queue) if !queue.distant.is_empty() => queue.next_fetch(),
            _ => Vec::new(),
        }
    }

    /// Messages of the outgoing queue have been read from the store, in the order in which [`next_fetch`](Self::next_fetch) has them
    /// and with none left out. `None` is one that the store has lost: its token comes back with [`CallEnd::NotStored`], and it is
    /// for the store to report it. Those that have ended meanwhile are passed over.
    pub fn put_fetched(&mut self, fetched: impl IntoIterator<Item = (u64, Option<Publish>)>) {
        let Some(queue) = &mut self.outgoing else {
            return;
        };
        for (key, publish) in fetched {
            match publish {
                Some(publish) => queue.put_fetched(key, publish),
                None if queue.distant.contains(key) => {
                    let token = queue.end(key);
                    let woken = token.map(|it| Woken::Call(it, CallEnd::NotStored { key }));
                    self.woken.extend(woken);
                }
                None => {}
            }
        }
        queue.move_up();
    }

    /// The messages of the outgoing queue whose contents are in the store alone, by their keys, in order.
    pub fn distant_messages(&self) -> impl Iterator<Item = u64> {
        let queue = self.outgoing.iter();
        queue.flat_map(|queue| queue.distant.iter().map(|(key, _)| key))
    }

    /// What is on record and beyond the window is given back from memory.
    pub(crate) fn set_aside(&mut self) {
        if let Some(queue) = &mut self.outgoing {
            let on_record = self.stored.on_record();
            queue.set_aside(on_record);
        }
    }

    /// The store has failed for good, so nobody reads messages of it any more with this engine: the next one has them.
    pub(crate) fn give_up_distant(&mut self) {
        let Some(queue) = &mut self.outgoing else {
            return;
        };
        if !queue.options.failure_is_final || !self.core.store_has_failed(Direction::Sent) {
            return;
        }
        let keys: Vec<_> = queue.distant.iter().map(|(key, _)| key).collect();
        for key in keys {
            let token = queue.end(key);
            let woken = token.map(|it| Woken::Call(it, CallEnd::Kept { key }));
            self.woken.extend(woken);
        }
        queue.move_up();
    }
}
