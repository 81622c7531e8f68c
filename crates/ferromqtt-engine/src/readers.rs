//! Who waits for messages of which queue, and which messages are reserved for readers that were woken.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasherDefault;

use ferromqtt_proto::{IdHasher, InOrder, Message, QueueId};

use crate::{Engine, Tokens, Woken};

/// The name of a reader that waits, or that was woken and has a message reserved. Never reused within an [`Engine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReaderId {
    queue: QueueId,
    place: u64,
}

/// The readers of one queue.
#[derive(Debug)]
struct QueueReaders<R> {
    /// Those that wait, the longest first.
    waiting: InOrder<R>,
    /// The places of those that were woken and have not taken their messages yet.
    reserved: BTreeSet<u64>,
}

/// The readers of all queues.
#[derive(Debug)]
pub(crate) struct Readers<R> {
    queues: HashMap<QueueId, QueueReaders<R>, BuildHasherDefault<IdHasher>>,
    last: u64,
    /// How many messages are reserved in all.
    reserved: usize,
}

impl<R> Default for Readers<R> {
    fn default() -> Self {
        Self {
            queues: HashMap::default(),
            last: 0,
            reserved: 0,
        }
    }
}

impl<R> Readers<R> {
    fn wait(&mut self, queue: QueueId, token: impl FnOnce(ReaderId) -> R) -> ReaderId {
        self.last += 1;
        let reader = ReaderId {
            queue,
            place: self.last,
        };
        let readers = self.queues.entry(queue).or_insert_with(|| QueueReaders {
            waiting: InOrder::default(),
            reserved: BTreeSet::new(),
        });
        readers.waiting.push(self.last, token(reader));
        reader
    }

    fn get_mut(&mut self, reader: ReaderId) -> Option<&mut R> {
        let readers = self.queues.get_mut(&reader.queue)?;
        readers.waiting.get_mut(reader.place)
    }

    fn stop(&mut self, reader: ReaderId) -> Option<R> {
        let token = self
            .queues
            .get_mut(&reader.queue)?
            .waiting
            .remove(reader.place);
        self.forget_empty(reader.queue);
        token
    }

    /// How many messages of a queue are reserved.
    fn reserved_in(&self, queue: QueueId) -> usize {
        if self.reserved == 0 {
            return 0;
        }
        let readers = self.queues.get(&queue);
        readers.map_or(0, |readers| readers.reserved.len())
    }

    /// Takes the first that waits, and reserves a message for it.
    fn reserve(&mut self, queue: QueueId) -> Option<R> {
        let readers = self.queues.get_mut(&queue)?;
        let (place, token) = readers.waiting.pop_first()?;
        readers.reserved.insert(place);
        self.reserved += 1;
        Some(token)
    }

    /// Ends a reservation, if the reader has one.
    fn release(&mut self, reader: ReaderId) -> bool {
        let readers = self.queues.get_mut(&reader.queue);
        let released = readers.is_some_and(|readers| readers.reserved.remove(&reader.place));
        if released {
            self.reserved -= 1;
            self.forget_empty(reader.queue);
        }
        released
    }

    /// Takes all that wait.
    fn take_waiting(&mut self, queue: QueueId) -> impl Iterator<Item = R> + use<R> {
        let mut waiting = InOrder::default();
        if let Some(readers) = self.queues.remove(&queue) {
            waiting = readers.waiting;
            if !readers.reserved.is_empty() {
                let readers = QueueReaders {
                    waiting: InOrder::default(),
                    reserved: readers.reserved,
                };
                self.queues.insert(queue, readers);
            }
        }
        waiting.drain().map(|(_, token)| token)
    }

    fn forget_empty(&mut self, queue: QueueId) {
        let readers = self.queues.get(&queue);
        if readers.is_some_and(|it| it.waiting.is_empty() && it.reserved.is_empty()) {
            self.queues.remove(&queue);
        }
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = &R> {
        let waiting = self.queues.values().map(|readers| &readers.waiting);
        waiting.flat_map(|waiting| waiting.iter().map(|(_, token)| token))
    }

    fn queues(&self) -> Vec<QueueId> {
        self.queues.keys().copied().collect()
    }

    /// The queues with readers that wait while others have messages reserved.
    fn contended(&self) -> Vec<QueueId> {
        let contended = |it: &QueueReaders<R>| !it.waiting.is_empty() && !it.reserved.is_empty();
        (self.queues.iter())
            .filter(|(_, readers)| contended(readers))
            .map(|(queue, _)| *queue)
            .collect()
    }
}

impl<T: Tokens> Engine<T> {
    /// Takes a message that is there, and that is reserved for nobody.
    #[inline]
    pub fn take(&mut self, queue: QueueId) -> Option<Message> {
        if T::RESERVES && !self.has_message(queue) {
            return None;
        }
        self.core.next_message(queue)
    }

    /// Takes the message that is reserved for a reader. A reader that has none reserved gets what [`take`](Self::take) gives.
    pub fn take_reserved(&mut self, reader: ReaderId) -> Option<Message> {
        match self.readers.release(reader) {
            true => self.core.next_message(reader.queue),
            false => self.take(reader.queue),
        }
    }

    /// Whether a message is there that is reserved for nobody.
    pub fn has_message(&self, queue: QueueId) -> bool {
        self.core.queue_len(queue) > self.readers.reserved_in(queue)
    }

    /// Whether no message will come to a queue any more, beside those that are in it: the connection has ended for good, the
    /// queue has failed, or nothing is subscribed for it. Never for the default queue while the connection lasts.
    pub fn is_over(&self, queue: QueueId) -> bool {
        self.has_ended()
            || self.core.has_failed(queue)
            || (queue != QueueId::DEFAULT && self.core.filters(queue).next().is_none())
    }

    /// Waits for a message of a queue, or for its end, behind the other readers that do. Look at the queue first: what is
    /// there already wakes nobody. `token` makes the token, which may hold the reader's name: one that finds itself cancelled
    /// when it is woken [passes its message on](Self::stop_waiting) by that.
    pub fn wait(&mut self, queue: QueueId, token: impl FnOnce(ReaderId) -> T::Reader) -> ReaderId {
        self.readers.wait(queue, token)
    }

    /// The token of a reader that waits, to replace it by another one. `None` once it was woken.
    pub fn reader_mut(&mut self, reader: ReaderId) -> Option<&mut T::Reader> {
        self.readers.get_mut(reader)
    }

    /// Ends the wait of a reader, and returns its token if it still waits. If it was woken, the message that it has reserved
    /// is for the next reader.
    pub fn stop_waiting(&mut self, reader: ReaderId) -> Option<T::Reader> {
        if self.readers.release(reader) {
            self.wake_for_messages(reader.queue);
        }
        self.readers.stop(reader)
    }

    /// A queue has messages, or will get none any more.
    pub(crate) fn wake_readers(&mut self, queue: QueueId) {
        if T::RESERVES {
            self.wake_for_messages(queue);
            if !self.is_over(queue) {
                return;
            }
        }
        let waiting = self.readers.take_waiting(queue);
        self.woken.extend(waiting.map(Woken::Reader));
    }

    /// Wakes as many readers as there are messages that are not reserved, and reserves those.
    fn wake_for_messages(&mut self, queue: QueueId) {
        while T::RESERVES && self.has_message(queue) {
            let Some(token) = self.readers.reserve(queue) else {
                return;
            };
            self.woken.push_back(Woken::Reader(token));
        }
    }

    /// Messages may have come to queues whose earlier ones are reserved, which the core does not report.
    pub(crate) fn wake_contenders(&mut self) {
        if !T::RESERVES || self.readers.reserved == 0 {
            return;
        }
        for queue in self.readers.contended() {
            self.wake_for_messages(queue);
        }
    }

    /// Nothing will come any more.
    pub(crate) fn wake_all_readers(&mut self) {
        for queue in self.readers.queues() {
            self.wake_readers(queue);
        }
    }
}
