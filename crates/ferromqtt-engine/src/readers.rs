//! Who waits for messages of which queue, and which messages are reserved for readers that were woken.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::mem;

use ferromqtt_proto::{IdHasher, InOrder, Message, QueueId};

use crate::{Engine, InputDemand, Tokens, Woken};

/// The name of a reader that waits, or that was woken and has a message reserved. Never reused within an [`Engine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReaderId {
    queue: QueueId,
    place: u64,
}

impl ReaderId {
    /// The queue that it reads.
    pub const fn queue(self) -> QueueId {
        self.queue
    }
}

/// The readers of one queue.
#[derive(Debug)]
struct QueueReaders<R> {
    /// Those that wait, the longest first.
    waiting: InOrder<R>,
    /// The places of those that were woken and have not taken their messages yet, with the tokens that were brought back.
    reserved: BTreeMap<u64, Option<R>>,
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
            reserved: BTreeMap::new(),
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
        readers.reserved.insert(place, None);
        self.reserved += 1;
        Some(token)
    }

    /// Brings back the token of a reader that has a message reserved.
    fn keep(&mut self, reader: ReaderId, token: R) -> Option<R> {
        let readers = self.queues.get_mut(&reader.queue);
        match readers.and_then(|readers| readers.reserved.get_mut(&reader.place)) {
            Some(kept) => kept.replace(token),
            None => Some(token),
        }
    }

    /// Ends a reservation, if the reader has one. Returns the token that was brought back.
    fn release(&mut self, reader: ReaderId) -> Option<Option<R>> {
        let readers = self.queues.get_mut(&reader.queue)?;
        let kept = readers.reserved.remove(&reader.place)?;
        self.reserved -= 1;
        self.forget_empty(reader.queue);
        Some(kept)
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

    /// Those of one queue that wait, and then those that have a message reserved and whose tokens were brought back.
    fn of_queue(&self, queue: QueueId) -> impl Iterator<Item = (ReaderId, &R)> {
        let readers = self.queues.get(&queue).into_iter();
        let named = move |place| ReaderId { queue, place };
        readers.flat_map(move |readers| {
            let waiting = (readers.waiting.iter()).map(move |(place, token)| (named(place), token));
            let reserved = (readers.reserved.iter())
                .filter_map(move |(place, token)| Some((named(*place), token.as_ref()?)));
            waiting.chain(reserved)
        })
    }

    /// Those of all queues, as [`of_queue`](Self::of_queue).
    fn of_all_queues(&self) -> impl Iterator<Item = (ReaderId, &R)> {
        (self.queues.keys()).flat_map(|queue| self.of_queue(*queue))
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = &R> {
        self.of_all_queues().map(|(_, token)| token)
    }

    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = R> + use<R> {
        self.reserved = 0;
        let queues = mem::take(&mut self.queues).into_values();
        queues.flat_map(|mut readers| {
            let waiting = readers.waiting.drain().map(|(_, token)| token);
            waiting.chain(readers.reserved.into_values().flatten())
        })
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

    /// As [`take`](Self::take), of a queue that may make the server wait. Returns too whether the driver has something to do
    /// since: to write an acknowledgement that the queue has withheld, or to read on.
    #[inline]
    pub fn take_and_go_on(&mut self, queue: QueueId) -> (Option<Message>, bool) {
        let unsent = self.core.pending_transmit();
        let holds_back = self.input_demand() != InputDemand::All;
        let message = self.take(queue);
        let reads_on = holds_back && self.input_demand() == InputDemand::All;
        (message, reads_on || self.core.pending_transmit() > unsent)
    }

    /// Ends the reservation of a reader, which is about to [take](Self::take) its message. Returns the token that was
    /// [brought back](Self::bring_back).
    pub fn end_reservation(&mut self, reader: ReaderId) -> Option<T::Reader> {
        self.readers.release(reader).flatten()
    }

    /// Whether a message is there that is reserved for nobody.
    pub fn has_message(&self, queue: QueueId) -> bool {
        self.core.queue_len(queue) > self.readers.reserved_in(queue)
    }

    /// Whether no message will come to a queue any more, beside those that are in it: the queues have
    /// [ended](Self::end_queues), the queue has failed, or nothing is subscribed for it, by the server's answer too. Never for
    /// the default queue while the connection lasts.
    pub fn is_over(&self, queue: QueueId) -> bool {
        self.queues_ended
            || self.core.has_failed(queue)
            || (queue != QueueId::DEFAULT
                && self.core.filters(queue).next().is_none()
                && !self.core.is_unsubscribing(queue)
                && !self.awaits_subscription(queue))
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

    /// Brings back the token of a reader that was woken, which the engine keeps for as long as the reader has a message
    /// reserved: for a face that must be able to find out whose reservations these are ([`readers`](Self::readers)). Returns
    /// it if the reader has none.
    pub fn bring_back(&mut self, reader: ReaderId, token: T::Reader) -> Option<T::Reader> {
        self.readers.keep(reader, token)
    }

    /// The readers of a queue whose tokens the engine has: those that wait, the longest first, and those whose tokens were
    /// [brought back](Self::bring_back).
    pub fn readers(&self, queue: QueueId) -> impl Iterator<Item = (ReaderId, &T::Reader)> {
        self.readers.of_queue(queue)
    }

    /// As [`readers`](Self::readers), of all queues.
    pub fn all_readers(&self) -> impl Iterator<Item = (ReaderId, &T::Reader)> {
        self.readers.of_all_queues()
    }

    /// Ends the wait of a reader, and returns its token if it still waits. If it was woken, the message that it has reserved
    /// is for the next reader, and the token that is returned is the one that was [brought back](Self::bring_back).
    pub fn stop_waiting(&mut self, reader: ReaderId) -> Option<T::Reader> {
        if let Some(token) = self.readers.release(reader) {
            self.wake_for_messages(reader.queue);
            return token;
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

    /// Ends all queues, and wakes their readers: no message will come any more, until the engine is [started](Self::start)
    /// again. The end of the connection does so by itself, unless the engine [restarts](crate::EngineOptions::restarts).
    pub fn end_queues(&mut self) {
        self.queues_ended = true;
        self.wake_all_readers();
    }

    /// Wakes the readers of queues that have messages, or will get none any more.
    pub(crate) fn wake_all_readers(&mut self) {
        for queue in self.readers.queues() {
            self.wake_readers(queue);
        }
    }
}
