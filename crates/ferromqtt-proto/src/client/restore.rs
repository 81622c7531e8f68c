//! Subscribing again, by itself, to what a lost session held.

use std::collections::HashSet;

use super::Client;
use super::filter_request::Kind;
use super::filter_requests::FilterRequest;
use super::subscribe::Subscribe;
use crate::error::InvalidSubscribe;
use crate::event::Event;
use crate::filter_refusal::FilterRefusal;
use crate::packet::Properties;
use crate::session::{QueueId, Subscription};
use crate::topic::TopicFilter;

/// Filters in one SUBSCRIBE: some servers bound them.
const MOST_FILTERS: usize = 100;

impl Client {
    /// Whether subscriptions were being restored when the last connection ended.
    pub(super) fn is_restoring(&self) -> bool {
        self.requests.any_restores()
    }

    /// Subscribes again to all that a lost session held, or one that may have been lost, before any request that waits: an
    /// UNSUBSCRIBE among those must come after it. Each packet keeps to the limits of this server; what it does not support is
    /// reported.
    pub(super) fn restore_subscriptions(&mut self) {
        self.requests.remove_restoring();
        let waiting: HashSet<_> = (self.requests.values())
            .map(|request| &request.kind)
            .filter(|kind| self.check_limits(kind).is_ok())
            .flat_map(Kind::subscriptions)
            .collect();
        let mut subscriptions = self.session.subscriptions.all();
        subscriptions.retain(|held| !waiting.contains(&(held.queue, &held.filter))); // those are sent again anyway
        let mut next: Option<Subscribe> = None;
        for subscription in subscriptions {
            let alone = as_subscribe(&subscription);
            if let Err(error) = self.check_limits(&Kind::Subscribe(alone.clone())) {
                let refusal = FilterRefusal::NotAsked(error);
                self.not_resubscribed(subscription.queue, subscription.filter, refusal);
                continue;
            }
            next = match next.take() {
                Some(before) => Some(self.join_or_restore(before, alone)),
                None => Some(alone),
            };
        }
        self.restore(next);
    }

    /// The server has resumed the session in a version before 5.0, which brings no requests: the subscriptions of
    /// [responders](Client::open_request_queue) end.
    #[cold]
    pub(super) fn end_responders(&mut self) {
        for subscription in self.session.subscriptions.all() {
            if let Err(error) = self.check_requests(subscription.queue) {
                let refusal = FilterRefusal::NotAsked(error);
                self.not_resubscribed(subscription.queue, subscription.filter, refusal);
            }
        }
    }

    /// Whether a queue can be fed by this version of MQTT.
    pub(super) fn check_requests(&self, queue: QueueId) -> Result<(), InvalidSubscribe> {
        match !self.options.protocol.is_v5() && self.session.inbox.is_of_requests(queue) {
            true => Err(InvalidSubscribe::NoRequests),
            false => Ok(()),
        }
    }

    /// Both in one packet, if that says the same and the server takes it. Otherwise sends the first one.
    fn join_or_restore(&mut self, mut before: Subscribe, mut alone: Subscribe) -> Subscribe {
        let alike = before.queue == alone.queue && before.properties == alone.properties;
        if alike && before.filters.len() < MOST_FILTERS {
            let count = before.filters.len();
            before.filters.append(&mut alone.filters);
            let joined = Kind::Subscribe(before);
            let fits = self.packets_of(&joined).len() == 1;
            let Kind::Subscribe(mut joined) = joined else {
                return alone; // never: it is made here
            };
            if fits {
                return joined;
            }
            alone.filters = joined.filters.split_off(count);
            before = joined;
        }
        self.restore(Some(before));
        alone
    }

    fn restore(&mut self, subscribe: Option<Subscribe>) {
        let Some(subscribe) = subscribe else {
            return;
        };
        let op = self.next_op();
        self.requests
            .insert(op, FilterRequest::restoring(subscribe));
        self.send_request(op);
    }

    /// A subscription is gone, and its queue may be waiting for messages: reports it to the application.
    pub(super) fn not_resubscribed(
        &mut self,
        queue: QueueId,
        filter: TopicFilter,
        refusal: FilterRefusal,
    ) {
        self.session.subscriptions.remove(&filter, queue);
        if self.correlation.is_fed_by(queue) {
            return self.no_responses(&refusal);
        }
        self.events.push_back(Event::NotResubscribed {
            queue,
            filter,
            refusal,
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
