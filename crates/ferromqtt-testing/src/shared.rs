//! Shared Subscriptions (section 4.8.2): each message goes to one of the sessions that share.
//!
//! They take turns. A session that cannot be reached now is passed over while one can: whoever is connected comes first, at
//! any QoS. When all are away, the message goes to one whose session keeps it, which takes QoS 1 or 2 on both sides and
//! room in the queue. Only when there is none either, it is lost.
//!
//! A message that was given to a session stays with it as long as the session lasts, also when its connection breaks. When the
//! session ends, what it did not acknowledge at QoS 1, and what was not sent to it, goes to another session that shares the
//! subscription; a QoS 2 message that was sent goes to nobody else (MQTT-4.8.2-5). Where no session is left, or none that
//! takes it, the message is dropped and counted in [`BrokerStats::dropped`](crate::BrokerStats::dropped).

use std::collections::{BTreeMap, HashMap};

use ferromqtt_proto::{FilterTree, TopicFilter};

use crate::session::SessionId;
use crate::subscriptions::SessionSubscription;

/// All Shared Subscriptions: for each inner filter those to `$share/name/filter`.
#[derive(Debug, Default)]
pub(crate) struct SharedSubscriptions(FilterTree<BTreeMap<TopicFilter, Sharing>>);

/// Who shares one subscription. Places count up and are never used again.
#[derive(Debug, Default)]
struct Sharing {
    by_place: BTreeMap<u64, SessionSubscription>,
    places: HashMap<SessionId, u64>,
    /// How many places were given so far.
    given: u64,
    /// Whose turn it is: a place, or who comes behind it.
    turn: u64,
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
    pub(crate) fn insert(
        &mut self,
        filter: &TopicFilter,
        subscription: SessionSubscription,
    ) -> bool {
        let shares = self.0.get_or_insert_with(filter, BTreeMap::new);
        let sharing = shares.entry(filter.clone()).or_default();
        let next = sharing.given;
        let place = *sharing.places.entry(subscription.session).or_insert(next);
        let is_old = sharing.by_place.insert(place, subscription).is_some();
        if !is_old {
            sharing.given += 1;
        }
        is_old
    }

    /// Takes a session out of those that share, if it is one.
    pub(crate) fn remove(&mut self, filter: &TopicFilter, session: SessionId) -> bool {
        let Some(shares) = self.0.get_mut(filter) else {
            return false;
        };
        let Some(sharing) = shares.get_mut(filter) else {
            return false;
        };
        let place = sharing.places.remove(&session);
        if let Some(place) = place {
            sharing.by_place.remove(&place); // the others keep their turns
        }
        if sharing.places.is_empty() {
            shares.remove(filter);
        }
        if shares.is_empty() {
            self.0.remove(filter);
        }
        place.is_some()
    }

    /// Chooses one subscription for each Shared Subscription that matches `topic`.
    pub(crate) fn choose(
        &mut self,
        topic: &str,
        chance: impl Fn(&TopicFilter, &SessionSubscription) -> Chance,
    ) -> Vec<(TopicFilter, SessionSubscription)> {
        let mut matching = Vec::new();
        self.0
            .for_each_match(topic, |shares| matching.extend(shares.keys().cloned()));
        matching.sort_unstable();
        let chosen = matching.into_iter().filter_map(|filter| {
            let sharing = self.0.get_mut(&filter)?.get_mut(&filter)?;
            let (subscription, _) = sharing.next(|subscription| chance(&filter, subscription))?;
            Some((filter, subscription))
        });
        chosen.collect()
    }

    /// Chooses one that shares `filter` for a message that another cannot get any more, unless it would be lost there too.
    pub(crate) fn choose_another(
        &mut self,
        filter: &TopicFilter,
        chance: impl Fn(&SessionSubscription) -> Chance,
    ) -> Option<SessionSubscription> {
        let sharing = self.0.get_mut(filter)?.get_mut(filter)?;
        let (subscription, chance) = sharing.next(chance)?;
        (chance > Chance::Lost).then_some(subscription)
    }
}

impl Sharing {
    /// The best chance there is; of several alike, whose turn comes first.
    fn next(
        &mut self,
        chance: impl Fn(&SessionSubscription) -> Chance,
    ) -> Option<(SessionSubscription, Chance)> {
        let behind = self.by_place.range(self.turn..);
        let in_turn = behind.chain(self.by_place.range(..self.turn));
        let mut best: Option<(u64, SessionSubscription, Chance)> = None;
        for (&place, &subscription) in in_turn {
            let chance = chance(&subscription);
            if best.is_none_or(|(_, _, found)| chance > found) {
                best = Some((place, subscription, chance));
            }
            if chance == Chance::Sent {
                break;
            }
        }
        let (place, subscription, chance) = best?;
        self.turn = place + 1;
        Some((subscription, chance))
    }
}
