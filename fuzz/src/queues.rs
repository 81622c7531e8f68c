//! The application's side of received messages: it is told of them and of losses, takes them, and acknowledges some.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use ferromqtt_proto::{
    Acknowledge, Client, DeliveryId, Overflow, PacketId, QoS, QueueId, QueueOptions,
};

use crate::client_options;
use crate::packets;
use crate::properties;
use crate::source::Source;

/// Queues beside the default one.
const QUEUES: usize = 4;

/// The queues that one application has open, and what it knows of them.
#[derive(Debug)]
pub struct Queues {
    open: Vec<QueueId>,
    /// Those that were said to hold messages, and were not emptied since.
    ready: HashSet<QueueId>,
    /// Those that were said to have lost messages, and were not asked since.
    lagging: HashSet<QueueId>,
    /// Messages that the application has, or had, to acknowledge.
    deliveries: Vec<(DeliveryId, PacketId, QoS)>,
    unacknowledged: HashSet<DeliveryId>,
    /// Those that were handed over last with these identifiers. Some may be stale.
    handed_over: HashMap<(PacketId, QoS), HashSet<DeliveryId>>,
    /// Whether there is, or was, a queue that leaves messages unacknowledged.
    hold_back: bool,
}

impl Queues {
    /// The default queue alone.
    pub fn new(default: QueueOptions) -> Self {
        Self {
            open: vec![QueueId::DEFAULT],
            ready: HashSet::new(),
            lagging: HashSet::new(),
            deliveries: Vec::new(),
            unacknowledged: HashSet::new(),
            handed_over: HashMap::new(),
            hold_back: holds_back(default),
        }
    }

    /// Any of the open ones.
    pub fn choose(&self, source: &mut Source<'_>) -> QueueId {
        source.pick(&self.open)
    }

    /// The client says that `queue` holds messages.
    pub fn on_ready(&mut self, client: &Client, queue: QueueId) {
        assert!(
            client.queue_len(queue) > 0,
            "{queue:?} is said to hold a message"
        );
        self.ready.insert(queue);
    }

    /// The client says that `queue` has lost messages.
    pub fn on_lagged(&mut self, queue: QueueId) {
        assert!(self.lagging.insert(queue), "{queue:?} lags, told twice");
    }

    /// Nothing lies in a queue without somebody knowing.
    pub fn check(&self, client: &Client) {
        for &queue in &self.open {
            assert!(
                client.queue_len(queue) == 0 || self.ready.contains(&queue),
                "{queue:?} holds messages that nobody was told of"
            );
        }
    }

    /// Whether a message may have to wait for its acknowledgement.
    pub fn hold_back(&self, client: &Client) -> bool {
        let untaken = self.open.iter().any(|queue| client.queue_len(*queue) > 0);
        client.stats().awaiting_claim > 0
            || (self.hold_back && (untaken || !self.unacknowledged.is_empty()))
    }

    /// One queue more, or one less.
    pub fn open_or_close(&mut self, client: &mut Client, now: Instant, source: &mut Source<'_>) {
        if source.flag() && self.open.len() > 1 {
            let queue = self.open.pop().unwrap_or_default();
            if source.flag() {
                client.detach_queue(now, queue);
            } else {
                client.close_queue(queue);
            }
            // What is told of a queue after its end is told of none.
            self.ready.remove(&queue);
            self.lagging.remove(&queue);
        } else if self.open.len() <= QUEUES {
            let options = client_options::queue(source);
            self.hold_back |= holds_back(options);
            self.open.push(client.open_queue(options));
        }
    }

    /// The application reads a queue, and asks what it has lost.
    pub fn take(&mut self, client: &mut Client, source: &mut Source<'_>) {
        let queue = self.choose(source);
        for _ in 0..=source.below(4) {
            let before = client.queue_len(queue);
            let message = client.next_message(queue);
            assert_eq!(message.is_some(), before > 0);
            assert_eq!(client.queue_len(queue), before.saturating_sub(1));
            if let Some(message) = message
                && let (Some(delivery), Some(id)) = (message.delivery, message.packet_id)
            {
                self.deliveries.push((delivery, id, message.qos));
                self.unacknowledged.insert(delivery);
            }
        }
        let failed = client.has_failed(queue);
        if client.take_lost(queue) > 0 {
            assert!(self.lagging.remove(&queue), "lost, but nobody was told");
        } else {
            assert!(!failed, "failed, but nothing is lost");
        }
        assert!(!client.has_failed(queue), "{queue:?} stays failed");
        if client.queue_len(queue) == 0 {
            self.ready.remove(&queue);
        }
    }

    /// The application acknowledges a message, perhaps once more, or is about to; or who acknowledges changes.
    pub fn acknowledge(&mut self, client: &mut Client, source: &mut Source<'_>) {
        if self.deliveries.is_empty() {
            return;
        }
        let (delivery, id, qos) = source.pick(&self.deliveries);
        match source.below(8) {
            0 => {
                let properties = properties::some_of(&[15, 25], source);
                let reason = packets::reason(source);
                if client
                    .acknowledge_with(delivery, reason, properties)
                    .is_err()
                {
                    return;
                }
            }
            1 | 2 => {
                client.hand_over(delivery);
                self.handed_over
                    .entry((id, qos))
                    .or_default()
                    .insert(delivery);
                return;
            }
            3 | 4 => {
                if client.acknowledge_packet(id, qos) {
                    let known = self.handed_over.remove(&(id, qos));
                    let known = known.expect("nothing was handed over with this identifier");
                    for _ in 1..known.len() {
                        client.acknowledge_packet(id, qos); // several queues may hold it
                    }
                    self.unacknowledged
                        .retain(|delivery| !known.contains(delivery));
                    assert!(!client.acknowledge_packet(id, qos), "acknowledged twice");
                }
                return;
            }
            5 => {
                let queue = self.choose(source);
                let who = source.pick(&[Acknowledge::OnReceipt, Acknowledge::ByApplication]);
                client.set_acknowledge(queue, who);
                self.hold_back = true;
                return;
            }
            _ => client.acknowledge(delivery),
        }
        self.unacknowledged.remove(&delivery);
    }

    /// The process is another one, and its session has no queue but the default one.
    pub fn forget(&mut self) {
        self.open.truncate(1);
        self.ready.clear();
        self.lagging.clear();
        self.deliveries.clear();
        self.unacknowledged.clear();
        self.handed_over.clear();
    }
}

fn holds_back(options: QueueOptions) -> bool {
    options.overflow == Overflow::Wait || options.acknowledge == Acknowledge::ByApplication
}
