//! SUBSCRIBE and UNSUBSCRIBE on their way: sent, answered, abandoned, and what becomes of them when a connection ends.

use std::collections::BTreeSet;
use std::ops::Range;

use super::filter_requests::FilterRequest;
use super::sent_packets::{SentPackets, cut};
use super::subscribe::{Subscribe, Unsubscribe};
use super::{Client, ClientPhase};
use crate::error::{ConnectionError, InvalidSubscribe};
use crate::event::{Delivery, Event, OpId, Outcome};
use crate::packet::{
    Packet, PacketId, ProtocolVersion, SubscribePacket, UnsubscribePacket, filters_packet_len,
};
use crate::session::{IdOwner, Identifiers, QueueId, Subscription};
use crate::topic::TopicFilter;

#[derive(Debug)]
pub(super) enum Kind {
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
}

impl Client {
    /// Whether this server takes a request like this.
    pub(super) fn check_limits(&self, kind: &Kind) -> Result<(), InvalidSubscribe> {
        if let (Some(profile), Kind::Subscribe(subscribe)) = (self.options.profile, kind) {
            for (filter, options) in &subscribe.filters {
                profile.check_subscription(filter, *options)?;
            }
        }
        let (Some(connection), ClientPhase::Connected) = (&self.connection, self.phase) else {
            return Ok(());
        };
        let limits = &connection.limits;
        self.is_expressible(kind)?; // it may be another one than when the request was accepted
        if let Kind::Subscribe(subscribe) = kind {
            self.check_requests(subscribe.queue)?;
            let identifiers = &subscribe.properties.subscription_identifiers;
            let is_sent = self.options.protocol.is_v5();
            limits.check_identifier(is_sent && !identifiers.is_empty())?;
            for (filter, _) in &subscribe.filters {
                limits.check_filter(filter)?;
            }
        }
        let longest = kind.lengths().max().unwrap_or_default(); // the others have a packet of their own if need be
        limits.check_size(kind.size(self.options.protocol, longest))
    }

    /// How many filters one SUBSCRIBE or UNSUBSCRIBE may have.
    fn filters_per_packet(&self) -> usize {
        let of_profile = self
            .options
            .profile
            .and_then(|it| it.filters_per_subscribe());
        of_profile.unwrap_or(usize::MAX)
    }

    /// The packets that a request is sent as, each with some of its filters: as few as the server takes. One with several
    /// filters has room for a Subscription Identifier if it [is to have](Self::would_identify) one.
    pub(super) fn packets_of(&self, kind: &Kind) -> Vec<Range<usize>> {
        let most = self.filters_per_packet();
        let Some(connection) = &self.connection else {
            return cut(kind.lengths(), most, |_| true);
        };
        let room = match self.would_identify(kind, 0..kind.filters()) {
            true => LONGEST_IDENTIFIER,
            false => 0,
        };
        cut(kind.lengths(), most, |filters| {
            let size = kind.size(self.options.protocol, filters);
            connection.limits.fits(size + room)
        })
    }

    /// Whether a SUBSCRIBE for some of the filters is to have a Subscription Identifier that its caller has not asked for: one
    /// for a queue of its own, and one that joins a filter which has an identifier and must keep it.
    fn would_identify(&self, kind: &Kind, of_packet: Range<usize>) -> bool {
        let (Some(connection), Kind::Subscribe(subscribe)) = (&self.connection, kind) else {
            return false;
        };
        let filters = subscribe.filters[of_packet]
            .iter()
            .map(|(filter, _)| filter);
        let subscriptions = &self.session.subscriptions;
        self.options.protocol.is_v5()
            && (subscribe.queue != QueueId::DEFAULT
                || subscriptions.known_identifier(filters).is_some())
            && subscribe.properties.subscription_identifiers.is_empty()
            && connection.limits.check_identifier(true).is_ok()
    }

    /// Whether it gets one: there has to be room for it.
    fn identifies(&self, kind: &Kind, of_packet: Range<usize>) -> bool {
        let filters = kind.lengths().skip(of_packet.start).take(of_packet.len());
        let size = kind.size(self.options.protocol, filters.sum()) + LONGEST_IDENTIFIER;
        self.would_identify(kind, of_packet)
            && (self.connection.as_ref()).is_some_and(|it| it.limits.fits(size))
    }

    /// Sends a request now, or with the next connection.
    pub(super) fn send_or_keep(&mut self, kind: Kind) -> OpId {
        let op = self.next_op();
        self.requests.insert(op, FilterRequest::new(kind));
        if self.is_connected() {
            self.send_request(op);
        }
        op
    }

    /// Sends what was accepted while there was no connection, in order.
    pub(super) fn send_waiting_requests(&mut self) {
        while let Some(op) = self.requests.first_unsent() {
            self.send_request(op);
            if self.requests.first_unsent() == Some(op) {
                return; // all identifiers are in use
            }
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
            self.not_asked_to_unsubscribe(op, &error);
            return self.finish_request(op, Outcome::RequestNotPossible(error));
        }
        let packets = self.packets_of(&request.kind);
        let count = packets.len();
        let Some(ids) = self.take_ids(op, count) else {
            return; // tried again when an identifier is free
        };
        let sent_as = SentPackets::new(&ids, packets);
        if self.requests.set_sent(op, sent_as).is_none() {
            return;
        }
        for at in 0..count {
            let Some(packet) = self.packet_of(op, at) else {
                return;
            };
            if let Some(connection) = &mut self.connection {
                connection.send_request(packet, self.options.protocol);
            }
        }
    }

    /// As many Packet Identifiers for a request, or none.
    fn take_ids(&mut self, op: OpId, count: usize) -> Option<Vec<PacketId>> {
        let ids = &mut self.session.ids;
        if ids.free() < count {
            self.ids_wanted = count;
            return None;
        }
        let take = |_| ids.take(IdOwner::FilterRequest(op));
        Some((0..count).filter_map(take).collect())
    }

    /// The packet at this place of those that a request is sent as. The registry has it as sent from then on.
    fn packet_of(&mut self, op: OpId, at: usize) -> Option<Packet> {
        let request = self.requests.get(op)?;
        let (id, filters) = request.packet(at)?;
        match &request.kind {
            Kind::Unsubscribe(unsubscribe) => {
                let filters = unsubscribe.filters.get(filters)?;
                let packet = Packet::Unsubscribe(Box::new(UnsubscribePacket {
                    packet_id: id,
                    properties: unsubscribe.properties.clone(),
                    filters: filters.iter().map(|it| it.as_utf8().clone()).collect(),
                }));
                let removed = (self.session.subscriptions).remove_filters(filters);
                self.requests.put_removed(op, removed);
                Some(packet)
            }
            Kind::Subscribe(_) => {
                let packet = self.register(op, id, filters)?;
                Some(Packet::Subscribe(Box::new(packet)))
            }
        }
    }

    /// Notes some filters of a SUBSCRIBE, since retained messages may come before SUBACK, and makes the packet for them, which
    /// asks for all that the queues which share a filter want.
    fn register(
        &mut self,
        op: OpId,
        packet_id: PacketId,
        of_packet: Range<usize>,
    ) -> Option<SubscribePacket> {
        let FilterRequest { kind, restores, .. } = self.requests.get(op)?;
        let identifies = self.identifies(kind, of_packet.clone());
        let Kind::Subscribe(subscribe) = kind else {
            return None;
        };
        let filters = subscribe.filters.get(of_packet)?;
        let subscriptions = &mut self.session.subscriptions;
        let own = subscribe
            .properties
            .subscription_identifiers
            .first()
            .copied();
        let identifier = if identifies {
            Some(subscriptions.identifier_for(filters.iter().map(|(filter, _)| filter)))
        } else {
            own
        };
        let mut properties = subscribe.properties.clone();
        properties.subscription_identifiers = identifier.into_iter().collect();
        let mut asked = Vec::with_capacity(filters.len());
        for (filter, options) in filters {
            let sent = subscriptions.shared_options(filter, subscribe.queue, *options);
            asked.push((filter.as_utf8().clone(), sent));
            subscriptions.add(Subscription {
                filter: filter.clone(),
                options: *options,
                queue: subscribe.queue,
                detached: *restores && subscriptions.is_detached(filter),
                own_identifier: own,
                identifiers: Identifiers::default(),
                last_served: 0,
            });
            subscriptions.identify(filter, identifier);
        }
        Some(SubscribePacket {
            packet_id,
            properties,
            filters: asked.into(),
        })
    }

    /// What waits for a connection, and would feed a queue that is closed now.
    pub(super) fn drop_unsent_for(&mut self, queue: QueueId) {
        while let Some(op) = self.requests.first_unsent_for(queue) {
            self.finish_request(op, Outcome::Dropped);
        }
    }

    /// Whether an UNSUBSCRIBE that the server has not answered may yet leave a queue with a subscription: one whose
    /// [`filters`](Self::filters) are gone gets messages again if the server refuses.
    pub fn is_unsubscribing(&self, queue: QueueId) -> bool {
        self.session.inbox.is_open(queue) && self.requests.is_removed_from(queue)
    }

    /// Reports those of `queues` that get nothing any more, since UNSUBSCRIBEs have ended their last subscriptions.
    pub(super) fn report_ended(&mut self, queues: BTreeSet<u32>) {
        for queue in queues.into_iter().map(QueueId) {
            let is_over = self.session.subscriptions.filters(queue).next().is_none()
                && !self.requests.is_removed_from(queue);
            if queue != QueueId::DEFAULT && is_over && self.session.inbox.is_open(queue) {
                self.events.push_back(Event::Unsubscribed(queue));
            }
        }
    }

    pub(super) fn request_of(&self, id: PacketId) -> Option<OpId> {
        match self.session.ids.owner(id) {
            Some(IdOwner::FilterRequest(op)) => Some(*op),
            _ => None,
        }
    }

    /// Ends a request and frees its Packet Identifier.
    pub(super) fn finish_request(&mut self, op: OpId, outcome: Outcome) {
        let Some(request) = self.requests.remove(op) else {
            return;
        };
        self.report_ended(request.queues_removed_from());
        if !request.abandoned() {
            self.complete_request(op, outcome);
        }
        for id in request.sent_as().unanswered() {
            self.free(id);
        }
    }

    /// Frees a Packet Identifier, and sends requests that wait for some.
    pub(super) fn free(&mut self, id: PacketId) {
        self.session.ids.release(id);
        if self.ids_wanted > 0 && self.session.ids.free() >= self.ids_wanted {
            self.ids_wanted = 0;
            self.send_waiting_requests();
        }
    }

    /// Reports the outcome of a SUBSCRIBE or UNSUBSCRIBE to whom it belongs.
    fn complete_request(&mut self, op: OpId, outcome: Outcome) {
        if self.is_response_subscription(op) {
            self.on_response_subscription(outcome);
        } else {
            self.events.push_back(Event::Completed { op, outcome });
        }
    }

    pub(super) fn abandon_request(&mut self, op: OpId) -> Option<Delivery> {
        let request = self.requests.get(op)?;
        if request.abandoned() {
            return None;
        }
        let delivery = request.delivery();
        if request.sent_as().is_none() {
            self.requests.remove(op);
        } else {
            self.requests.abandon(op); // its identifier stays in use until the answer
        }
        Some(delivery)
    }

    /// The connection is gone, and with it the identifiers of requests. With `retry` they wait for the next connection.
    pub(super) fn suspend_requests(&mut self, cause: &ConnectionError, retry: bool) {
        self.ids_wanted = 0; // the next connection tries all
        let requests = std::mem::take(&mut self.requests);
        let mut ended = BTreeSet::new();
        for (op, mut request) in requests.into_all() {
            for id in request.take_back().unanswered() {
                self.session.ids.release(id);
            }
            if retry && (request.restores || !request.abandoned()) {
                self.requests.insert(op, request);
                continue;
            }
            ended.append(&mut request.queues_removed_from());
            if request.abandoned() {
                continue;
            }
            let delivery = request.delivery();
            let cause = cause.clone();
            self.complete_request(op, Outcome::Disconnected { cause, delivery });
        }
        self.report_ended(ended);
    }
}

impl Kind {
    /// How many filters it has.
    pub(super) const fn filters(&self) -> usize {
        match self {
            Self::Subscribe(it) => it.filters.len(),
            Self::Unsubscribe(it) => it.filters.len(),
        }
    }

    /// How many bytes each filter takes in a packet.
    fn lengths(&self) -> impl Iterator<Item = usize> {
        let (subscribed, unsubscribed) = match self {
            Self::Subscribe(it) => (it.filters.as_slice(), [].as_slice()),
            Self::Unsubscribe(it) => ([].as_slice(), it.filters.as_slice()),
        };
        let subscribed = subscribed
            .iter()
            .map(|(it, _)| SubscribePacket::filter_len(it.len()));
        let unsubscribed = unsubscribed
            .iter()
            .map(|it| UnsubscribePacket::filter_len(it.len()));
        subscribed.chain(unsubscribed)
    }

    /// Size of a packet whose filters take so many bytes.
    fn size(&self, version: ProtocolVersion, filters: usize) -> usize {
        let properties = match self {
            Self::Subscribe(it) => &it.properties,
            Self::Unsubscribe(it) => &it.properties,
        };
        filters_packet_len(version, properties, filters)
    }

    /// The subscriptions that this asks for, by their queue and filter.
    pub(super) fn subscriptions(&self) -> impl Iterator<Item = (QueueId, &TopicFilter)> {
        let subscribe = match self {
            Self::Subscribe(subscribe) => Some(subscribe),
            Self::Unsubscribe(_) => None,
        };
        (subscribe.into_iter()).flat_map(|subscribe| {
            let filters = subscribe.filters.iter().map(|(filter, _)| filter);
            filters.map(|filter| (subscribe.queue, filter))
        })
    }
}

/// A Subscription Identifier of four bytes, behind the property's own.
const LONGEST_IDENTIFIER: usize = 5;
