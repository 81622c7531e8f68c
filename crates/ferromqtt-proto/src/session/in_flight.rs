//! The states of a publish on its way: it waits, it awaits PUBACK or PUBREC, it awaits PUBCOMP, it has ended.

use std::time::Instant;

use super::{MessageExpiry, Publish, SessionChange};
use crate::event::{Delivery, OpId};
use crate::packet::{MESSAGE_OVERHEAD, PacketId, QoS};

/// Whom the outcome of a publish is reported to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The operation is the publish.
    Publish(OpId),
    /// The operation is a request, whose outcome depends on its response too.
    Request(OpId),
    /// A store has the message under this key. It outlives callers, connections and clients.
    Recorded(u64),
}

impl Owner {
    /// The operation whose caller waits, if it is one.
    pub(crate) const fn op(self) -> Option<OpId> {
        match self {
            Self::Publish(op) | Self::Request(op) => Some(op),
            Self::Recorded(_) => None,
        }
    }

    pub(crate) const fn is_recorded(self) -> bool {
        matches!(self, Self::Recorded(_))
    }
}

/// A publish that is not on any wire yet.
#[derive(Debug)]
pub(crate) struct WaitingPublish {
    /// `None` when no caller waits for it.
    pub(crate) owner: Option<Owner>,
    pub(crate) publish: Publish,
    /// Was on the wire in a session that the server lost.
    pub(crate) resent_as_new: bool,
    /// Of a message with a Message Expiry Interval.
    pub(crate) expiry: Option<MessageExpiry>,
    /// Names the message in the journal, if it is there already: it was accepted with its key, or about to be sent before.
    pub(crate) key: Option<u64>,
}

impl WaitingPublish {
    /// What is known when it goes no further.
    pub(crate) const fn delivery(&self) -> Delivery {
        if self.resent_as_new {
            Delivery::Unknown
        } else {
            Delivery::NotSent
        }
    }

    /// Whether it stays although no caller waits for it any more: a store has it, since it was accepted, or since it was on
    /// the wire.
    pub(crate) fn stays(&self) -> bool {
        self.is_recorded() || self.resent_as_new && self.key.is_some()
    }

    pub(crate) fn is_recorded(&self) -> bool {
        self.owner.is_some_and(Owner::is_recorded)
    }

    /// Whether it goes out only with a record: at QoS 2, and at QoS 0 for a store, which would send it again after a crash.
    pub(crate) fn must_not_come_twice(&self) -> bool {
        match self.publish.qos {
            QoS::AtMostOnce => self.key.is_some(),
            QoS::AtLeastOnce => false,
            QoS::ExactlyOnce => true,
        }
    }

    /// Its acceptance, if a store has it and it was never sent.
    pub(crate) fn as_accepted(&self, now: Instant) -> Option<SessionChange> {
        let key = self
            .key
            .filter(|_| self.is_recorded() && !self.resent_as_new)?;
        let end = self.expiry.as_ref().map(MessageExpiry::end);
        Some(SessionChange::Accepted {
            key,
            publish: self.publish.clone(),
            expires_in: end.map(|end| end.saturating_duration_since(now)),
            keep_latest: false, // only the queue that has accepted it knows
        })
    }

    /// Whether it must not be sent any more at `now`. Otherwise its Message Expiry Interval is what is left of it.
    pub(crate) fn has_expired(&mut self, now: Instant) -> bool {
        (self.expiry.as_ref()).is_some_and(|expiry| has_expired(&mut self.publish, expiry, now))
    }
}

fn has_expired(publish: &mut Publish, expiry: &MessageExpiry, now: Instant) -> bool {
    if expiry.is_over(now) {
        return true;
    }
    let properties = publish.properties.as_mut();
    if let Some(interval) = properties.and_then(|it| it.message_expiry_interval.as_mut()) {
        *interval = expiry.left(now);
    }
    false
}

/// Where a PUBLISH of a connection lies that is not encoded, and so was never sent: behind all bytes.
const HELD: u64 = u64::MAX;

/// A QoS 1 or 2 PUBLISH that was sent and awaits PUBACK or PUBREC.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) id: PacketId,
    pub(crate) owner: Option<Owner>,
    pub(crate) publish: Publish,
    pub(crate) resent_as_new: bool,
    /// For a session that is lost: while the exchange lasts, nothing expires (MQTT-4.3.3-7).
    pub(crate) expiry: Option<MessageExpiry>,
    /// The connection on which it was sent last: only there it takes a slot of the Receive Maximum.
    pub(crate) connection: u64,
    /// When that was; `None` before it is sent.
    pub(crate) sent_at: Option<Instant>,
    /// How many bytes of that connection are before it. More than there can be while it is [held](Self::hold).
    pub(crate) begins_at: u64,
    /// How many bytes of that connection are handed over with it, when it is sent for the first time there; otherwise 0.
    pub(crate) ends_at: u64,
    /// Names the message in the journal, if there is one.
    pub(crate) key: Option<u64>,
}

impl InFlight {
    /// It waits for a store, and is not encoded yet.
    pub(crate) const fn hold(&mut self) {
        self.begins_at = HELD;
        self.ends_at = HELD;
    }

    /// Whether its PUBLISH leaves only when that is on record. Not at QoS 1 if a store has accepted it: a server keeps no state
    /// for that, and nobody learns that a message is stored before it is.
    pub(crate) fn waits_for_record(&self) -> bool {
        self.publish.qos == QoS::ExactlyOnce || !self.owner.is_some_and(Owner::is_recorded)
    }

    /// Whether it was held so long that it must not be sent any more, as [`WaitingPublish::has_expired`]. One that was on a wire
    /// before is sent in any case.
    pub(crate) fn has_expired(&mut self, now: Instant) -> bool {
        !self.resent_as_new
            && (self.expiry.as_ref()).is_some_and(|it| has_expired(&mut self.publish, it, now))
    }

    /// What goes on record before it goes out.
    pub(crate) fn as_change(&self, key: u64, is_on_record: bool) -> SessionChange {
        let packet_id = self.id;
        if is_on_record {
            return SessionChange::Sending { key, packet_id };
        }
        SessionChange::Publishing {
            key,
            packet_id,
            publish: self.publish.clone(),
        }
    }
}

/// A PUBREL that was sent and awaits PUBCOMP. The message itself is no longer needed (MQTT-4.3.3-6).
#[derive(Debug)]
pub(crate) struct Release {
    pub(crate) id: PacketId,
    /// Of the message.
    pub(super) number: u64,
    pub(super) resent_as_new: bool,
    /// PUBREC has said that nobody has subscribed to the topic (0x10).
    pub(super) unmatched: bool,
    pub(super) connection: u64,
    /// When that connection has sent the message.
    pub(super) sent_at: Option<Instant>,
    pub(crate) key: Option<u64>,
}

impl Release {
    /// What it counts, in bytes.
    pub(super) const SIZE: usize = MESSAGE_OVERHEAD;
}

/// What a PUBREC has turned into a PUBREL.
#[derive(Debug)]
pub(crate) struct Released {
    pub(crate) number: u64,
    pub(crate) key: Option<u64>,
}

/// A publish whose exchange an acknowledgement has ended.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    pub(crate) owner: Option<Owner>,
    pub(crate) resent_as_new: bool,
    /// Of QoS 2: PUBREC has said that nobody has subscribed to the topic (0x10).
    pub(crate) unmatched: bool,
    /// The connection whose Receive Maximum slot is free now.
    pub(crate) connection: u64,
    /// When that connection has sent it.
    pub(crate) sent_at: Option<Instant>,
    pub(crate) key: Option<u64>,
    /// Of QoS 2: an earlier process has sent it, and the server may have lost that session since.
    pub(crate) is_doubted: bool,
}

/// A publish that its caller does not wait for any more.
#[derive(Debug)]
pub(crate) struct Abandoned {
    /// What is known of it.
    pub(crate) delivery: Delivery,
    /// Names the message in the journal, if that can forget it.
    pub(crate) key: Option<u64>,
}

/// A message that was sent and whose exchange has not ended.
#[derive(Debug)]
pub(super) enum Flight {
    /// It awaits PUBACK or PUBREC.
    Published(InFlight),
    /// It awaits PUBCOMP, and is a [`Release`] beside.
    Released { owner: Option<Owner> },
}

impl Flight {
    pub(super) const fn published(&self) -> Option<&InFlight> {
        match self {
            Self::Published(flow) => Some(flow),
            Self::Released { .. } => None,
        }
    }

    pub(super) fn is_qos2(&self) -> bool {
        (self.published()).is_none_or(|flow| flow.publish.qos == QoS::ExactlyOnce)
    }

    pub(super) const fn owner(&self) -> Option<Owner> {
        match self {
            Self::Published(InFlight { owner, .. }) | Self::Released { owner } => *owner,
        }
    }

    pub(super) const fn owner_mut(&mut self) -> &mut Option<Owner> {
        match self {
            Self::Published(InFlight { owner, .. }) | Self::Released { owner } => owner,
        }
    }
}
