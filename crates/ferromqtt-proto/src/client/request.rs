//! SUBSCRIBE and UNSUBSCRIBE: accepting, sending, completing, and what becomes of them when a connection ends.

use std::time::Instant;

use bytes::BytesMut;

use super::{Client, Phase};
use crate::error::{ConnectionError, DecodeError, PublishError, SubscribeError};
use crate::event::{Delivery, OpId, Outcome};
use crate::packet::{
    self, Packet, PacketId, PacketType, Place, Properties, ProtocolVersion, SubscriptionOptions,
};
use crate::session::{IdOwner, QueueId, Subscription};
use crate::topic::TopicFilter;

/// A subscription to one or more filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The filters with their options: at least one.
    pub filters: Vec<(TopicFilter, SubscriptionOptions)>,
    /// SUBSCRIBE properties (5.0).
    pub properties: Properties,
    /// Where the messages go.
    pub queue: QueueId,
}

/// The end of one or more subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// The filters: at least one.
    pub filters: Vec<TopicFilter>,
    /// UNSUBSCRIBE properties (5.0).
    pub properties: Properties,
}

#[derive(Debug)]
pub(super) struct Request {
    kind: Kind,
    /// Packet Identifier, once it is on the wire of this connection.
    sent_as: Option<PacketId>,
    /// It was on the wire, of whatever connection.
    was_sent: bool,
    /// Nobody waits for it (any more).
    abandoned: bool,
    /// Restores subscriptions that a lost session held.
    restores: bool,
    /// What an UNSUBSCRIBE took out of the registry, to be put back when the server refuses it.
    removed: Vec<Subscription>,
}

#[derive(Debug)]
enum Kind {
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
}

impl Client {
    /// Accepts a SUBSCRIBE. It is sent at once when connected, also past publishes that wait for the server's window
    /// (MQTT-3.3.4-8). Completes as [`Outcome::Subscribed`], with failures of single filters among its Reason Codes.
    ///
    /// # Errors
    /// Whatever [`SubscribeError`] lists; nothing has been sent then.
    pub fn subscribe(
        &mut self,
        _now: Instant,
        subscribe: Subscribe,
    ) -> Result<OpId, SubscribeError> {
        for (filter, options) in &subscribe.filters {
            if options.no_local && filter.is_shared() {
                return Err(SubscribeError::NoLocalShared);
            }
        }
        self.check_request(
            subscribe.filters.iter().map(|(filter, _)| filter),
            &subscribe.properties,
            PacketType::Subscribe,
        )?;
        self.accept(Kind::Subscribe(subscribe))
    }

    /// Accepts an UNSUBSCRIBE, as [`Client::subscribe`] does. Completes as [`Outcome::Unsubscribed`].
    ///
    /// # Errors
    /// Whatever [`SubscribeError`] lists; nothing has been sent then.
    pub fn unsubscribe(
        &mut self,
        _now: Instant,
        unsubscribe: Unsubscribe,
    ) -> Result<OpId, SubscribeError> {
        self.check_request(
            unsubscribe.filters.iter(),
            &unsubscribe.properties,
            PacketType::Unsubscribe,
        )?;
        self.accept(Kind::Unsubscribe(unsubscribe))
    }

    /// Closes a queue: its messages are dropped. Returns the filters that no other queue needs, which the caller should
    /// unsubscribe.
    pub fn close_queue(&mut self, queue: QueueId) -> Vec<TopicFilter> {
        if queue == QueueId::DEFAULT {
            return Vec::new();
        }
        self.session.inbox.close(queue);
        let subscriptions = &mut self.session.subscriptions;
        subscriptions
            .remove(|subscription| subscription.queue == queue)
            .into_iter()
            .map(|subscription| subscription.filter)
            .filter(|filter| !subscriptions.contains(filter))
            .collect()
    }

    fn check_request<'a>(
        &self,
        filters: impl ExactSizeIterator<Item = &'a TopicFilter>,
        properties: &Properties,
        packet_type: PacketType,
    ) -> Result<(), SubscribeError> {
        if filters.len() == 0 {
            return Err(SubscribeError::NoFilter);
        }
        if !self.options.protocol.is_v5() && !properties.is_empty() {
            return Err(SubscribeError::Properties(
                "properties exist in MQTT 5.0 only",
            ));
        }
        if !properties.fit(Place::of(packet_type)) {
            return Err(SubscribeError::Properties(
                "a property given does not belong into this packet, or its value is out of range",
            ));
        }
        if !self.accepts() {
            return Err(SubscribeError::NotConnected);
        }
        if packet_type == PacketType::Subscribe
            && let (Some(connection), Phase::Connected) = (&self.connection, self.phase)
        {
            let identifier = !properties.subscription_identifiers.is_empty();
            connection.limits.check_identifier(identifier)?;
            for filter in filters {
                connection.limits.check_filter(filter)?;
            }
        }
        Ok(())
    }

    fn accept(&mut self, kind: Kind) -> Result<OpId, SubscribeError> {
        if let (Some(connection), Phase::Connected) = (&self.connection, self.phase) {
            if self.session.ids.is_full() {
                return Err(SubscribeError::NoPacketIdentifier);
            }
            let size = kind.size(self.options.protocol);
            connection.limits.check_size(size)?;
        }
        let op = self.next_op();
        self.requests.insert(op, Request::new(kind));
        if self.is_connected() {
            self.send_request(op);
        }
        Ok(op)
    }

    /// Sends what was accepted while there was no connection, in order.
    pub(super) fn send_waiting_requests(&mut self) {
        let waiting: Vec<_> = self
            .requests
            .iter()
            .filter(|(_, request)| request.sent_as.is_none())
            .map(|(&op, _)| op)
            .collect();
        for op in waiting {
            self.send_request(op);
        }
    }

    fn send_request(&mut self, op: OpId) {
        let (Some(request), Some(connection)) = (self.requests.get_mut(&op), &mut self.connection)
        else {
            return;
        };
        let version = self.options.protocol;
        let size = connection.limits.check_size(request.kind.size(version));
        if let Err(SubscribeError::TooLarge { bytes, limit }) = size {
            return self.give_up_request(op, bytes, limit);
        }
        let Some(id) = self.session.ids.take(IdOwner::Request(op)) else {
            return; // tried again when an identifier is free
        };
        request.sent_as = Some(id);
        request.was_sent = true;
        connection.transmit.push(&request.kind.packet(id), version);
        // Retained messages may arrive before SUBACK, so the filters must be known from now on.
        match &request.kind {
            Kind::Subscribe(subscribe) => {
                let identifiers = &subscribe.properties.subscription_identifiers;
                for (filter, options) in &subscribe.filters {
                    self.session.subscriptions.add(Subscription {
                        filter: filter.clone(),
                        options: *options,
                        queue: subscribe.queue,
                        identifier: identifiers.first().copied(),
                    });
                }
            }
            Kind::Unsubscribe(unsubscribe) => {
                let filters = &unsubscribe.filters;
                let removed = (self.session.subscriptions)
                    .remove(|subscription| filters.contains(&subscription.filter));
                request.removed.extend(removed);
            }
        }
    }

    /// The server's Maximum Packet Size was learnt only after the request had been accepted.
    fn give_up_request(&mut self, op: OpId, bytes: usize, limit: usize) {
        let whose = "the server";
        let error = PublishError::TooLarge {
            bytes,
            limit,
            whose,
        };
        if self
            .requests
            .remove(&op)
            .is_some_and(|request| !request.abandoned)
        {
            self.complete(op, Outcome::NotPossible(error));
        }
    }

    /// Whether subscriptions were being restored when the last connection ended.
    pub(super) fn is_restoring(&self) -> bool {
        self.requests.values().any(|request| request.restores)
    }

    /// Subscribes again to all that a lost session held, before any request that waits: an UNSUBSCRIBE among those must
    /// come after it.
    pub(super) fn restore_subscriptions(&mut self) {
        self.requests.retain(|_, request| !request.restores);
        let mut groups: Vec<Subscribe> = Vec::new();
        for subscription in self.session.subscriptions.iter() {
            if (self.requests.values()).any(|request| request.kind.subscribes(subscription)) {
                continue; // it is sent again anyway
            }
            let filter = (subscription.filter.clone(), subscription.options);
            let queue = subscription.queue;
            let properties = Properties {
                subscription_identifiers: subscription.identifier.into_iter().collect(),
                ..Properties::default()
            };
            match groups.last_mut() {
                Some(last)
                    if last.queue == queue
                        && last.properties == properties
                        && last.filters.len() < 100 =>
                {
                    last.filters.push(filter);
                }
                _ => groups.push(Subscribe {
                    filters: vec![filter],
                    properties,
                    queue,
                }),
            }
        }
        for subscribe in groups {
            let op = self.next_op();
            let request = Request {
                abandoned: true,
                restores: true,
                ..Request::new(Kind::Subscribe(subscribe))
            };
            self.requests.insert(op, request);
            self.send_request(op);
        }
    }

    pub(super) fn on_suback(&mut self, suback: packet::SubAck) -> Result<(), DecodeError> {
        let Some(op) = self.request_of(suback.packet_id) else {
            return Ok(()); // unknown identifiers complete nothing (MQTT-2.2.1-6)
        };
        let Some(Kind::Subscribe(subscribe)) = self.requests.get(&op).map(|request| &request.kind)
        else {
            return Err(DecodeError::protocol("SUBACK answers an UNSUBSCRIBE"));
        };
        if suback.reasons.len() != subscribe.filters.len() {
            return Err(DecodeError::protocol(
                "SUBACK has not one Reason Code for each filter",
            ));
        }
        let queue = subscribe.queue;
        let refused: Vec<_> = (subscribe.filters.iter().zip(&suback.reasons))
            .filter(|(_, reason)| reason.is_error())
            .map(|((filter, _), _)| filter.clone())
            .collect();
        self.session.subscriptions.remove(|subscription| {
            subscription.queue == queue && refused.contains(&subscription.filter)
        });
        let outcome = Outcome::Subscribed {
            reasons: suback.reasons,
            properties: suback.properties.boxed(),
        };
        self.finish_request(op, outcome);
        Ok(())
    }

    pub(super) fn on_unsuback(&mut self, unsuback: packet::UnsubAck) -> Result<(), DecodeError> {
        let Some(op) = self.request_of(unsuback.packet_id) else {
            return Ok(());
        };
        let Some(Kind::Unsubscribe(unsubscribe)) =
            self.requests.get(&op).map(|request| &request.kind)
        else {
            return Err(DecodeError::protocol("UNSUBACK answers a SUBSCRIBE"));
        };
        let expected = if self.options.protocol.is_v5() {
            unsubscribe.filters.len()
        } else {
            0
        };
        if unsuback.reasons.len() != expected {
            return Err(DecodeError::protocol(
                "UNSUBACK has not one Reason Code for each filter",
            ));
        }
        let refused: Vec<_> = (unsubscribe.filters.iter().zip(&unsuback.reasons))
            .filter(|(_, reason)| reason.is_error())
            .map(|(filter, _)| filter.clone())
            .collect();
        self.keep_subscribed(op, &refused);
        let outcome = Outcome::Unsubscribed {
            reasons: unsuback.reasons,
            properties: unsuback.properties.boxed(),
        };
        self.finish_request(op, outcome);
        Ok(())
    }

    /// The server refused to unsubscribe `filters`: messages go on to come, so they are registered again. A queue that was
    /// closed, or a filter that was subscribed anew, meanwhile stays as it is.
    fn keep_subscribed(&mut self, op: OpId, filters: &[TopicFilter]) {
        let Some(request) = self.requests.get_mut(&op) else {
            return;
        };
        let session = &mut self.session;
        for subscription in std::mem::take(&mut request.removed) {
            if filters.contains(&subscription.filter)
                && session.inbox.is_open(subscription.queue)
                && !session.subscriptions.holds(&subscription)
            {
                session.subscriptions.add(subscription);
            }
        }
    }

    fn request_of(&self, id: PacketId) -> Option<OpId> {
        match self.session.ids.owner(id) {
            Some(IdOwner::Request(op)) => Some(*op),
            _ => None,
        }
    }

    /// Ends a request and frees its Packet Identifier.
    fn finish_request(&mut self, op: OpId, outcome: Outcome) {
        let Some(request) = self.requests.remove(&op) else {
            return;
        };
        if let Some(id) = request.sent_as {
            self.session.ids.release(id);
        }
        if !request.abandoned {
            self.complete(op, outcome);
        }
        self.send_waiting_requests();
    }

    pub(super) fn abandon_request(&mut self, op: OpId) -> Option<Delivery> {
        let request = self.requests.get_mut(&op)?;
        if request.abandoned {
            return None;
        }
        let delivery = request.delivery();
        if request.sent_as.is_none() {
            self.requests.remove(&op);
        } else {
            request.abandoned = true; // its identifier stays in use until the answer
        }
        Some(delivery)
    }

    /// The connection is gone, and with it the identifiers of requests. With `retry` they wait for the next connection.
    pub(super) fn suspend_requests(&mut self, cause: &ConnectionError, retry: bool) {
        let requests = std::mem::take(&mut self.requests);
        for (op, mut request) in requests {
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
    const fn new(kind: Kind) -> Self {
        Self {
            kind,
            sent_as: None,
            was_sent: false,
            abandoned: false,
            restores: false,
            removed: Vec::new(),
        }
    }

    const fn delivery(&self) -> Delivery {
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
        let mut encoded = BytesMut::new();
        self.packet(PacketId::MAX).encode(version, &mut encoded);
        encoded.len()
    }

    /// Whether this asks for `subscription`.
    fn subscribes(&self, subscription: &Subscription) -> bool {
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
