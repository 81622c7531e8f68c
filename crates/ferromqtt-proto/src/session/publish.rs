//! The message that the application publishes.

use bytes::Bytes;

use crate::debug_fields;
use crate::packet::{PacketId, Properties, PublishRef, QoS};
use crate::topic::TopicName;

/// A message to publish. `Debug` shows the length of its payload.
#[derive(Clone, PartialEq, Eq)]
pub struct Publish {
    /// Topic Name.
    pub topic: TopicName,
    /// Application Message.
    pub payload: Bytes,
    /// Quality of Service.
    pub qos: QoS,
    /// RETAIN: the server is to keep it for later subscriptions.
    pub retain: bool,
    /// Properties (5.0), if any. Subscription Identifiers are not the caller's (MQTT-3.3.4-6).
    ///
    /// A Topic Alias stands for the topic until the connection ends, or until another topic is published to with it: the
    /// client leaves the topic out of the packet once the server knows it. A message that waits for another connection goes
    /// there with its topic, and without the alias, so its size counts with the topic.
    pub properties: Option<Box<Properties>>,
}

debug_fields!(Publish {
    topic,
    payload: length,
    qos,
    retain,
    properties
});

impl Publish {
    /// A message at QoS 0 without RETAIN and properties.
    pub fn new(topic: TopicName, payload: impl Into<Bytes>) -> Self {
        Self {
            topic,
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: None,
        }
    }

    /// Gives it these properties in place of those that it has. Correlation Data that it has stays unless other is given: a
    /// [response](Self::response) keeps that of its request.
    pub fn replace_properties(&mut self, mut properties: Properties) {
        let former = self.properties.take();
        if properties.correlation_data.is_none() {
            properties.correlation_data = former.and_then(|former| former.correlation_data);
        }
        self.properties = Some(Box::new(properties));
    }

    /// How many bytes of memory the message counts in the bounds of the outgoing queue
    /// ([`OutgoingLimits::bytes`](crate::OutgoingLimits::bytes)): its topic, its payload, its properties, and
    /// [`MESSAGE_OVERHEAD`](crate::packet::MESSAGE_OVERHEAD) bytes.
    pub fn memory_size(&self) -> usize {
        self.packet(None, false).memory_size()
    }

    pub(crate) fn packet(&self, packet_id: Option<PacketId>, dup: bool) -> PublishRef<'_> {
        PublishRef {
            dup,
            qos: self.qos,
            retain: self.retain,
            topic: self.topic.as_utf8().as_bytes(),
            packet_id,
            properties: self.properties.as_deref(),
            payload_len: self.payload.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn correlated(data: &'static str) -> Properties {
        Properties {
            correlation_data: Some(Bytes::from_static(data.as_bytes())),
            ..Properties::default()
        }
    }

    #[test]
    fn properties_are_replaced_and_correlation_data_stays_unless_other_is_given() {
        let mut publish = Publish::new(TopicName::new("t").unwrap(), "");
        let plain = Properties {
            message_expiry_interval: Some(7),
            ..Properties::default()
        };
        publish.replace_properties(correlated("asked"));
        publish.replace_properties(plain);
        let kept = Properties {
            message_expiry_interval: Some(7),
            ..correlated("asked")
        };
        assert_eq!(publish.properties.as_deref(), Some(&kept));
        publish.replace_properties(correlated("own"));
        assert_eq!(publish.properties.as_deref(), Some(&correlated("own")));
    }
}
