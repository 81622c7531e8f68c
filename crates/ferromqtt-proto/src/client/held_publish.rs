//! PUBLISHes that a store holds up: QoS 0 behind those, and what becomes of each once it may leave.

use std::time::Instant;

use super::Client;
use crate::connection::HeldMessage;
use crate::event::Outcome;
use crate::session::{Session, SessionChange, WaitingPublish};

impl Client {
    /// Encodes the first PUBLISH that was held for a store, if it may leave now. Returns whether there was one.
    pub(super) fn send_held(&mut self, now: Instant) -> bool {
        let version = self.options.protocol;
        let Session {
            outbound, journal, ..
        } = &mut self.session;
        let Some(connection) = &mut self.connection else {
            return false;
        };
        let number = match connection.held.next_publish(journal) {
            None => return false,
            Some(HeldMessage::AtMostOnce(waiting)) => {
                self.send_held_qos0(now, *waiting);
                return true;
            }
            Some(HeldMessage::InFlight(number)) => number,
        };
        let Some(flow) = outbound.in_flight_mut(number) else {
            return true; // the server has answered what it never got
        };
        if flow.has_expired(now) {
            self.end_held(number, Outcome::Expired);
        } else {
            connection.send_in_flight(now, flow, version);
        }
        true
    }

    /// Holds the first message that waits, of QoS 0, behind those that are held, and until the end of a store's message is
    /// on record: a process that dies in between must not send it a second time. Returns as `send_one` does.
    #[cold]
    pub(super) fn hold_qos0(&mut self) -> bool {
        let Session {
            outbound, journal, ..
        } = &mut self.session;
        let Some(connection) = &mut self.connection else {
            return false;
        };
        // One that may expire waits where it can.
        let may_be_held =
            |waiting: &mut WaitingPublish| waiting.key.is_some() || waiting.expiry.is_none();
        if connection.held.is_full() || !outbound.first_waiting().is_some_and(may_be_held) {
            return false;
        }
        let Some(mut waiting) = outbound.pop_waiting() else {
            return false;
        };
        let needed = (waiting.key).map_or(0, |key| {
            journal.record(true, || SessionChange::Finished { key })
        });
        let owner = waiting.owner.take();
        let message = HeldMessage::AtMostOnce(Box::new(waiting));
        connection.held.hold_publish(message, needed);
        if let Some(owner) = owner {
            self.complete_publish(owner, Outcome::Sent); // together with its record
        }
        true
    }

    /// Encodes a QoS 0 message that was held.
    fn send_held_qos0(&mut self, now: Instant, mut waiting: WaitingPublish) {
        let version = self.options.protocol;
        let Some(connection) = &mut self.connection else {
            return;
        };
        if waiting.has_expired(now) {
            return self.report_unflushed(1);
        }
        let packet = waiting.publish.packet(None, false);
        connection.send_publish(packet, version, |transmit, packet| {
            transmit.push_publish(packet, &waiting.publish.payload, version);
        });
        self.stats.sent_qos0 += 1;
    }
}
