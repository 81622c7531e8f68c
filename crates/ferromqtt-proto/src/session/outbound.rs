//! Publishes on their way out: waiting in order, awaiting PUBACK or PUBREC, awaiting PUBCOMP; and the resend of the latter
//! two after a reconnect (MQTT-4.4.0-1), in the order in which they were sent (MQTT-4.6.0-1, MQTT-4.6.0-4).

mod owners;

use std::mem;
use std::time::{Duration, Instant};

use super::in_flight::{Acknowledged, Flight, InFlight, Owner, Release, Released, WaitingPublish};
use super::in_order::InOrder;
use super::{IdOwner, MessageExpiry, PacketIds};
use crate::event::OpId;
use crate::packet::{PacketId, QoS};
use crate::topic::TopicName;

/// How often the queue is looked through for messages that have expired, at most.
const EXPIRY_PAUSE: Duration = Duration::from_millis(250);

/// PUBLISHes with their numbers, and PUBRELs with their owners.
pub(crate) type OnTheWire = (Vec<(u64, InFlight)>, Vec<(Release, Option<Owner>)>);

/// A message that waits, with its number.
pub(crate) type Numbered = (u64, WaitingPublish);

/// Every message has a number, which it keeps: numbers rise in the order in which messages are sent and sent again. Those
/// of a client's operations are [a fixed distance](Self::begin_client) above the operation's own, so that an operation leads
/// to its message.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    waiting: InOrder<WaitingPublish>,
    /// Before all that waits.
    on_the_wire: InOrder<Flight>,
    /// In the order of the PUBRECs (MQTT-4.6.0-4), which number them.
    releasing: InOrder<Release>,
    /// What all of them count: [`Publish::memory_size`], and of one that has become a PUBREL [`Release::SIZE`].
    bytes: usize,
    /// For how many of them a caller or a store waits.
    owners: usize,
    /// How far the numbers of messages are above those of operations.
    above_ops: u64,
    /// The highest number of a message.
    last_number: u64,
    /// PUBRECs so far.
    released: u64,
    /// Messages from this number on never were on a wire, as far as they wait; those before were.
    never_sent_from: u64,
    /// No message that waits expires before.
    next_expiry: Option<Instant>,
    /// When the queue was looked through last for messages that have expired.
    looked_at: Option<Instant>,
    /// QoS 2 messages on the wire before this number are of a session that the server may have lost.
    doubted: u64,
    /// Which part of the two is still to be resent on this connection: from .. until.
    resend_publish: (u64, u64),
    resend_release: (u64, u64),
}

impl Outbound {
    /// A client begins, whose operations are numbered from 1.
    pub(crate) const fn begin_client(&mut self) {
        self.above_ops = self.last_number;
    }

    /// Messages that wait or are unacknowledged.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.on_the_wire.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages that were sent and whose exchange has not ended.
    pub(crate) fn on_the_wire(&self) -> usize {
        self.on_the_wire.len()
    }

    /// Whether a QoS 0 publish would overtake nothing.
    pub(crate) fn nothing_before(&self) -> bool {
        self.waiting.is_empty() && !self.is_resending()
    }

    pub(crate) const fn is_resending(&self) -> bool {
        self.resend_publish.0 < self.resend_publish.1
            || self.resend_release.0 < self.resend_release.1
    }

    /// Has the message of an operation wait behind all others.
    pub(crate) fn push(&mut self, op: OpId, waiting: WaitingPublish) {
        let number = self.above_ops.saturating_add(op.0);
        self.last_number = number;
        self.count(&waiting);
        self.note_expiry(waiting.expiry.as_ref());
        self.waiting.push(number, waiting);
    }

    /// A number for a message of no operation, behind all others.
    pub(crate) const fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Counts a message that joins those that wait.
    fn count(&mut self, waiting: &WaitingPublish) {
        self.bytes += waiting.publish.memory_size();
        self.owners += usize::from(waiting.owner.is_some());
    }

    /// Counts a message that is no longer among those that wait.
    fn discount(&mut self, waiting: &WaitingPublish) {
        self.bytes -= waiting.publish.memory_size();
        self.owners -= usize::from(waiting.owner.is_some());
    }

    pub(crate) fn first_waiting(&mut self) -> Option<&mut WaitingPublish> {
        self.waiting.first_mut()
    }

    pub(crate) fn pop_waiting(&mut self) -> Option<WaitingPublish> {
        let (_, waiting) = self.waiting.pop_first()?;
        self.discount_first(&waiting);
        Some(waiting)
    }

    fn pop_numbered(&mut self) -> Option<Numbered> {
        let numbered = self.waiting.pop_first()?;
        self.discount_first(&numbered.1);
        Some(numbered)
    }

    /// Discounts the first message of those that wait, which has left them.
    fn discount_first(&mut self, waiting: &WaitingPublish) {
        self.discount(waiting);
        if self.waiting.is_empty() {
            self.next_expiry = None;
        }
    }

    /// Moves the first waiting publish into flight, and returns it with its number. The caller has made sure that it is QoS 1 or 2.
    pub(crate) fn start(
        &mut self,
        ids: &mut PacketIds<IdOwner>,
        connection: u64,
        new_key: Option<u64>,
    ) -> Option<(u64, &mut InFlight)> {
        if ids.is_full() {
            return None;
        }
        let (number, waiting) = self.pop_numbered()?;
        let id = ids.take(IdOwner::Publish(number))?; // there is one
        let WaitingPublish {
            owner,
            publish,
            resent_as_new,
            expiry,
            key,
        } = waiting;
        let flow = InFlight {
            id,
            owner,
            publish,
            resent_as_new,
            expiry,
            connection,
            sent_at: None,
            begins_at: 0,
            ends_at: 0,
            key: key.or(new_key),
        };
        self.put_on_the_wire(number, flow);
        Some((number, self.in_flight_mut(number)?))
    }

    /// Puts a publish behind those in flight. Its number is higher than theirs.
    pub(crate) fn put_on_the_wire(&mut self, number: u64, flow: InFlight) {
        self.bytes += flow.publish.memory_size();
        self.owners += usize::from(flow.owner.is_some());
        self.on_the_wire.push(number, Flight::Published(flow));
    }

    /// Puts a PUBREL behind those that await PUBCOMP, for a session that is restored. Returns its number among them.
    pub(crate) fn put_releasing(
        &mut self,
        id: PacketId,
        owner: Owner,
        resent_as_new: bool,
        key: u64,
    ) -> u64 {
        let number = self.next_number();
        let owner = Some(owner);
        self.on_the_wire.push(number, Flight::Released { owner });
        self.bytes += Release::SIZE;
        self.owners += 1;
        let at = self.released;
        self.released += 1;
        let release = Release {
            id,
            number,
            resent_as_new,
            unmatched: false, // a store does not keep it
            connection: 0,
            sent_at: None,
            key: Some(key),
        };
        self.releasing.push(at, release);
        at
    }

    /// What waits, in order.
    pub(crate) fn iter_waiting(&self) -> impl Iterator<Item = &WaitingPublish> {
        self.waiting.iter().map(|(_, waiting)| waiting)
    }

    /// What awaits PUBACK or PUBREC, in order.
    pub(crate) fn iter_in_flight(&self) -> impl Iterator<Item = &InFlight> {
        (self.on_the_wire.iter()).filter_map(|(_, flight)| flight.published())
    }

    /// The PUBRELs, in the order of the PUBRECs.
    pub(crate) fn iter_releasing(&self) -> impl Iterator<Item = &Release> {
        self.releasing.iter().map(|(_, release)| release)
    }

    /// The PUBLISH numbered `number`, if it awaits PUBACK or PUBREC.
    pub(crate) fn in_flight_mut(&mut self, number: u64) -> Option<&mut InFlight> {
        match self.on_the_wire.get_mut(number) {
            Some(Flight::Published(flow)) => Some(flow),
            _ => None,
        }
    }

    /// How many messages await PUBACK or PUBREC of which this connection has handed over at least the beginning, and the
    /// oldest of them, if there is any.
    pub(crate) fn in_flight_on(
        &self,
        connection: u64,
        handed_over: u64,
    ) -> Option<(usize, &InFlight)> {
        let mut in_flight = (self.on_the_wire.iter())
            .filter_map(|(_, flight)| flight.published())
            .filter(|flow| flow.connection == connection && flow.begins_at < handed_over);
        let oldest = in_flight.next()?;
        Some((in_flight.count() + 1, oldest))
    }

    /// How many messages await PUBACK or PUBREC, on whatever connection they were sent.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.on_the_wire.len() - self.releasing.len()
    }

    /// Takes out the PUBLISH numbered `number`, which no acknowledgement will come for.
    pub(crate) fn take_in_flight(&mut self, number: u64) -> Option<InFlight> {
        self.in_flight_mut(number)?;
        let Some(Flight::Published(flow)) = self.on_the_wire.remove(number) else {
            return None;
        };
        self.bytes -= flow.publish.memory_size();
        self.owners -= usize::from(flow.owner.is_some());
        Some(flow)
    }

    /// PUBACK, or a PUBREC with an error, for the PUBLISH numbered `number`.
    pub(crate) fn finish_publish(&mut self, number: u64) -> Option<Acknowledged> {
        let flow = self.take_in_flight(number)?;
        Some(Acknowledged {
            owner: flow.owner,
            resent_as_new: flow.resent_as_new,
            unmatched: false, // that is among PUBACK's Reason Codes
            connection: flow.connection,
            sent_at: flow.sent_at,
            key: flow.key,
            is_doubted: false, // at QoS 1 a message may come twice
        })
    }

    /// The QoS of the PUBLISH numbered `number`: tells a PUBACK from a PUBREC that is due.
    pub(crate) fn qos_of(&mut self, number: u64) -> Option<QoS> {
        self.in_flight_mut(number).map(|flow| flow.publish.qos)
    }

    /// The PUBLISH numbered `number`, if it awaits PUBACK or PUBREC: its topic, and who owns it.
    #[cold]
    pub(crate) fn in_flight(&mut self, number: u64) -> Option<(TopicName, Option<Owner>)> {
        let flow = self.in_flight_mut(number)?;
        Some((flow.publish.topic.clone(), flow.owner))
    }

    /// PUBREC for the PUBLISH numbered `number`: from now on it is a PUBREL that is owed, with a number of its own.
    pub(crate) fn release(&mut self, number: u64, unmatched: bool) -> Option<Released> {
        self.in_flight_mut(number)?;
        let at = self.released;
        let flight = self.on_the_wire.get_mut(number)?;
        let owner = *flight.owner_mut();
        let Flight::Published(flow) = mem::replace(flight, Flight::Released { owner }) else {
            return None;
        };
        self.bytes -= flow.publish.memory_size();
        self.bytes += Release::SIZE;
        self.released += 1;
        let release = Release {
            id: flow.id,
            number,
            resent_as_new: flow.resent_as_new,
            unmatched,
            connection: flow.connection,
            sent_at: flow.sent_at,
            key: flow.key,
        };
        self.releasing.push(at, release);
        Some(Released {
            number: at,
            key: flow.key,
        })
    }

    /// PUBCOMP for the PUBREL numbered `number`.
    pub(crate) fn finish_release(&mut self, number: u64) -> Option<Acknowledged> {
        let release = self.releasing.remove(number)?;
        let owner = *self.on_the_wire.remove(release.number)?.owner_mut();
        self.bytes -= Release::SIZE;
        self.owners -= usize::from(owner.is_some());
        Some(Acknowledged {
            owner,
            resent_as_new: release.resent_as_new,
            unmatched: release.unmatched,
            connection: release.connection,
            sent_at: release.sent_at,
            key: release.key,
            is_doubted: release.number < self.doubted,
        })
    }

    /// The server may have lost the session of what is on the wire now, and have said so to an earlier process.
    pub(crate) fn doubt(&mut self) {
        self.doubted = self.on_the_wire.end();
    }

    /// Whether there is a QoS 2 message of a session that the server may have lost.
    pub(crate) fn is_in_doubt(&self) -> bool {
        let mut before = self.on_the_wire.iter();
        self.doubted > 0 && before.any(|(number, it)| number < self.doubted && it.is_qos2())
    }

    /// Whether a QoS 2 message is on the wire.
    pub(crate) fn has_qos2(&self) -> bool {
        self.on_the_wire.iter().any(|(_, flight)| flight.is_qos2())
    }

    /// All that is unacknowledged now is to be resent on this connection.
    pub(crate) fn start_resending(&mut self) {
        self.resend_publish = (0, self.on_the_wire.end());
        self.resend_release = (0, self.releasing.end());
    }

    pub(crate) const fn stop_resending(&mut self) {
        self.resend_publish = (0, 0);
        self.resend_release = (0, 0);
    }

    /// What the connection holds for a store was never encoded, and waits again as it did before.
    pub(crate) fn take_back_held(&mut self, ids: &mut PacketIds<IdOwner>, connection: u64) {
        self.take_back(ids, connection, u64::MAX - 1);
    }

    /// The connection is gone: what it has not handed over was never sent, and waits again as it did before.
    pub(crate) fn take_back(
        &mut self,
        ids: &mut PacketIds<IdOwner>,
        connection: u64,
        handed_over: u64,
    ) {
        // What the server has answered with PUBREC was sent, and so was all before it: the ring keeps its order.
        let never_sent = |flight: &Flight| {
            (flight.published())
                .is_some_and(|flow| flow.connection == connection && flow.ends_at > handed_over)
        };
        let never_sent: Vec<_> = (self.on_the_wire.iter().rev())
            .take_while(|(_, flight)| never_sent(flight))
            .map(|(number, _)| number)
            .collect();
        for number in never_sent {
            let Some(flow) = self.take_in_flight(number) else {
                continue;
            };
            ids.release(flow.id);
            let waiting = WaitingPublish {
                owner: flow.owner,
                publish: flow.publish,
                resent_as_new: flow.resent_as_new,
                expiry: flow.expiry,
                key: flow.key,
            };
            self.push_first(number, waiting);
        }
    }

    /// Whether a PUBREL is still to be resent on this connection.
    pub(crate) fn resends_release(&self) -> bool {
        let (from, until) = self.resend_release;
        let next = self.releasing.iter_from(from).next();
        next.is_some_and(|(number, _)| number < until)
    }

    /// The next PUBREL to resend.
    pub(crate) fn next_release(&mut self) -> Option<PacketId> {
        let (from, until) = self.resend_release;
        let next = (self.releasing.iter_from(from).next()).filter(|&(number, _)| number < until);
        let Some((number, release)) = next else {
            self.resend_release = (0, 0);
            return None;
        };
        self.resend_release.0 = number + 1;
        Some(release.id)
    }

    /// The next PUBLISH to resend, with its number. It stays the next one until it is finished or [resent](Self::resent).
    pub(crate) fn next_resend(&mut self) -> Option<(u64, &mut InFlight)> {
        let (from, until) = self.resend_publish;
        let next = (self.on_the_wire.iter_from(from))
            .find(|(_, flight)| flight.published().is_some())
            .filter(|&(number, _)| number < until);
        let Some((number, _)) = next else {
            self.resend_publish = (0, 0);
            return None;
        };
        self.resend_publish.0 = number; // what is before it is not looked at again
        let flow = self.in_flight_mut(number)?;
        Some((number, flow))
    }

    /// The PUBLISH numbered `number` is on the wire again.
    pub(crate) const fn resent(&mut self, number: u64) {
        self.resend_publish.0 = number + 1;
    }

    /// Takes out everything that was on the wire, because the session it belonged to is gone: PUBLISHes, with their numbers,
    /// and PUBRELs, with their owners.
    pub(crate) fn take_on_the_wire(&mut self) -> OnTheWire {
        self.stop_resending();
        self.doubted = 0;
        let mut releasing = Vec::new();
        for (_, release) in self.releasing.drain() {
            let flight = self.on_the_wire.get_mut(release.number);
            let owner = flight.and_then(|flight| *flight.owner_mut());
            self.bytes -= Release::SIZE;
            self.owners -= usize::from(owner.is_some());
            releasing.push((release, owner));
        }
        let mut publishing = Vec::new();
        for (number, flight) in self.on_the_wire.drain() {
            if let Flight::Published(flow) = flight {
                self.bytes -= flow.publish.memory_size();
                self.owners -= usize::from(flow.owner.is_some());
                publishing.push((number, flow));
            }
        }
        (publishing, releasing)
    }

    /// Puts publishes before all that wait, in their order. Their numbers are lower than those of the others.
    pub(crate) fn put_first(&mut self, publishes: Vec<Numbered>) {
        for (number, waiting) in publishes.into_iter().rev() {
            self.push_first(number, waiting);
        }
    }

    fn push_first(&mut self, number: u64, waiting: WaitingPublish) {
        self.count(&waiting);
        self.note_expiry(waiting.expiry.as_ref());
        // Messages that were on a wire of a lost session are before all others: they go first each time.
        self.never_sent_from = match waiting.resent_as_new {
            true => self.never_sent_from.max(number + 1),
            false => self.never_sent_from.min(number),
        };
        self.waiting.push_first(number, waiting);
    }

    /// How many messages were on the wire of a lost session and are to be sent as new ones. They wait before all else.
    pub(crate) fn waiting_anew(&self) -> usize {
        (self.waiting.iter())
            .take_while(|(_, waiting)| waiting.resent_as_new)
            .count()
    }

    /// When the next of the messages that wait expires, or may do so; none does before.
    pub(crate) const fn next_expiry(&self) -> Option<Instant> {
        self.next_expiry
    }

    /// Takes out all that waits and has expired. Looks at everything, so it is not to be asked again before
    /// [`next_expiry`](Self::next_expiry).
    pub(crate) fn take_expired(&mut self, now: Instant) -> Vec<WaitingPublish> {
        let is_over =
            |waiting: &WaitingPublish| waiting.expiry.as_ref().is_some_and(|it| it.is_over(now));
        let over: Vec<_> = (self.waiting.iter())
            .filter(|(_, waiting)| is_over(waiting))
            .map(|(number, _)| number)
            .collect();
        let expired = over
            .into_iter()
            .filter_map(|number| self.take_one(number))
            .collect();
        self.looked_at = Some(now);
        let ends =
            (self.waiting.iter()).filter_map(|(_, it)| it.expiry.as_ref().map(MessageExpiry::end));
        self.next_expiry = ends.min().map(|end| end.max(now + EXPIRY_PAUSE));
        expired
    }

    /// Takes out one message that waits.
    fn take_one(&mut self, number: u64) -> Option<WaitingPublish> {
        let waiting = self.waiting.remove(number)?;
        self.discount(&waiting);
        Some(waiting)
    }

    fn note_expiry(&mut self, expiry: Option<&MessageExpiry>) {
        let Some(expiry) = expiry else {
            return;
        };
        // Intervals are whole seconds, so nobody misses a part of one; and a long queue is looked through seldom.
        let not_before = self.looked_at.map(|at| at + EXPIRY_PAUSE);
        let end = not_before.into_iter().chain([expiry.end()]).max();
        self.next_expiry = self.next_expiry.into_iter().chain(end).min();
    }

    /// Takes out the oldest publishes that never were on the wire, until what is left of messages and bytes `fits`. Those
    /// that a store has stay. `None`, and nothing taken, when all others would not be enough.
    pub(crate) fn drop_oldest(
        &mut self,
        fits: impl Fn(usize, usize) -> bool,
    ) -> Option<Vec<WaitingPublish>> {
        let mut oldest = (self.waiting.iter_from(self.never_sent_from))
            .filter(|(_, waiting)| !waiting.is_recorded());
        let mut leave = Vec::new();
        let (mut messages, mut bytes) = (self.len(), self.bytes);
        while !fits(messages, bytes) {
            let (number, waiting) = oldest.next()?;
            bytes -= waiting.publish.memory_size();
            messages -= 1;
            leave.push(number);
        }
        drop(oldest);
        if let Some(last) = leave.last() {
            self.never_sent_from = last + 1; // what has left is not looked at again
        }
        Some(
            leave
                .into_iter()
                .filter_map(|number| self.take_one(number))
                .collect(),
        )
    }

    /// Takes out all that waits, in order.
    pub(crate) fn take_waiting(&mut self) -> Vec<Numbered> {
        std::iter::from_fn(|| self.pop_numbered()).collect()
    }
}
