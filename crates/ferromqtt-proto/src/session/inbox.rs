//! Queues of received messages, from arrival until the application takes them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;

use super::deliveries::DeliveryId;
use super::fifo::Fifo;
use super::queue_options::{Acknowledge, Overflow, QueueOptions};
use super::reader::{Reader, Withheld};
use super::unclaimed::{Held, Unclaimed};
use crate::packet::{PacketId, Properties, QoS};
use crate::topic::{TopicFilter, TopicName};

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Topic Name it was published to.
    pub topic: TopicName,
    /// Application Message: a slice of the receive buffer, which lives as long as this. Copy small ones that are kept long.
    pub payload: Bytes,
    /// Quality of Service it was sent with.
    pub qos: QoS,
    /// RETAIN: it was stored at the server before.
    pub retain: bool,
    /// DUP: the server says that it sent it before.
    pub dup: bool,
    /// Packet Identifier, at QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// Properties (5.0), if any.
    pub properties: Option<Box<Properties>>,
    /// What [`Client::acknowledge`](crate::Client::acknowledge) is to be called with, when the queue leaves that to the
    /// application ([`Acknowledge::ByApplication`]) and the QoS is 1 or 2.
    pub delivery: Option<DeliveryId>,
}

/// The name of a queue of received messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct QueueId(pub(crate) u32);

impl QueueId {
    /// The queue that always exists: messages that no other queue asked for. In a session that was resumed they are
    /// [held](crate::Options::claim_within) for a time first, unless this queue has a reader
    /// ([`Client::claim_default`](crate::Client::claim_default)).
    pub const DEFAULT: Self = Self(0);
}

#[derive(Debug, Default)]
struct Queue {
    messages: Fifo<Message>,
    /// Payload bytes of all messages.
    bytes: usize,
    options: QueueOptions,
    lost: u64,
    /// It has overflown under [`Overflow::Fail`], and its reader does not know yet.
    failed: bool,
    /// The last messages, those beyond the bounds under [`Overflow::Wait`]: what each holds, and its payload bytes.
    beyond: VecDeque<(Option<DeliveryId>, usize)>,
    /// Payload bytes of those.
    bytes_beyond: usize,
    /// Messages held for a queue to claim them. Only the default queue has some; they count against its bounds.
    unclaimed: Unclaimed,
    /// How many of those are to be acknowledged.
    withheld: Withheld,
    reader: Reader,
}

impl Queue {
    fn has_room(&self, size: usize) -> bool {
        let messages = self.messages.len() + self.unclaimed.len();
        let bytes = self.bytes + self.unclaimed.bytes();
        (self.options).have_room(messages, bytes, size)
    }

    /// Whether a QoS 0 message is to wait for room. Not in front of an empty queue, which takes it whatever its bounds.
    fn makes_wait(&self, size: usize) -> bool {
        self.options.overflow == Overflow::Wait && self.messages.len() > 0 && !self.has_room(size)
    }

    /// Whether a QoS 0 message that could not wait for room is kept all the same.
    fn has_spare_room(&self, size: usize) -> bool {
        let spare = self.options.twice();
        self.messages.len() == 0
            || !self.reader.is_forgotten() && spare.have_room(self.messages.len(), self.bytes, size)
    }

    /// Whether a message like this is to be held back: by the application, or until there is room.
    fn holds(&self, qos: QoS, size: usize) -> bool {
        let waits = self.options.overflow == Overflow::Wait && !self.has_room(size);
        qos != QoS::AtMostOnce && (waits || self.options.acknowledge == Acknowledge::ByApplication)
    }

    /// Whether a message is to be taken that finds no room, or whose policy makes room for it. Those that leave for it are
    /// counted, and what they held is let go.
    #[cold]
    fn make_room(&mut self, qos: QoS, size: usize, let_go: &mut Vec<DeliveryId>) -> bool {
        match self.options.overflow {
            _ if self.failed => false,
            Overflow::Wait => qos != QoS::AtMostOnce || self.has_spare_room(size),
            Overflow::DropNewest => false,
            Overflow::DropOldest => {
                while !self.has_room(size) {
                    let Some(held_by) = self.drop_oldest() else {
                        return false;
                    };
                    self.lost += 1;
                    let_go.extend(held_by);
                    let_go.extend(std::iter::from_fn(|| self.release()));
                }
                true
            }
            Overflow::Fail => {
                self.failed = true;
                false
            }
        }
    }

    fn take_first(&mut self) -> Option<Message> {
        let message = self.messages.pop()?;
        self.bytes -= message.payload.len();
        Some(message)
    }

    /// Drops the oldest message in the queue, or else of those unclaimed, and returns what held it.
    fn drop_oldest(&mut self) -> Option<Option<DeliveryId>> {
        if let Some(message) = self.take_first() {
            return Some(message.delivery);
        }
        let (_, hold) = self.unclaimed.pop()?.into_claimed();
        Some(hold)
    }

    /// Holds a message to be claimed, within the bounds and by the policy of the queue.
    fn hold(&mut self, held: Held, let_go: &mut Vec<DeliveryId>) -> Pushed {
        let lost = self.lost;
        let size = held.message.payload.len();
        let had_room = self.has_room(size) && !self.failed;
        let taken = had_room || self.make_room(held.message.qos, size, let_go);
        if taken {
            self.unclaimed.push(held);
        } else {
            self.lost += 1;
            let_go.extend(held.into_claimed().1);
        }
        Pushed {
            taken,
            has_consequences: true,
            has_lost: self.lost > lost,
            first_loss: lost == 0 && self.lost > 0,
            ..Pushed::default()
        }
    }

    /// What the next one of those beyond the bounds held, once it has been taken or there is room for it.
    fn release(&mut self) -> Option<DeliveryId> {
        while let Some(&(hold, size)) = self.beyond.front() {
            let is_there = self.beyond.len() <= self.messages.len();
            let within = self.messages.len().saturating_sub(self.beyond.len());
            let bytes_within = self.bytes.saturating_sub(self.bytes_beyond);
            if is_there && !self.options.have_room(within, bytes_within, size) {
                return None;
            }
            self.beyond.pop_front();
            self.bytes_beyond -= size;
            if hold.is_some() {
                self.withheld.remove();
                return hold;
            }
        }
        None
    }

    /// Whether a message of this size is just to be added.
    #[inline]
    fn takes_at_once(&self, size: usize) -> bool {
        self.has_room(size) && !self.failed
    }

    /// Offers a message. `hold` is what holds it back when this queue [holds](Self::holds) its like, or another one did
    /// that it comes from. What holds nothing back any more joins `let_go`: its message is lost, or need not wait.
    fn push(
        &mut self,
        mut message: Message,
        hold: Option<DeliveryId>,
        now: Option<Instant>,
        let_go: &mut Vec<DeliveryId>,
    ) -> Pushed {
        self.reader.note(now);
        let size = message.payload.len();
        let (was_empty, lost) = (self.messages.len() == 0, self.lost);
        let had_room = self.has_room(size);
        let taken = had_room && !self.failed || self.make_room(message.qos, size, let_go);
        if !taken {
            self.lost += 1;
            let_go.extend(message.delivery.or(hold));
        } else {
            if self.options.acknowledge == Acknowledge::ByApplication {
                message.delivery = message.delivery.or(hold);
            } else if !had_room && self.options.overflow == Overflow::Wait {
                self.beyond.push_back((hold, size));
                self.bytes_beyond += size;
                if hold.is_some() {
                    self.withheld.add(now);
                }
            } else {
                let_go.extend(hold);
            }
            self.bytes += size;
            self.messages.push(message);
        }
        Pushed {
            taken,
            first: taken && was_empty,
            has_consequences: true,
            has_lost: self.lost > lost,
            first_loss: lost == 0 && self.lost > 0,
            forgotten: !taken && self.reader.is_news(),
        }
    }
}

/// What became of a message that was offered to a queue.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pushed {
    /// It is in the queue.
    pub(crate) taken: bool,
    /// The queue was empty before.
    pub(crate) first: bool,
    /// Something of the following, or something was let go.
    pub(crate) has_consequences: bool,
    /// The queue has lost a message now, this one or others.
    has_lost: bool,
    /// The queue has lost a message, and had lost none since the reader asked.
    pub(crate) first_loss: bool,
    /// It has lost this one because its reader has forgotten it, and the one before not.
    pub(crate) forgotten: bool,
}

/// What a queue that is closed has left behind.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Its messages, in order.
    messages: Fifo<Message>,
    /// How many of them, the last ones, were beyond its bounds, and what those held.
    beyond: VecDeque<(Option<DeliveryId>, usize)>,
}

impl Iterator for Left {
    type Item = (Message, Option<DeliveryId>);

    /// The next message, and what held it back beside [`Message::delivery`].
    fn next(&mut self) -> Option<Self::Item> {
        let is_beyond = self.beyond.len() >= self.messages.len();
        let message = self.messages.pop()?;
        let hold = match is_beyond {
            true => self.beyond.pop_front().and_then(|(hold, _)| hold),
            false => None,
        };
        Some((message, hold))
    }
}

/// All queues.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    default: Queue,
    /// By the numbers of their names.
    others: BTreeMap<u32, Queue>,
    last: u32,
    /// The time of the last call of the core that was given it.
    clock: Option<Instant>,
    /// When a queue is to be [reported](Self::stalled) next, or was to be.
    report_at: Option<Instant>,
    /// Messages that all queues have lost.
    lost: u64,
    /// What holds nothing back any more.
    let_go: Vec<DeliveryId>,
    /// A message that waited for room in one of these queues when the client ended; the next one delivers it.
    pub(crate) waiting: Option<Box<(Vec<QueueId>, Message)>>,
}

impl Inbox {
    pub(crate) const fn set_clock(&mut self, now: Instant) {
        self.clock = Some(now);
    }

    pub(crate) const fn clock(&self) -> Option<Instant> {
        self.clock
    }

    /// Sets the bounds of the default queue. What it holds already stays.
    pub(crate) const fn bound_default(&mut self, options: QueueOptions) {
        self.default.options = options;
    }

    /// Holds a message to be claimed. What the bounds of the default queue have no room for is lost by its policy.
    pub(crate) fn hold(&mut self, held: Held) -> Pushed {
        let lost = self.default.lost;
        let pushed = self.default.hold(held, &mut self.let_go);
        self.lost += self.default.lost - lost;
        pushed
    }

    /// How many messages wait to be claimed.
    pub(crate) fn unclaimed(&self) -> usize {
        self.default.unclaimed.len()
    }

    /// Takes out the held messages that one of `filters` matches and that are wanted, in order of arrival.
    pub(crate) fn take_unclaimed<'a>(
        &mut self,
        filters: impl IntoIterator<Item = &'a TopicFilter>,
        wanted: impl Fn(&Held) -> bool,
    ) -> Vec<Held> {
        self.default.unclaimed.take_matching(filters, wanted)
    }

    /// Takes out all held messages, in order of arrival.
    pub(crate) fn take_all_unclaimed(&mut self) -> Vec<Held> {
        self.default.unclaimed.take_all()
    }

    /// Takes out the held messages that nobody has claimed in time, in order of arrival.
    pub(crate) fn take_claims_due(&mut self, now: Instant) -> Vec<Held> {
        self.default.unclaimed.take_due(now)
    }

    pub(crate) fn next_claim_end(&self) -> Option<Instant> {
        self.default.unclaimed.next_due()
    }

    /// Stops the time for claiming, until [`resume_claims`](Self::resume_claims).
    pub(crate) fn suspend_claims(&mut self) {
        self.default.unclaimed.suspend();
    }

    pub(crate) fn resume_claims(&mut self, until: Option<Instant>) {
        self.default.unclaimed.resume(until);
    }

    /// Moves a message that was held to the default queue. A queue that has failed takes it too: it came before the gap.
    pub(crate) fn push_held(&mut self, held: Held) -> Pushed {
        let failed = std::mem::take(&mut self.default.failed);
        let pushed = self.push(QueueId::DEFAULT, held.message, held.hold);
        self.default.failed |= failed;
        pushed
    }

    pub(crate) fn open(&mut self, options: QueueOptions) -> QueueId {
        self.last += 1;
        let id = QueueId(self.last);
        let queue = Queue {
            options,
            ..Queue::default()
        };
        self.others.insert(id.0, queue);
        id
    }

    /// Closes a queue; the default one stays. Returns what it held.
    pub(crate) fn close(&mut self, id: QueueId) -> Left {
        let Some(queue) = self.others.remove(&id.0) else {
            return Left::default();
        };
        Left {
            messages: queue.messages,
            beyond: queue.beyond,
        }
    }

    pub(crate) fn is_open(&self, id: QueueId) -> bool {
        id == QueueId::DEFAULT || self.others.contains_key(&id.0)
    }

    fn queue(&self, id: QueueId) -> Option<&Queue> {
        match id {
            QueueId::DEFAULT => Some(&self.default),
            _ => self.others.get(&id.0),
        }
    }

    fn queue_mut(&mut self, id: QueueId) -> Option<&mut Queue> {
        match id {
            QueueId::DEFAULT => Some(&mut self.default),
            _ => self.others.get_mut(&id.0),
        }
    }

    /// Whether the queue takes a message of this size now, and neither loses nor holds back any for it.
    pub(crate) fn has_room(&self, id: QueueId, size: usize) -> bool {
        (self.queue(id)).is_some_and(|queue| !queue.failed && queue.has_room(size))
    }

    /// Whether the queue will hold back the acknowledgement of a message of this QoS and size that is pushed now.
    pub(crate) fn holds(&self, id: QueueId, qos: QoS, size: usize) -> bool {
        self.queue(id).is_some_and(|queue| queue.holds(qos, size))
    }

    /// Offers a message to a queue; with `hold` when the queue [holds](Self::holds) its like.
    #[inline]
    pub(crate) fn push(
        &mut self,
        id: QueueId,
        message: Message,
        hold: Option<DeliveryId>,
    ) -> Pushed {
        let (now, size) = (self.clock, message.payload.len());
        if hold.is_none()
            && let Some(queue) = self.queue_mut(id)
            && queue.takes_at_once(size)
        {
            queue.reader.note(now);
            queue.bytes += size;
            let first = queue.messages.len() == 0;
            queue.messages.push(message);
            return Pushed {
                taken: true,
                first,
                ..Pushed::default()
            };
        }
        self.push_with_consequences(id, message, hold)
    }

    #[cold]
    #[inline(never)]
    fn push_with_consequences(
        &mut self,
        id: QueueId,
        message: Message,
        hold: Option<DeliveryId>,
    ) -> Pushed {
        let Self {
            default, others, ..
        } = self;
        let queue = match id {
            QueueId::DEFAULT => Some(default),
            _ => others.get_mut(&id.0),
        };
        let Some(queue) = queue else {
            self.let_go.extend(hold);
            return Pushed {
                has_consequences: true,
                ..Pushed::default()
            };
        };
        let lost = queue.lost;
        let pushed = queue.push(message, hold, self.clock, &mut self.let_go);
        if pushed.has_lost {
            self.lost += queue.lost - lost;
        }
        if hold.is_some() {
            let due = queue.withheld.due();
            self.report_at = self.report_at.into_iter().chain(due).min();
        }
        pushed
    }

    /// The next of those that hold nothing back any more since a message was [pushed](Self::push).
    pub(crate) fn let_go(&mut self) -> Option<DeliveryId> {
        self.let_go.pop()
    }

    /// Messages that all queues have lost.
    pub(crate) const fn all_lost(&self) -> u64 {
        self.lost
    }

    /// Whether a QoS 0 message of this size finds no room, and is to wait for it: when its queue is read at all.
    pub(crate) fn makes_wait(&mut self, id: QueueId, size: usize) -> bool {
        let now = self.clock;
        let Some(queue) = self.queue_mut(id) else {
            return false;
        };
        queue.makes_wait(size) && now.is_none_or(|now| queue.reader.look(now).is_some())
    }

    /// Whether a message of this size that has been waiting for room in a queue waits on.
    pub(crate) fn keeps_waiting(&self, id: QueueId, size: usize) -> bool {
        self.queue(id).is_some_and(|queue| {
            let Queue {
                options, messages, ..
            } = queue;
            let has_room =
                queue.has_room(size) && options.are_half_used(messages.len(), queue.bytes);
            messages.len() > 0 && !has_room && !queue.reader.is_forgotten()
        })
    }

    /// Looks whether the queue is still read; returns when to look again if it is.
    pub(crate) fn look_for_reader(&mut self, id: QueueId, now: Instant) -> Option<Instant> {
        self.queue_mut(id)?.reader.look(now)
    }

    pub(crate) fn is_forgotten(&self, id: QueueId) -> bool {
        (self.queue(id)).is_some_and(|queue| queue.reader.is_forgotten())
    }

    /// When to ask for queues that have [stalled](Self::stalled).
    pub(crate) const fn report_at(&self) -> Option<Instant> {
        self.report_at
    }

    /// The queues that have withheld acknowledgements for too long, each once.
    pub(crate) fn stalled(&mut self, now: Instant) -> Vec<QueueId> {
        if self.report_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let mut stalled = Vec::new();
        let mut next = None;
        let others = self.others.iter_mut();
        for (id, queue) in std::iter::once((&0, &mut self.default)).chain(others) {
            if queue.withheld.is_overdue(now) {
                stalled.push(QueueId(*id));
            }
            next = next.into_iter().chain(queue.withheld.due()).min();
        }
        self.report_at = next;
        stalled
    }

    /// Takes the first message; and tells whether others are beyond the bounds, which may have [room](Self::release) now.
    pub(crate) fn pop(&mut self, id: QueueId) -> Option<(Message, bool)> {
        let queue = self.queue_mut(id)?;
        queue.reader.asks();
        let message = queue.take_first()?;
        Some((message, !queue.beyond.is_empty()))
    }

    /// What the next message held that was beyond the bounds of its queue and is so no more; ask until there is none.
    pub(crate) fn release(&mut self, id: QueueId) -> Option<DeliveryId> {
        self.queue_mut(id)?.release()
    }

    pub(crate) fn len(&self, id: QueueId) -> usize {
        self.queue(id).map_or(0, |queue| queue.messages.len())
    }

    /// Whether the queue takes nothing more, and its reader has taken all that it held.
    pub(crate) fn has_failed(&self, id: QueueId) -> bool {
        (self.queue(id)).is_some_and(|queue| queue.failed && queue.messages.len() == 0)
    }

    /// How many messages the queue has lost that its reader has not asked for.
    pub(crate) fn lost(&self, id: QueueId) -> u64 {
        self.queue(id).map_or(0, |queue| queue.lost)
    }

    /// How many messages the queue has lost since the last call. One that failed works again from here on, when it is
    /// empty.
    pub(crate) fn take_lost(&mut self, id: QueueId) -> u64 {
        let Some(queue) = self.queue_mut(id) else {
            return 0;
        };
        if queue.failed && queue.messages.len() > 0 {
            return 0; // told after the last message before the gap
        }
        queue.failed = false;
        std::mem::take(&mut queue.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u8) -> Message {
        Message {
            topic: TopicName::new("t").unwrap(),
            payload: Bytes::copy_from_slice(&[number]),
            qos: QoS::AtMostOnce,
            retain: false,
            dup: false,
            packet_id: None,
            properties: None,
            delivery: None,
        }
    }

    fn drain(inbox: &mut Inbox, id: QueueId) -> Vec<u8> {
        std::iter::from_fn(|| inbox.pop(id))
            .map(|(message, _)| message.payload[0])
            .collect()
    }

    #[test]
    fn a_full_queue_drops_by_its_policy_and_counts() {
        let mut inbox = Inbox::default();
        let limit = Some(2);
        let oldest = inbox.open(QueueOptions {
            limit,
            overflow: Overflow::DropOldest,
            ..QueueOptions::default()
        });
        let newest = inbox.open(QueueOptions {
            limit,
            overflow: Overflow::DropNewest,
            ..QueueOptions::default()
        });
        for number in 0..5 {
            inbox.push(oldest, message(number), None);
            inbox.push(newest, message(number), None);
        }
        assert_eq!(inbox.take_lost(oldest), 3);
        assert_eq!(inbox.take_lost(oldest), 0);
        assert_eq!(drain(&mut inbox, oldest), [3, 4]);
        assert_eq!(inbox.take_lost(newest), 3);
        assert_eq!(drain(&mut inbox, newest), [0, 1]);
    }

    #[test]
    fn only_the_first_message_of_an_empty_queue_is_announced() {
        let mut inbox = Inbox::default();
        assert!(inbox.push(QueueId::DEFAULT, message(1), None).first);
        assert!(!inbox.push(QueueId::DEFAULT, message(2), None).first);
        assert_eq!(drain(&mut inbox, QueueId::DEFAULT), [1, 2]);
        assert!(inbox.push(QueueId::DEFAULT, message(3), None).first);
    }

    /// What a world of one queue sees of a message: its number, its payload bytes, and what was given to hold it.
    type Offered = (u8, usize, Option<DeliveryId>);

    /// Messages beyond the bounds: the last ones, of which the first has no room.
    fn check_waiting(options: QueueOptions, there: &[Offered], withheld: &[DeliveryId]) {
        let is_withheld = |it: &Offered| it.2.is_some_and(|hold| withheld.contains(&hold));
        let within = (there.iter().position(is_withheld)).unwrap_or(there.len());
        let bytes: usize = there[..within].iter().map(|it| it.1).sum();
        let (count, most) = (within, options.bytes.unwrap_or(usize::MAX));
        let at_least = usize::from(options.overflow == Overflow::Wait); // QoS 0 has to come some time
        assert!(count <= options.limit.unwrap_or(usize::MAX).max(at_least));
        assert!(bytes <= most || count == 1, "{bytes} bytes of {most}");
        let Some(&(_, size, _)) = there.get(within) else {
            return;
        };
        assert!(there[within..].iter().all(is_withheld), "not in order");
        assert!(!options.have_room(count, bytes, size), "it has room");
    }

    proptest::proptest! {
        /// No bound is exceeded, no order changed, every loss counted, and what waits for room waits exactly as long.
        #[test]
        fn bounds_hold_and_every_message_is_accounted_for(
            limit in proptest::option::of(0_usize..5),
            bytes in proptest::option::of(0_usize..20),
            policy in 0_usize..4,
            steps in proptest::collection::vec((proptest::bool::ANY, proptest::bool::ANY, 0_usize..12), 1..80),
        ) {
            let overflow = [Overflow::DropOldest, Overflow::DropNewest, Overflow::Wait, Overflow::Fail][policy];
            let options = QueueOptions { limit, bytes, overflow, ..QueueOptions::UNBOUNDED };
            let (mut inbox, mut deliveries) = (Inbox::default(), crate::session::Deliveries::default());
            let id = inbox.open(options);
            let (mut there, mut withheld) = (Vec::<Offered>::new(), Vec::new());
            let (mut number, mut offered, mut taken) = (0_u8, 0, 0);
            for (push, acknowledged, size) in steps {
                if push {
                    let qos = if acknowledged { QoS::AtLeastOnce } else { QoS::AtMostOnce };
                    if qos == QoS::AtMostOnce && inbox.makes_wait(id, size) {
                        assert!(overflow == Overflow::Wait && inbox.keeps_waiting(id, size));
                        continue; // input is held back
                    }
                    number += 1;
                    offered += 1;
                    let payload = vec![number; size].into();
                    let before = inbox.lost(id);
                    let hold = inbox.holds(id, qos, size).then(|| deliveries.next_hold());
                    assert!(hold.is_none() || overflow == Overflow::Wait);
                    let pushed = inbox.push(id, Message { payload, qos, ..message(0) }, hold);
                    let lost = (inbox.lost(id) - before) as usize;
                    let left = lost - usize::from(!pushed.taken);
                    assert!(left == 0 || overflow == Overflow::DropOldest);
                    assert!(pushed.taken || !acknowledged || overflow != Overflow::Wait);
                    there.drain(..left);
                    if pushed.taken {
                        there.push((number, size, hold));
                        withheld.extend(hold);
                    }
                } else if let Some((message, _)) = inbox.pop(id) {
                    taken += 1;
                    let (number, size, _) = there.remove(0);
                    assert_eq!(message.payload, vec![number; size]);
                    while let Some(hold) = inbox.release(id) {
                        let at = withheld.iter().position(|it| *it == hold);
                        withheld.remove(at.expect("let go once"));
                    }
                }
                assert_eq!(inbox.len(id), there.len());
                assert_eq!(taken + there.len() + inbox.lost(id) as usize, offered);
                check_waiting(options, &there, &withheld);
            }
        }
    }
}
