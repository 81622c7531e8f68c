//! Queues of received messages, from arrival until the application takes them.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::deliveries::DeliveryId;
use super::fifo::Fifo;
use crate::packet::{PacketId, Properties, QoS};
use crate::topic::TopicName;

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
    /// The queue that always exists: messages that no other queue asked for.
    pub const DEFAULT: Self = Self(0);
}

/// What happens to a message that finds its queue full. Each loss is counted, and told as
/// [`Event::Lagged`](crate::Event::Lagged). A QoS 1 or 2 message that is lost is acknowledged all the same (MQTT-4.5.0-2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest message leaves.
    #[default]
    DropOldest,
    /// The new message is not taken.
    DropNewest,
    /// A QoS 1 or 2 message is kept beyond the limit, and acknowledged only when the queue has room for it: so the server
    /// sends no more than its window, or our Receive Maximum, allows, and nothing is lost. QoS 0 has no acknowledgement to
    /// withhold: such a message is not taken.
    ///
    /// Acknowledgements leave in order of receipt (MQTT-4.6.0-2), so a queue like this that is full delays the server's
    /// window for all others. A reader that lets it stand still receives nothing on any queue after a while.
    Wait,
    /// The queue takes nothing more, until its reader has taken what it holds and learnt the loss from
    /// [`Client::take_lost`](crate::Client::take_lost): so the reader sees no gap without knowing.
    Fail,
}

/// Who says that a received message is done with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acknowledge {
    /// The client, when its queue has taken the message.
    #[default]
    OnReceipt,
    /// The application, by [`Client::acknowledge`](crate::Client::acknowledge) with [`Message::delivery`]. The server sends
    /// no more than its window, or our Receive Maximum, allows: who acknowledges in larger batches waits for ever.
    ByApplication,
}

/// Bounds of a queue, and how its messages are acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueOptions {
    /// How many messages it holds; `None` is no limit. Default: no limit.
    pub limit: Option<usize>,
    /// What happens beyond the limit. Default: the oldest message leaves.
    pub overflow: Overflow,
    /// Who acknowledges QoS 1 and 2 messages. Default: the client, on receipt.
    pub acknowledge: Acknowledge,
}

#[derive(Debug, Default)]
struct Queue {
    messages: Fifo<Message>,
    options: QueueOptions,
    lost: u64,
    /// It has overflown under [`Overflow::Fail`], and its reader does not know yet.
    failed: bool,
    /// Holds of the messages beyond the limit, in their order, under [`Overflow::Wait`].
    beyond: VecDeque<DeliveryId>,
}

impl Queue {
    fn is_full(&self) -> bool {
        (self.options.limit).is_some_and(|limit| self.messages.len() >= limit)
    }

    /// Whether a message of this QoS is to be held back: by the application, or until there is room.
    fn holds(&self, qos: QoS) -> bool {
        let waits = self.options.overflow == Overflow::Wait && self.is_full();
        qos != QoS::AtMostOnce && (waits || self.options.acknowledge == Acknowledge::ByApplication)
    }

    /// Whether the message is to be taken, and which one leaves for it.
    fn make_room(&mut self, qos: QoS) -> (bool, Option<Message>) {
        if self.failed {
            return (false, None);
        }
        if !self.is_full() {
            return (true, None);
        }
        match self.options.overflow {
            Overflow::Wait => (qos != QoS::AtMostOnce, None),
            Overflow::DropNewest => (false, None),
            Overflow::DropOldest => {
                let oldest = self.messages.pop();
                (oldest.is_some(), oldest)
            }
            Overflow::Fail => {
                self.failed = true;
                (false, None)
            }
        }
    }
}

/// What became of a message that was offered to a queue.
#[derive(Debug, Default)]
pub(crate) struct Pushed {
    /// The queue was empty before.
    pub(crate) first: bool,
    /// The queue has lost a message, and had lost none since the reader asked.
    pub(crate) first_loss: bool,
    /// Nobody holds this any more: its message is lost.
    pub(crate) let_go: Option<DeliveryId>,
}

/// All queues.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    default: Queue,
    /// By the numbers of their names.
    others: BTreeMap<u32, Queue>,
    last: u32,
}

impl Inbox {
    /// Sets the bounds of the default queue. What it holds already stays.
    pub(crate) const fn bound_default(&mut self, options: QueueOptions) {
        self.default.options = options;
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

    /// Closes a queue; its messages are dropped. The default queue stays. Returns what its messages held.
    pub(crate) fn close(&mut self, id: QueueId) -> Vec<DeliveryId> {
        let Some(mut queue) = self.others.remove(&id.0) else {
            return Vec::new();
        };
        let mut holds: Vec<_> = queue.beyond.drain(..).collect();
        holds.extend(
            std::iter::from_fn(|| queue.messages.pop()).filter_map(|message| message.delivery),
        );
        holds
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

    /// Whether the queue will hold back the acknowledgement of a message of this QoS that is pushed now.
    pub(crate) fn holds(&self, id: QueueId, qos: QoS) -> bool {
        self.queue(id).is_some_and(|queue| queue.holds(qos))
    }

    /// Offers a message to a queue; with `hold` when the queue [holds](Self::holds) its like.
    pub(crate) fn push(
        &mut self,
        id: QueueId,
        mut message: Message,
        hold: Option<DeliveryId>,
    ) -> Pushed {
        let Some(queue) = self.queue_mut(id) else {
            return Pushed {
                let_go: hold,
                ..Pushed::default()
            };
        };
        let was_full = queue.is_full();
        let (taken, left) = queue.make_room(message.qos);
        let loses = !taken || left.is_some();
        let first_loss = loses && queue.lost == 0;
        queue.lost += u64::from(loses);
        if !taken {
            return Pushed {
                first_loss,
                let_go: hold,
                ..Pushed::default()
            };
        }
        let first = queue.messages.len() == 0 && left.is_none();
        if queue.options.acknowledge == Acknowledge::ByApplication {
            message.delivery = hold;
        } else if was_full {
            queue.beyond.extend(hold);
        }
        queue.messages.push(message);
        Pushed {
            first,
            first_loss,
            let_go: left.and_then(|message| message.delivery),
        }
    }

    /// Takes the first message; and, when that makes room for one beyond the limit, what that one held.
    pub(crate) fn pop(&mut self, id: QueueId) -> (Option<Message>, Option<DeliveryId>) {
        let Some(queue) = self.queue_mut(id) else {
            return (None, None);
        };
        let message = queue.messages.pop();
        (message, queue.beyond.pop_front())
    }

    pub(crate) fn len(&self, id: QueueId) -> usize {
        self.queue(id).map_or(0, |queue| queue.messages.len())
    }

    /// Whether the queue takes nothing more, and its reader has taken all that it held.
    pub(crate) fn has_failed(&self, id: QueueId) -> bool {
        (self.queue(id)).is_some_and(|queue| queue.failed && queue.messages.len() == 0)
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
        std::iter::from_fn(|| inbox.pop(id).0)
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
}
