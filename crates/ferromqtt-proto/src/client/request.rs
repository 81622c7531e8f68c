//! SUBSCRIBE and UNSUBSCRIBE on their way: sent, answered, abandoned, and what becomes of them when a connection ends.

use super::subscribe::{Subscribe, Unsubscribe};
use super::{Client, Phase};
use crate::error::{ConnectionError, SubscribeError};
use crate::event::{Delivery, OpId, Outcome};
use crate::packet::{self, Packet, PacketId, ProtocolVersion};
use crate::session::{IdOwner, QueueId, Subscription};
use crate::topic::TopicFilter;

#[derive(Debug)]
pub(super) struct Request {
    pub(super) kind: Kind,
    /// Packet Identifier, once it is on the wire of this connection.
    sent_as: Option<PacketId>,
    /// It was on the wire, of whatever connection.
    was_sent: bool,
    /// Nobody waits for it (any more).
    abandoned: bool,
    /// Restores subscriptions that a lost session held.
    pub(super) restores: bool,
    /// What an UNSUBSCRIBE took out of the registry, to be put back when the server refuses it.
    pub(super) removed: Vec<Subscription>,
}

#[derive(Debug)]
pub(super) enum Kind {
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
}

impl Client {
    /// Whether this server takes a request like this.
    pub(super) fn check_limits(&self, kind: &Kind) -> Result<(), SubscribeError> {
        let (Some(connection), Phase::Connected) = (&self.connection, self.phase) else {
            return Ok(());
        };
        let limits = &connection.limits;
        if let Kind::Subscribe(subscribe) = kind {
            limits.check_identifier(!subscribe.properties.subscription_identifiers.is_empty())?;
            for (filter, _) in &subscribe.filters {
                limits.check_filter(filter)?;
            }
        }
        limits.check_size(kind.size(self.options.protocol))
    }

    /// Whether a SUBSCRIBE gets a Subscription Identifier that its caller has not asked for: one for a queue of its own, and
    /// one that joins a filter which has an identifier and must keep it.
    fn identifies(&self, kind: &Kind) -> bool {
        let (Some(connection), Kind::Subscribe(subscribe)) = (&self.connection, kind) else {
            return false;
        };
        let limits = &connection.limits;
        let filters = subscribe.filters.iter().map(|(filter, _)| filter);
        let subscriptions = &self.session.subscriptions;
        let size = kind.size(self.options.protocol) + LONGEST_IDENTIFIER;
        self.options.protocol.is_v5()
            && (subscribe.queue != QueueId::DEFAULT
                || subscriptions.known_identifier(filters).is_some())
            && subscribe.properties.subscription_identifiers.is_empty()
            && limits.check_identifier(true).is_ok()
            && limits.check_size(size).is_ok()
    }

    /// Sends a request now, or with the next connection.
    pub(super) fn send_or_keep(&mut self, kind: Kind) -> OpId {
        let op = self.next_op();
        self.requests.insert(op, Request::new(kind));
        if self.is_connected() {
            self.send_request(op);
        }
        op
    }

    /// Sends what was accepted while there was no connection, in order.
    pub(super) fn send_waiting_requests(&mut self) {
        for op in self.requests.unsent() {
            self.send_request(op);
        }
    }

    pub(super) fn send_request(&mut self, op: OpId) {
        let Some(request) = self.requests.get(op) else {
            return;
        };
        if let Kind::Subscribe(subscribe) = &request.kind
            && !self.session.inbox.is_open(subscribe.queue)
        {
            return self.finish_request(op, Outcome::Dropped); // nobody would read what it brings
        }
        if let Err(error) = self.check_limits(&request.kind) {
            return self.finish_request(op, Outcome::RequestNotPossible(error));
        }
        let Some(id) = self.session.ids.take(IdOwner::Request(op)) else {
            return; // tried again when an identifier is free
        };
        self.requests.sent(op, id);
        let Some(request) = self.requests.get(op) else {
            return;
        };
        let mut packet = request.kind.packet(id);
        if let Packet::Subscribe(subscribe) = &mut packet {
            self.register(op, subscribe);
        }
        if let Some(Request {
            kind: Kind::Unsubscribe(unsubscribe),
            removed,
            ..
        }) = self.requests.get_mut(op)
        {
            let filters = &unsubscribe.filters;
            let gone = (self.session.subscriptions)
                .remove(|subscription| filters.contains(&subscription.filter));
            removed.extend(gone);
        }
        if let Some(connection) = &mut self.connection {
            connection.transmit.push(&packet, self.options.protocol);
        }
    }

    /// Notes the filters of a SUBSCRIBE, since retained messages may come before SUBACK, and makes `packet` ask for all
    /// that the queues which share a filter want.
    fn register(&mut self, op: OpId, packet: &mut packet::Subscribe) {
        let Some(Request { kind, restores, .. }) = self.requests.get(op) else {
            return;
        };
        let identifies = self.identifies(kind);
        let Kind::Subscribe(subscribe) = kind else {
            return;
        };
        let subscriptions = &mut self.session.subscriptions;
        let own = subscribe
            .properties
            .subscription_identifiers
            .first()
            .copied();
        let identifier = if identifies {
            Some(subscriptions.identifier_for(subscribe.filters.iter().map(|(filter, _)| filter)))
        } else {
            own
        };
        packet.properties.subscription_identifiers = identifier.into_iter().collect();
        for ((filter, options), (_, sent)) in subscribe.filters.iter().zip(&mut packet.filters) {
            *sent = subscriptions.shared_options(filter, subscribe.queue, *options);
            subscriptions.add(Subscription {
                filter: filter.clone(),
                options: *options,
                queue: subscribe.queue,
                detached: *restores && subscriptions.is_detached(filter),
                own_identifier: own,
                identifiers: Vec::new(),
                last_served: 0,
            });
            subscriptions.identify(filter, identifier);
        }
    }

    /// What waits for a connection, and would feed a queue that is closed now.
    pub(super) fn drop_unsent_for(&mut self, queue: QueueId) {
        for op in self.requests.unsent_for(queue) {
            self.finish_request(op, Outcome::Dropped);
        }
    }

    /// Whether a SUBSCRIBE that waits for a connection asks for `filter`.
    pub(super) fn unsent_asks_for(&self, filter: &TopicFilter) -> bool {
        self.requests.unsent_asks_for(filter)
    }

    /// Whether anybody waits for the answer to a SUBSCRIBE or UNSUBSCRIBE.
    pub(super) const fn waits_for_request(&self) -> bool {
        self.requests.has_owners()
    }

    /// Whether a SUBSCRIBE or UNSUBSCRIBE awaits its answer on this connection.
    pub(super) fn has_unanswered_requests(&self) -> bool {
        self.requests.has_sent()
    }

    pub(super) fn request_of(&self, id: PacketId) -> Option<OpId> {
        match self.session.ids.owner(id) {
            Some(IdOwner::Request(op)) => Some(*op),
            _ => None,
        }
    }

    /// Ends a request and frees its Packet Identifier.
    pub(super) fn finish_request(&mut self, op: OpId, outcome: Outcome) {
        let Some(request) = self.requests.remove(op) else {
            return;
        };
        if !request.abandoned {
            self.complete(op, outcome);
        }
        if let Some(id) = request.sent_as {
            self.free(id);
        }
    }

    pub(super) fn abandon_request(&mut self, op: OpId) -> Option<Delivery> {
        self.requests.abandon(op)
    }

    /// The connection is gone, and with it the identifiers of requests. With `retry` they wait for the next connection.
    pub(super) fn suspend_requests(&mut self, cause: &ConnectionError, retry: bool) {
        for (op, mut request) in self.requests.take() {
            if let Some(id) = request.sent_as.take() {
                self.session.ids.release(id);
            }
            if retry && (request.restores || !request.abandoned) {
                self.requests.insert(op, request);
                continue;
            }
            if request.abandoned {
                continue;
            }
            let delivery = request.delivery();
            let cause = cause.clone();
            self.complete(op, Outcome::Disconnected { cause, delivery });
        }
    }
}

impl Request {
    pub(super) const fn new(kind: Kind) -> Self {
        Self {
            kind,
            sent_as: None,
            was_sent: false,
            abandoned: false,
            restores: false,
            removed: Vec::new(),
        }
    }

    /// One that nobody waits for, and that outlives connections all the same.
    pub(super) const fn restoring(subscribe: Subscribe) -> Self {
        let mut request = Self::new(Kind::Subscribe(subscribe));
        request.abandoned = true;
        request.restores = true;
        request
    }

    pub(super) const fn is_sent(&self) -> bool {
        self.sent_as.is_some()
    }

    pub(super) const fn sent_as(&mut self, id: PacketId) {
        self.sent_as = Some(id);
        self.was_sent = true;
    }

    pub(super) const fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    pub(super) const fn abandon(&mut self) {
        self.abandoned = true;
    }

    pub(super) const fn delivery(&self) -> Delivery {
        if self.was_sent {
            Delivery::Unknown
        } else {
            Delivery::NotSent
        }
    }
}

impl Kind {
    /// Size of the whole packet.
    fn size(&self, version: ProtocolVersion) -> usize {
        self.packet(PacketId::MAX).encoded_len(version)
    }

    /// Whether this asks for `subscription`.
    pub(super) fn subscribes(&self, subscription: &Subscription) -> bool {
        match self {
            Self::Subscribe(subscribe) => {
                subscribe.queue == subscription.queue
                    && (subscribe.filters.iter()).any(|(filter, _)| *filter == subscription.filter)
            }
            Self::Unsubscribe(_) => false,
        }
    }

    fn packet(&self, packet_id: PacketId) -> Packet {
        match self {
            Self::Subscribe(subscribe) => Packet::Subscribe(Box::new(packet::Subscribe {
                packet_id,
                properties: subscribe.properties.clone(),
                filters: (subscribe.filters.iter())
                    .map(|(filter, options)| (filter.as_utf8().clone(), *options))
                    .collect(),
            })),
            Self::Unsubscribe(unsubscribe) => Packet::Unsubscribe(Box::new(packet::Unsubscribe {
                packet_id,
                properties: unsubscribe.properties.clone(),
                filters: (unsubscribe.filters.iter())
                    .map(|filter| filter.as_utf8().clone())
                    .collect(),
            })),
        }
    }
}

/// A Subscription Identifier of four bytes, behind the property's own.
const LONGEST_IDENTIFIER: usize = 5;
