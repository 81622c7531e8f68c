//! Which filters are subscribed, and which queue each feeds.

use std::collections::BTreeSet;

use super::inbox::QueueId;
use crate::codec::MAX_REMAINING_LENGTH;
use crate::packet::SubscriptionOptions;
use crate::topic::TopicFilter;

/// One filter for one queue. Several queues may share a filter, for which the server has one subscription. Each of them gets
/// every message of it, unless it is a Shared Subscription (`$share/name/filter`, section 4.8.2): of that, each message goes to
/// one of the queues.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) filter: TopicFilter,
    pub(crate) options: SubscriptionOptions,
    pub(crate) queue: QueueId,
    /// Its queue was given up, and the server still has it: the default queue gets what no other one wants. It is the only
    /// subscription to its filter.
    pub(crate) detached: bool,
    /// The Subscription Identifier (5.0) that its caller gave it.
    pub(crate) own_identifier: Option<u32>,
    /// The identifiers that the server knew or knows it by, the newest last: messages on their way may still carry an
    /// older one.
    pub(crate) identifiers: Vec<u32>,
    /// Of a Shared Subscription: the number of the last message that this queue got by it.
    pub(crate) last_served: u64,
}

/// The registry, in order of subscribing.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    entries: Vec<Subscription>,
    /// How many entries feed a queue other than the default one: while there is none, no message needs matching.
    routed: usize,
    /// How many are Shared Subscriptions.
    shared: usize,
    /// The identifier that was made here last.
    last_identifier: u32,
    /// But for those that a caller has given, ever: as many as callers use different ones.
    given: BTreeSet<u32>,
    /// Numbers the messages of Shared Subscriptions.
    served: u64,
}

/// Identifiers made here are at least as large as this. Callers, who cannot know them, seldom count so far.
const FIRST_IDENTIFIER: u32 = 1_000_000;

/// How far apart the first ones of two clients may be. All of them take four bytes at most.
const SPREAD: u32 = 1 << 24;

/// What an earlier client of the session may have counted to.
const LAST_OF_OTHERS: u32 = FIRST_IDENTIFIER + SPREAD + 1_000_000;

impl Default for Subscriptions {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            routed: 0,
            shared: 0,
            last_identifier: FIRST_IDENTIFIER - 1,
            given: BTreeSet::new(),
            served: 0,
        }
    }
}

impl Subscriptions {
    /// Begins to count at a number that is this client's alone. A server that has kept messages for a session sends them with
    /// the identifiers of an earlier client, which must not be taken for those of other subscriptions.
    pub(crate) fn count_from(&mut self, random: u64) {
        if self.entries.is_empty() {
            self.last_identifier = FIRST_IDENTIFIER + (random % u64::from(SPREAD)) as u32;
        }
    }

    pub(crate) fn add(&mut self, subscription: Subscription) {
        self.given.extend(subscription.own_identifier);
        let same = self.entries.iter().position(|entry| {
            entry.filter == subscription.filter
                && (entry.queue == subscription.queue || entry.detached)
        });
        match same {
            Some(index) => {
                let entry = &mut self.entries[index];
                entry.options = subscription.options;
                entry.own_identifier = subscription.own_identifier;
                entry.queue = subscription.queue;
                entry.detached = subscription.detached;
            }
            None if subscription.detached && self.contains(&subscription.filter) => return,
            None => self.entries.push(subscription),
        }
        self.count_routed();
    }

    /// The queue is given up, and what is subscribed for it alone is not. Returns what other queues have too.
    pub(crate) fn detach(&mut self, queue: QueueId) -> Vec<Subscription> {
        let mut left_to_others = Vec::new();
        for mut entry in self.remove(|entry| entry.queue == queue) {
            if self.contains(&entry.filter) {
                left_to_others.push(entry);
            } else {
                entry.queue = QueueId::DEFAULT;
                entry.detached = true;
                self.entries.push(entry);
            }
        }
        left_to_others
    }

    pub(crate) fn is_detached(&self, filter: &TopicFilter) -> bool {
        (self.entries.iter()).any(|entry| entry.detached && entry.filter == *filter)
    }

    /// Whether a subscription whose queue was given up has messages with this topic.
    pub(crate) fn has_detached(&self, topic: &str) -> bool {
        (self.entries.iter()).any(|entry| entry.detached && entry.filter.matches(topic))
    }

    fn count_routed(&mut self) {
        self.routed = (self.entries.iter())
            .filter(|entry| entry.queue != QueueId::DEFAULT)
            .count();
        self.shared = (self.entries.iter())
            .filter(|entry| entry.filter.is_shared())
            .count();
    }

    /// The server's subscription to `filter` has this identifier from now on, or none.
    pub(crate) fn identify(&mut self, filter: &TopicFilter, identifier: Option<u32>) {
        for entry in (self.entries.iter_mut()).filter(|entry| entry.filter == *filter) {
            match identifier {
                None => entry.identifiers.clear(),
                Some(identifier) => {
                    entry.identifiers.retain(|it| *it != identifier);
                    entry.identifiers.push(identifier);
                }
            }
        }
    }

    /// The identifier that one of `filters` has already.
    pub(crate) fn known_identifier<'a>(
        &self,
        filters: impl IntoIterator<Item = &'a TopicFilter>,
    ) -> Option<u32> {
        filters.into_iter().find_map(|filter| {
            let entry = self.entries.iter().find(|entry| entry.filter == *filter)?;
            entry.identifiers.last().copied()
        })
    }

    /// The identifier that one of `filters` has already; otherwise one that none has.
    pub(crate) fn identifier_for<'a>(
        &mut self,
        filters: impl IntoIterator<Item = &'a TopicFilter>,
    ) -> u32 {
        if let Some(known) = self.known_identifier(filters) {
            return known;
        }
        loop {
            self.last_identifier += 1;
            if self.last_identifier > MAX_REMAINING_LENGTH as u32 {
                self.last_identifier = FIRST_IDENTIFIER;
            }
            let taken = (self.entries.iter())
                .any(|entry| entry.identifiers.contains(&self.last_identifier));
            if !taken && !self.given.contains(&self.last_identifier) {
                return self.last_identifier;
            }
        }
    }

    /// Whether this identifier was made here, or by an earlier client of the session, and no caller has given it.
    pub(crate) fn has_assigned(&self, identifier: u32) -> bool {
        let last = self.last_identifier.max(LAST_OF_OTHERS);
        (FIRST_IDENTIFIER..=last).contains(&identifier) && !self.given.contains(&identifier)
    }

    /// What the server's one subscription to `filter` must be like to serve `queue` with `options`, and the other queues
    /// that share it: the highest QoS, and nothing left out that one of them wants.
    pub(crate) fn shared_options(
        &self,
        filter: &TopicFilter,
        queue: QueueId,
        options: SubscriptionOptions,
    ) -> SubscriptionOptions {
        (self.entries.iter())
            .filter(|entry| entry.filter == *filter && entry.queue != queue && !entry.detached)
            .fold(options, |shared, other| SubscriptionOptions {
                qos: shared.qos.max(other.options.qos),
                no_local: shared.no_local && other.options.no_local,
                retain_as_published: shared.retain_as_published
                    || other.options.retain_as_published,
                retain_handling: shared.retain_handling,
            })
    }

    pub(crate) fn remove(&mut self, leaves: impl Fn(&Subscription) -> bool) -> Vec<Subscription> {
        let (gone, kept) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(leaves);
        self.entries = kept;
        self.count_routed();
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

    /// The queues that want a message with this topic, each once. `identifiers` are those that the server has put on it,
    /// one for each subscription that it was sent for (MQTT-3.3.4-3 to MQTT-3.3.4-5): a server may send it once for all of
    /// them or once for each, and either way a queue gets it once. Of the queues of one Shared Subscription, one gets it: the
    /// one served least recently among those that have room, or among all if none has.
    /// They are put into `queues`, which is empty.
    pub(crate) fn find_queues(
        &mut self,
        topic: &str,
        identifiers: &[u32],
        has_room: impl Fn(QueueId) -> bool,
        queues: &mut Vec<QueueId>,
    ) {
        let was_sent_for = |entry: &Subscription| {
            identifiers.is_empty()
                || entry.identifiers.is_empty()
                || entry.identifiers.iter().any(|it| identifiers.contains(it))
        };
        self.find_matching(topic, was_sent_for, &has_room, queues);
        if queues.is_empty() && !self.is_for_detached(topic, identifiers) {
            // an identifier of a subscription that has been replaced since
            self.find_matching(topic, |_| true, &has_room, queues);
        }
    }

    /// Whether the server has sent a message for a subscription whose queue was given up.
    fn is_for_detached(&self, topic: &str, identifiers: &[u32]) -> bool {
        (self.entries.iter()).any(|entry| {
            entry.detached
                && (entry.identifiers.iter()).any(|it| identifiers.contains(it))
                && entry.filter.matches(topic)
        })
    }

    fn find_matching(
        &mut self,
        topic: &str,
        wants: impl Fn(&Subscription) -> bool,
        has_room: impl Fn(QueueId) -> bool,
        queues: &mut Vec<QueueId>,
    ) {
        let mut shared = Vec::new();
        for (at, entry) in self.entries.iter().enumerate() {
            let is_new = !entry.detached && !queues.contains(&entry.queue);
            if is_new && wants(entry) && entry.filter.matches(topic) {
                if self.shared > 0 && entry.filter.is_shared() {
                    shared.push(at);
                } else {
                    queues.push(entry.queue);
                }
            }
        }
        self.deal_out(&shared, has_room, queues);
    }

    /// Adds one queue for each of these Shared Subscriptions.
    #[inline]
    fn deal_out(
        &mut self,
        shared: &[usize],
        has_room: impl Fn(QueueId) -> bool,
        queues: &mut Vec<QueueId>,
    ) {
        for &at in shared {
            // A queue that gets the message by another filter has it: a second one would do the work again.
            let filter = &self.entries[at].filter;
            let has_it = |it: &Subscription| it.filter == *filter && queues.contains(&it.queue);
            if !self.entries.iter().any(has_it) {
                queues.extend(self.next_of(&filter.clone(), &has_room));
            }
        }
    }

    /// The queue that gets the next message of the Shared Subscription to `filter`.
    fn next_of(
        &mut self,
        filter: &TopicFilter,
        has_room: impl Fn(QueueId) -> bool,
    ) -> Option<QueueId> {
        let next = (self.entries.iter_mut())
            .filter(|entry| entry.filter == *filter && !entry.detached)
            .min_by_key(|entry| (!has_room(entry.queue), entry.last_served))?;
        self.served += 1;
        next.last_served = self.served;
        Some(next.queue)
    }

    /// The queue that inherits a message from a queue which had the subscriptions `gone` and was given up before its reader took
    /// the message: another queue of the same Shared Subscription. `None` if no other has one that matches.
    pub(crate) fn find_heir(
        &mut self,
        gone: &[Subscription],
        topic: &str,
        has_room: impl Fn(QueueId) -> bool,
    ) -> Option<QueueId> {
        (gone.iter())
            .filter(|it| it.filter.is_shared() && it.filter.matches(topic))
            .find_map(|it| self.next_of(&it.filter, &has_room))
    }
}
