//! Messages that no queue has asked for, held for one to claim them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::deliveries::DeliveryId;
use super::in_order::InOrder;
use super::inbox::Message;
use crate::topic::TopicFilter;
use crate::topic_tree::NameTree;

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
    messages: InOrder<Held>,
    /// The numbers of the messages of each topic, which rise. `None` while there are none, as in most queues.
    by_topic: Option<Box<NameTree<VecDeque<u64>>>>,
    /// Payload bytes of all messages.
    bytes: usize,
    /// How many messages have each end.
    ends: BTreeMap<Instant, usize>,
}

impl Unclaimed {
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.ends.first_key_value().map(|(end, _)| *end)
    }

    pub(crate) fn push(&mut self, held: Held) {
        self.bytes += held.message.payload.len();
        if let Some(until) = held.until {
            *self.ends.entry(until).or_default() += 1;
        }
        let number = self.messages.next_number();
        let topic = &held.message.topic;
        let by_topic = self.by_topic.get_or_insert_default();
        (by_topic.get_or_insert_with(topic, VecDeque::new)).push_back(number);
        self.messages.push(held);
    }

    pub(crate) fn pop(&mut self) -> Option<Held> {
        let first = self.messages.at_or_after(0)?;
        self.remove(first)
    }

    fn remove(&mut self, number: u64) -> Option<Held> {
        let held = self.messages.remove(number)?;
        self.bytes -= held.message.payload.len();
        if let Some(until) = held.until
            && let Some(count) = self.ends.get_mut(&until)
        {
            *count -= 1;
            if *count == 0 {
                self.ends.remove(&until);
            }
        }
        let topic = &held.message.topic;
        if let Some(by_topic) = &mut self.by_topic
            && let Some(numbers) = by_topic.get_mut(topic)
        {
            if let Ok(at) = numbers.binary_search(&number) {
                numbers.remove(at);
            }
            if numbers.is_empty() {
                by_topic.remove(topic);
            }
        }
        Some(held)
    }

    /// Takes out those that one of `filters` matches and that are wanted, in order. Looks at no others.
    pub(crate) fn take_matching<'a>(
        &mut self,
        filters: impl IntoIterator<Item = &'a TopicFilter>,
        wanted: impl Fn(&Held) -> bool,
    ) -> Vec<Held> {
        let Some(by_topic) = &self.by_topic else {
            return Vec::new();
        };
        let mut numbers = Vec::new();
        for filter in filters {
            by_topic.for_each_match(filter, |of_topic| numbers.extend(of_topic));
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers.retain(|number| {
            self.messages
                .get_mut(*number)
                .is_some_and(|held| wanted(held))
        });
        (numbers.into_iter())
            .filter_map(|number| self.remove(number))
            .collect()
    }

    /// Takes out all, in order.
    pub(crate) fn take_all(&mut self) -> Vec<Held> {
        let mut all = std::mem::take(self);
        all.messages.drain().collect()
    }

    /// Takes out those that are due at `now`, in order.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Held> {
        if self.next_due().is_none_or(|due| due > now) {
            return Vec::new();
        }
        let (mut due, mut kept) = (Vec::new(), Self::default());
        for held in self.take_all() {
            match held.until.is_some_and(|until| until <= now) {
                true => due.push(held),
                false => kept.push(held),
            }
        }
        *self = kept;
        due
    }

    /// Takes their ends away, until [`resume`](Self::resume) sets a new one.
    pub(crate) fn suspend(&mut self) {
        for held in self.messages.iter_mut() {
            held.until = None;
        }
        self.ends.clear();
    }

    /// Sets an end for those that have none.
    pub(crate) fn resume(&mut self, until: Option<Instant>) {
        let Some(until) = until else {
            return;
        };
        let mut count = 0;
        for held in self.messages.iter_mut().filter(|held| held.until.is_none()) {
            held.until = Some(until);
            count += 1;
        }
        if count > 0 {
            *self.ends.entry(until).or_default() += count;
        }
    }
}
