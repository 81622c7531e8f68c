//! Which filters are subscribed, and which queue each feeds.

mod group;
mod identifiers;
mod routing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasherDefault;

use super::inbox::QueueId;
use super::packet_id::IdHasher;
use crate::codec::MAX_REMAINING_LENGTH;
use crate::packet::SubscriptionOptions;
use crate::topic::TopicFilter;
use crate::topic_tree::FilterTree;
use group::{Change, Group};
pub(crate) use identifiers::Identifiers;
pub(crate) use routing::Heirs;
use routing::Matching;

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
    /// The identifiers that the server knew or knows it by.
    pub(crate) identifiers: Identifiers,
    /// Of a Shared Subscription: the number of the last message that this queue got by it.
    pub(crate) last_served: u64,
}

/// The registry. Order is that of subscribing, whatever the indexes that find them.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    /// Where the groups of each filter stand in `groups`.
    tree: FilterTree<Groups>,
    groups: Vec<Group>,
    unused: Vec<usize>,
    /// The only group, if there is just one, and that is no Shared Subscription: it is compared with a topic faster than the
    /// tree finds it.
    only: Option<usize>,
    /// What feeds each queue.
    by_queue: HashMap<u32, Fed, BuildHasherDefault<IdHasher>>,
    /// Counts all subscriptions that ever were.
    last_number: u64,
    /// How many subscriptions feed a queue other than the default one: while there is none, no message needs matching.
    routed: usize,
    /// How many are detached.
    detached: usize,
    /// How many subscriptions know each identifier.
    known: HashMap<u32, usize, BuildHasherDefault<IdHasher>>,
    /// The identifier that was made here last.
    last_identifier: u32,
    /// But for those that a caller has given, ever: as many as callers use different ones.
    given: BTreeSet<u32>,
    /// Numbers the messages of Shared Subscriptions.
    served: u64,
    /// Empty: the memory for the groups that match a message.
    matching: Matching,
    /// Empty: the memory for the subscriptions that want a message, by their numbers.
    wanting: Vec<(u64, QueueId)>,
}

/// The groups of a filter and of all Shared Subscriptions to it.
#[derive(Debug, Default)]
struct Groups {
    plain: Option<usize>,
    shared: Shares,
}

/// The groups of Shared Subscriptions. Most filters have none, and take little memory for that.
#[derive(Debug, Default)]
#[allow(
    clippy::box_collection,
    reason = "few filters have a map, and all are smaller for it"
)]
struct Shares(Option<Box<BTreeMap<TopicFilter, usize>>>);

impl Shares {
    fn values(&self) -> impl Iterator<Item = usize> {
        self.0.iter().flat_map(|shares| shares.values().copied())
    }

    fn remove(&mut self, filter: &TopicFilter) {
        if let Some(shares) = &mut self.0 {
            shares.remove(filter);
        }
        self.0.take_if(|shares| shares.is_empty());
    }
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
            tree: FilterTree::default(),
            groups: Vec::new(),
            unused: Vec::new(),
            only: None,
            by_queue: HashMap::default(),
            last_number: 0,
            routed: 0,
            detached: 0,
            known: HashMap::default(),
            last_identifier: FIRST_IDENTIFIER - 1,
            given: BTreeSet::new(),
            served: 0,
            matching: Matching::default(),
            wanting: Vec::new(),
        }
    }
}

impl Subscriptions {
    /// Begins to count at a number that is this client's alone. A server that has kept messages for a session sends them with
    /// the identifiers of an earlier client, which must not be taken for those of other subscriptions.
    pub(crate) fn count_from(&mut self, random: u64) {
        if self.by_queue.is_empty() {
            self.last_identifier = FIRST_IDENTIFIER + (random % u64::from(SPREAD)) as u32;
        }
    }

    /// The group of a filter, which has at least one member.
    fn group_of(&self, filter: &TopicFilter) -> Option<usize> {
        let groups = self.tree.get(filter)?;
        match filter.is_shared() {
            true => groups.shared.0.as_ref()?.get(filter).copied(),
            false => groups.plain,
        }
    }

    fn make_group(&mut self, filter: &TopicFilter) -> usize {
        let group = Group::new(filter.clone());
        let at = match self.unused.pop() {
            Some(unused) => {
                self.groups[unused] = group;
                unused
            }
            None => {
                self.groups.push(group);
                self.groups.len() - 1
            }
        };
        let groups = self.tree.get_or_insert_with(filter, Groups::default);
        match filter.is_shared() {
            true => {
                _ = groups
                    .shared
                    .0
                    .get_or_insert_default()
                    .insert(filter.clone(), at)
            }
            false => groups.plain = Some(at),
        }
        self.find_only();
        at
    }

    fn drop_group(&mut self, at: usize) {
        let filter = self.groups[at].filter.clone();
        if let Some(groups) = self.tree.get_mut(&filter) {
            match filter.is_shared() {
                true => groups.shared.remove(&filter),
                false => groups.plain = None,
            }
            if groups.plain.is_none() && groups.shared.0.is_none() {
                self.tree.remove(&filter);
            }
        }
        self.unused.push(at);
        if self.unused.len() == self.groups.len() {
            (self.groups, self.unused) = (Vec::new(), Vec::new()); // gives the memory back
        }
        self.find_only();
    }

    fn find_only(&mut self) {
        let groups = self.tree.only().filter(|groups| groups.shared.0.is_none());
        self.only = groups.and_then(|groups| groups.plain);
    }

    pub(crate) fn add(&mut self, subscription: Subscription) {
        self.given.extend(subscription.own_identifier);
        let Some(at) = self.group_of(&subscription.filter) else {
            let at = self.make_group(&subscription.filter);
            return self.push(at, subscription);
        };
        let group = &self.groups[at];
        let same = (group.number_of(subscription.queue)).or_else(|| group.detached());
        match same {
            Some(number) => self.replace(at, number, &subscription),
            None if subscription.detached => {} // others have the filter
            None => self.push(at, subscription),
        }
    }

    fn push(&mut self, at: usize, subscription: Subscription) {
        self.last_number += 1;
        let number = self.last_number;
        for identifier in subscription.identifiers.iter() {
            count_known(&mut self.known, identifier, Change::More);
        }
        self.enter(at, number, subscription.queue, subscription.detached);
        self.groups[at].push(number, subscription);
    }

    fn replace(&mut self, at: usize, number: u64, subscription: &Subscription) {
        let Some(member) = self.groups[at].get(number) else {
            return;
        };
        let (queue, detached) = (member.queue, member.detached);
        self.leave(number, queue, detached);
        self.enter(at, number, subscription.queue, subscription.detached);
        self.groups[at].replace(number, subscription);
    }

    /// Makes a subscription known to the indexes.
    fn enter(&mut self, at: usize, number: u64, queue: QueueId, detached: bool) {
        self.by_queue.entry(queue.0).or_default().insert(number, at);
        self.routed += usize::from(queue != QueueId::DEFAULT);
        self.detached += usize::from(detached);
    }

    fn leave(&mut self, number: u64, queue: QueueId, detached: bool) {
        if let Some(fed) = self.by_queue.get_mut(&queue.0) {
            fed.remove(number);
            if fed.is_empty() {
                self.by_queue.remove(&queue.0);
            }
        }
        self.routed -= usize::from(queue != QueueId::DEFAULT);
        self.detached -= usize::from(detached);
    }

    fn take(&mut self, at: usize, number: u64) -> Option<Subscription> {
        let gone = self.groups[at].remove(number)?;
        self.leave(number, gone.queue, gone.detached);
        for identifier in gone.identifiers.iter() {
            count_known(&mut self.known, identifier, Change::Less);
        }
        if self.groups[at].is_empty() {
            self.drop_group(at);
        }
        Some(gone)
    }

    /// Removes all.
    pub(crate) fn clear(&mut self) {
        *self = Self {
            last_number: self.last_number,
            last_identifier: self.last_identifier,
            given: std::mem::take(&mut self.given),
            served: self.served,
            ..Self::default()
        };
    }

    /// Removes what feeds a queue, in order.
    pub(crate) fn remove_queue(&mut self, queue: QueueId) -> Vec<Subscription> {
        let gone: Vec<_> = self.of_queue(queue).collect();
        (gone.into_iter())
            .filter_map(|(number, at)| self.take(at, number))
            .collect()
    }

    /// Removes the subscriptions of all queues to `filters`, in order.
    pub(crate) fn remove_filters(&mut self, filters: &[TopicFilter]) -> Vec<Subscription> {
        let mut gone = Vec::new();
        for filter in filters {
            let Some(at) = self.group_of(filter) else {
                continue;
            };
            let numbers: Vec<_> = (self.groups[at].iter()).map(|(number, _)| number).collect();
            for number in numbers {
                gone.extend(self.take(at, number).map(|it| (number, it)));
            }
        }
        gone.sort_unstable_by_key(|(number, _)| *number);
        gone.into_iter()
            .map(|(_, subscription)| subscription)
            .collect()
    }

    /// Removes what feeds a queue by a filter.
    pub(crate) fn remove(&mut self, filter: &TopicFilter, queue: QueueId) {
        if let Some(at) = self.group_of(filter)
            && let Some(number) = self.groups[at].number_of(queue)
        {
            self.take(at, number);
        }
    }

    /// Removes the detached subscription to a filter, if there is one.
    pub(crate) fn remove_detached(&mut self, filter: &TopicFilter) {
        if let Some(at) = self.group_of(filter)
            && let Some(number) = self.groups[at].detached()
        {
            self.take(at, number);
        }
    }

    /// The queue is given up, and what is subscribed for it alone is not. Returns what other queues have too.
    pub(crate) fn detach(&mut self, queue: QueueId) -> Vec<Subscription> {
        let mut left_to_others = Vec::new();
        for mut entry in self.remove_queue(queue) {
            if self.contains(&entry.filter) {
                left_to_others.push(entry);
            } else {
                entry.queue = QueueId::DEFAULT;
                entry.detached = true;
                let at = self.make_group(&entry.filter);
                self.push(at, entry);
            }
        }
        left_to_others
    }

    pub(crate) fn is_detached(&self, filter: &TopicFilter) -> bool {
        (self.group_of(filter)).is_some_and(|at| self.groups[at].detached().is_some())
    }

    /// Whether a subscription whose queue was given up has messages with this topic.
    pub(crate) fn has_detached(&self, topic: &str) -> bool {
        let mut has_detached = false;
        if self.detached > 0 {
            self.tree.for_each_match(topic, |groups| {
                has_detached |= groups.iter().any(|at| self.groups[at].detached().is_some());
            });
        }
        has_detached
    }

    /// The server's subscription to `filter` has this identifier from now on, or none.
    pub(crate) fn identify(&mut self, filter: &TopicFilter, identifier: Option<u32>) {
        if let Some(at) = self.group_of(filter) {
            let known = &mut self.known;
            self.groups[at].identify(identifier, |it, change| count_known(known, it, change));
        }
    }

    /// The identifier that one of `filters` has already.
    pub(crate) fn known_identifier<'a>(
        &self,
        filters: impl IntoIterator<Item = &'a TopicFilter>,
    ) -> Option<u32> {
        filters.into_iter().find_map(|filter| {
            let (_, first) = self.groups[self.group_of(filter)?].first()?;
            first.identifiers.newest()
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
            let taken = self.known.contains_key(&self.last_identifier);
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
        let Some(at) = self.group_of(filter) else {
            return options;
        };
        let group = &self.groups[at];
        group.shared_options(group.number_of(queue), options)
    }

    /// Whether the same filter feeds the same queue already.
    pub(crate) fn holds(&self, other: &Subscription) -> bool {
        (self.group_of(&other.filter))
            .is_some_and(|at| self.groups[at].number_of(other.queue).is_some())
    }

    pub(crate) fn contains(&self, filter: &TopicFilter) -> bool {
        self.group_of(filter).is_some()
    }

    /// All subscriptions, in order.
    pub(crate) fn all(&self) -> Vec<Subscription> {
        let mut all: Vec<_> = self.by_queue.values().flat_map(Fed::iter).collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        (all.into_iter())
            .filter_map(|(number, at)| {
                let group = &self.groups[at];
                Some(group.subscription(group.get(number)?.clone()))
            })
            .collect()
    }

    /// The numbers and groups of what feeds a queue, in order.
    fn of_queue(&self, queue: QueueId) -> impl Iterator<Item = (u64, usize)> {
        self.by_queue.get(&queue.0).into_iter().flat_map(Fed::iter)
    }

    /// The filters that are subscribed for a queue, in order. Detached ones are no queue's.
    pub(crate) fn filters(&self, queue: QueueId) -> impl Iterator<Item = &TopicFilter> {
        (self.of_queue(queue)).filter_map(move |(number, at)| {
            let group = &self.groups[at];
            let is_there = queue != QueueId::DEFAULT || !group.get(number)?.detached;
            is_there.then_some(&group.filter)
        })
    }

    pub(crate) const fn all_to_default(&self) -> bool {
        self.routed == 0
    }
}

/// The numbers and groups of what feeds one queue, in order. Most queues have one filter.
#[derive(Debug, Default)]
struct Fed {
    first: Option<(u64, usize)>,
    others: BTreeMap<u64, usize>,
}

impl Fed {
    const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn iter(&self) -> impl Iterator<Item = (u64, usize)> {
        let others = self.others.iter().map(|(&number, &at)| (number, at));
        self.first.into_iter().chain(others)
    }

    /// Adds one, not always the last: one that was detached keeps its number.
    fn insert(&mut self, number: u64, at: usize) {
        match &mut self.first {
            None => self.first = Some((number, at)),
            Some(first) if number < first.0 => {
                self.others.insert(first.0, first.1);
                *first = (number, at);
            }
            Some(_) => _ = self.others.insert(number, at),
        }
    }

    fn remove(&mut self, number: u64) {
        if self.first.take_if(|first| first.0 == number).is_some() {
            self.first = self.others.pop_first();
        } else {
            self.others.remove(&number);
        }
    }
}

impl Groups {
    #[inline]
    fn iter(&self) -> impl Iterator<Item = usize> {
        self.plain.into_iter().chain(self.shared.values())
    }
}

fn count_known(
    known: &mut HashMap<u32, usize, BuildHasherDefault<IdHasher>>,
    identifier: u32,
    change: Change,
) {
    let count = known.entry(identifier).or_default();
    match change {
        Change::More => *count += 1,
        Change::Less => *count -= 1,
    }
    if *count == 0 {
        known.remove(&identifier);
    }
}
