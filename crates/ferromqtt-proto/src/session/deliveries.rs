//! Received messages that are not acknowledged yet, because somebody still holds them: the application, or a full queue.
//!
//! Acknowledgements leave in the order in which the messages came (MQTT-4.6.0-2, MQTT-4.6.0-3), whatever the order in which
//! they are let go. What is still held when a connection ends is kept with the session: the server sends it again
//! (MQTT-4.4.0-1), and it is recognised then, and neither handed out twice nor forgotten.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::BuildHasherDefault;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use super::Open;
use super::in_order::InOrder;
use super::packet_id::IdHasher;
use super::standstill::Standstill;
use crate::packet::{Ack, PacketId, QoS};

/// The name of a received message that waits for [`Client::acknowledge`](crate::Client::acknowledge). Never reused within
/// a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(NonZeroU64);

impl DeliveryId {
    /// The number, for a driver's table.
    pub const fn value(self) -> NonZeroU64 {
        self.0
    }

    /// The delivery with this number. One that never was, or is no longer held, is harmless.
    pub const fn from_value(value: NonZeroU64) -> Self {
        Self(value)
    }
}

/// A message that was received, and whose PUBACK or PUBREC is still to be sent.
#[derive(Debug)]
struct UnansweredMessage {
    qos: QoS,
    /// Of its packet.
    bytes: usize,
    /// When it came first, as far as the core knows the time.
    received: Option<Instant>,
    /// What is to be answered, by what is known so far.
    answer: Ack,
    /// What holds it back, or did.
    holds: Vec<DeliveryId>,
    /// How many of these have not let go.
    held_by: usize,
    /// PUBREC has answered it on an earlier connection.
    was_answered: bool,
}

/// What holds a message back.
#[derive(Debug)]
struct Hold {
    /// The number of the message.
    number: u64,
    /// The application has taken the message, and is to acknowledge it.
    is_taken: bool,
}

/// Received messages that the application has taken and not acknowledged
/// ([`Acknowledge::ByApplication`](crate::Acknowledge::ByApplication)), from
/// [`Client::unacknowledged`](crate::Client::unacknowledged).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unacknowledged {
    /// How many there are. One that was taken from several queues counts for each of them.
    pub messages: usize,
    /// How long ago the oldest of them was received; `None` if there is none.
    pub oldest: Option<Duration>,
    /// How many messages are acknowledged already, and wait with that for an earlier message, since acknowledgements leave in
    /// the order in which the messages came (MQTT-4.6.0-2, MQTT-4.6.0-3). They take up places of the server's window too.
    pub held_back: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    /// By a number that is given in order of receipt.
    unanswered: InOrder<UnansweredMessage>,
    /// Which message is held by a holder, whose [number](DeliveryId::value) this is in order of. Each has a name of its own,
    /// so that letting go twice does not take another's part.
    holds: InOrder<Hold>,
    /// Numbers of those that came on this connection, in order.
    order: VecDeque<u64>,
    /// Numbers of those that came on an earlier one, and not again yet. An identifier in use has one message.
    carried: HashMap<PacketId, u64, BuildHasherDefault<IdHasher>>,
    /// Identifiers in `order` of QoS 2.
    waiting_qos2: HashSet<PacketId, BuildHasherDefault<IdHasher>>,
    /// Those that the application acknowledges by Packet Identifier, and still holds: what it has taken on this connection.
    /// Several may hold one message, or the server may have used an identifier too early.
    handed_over: BTreeSet<(PacketId, DeliveryId)>,
    /// Those in `order` that are of QoS 1: their slots of the Receive Maximum announced are taken.
    open_qos1: Open,
    standstill: Standstill,
    last_number: u64,
    last_hold: u64,
}

/// An acknowledgement whose turn has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DueAck {
    /// With the slot that it gives back.
    PubAck(Ack, Open),
    PubRec(Ack),
}

impl Deliveries {
    /// Whether nothing waits, so that a new message may be answered at once.
    pub(crate) fn none_waits(&self) -> bool {
        self.order.is_empty()
    }

    /// How many messages are not answered.
    pub(crate) fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    pub(crate) const fn open_qos1(&self) -> Open {
        self.open_qos1
    }

    /// A name for one who is about to hold a message.
    pub(crate) fn next_hold(&mut self) -> DeliveryId {
        self.last_hold += 1;
        // The counter starts at 1 and does not overflow within a lifetime.
        DeliveryId(NonZeroU64::new(self.last_hold).unwrap_or(NonZeroU64::MAX))
    }

    /// Files a message that has come at `now`, in a packet of so many bytes, behind those before it.
    pub(crate) fn receive(
        &mut self,
        id: PacketId,
        qos: QoS,
        bytes: usize,
        holds: &[DeliveryId],
        now: Option<Instant>,
    ) {
        self.last_number += 1;
        let number = self.last_number;
        for &hold in holds {
            let is_taken = false;
            self.holds.push(hold.0.get(), Hold { number, is_taken });
        }
        let unanswered = UnansweredMessage {
            qos,
            bytes,
            received: now,
            answer: Ack::success(id),
            holds: holds.to_vec(),
            held_by: holds.len(),
            was_answered: false,
        };
        self.unanswered.push(number, unanswered);
        self.enter(number, id, qos, bytes);
    }

    /// The message that was filed last had a PUBREC on an earlier connection.
    pub(crate) fn note_answered(&mut self) {
        if let Some(last) = self.unanswered.get_mut(self.last_number) {
            last.was_answered = true;
        }
    }

    /// Identifiers of QoS 2 messages that no PUBREC has answered, so that the server may send each to be handed out again.
    pub(crate) fn never_answered(&self) -> impl Iterator<Item = PacketId> {
        (self.unanswered.iter())
            .filter(|(_, it)| it.qos == QoS::ExactlyOnce && !it.was_answered)
            .map(|(_, it)| it.answer.packet_id)
    }

    fn enter(&mut self, number: u64, id: PacketId, qos: QoS, bytes: usize) {
        self.order.push_back(number);
        if qos == QoS::AtLeastOnce {
            self.open_qos1.add(Open::one(bytes));
        } else {
            self.waiting_qos2.insert(id);
        }
    }

    /// Recognises a message that an earlier connection had brought already: it gets its place in the order of this one.
    pub(crate) fn comes_again(&mut self, id: PacketId, qos: QoS, bytes: usize) -> bool {
        let Some(number) = self.carried.remove(&id) else {
            return false;
        };
        let known = (self.unanswered.get_mut(number)).filter(|it| it.qos == qos);
        let Some(known) = known else {
            self.forget(number);
            return false;
        };
        known.bytes = bytes;
        self.enter(number, id, qos, bytes);
        true
    }

    /// The server uses `id` for another message, so it no longer waits for the one before.
    pub(crate) fn replaces(&mut self, id: PacketId) {
        if let Some(number) = self.carried.remove(&id) {
            self.forget(number);
        }
    }

    /// Whether the QoS 2 message with `id` came on this connection and is still held: its PUBREC will follow.
    pub(crate) fn holds_back(&self, id: PacketId) -> bool {
        self.waiting_qos2.contains(&id)
    }

    /// The holder lets go, with an answer of its own or as a success. The first answer that is no success counts.
    /// `false` for one that no longer holds anything.
    pub(crate) fn let_go(&mut self, hold: DeliveryId, answer: Option<Ack>) -> bool {
        let Some(Hold { number, .. }) = self.holds.remove(hold.0.get()) else {
            return false;
        };
        if let Some(it) = self.unanswered.get_mut(number) {
            it.held_by -= 1;
            self.handed_over.remove(&(it.answer.packet_id, hold));
            if let Some(answer) = answer
                && !it.answer.reason.is_error()
            {
                it.answer = answer;
            }
        }
        true
    }

    /// The Packet Identifier of the message that `hold` holds.
    pub(crate) fn held(&self, hold: DeliveryId) -> Option<(PacketId, QoS)> {
        let it = (self.unanswered).get(self.holds.get(hold.0.get())?.number)?;
        Some((it.answer.packet_id, it.qos))
    }

    /// The application has taken the message that `hold` holds from its queue.
    pub(crate) fn take(&mut self, hold: DeliveryId) {
        if let Some(hold) = self.holds.get_mut(hold.0.get()) {
            hold.is_taken = true;
        }
    }

    /// What the application has [taken](Self::take) and not let go.
    pub(crate) fn unacknowledged(&self, now: Instant) -> Unacknowledged {
        let mut counted = Unacknowledged::default();
        for (_, hold) in self.holds.iter().filter(|(_, hold)| hold.is_taken) {
            counted.messages += 1;
            let received = (self.unanswered.get(hold.number)).and_then(|it| it.received);
            let age = received.map(|received| now.saturating_duration_since(received));
            counted.oldest = counted.oldest.max(age);
        }
        let is_held_back = |number: &&u64| {
            let it = self.unanswered.get(**number);
            it.is_some_and(|it| it.held_by == 0)
        };
        counted.held_back = self.order.iter().filter(is_held_back).count();
        counted
    }

    /// The next acknowledgement that may leave: nobody holds its message, nor one that came before it.
    pub(crate) fn next_due(&mut self) -> Option<DueAck> {
        let number = *self.order.front()?;
        if (self.unanswered.get(number)).is_some_and(|it| it.held_by > 0) {
            return None;
        }
        self.order.pop_front();
        let it = self.unanswered.remove(number)?;
        if it.qos == QoS::AtLeastOnce {
            let open = Open::one(it.bytes);
            self.open_qos1.subtract(open);
            return Some(DueAck::PubAck(it.answer, open));
        }
        self.waiting_qos2.remove(&it.answer.packet_id);
        Some(DueAck::PubRec(it.answer))
    }

    /// The application has taken the message that `hold` holds, and acknowledges it by its Packet Identifier.
    pub(crate) fn hand_over(&mut self, hold: DeliveryId) {
        if let Some((id, _)) = self.held(hold) {
            self.handed_over.insert((id, hold));
        }
    }

    /// What holds the message that was [handed over](Self::hand_over) with this identifier and QoS: of several, the one that
    /// came first.
    pub(crate) fn find_handed_over(&self, id: PacketId, qos: QoS) -> Option<DeliveryId> {
        let first = DeliveryId(NonZeroU64::MIN);
        let last = DeliveryId(NonZeroU64::MAX);
        (self.handed_over.range((id, first)..=(id, last)))
            .map(|&(_, hold)| hold)
            .find(|&hold| self.held(hold).is_some_and(|(_, its_qos)| its_qos == qos))
    }

    /// A message has come, or an answer has left, while answers were held back.
    pub(crate) const fn moves(&mut self, now: Option<Instant>) {
        self.standstill.moves(now);
    }

    /// When to ask whether the exchange [stands still](Self::stands_still). `window` is the Receive Maximum announced.
    pub(crate) fn standstill_due(&self, window: usize) -> Option<Instant> {
        self.standstill.due(self.order.len(), window)
    }

    /// How many messages wait to be answered, if that may be why nothing has moved for a while; reported once for a
    /// connection.
    pub(crate) fn stands_still(&mut self, now: Instant, window: usize) -> Option<usize> {
        let waiting = self.order.len();
        (self.standstill.is_overdue(now, waiting, window)).then_some(waiting)
    }

    /// The connection is gone: what was not answered on it comes again in the same session. What was
    /// [handed over](Self::hand_over) and is still held is forgotten, so that it is handed out again then. Returns which of
    /// those are of QoS 2.
    pub(crate) fn connection_ended(&mut self) -> Vec<PacketId> {
        self.standstill = Standstill::default();
        self.carry();
        std::mem::take(&mut self.handed_over)
            .into_iter()
            .filter_map(|(_, hold)| self.forget_held(hold))
            .collect()
    }

    /// Forgets the message that `hold` holds, while there is no connection, so that it is handed out again when it comes
    /// again. Returns its Packet Identifier if it is of QoS 2.
    pub(crate) fn forget_held(&mut self, hold: DeliveryId) -> Option<PacketId> {
        let (id, qos) = self.held(hold)?;
        let number = self.holds.get(hold.0.get())?.number;
        if self.carried.get(&id) == Some(&number) {
            self.carried.remove(&id);
        }
        self.forget(number);
        (qos == QoS::ExactlyOnce).then_some(id)
    }

    fn carry(&mut self) {
        self.open_qos1 = Open::NONE;
        self.waiting_qos2.clear();
        for number in std::mem::take(&mut self.order) {
            let Some(id) = self.unanswered.get(number).map(|it| it.answer.packet_id) else {
                continue;
            };
            if let Some(before) = self.carried.insert(id, number) {
                self.forget(before);
            }
        }
    }

    fn forget(&mut self, number: u64) {
        let Some(it) = self.unanswered.remove(number) else {
            return;
        };
        for hold in it.holds {
            self.holds.remove(hold.0.get());
            self.handed_over.remove(&(it.answer.packet_id, hold));
        }
    }

    /// The session is gone: nobody is waiting for these answers any more.
    pub(crate) fn clear(&mut self) {
        self.unanswered = InOrder::default();
        self.holds = InOrder::default();
        self.order.clear();
        self.carried.clear();
        self.waiting_qos2.clear();
        self.handed_over.clear();
        self.open_qos1 = Open::NONE;
        self.standstill = Standstill::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::ReasonCode;

    fn id(value: u16) -> PacketId {
        PacketId::new(value).unwrap()
    }

    fn due(deliveries: &mut Deliveries) -> Vec<DueAck> {
        std::iter::from_fn(|| deliveries.next_due()).collect()
    }

    #[test]
    fn answers_leave_in_order_of_receipt_mqtt_4_6_0_2_and_4_6_0_3() {
        let mut deliveries = Deliveries::default();
        let (one, two) = (deliveries.next_hold(), deliveries.next_hold());
        deliveries.receive(id(7), QoS::AtLeastOnce, 70, &[one], None);
        deliveries.receive(id(8), QoS::ExactlyOnce, 80, &[two], None);
        deliveries.receive(id(9), QoS::AtLeastOnce, 90, &[], None);
        assert!(deliveries.let_go(two, None));
        assert_eq!(due(&mut deliveries), []);
        assert!(deliveries.let_go(one, None));
        let expected = [
            DueAck::PubAck(Ack::success(id(7)), Open::one(70)),
            DueAck::PubRec(Ack::success(id(8))),
            DueAck::PubAck(Ack::success(id(9)), Open::one(90)),
        ];
        assert_eq!(due(&mut deliveries), expected);
        assert_eq!(deliveries.open_qos1(), Open::NONE);
    }

    #[test]
    fn every_holder_must_let_go_and_each_counts_once() {
        let mut deliveries = Deliveries::default();
        let (one, two) = (deliveries.next_hold(), deliveries.next_hold());
        deliveries.receive(id(1), QoS::AtLeastOnce, 9, &[one, two], None);
        let refusal = Ack::new(id(1), ReasonCode::QuotaExceeded);
        assert!(deliveries.let_go(one, Some(refusal.clone())));
        assert!(!deliveries.let_go(one, None));
        assert_eq!(due(&mut deliveries), []);
        assert!(deliveries.let_go(two, None));
        assert_eq!(
            due(&mut deliveries),
            [DueAck::PubAck(refusal, Open::one(9))]
        );
        assert!(!deliveries.let_go(two, None));
    }

    #[test]
    fn what_is_taken_and_held_is_counted_and_the_oldest_is_known() {
        let begin = crate::tests_support::start();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut deliveries = Deliveries::default();
        let names = [(); 4].map(|()| deliveries.next_hold());
        for (second, (packet, hold)) in (1..).zip((1..).zip(names)) {
            deliveries.receive(id(packet), QoS::AtLeastOnce, 9, &[hold], Some(at(second)));
        }
        let counts = |deliveries: &Deliveries| {
            let counted = deliveries.unacknowledged(at(10));
            let oldest = counted.oldest.map(|age| age.as_secs());
            (counted.messages, oldest, counted.held_back)
        };
        assert_eq!(counts(&deliveries), (0, None, 0), "they are in their queue");
        names[..3].iter().for_each(|&hold| deliveries.take(hold));
        assert_eq!(counts(&deliveries), (3, Some(9), 0));
        assert!(deliveries.let_go(names[1], None));
        assert_eq!(counts(&deliveries), (2, Some(9), 1));
        assert!(deliveries.let_go(names[0], None));
        assert_eq!(due(&mut deliveries).len(), 2);
        assert_eq!(counts(&deliveries), (1, Some(7), 0));
        deliveries.hand_over(names[2]);
        deliveries.connection_ended();
        assert_eq!(counts(&deliveries), (0, None, 0), "it is forgotten");
    }

    #[test]
    fn what_was_not_answered_is_known_when_it_comes_again() {
        let mut deliveries = Deliveries::default();
        let hold = deliveries.next_hold();
        deliveries.receive(id(1), QoS::AtLeastOnce, 9, &[hold], None);
        deliveries.connection_ended();
        assert!(deliveries.let_go(hold, None));
        assert_eq!(due(&mut deliveries), [], "not on a connection yet");
        assert!(deliveries.comes_again(id(1), QoS::AtLeastOnce, 9));
        assert_eq!(due(&mut deliveries).len(), 1);
        assert!(!deliveries.comes_again(id(1), QoS::AtLeastOnce, 9));
    }
}
