//! Subscribing again, by itself, to what a lost session held.

use super::Client;
use super::request::{Kind, Request};
use super::subscribe::Subscribe;
use crate::event::{Event, OpId};
use crate::packet::{Properties, ReasonCode};
use crate::session::{QueueId, Subscription};
use crate::topic::TopicFilter;

/// Filters in one SUBSCRIBE: some servers bound them.
const MOST_FILTERS: usize = 100;

impl Client {
    /// Whether subscriptions were being restored when the last connection ended.
    pub(super) fn is_restoring(&self) -> bool {
        self.requests.values().any(|request| request.restores)
    }

    /// Subscribes again to all that a lost session held, before any request that waits: an UNSUBSCRIBE among those must
    /// come after it. Each packet keeps to the limits of this server; what it does not support is reported.
    pub(super) fn restore_subscriptions(&mut self) {
        let restoring = |op: &OpId| self.requests.get(*op).is_some_and(|it| it.restores);
        let restoring: Vec<_> = self
            .requests
            .unsent()
            .into_iter()
            .filter(restoring)
            .collect();
        for op in restoring {
            self.requests.remove(op);
        }
        let waiting: Vec<_> = (self.requests.values())
            .map(|request| &request.kind)
            .filter(|kind| self.check_limits(kind).is_ok())
            .collect();
        let subscriptions: Vec<_> = (self.session.subscriptions.iter())
            .filter(|&held| !waiting.iter().any(|kind| kind.subscribes(held)))
            .cloned() // the others are sent again anyway
            .collect();
        let mut next: Option<Subscribe> = None;
        for subscription in subscriptions {
            let alone = as_subscribe(&subscription);
            if let Err(error) = self.check_limits(&Kind::Subscribe(alone.clone())) {
                self.not_restored(subscription.queue, subscription.filter, error.as_reason());
                continue;
            }
            let Some(joined) = next.as_ref().and_then(|it| joined(it, &alone)) else {
                self.restore(next.replace(alone));
                continue;
            };
            let fits = (self.check_limits(&Kind::Subscribe(joined.clone()))).is_ok();
            if fits {
                next = Some(joined);
            } else {
                self.restore(next.replace(alone));
            }
        }
        self.restore(next);
    }

    fn restore(&mut self, subscribe: Option<Subscribe>) {
        let Some(subscribe) = subscribe else {
            return;
        };
        let op = self.next_op();
        self.requests.insert(op, Request::restoring(subscribe));
        self.send_request(op);
    }

    /// A subscription is gone, and its queue may be waiting for messages: the application is told.
    pub(super) fn not_restored(&mut self, queue: QueueId, filter: TopicFilter, reason: ReasonCode) {
        self.session
            .subscriptions
            .remove(|it| it.queue == queue && it.filter == filter);
        if self.correlation.is_fed_by(queue) {
            return self.no_responses(reason);
        }
        self.events.push_back(Event::NotRestored {
            queue,
            filter,
            reason,
        });
    }
}

fn as_subscribe(subscription: &Subscription) -> Subscribe {
    Subscribe {
        filters: vec![(subscription.filter.clone(), subscription.options)],
        properties: Properties {
            subscription_identifiers: (subscription.own_identifier.into_iter()).collect(),
            ..Properties::default()
        },
        queue: subscription.queue,
    }
}

/// Both in one packet, if that says the same.
fn joined(one: &Subscribe, other: &Subscribe) -> Option<Subscribe> {
    let alike = one.queue == other.queue && one.properties == other.properties;
    if !alike || one.filters.len() >= MOST_FILTERS {
        return None;
    }
    let mut joined = one.clone();
    joined.filters.extend(other.filters.iter().cloned());
    Some(joined)
}
