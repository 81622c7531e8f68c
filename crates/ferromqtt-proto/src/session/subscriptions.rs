//! Which filters are subscribed, and which queue each feeds.

use super::inbox::QueueId;
use crate::packet::SubscriptionOptions;
use crate::topic::TopicFilter;

#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) filter: TopicFilter,
    pub(crate) options: SubscriptionOptions,
    pub(crate) queue: QueueId,
    /// Subscription Identifier (5.0), if any.
    pub(crate) identifier: Option<u32>,
}

/// The registry, in order of subscribing.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    entries: Vec<Subscription>,
    /// How many entries feed a queue other than the default one: while there is none, no message needs matching.
    routed: usize,
}

impl Subscriptions {
    pub(crate) fn add(&mut self, subscription: Subscription) {
        let same = self
            .entries
            .iter_mut()
            .find(|entry| entry.queue == subscription.queue && entry.filter == subscription.filter);
        match same {
            Some(entry) => *entry = subscription,
            None => {
                self.routed += usize::from(subscription.queue != QueueId::DEFAULT);
                self.entries.push(subscription);
            }
        }
    }

    pub(crate) fn remove(&mut self, leaves: impl Fn(&Subscription) -> bool) -> Vec<Subscription> {
        let (gone, kept) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(leaves);
        self.entries = kept;
        self.routed = self
            .entries
            .iter()
            .filter(|entry| entry.queue != QueueId::DEFAULT)
            .count();
        gone
    }

    /// Whether the same filter feeds the same queue already.
    pub(crate) fn holds(&self, other: &Subscription) -> bool {
        (self.entries.iter()).any(|it| it.queue == other.queue && it.filter == other.filter)
    }

    pub(crate) fn contains(&self, filter: &TopicFilter) -> bool {
        self.entries.iter().any(|entry| entry.filter == *filter)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.entries.iter()
    }

    pub(crate) const fn all_to_default(&self) -> bool {
        self.routed == 0
    }

    /// The queues that want a message with this topic, each once.
    pub(crate) fn queues(&self, topic: &str) -> Vec<QueueId> {
        let mut queues = Vec::new();
        for entry in &self.entries {
            if entry.filter.matches(topic) && !queues.contains(&entry.queue) {
                queues.push(entry.queue);
            }
        }
        queues
    }
}
