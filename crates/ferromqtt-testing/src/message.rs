//! A message, and its way to one session.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ferromqtt_proto::packet::{
    Packet, PacketId, Properties, ProtocolVersion, PublishPacket, PublishRef, QoS,
    SubscriptionIdentifiers, Will,
};
use ferromqtt_proto::{TopicFilter, Utf8String, debug_fields};

use crate::aliases::{AliasUse, BrokerAliases};
use crate::memory::{self, Holding, Meter};
use crate::output::{ConnectionOutput, OWN_CHUNK};
use crate::session::SessionId;

/// An Application Message as it was published. A clone shares all of it.
#[derive(Clone)]
pub(crate) struct PublishedMessage {
    pub(crate) topic: Utf8String,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: Option<Arc<Properties>>,
    /// Who published it, for No Local.
    pub(crate) publisher: SessionId,
    /// When it came, for Message Expiry.
    pub(crate) received: Instant,
}

debug_fields!(PublishedMessage {
    topic,
    payload: length,
    qos,
    retain,
    properties,
    publisher,
    received
});

impl PublishedMessage {
    pub(crate) fn from_publish(now: Instant, publish: PublishPacket, publisher: SessionId) -> Self {
        Self {
            topic: publish.topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            properties: publish.properties.map(|properties| Arc::new(*properties)),
            publisher,
            received: now,
        }
    }

    /// The message that a will becomes when it is published at `now`.
    pub(crate) fn from_will(now: Instant, will: Will, publisher: SessionId) -> Self {
        let mut properties = will.properties;
        properties.will_delay_interval = None;
        Self {
            topic: will.topic,
            payload: will.payload,
            qos: will.qos,
            retain: will.retain,
            properties: (!properties.is_empty()).then(|| Arc::new(properties)),
            publisher,
            received: now,
        }
    }

    /// Bytes of memory that a copy of its own takes.
    pub(crate) fn memory_size(&self) -> usize {
        memory::message_size(self)
    }

    /// A copy with memory of its own: what is kept must not hold back a receive buffer. A large payload has its own already
    /// (see [`own_memory`]).
    pub(crate) fn detached(&self) -> Self {
        let payload = match self.payload.len() {
            OWN_CHUNK.. => self.payload.clone(),
            _ => Bytes::copy_from_slice(&self.payload),
        };
        let properties = self.properties.as_deref().map(|properties| {
            let mut properties = properties.clone();
            properties.detach();
            Arc::new(properties)
        });
        Self {
            topic: self.topic.detached(),
            payload,
            properties,
            ..*self
        }
    }

    /// Seconds of its Message Expiry Interval that are left: `None` when it has none, `Some(0)` when it is over.
    fn seconds_left(&self, now: Instant) -> Option<u32> {
        let interval = self.properties.as_ref()?.message_expiry_interval?;
        let waited = now.saturating_duration_since(self.received);
        let waited = u32::try_from(waited.as_secs()).unwrap_or(u32::MAX);
        Some(interval.saturating_sub(waited))
    }

    /// Whether its Message Expiry Interval is over (MQTT-3.3.2-5).
    pub(crate) fn expired(&self, now: Instant) -> bool {
        let interval = self
            .properties
            .as_ref()
            .and_then(|p| p.message_expiry_interval);
        interval.is_some_and(|seconds| {
            now.saturating_duration_since(self.received) >= Duration::from_secs(seconds.into())
        })
    }
}

/// Copies a large payload that makes up less than half of the `buffer` bytes that it came in, so that a large payload holds
/// back no more than its own size. Smaller ones are copied where they are kept.
pub(crate) fn own_memory(payload: Bytes, buffer: usize) -> Bytes {
    if payload.len() >= OWN_CHUNK && payload.len() < buffer / 2 {
        return Bytes::copy_from_slice(&payload);
    }
    payload
}

/// A message with memory of its own, counted as long as anybody holds it.
#[derive(Debug)]
pub(crate) struct Kept {
    message: PublishedMessage,
    /// Its [`PublishedMessage::memory_size`].
    pub(crate) size: usize,
    _held: Holding,
}

impl Kept {
    /// Keeps a copy of `message`. `around` are the bytes of what stands around it.
    pub(crate) fn new(message: &PublishedMessage, around: usize, meter: &Meter) -> Arc<Self> {
        let size = message.memory_size();
        Arc::new(Self {
            message: message.detached(),
            size,
            _held: meter.hold(size + around),
        })
    }
}

impl Deref for Kept {
    type Target = PublishedMessage;

    fn deref(&self) -> &PublishedMessage {
        &self.message
    }
}

/// A message on its way to sessions. The first that keeps it makes the copy that all of them share.
pub(crate) struct Routed<'a> {
    pub(crate) message: &'a PublishedMessage,
    kept: Option<Arc<Kept>>,
}

impl<'a> Routed<'a> {
    pub(crate) const fn new(message: &'a PublishedMessage) -> Self {
        let kept = None;
        Self { message, kept }
    }

    /// One that is kept already.
    pub(crate) fn kept(kept: &'a Arc<Kept>) -> Self {
        Self {
            message: kept,
            kept: Some(Arc::clone(kept)),
        }
    }

    /// Bytes that a session has to answer for.
    pub(crate) fn size(&self) -> usize {
        (self.kept.as_ref()).map_or_else(|| self.message.memory_size(), |kept| kept.size)
    }

    /// Bytes that keeping it adds to those that are held already.
    pub(crate) fn additional_size(&self) -> usize {
        self.kept.as_ref().map_or_else(|| self.size(), |_| 0)
    }

    pub(crate) fn keep(&mut self, meter: &Meter) -> Arc<Kept> {
        let kept = (self.kept).get_or_insert_with(|| Kept::new(self.message, 0, meter));
        Arc::clone(kept)
    }
}

/// How a message goes to one session, whatever matched there.
#[derive(Clone, Debug)]
pub(crate) struct DeliveryTerms {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) subscription_identifiers: SubscriptionIdentifiers,
    /// The Shared Subscription that it was taken from: others who share it may get it instead.
    pub(crate) shared: Option<TopicFilter>,
}

/// Where a PUBLISH packet goes.
pub(crate) struct PublishTarget<'a> {
    pub(crate) output: &'a mut ConnectionOutput,
    pub(crate) version: ProtocolVersion,
    pub(crate) maximum_packet_size: usize,
    pub(crate) aliases: &'a mut BrokerAliases,
}

impl PublishTarget<'_> {
    /// Writes a packet, unless it is larger than the client takes: then it says `false`.
    pub(crate) fn packet(&mut self, packet: &Packet) -> bool {
        self.output
            .packet(packet, self.version, self.maximum_packet_size)
    }

    /// Writes the PUBLISH packet, unless it is larger than the client takes (MQTT-3.1.2-24): then it says `false`.
    pub(crate) fn publish(
        &mut self,
        now: Instant,
        message: &PublishedMessage,
        terms: &DeliveryTerms,
        flight: Option<(PacketId, bool)>,
    ) -> bool {
        let alias = self.aliases.offer(&message.topic);
        if let Some(used) = alias
            && self.publish_with(now, message, terms, flight, alias)
        {
            self.aliases.sent(&message.topic, used);
            return true;
        }
        self.publish_with(now, message, terms, flight, None)
    }

    fn publish_with(
        &mut self,
        now: Instant,
        message: &PublishedMessage,
        terms: &DeliveryTerms,
        flight: Option<(PacketId, bool)>,
        alias: Option<AliasUse>,
    ) -> bool {
        let changed = self.changed_properties(now, message, terms, alias);
        let publish = PublishRef {
            dup: flight.is_some_and(|(_, dup)| dup),
            qos: terms.qos,
            retain: terms.retain,
            topic: match alias {
                Some(AliasUse { known: true, .. }) => b"",
                _ => message.topic.as_bytes(),
            },
            packet_id: flight.map(|(packet_id, _)| packet_id),
            properties: changed.as_ref().or(message.properties.as_deref()),
            payload_len: message.payload.len(),
        };
        if publish.packet_len(self.version) > self.maximum_packet_size {
            return false;
        }
        self.output
            .publish(&publish, &message.payload, self.version);
        true
    }

    /// The properties, where they differ from the published ones: for the rest of the time that the message may live
    /// (MQTT-3.3.2-6), for the subscriptions that it matched (MQTT-3.3.4-3), and for a Topic Alias.
    fn changed_properties(
        &self,
        now: Instant,
        message: &PublishedMessage,
        terms: &DeliveryTerms,
        alias: Option<AliasUse>,
    ) -> Option<Properties> {
        let seconds_left = message.seconds_left(now);
        let unchanged =
            seconds_left.is_none() && terms.subscription_identifiers.is_empty() && alias.is_none();
        if !self.version.is_v5() || unchanged {
            return None;
        }
        let mut properties = message.properties.as_deref().cloned().unwrap_or_default();
        properties.message_expiry_interval = seconds_left;
        properties.topic_alias = alias.map(|used| used.alias);
        properties
            .subscription_identifiers
            .clone_from(&terms.subscription_identifiers);
        Some(properties)
    }
}
