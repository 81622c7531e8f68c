//! The outgoing exchange: what becomes of a publish, from its acceptance to its outcome.
//!
//! A publish is accepted, waits, is sent, is acknowledged (PUBACK; or PUBREC, PUBREL and PUBCOMP), and completes: the functions
//! stand in that order. What is on its way lies in `session/outbound.rs`.

use std::time::Instant;

use super::publish::{check_profile, check_version};
use super::{Client, ClientPhase};
use crate::connection::{HeldMessage, NetworkConnection};
use crate::error::{DecodeError, InvalidPublish};
use crate::event::{Delivery, Event, OpId, Outcome};
use crate::options::OutgoingPolicy;
use crate::packet::{Ack, PacketId, PacketType, PublishRef, QoS, ReasonCode};
use crate::packet_trace::Direction;
use crate::session::{
    Acknowledged, IdOwner, MessageExpiry, Needed, Open, Owner, Publish, SessionChange,
    WaitingPublish,
};
use crate::topic::TopicName;

impl Client {
    /// Accepts a message. It is encoded when the transport asks for bytes, in the order of the calls, and completes with
    /// exactly one [`Event::Completed`], unless it is [abandoned](Client::abandon).
    ///
    /// A Message Expiry Interval runs from now: the whole seconds until the message is first sent are subtracted from it,
    /// and when it is over before that, the message ends as [`Outcome::Expired`].
    ///
    /// # Errors
    /// Whatever [`InvalidPublish`] lists; nothing has been sent or kept then.
    pub fn publish(&mut self, now: Instant, publish: Publish) -> Result<OpId, InvalidPublish> {
        let op = self.next_op();
        self.accept_publish(now, op, Owner::Publish(op), publish)
            .map(|()| op)
    }

    /// Accepts a message as a publish of `owner`, which is the operation `op`.
    #[inline(always)] // a message is large, and each call moves it
    pub(super) fn accept_publish(
        &mut self,
        now: Instant,
        op: OpId,
        owner: Owner,
        publish: Publish,
    ) -> Result<(), InvalidPublish> {
        if !self.accepts() {
            return Err(InvalidPublish::NotConnected);
        }
        self.check_publish(publish.packet(None, false))?;
        self.expire(now); // what is over takes no room
        let size = publish.memory_size();
        if let Err(full) = self.check_room(size)
            && !self.make_room(size, full)?
        {
            self.stats.dropped += 1;
            self.complete_publish(owner, Outcome::Dropped);
            return Ok(());
        }
        let interval = (publish.properties.as_ref()).and_then(|it| it.message_expiry_interval);
        let waiting = WaitingPublish {
            owner: Some(owner),
            publish,
            resent_as_new: false,
            expiry: interval.map(|interval| MessageExpiry::new(now, interval)),
            key: None,
        };
        if let Some(alias) = waiting
            .publish
            .properties
            .as_ref()
            .and_then(|it| it.topic_alias)
            && let (Some(connection), ClientPhase::Connected) = (&mut self.connection, self.phase)
        {
            let topic = waiting.publish.topic.as_utf8().as_bytes();
            connection.outgoing_aliases.choose(alias, topic);
        }
        self.session.outbound.push(op, waiting);
        Ok(())
    }

    /// Encodes a QoS 0 message at once, without keeping anything of it: the fast path. Returns `Ok(false)` when the message
    /// has to wait behind others, or for the transport; then use [`Client::publish`].
    ///
    /// `publish.topic` must be UTF-8, and `publish.payload_len` the length of `payload`.
    ///
    /// # Errors
    /// As [`Client::publish`].
    pub fn publish_at_once(
        &mut self,
        publish: PublishRef<'_>,
        payload: &[u8],
    ) -> Result<bool, InvalidPublish> {
        let connected = matches!(self.phase, ClientPhase::Connected) && self.leaving.is_none();
        if !connected || publish.qos != QoS::AtMostOnce {
            return Ok(false);
        }
        TopicName::check_bytes(publish.topic)?;
        self.check_publish(publish)?;
        if self.is_isolating() {
            return Ok(false);
        }
        let Some(connection) = &mut self.connection else {
            return Ok(false);
        };
        let is_held = connection.held.is_busy()
            && (connection.held.awaits_session_end() || connection.held.has_publishes());
        if connection.transmit.is_full() || is_held || !self.session.outbound.nothing_before() {
            return Ok(false);
        }
        if let Some(alias) = publish.properties.and_then(|it| it.topic_alias) {
            connection.outgoing_aliases.choose(alias, publish.topic);
        }
        let version = self.options.protocol;
        connection.send_publish(publish, version, |transmit, publish| {
            transmit.push_copied(publish, payload, version);
        });
        self.stats.sent_qos0 += 1;
        Ok(true)
    }

    /// Applies the policy for a full queue. Returns whether the queue has capacity now.
    fn make_room(&mut self, size: usize, full: InvalidPublish) -> Result<bool, InvalidPublish> {
        let limits = self.options.outgoing;
        let fits = |messages, bytes| limits.check(messages, bytes, size).is_ok();
        let dropped = match self.options.outgoing_policy {
            OutgoingPolicy::Refuse => return Err(full),
            OutgoingPolicy::Wait => {
                self.room_wanted = Some(size);
                return Err(full);
            }
            OutgoingPolicy::DropNewest => None,
            OutgoingPolicy::DropOldest => self.session.outbound.drop_oldest(fits),
        };
        let Some(dropped) = dropped else {
            return Ok(false);
        };
        for waiting in dropped {
            self.end_waiting(waiting, Outcome::Dropped);
        }
        Ok(true)
    }

    /// Encodes publishes until a chunk is full: first those that a resumed session sends again (MQTT-4.4.0-1, MQTT-4.6.0-1),
    /// then those that wait, both in order and as far as the server's Receive Maximum allows (MQTT-4.9.0-2). What has to be on
    /// record first is recorded, and held.
    pub(super) fn encode_publishes(&mut self, now: Instant) {
        while let Some(connection) = &self.connection
            && !connection.transmit.is_full()
        {
            let is_busy = connection.held.is_busy();
            if is_busy && connection.held.awaits_session_end() {
                return;
            }
            let progress = if is_busy && self.send_held(now) {
                true
            } else if self.session.outbound.is_resending() {
                self.resend_one(now)
            } else {
                self.send_one(now)
            };
            if !progress {
                return;
            }
        }
    }

    /// Whether messages wait only because the chunk is full.
    pub(super) fn has_more_to_encode(&self) -> bool {
        let is_full = |connection: &NetworkConnection| connection.transmit.is_full();
        self.connection.as_ref().is_some_and(is_full) && !self.session.outbound.nothing_before()
    }

    /// Encodes the first message that waits, or ends it if it cannot be sent. Returns whether there may be more to encode.
    fn send_one(&mut self, now: Instant) -> bool {
        if self.is_isolating() {
            return false;
        }
        let Some(connection) = &mut self.connection else {
            return false;
        };
        let version = self.options.protocol;
        let outbound = &mut self.session.outbound;
        let Some(waiting) = outbound.first_waiting() else {
            return false;
        };
        if waiting.has_expired(now) {
            if let Some(expired) = outbound.pop_waiting() {
                self.complete_expired(expired);
            }
            return true;
        }
        let publish = &waiting.publish;
        let packet = publish.packet(None, false);
        let packet_len = packet.packet_len(version);
        let allowed = check_version(publish.properties.as_deref(), version)
            .and_then(|()| check_profile(self.options.profile, packet, packet_len))
            .and_then(|()| {
                (connection.limits).check_publish(publish.qos, publish.retain, packet_len)
            });
        if let Err(error) = allowed {
            if let Some(refused) = outbound.pop_waiting() {
                self.end_waiting(refused, Outcome::NotPossible(error));
            }
            return true;
        }
        let journal = &mut self.session.journal;
        if journal.has_failed(Direction::Sent) && waiting.must_not_come_twice() {
            if let Some(refused) = outbound.pop_waiting() {
                let delivery = refused.delivery();
                self.end_waiting(refused, Outcome::NotStored { delivery });
            }
            return true;
        }
        if publish.qos == QoS::AtMostOnce {
            if waiting.key.is_some() || connection.held.has_publishes() {
                return self.hold_qos0();
            }
            let Some(waiting) = outbound.pop_waiting() else {
                return false;
            };
            let packet = waiting.publish.packet(None, false);
            connection.send_publish(packet, version, |transmit, packet| {
                transmit.push_publish(packet, &waiting.publish.payload, version);
            });
            self.stats.sent_qos0 += 1;
            self.end_waiting(waiting, Outcome::Sent);
            return true;
        }
        if !connection.limits.has_slot() {
            return false;
        }
        let Some((number, flow)) =
            outbound.start(&mut self.session.ids, connection.number, journal.next_key())
        else {
            return false; // all Packet Identifiers are in use: an acknowledgement frees one
        };
        connection.limits.take_slot();
        if let Some(key) = flow.key {
            let holds = flow.waits_for_record();
            let needed =
                journal.record_sending(key, holds, |is_recorded| flow.as_change(key, is_recorded));
            if !journal.is_written(Direction::Sent, needed) || connection.held.has_publishes() {
                flow.hold();
                (connection.held).hold_publish(HeldMessage::InFlight(number), needed);
                return true;
            }
        }
        connection.send_in_flight(now, flow, version);
        true
    }

    /// Encodes the next PUBREL or PUBLISH that an earlier connection carried and the server has not answered. Returns as
    /// `send_one` does.
    fn resend_one(&mut self, now: Instant) -> bool {
        let isolating = self.is_isolating();
        let Some(connection) = &mut self.connection else {
            return false;
        };
        let version = self.options.protocol;
        let outbound = &mut self.session.outbound;
        let journal = &self.session.journal;
        let needed = journal.second_halves(Direction::Sent);
        let is_written = journal.is_written(Direction::Sent, needed);
        if !is_written && outbound.resends_release() && !journal.has_failed(Direction::Sent) {
            return false; // what follows keeps behind it
        }
        if let Some(id) = outbound.next_release() {
            // No bound is exceeded: there is one for each Packet Identifier.
            let _ = self.send_ack(PacketType::PubRel, Ack::success(id), Open::NONE, needed);
            return true;
        }
        let Some((number, flow)) = outbound.next_resend() else {
            return true; // nothing is owed any more
        };
        if isolating {
            return false;
        }
        let publish = &flow.publish;
        let packet = publish.packet(Some(flow.id), true);
        let packet_len = packet.packet_len(version);
        let allowed = check_version(publish.properties.as_deref(), version)
            .and_then(|()| check_profile(self.options.profile, packet, packet_len))
            .and_then(|()| {
                (connection.limits).check_publish(publish.qos, publish.retain, packet_len)
            });
        if let Err(error) = allowed {
            let (id, qos) = (flow.id, publish.qos);
            self.give_up_resend(number, id, qos, error);
            return true;
        }
        if !connection.limits.has_slot() {
            return false;
        }
        connection.limits.take_slot();
        flow.connection = connection.number;
        flow.sent_at = Some(now);
        flow.begins_at = connection.transmit.end();
        flow.ends_at = 0; // an earlier connection has sent it
        connection.last_publish = Some(flow.id);
        connection.send_again(packet, |transmit, packet| {
            transmit.push_publish(packet, &publish.payload, version);
        });
        outbound.resent(number);
        self.stats.resent += 1;
        true
    }

    /// The limits of this connection forbid a PUBLISH that an earlier one carried (MQTT-3.2.2-11, MQTT-3.2.2-14,
    /// MQTT-3.2.2-15): its exchange can never end.
    fn give_up_resend(&mut self, number: u64, id: PacketId, qos: QoS, error: InvalidPublish) {
        if qos == QoS::ExactlyOnce {
            self.retire(id);
        } else {
            self.free(id);
        }
        let given_up = self.session.outbound.finish_publish(number);
        self.record_finished(given_up.as_ref().and_then(|given_up| given_up.key));
        if let Some(owner) = given_up.and_then(|given_up| given_up.owner) {
            self.complete_publish(owner, Outcome::GivenUp(error));
        }
    }

    /// Keeps the identifier of a PUBLISH that is given up out of use until the session ends. The server may have taken a
    /// QoS 2 message and lost only its PUBREC: a new message with the same identifier would count as the old one, and be
    /// dropped (MQTT-4.3.3-10).
    pub(super) fn retire(&mut self, packet_id: PacketId) {
        if let Some(owner) = self.session.ids.owner_mut(packet_id) {
            *owner = IdOwner::GivenUp;
            self.record(false, || SessionChange::Retired { packet_id });
        }
    }

    /// PUBACK ends the exchange of a QoS 1 publish.
    pub(super) fn on_puback(&mut self, now: Instant, ack: Ack) -> Result<(), DecodeError> {
        let Some(&IdOwner::Publish(number)) = self.session.ids.owner(ack.packet_id) else {
            return Ok(()); // unknown: completes nothing
        };
        if self.session.outbound.qos_of(number) != Some(QoS::AtLeastOnce) {
            return Err(DecodeError::protocol("PUBACK answers a QoS 2 PUBLISH"));
        }
        self.session.suspicion.acknowledged();
        let end = match ack.reason.is_error() {
            true => ExchangeEnd::Refused,
            false => ExchangeEnd::Accepted,
        };
        if end == ExchangeEnd::Refused {
            self.report_refusal(number, ack.reason);
        }
        let acknowledged = self.session.outbound.finish_publish(number);
        self.finish(now, end, ack, acknowledged);
        Ok(())
    }

    /// PUBREC of a QoS 2 publish: answers PUBREL, and keeps only that the server has the message. One with an error ends the
    /// exchange.
    pub(super) fn on_pubrec(&mut self, now: Instant, ack: Ack) -> Result<(), DecodeError> {
        let id = ack.packet_id;
        match self.session.ids.owner(id) {
            Some(&IdOwner::Publish(number)) => {
                if self.session.outbound.qos_of(number) != Some(QoS::ExactlyOnce) {
                    return Err(DecodeError::protocol("PUBREC answers a QoS 1 PUBLISH"));
                }
                self.session.suspicion.acknowledged();
                if ack.reason.is_error() {
                    self.report_refusal(number, ack.reason);
                    let acknowledged = self.session.outbound.finish_publish(number);
                    self.finish(now, ExchangeEnd::Refused, ack, acknowledged); // no PUBREL (MQTT-4.3.3-4)
                    return Ok(());
                }
                let unmatched = ack.reason == ReasonCode::NoMatchingSubscribers;
                if let (Some(released), Some(owner)) = (
                    self.session.outbound.release(number, unmatched),
                    self.session.ids.owner_mut(id),
                ) {
                    *owner = IdOwner::Release(released.number);
                    return self.on_released(id, released);
                }
                Ok(())
            }
            _ if ack.reason.is_error() => Ok(()), // that ends an exchange, and nothing answers it (MQTT-4.3.3-4)
            Some(IdOwner::Release(_)) => {
                let needed = self.session.journal.second_halves(Direction::Sent);
                self.send_pubrel(Ack::success(id), needed)
            }
            _ => self.send_pubrel(Ack::new(id, ReasonCode::PacketIdentifierNotFound), 0),
        }
    }

    /// Reports that PUBACK or PUBREC refuses the PUBLISH numbered `number`, before its outcome.
    #[cold]
    fn report_refusal(&mut self, number: u64, reason: ReasonCode) {
        let Some((topic, owner)) = self.session.outbound.in_flight(number) else {
            return;
        };
        let (op, key) = match owner {
            Some(Owner::Publish(op) | Owner::Request(op)) => (Some(op), None),
            Some(Owner::Recorded(key)) => (None, Some(key)),
            None => (None, None),
        };
        self.events.push_back(Event::PublishRefused {
            topic,
            reason,
            op,
            key,
        });
    }

    pub(super) fn send_pubrel(&mut self, ack: Ack, needed: Needed) -> Result<(), DecodeError> {
        self.send_ack(PacketType::PubRel, ack, Open::NONE, needed)
    }

    /// PUBCOMP ends the exchange of a QoS 2 publish.
    pub(super) fn on_pubcomp(&mut self, now: Instant, mut ack: Ack) -> Result<(), DecodeError> {
        match self.session.ids.owner(ack.packet_id) {
            Some(&IdOwner::Release(number)) => {
                let acknowledged = self.session.outbound.finish_release(number);
                let connection = self.connection.as_ref().map(|it| it.number);
                // PUBREL was sent again on this connection: the server may have answered the first one, and then it does not
                // know the identifier any more. "This is not an error during recovery" (section 3.7.2.1).
                let recovers =
                    (acknowledged.as_ref()).is_some_and(|it| Some(it.connection) != connection);
                let is_doubted = acknowledged.as_ref().is_some_and(|it| it.is_doubted);
                let end = match ack.reason.is_error() && !recovers {
                    // A server that has lost the session answers PUBREL like one that has released the message before.
                    _ if is_doubted => ExchangeEnd::InDoubt,
                    true => ExchangeEnd::Unreleased,
                    false => ExchangeEnd::Accepted,
                };
                // What became of the message is said by PUBREC, by which the server has accepted it.
                ack.reason = match &acknowledged {
                    Some(it) if it.unmatched => ReasonCode::NoMatchingSubscribers,
                    _ => ReasonCode::Success,
                };
                self.finish(now, end, ack, acknowledged);
                Ok(())
            }
            Some(IdOwner::Publish(_)) => Err(DecodeError::protocol("PUBCOMP came before PUBREC")),
            _ => Ok(()),
        }
    }

    /// Ends the exchange of a QoS 1 or 2 publish: frees its Packet Identifier and its slot of the Receive Maximum, and reports
    /// the outcome.
    fn finish(
        &mut self,
        now: Instant,
        end: ExchangeEnd,
        ack: Ack,
        acknowledged: Option<Acknowledged>,
    ) {
        self.free(ack.packet_id);
        let Some(acknowledged) = acknowledged else {
            return;
        };
        match end {
            ExchangeEnd::InDoubt => {
                self.record_lost(acknowledged.owner, acknowledged.key);
                self.record_resumed(); // unless there are more
            }
            _ => self.record_finished(acknowledged.key),
        }
        if let Some(connection) = &mut self.connection
            && connection.number == acknowledged.connection
        {
            connection.limits.free_slot();
            if let Some(sent_at) = acknowledged.sent_at {
                let nanos = self.ack_clock.between(sent_at, now);
                self.stats.count_latency(nanos);
            }
        }
        match end {
            ExchangeEnd::Accepted | ExchangeEnd::InDoubt => self.stats.acknowledged += 1,
            ExchangeEnd::Refused => self.stats.refused += 1,
            ExchangeEnd::Unreleased => self.stats.unreleased += 1,
        }
        let Some(owner) = acknowledged.owner else {
            return;
        };
        let Ack {
            reason, properties, ..
        } = ack;
        let outcome = match end {
            ExchangeEnd::Accepted => Outcome::Acknowledged {
                reason,
                properties,
                resent_as_new: acknowledged.resent_as_new,
            },
            ExchangeEnd::Refused => Outcome::Refused { reason, properties },
            ExchangeEnd::Unreleased => Outcome::Unreleased { properties },
            ExchangeEnd::InDoubt => Outcome::Uncertain,
        };
        self.complete_publish(owner, outcome);
    }

    /// Ends the messages in the outgoing queue that have expired, when it is time to look.
    pub(super) fn expire(&mut self, now: Instant) {
        if (self.session.outbound.next_expiry()).is_none_or(|expiry| expiry > now) {
            return;
        }
        for expired in self.session.outbound.take_expired(now) {
            self.complete_expired(expired);
        }
    }

    fn complete_expired(&mut self, expired: WaitingPublish) {
        let outcome = if expired.resent_as_new {
            Outcome::SessionLost // it was on the wire once
        } else {
            Outcome::Expired
        };
        self.end_waiting(expired, outcome);
    }

    /// Ends a message that has left the outgoing queue without being in flight: it was not sent, or it is QoS 0.
    pub(super) fn end_waiting(&mut self, waiting: WaitingPublish, outcome: Outcome) {
        self.record_finished(waiting.key);
        match outcome {
            Outcome::Dropped => self.stats.dropped += 1,
            Outcome::Expired => self.stats.expired += 1,
            _ => {}
        }
        if let Some(owner) = waiting.owner {
            self.complete_publish(owner, outcome);
        }
    }

    /// The caller of the publish `op` no longer waits for it. `None` when nobody waited.
    pub(super) fn abandon_publish(&mut self, op: OpId) -> Option<Delivery> {
        let abandoned = self.session.outbound.abandon(op)?;
        self.record_finished(abandoned.key);
        Some(abandoned.delivery)
    }

    /// Reports the outcome of a publish to its owner.
    pub(super) fn complete_publish(&mut self, owner: Owner, outcome: Outcome) {
        match owner {
            Owner::Publish(op) => self.events.push_back(Event::Completed { op, outcome }),
            Owner::Request(op) => self.on_request_published(op, outcome),
            Owner::Recorded(key) => self.events.push_back(Event::Ended { key, outcome }),
        }
    }
}

/// How an acknowledgement ends the exchange of a QoS 1 or 2 publish.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ExchangeEnd {
    Accepted,
    /// By PUBACK or PUBREC.
    Refused,
    /// By PUBCOMP: the server took the message over, and did not know its Packet Identifier any more.
    Unreleased,
    /// By PUBCOMP, which the server may have sent in another session than that of the message.
    InDoubt,
}
