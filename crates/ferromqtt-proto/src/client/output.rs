//! Bytes for the transport. Publishes are encoded here, when the transport asks, and not before.

use std::time::Instant;

use bytes::Bytes;

use super::{Client, Phase};
use crate::connection::{Connection, Progress};
use crate::error::PublishError;
use crate::event::Outcome;
use crate::packet::{Ack, Packet, PacketId, QoS};
use crate::session::Waiting;

impl Client {
    /// The next chunk to write. Call it again until `None` each time the transport can take more. A chunk holds many
    /// small packets, or one large payload that was not copied.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        self.poll_transmit_up_to(now, usize::MAX)
    }

    /// As [`Client::poll_transmit`], in chunks of at most `limit` bytes, which is at least 1: for a transport that keeps
    /// what it is given, however much that is. The bytes of a large payload are still not copied.
    pub fn poll_transmit_up_to(&mut self, now: Instant, limit: usize) -> Option<Bytes> {
        if self.packet_trace() {
            return self.poll_traced(now, limit);
        }
        if matches!(self.phase, Phase::Connected) {
            self.encode_publishes(now);
            self.leave_when_done(now);
        }
        let connection = self.connection.as_mut()?;
        let written = self.session.journal.written();
        let chunk = connection.transmit.pop(written, limit.max(1))?;
        let handed_over = connection.transmit.handed_over();
        connection.keep_alive.sent(now, handed_over);
        Some(chunk)
    }

    /// Whether Keep Alive, or closing, waits for a [`transport_progress`](Client::transport_progress) at `now`, if `unwritten`
    /// of the bytes handed over are still in a buffer of this process: a deadline is due, or a PINGREQ has left.
    ///
    /// Ask before [`Client::handle_timeout`], and when bytes have left. Where it costs something to know how many are left,
    /// ask with 0 first: if the answer is no, it is no with any other number.
    pub fn wants_progress(&self, now: Instant, unwritten: u64) -> bool {
        let Some(connection) = &self.connection else {
            return false;
        };
        match self.phase {
            Phase::Connected => {}
            Phase::Closing { closing, .. } => return closing.wants_progress(now),
            _ => return false,
        }
        let written = (connection.transmit.handed_over()).saturating_sub(unwritten);
        connection.keep_alive.wants_progress(now, written)
    }

    /// Reports how far the bytes handed over have come, when [asked](Client::wants_progress) for.
    ///
    /// With it, the server's time to answer a PINGREQ counts from when it was written, and a slow link that moves is told
    /// from a dead one. Without, what was handed over counts as written.
    pub fn transport_progress(&mut self, now: Instant, progress: Progress) {
        if (progress.tcp).is_some_and(|tcp| tcp.unacknowledged > 0) {
            self.still_linger(now);
        }
        if let Some(connection) = &mut self.connection {
            let handed_over = connection.transmit.handed_over();
            (connection.keep_alive).progressed(now, handed_over, progress);
        }
    }

    /// How many bytes are encoded and not handed over yet: a driver flushes early when this is large.
    pub fn pending_transmit(&self) -> usize {
        self.connection
            .as_ref()
            .map_or(0, |connection| connection.transmit.len())
    }

    /// Encodes, until a chunk is full: first what is owed to a resumed session, in its order (MQTT-4.4.0-1,
    /// MQTT-4.6.0-1), then what waits, in its order, as far as the server's Receive Maximum allows (MQTT-4.9.0-2).
    pub(super) fn encode_publishes(&mut self, now: Instant) {
        while let Some(connection) = &self.connection
            && !connection.transmit.is_full()
        {
            let progress = if self.session.outbound.is_resending() {
                self.resend_one()
            } else {
                self.send_one(now)
            };
            if !progress {
                return;
            }
        }
    }

    /// Whether only a chunk that is full keeps further messages from being encoded.
    pub(super) fn has_more_to_encode(&self) -> bool {
        let is_full = |connection: &Connection| connection.transmit.is_full();
        self.connection.as_ref().is_some_and(is_full) && !self.session.outbound.nothing_before()
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

    fn complete_expired(&mut self, expired: Waiting) {
        let outcome = if expired.resent_as_new {
            Outcome::SessionLost // it was on the wire once
        } else {
            Outcome::Expired
        };
        self.end_waiting(expired, outcome);
    }

    /// Ends a message that has left the outgoing queue without being sent.
    pub(super) fn end_waiting(&mut self, waiting: Waiting, outcome: Outcome) {
        self.record_finished(waiting.key);
        match outcome {
            Outcome::Dropped => self.stats.dropped += 1,
            Outcome::Expired => self.stats.expired += 1,
            _ => {}
        }
        if let Some(op) = waiting.op {
            self.complete(op, outcome);
        }
    }

    fn resend_one(&mut self) -> bool {
        let isolating = self.is_isolating();
        let Some(connection) = &mut self.connection else {
            return false;
        };
        let version = self.options.protocol;
        let outbound = &mut self.session.outbound;
        if let Some(id) = outbound.next_release() {
            let pubrel = Packet::PubRel(Ack::success(id));
            connection.transmit.push(&pubrel, version);
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
        let allowed = (connection.limits).check_publish(
            publish.qos,
            publish.retain,
            packet.packet_len(version),
        );
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
    fn give_up_resend(&mut self, number: u64, id: PacketId, qos: QoS, error: PublishError) {
        if qos == QoS::ExactlyOnce {
            self.retire(id);
        } else {
            self.free(id);
        }
        let given_up = self.session.outbound.finish_publish(number);
        self.record_finished(given_up.as_ref().and_then(|given_up| given_up.key));
        if let Some(op) = given_up.and_then(|given_up| given_up.op) {
            self.complete(op, Outcome::GivenUp(error));
        }
    }

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
        let packet_len = publish.packet(None, false).packet_len(version);
        let allowed = connection
            .limits
            .check_publish(publish.qos, publish.retain, packet_len);
        if let Err(error) = allowed {
            if let Some(refused) = outbound.pop_waiting() {
                self.end_waiting(refused, Outcome::NotPossible(error));
            }
            return true;
        }
        if publish.qos == QoS::AtMostOnce {
            let Some(waiting) = outbound.pop_waiting() else {
                return false;
            };
            let packet = waiting.publish.packet(None, false);
            connection.send_publish(packet, version, |transmit, packet| {
                transmit.push_publish(packet, &waiting.publish.payload, version);
            });
            self.stats.sent_qos0 += 1;
            if let Some(op) = waiting.op {
                self.complete(op, Outcome::Sent);
            }
            return true;
        }
        if !connection.limits.has_slot() {
            return false;
        }
        let journal = &mut self.session.journal;
        let Some(flow) =
            outbound.start(&mut self.session.ids, connection.number, journal.next_key())
        else {
            return false; // all Packet Identifiers are in use: an acknowledgement frees one
        };
        if let Some(key) = flow.key {
            let sequence = journal.record(|| flow.as_change(key));
            connection.transmit.depend_on(sequence);
        }
        connection.limits.take_slot();
        connection.last_publish = Some(flow.id);
        flow.begins_at = connection.transmit.end();
        let packet = flow.publish.packet(Some(flow.id), false);
        connection.send_publish(packet, version, |transmit, packet| {
            transmit.push_publish(packet, &flow.publish.payload, version);
        });
        flow.ends_at = connection.transmit.end();
        true
    }
}
