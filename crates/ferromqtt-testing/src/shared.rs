//! Shared Subscriptions (section 4.8.2): each message goes to one of the sessions that share.
//!
//! They take turns. A session that cannot be reached now is passed over while one can: whoever is connected comes first, at
//! any QoS. When all are away, the message goes to one whose session keeps it, which takes QoS 1 or 2 on both sides and
//! room in the queue. Only when there is none either, it is lost. A message that was given to a session stays with it:
//! the standard allows to give it to another when that session ends before it is acknowledged, and this broker does not.

use std::collections::BTreeMap;

use ferromqtt_proto::{FilterTree, TopicFilter};

use crate::session::SessionId;
use crate::subscriptions::Subscription;

/// All Shared Subscriptions: for each inner filter those to `$share/name/filter`.
#[derive(Debug, Default)]
pub(crate) struct SharedSubscriptions(FilterTree<BTreeMap<TopicFilter, Sharing>>);

/// Who shares one subscription.
#[derive(Debug, Default)]
struct Sharing {
    subscriptions: Vec<Subscription>,
    /// Whose turn it is: a place in `subscriptions`.
    turn: usize,
}

/// What becomes of a message that is given to a subscription, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Chance {
    Lost,
    Kept,
    Sent,
}

impl SharedSubscriptions {
    /// Adds a session to those that share, or replaces its options: then it says `true`.
    pub(crate) fn insert(&mut self, filter: &TopicFilter, subscription: Subscription) -> bool {
        let shares = self.0.get_or_insert_with(filter, BTreeMap::new);
        let sharing = shares.entry(filter.clone()).or_default();
        let old = (sharing.subscriptions.iter_mut())
            .find(|old| old.session == subscription.session)
            .map(|old| *old = subscription);
        if old.is_none() {
            sharing.subscriptions.push(subscription);
        }
        old.is_some()
    }

    /// Takes a session out of those that share, if it is one.
    pub(crate) fn remove(&mut self, filter: &TopicFilter, session: SessionId) -> bool {
        let Some(shares) = self.0.get_mut(filter) else {
            return false;
        };
        let Some(sharing) = shares.get_mut(filter) else {
            return false;
        };
        let place = (sharing.subscriptions.iter()).position(|it| it.session == session);
        if let Some(place) = place {
            sharing.subscriptions.remove(place);
            if place < sharing.turn {
                sharing.turn -= 1; // the others keep their turns
            }
        }
        if sharing.subscriptions.is_empty() {
            shares.remove(filter);
        }
        if shares.is_empty() {
            self.0.remove(filter);
        }
        place.is_some()
    }

    /// Appends one subscription to `chosen` for each Shared Subscription that matches `topic`.
    pub(crate) fn choose(
        &mut self,
        topic: &str,
        chance: impl Fn(&Subscription) -> Chance,
        chosen: &mut Vec<Subscription>,
    ) {
        let mut matching = Vec::new();
        self.0
            .for_each_match(topic, |shares| matching.extend(shares.keys().cloned()));
        matching.sort_unstable();
        for filter in matching {
            let sharing = self
                .0
                .get_mut(&filter)
                .and_then(|shares| shares.get_mut(&filter));
            chosen.extend(sharing.and_then(|sharing| sharing.next(&chance)));
        }
    }
}

impl Sharing {
    /// The best chance there is; of several alike, whose turn comes first.
    fn next(&mut self, chance: impl Fn(&Subscription) -> Chance) -> Option<Subscription> {
        let count = self.subscriptions.len();
        let mut best = None;
        for place in (0..count).map(|step| (self.turn + step) % count) {
            let chance = chance(&self.subscriptions[place]);
            if best.is_none_or(|(least, _)| chance > least) {
                best = Some((chance, place));
            }
            if chance == Chance::Sent {
                break; // none is better
            }
        }
        let (_, place) = best?;
        self.turn = place + 1;
        self.subscriptions.get(place).copied()
    }
}
