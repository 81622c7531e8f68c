//! Shared Subscriptions (section 4.8.2): each message goes to one of the sessions that share.

use std::collections::BTreeMap;

use ferromqtt_proto::TopicFilter;

use crate::session::SessionId;
use crate::subscriptions::Subscription;

/// All Shared Subscriptions by `$share/name/filter`. A test has few of them, so each message looks at every one.
#[derive(Debug, Default)]
pub(crate) struct SharedSubscriptions(BTreeMap<TopicFilter, Sharing>);

/// Who shares one subscription.
#[derive(Debug, Default)]
struct Sharing {
    subscriptions: Vec<Subscription>,
    /// Whose turn it is: a place in `subscriptions`.
    turn: usize,
}

impl SharedSubscriptions {
    /// Adds a session to those that share, or replaces its options: then it says `true`.
    pub(crate) fn insert(&mut self, filter: &TopicFilter, subscription: Subscription) -> bool {
        let sharing = self.0.entry(filter.clone()).or_default();
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
        let Some(sharing) = self.0.get_mut(filter) else {
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
            self.0.remove(filter);
        }
        place.is_some()
    }

    /// Appends one subscription to `chosen` for each Shared Subscription that matches `topic`.
    pub(crate) fn choose(
        &mut self,
        topic: &str,
        is_online: impl Fn(SessionId) -> bool,
        chosen: &mut Vec<Subscription>,
    ) {
        let matching = self
            .0
            .iter_mut()
            .filter(|(filter, _)| filter.matches(topic));
        chosen.extend(matching.filter_map(|(_, sharing)| sharing.next(&is_online)));
    }
}

impl Sharing {
    /// The next one in turn that is online; when nobody is, the next one at all, whose session keeps the message if it can.
    fn next(&mut self, is_online: impl Fn(SessionId) -> bool) -> Option<Subscription> {
        let count = self.subscriptions.len();
        let place = (0..count)
            .map(|step| (self.turn + step) % count)
            .find(|&place| is_online(self.subscriptions[place].session))
            .unwrap_or_else(|| self.turn % count.max(1));
        self.turn = place + 1;
        self.subscriptions.get(place).copied()
    }
}
