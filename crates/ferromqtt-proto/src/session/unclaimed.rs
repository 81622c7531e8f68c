//! Messages that no queue has asked for, held for one to claim them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::deliveries::DeliveryId;
use super::in_order::InOrder;
use super::message::Message;
use crate::topic::TopicFilter;
use crate::topic_tree::NameTree;

/// A held message.
#[derive(Debug)]
pub(crate) struct UnclaimedMessage {
    /// Has a [`Message::delivery`] only when it was left in a detached queue, for the application to acknowledge.
    pub(crate) message: Message,
    /// What keeps it unacknowledged beside [`Message::delivery`].
    pub(crate) hold: Option<DeliveryId>,
    /// When it goes to the default queue; `None`: no time is set.
    pub(crate) until: Option<Instant>,
}

impl UnclaimedMessage {
    /// The message, and what keeps it unacknowledged. The rules of the queue that claims it decide when that is let go.
    pub(crate) fn into_claimed(mut self) -> (Message, Option<DeliveryId>) {
        let hold = self.message.delivery.take().or(self.hold);
        (self.message, hold)
    }
}

/// All held messages, in order of arrival. They count against the bounds of the default queue.
#[derive(Debug, Default)]
pub(crate) struct Unclaimed {
    /// By a number in order of arrival.
    messages: InOrder<UnclaimedMessage>,
    last_number: u64,
    /// What all messages count: [`Message::memory_size`].
    bytes: usize,
    /// The numbers of those on each topic: a program may subscribe to as many filters as there are messages. `None` where none
    /// was ever held, as in most queues.
    by_topic: Option<Box<NameTree<BTreeSet<u64>>>>,
    /// The numbers of those that have the same `until`.
    by_end: BTreeMap<Instant, BTreeSet<u64>>,
}

impl Unclaimed {
    pub(crate) const fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The earliest `until`.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.by_end.keys().next().copied()
    }

    pub(crate) fn push(&mut self, held: UnclaimedMessage) {
        self.last_number += 1;
        let number = self.last_number;
        self.bytes += held.message.memory_size();
        if let Some(until) = held.until {
            self.by_end.entry(until).or_default().insert(number);
        }
        let by_topic = self.by_topic.get_or_insert_default();
        (by_topic.get_or_insert_with(&held.message.topic, BTreeSet::new)).insert(number);
        self.messages.push(number, held);
    }

    pub(crate) fn pop(&mut self) -> Option<UnclaimedMessage> {
        self.take(self.messages.first_number()?)
    }

    /// Takes out all, in order.
    pub(crate) fn take_all(&mut self) -> Vec<UnclaimedMessage> {
        self.bytes = 0;
        self.by_topic = None;
        self.by_end.clear();
        self.messages.drain().map(|(_, held)| held).collect()
    }

    /// Takes out those on topics that one of these filters matches and that are `wanted`, in order.
    pub(crate) fn take_matching<'a>(
        &mut self,
        filters: impl IntoIterator<Item = &'a TopicFilter>,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<UnclaimedMessage> {
        let Some(by_topic) = &self.by_topic else {
            return Vec::new();
        };
        let topic_of = |numbers: &BTreeSet<u64>| {
            let held = self.messages.get(*numbers.first()?)?;
            Some(held.message.topic.as_str())
        };
        let mut numbers = BTreeSet::new();
        for filter in filters {
            by_topic.for_each_match(filter, |of_topic| {
                if topic_of(of_topic).is_some_and(&wanted) {
                    numbers.extend(of_topic);
                }
            });
        }
        self.take_each(numbers)
    }

    /// Takes out those that are due at `now`, in order.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<UnclaimedMessage> {
        let mut numbers = BTreeSet::new();
        while let Some(end) = self.by_end.first_entry()
            && *end.key() <= now
        {
            numbers.append(&mut end.remove());
        }
        self.take_each(numbers)
    }

    fn take_each(&mut self, numbers: BTreeSet<u64>) -> Vec<UnclaimedMessage> {
        (numbers.into_iter())
            .filter_map(|number| self.take(number))
            .collect()
    }

    fn take(&mut self, number: u64) -> Option<UnclaimedMessage> {
        let held = self.messages.remove(number)?;
        self.bytes -= held.message.memory_size();
        let topic = &held.message.topic;
        if let Some(by_topic) = &mut self.by_topic
            && let Some(numbers) = by_topic.get_mut(topic)
        {
            numbers.remove(&number);
            if numbers.is_empty() {
                by_topic.remove(topic);
            }
        }
        if let Some(until) = held.until
            && let Some(numbers) = self.by_end.get_mut(&until)
        {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_end.remove(&until);
            }
        }
        Some(held)
    }

    /// Takes their ends away, until [`resume`](Self::resume) sets a new one.
    pub(crate) fn suspend(&mut self) {
        for (_, held) in self.messages.iter_mut() {
            held.until = None;
        }
        self.by_end.clear();
    }

    /// Sets an end for those that have none.
    pub(crate) fn resume(&mut self, until: Option<Instant>) {
        let Some(until) = until else {
            return;
        };
        let mut numbers = BTreeSet::new();
        for (number, held) in self.messages.iter_mut() {
            if held.until.is_none() {
                held.until = Some(until);
                numbers.insert(number);
            }
        }
        if !numbers.is_empty() {
            self.by_end.entry(until).or_default().append(&mut numbers);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::packet::{MESSAGE_OVERHEAD, QoS};
    use crate::topic::TopicName;

    const TOPICS: [&str; 7] = ["a", "a/", "a/b", "a/b/c", "ab", "b", "$a/b"];
    const FILTERS: [&str; 9] = [
        "a",
        "a/",
        "a/b",
        "a/#",
        "#",
        "+/b",
        "$a/#",
        "$share/s/a/b",
        "$share/s/a/+",
    ];

    #[derive(Clone, Debug)]
    enum UnclaimedStep {
        Push { topic: usize, until: Option<u64> },
        Pop,
        Claim(Vec<usize>),
        ClaimAllBut { filter: usize, unwanted: usize },
        Due(u64),
        Suspend,
        Resume(Option<u64>),
        TakeAll,
    }

    fn step() -> impl Strategy<Value = UnclaimedStep> {
        let until = || prop::option::of(0_u64..6);
        prop_oneof![
            8 => (0..TOPICS.len(), until()).prop_map(|(topic, until)| UnclaimedStep::Push { topic, until }),
            1 => Just(UnclaimedStep::Pop),
            2 => prop::collection::vec(0..FILTERS.len(), 1..4).prop_map(UnclaimedStep::Claim),
            1 => (0..FILTERS.len(), 0..TOPICS.len())
                .prop_map(|(filter, unwanted)| UnclaimedStep::ClaimAllBut { filter, unwanted }),
            1 => (0_u64..6).prop_map(UnclaimedStep::Due),
            1 => Just(UnclaimedStep::Suspend),
            1 => until().prop_map(UnclaimedStep::Resume),
            1 => Just(UnclaimedStep::TakeAll),
        ]
    }

    fn held(number: u8, topic: &str, until: Option<Instant>) -> UnclaimedMessage {
        let message = Message {
            topic: TopicName::new(topic).unwrap(),
            payload: Bytes::copy_from_slice(&[number]),
            qos: QoS::AtLeastOnce,
            retain: false,
            dup: false,
            packet_id: None,
            properties: None,
            delivery: None,
        };
        let hold = None;
        UnclaimedMessage {
            message,
            hold,
            until,
        }
    }

    /// All in one list, which is looked through each time.
    type Model = Vec<(u8, &'static str, Option<Instant>)>;

    fn take(model: &mut Model, leaves: impl Fn(&str, Option<Instant>) -> bool) -> Vec<u8> {
        let all = std::mem::take(model);
        let (left, kept): (Model, Model) = (all.into_iter()).partition(|it| leaves(it.1, it.2));
        *model = kept;
        left.into_iter().map(|it| it.0).collect()
    }

    fn numbers(held: Vec<UnclaimedMessage>) -> Vec<u8> {
        held.into_iter()
            .map(|held| held.message.payload[0])
            .collect()
    }

    proptest! {
        #[test]
        fn held_messages_leave_in_order_by_topic_and_by_time(
            steps in prop::collection::vec(step(), 0..80),
        ) {
            let start = crate::tests_support::start();
            let at = |seconds| start + Duration::from_secs(seconds);
            let filters: Vec<_> = FILTERS.map(|filter| TopicFilter::new(filter).unwrap()).into();
            let everything = ["#", "$a/#"].map(|filter| TopicFilter::new(filter).unwrap());
            let (mut unclaimed, mut model) = (Unclaimed::default(), Model::new());
            for (number, step) in (0_u8..).zip(steps) {
                match step {
                    UnclaimedStep::Push { topic, until } => {
                        let (topic, until) = (TOPICS[topic], until.map(at));
                        unclaimed.push(held(number, topic, until));
                        model.push((number, topic, until));
                    }
                    UnclaimedStep::Pop => {
                        let first = (!model.is_empty()).then(|| model.remove(0).0);
                        prop_assert_eq!(numbers(Vec::from_iter(unclaimed.pop())), Vec::from_iter(first));
                    }
                    UnclaimedStep::Claim(chosen) => {
                        let chosen: Vec<_> = chosen.into_iter().map(|it| &filters[it]).collect();
                        let taken = unclaimed.take_matching(chosen.iter().copied(), |_| true);
                        let expected = take(&mut model, |topic, _| chosen.iter().any(|it| it.matches(topic)));
                        prop_assert_eq!(numbers(taken), expected);
                    }
                    UnclaimedStep::ClaimAllBut { filter, unwanted } => {
                        let (filter, unwanted) = (&filters[filter], TOPICS[unwanted]);
                        let taken = unclaimed.take_matching([filter], |topic| topic != unwanted);
                        let wanted = |topic: &str| filter.matches(topic) && topic != unwanted;
                        prop_assert_eq!(numbers(taken), take(&mut model, |topic, _| wanted(topic)));
                    }
                    UnclaimedStep::Due(now) => {
                        let is_due = |until: Option<Instant>| until.is_some_and(|it| it <= at(now));
                        let taken = unclaimed.take_due(at(now));
                        prop_assert_eq!(numbers(taken), take(&mut model, |_, until| is_due(until)));
                    }
                    UnclaimedStep::Suspend => {
                        unclaimed.suspend();
                        model.iter_mut().for_each(|it| it.2 = None);
                    }
                    UnclaimedStep::Resume(until) => {
                        unclaimed.resume(until.map(at));
                        model.iter_mut().for_each(|it| it.2 = it.2.or_else(|| until.map(at)));
                    }
                    UnclaimedStep::TakeAll => {
                        prop_assert_eq!(numbers(unclaimed.take_all()), take(&mut model, |_, _| true));
                    }
                }
                prop_assert_eq!(unclaimed.len(), model.len());
                let bytes = model.iter().map(|it| MESSAGE_OVERHEAD + it.1.len() + 1);
                prop_assert_eq!(unclaimed.bytes(), bytes.sum::<usize>());
                prop_assert_eq!(unclaimed.next_due(), model.iter().filter_map(|it| it.2).min());
                let mut indexed = 0;
                if let Some(by_topic) = &unclaimed.by_topic {
                    for filter in &everything {
                        by_topic.for_each_match(filter, |numbers| indexed += numbers.len());
                    }
                    let topics: BTreeSet<_> = model.iter().map(|it| it.1).collect();
                    prop_assert_eq!(by_topic.len(), topics.len(), "a topic is left behind");
                }
                prop_assert_eq!(indexed, model.len());
            }
        }
    }
}
