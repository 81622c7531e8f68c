//! Queues of received messages, from arrival until the application takes them.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::time::Instant;

use bytes::Bytes;

use super::chunks::Chunks;
use super::deliveries::DeliveryId;
use super::message::Message;
use super::packet_id::IdHasher;
use super::queue::{LeftMessages, Pushed, Queue};
use super::queue_options::{Acknowledge, QueueOptions};
use super::unclaimed::UnclaimedMessage;
use crate::packet::QoS;
use crate::topic::TopicFilter;

/// The name of a queue of received messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub(crate) u32);

impl QueueId {
    /// The queue that always exists: messages that no other queue asked for. In a session that was resumed they are
    /// [held](crate::Options::claim_within) for a time first, unless this queue has a reader
    /// ([`Client::claim_default`](crate::Client::claim_default)).
    pub const DEFAULT: Self = Self(0);
}

/// Queues by the numbers of their names.
type OtherQueues = HashMap<u32, Box<Queue>, BuildHasherDefault<IdHasher>>;

/// All queues.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    default: Queue,
    others: OtherQueues,
    last: u32,
    /// What the messages in them are slices of.
    chunks: Chunks,
    /// Messages in the queue that was asked last are beyond its bounds.
    others_beyond: bool,
    /// The time of the last call of the core that was given it.
    clock: Option<Instant>,
    /// When a queue is to be [reported](Self::stalled) next, or was to be.
    report_at: Option<Instant>,
    /// Messages that all queues have lost.
    lost: u64,
    /// What holds nothing back any more.
    let_go: Vec<DeliveryId>,
    /// A message that waited for capacity in one of these queues when the client ended; the next one delivers it.
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

    /// Sets who acknowledges what a queue takes from now on.
    pub(crate) fn set_acknowledge(&mut self, id: QueueId, acknowledge: Acknowledge) {
        if let Some(queue) = self.queue_mut(id) {
            queue.options.acknowledge = acknowledge;
        }
    }

    /// Whether the application acknowledges the messages of some queue.
    pub(crate) fn leaves_acknowledging(&self) -> bool {
        let others = self.others.values().map(|queue| &**queue);
        std::iter::once(&self.default)
            .chain(others)
            .any(|queue| queue.options.acknowledge == Acknowledge::ByApplication)
    }

    /// Holds a message to be claimed. What exceeds the bounds of the default queue is lost by its policy.
    pub(crate) fn hold(&mut self, mut held: UnclaimedMessage) -> Pushed {
        self.chunks.part(&mut held.message);
        let lost = self.default.lost;
        let pushed = (self.default).hold(held, &mut self.chunks, &mut self.let_go);
        self.lost += self.default.lost - lost;
        pushed
    }

    /// How many messages wait to be claimed.
    pub(crate) fn unclaimed(&self) -> usize {
        self.default.unclaimed.len()
    }

    /// Takes out all held messages, in order of arrival.
    pub(crate) fn take_unclaimed(&mut self) -> Vec<UnclaimedMessage> {
        self.default.unclaimed.take_all()
    }

    /// Takes out the held messages on topics that one of these filters matches and that are `wanted`, in order of arrival.
    pub(crate) fn take_claimed<'a>(
        &mut self,
        filters: impl IntoIterator<Item = &'a TopicFilter>,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<UnclaimedMessage> {
        self.default.unclaimed.take_matching(filters, wanted)
    }

    /// Takes out the held messages that nobody has claimed in time, in order of arrival.
    pub(crate) fn take_claims_due(&mut self, now: Instant) -> Vec<UnclaimedMessage> {
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
    pub(crate) fn push_held(&mut self, held: UnclaimedMessage) -> Pushed {
        let failed = std::mem::take(&mut self.default.failed);
        let pushed = self.push(QueueId::DEFAULT, held.message, held.hold);
        self.default.failed |= failed;
        pushed
    }

    pub(crate) fn open(&mut self, options: QueueOptions) -> QueueId {
        self.last += 1;
        let id = QueueId(self.last);
        self.others.insert(id.0, Box::new(Queue::new(options)));
        id
    }

    /// As [`open`](Self::open), for a reader that takes requests alone.
    pub(crate) fn open_for_requests(&mut self, options: QueueOptions) -> QueueId {
        let id = self.open(options);
        if let Some(queue) = self.queue_mut(id) {
            queue.of_requests = true;
        }
        id
    }

    /// Whether the reader of the queue takes requests alone.
    pub(crate) fn is_of_requests(&self, id: QueueId) -> bool {
        self.queue(id).is_some_and(|queue| queue.of_requests)
    }

    /// Takes over the queues of another inbox, beside the default one, with their names. They are empty.
    pub(crate) fn adopt_queues(&mut self, former: &mut Self) {
        self.others = std::mem::take(&mut former.others);
        self.last = former.last;
    }

    /// Closes a queue; the default one stays. Returns what it held.
    pub(crate) fn close(&mut self, id: QueueId) -> LeftMessages {
        match self.others.remove(&id.0) {
            Some(queue) => queue.close(&mut self.chunks),
            None => LeftMessages::default(),
        }
    }

    /// Messages are going to be taken from this memory, of which on `capacity` bytes are one piece.
    pub(crate) fn begin_chunk(&mut self, memory: &Bytes, capacity: usize) {
        let start = memory.as_ptr().addr();
        self.chunks.begin(start, memory.len(), capacity);
    }

    /// All messages have been taken from the memory given last.
    pub(crate) fn end_chunk(&mut self) {
        self.chunks.end();
        self.free_chunks();
    }

    /// Copies a message that is kept elsewhere than in a queue, if it makes up little of the memory that it is a slice of.
    pub(crate) fn part(&self, message: &mut Message) {
        self.chunks.part(message);
    }

    /// Copies messages when the queues keep much more memory alive than these count.
    #[inline]
    pub(crate) fn free_chunks(&mut self) {
        if self.chunks.keep_too_much() {
            self.copy_sparse();
        }
    }

    #[cold]
    fn copy_sparse(&mut self) {
        self.chunks.reset_counts();
        self.default.count_chunks(&mut self.chunks);
        for queue in self.others.values() {
            queue.count_chunks(&mut self.chunks);
        }
        self.default.copy_sparse(&mut self.chunks);
        for queue in self.others.values_mut() {
            queue.copy_sparse(&mut self.chunks);
        }
    }

    pub(crate) fn is_open(&self, id: QueueId) -> bool {
        id == QueueId::DEFAULT || self.others.contains_key(&id.0)
    }

    fn queue(&self, id: QueueId) -> Option<&Queue> {
        match id {
            QueueId::DEFAULT => Some(&self.default),
            _ => self.others.get(&id.0).map(|queue| &**queue),
        }
    }

    fn queue_mut(&mut self, id: QueueId) -> Option<&mut Queue> {
        find(&mut self.default, &mut self.others, id)
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
        let size = message.memory_size();
        if hold.is_none()
            && let Some(queue) = find(&mut self.default, &mut self.others, id)
            && queue.takes_at_once(size)
        {
            queue.reader.note(self.clock);
            let first = queue.add(message, size, &mut self.chunks);
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
        let Some(queue) = find(&mut self.default, &mut self.others, id) else {
            self.let_go.extend(hold);
            return Pushed {
                has_consequences: true,
                ..Pushed::default()
            };
        };
        let lost = queue.lost;
        let (chunks, let_go) = (&mut self.chunks, &mut self.let_go);
        let pushed = queue.push(message, hold, self.clock, chunks, let_go);
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

    /// Whether a QoS 0 message of this size has to wait for capacity, which it does when its queue is read at all.
    pub(crate) fn makes_wait(&mut self, id: QueueId, size: usize) -> bool {
        let now = self.clock;
        let Some(queue) = self.queue_mut(id) else {
            return false;
        };
        queue.makes_wait(size) && now.is_none_or(|now| queue.reader.look(now).is_some())
    }

    /// Whether a message of this size that has been waiting for capacity in a queue goes on to wait.
    pub(crate) fn keeps_waiting(&self, id: QueueId, size: usize) -> bool {
        self.queue(id)
            .is_some_and(|queue| queue.keeps_waiting(size))
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
        let others = self
            .others
            .iter_mut()
            .map(|(id, queue)| (*id, &mut **queue));
        for (id, queue) in std::iter::once((0, &mut self.default)).chain(others) {
            if queue.withheld.is_overdue(now) {
                stalled.push(QueueId(id));
            }
            next = next.into_iter().chain(queue.withheld.due()).min();
        }
        self.report_at = next;
        stalled.sort_unstable_by_key(|queue| queue.0);
        stalled
    }

    /// Takes the first message, which may [have consequences](Self::pop_has_consequences).
    #[inline]
    pub(crate) fn pop(&mut self, id: QueueId) -> Option<Message> {
        let queue = find(&mut self.default, &mut self.others, id)?;
        queue.reader.asks();
        self.others_beyond = queue.has_beyond();
        queue.take_first(&mut self.chunks)
    }

    /// Whether others in the queue of the last [`pop`](Self::pop) are beyond the bounds, which may have [room](Self::release)
    /// now, or the queues keep too much memory alive.
    #[inline]
    pub(crate) const fn pop_has_consequences(&self) -> bool {
        self.others_beyond || self.chunks.keep_too_much()
    }

    /// What the next message held that was beyond the bounds of its queue and is so no more; ask until there is none.
    pub(crate) fn release(&mut self, id: QueueId) -> Option<DeliveryId> {
        self.queue_mut(id)?.release()
    }

    pub(crate) fn len(&self, id: QueueId) -> usize {
        self.queue(id).map_or(0, |queue| queue.len())
    }

    pub(crate) fn bytes(&self, id: QueueId) -> usize {
        self.queue(id).map_or(0, Queue::bytes)
    }

    /// How many messages all queues hold, and how many bytes those count.
    pub(crate) fn totals(&self) -> (usize, usize) {
        let others = self.others.values().map(|queue| &**queue);
        let queues = std::iter::once(&self.default).chain(others);
        queues.fold((0, 0), |(messages, bytes), queue| {
            (messages + queue.len(), bytes + queue.bytes())
        })
    }

    /// Whether the queue takes nothing more, and its reader has taken all that it held.
    pub(crate) fn has_failed(&self, id: QueueId) -> bool {
        (self.queue(id)).is_some_and(|queue| queue.failed && queue.len() == 0)
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
        if queue.failed && queue.len() > 0 {
            return 0; // reported after the last message before the gap
        }
        queue.failed = false;
        std::mem::take(&mut queue.lost)
    }
}

/// The queue with this name.
#[inline]
fn find<'a>(
    default: &'a mut Queue,
    others: &'a mut OtherQueues,
    id: QueueId,
) -> Option<&'a mut Queue> {
    match id {
        QueueId::DEFAULT => Some(default),
        _ => others.get_mut(&id.0).map(|queue| &mut **queue),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Overflow;
    use crate::topic::TopicName;

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
            .map(|message| message.payload[0])
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

    /// What a message of this payload counts.
    fn counted(payload: usize) -> usize {
        crate::packet::MESSAGE_OVERHEAD + "t".len() + payload
    }

    /// What a world of one queue sees of a message: its number, its payload bytes, and what was given to hold it.
    type Offered = (u8, usize, Option<DeliveryId>);

    /// Messages beyond the bounds: the last ones, of which the first does not fit.
    fn check_waiting(options: QueueOptions, there: &[Offered], withheld: &[DeliveryId]) {
        let is_withheld = |it: &Offered| it.2.is_some_and(|hold| withheld.contains(&hold));
        let within = (there.iter().position(is_withheld)).unwrap_or(there.len());
        let bytes: usize = there[..within].iter().map(|it| counted(it.1)).sum();
        let (count, most) = (within, options.bytes.unwrap_or(usize::MAX));
        let at_least = usize::from(options.overflow == Overflow::Wait); // QoS 0 has to come some time
        assert!(count <= options.limit.unwrap_or(usize::MAX).max(at_least));
        assert!(bytes <= most || count == 1, "{bytes} bytes of {most}");
        let Some(&(_, size, _)) = there.get(within) else {
            return;
        };
        assert!(there[within..].iter().all(is_withheld), "not in order");
        assert!(
            !options.have_room(count, bytes, counted(size)),
            "it has room"
        );
    }

    proptest::proptest! {
        /// No bound is exceeded, no order changed, every loss counted, and what waits for capacity waits exactly as long.
        #[test]
        fn bounds_hold_and_every_message_is_accounted_for(
            limit in proptest::option::of(0_usize..5),
            bytes in proptest::option::of((0_usize..4, 0_usize..20)),
            policy in 0_usize..4,
            steps in proptest::collection::vec((proptest::bool::ANY, proptest::bool::ANY, 0_usize..12), 1..80),
        ) {
            let overflow = [Overflow::DropOldest, Overflow::DropNewest, Overflow::Wait, Overflow::Fail][policy];
            let bytes = bytes.map(|(messages, payloads)| messages * counted(0) + payloads);
            let options = QueueOptions { limit, bytes, overflow, ..QueueOptions::UNBOUNDED };
            let (mut inbox, mut deliveries) = (Inbox::default(), crate::session::Deliveries::default());
            let id = inbox.open(options);
            let (mut there, mut withheld) = (Vec::<Offered>::new(), Vec::new());
            let (mut number, mut offered, mut taken) = (0_u8, 0, 0);
            for (push, acknowledged, length) in steps {
                let size = counted(length);
                if push {
                    let qos = if acknowledged { QoS::AtLeastOnce } else { QoS::AtMostOnce };
                    if qos == QoS::AtMostOnce && inbox.makes_wait(id, size) {
                        assert!(overflow == Overflow::Wait && inbox.keeps_waiting(id, size));
                        continue; // input is held back
                    }
                    number += 1;
                    offered += 1;
                    let payload = vec![number; length].into();
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
                        there.push((number, length, hold));
                        withheld.extend(hold);
                    }
                } else if let Some(message) = inbox.pop(id) {
                    taken += 1;
                    let (number, length, _) = there.remove(0);
                    assert_eq!(message.payload, vec![number; length]);
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
