//! Finds the message that makes a server end every connection. Without this the session would resend it forever
//! (`docs/design/0020-messages-that-end-connections.md`).

use std::time::{Duration, Instant};

use super::Client;
use crate::error::{ConnectionError, TransportError};
use crate::event::{Event, Outcome, QuarantineReason};
use crate::packet::{Properties, ReasonCode};
use crate::reconnect::later;
use crate::session::{IdOwner, InFlight, Owner};

/// A server that closes sooner than this after it has accepted a connection (before 5.0, where a close gives no reason) does so
/// because of what came, and not the network.
const SOON: Duration = Duration::from_secs(1);

impl Client {
    /// Whether no PUBLISH may be sent now, because messages are sent one at a time and an answer is awaited on this
    /// connection. If the server ended it now, the reason could be either packet.
    pub(super) fn is_isolating(&self) -> bool {
        self.session.suspicion.is_one_at_a_time()
            && (self.last_in_flight().is_some()
                || self.holds_publishes()
                || self.requests.any_unanswered())
    }

    /// The QoS 1 or 2 PUBLISH that was sent last on this connection, if it is unacknowledged: its number.
    fn last_in_flight(&self) -> Option<u64> {
        let last = self.connection.as_ref()?.last_publish?;
        match self.session.ids.owner(last) {
            Some(&IdOwner::Publish(number)) => Some(number),
            _ => None, // acknowledged
        }
    }

    /// Counts an end of the connection if a message in flight may be its reason. Refuses the message once it is known.
    pub(super) fn suspect(&mut self, now: Instant, cause: &ConnectionError) {
        let Some(connection) = &self.connection else {
            return;
        };
        let handed_over = connection.transmit.handed_over();
        let outbound = &self.session.outbound;
        let Some((in_flight, oldest)) = outbound.in_flight_on(connection.number, handed_over)
        else {
            return; // no message that would be sent again
        };
        let topic = oldest.publish.topic.clone();
        let was_soon = (connection.accepted_at).is_some_and(|at| now < later(at, SOON));
        let was_one_at_a_time = self.session.suspicion.is_one_at_a_time();
        let (warns, reason) = match cause {
            ConnectionError::Disconnected { reason, properties } if may_mean_a_publish(*reason) => {
                let begins = (self.session.suspicion).disconnected(outbound.unacknowledged());
                if was_one_at_a_time && in_flight == 1 && self.is_alone(Some(*reason)) {
                    self.refuse_last(*reason, properties);
                }
                (begins, Some(*reason))
            }
            ConnectionError::Transport(TransportError::EndOfStream | TransportError::Failed(_))
                if !self.options.protocol.is_v5() =>
            {
                if self.options.journal && was_soon {
                    let begins = (self.session.suspicion).disconnected(outbound.unacknowledged());
                    if was_one_at_a_time && in_flight == 1 && self.is_alone(None) {
                        self.quarantine_last();
                    }
                    (begins, None)
                } else {
                    (self.session.suspicion.closed(), None)
                }
            }
            _ => return,
        };
        if warns {
            self.stats.suspected += 1;
            self.events.push_back(Event::MessageSuspected {
                topic,
                messages: in_flight,
                ends: self.session.suspicion.ends(),
                reason,
            });
        }
    }

    /// Whether the server can mean no packet but the PUBLISH in flight. A QoS 0 message is not acknowledged, so one that was
    /// sent on the same connection may be meant instead. So may an unanswered SUBSCRIBE or UNSUBSCRIBE if a packet is too
    /// large. Then the next connection decides: it begins with the PUBLISH, and nothing beside it.
    fn is_alone(&self, reason: Option<ReasonCode>) -> bool {
        let qos0_before = (self.connection.as_ref()).map(|connection| connection.sent_qos0_before);
        qos0_before == Some(self.stats.sent_qos0)
            && !(reason.is_none_or(|it| it == ReasonCode::PacketTooLarge)
                && self.requests.any_unanswered())
    }

    /// Takes the message in flight out of the session: it is the reason that connections end.
    fn take_last(&mut self) -> Option<InFlight> {
        let number = self.last_in_flight()?;
        let last = self.session.outbound.take_in_flight(number)?;
        self.session.suspicion.found();
        self.retire(last.id);
        self.record_finished(last.key);
        Some(last)
    }

    /// A store keeps the message in flight apart, if it has accepted it: the server has closed one connection after another for
    /// it, and gives no reason. A caller's message is sent again as ever: it is the network's doing, for all that is known.
    fn quarantine_last(&mut self) {
        let last = (self.last_in_flight())
            .and_then(|number| self.session.outbound.in_flight(number))
            .and_then(|(_, owner)| owner);
        if !matches!(last, Some(Owner::Recorded(_))) {
            return;
        }
        if let Some(owner) = self.take_last().and_then(|last| last.owner) {
            let why = QuarantineReason::EndsConnections;
            self.complete_publish(owner, Outcome::Quarantined { why });
        }
    }

    /// Gives up the message in flight: DISCONNECT was the server's answer to it.
    fn refuse_last(&mut self, reason: ReasonCode, properties: &Properties) {
        let Some(refused) = self.take_last() else {
            return;
        };
        self.stats.refused_by_disconnect += 1;
        self.events.push_back(Event::MessageRefused {
            topic: refused.publish.topic,
            packet_id: refused.id,
            reason,
        });
        if let Some(owner) = refused.owner {
            let properties = Properties {
                reason_string: properties.reason_string.clone(),
                user_properties: properties.user_properties.clone(),
                ..Properties::default()
            };
            let properties = properties.boxed();
            self.complete_publish(owner, Outcome::Refused { reason, properties });
        }
    }
}

/// Whether a DISCONNECT with this Reason Code is about a packet that this client sent, and most likely a PUBLISH.
const fn may_mean_a_publish(reason: ReasonCode) -> bool {
    matches!(
        reason,
        ReasonCode::PacketTooLarge
            | ReasonCode::PayloadFormatInvalid
            | ReasonCode::RetainNotSupported
            | ReasonCode::QosNotSupported
    )
}
