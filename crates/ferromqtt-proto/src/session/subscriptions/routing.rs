//! Which queues get a message.

use std::collections::{BTreeMap, BTreeSet};

use super::group::{Group, Member};
use super::{Subscription, Subscriptions};
use crate::session::QueueId;

/// The Shared Subscriptions of a queue that was given up, by their groups: which of them comes first.
#[derive(Debug, Default)]
pub(crate) struct Heirs(BTreeMap<usize, usize>);

/// The groups that match a topic.
#[derive(Debug, Default)]
pub(super) struct Matching {
    plain: Vec<usize>,
    shared: Vec<usize>,
}

/// So many identifiers of a message are looked at as they are: a message has one for each subscription that it matches.
const FEW_IDENTIFIERS: usize = 32;

impl Subscriptions {
    /// The queues that want a message with this topic, each once. `identifiers` are those that the server has put on it,
    /// one for each subscription that it was sent for (MQTT-3.3.4-3 to MQTT-3.3.4-5): a server may send it once for all of
    /// them or once for each, and either way a queue gets it once. Of the queues of one Shared Subscription, one gets it: the
    /// one served least recently among those that are not full, or among all if all are.
    /// They are put into `queues`, which is empty.
    #[inline]
    pub(crate) fn find_queues(
        &mut self,
        topic: &str,
        identifiers: &[u32],
        has_room: impl Fn(QueueId) -> bool,
        queues: &mut Vec<QueueId>,
    ) {
        let known;
        let identifiers = if identifiers.len() > FEW_IDENTIFIERS {
            known = self.known_of(identifiers);
            &known
        } else {
            identifiers
        };
        if let Some(at) = self.only {
            let group = &self.groups[at];
            if group.filter.matches(topic) {
                group.push_queues(|member| member.was_sent_for(identifiers), queues);
                if queues.is_empty() && !group.is_detached_for(identifiers) {
                    group.push_queues(|_| true, queues);
                }
            }
            return;
        }
        self.find_in_tree(topic, identifiers, has_room, queues);
    }

    /// The same among many filters.
    #[inline(never)]
    fn find_in_tree(
        &mut self,
        topic: &str,
        identifiers: &[u32],
        has_room: impl Fn(QueueId) -> bool,
        queues: &mut Vec<QueueId>,
    ) {
        let was_sent_for = |member: &Member| member.was_sent_for(identifiers);
        let mut matching = std::mem::take(&mut self.matching);
        self.tree.for_each_match(topic, |groups| {
            matching.plain.extend(groups.plain);
            matching.shared.extend(groups.shared.values());
        });
        self.choose(&matching, was_sent_for, &has_room, queues);
        if queues.is_empty()
            && !identifiers.is_empty()
            && !self.is_for_detached(&matching, identifiers)
        {
            // an identifier of a subscription that has been replaced since
            self.choose(&matching, |_| true, &has_room, queues);
        }
        matching.plain.clear();
        matching.shared.clear();
        self.matching = matching;
    }

    /// Those of many identifiers that a subscription has, each once. One that none has stays if none is left, since a message
    /// without any is another matter. A packet has room for half a million, and each subscription is compared with all.
    #[cold]
    fn known_of(&self, identifiers: &[u32]) -> Vec<u32> {
        let known: BTreeSet<_> = (identifiers.iter().copied())
            .filter(|it| self.known.contains_key(it))
            .collect();
        if known.is_empty() {
            return identifiers[..1].to_vec();
        }
        known.into_iter().collect()
    }

    /// Whether the server has sent a message for one of these groups whose queue was given up.
    fn is_for_detached(&self, matching: &Matching, identifiers: &[u32]) -> bool {
        let groups = matching.plain.iter().chain(&matching.shared);
        groups
            .copied()
            .any(|at| self.groups[at].is_detached_for(identifiers))
    }

    /// The queues of these groups that want a message, and one for each Shared Subscription.
    fn choose(
        &mut self,
        matching: &Matching,
        wants: impl Fn(&Member) -> bool,
        has_room: impl Fn(QueueId) -> bool,
        queues: &mut Vec<QueueId>,
    ) {
        if let (&[at], []) = (&*matching.plain, &*matching.shared) {
            return self.groups[at].push_queues(wants, queues); // each has one subscription to it
        }
        let wanting = |at: usize| wanting(&self.groups[at], &wants);
        let mut plain = std::mem::take(&mut self.wanting);
        for &at in &matching.plain {
            plain.extend(wanting(at).map(|(number, member)| (number, member.queue)));
        }
        let shared = matching.shared.iter();
        let mut shared: Vec<_> = shared
            .filter_map(|&at| Some((wanting(at).next()?.0, at)))
            .collect();
        keep_first_of_each_queue(&mut plain);
        queues.extend(plain.drain(..).map(|(_, queue)| queue));
        self.wanting = plain;
        shared.sort_unstable();
        for (_, at) in shared {
            // A queue that gets the message by another filter has it: a second one would do the work again.
            let has_it = |queue: &QueueId| self.groups[at].number_of(*queue).is_some();
            if !queues.iter().any(has_it) {
                queues.extend(self.next_of(at, &has_room));
            }
        }
    }

    /// The queue that gets the next message of a Shared Subscription.
    fn next_of(&mut self, at: usize, has_room: impl Fn(QueueId) -> bool) -> Option<QueueId> {
        let next = self.groups[at].next(self.served + 1, has_room)?;
        self.served += 1;
        Some(next)
    }

    /// The Shared Subscriptions among `gone`, which a queue had that was given up, to [find heirs](Self::find_heir) among the
    /// others that share them. No longer right when subscriptions come or go.
    pub(crate) fn heirs_of(&self, gone: &[Subscription]) -> Heirs {
        let shared = gone
            .iter()
            .enumerate()
            .filter(|(_, it)| it.filter.is_shared());
        Heirs(
            (shared.filter_map(|(order, it)| Some((self.group_of(&it.filter)?, order)))).collect(),
        )
    }

    /// The queue that inherits a message from a queue which was given up before its reader took the message: another queue of
    /// the same Shared Subscription. `None` if no other has one that matches.
    pub(crate) fn find_heir(
        &mut self,
        heirs: &Heirs,
        topic: &str,
        has_room: impl Fn(QueueId) -> bool,
    ) -> Option<QueueId> {
        if heirs.0.is_empty() {
            return None;
        }
        let mut matching = Vec::new();
        self.tree.for_each_match(topic, |groups| {
            let shared = groups.shared.values();
            matching.extend(shared.filter_map(|at| Some((*heirs.0.get(&at)?, at))));
        });
        matching.sort_unstable();
        (matching.into_iter()).find_map(|(_, at)| self.next_of(at, &has_room))
    }
}

/// The subscriptions that want a message, of those to a filter that matches it.
#[inline]
fn wanting(group: &Group, wants: impl Fn(&Member) -> bool) -> impl Iterator<Item = (u64, &Member)> {
    (group.iter()).filter(move |(_, member)| !member.detached && wants(member))
}

/// Brings subscriptions into order, and keeps the first one of each queue.
fn keep_first_of_each_queue(subscriptions: &mut Vec<(u64, QueueId)>) {
    if subscriptions.len() > 1 {
        subscriptions.sort_unstable_by_key(|(number, queue)| (queue.0, *number));
        subscriptions.dedup_by_key(|(_, queue)| *queue);
        subscriptions.sort_unstable_by_key(|(number, _)| *number);
    }
}
