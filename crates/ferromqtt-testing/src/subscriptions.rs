//! Who subscribes to what, but for Shared Subscriptions.

use std::collections::BTreeMap;

use ferromqtt_proto::packet::SubscriptionOptions;
use ferromqtt_proto::{FilterTree, TopicFilter};

use crate::session::SessionId;

/// One subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionSubscription {
    pub(crate) session: SessionId,
    pub(crate) options: SubscriptionOptions,
    pub(crate) identifier: Option<u32>,
}

/// All subscriptions: for each filter those of the sessions that have it.
#[derive(Debug, Default)]
pub(crate) struct SubscriptionTable(FilterTree<Subscribers>);

/// The subscriptions to one filter: never none.
#[derive(Debug)]
#[allow(
    clippy::box_collection,
    reason = "most filters have one subscription, and all are smaller for it"
)]
enum Subscribers {
    One(SessionSubscription),
    Many(Box<BTreeMap<SessionId, SessionSubscription>>),
}

impl SubscriptionTable {
    /// Adds a subscription, or replaces the session's one with the same filter (MQTT-3.8.4-3): then it says `true`.
    pub(crate) fn insert(
        &mut self,
        filter: &TopicFilter,
        subscription: SessionSubscription,
    ) -> bool {
        let Some(subscribers) = self.0.get_mut(filter) else {
            (self.0).get_or_insert_with(filter, || Subscribers::One(subscription));
            return false;
        };
        match subscribers {
            Subscribers::One(old) if old.session == subscription.session => {
                *old = subscription;
                true
            }
            Subscribers::One(old) => {
                let both = [*old, subscription].map(|it| (it.session, it));
                *subscribers = Subscribers::Many(Box::new(BTreeMap::from(both)));
                false
            }
            Subscribers::Many(all) => all.insert(subscription.session, subscription).is_some(),
        }
    }

    /// Removes a subscription, if there is one.
    pub(crate) fn remove(&mut self, filter: &TopicFilter, session: SessionId) -> bool {
        let Some(subscribers) = self.0.get_mut(filter) else {
            return false;
        };
        let (removed, empty) = match subscribers {
            Subscribers::One(old) => (old.session == session, old.session == session),
            Subscribers::Many(all) => (all.remove(&session).is_some(), all.is_empty()),
        };
        if empty {
            self.0.remove(filter);
        }
        removed
    }

    /// Appends every subscription whose filter matches `topic` to `found`; sessions may come more than once.
    pub(crate) fn matching(&self, topic: &str, found: &mut Vec<SessionSubscription>) {
        self.0
            .for_each_match(topic, |subscribers| match subscribers {
                Subscribers::One(one) => found.push(*one),
                Subscribers::Many(all) => found.extend(all.values()),
            });
    }
}
