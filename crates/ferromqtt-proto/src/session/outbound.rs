//! Publishes on their way out: waiting in order, awaiting PUBACK or PUBREC, awaiting PUBCOMP; and the resend of the latter
//! two after a reconnect (MQTT-4.4.0-1), in the order in which they were sent (MQTT-4.6.0-1, MQTT-4.6.0-4).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::in_order::InOrder;
use super::{Expiry, IdOwner, PacketIds, SessionChange};
use crate::client::Publish;
use crate::event::{Delivery, OpId};
use crate::packet::{MESSAGE_OVERHEAD, PacketId, QoS};

/// How often the queue is looked through for messages that have expired, at most.
const EXPIRY_PAUSE: Duration = Duration::from_millis(250);

/// A publish that is not on any wire yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) op: Option<OpId>,
    pub(crate) publish: Publish,
    /// Was on the wire in a session that the server lost.
    pub(crate) resent_as_new: bool,
    /// Of a message with a Message Expiry Interval.
    pub(crate) expiry: Option<Expiry>,
    /// Names the message in the journal, if it is there already: it was about to be sent before.
    pub(crate) key: Option<u64>,
}

impl Waiting {
    /// What is known when it goes no further.
    pub(crate) const fn delivery(&self) -> Delivery {
        if self.resent_as_new {
            Delivery::Unknown
        } else {
            Delivery::NotSent
        }
    }

    /// Whether it stays although nobody waits for it any more: it was on the wire once, and a store has it.
    pub(crate) const fn stays(&self) -> bool {
        self.resent_as_new && self.key.is_some()
    }

    /// Whether it must not be sent any more at `now`. Otherwise its Message Expiry Interval is what is left of it.
    pub(crate) fn has_expired(&mut self, now: Instant) -> bool {
        let Some(expiry) = &self.expiry else {
            return false;
        };
        if expiry.is_over(now) {
            return true;
        }
        if let Some(properties) = &mut self.publish.properties {
            properties.message_expiry_interval = Some(expiry.left(now));
        }
        false
    }
}

/// A QoS 1 or 2 PUBLISH that was sent and awaits PUBACK or PUBREC.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) id: PacketId,
    pub(crate) op: Option<OpId>,
    pub(crate) publish: Publish,
    pub(crate) resent_as_new: bool,
    /// For a session that is lost: while the exchange lasts, nothing expires (MQTT-4.3.3-7).
    pub(crate) expiry: Option<Expiry>,
    /// The connection on which it was sent last: only there it takes a slot of the Receive Maximum.
    pub(crate) connection: u64,
    /// How many bytes of that connection are before it.
    pub(crate) begins_at: u64,
    /// How many bytes of that connection are handed over with it, when it is sent for the first time there; otherwise 0.
    pub(crate) ends_at: u64,
    /// Names the message in the journal, if there is one.
    pub(crate) key: Option<u64>,
}

impl InFlight {
    /// What goes on record before it goes out.
    pub(crate) fn as_change(&self, key: u64) -> SessionChange {
        let packet_id = self.id;
        if self.resent_as_new {
            return SessionChange::PublishingAnew { key, packet_id };
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
    pub(crate) op: Option<OpId>,
    resent_as_new: bool,
    connection: u64,
    pub(crate) key: Option<u64>,
}

impl Release {
    /// What it counts, in bytes.
    const SIZE: usize = MESSAGE_OVERHEAD;
}

/// What a PUBREC has turned into a PUBREL.
#[derive(Debug)]
pub(crate) struct Released {
    pub(crate) id: PacketId,
    pub(crate) number: u64,
    pub(crate) key: Option<u64>,
}

/// A publish whose exchange an acknowledgement has ended.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    pub(crate) op: Option<OpId>,
    pub(crate) resent_as_new: bool,
    /// The connection whose Receive Maximum slot is free now.
    pub(crate) connection: u64,
    pub(crate) key: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Outbound {
    waiting: VecDeque<Waiting>,
    publishing: InOrder<InFlight>,
    releasing: InOrder<Release>,
    /// What all of them count: [`Publish::memory_size`], and of one that has become a PUBREL [`Release::SIZE`].
    bytes: usize,
    /// No message that waits expires before.
    next_expiry: Option<Instant>,
    /// Which part of the two is still to be resent on this connection: from .. until.
    resend_publish: (u64, u64),
    resend_release: (u64, u64),
}

impl Outbound {
    /// Messages that wait or are unacknowledged.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.publishing.len() + self.releasing.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a QoS 0 publish would overtake nothing.
    pub(crate) fn nothing_before(&self) -> bool {
        self.waiting.is_empty() && !self.is_resending()
    }

    pub(crate) const fn is_resending(&self) -> bool {
        self.resend_publish.0 < self.resend_publish.1
            || self.resend_release.0 < self.resend_release.1
    }

    pub(crate) fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.publish.memory_size();
        self.note_expiry(waiting.expiry.as_ref());
        self.waiting.push_back(waiting);
    }

    pub(crate) fn first_waiting(&mut self) -> Option<&mut Waiting> {
        self.waiting.front_mut()
    }

    pub(crate) fn pop_waiting(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        self.bytes -= waiting.publish.memory_size();
        if self.waiting.is_empty() {
            self.next_expiry = None;
            if self.waiting.capacity() > 64 {
                self.waiting = VecDeque::new();
            }
        }
        Some(waiting)
    }

    /// Moves the first waiting publish into flight. The caller has made sure that it is QoS 1 or 2.
    pub(crate) fn start(
        &mut self,
        ids: &mut PacketIds<IdOwner>,
        connection: u64,
        new_key: Option<u64>,
    ) -> Option<&mut InFlight> {
        let number = self.publishing.next_number();
        let id = ids.take(IdOwner::Publish(number))?;
        let Waiting {
            op,
            publish,
            resent_as_new,
            expiry,
            key,
        } = self.pop_waiting()?;
        self.put_on_the_wire(InFlight {
            id,
            op,
            publish,
            resent_as_new,
            expiry,
            connection,
            begins_at: 0,
            ends_at: 0,
            key: key.or(new_key),
        });
        self.publishing.get_mut(number)
    }

    /// Puts a publish behind those in flight, and tells its number.
    pub(crate) fn put_on_the_wire(&mut self, flow: InFlight) -> u64 {
        self.bytes += flow.publish.memory_size();
        self.publishing.push(flow)
    }

    /// How many messages await PUBACK or PUBREC of which this connection has handed over at least the beginning, and the
    /// oldest of them, if there is any.
    pub(crate) fn in_flight_on(
        &self,
        connection: u64,
        handed_over: u64,
    ) -> Option<(usize, &InFlight)> {
        let mut in_flight = (self.publishing.iter())
            .filter(|flow| flow.connection == connection && flow.begins_at < handed_over);
        let oldest = in_flight.next()?;
        Some((in_flight.count() + 1, oldest))
    }

    /// How many messages await PUBACK or PUBREC, on whatever connection they were sent.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.publishing.len()
    }

    /// Takes out the PUBLISH numbered `number`, which no acknowledgement will come for.
    pub(crate) fn take_in_flight(&mut self, number: u64) -> Option<InFlight> {
        let flow = self.publishing.remove(number)?;
        self.bytes -= flow.publish.memory_size();
        Some(flow)
    }

    /// PUBACK, or a PUBREC with an error, for the PUBLISH numbered `number`.
    pub(crate) fn finish_publish(&mut self, number: u64) -> Option<Acknowledged> {
        let flow = self.take_in_flight(number)?;
        Some(Acknowledged {
            op: flow.op,
            resent_as_new: flow.resent_as_new,
            connection: flow.connection,
            key: flow.key,
        })
    }

    /// The QoS of the PUBLISH numbered `number`: tells a PUBACK from a PUBREC that is due.
    pub(crate) fn qos_of(&mut self, number: u64) -> Option<QoS> {
        self.publishing.get_mut(number).map(|flow| flow.publish.qos)
    }

    /// PUBREC for the PUBLISH numbered `number`: from now on it is a PUBREL that is owed, with a number of its own.
    pub(crate) fn release(&mut self, number: u64) -> Option<Released> {
        let flow = self.take_in_flight(number)?;
        self.bytes += Release::SIZE;
        let number = self.releasing.push(Release {
            id: flow.id,
            op: flow.op,
            resent_as_new: flow.resent_as_new,
            connection: flow.connection,
            key: flow.key,
        });
        Some(Released {
            id: flow.id,
            number,
            key: flow.key,
        })
    }

    /// PUBCOMP for the PUBREL numbered `number`.
    pub(crate) fn finish_release(&mut self, number: u64) -> Option<Acknowledged> {
        let release = self.releasing.remove(number)?;
        self.bytes -= Release::SIZE;
        Some(Acknowledged {
            op: release.op,
            resent_as_new: release.resent_as_new,
            connection: release.connection,
            key: release.key,
        })
    }

    /// All that is unacknowledged now is to be resent on this connection.
    pub(crate) fn start_resending(&mut self) {
        self.resend_publish = (0, self.publishing.next_number());
        self.resend_release = (0, self.releasing.next_number());
    }

    pub(crate) const fn stop_resending(&mut self) {
        self.resend_publish = (0, 0);
        self.resend_release = (0, 0);
    }

    /// The connection is gone: what it has not handed over was never sent, and waits again as it did before.
    pub(crate) fn take_back(
        &mut self,
        ids: &mut PacketIds<IdOwner>,
        connection: u64,
        handed_over: u64,
    ) {
        let never_sent =
            |flow: &InFlight| flow.connection == connection && flow.ends_at > handed_over;
        while let Some(flow) = self.publishing.pop_last_if(never_sent) {
            ids.release(flow.id);
            self.note_expiry(flow.expiry.as_ref());
            self.waiting.push_front(Waiting {
                op: flow.op,
                publish: flow.publish,
                resent_as_new: flow.resent_as_new,
                expiry: flow.expiry,
                key: flow.key,
            });
        }
    }

    /// The next PUBREL to resend.
    pub(crate) fn next_release(&mut self) -> Option<PacketId> {
        let (from, until) = self.resend_release;
        let number = self
            .releasing
            .at_or_after(from)
            .filter(|&number| number < until);
        let Some(number) = number else {
            self.resend_release = (0, 0);
            return None;
        };
        self.resend_release.0 = number + 1;
        self.releasing.get_mut(number).map(|release| release.id)
    }

    /// The next PUBLISH to resend, with its number. It stays the next one until it is finished or [resent](Self::resent).
    pub(crate) fn next_resend(&mut self) -> Option<(u64, &mut InFlight)> {
        let (from, until) = self.resend_publish;
        let number = self
            .publishing
            .at_or_after(from)
            .filter(|&number| number < until);
        let Some(number) = number else {
            self.resend_publish = (0, 0);
            return None;
        };
        let flow = self.publishing.get_mut(number)?;
        Some((number, flow))
    }

    /// The PUBLISH numbered `number` is on the wire again.
    pub(crate) const fn resent(&mut self, number: u64) {
        self.resend_publish.0 = number + 1;
    }

    /// Takes out everything that was on the wire, because the session it belonged to is gone.
    pub(crate) fn take_on_the_wire(&mut self) -> (Vec<InFlight>, Vec<Release>) {
        self.stop_resending();
        let publishing: Vec<_> = self.publishing.drain().collect();
        let releasing: Vec<_> = self.releasing.drain().collect();
        for flow in &publishing {
            self.bytes -= flow.publish.memory_size();
        }
        self.bytes -= releasing.len() * Release::SIZE;
        (publishing, releasing)
    }

    /// Puts publishes before all that wait, in their order.
    pub(crate) fn put_first(&mut self, publishes: Vec<Waiting>) {
        for waiting in publishes.into_iter().rev() {
            self.bytes += waiting.publish.memory_size();
            self.note_expiry(waiting.expiry.as_ref());
            self.waiting.push_front(waiting);
        }
    }

    /// How many messages were on the wire of a lost session and are to be sent as new ones. They wait before all else.
    pub(crate) fn waiting_anew(&self) -> usize {
        (self.waiting.iter())
            .take_while(|waiting| waiting.resent_as_new)
            .count()
    }

    /// When the next of the messages that wait expires, or may do so; none does before.
    pub(crate) const fn next_expiry(&self) -> Option<Instant> {
        self.next_expiry
    }

    /// Takes out all that waits and has expired. Looks at everything, so it is not to be asked again before
    /// [`next_expiry`](Self::next_expiry).
    pub(crate) fn take_expired(&mut self, now: Instant) -> Vec<Waiting> {
        let is_over = |waiting: &Waiting| waiting.expiry.as_ref().is_some_and(|it| it.is_over(now));
        let mut expired = Vec::new();
        if self.waiting.iter().any(is_over) {
            for waiting in std::mem::take(&mut self.waiting) {
                if is_over(&waiting) {
                    self.bytes -= waiting.publish.memory_size();
                    expired.push(waiting);
                } else {
                    self.waiting.push_back(waiting);
                }
            }
        }
        let ends = (self.waiting.iter()).filter_map(|it| it.expiry.as_ref().map(Expiry::end));
        // Intervals are whole seconds, so nobody misses a part of one; and a long queue is looked through seldom.
        self.next_expiry = ends.min().map(|end| end.max(now + EXPIRY_PAUSE));
        expired
    }

    fn note_expiry(&mut self, expiry: Option<&Expiry>) {
        let end = expiry.map(Expiry::end);
        self.next_expiry = match (self.next_expiry, end) {
            (Some(next), Some(end)) => Some(next.min(end)),
            (next, end) => next.or(end),
        };
    }

    /// Takes out the oldest publishes that never were on the wire, until what is left of messages and bytes `fits`.
    /// `None`, and nothing taken, when all of them would not be enough.
    pub(crate) fn drop_oldest(
        &mut self,
        fits: impl Fn(usize, usize) -> bool,
    ) -> Option<Vec<Waiting>> {
        let first = self.waiting_anew();
        let mut end = first;
        let (mut messages, mut bytes) = (self.len(), self.bytes);
        while !fits(messages, bytes) {
            bytes -= self.waiting.get(end)?.publish.memory_size();
            messages -= 1;
            end += 1;
        }
        self.bytes = bytes;
        Some(self.waiting.drain(first..end).collect())
    }

    /// Takes out all that waits, in order.
    pub(crate) fn take_waiting(&mut self) -> Vec<Waiting> {
        std::iter::from_fn(|| self.pop_waiting()).collect()
    }

    /// Detaches the operations of all that is on the wire: the messages stay, nobody waits for them any more.
    pub(crate) fn detach_all(&mut self) -> Vec<OpId> {
        let publishing = self.publishing.iter_mut().map(|flow| &mut flow.op);
        let releasing = self.releasing.iter_mut().map(|release| &mut release.op);
        let mut ops: Vec<_> = publishing
            .chain(releasing)
            .filter_map(Option::take)
            .collect();
        ops.sort_unstable();
        ops
    }

    /// Whether anybody waits for the outcome of one of them.
    pub(crate) fn has_owners(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.op.is_some())
            || self.publishing.iter().any(|flow| flow.op.is_some())
            || self.releasing.iter().any(|release| release.op.is_some())
    }

    /// Keeps the owners that `waits` approves of; the messages of the others go on without one.
    pub(crate) fn retain_owners(&mut self, mut waits: impl FnMut(OpId) -> bool) {
        let waiting = self.waiting.iter_mut().map(|waiting| &mut waiting.op);
        let publishing = self.publishing.iter_mut().map(|flow| &mut flow.op);
        let releasing = self.releasing.iter_mut().map(|release| &mut release.op);
        for owner in waiting.chain(publishing).chain(releasing) {
            *owner = owner.filter(|&op| waits(op));
        }
    }

    fn abandon_waiting(&mut self, index: usize) -> Option<(Delivery, Option<u64>)> {
        let waiting = self.waiting.get_mut(index)?;
        if waiting.stays() {
            waiting.op = None;
            return Some((Delivery::Unknown, None));
        }
        let gone = self.waiting.remove(index)?;
        self.bytes -= gone.publish.memory_size();
        Some((gone.delivery(), gone.key))
    }

    /// The caller no longer waits for `op`: what is not on the wire leaves, what is stays without an owner. Tells the
    /// key of a message that a store can forget.
    pub(crate) fn abandon(&mut self, op: OpId) -> Option<(Delivery, Option<u64>)> {
        let waiting = self
            .waiting
            .iter()
            .position(|waiting| waiting.op == Some(op));
        if let Some(index) = waiting {
            return self.abandon_waiting(index);
        }
        let publishing = self.publishing.iter_mut().map(|flow| &mut flow.op);
        let releasing = self.releasing.iter_mut().map(|release| &mut release.op);
        let owner = publishing
            .chain(releasing)
            .find(|owner| **owner == Some(op))?;
        *owner = None;
        Some((Delivery::Unknown, None))
    }
}
