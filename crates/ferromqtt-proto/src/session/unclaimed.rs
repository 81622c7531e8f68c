//! Messages that no queue has asked for, held for one to claim them.

use std::collections::VecDeque;
use std::time::Instant;

use super::deliveries::DeliveryId;
use super::message::Message;

/// A held message.
#[derive(Debug)]
pub(crate) struct Held {
    /// Has a [`Message::delivery`] only when it was left in a detached queue, for the application to acknowledge.
    pub(crate) message: Message,
    /// What keeps it unacknowledged beside [`Message::delivery`].
    pub(crate) hold: Option<DeliveryId>,
    /// When it goes to the default queue; `None`: no time is set.
    pub(crate) until: Option<Instant>,
}

impl Held {
    /// The message, and what keeps it unacknowledged. The rules of the queue that claims it decide when that is let go.
    pub(crate) fn into_claimed(mut self) -> (Message, Option<DeliveryId>) {
        let hold = self.message.delivery.take().or(self.hold);
        (self.message, hold)
    }
}

/// All held messages, in order of arrival. They count against the bounds of the default queue.
#[derive(Debug, Default)]
pub(crate) struct Unclaimed {
    messages: VecDeque<Held>,
    /// What all messages count: [`Message::memory_size`].
    bytes: usize,
    /// The earliest `until`.
    next_due: Option<Instant>,
}

impl Unclaimed {
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) const fn next_due(&self) -> Option<Instant> {
        self.next_due
    }

    pub(crate) fn push(&mut self, held: Held) {
        self.bytes += held.message.memory_size();
        self.next_due = self.next_due.into_iter().chain(held.until).min();
        self.messages.push_back(held);
    }

    pub(crate) fn pop(&mut self) -> Option<Held> {
        let held = self.messages.pop_front()?;
        self.bytes -= held.message.memory_size();
        if held.until == self.next_due {
            self.find_next_due();
        }
        Some(held)
    }

    /// Takes out those that are wanted, in order.
    pub(crate) fn take(&mut self, wanted: impl Fn(&Held) -> bool) -> Vec<Held> {
        if !self.messages.iter().any(&wanted) {
            return Vec::new();
        }
        let messages = std::mem::take(&mut self.messages);
        let (taken, kept): (Vec<_>, Vec<_>) = messages.into_iter().partition(wanted);
        self.messages = kept.into();
        let sizes = taken.iter().map(|held| held.message.memory_size());
        self.bytes -= sizes.sum::<usize>();
        self.find_next_due();
        taken
    }

    /// Takes out those that are due at `now`, in order.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Held> {
        if self.next_due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.take(|held| held.until.is_some_and(|until| until <= now))
    }

    /// Takes their ends away, until [`resume`](Self::resume) sets a new one.
    pub(crate) fn suspend(&mut self) {
        for held in &mut self.messages {
            held.until = None;
        }
        self.next_due = None;
    }

    /// Sets an end for those that have none.
    pub(crate) fn resume(&mut self, until: Option<Instant>) {
        for held in &mut self.messages {
            held.until = held.until.or(until);
        }
        self.find_next_due();
    }

    fn find_next_due(&mut self) {
        self.next_due = self.messages.iter().filter_map(|held| held.until).min();
    }
}
