//! What is held for sessions and as retained messages, counted in bytes of memory.
//!
//! Whoever keeps something keeps a [`Holding`] beside it, so that the count falls when, and only when, the memory is given
//! back. A size is that of the whole: topic, properties, payload, and a fixed overhead for what stands around them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use ferromqtt_proto::packet::{PublishRef, Will};
use ferromqtt_proto::{TopicFilter, Utf8String};

use crate::message::{DeliveryTerms, Kept, PublishedMessage};
use crate::session::BrokerSession;

/// What the allocator and reference counts take for one piece of memory.
const ALLOCATION: usize = 48;

/// A place in a map, with its spare room.
const MAP_ENTRY: usize = 64;

/// A node in a tree of topics, where each filter or topic adds at most two.
const NODE: usize = 128;

/// The bytes that are held at the moment. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(Arc<AtomicUsize>);

impl Meter {
    pub(crate) fn held(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether `more` bytes stay within `limit`.
    pub(crate) fn has_room(&self, more: usize, limit: usize) -> bool {
        self.held().saturating_add(more) <= limit
    }

    pub(crate) fn hold(&self, bytes: usize) -> Holding {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Holding {
            meter: self.clone(),
            bytes,
        }
    }
}

/// Bytes that are counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Holding {
    meter: Meter,
    bytes: usize,
}

impl Holding {
    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.meter.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn take_off(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.meter.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.meter.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A message that is kept: as the core counts it, and what stands around it here.
pub(crate) fn message_size(message: &PublishedMessage) -> usize {
    let publish = PublishRef {
        dup: false,
        qos: message.qos,
        retain: message.retain,
        topic: message.topic.as_bytes(),
        packet_id: None,
        properties: message.properties.as_deref(),
        payload_len: message.payload.len(),
    };
    publish.memory_size() + size_of::<Kept>() + ALLOCATION
}

pub(crate) fn will_size(will: &Will) -> usize {
    let overhead = size_of::<Will>() + 3 * ALLOCATION;
    overhead + will.topic.len() + will.payload.len() + will.properties.memory_size()
}

/// A session without subscriptions and messages.
pub(crate) fn session_size(client_identifier: &Utf8String) -> usize {
    size_of::<BrokerSession>() + 2 * (ALLOCATION + MAP_ENTRY) + client_identifier.len()
}

/// A subscription: in its session and in the tree.
pub(crate) fn subscription_size(filter: &TopicFilter) -> usize {
    2 * (MAP_ENTRY + NODE) + ALLOCATION + 2 * filter.len()
}

/// What stands around one message in the queue of one session or in flight to it. Also what is left of one of QoS 2 after
/// PUBREC, when its Packet Identifier waits for PUBCOMP.
pub(crate) const QUEUE_ENTRY: usize = 256;

/// One message in the queue of one session, beside the message itself, which several may share.
///
/// The name of a Shared Subscription counts with each message that was taken from it, although they share its text: the
/// message alone keeps it alive when the subscription has ended.
pub(crate) fn queue_entry_size(terms: &DeliveryTerms) -> usize {
    let share = terms.shared.as_ref().map_or(0, |filter| filter.len());
    QUEUE_ENTRY + terms.subscription_identifiers.len() * size_of::<u32>() + share
}

/// The Packet Identifier of a QoS 2 message from the client that waits for PUBREL: in its session, and in its connection.
pub(crate) const UNRELEASED: usize = 2 * 8;

/// A topic in the map of retained messages, beside the message itself.
pub(crate) const fn retained_entry_size(topic: usize) -> usize {
    MAP_ENTRY + 2 * NODE + topic
}

/// Gives a will memory of its own.
pub(crate) fn detach_will(will: &mut Will) {
    will.topic = will.topic.detached();
    will.payload = Bytes::copy_from_slice(&will.payload);
    will.properties.detach();
}
