//! Bytes from the transport: packets, and what each of them changes.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::closing::Ending;
use super::hold_back::Unreadable;
use super::{Client, ClientPhase, ConnectResult};
use crate::codec::FixedHeader;
use crate::connection::{AuthExchange, Limits, OutgoingAliases};
use crate::error::{ConnectionError, DecodeError};
use crate::event::{Connected, Event};
use crate::packet::{self, ConnAck, Packet, ProtocolVersion, ReasonCode, Whole, whole_packets};
use crate::slips::Slip;

const NOT_CONNACK: DecodeError = DecodeError::protocol("the first packet is not CONNACK");

/// MQTT-3.1.0-1: CONNECT is the first packet of a connection, also where it waits for a store.
const BEFORE_CONNECT: DecodeError =
    DecodeError::protocol("the server accepts a CONNECT that was not sent");

/// Whether the server refuses the connection, for which it need not have read anything.
fn is_refusal(packet: &Packet) -> bool {
    matches!(packet, Packet::ConnAck(connack) if connack.reason != ReasonCode::Success)
}

/// What a server that does not speak MQTT on this port answers CONNECT with.
fn not_connack(input: &[u8]) -> DecodeError {
    match input {
        [b'H', b'T', b'T', b'P', ..] => DecodeError::protocol(
            "the answer to CONNECT is HTTP: is it a port for MQTT over WebSocket, or a web server's?",
        ),
        [0x15 | 0x16, 0x03, ..] => {
            DecodeError::protocol("the answer to CONNECT is TLS: does the port expect TLS?")
        }
        [b'S', b'S', b'H', ..] => {
            DecodeError::protocol("the answer to CONNECT is SSH: is it the right port?")
        }
        _ => NOT_CONNACK,
    }
}

impl Client {
    /// Takes whole packets from the front of `input`, and leaves the rest for the next call. Strings and payloads of
    /// messages share the memory of `input`. Not to be called while [`Client::input_paused`] asks to wait.
    pub fn handle_input(&mut self, now: Instant, input: &mut BytesMut) {
        self.end_claims(now); // what comes after the time is not held
        let Some(connection) = &mut self.connection else {
            input.clear();
            return;
        };
        if input.is_empty() {
            return;
        }
        self.session.inbox.set_clock(now);
        if let ClientPhase::Closing { .. } = self.phase {
            self.still_linger(now);
            input.clear();
            return;
        }
        if let ClientPhase::Handshake { .. } = self.phase
            && input[0] != packet::PacketType::ConnAck.first_byte()
            && !(self.options.properties.authentication_method.is_some()
                && input[0] == packet::PacketType::Auth.first_byte())
        {
            // Told from the first byte, since whoever does not speak MQTT may never send a whole packet.
            self.protocol_violation(now, not_connack(input));
            input.clear();
            return;
        }
        let (bytes, failure) = match whole_packets(input, connection.packet_limits) {
            Ok(Whole { bytes, .. }) => (bytes, None),
            Err((bytes, error)) => (bytes, Some(error)),
        };
        let rest = input.len() - bytes;
        let capacity = input.capacity();
        connection.keep_alive.received(now, bytes, rest);
        let source = input.split_to(bytes).freeze();
        if self.packet_trace() {
            self.trace_received(now, &source);
        }
        let unreadable = failure.map(|error| {
            let header = FixedHeader::read(input).ok().flatten();
            let packet_len = header.map(|header| header.packet_len());
            Unreadable { error, packet_len }
        });
        match &mut self.held_back {
            Some(held) => held.push(source, capacity),
            None => self.take_packets(now, &source, capacity),
        }
        if let Some(held) = &mut self.held_back {
            held.end_with(unreadable);
            self.go_on(now);
        } else if let Some(unreadable) = unreadable
            && self.reads()
        {
            self.refuse_packet(now, unreadable);
        }
        if !self.reads() {
            input.clear();
        }
    }

    /// Takes these packets, as far as the connection goes on, and until one is to be held back with all behind it. From their
    /// first byte on, `capacity` bytes are one piece of memory.
    pub(super) fn take_packets(&mut self, now: Instant, source: &Bytes, capacity: usize) {
        self.session.inbox.begin_chunk(source, capacity);
        let mut at = 0;
        while at < source.len() && self.reads() {
            let start = at;
            let version = self.options.protocol;
            let packet = packet::decode_with(source, &mut at, version, &mut self.slips);
            let result = packet.and_then(|packet| self.on_packet(now, packet, at - start));
            if self.slips.has_news() {
                self.report_slips();
            }
            if let Err(error) = result {
                self.protocol_violation(now, error);
            }
            if let Some(held) = &mut self.held_back {
                held.push(source.slice(at..), capacity);
                break;
            }
        }
        self.session.inbox.end_chunk();
    }

    /// Ends the connection because of a packet that cannot be read. Before 5.0 the server cannot know how large a packet may
    /// be, so one that is too large is no fault of its own.
    pub(super) fn refuse_packet(&mut self, now: Instant, unreadable: Unreadable) {
        let Unreadable { error, packet_len } = unreadable;
        match (packet_len, &self.connection) {
            (Some(bytes), Some(connection)) if error.reason == ReasonCode::QuotaExceeded => {
                let limit = connection.packet_limits.maximum_non_publish_size;
                let cause = ConnectionError::NonPublishTooLarge { bytes, limit };
                self.refuse_input(now, error.reason, cause);
            }
            (Some(bytes), Some(connection))
                if error.reason == ReasonCode::PacketTooLarge && !self.options.protocol.is_v5() =>
            {
                let cause = ConnectionError::PacketTooLarge {
                    bytes,
                    limit: connection.packet_limits.maximum_packet_size,
                };
                self.end_connection(now, cause, self.by_answering(now));
            }
            _ => self.protocol_violation(now, error),
        }
    }

    /// How many more bytes the packet at the front of `input` needs: reserve them once, rather than growing step by step.
    /// Never more than [`Options::maximum_packet_size`](crate::Options::maximum_packet_size) and
    /// [`Options::maximum_non_publish_size`](crate::Options::maximum_non_publish_size) allow.
    pub fn input_hint(&self, input: &[u8]) -> usize {
        let Some(connection) = &self.connection else {
            return 1;
        };
        whole_packets(input, connection.packet_limits).map_or(1, |whole| whole.missing)
    }

    /// Whether packets are still processed: not after this side has ended the connection.
    pub(super) const fn reads(&self) -> bool {
        matches!(
            self.phase,
            ClientPhase::Handshake { .. } | ClientPhase::Connected
        )
    }

    #[cold]
    fn report_slips(&mut self) {
        while let Some(slip) = self.slips.take_unreported() {
            self.events.push_back(Event::Tolerated { slip });
        }
    }

    /// `bytes` is the length of the packet.
    fn on_packet(
        &mut self,
        now: Instant,
        mut packet: Packet,
        bytes: usize,
    ) -> Result<(), DecodeError> {
        if !matches!(packet, Packet::Publish(_)) {
            self.hide_echoes(&mut packet);
        }
        packet.detach_properties();
        if let ClientPhase::Handshake { .. } = self.phase {
            self.check_problem_information(&packet)?;
            if self.holds_connect() && !is_refusal(&packet) {
                return Err(BEFORE_CONNECT);
            }
            return match packet {
                Packet::ConnAck(connack) => self.on_connack(now, *connack),
                Packet::Auth(auth) => self.on_auth(*auth),
                _ => Err(NOT_CONNACK),
            };
        }
        self.check_problem_information(&packet)?;
        match packet {
            Packet::Publish(publish) => self.on_publish(publish, bytes),
            Packet::PubAck(ack) => self.on_puback(now, ack),
            Packet::PubRec(ack) => self.on_pubrec(now, ack),
            Packet::PubRel(ack) => self.on_pubrel(&ack),
            Packet::PubComp(ack) => self.on_pubcomp(now, ack),
            Packet::SubAck(suback) => self.on_suback(*suback),
            Packet::UnsubAck(unsuback) => self.on_unsuback(*unsuback),
            Packet::PingResp => Ok(()), // any packet answers the Keep Alive
            Packet::Disconnect(disconnect) if self.options.protocol.is_v5() => {
                disconnect.check_server()?;
                let cause = ConnectionError::Disconnected {
                    reason: disconnect.reason,
                    properties: disconnect.properties.into(),
                };
                self.end_connection(now, cause, Ending::Close);
                Ok(())
            }
            Packet::ConnAck(_) => Err(DecodeError::protocol("a second CONNACK came")),
            Packet::Auth(auth) => self.on_auth(*auth),
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::Disconnect(_) => Err(DecodeError::protocol(
                "a packet came that only clients send",
            )),
        }
    }

    /// Whether the packet says more than Request Problem Information asked for (MQTT-3.1.2-29).
    fn check_problem_information(&self, packet: &Packet) -> Result<(), DecodeError> {
        if self.options.properties.request_problem_information != Some(false) {
            return Ok(());
        }
        let properties = match packet {
            Packet::PubAck(it) | Packet::PubRec(it) | Packet::PubRel(it) | Packet::PubComp(it) => {
                it.properties.as_deref()
            }
            Packet::SubAck(it) => Some(&it.properties),
            Packet::UnsubAck(it) => Some(&it.properties),
            Packet::Auth(it) => Some(&it.properties),
            _ => None,
        };
        let tells = properties
            .is_some_and(|it| it.reason_string.is_some() || !it.user_properties.is_empty());
        if tells {
            return Err(DecodeError::protocol(
                "a Reason String or User Property came that Request Problem Information forbids",
            ));
        }
        Ok(())
    }

    fn on_connack(&mut self, now: Instant, connack: ConnAck) -> Result<(), DecodeError> {
        let ConnAck {
            mut session_present,
            reason,
            properties,
        } = connack;
        if reason != ReasonCode::Success {
            let properties = properties.into();
            let cause = ConnectionError::Refused { reason, properties };
            self.end_connection(now, cause, Ending::Close);
            return Ok(());
        }
        self.check_method(properties.authentication_method.as_ref())?;
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if session_present && connection.clean_start {
            // MQTT-3.2.2-4. In 5.0 the session that the server takes to be there would decide what comes next; before, both
            // sides forget it with this connection.
            let refusal = DecodeError::protocol("Session Present is set after Clean Start");
            if self.options.protocol.is_v5() {
                return Err(refusal);
            }
            (self.slips).tolerate(Slip::SessionPresentAfterCleanSession, refusal)?;
            session_present = false;
        }
        // 3.1 has no such flag, its byte is reserved: the session that was asked for is taken to be there.
        let resumes = session_present
            || (self.options.protocol == ProtocolVersion::V31 && !connection.clean_start);
        let seconds = properties
            .server_keep_alive
            .unwrap_or(self.options.keep_alive); // MQTT-3.1.2-21
        let clean_start = connection.clean_start;
        connection.keep_alive.set_interval(seconds);
        connection.limits = Limits::new(&properties, &self.options);
        connection.outgoing_aliases = OutgoingAliases::new(
            properties.topic_alias_maximum.unwrap_or(0),
            self.options.topic_aliases_out,
        );
        connection.authentication = AuthExchange::Over;
        connection.accepted_at = Some(now);
        if let Some(assigned) = &properties.assigned_client_identifier
            && self.client_identifier().is_empty()
        {
            self.assigned_identifier = Some(assigned.detached()); // else there is a name, which no server changes
        }
        self.correlation
            .learn(properties.response_information.as_ref());
        let first = std::mem::replace(&mut self.first, false);
        self.connack = Some(Box::new(ConnectResult::new(
            session_present,
            &properties,
            &self.options,
            self.client_identifier(),
            clean_start,
        )));
        self.versions
            .accepted(self.servers.current(), self.options.protocol);
        self.phase = ClientPhase::Connected;
        self.stats.connections += 1;
        self.stats.reconnects += u64::from(!first);
        self.events.push_back(Event::Connected(Box::new(Connected {
            session_present,
            properties,
        })));
        let is_doubtful = std::mem::replace(&mut self.was_unanswered, false) && resumes;
        if resumes {
            self.session.outbound.start_resending();
        } else {
            self.session_lost();
        }
        self.hold_until_session_end_is_recorded();
        let was_unanswered_before = std::mem::take(&mut self.was_unanswered_before);
        if is_doubtful {
            self.session.inbound.doubt();
            if was_unanswered_before {
                self.session.outbound.doubt();
            }
        } else if resumes {
            self.record_resumed();
        }
        self.open_claims(now, resumes);
        if !first && (!session_present || is_doubtful || self.is_restoring()) {
            self.restore_subscriptions();
        } else if !self.options.protocol.is_v5() {
            self.end_responders();
        }
        self.send_waiting_requests();
        Ok(())
    }
}
