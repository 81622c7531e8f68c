//! Queues of received messages, from arrival until the application takes them.

use std::collections::HashMap;

use bytes::Bytes;

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
}

/// The name of a queue of received messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct QueueId(pub(crate) u32);

impl QueueId {
    /// The queue that always exists: messages that no other queue asked for.
    pub const DEFAULT: Self = Self(0);
}

/// What happens to a message that finds its queue full. QoS 1 and 2 messages are acknowledged all the same
/// (MQTT-4.5.0-2), and each loss is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest message leaves.
    #[default]
    DropOldest,
    /// The new message is not taken.
    DropNewest,
}

/// Bounds of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueOptions {
    /// How many messages it holds; `None` is no limit. Default: no limit.
    pub limit: Option<usize>,
    /// What happens beyond the limit. Default: the oldest message leaves.
    pub overflow: Overflow,
}

#[derive(Debug, Default)]
struct Queue {
    messages: Fifo<Message>,
    options: QueueOptions,
    lost: u64,
}

/// All queues.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    default: Queue,
    others: HashMap<QueueId, Queue>,
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
        self.others.insert(id, queue);
        id
    }

    /// Closes a queue; its messages are dropped. The default queue stays.
    pub(crate) fn close(&mut self, id: QueueId) {
        self.others.remove(&id);
    }

    pub(crate) fn is_open(&self, id: QueueId) -> bool {
        id == QueueId::DEFAULT || self.others.contains_key(&id)
    }

    fn queue_mut(&mut self, id: QueueId) -> Option<&mut Queue> {
        match id {
            QueueId::DEFAULT => Some(&mut self.default),
            _ => self.others.get_mut(&id),
        }
    }

    /// Appends a message, and tells whether the queue was empty before.
    pub(crate) fn push(&mut self, id: QueueId, message: Message) -> bool {
        let Some(queue) = self.queue_mut(id) else {
            return false;
        };
        let length = queue.messages.len();
        if queue.options.limit.is_some_and(|limit| length >= limit) {
            queue.lost += 1;
            let makes_room = match queue.options.overflow {
                Overflow::DropNewest => false,
                Overflow::DropOldest => queue.messages.pop().is_some(),
            };
            if !makes_room {
                return false;
            }
        }
        queue.messages.push(message);
        length == 0
    }

    pub(crate) fn pop(&mut self, id: QueueId) -> Option<Message> {
        self.queue_mut(id)?.messages.pop()
    }

    pub(crate) fn len(&self, id: QueueId) -> usize {
        match id {
            QueueId::DEFAULT => self.default.messages.len(),
            _ => self.others.get(&id).map_or(0, |queue| queue.messages.len()),
        }
    }

    /// How many messages the queue has lost since the last call.
    pub(crate) fn take_lost(&mut self, id: QueueId) -> u64 {
        self.queue_mut(id)
            .map_or(0, |queue| std::mem::take(&mut queue.lost))
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
        });
        let newest = inbox.open(QueueOptions {
            limit,
            overflow: Overflow::DropNewest,
        });
        for number in 0..5 {
            inbox.push(oldest, message(number));
            inbox.push(newest, message(number));
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
        assert!(inbox.push(QueueId::DEFAULT, message(1)));
        assert!(!inbox.push(QueueId::DEFAULT, message(2)));
        assert_eq!(drain(&mut inbox, QueueId::DEFAULT), [1, 2]);
        assert!(inbox.push(QueueId::DEFAULT, message(3)));
    }
}
