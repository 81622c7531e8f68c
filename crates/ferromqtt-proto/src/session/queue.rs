//! One queue of received messages: its bounds, and what becomes of messages beyond them.

use std::collections::VecDeque;
use std::time::Instant;

use super::chunks::{ChunkId, Chunks, is_sparse};
use super::deliveries::DeliveryId;
use super::fifo::Fifo;
use super::message::Message;
use super::queue_options::{Acknowledge, Overflow, QueueOptions};
use super::reader::{ReaderActivity, Withheld};
use super::unclaimed::{Unclaimed, UnclaimedMessage};
use crate::packet::QoS;

/// Messages that came one behind the other.
///
/// What they are slices of is not kept beside each message: composing an entry of both takes longer than all the rest.
#[derive(Debug)]
struct Run {
    messages: usize,
    /// What they count.
    counted: usize,
    /// What they are slices of.
    chunk: ChunkId,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    messages: Fifo<Message>,
    /// All messages, in order.
    runs: VecDeque<Run>,
    /// What all messages count: [`Message::memory_size`].
    bytes: usize,
    pub(super) options: QueueOptions,
    /// Its reader takes requests alone, which exist in 5.0 only.
    pub(super) of_requests: bool,
    pub(super) lost: u64,
    /// It has overflown under [`Overflow::Fail`], and its reader does not know yet.
    pub(super) failed: bool,
    /// The last messages, those beyond the bounds under [`Overflow::Wait`]: what each holds, and what it counts.
    beyond: VecDeque<(Option<DeliveryId>, usize)>,
    /// What those count.
    bytes_beyond: usize,
    /// Messages held for a queue to claim them. Only the default queue has some; they count against its bounds.
    pub(super) unclaimed: Unclaimed,
    /// How many of those are to be acknowledged.
    pub(super) withheld: Withheld,
    pub(super) reader: ReaderActivity,
}

impl Queue {
    pub(super) fn new(options: QueueOptions) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has_beyond(&self) -> bool {
        !self.beyond.is_empty()
    }

    pub(super) fn has_room(&self, size: usize) -> bool {
        let messages = self.messages.len() + self.unclaimed.len();
        let bytes = self.bytes + self.unclaimed.bytes();
        (self.options).have_room(messages, bytes, size)
    }

    /// Whether a QoS 0 message is to wait for capacity. Not in front of an empty queue, which takes it whatever its bounds.
    pub(super) fn makes_wait(&self, size: usize) -> bool {
        self.options.overflow == Overflow::Wait && self.messages.len() > 0 && !self.has_room(size)
    }

    /// Whether a QoS 0 message that has been waiting for capacity is to go on waiting.
    pub(super) fn keeps_waiting(&self, size: usize) -> bool {
        let half_used = (self.options).are_half_used(self.messages.len(), self.bytes);
        let has_room = self.has_room(size) && half_used;
        self.messages.len() > 0 && !has_room && !self.reader.is_forgotten()
    }

    /// Whether a QoS 0 message that could not wait for capacity is kept all the same.
    fn has_spare_room(&self, size: usize) -> bool {
        let spare = self.options.twice();
        self.messages.len() == 0
            || !self.reader.is_forgotten() && spare.have_room(self.messages.len(), self.bytes, size)
    }

    /// Whether a message like this is to be held back: by the application, or until there is capacity.
    pub(super) fn holds(&self, qos: QoS, size: usize) -> bool {
        let waits = self.options.overflow == Overflow::Wait && !self.has_room(size);
        qos != QoS::AtMostOnce && (waits || self.options.acknowledge == Acknowledge::ByApplication)
    }

    /// Whether the policy of a full queue takes a message of this size all the same. Counts the messages that it drops for it,
    /// and releases what they held.
    #[cold]
    fn make_room(
        &mut self,
        qos: QoS,
        size: usize,
        chunks: &mut Chunks,
        let_go: &mut Vec<DeliveryId>,
    ) -> bool {
        match self.options.overflow {
            _ if self.failed => false,
            Overflow::Wait => qos != QoS::AtMostOnce || self.has_spare_room(size),
            Overflow::DropNewest => false,
            Overflow::DropOldest => {
                while !self.has_room(size) {
                    let Some(held_by) = self.drop_oldest(chunks) else {
                        return false;
                    };
                    self.lost += 1;
                    let_go.extend(held_by);
                    let_go.extend(std::iter::from_fn(|| self.release()));
                }
                true
            }
            Overflow::Fail => {
                self.failed = true;
                false
            }
        }
    }

    #[inline]
    pub(super) fn take_first(&mut self, chunks: &mut Chunks) -> Option<Message> {
        // The message goes to the caller at one blow: to move it on behind this takes longer than all the rest.
        let size = self.messages.first()?.memory_size();
        self.bytes -= size;
        chunks.subtract(size);
        if let Some(run) = self.runs.front_mut() {
            run.messages -= 1;
            run.counted -= size;
            if run.messages == 0 {
                chunks.leave(run.chunk);
                self.runs.pop_front();
            }
        }
        self.messages.pop()
    }

    /// Drops the oldest message in the queue, or else of those unclaimed, and returns what held it.
    fn drop_oldest(&mut self, chunks: &mut Chunks) -> Option<Option<DeliveryId>> {
        if let Some(message) = self.take_first(chunks) {
            return Some(message.delivery);
        }
        let (_, hold) = self.unclaimed.pop()?.into_claimed();
        Some(hold)
    }

    /// Holds a message to be claimed, within the bounds and by the policy of the queue.
    pub(super) fn hold(
        &mut self,
        held: UnclaimedMessage,
        chunks: &mut Chunks,
        let_go: &mut Vec<DeliveryId>,
    ) -> Pushed {
        let lost = self.lost;
        let size = held.message.memory_size();
        let had_room = self.has_room(size) && !self.failed;
        let taken = had_room || self.make_room(held.message.qos, size, chunks, let_go);
        if taken {
            self.unclaimed.push(held);
        } else {
            self.lost += 1;
            let_go.extend(held.into_claimed().1);
        }
        Pushed {
            taken,
            has_consequences: true,
            has_lost: self.lost > lost,
            first_loss: lost == 0 && self.lost > 0,
            ..Pushed::default()
        }
    }

    /// What the next one of those beyond the bounds held, once it has been taken or fits.
    pub(super) fn release(&mut self) -> Option<DeliveryId> {
        while let Some(&(hold, size)) = self.beyond.front() {
            let is_there = self.beyond.len() <= self.messages.len();
            let within = self.messages.len().saturating_sub(self.beyond.len());
            let bytes_within = self.bytes.saturating_sub(self.bytes_beyond);
            if is_there && !self.options.have_room(within, bytes_within, size) {
                return None;
            }
            self.beyond.pop_front();
            self.bytes_beyond -= size;
            if hold.is_some() {
                self.withheld.remove();
                return hold;
            }
        }
        None
    }

    /// Whether a message of this size is just to be added.
    #[inline]
    pub(super) fn takes_at_once(&self, size: usize) -> bool {
        self.has_room(size) && !self.failed
    }

    /// Adds a message that it [takes at once](Self::takes_at_once). Returns whether the queue was empty.
    #[inline]
    pub(super) fn add(&mut self, message: Message, size: usize, chunks: &mut Chunks) -> bool {
        let was_empty = self.messages.len() == 0;
        self.bytes += size;
        chunks.add(size);
        match self.runs.back_mut() {
            Some(run) if run.chunk == chunks.current() => {
                run.messages += 1;
                run.counted += size;
            }
            _ => self.runs.push_back(Run {
                messages: 1,
                counted: size,
                chunk: chunks.enter(),
            }),
        }
        self.messages.push(message);
        was_empty
    }

    /// Offers a message. `hold` is what holds it back when this queue [holds](Self::holds) its like, or another one did
    /// that it comes from. What holds nothing back any more joins `let_go`: its message is lost, or need not wait.
    pub(super) fn push(
        &mut self,
        mut message: Message,
        hold: Option<DeliveryId>,
        now: Option<Instant>,
        chunks: &mut Chunks,
        let_go: &mut Vec<DeliveryId>,
    ) -> Pushed {
        self.reader.note(now);
        let size = message.memory_size();
        let (was_empty, lost) = (self.messages.len() == 0, self.lost);
        let had_room = self.has_room(size);
        let taken = had_room && !self.failed || self.make_room(message.qos, size, chunks, let_go);
        if !taken {
            self.lost += 1;
            let_go.extend(message.delivery.or(hold));
        } else {
            if self.options.acknowledge == Acknowledge::ByApplication {
                message.delivery = message.delivery.or(hold);
            } else if !had_room && self.options.overflow == Overflow::Wait {
                self.beyond.push_back((hold, size));
                self.bytes_beyond += size;
                if hold.is_some() {
                    self.withheld.add(now);
                }
            } else {
                let_go.extend(hold);
            }
            self.add(message, size, chunks);
        }
        Pushed {
            taken,
            first: taken && was_empty,
            has_consequences: true,
            has_lost: self.lost > lost,
            first_loss: lost == 0 && self.lost > 0,
            forgotten: !taken && self.reader.is_news(),
        }
    }

    /// Counts what the messages in each chunk count.
    pub(super) fn count_chunks(&self, chunks: &mut Chunks) {
        for run in &self.runs {
            chunks.count(run.chunk, run.counted);
        }
    }

    /// Copies the messages that make up little of their chunks, as [counted](Self::count_chunks), so that those can go.
    pub(super) fn copy_sparse(&mut self, chunks: &mut Chunks) {
        let mut messages = self.messages.iter_mut();
        let mut runs = VecDeque::<Run>::new();
        for mut run in std::mem::take(&mut self.runs) {
            let messages = messages.by_ref().take(run.messages);
            if chunks.is_sparse(run.chunk) {
                messages.for_each(Message::detach);
                chunks.leave(run.chunk);
                run.chunk = ChunkId::NONE;
            } else {
                messages.for_each(drop);
            }
            match runs.back_mut() {
                Some(last) if last.chunk == ChunkId::NONE && run.chunk == ChunkId::NONE => {
                    last.messages += run.messages;
                    last.counted += run.counted;
                }
                _ => runs.push_back(run),
            }
        }
        self.runs = runs;
    }

    /// Closes the queue. Returns what it held.
    pub(super) fn close(self, chunks: &mut Chunks) -> LeftMessages {
        chunks.subtract(self.bytes);
        let mut chunk_sizes = VecDeque::with_capacity(self.runs.len());
        for run in &self.runs {
            chunk_sizes.push_back((run.messages, chunks.size(run.chunk)));
            chunks.leave(run.chunk);
        }
        LeftMessages {
            messages: self.messages,
            chunk_sizes,
            beyond: self.beyond,
        }
    }
}

/// What became of a message that was offered to a queue.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pushed {
    /// It is in the queue.
    pub(crate) taken: bool,
    /// The queue was empty before.
    pub(crate) first: bool,
    /// Something of the following, or something was let go.
    pub(crate) has_consequences: bool,
    /// The queue has lost a message now, this one or others.
    pub(super) has_lost: bool,
    /// The queue has lost a message, and had lost none since the reader asked.
    pub(crate) first_loss: bool,
    /// It has lost this one because its reader has forgotten it, and the one before not.
    pub(crate) forgotten: bool,
}

/// What a queue that is closed has left behind.
#[derive(Debug, Default)]
pub(crate) struct LeftMessages {
    /// Its messages, in order.
    messages: Fifo<Message>,
    /// How many of them, one behind the other, are slices of a chunk of which length.
    chunk_sizes: VecDeque<(usize, usize)>,
    /// How many of them, the last ones, were beyond its bounds, and what those held.
    beyond: VecDeque<(Option<DeliveryId>, usize)>,
}

/// A message of a queue that is closed.
#[derive(Debug)]
pub(crate) struct LeftMessage {
    pub(crate) message: Message,
    /// What held it back beside [`Message::delivery`].
    pub(crate) hold: Option<DeliveryId>,
    /// The length of what it is a slice of.
    chunk_size: usize,
}

impl LeftMessage {
    /// The message and what held it back. It is going to be kept, so it is copied if it is little.
    pub(crate) fn into_kept(mut self) -> (Message, Option<DeliveryId>) {
        if is_sparse(self.chunk_size, self.message.memory_size()) {
            self.message.detach();
        }
        (self.message, self.hold)
    }
}

impl Iterator for LeftMessages {
    type Item = LeftMessage;

    fn next(&mut self) -> Option<Self::Item> {
        let is_beyond = self.beyond.len() >= self.messages.len();
        let message = self.messages.pop()?;
        let (count, chunk_size) = self.chunk_sizes.front_mut()?;
        let chunk_size = *chunk_size;
        *count -= 1;
        if *count == 0 {
            self.chunk_sizes.pop_front();
        }
        let hold = match is_beyond {
            true => self.beyond.pop_front().and_then(|(hold, _)| hold),
            false => None,
        };
        Some(LeftMessage {
            message,
            hold,
            chunk_size,
        })
    }
}
