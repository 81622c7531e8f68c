//! PUBLISH and its acknowledgements: from a client to the subscriptions that match, and on to their sessions.

use std::mem;
use std::slice;
use std::sync::Arc;
use std::time::Instant;

use ferromqtt_proto::packet::{Ack, Packet, PacketId, PublishPacket, QoS, ReasonCode};
use ferromqtt_proto::{DecodeError, TopicFilter};

use crate::broker::Broker;
use crate::connection::ConnectionId;
use crate::memory;
use crate::message::{DeliveryTerms, Kept, PublishedMessage, Routed, own_memory};
use crate::outbound::{PubRecAnswer, SendQueue};
use crate::session::SessionId;
use crate::subscriptions::SessionSubscription;

impl Broker {
    pub(crate) fn handle_publish(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: SessionId,
        mut publish: PublishPacket,
    ) -> Result<(), DecodeError> {
        check(&publish)?;
        if let Some(error) = self.options.message_refusal(publish.qos, publish.retain) {
            return Err(error);
        }
        let connection = self.connections.get_mut(&id);
        let Some(connected) = connection.and_then(|connection| connection.connected_mut()) else {
            return Ok(());
        };
        let v5 = connected.version.is_v5();
        let maximum = self.options.topic_alias_maximum;
        connected.aliases.resolve(&mut publish, maximum)?;
        let (qos, packet_id) = (publish.qos, publish.packet_id);
        let mut reason = ReasonCode::Success;
        if let Some(denial) = self.options.publish_denial(&publish.topic) {
            if v5 {
                reason = denial; // 3.x has no word for it (MQTT-3.3.5-2 of 3.1.1)
            }
        } else if qos != QoS::ExactlyOnce || self.is_first(id, session, &publish)? {
            publish.payload = own_memory(publish.payload, self.input_length);
            let message = PublishedMessage::from_publish(now, publish, session);
            if v5 && qos > QoS::AtMostOnce && !self.can_retain(&message) {
                self.refused += 1;
                reason = ReasonCode::QuotaExceeded;
                self.forget_unreleased(id, session, packet_id); // PUBREC with an error ends it
            } else if !self.route(now, &message) {
                reason = ReasonCode::NoMatchingSubscribers;
            }
        }
        if let Some(packet_id) = packet_id {
            let ack = Ack::new(packet_id, reason);
            self.send(
                now,
                id,
                &match qos {
                    QoS::ExactlyOnce => Packet::PubRec(ack),
                    _ => Packet::PubAck(ack),
                },
            );
        }
        Ok(())
    }

    /// Notes a QoS 2 message until its PUBREL; `false` for one that is noted already (MQTT-4.3.3-10).
    fn is_first(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        publish: &PublishPacket,
    ) -> Result<bool, DecodeError> {
        let connection = self.connections.get_mut(&id);
        let (Some(session), Some(connected), Some(packet_id)) = (
            self.sessions.get_mut(session),
            connection.and_then(|connection| connection.connected_mut()),
            publish.packet_id,
        ) else {
            return Ok(false);
        };
        let maximum = usize::from(self.options.receive_maximum.get());
        connected.unreleased.insert(packet_id);
        if connected.version.is_v5() && connected.unreleased.len() > maximum {
            return Err(DecodeError {
                reason: ReasonCode::ReceiveMaximumExceeded,
                what: "more QoS 2 messages are unreleased than the Receive Maximum allows",
            });
        }
        Ok(session.note_unreleased(packet_id))
    }

    /// Whether there is capacity for a message among the retained ones, if it is to be one.
    fn can_retain(&self, message: &PublishedMessage) -> bool {
        !message.retain || self.retained.has_room_for(message, &self.options)
    }

    pub(crate) fn handle_pubrel(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: SessionId,
        ack: &Ack,
    ) {
        let known = self.forget_unreleased(id, session, Some(ack.packet_id));
        let reason = if known {
            ReasonCode::Success
        } else {
            ReasonCode::PacketIdentifierNotFound
        };
        self.send(now, id, &Packet::PubComp(Ack::new(ack.packet_id, reason)));
    }

    /// Whether there was such a QoS 2 message.
    fn forget_unreleased(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        packet_id: Option<PacketId>,
    ) -> bool {
        let Some(packet_id) = packet_id else {
            return false;
        };
        if let Some(connected) = (self.connections.get_mut(&id)).and_then(|it| it.connected_mut()) {
            connected.unreleased.remove(&packet_id);
        }
        let session = self.sessions.get_mut(session);
        session.is_some_and(|session| session.forget_unreleased(packet_id))
    }

    /// PUBACK or PUBCOMP, as `note` tells the session: a message is done, and the next one may fit.
    pub(crate) fn handle_last_ack(
        &mut self,
        now: Instant,
        session: SessionId,
        ack: &Ack,
        note: impl FnOnce(&mut SendQueue, PacketId) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        if let Some(state) = self.sessions.get_mut(session) {
            note(&mut state.outbound, ack.packet_id)?;
            self.pump(now, session);
        }
        Ok(())
    }

    pub(crate) fn handle_pubrec(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: SessionId,
        ack: &Ack,
    ) -> Result<(), DecodeError> {
        let Some(state) = self.sessions.get_mut(session) else {
            return Ok(());
        };
        let reason = match state
            .outbound
            .received(ack.packet_id, ack.reason.is_error())?
        {
            PubRecAnswer::Send => ReasonCode::Success,
            PubRecAnswer::NotFound => ReasonCode::PacketIdentifierNotFound,
            PubRecAnswer::Nothing => {
                self.pump(now, session);
                return Ok(());
            }
        };
        self.send(now, id, &Packet::PubRel(Ack::new(ack.packet_id, reason)));
        Ok(())
    }

    /// Retains the message if it says so, and hands it to every session with a matching subscription: once each, whatever
    /// number of its subscriptions match (section 3.3.4 leaves that open); then to one session of each Shared Subscription,
    /// which may be a second copy for it (section 4.8.2). `false` when there is no such session.
    pub(crate) fn route(&mut self, now: Instant, message: &PublishedMessage) -> bool {
        if message.retain && !self.retained.store(message, &self.options) {
            self.dropped += 1;
        }
        if self.wire.is_some() {
            self.note_accepted(now, message);
        }
        let mut routed = Routed::new(message);
        let mut found = mem::take(&mut self.found);
        self.subscriptions.matching(&message.topic, &mut found);
        found.retain(|subscription| {
            !(subscription.options.no_local && subscription.session == message.publisher)
        });
        if found.len() > 1 {
            found.sort_by_key(|subscription| subscription.session);
        }
        for matches in found.chunk_by(|left, right| left.session == right.session) {
            let terms = terms(message, matches);
            self.deliver(now, matches[0].session, &mut routed, terms);
        }
        let mut reached = !found.is_empty();
        found.clear();

        self.found = found;

        let chosen = self.shared.choose(&message.topic, |filter, subscription| {
            let terms = shared_terms(message, filter.clone(), subscription);
            (self.sessions).chance(subscription, &terms, routed.size(), &self.options)
        });
        reached |= !chosen.is_empty();
        for (filter, subscription) in chosen {
            let terms = shared_terms(message, filter, &subscription);
            self.deliver(now, subscription.session, &mut routed, terms);
        }
        reached
    }

    /// Tells the journal of a message.
    #[cold]
    fn note_accepted(&mut self, now: Instant, message: &PublishedMessage) {
        let publisher = self.sessions.get(message.publisher);
        let client = publisher.map_or_else(Default::default, |it| it.client_identifier.clone());
        if let Some(wire) = &mut self.wire {
            wire.accepted(now, client, message);
        }
    }

    /// Gives messages that a session left behind to others who share their subscriptions (section 4.8.2).
    pub(crate) fn pass_on(&mut self, now: Instant, messages: Vec<(Arc<Kept>, TopicFilter)>) {
        for (message, filter) in messages {
            let another = self.shared.choose_another(&filter, |subscription| {
                let terms = shared_terms(&message, filter.clone(), subscription);
                (self.sessions).chance(subscription, &terms, message.size, &self.options)
            });
            match another.filter(|_| !message.expired(now)) {
                Some(subscription) => {
                    let terms = shared_terms(&message, filter, &subscription);
                    let mut routed = Routed::kept(&message);
                    self.deliver(now, subscription.session, &mut routed, terms);
                }
                None => self.dropped += 1,
            }
        }
    }

    /// Sends a message to one session, or keeps it for the session. `false` when a message was given up: this one, or one that
    /// had been waiting for its turn.
    pub(crate) fn deliver(
        &mut self,
        now: Instant,
        id: SessionId,
        routed: &mut Routed<'_>,
        terms: DeliveryTerms,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(id) else {
            return false;
        };
        let connection = session
            .connection
            .and_then(|id| self.connections.get_mut(&id));
        let wire = connection.and_then(|connection| connection.wire());
        let mut given_up = 0;
        let kept = match (terms.qos, wire) {
            (QoS::AtMostOnce, None) => return false, // 3.1.2.4 lets QoS 0 go while the client is away
            (QoS::AtMostOnce, Some(mut wire)) if !session.outbound.has_waiting() => {
                wire.output.waiting() < self.options.maximum_output
                    && wire.publish(now, routed.message, &terms, None)
            }
            (_, wire) => {
                let more = routed.additional_size() + memory::queue_entry_size(&terms);
                let has_room =
                    (session.outbound).has_room_for(routed.size(), &terms, &self.options)
                        && (self.session_memory).has_room(more, self.options.maximum_session_bytes);
                if has_room {
                    let message = routed.keep(&self.session_memory);
                    session.outbound.enqueue(message, terms);
                    if let Some(mut wire) = wire {
                        given_up = session.outbound.pump(now, &mut wire);
                    }
                }
                has_room
            }
        };
        if !kept {
            given_up += 1;
        }
        session.dropped += given_up;
        self.dropped += given_up;
        if let Some(connection) = session.connection {
            self.announce_output(connection);
        }
        given_up == 0
    }

    /// Sends what waits for a session, as far as the window allows.
    pub(crate) fn pump(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if session.outbound.has_waiting()
            && let Some(connection_id) = session.connection
            && let Some(connection) = self.connections.get_mut(&connection_id)
            && let Some(mut wire) = connection.wire()
        {
            let given_up = session.outbound.pump(now, &mut wire);
            session.dropped += given_up;
            self.dropped += given_up;
            self.announce_output(connection_id);
        }
    }
}

/// What a client may not send, though a server may.
fn check(publish: &PublishPacket) -> Result<(), DecodeError> {
    let Some(properties) = &publish.properties else {
        return Ok(());
    };
    if !properties.subscription_identifiers.is_empty() {
        return Err(DecodeError::protocol(
            "client sent a Subscription Identifier",
        ));
    }
    Ok(())
}

/// The terms for a session with all its `matches`: the highest QoS of them (MQTT-3.3.4-2), every identifier (MQTT-3.3.4-3).
fn terms(message: &PublishedMessage, matches: &[SessionSubscription]) -> DeliveryTerms {
    let granted = matches
        .iter()
        .map(|subscription| subscription.options.qos)
        .max();
    let keep_retain = matches
        .iter()
        .any(|subscription| subscription.options.retain_as_published);
    DeliveryTerms {
        qos: message.qos.min(granted.unwrap_or_default()),
        retain: message.retain && keep_retain,
        subscription_identifiers: matches
            .iter()
            .filter_map(|subscription| subscription.identifier)
            .collect(),
        shared: None,
    }
}

/// The terms for the one who is chosen of those that share a subscription.
fn shared_terms(
    message: &PublishedMessage,
    filter: TopicFilter,
    chosen: &SessionSubscription,
) -> DeliveryTerms {
    DeliveryTerms {
        shared: Some(filter),
        ..terms(message, slice::from_ref(chosen))
    }
}
