//! Input that is held back: a QoS 0 message that finds a queue full under [`Overflow::Wait`](crate::Overflow::Wait), and all
//! that came behind it. The driver stops reading meanwhile, so the server is held back by its transport.
//!
//! What waits for the server's answer must not wait for capacity as well: the answer lies behind the messages that have none.
//! So input goes on while anything does, and then it cannot be held back.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::Client;
use crate::connection::AuthExchange;
use crate::debug_fields;
use crate::error::DecodeError;
use crate::event::Event;
use crate::packet::QoS;
use crate::session::{Message, QueueId};

/// How many bytes may be held back. A driver that heeds [`Client::input_paused`] gives little more than one read; beyond
/// this, what it goes on to give is taken as if an answer were awaited.
const MOST_HELD: usize = 1 << 20;

/// Input that waits for capacity in a queue.
pub(super) struct HeldBack {
    /// Of QoS 0.
    message: Message,
    /// The queues that it is for. They were found by the Subscription Identifiers that it no longer has.
    queues: Vec<QueueId>,
    /// The queue that is full: the first one, if there are several.
    queue: QueueId,
    /// Since when.
    since: Instant,
    /// When to look whether that queue is still read.
    look_at: Instant,
    /// Whole packets behind it, in order.
    packets: VecDeque<Bytes>,
    /// Those behind these, copied: what is read for a sign of life comes in small pieces, each in 4 KiB of memory.
    copied: BytesMut,
    /// The bytes of both.
    bytes: usize,
    /// What comes behind those and ends the connection.
    unreadable: Option<Unreadable>,
}

debug_fields!(HeldBack {
    message,
    queues,
    queue,
    since,
    look_at,
    packets: count,
    copied: length,
    bytes,
    unreadable
});

/// What is no packet, or too large a one.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) error: DecodeError,
    /// How long it would be.
    pub(super) packet_len: Option<usize>,
}

impl HeldBack {
    /// Adds packets, which keep so many bytes of memory alive.
    pub(super) fn push(&mut self, packets: Bytes, capacity: usize) {
        if packets.is_empty() || self.unreadable.is_some() {
            return;
        }
        self.bytes += packets.len();
        if packets.len() < capacity / 2 {
            self.copied.extend_from_slice(&packets);
        } else {
            self.finish_copied();
            self.packets.push_back(packets);
        }
    }

    fn finish_copied(&mut self) {
        if !self.copied.is_empty() {
            self.packets.push_back(self.copied.split().freeze());
        }
    }

    /// Appends what lay behind an earlier message, without moving each of its packets: they may be many, and this happens
    /// with each message that finds a queue full again.
    fn append(&mut self, mut packets: VecDeque<Bytes>, bytes: usize) {
        if self.unreadable.is_none() {
            self.finish_copied();
            while let Some(before) = self.packets.pop_back() {
                packets.push_front(before);
            }
            self.packets = packets;
            self.bytes += bytes;
        }
    }

    pub(super) fn end_with(&mut self, unreadable: Option<Unreadable>) {
        self.unreadable = self.unreadable.take().or(unreadable);
    }
}

impl Client {
    /// Whether the driver is to leave the transport's input alone: a QoS 0 message has found a queue full under
    /// [`Overflow::Wait`](crate::Overflow::Wait), and nothing waits for an answer of the server. Ask after every call: it
    /// begins with [`Client::handle_input`], and ends when the queue is half empty, closed or
    /// [forgotten](crate::Event::Forgotten), and as soon as an operation or a PINGREQ waits for the server's answer.
    ///
    /// What was read already is kept and goes on with the next [`Client::handle_timeout`] (which
    /// [`Client::poll_timeout`] asks for at once), so nothing but reading is to be stopped and started. Input that is given
    /// all the same is kept as well, up to 1 MiB, and then taken as while an answer is awaited.
    pub fn input_paused(&self) -> bool {
        self.is_held_back() && !self.awaits_any_byte()
    }

    /// Whether the driver is to read little at a time: input is held back, and is read for the answer to a PINGREQ, which any
    /// byte is. What is read all the same has to be kept.
    pub fn input_throttled(&self) -> bool {
        self.is_held_back() && self.awaits_any_byte()
    }

    fn is_held_back(&self) -> bool {
        (self.held_back.as_ref()).is_some_and(|held| self.waits_on(held))
    }

    /// Whether a PINGREQ waits for its answer. Any byte will do, so input is read on for it, and held back all the same.
    fn awaits_any_byte(&self) -> bool {
        (self.connection.as_ref()).is_some_and(|connection| connection.keep_alive.awaits_answer())
    }

    /// Whether what is held back stays so.
    fn waits_on(&self, held: &HeldBack) -> bool {
        let size = held.message.memory_size();
        self.may_hold_back()
            && held.bytes <= MOST_HELD
            && self.session.inbox.keeps_waiting(held.queue, size)
    }

    /// Goes on with what was held back, unless that waits on.
    pub(super) fn go_on(&mut self, now: Instant) {
        if let Some(held) = &self.held_back
            && !self.waits_on(held)
        {
            self.take_held_back(now);
        }
    }

    /// Whether input may wait: nothing waits for an answer that it may hold.
    fn may_hold_back(&self) -> bool {
        let Some(connection) = &self.connection else {
            return false;
        };
        self.is_connected()
            && !self.must_read
            && connection.authentication != AuthExchange::ServerAnswers
            && self.session.outbound.len() == 0
            && self.requests.is_empty()
            && !self.awaits_response()
    }

    /// Returns the queue in which a message for these queues has to wait for capacity, if any. None of QoS 1 or 2 has to.
    #[inline]
    pub(super) fn full_queue(&mut self, message: &Message, queues: &[QueueId]) -> Option<QueueId> {
        if message.qos != QoS::AtMostOnce {
            return None;
        }
        let size = message.memory_size();
        let inbox = &mut self.session.inbox;
        let full = queues
            .iter()
            .find(|queue| inbox.makes_wait(**queue, size))?;
        self.may_hold_back().then_some(*full)
    }

    /// Holds back a message, and input from it on, for as long as it does not fit into `queue`.
    #[cold]
    #[inline(never)]
    pub(super) fn hold_back(&mut self, mut message: Message, queues: &[QueueId], queue: QueueId) {
        debug_assert_eq!(message.qos, QoS::AtMostOnce);
        let Some(since) = self.session.inbox.clock() else {
            return;
        };
        let look_at = self.session.inbox.look_for_reader(queue, since);
        self.stats.pauses += 1;
        self.session.inbox.part(&mut message);
        self.held_back = Some(Box::new(HeldBack {
            message,
            queues: queues.to_vec(),
            queue,
            since,
            look_at: look_at.unwrap_or(since),
            packets: VecDeque::new(),
            copied: BytesMut::new(),
            bytes: 0,
            unreadable: None,
        }));
    }

    /// When to look after the queues next.
    pub(super) fn queues_deadline(&self) -> Option<Instant> {
        let held = (self.held_back.as_ref()).map(|held| match self.waits_on(held) {
            true => held.look_at,
            false => held.since, // at once
        });
        let report_at = (self.session.inbox.report_at()).filter(|_| self.is_connected());
        let others = report_at.into_iter().chain(self.standstill_due());
        held.into_iter().chain(others).min()
    }

    /// Goes on with what was held back, as soon as it may; finds readers that have forgotten their queue, and queues that
    /// withhold acknowledgements for too long.
    pub(super) fn look_after_queues(&mut self, now: Instant) {
        if self.is_connected() {
            for queue in self.session.inbox.stalled(now) {
                self.stats.stalls += 1;
                self.events.push_back(Event::Stalled(queue));
            }
            self.report_standstill(now);
        }
        if let Some(held) = &mut self.held_back
            && held.look_at <= now
            && let Some(look_at) = self.session.inbox.look_for_reader(held.queue, now)
        {
            held.look_at = look_at;
        }
        self.go_on(now);
    }

    /// The connection is about to end: takes all that was held back, as if an answer were awaited.
    pub(super) fn take_all_held_back(&mut self, now: Instant) {
        if self.held_back.is_some() {
            self.must_read = true;
            self.take_held_back(now);
            self.must_read = false;
        }
    }

    /// Takes the message that was held back and no longer needs to be. Nobody will read the packets behind it.
    pub(super) fn keep_held_back_message(&mut self) {
        if let Some(held) = self.held_back.take() {
            self.must_read = true;
            self.deliver_again(held.queues, held.message);
            self.must_read = false;
        }
    }

    /// The client ends: leaves the message that was held back to the next one, which can report what becomes of it.
    pub(super) fn keep_held_back_message_for_later(&mut self) {
        if let Some(held) = self.held_back.take() {
            self.session.inbox.waiting = Some(Box::new((held.queues, held.message)));
        }
    }

    /// Delivers the message that an earlier client of the session has left.
    pub(super) fn deliver_what_waited(&mut self) {
        if let Some(waiting) = self.session.inbox.waiting.take() {
            let (queues, message) = *waiting;
            self.deliver_again(queues, message);
        }
    }

    /// Delivers a message that was held back to its queues, as far as they are open still; else to the default one.
    #[cold]
    #[inline(never)]
    fn deliver_again(&mut self, mut queues: Vec<QueueId>, message: Message) {
        queues.retain(|queue| self.session.inbox.is_open(*queue));
        if queues.is_empty() {
            queues.push(QueueId::DEFAULT);
        }
        self.deliver_to(&queues, message);
    }

    #[cold]
    fn take_held_back(&mut self, now: Instant) {
        let Some(held) = self.held_back.take() else {
            return;
        };
        let must_read = self.must_read;
        self.must_read |= held.bytes > MOST_HELD;
        self.go_on_with(now, *held);
        self.must_read = must_read;
    }

    fn go_on_with(&mut self, now: Instant, mut held: HeldBack) {
        held.finish_copied();
        let HeldBack {
            message,
            queues,
            mut packets,
            mut bytes,
            unreadable,
            ..
        } = held;
        self.deliver_again(queues, message);
        self.send_released_acks(); // a message that has left for it may have been held
        while self.reads() {
            if let Some(held) = &mut self.held_back {
                held.append(packets, bytes);
                held.end_with(unreadable);
                return;
            }
            let Some(next) = packets.pop_front() else {
                break;
            };
            bytes -= next.len();
            self.take_packets(now, &next, next.len());
        }
        if let Some(unreadable) = unreadable
            && self.reads()
        {
            self.refuse_packet(now, unreadable);
        }
    }
}
