//! A received message.

use std::str::Utf8Error;

use bytes::Bytes;

use super::deliveries::DeliveryId;
use crate::debug_fields;
use crate::packet::{PacketId, Properties, PublishRef, QoS};
use crate::topic::TopicName;

/// A received message. `Debug` shows the length of its payload.
///
/// Its topic, payload and properties are slices of the memory that the driver read into, and keep all of that alive: often
/// 64 KiB, for a payload of one byte. [Detach](Self::detach) a message that you keep for long. Messages that wait in a queue
/// are detached for you, as soon as the queues keep much more memory alive than their messages count.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Topic Name it was published to.
    pub topic: TopicName,
    /// Application Message. It shares the memory that was read into; see [`Message::detach`].
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
    /// application ([`Acknowledge::ByApplication`](crate::Acknowledge::ByApplication)) and the QoS is 1 or 2.
    pub delivery: Option<DeliveryId>,
}

debug_fields!(Message {
    topic,
    payload: length,
    qos,
    retain,
    dup,
    packet_id,
    properties,
    delivery
});

impl Message {
    /// A message as it would be received at QoS 0, without RETAIN and properties: for tests of what handles messages, and
    /// for drivers. The other fields can be set afterwards.
    pub fn new(topic: TopicName, payload: impl Into<Bytes>) -> Self {
        Self {
            topic,
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            dup: false,
            packet_id: None,
            properties: None,
            delivery: None,
        }
    }

    /// How many bytes of memory the message counts in the bounds of a queue ([`QueueOptions::bytes`]): its topic, its
    /// payload, its properties, and 128 bytes for the message itself. Detaching does not change it.
    ///
    /// [`QueueOptions::bytes`]: crate::QueueOptions::bytes
    #[inline]
    pub fn memory_size(&self) -> usize {
        PublishRef {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: self.topic.as_utf8().as_bytes(),
            packet_id: self.packet_id,
            properties: self.properties.as_deref(),
            payload_len: self.payload.len(),
        }
        .memory_size()
    }

    /// The payload as text: nothing is copied or replaced.
    ///
    /// Whether the sender meant it as text, [`Properties::payload_format_indicator`] may say (5.0). For a payload that may have
    /// been damaged on the way there is [`String::from_utf8_lossy`].
    ///
    /// # Errors
    /// When the payload is not UTF-8. The error says where it ends to be, and shows nothing of it.
    ///
    /// ```
    /// # use ferromqtt_proto::{Message, TopicName};
    /// fn celsius(message: &Message) -> Result<f64, Box<dyn std::error::Error>> {
    ///     Ok(message.text()?.trim().parse()?)
    /// }
    ///
    /// let message = Message::new(TopicName::new("temperature")?, "21.5");
    /// assert_eq!(celsius(&message)?, 21.5);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn text(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(&self.payload)
    }

    /// Copies topic, payload and properties into memory of their own size, so that the message keeps nothing else alive:
    /// from then on it takes about its [`memory_size`](Self::memory_size).
    ///
    /// For messages that are kept for long, a cache of latest values for example. One that is handled and dropped needs no
    /// copy; neither does one whose payload makes up most of what was read with it, such as one of a megabyte: it costs
    /// little more as it is, and copying it takes time and, for the moment, its size again.
    pub fn detach(&mut self) {
        self.topic = self.topic.detached();
        self.payload = Bytes::copy_from_slice(&self.payload);
        if let Some(properties) = &mut self.properties {
            properties.detach();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::MESSAGE_OVERHEAD;

    /// A message that is made of slices of one piece of memory.
    fn slices(memory: &Bytes) -> Message {
        let mut properties = Properties {
            message_expiry_interval: Some(1),
            content_type: Some("text/plain".try_into().unwrap()),
            correlation_data: Some(memory.slice(2..5)),
            subscription_identifiers: (1..9).collect(),
            ..Properties::default()
        };
        properties.subscription_identifiers.push(1);
        Message {
            topic: TopicName::from_wire(crate::Utf8String::from_wire(memory, 0..1).unwrap())
                .unwrap(),
            payload: memory.slice(1..2),
            qos: QoS::AtMostOnce,
            retain: false,
            dup: false,
            packet_id: None,
            properties: Some(Box::new(properties)),
            delivery: None,
        }
    }

    #[test]
    fn a_payload_is_text_when_all_of_it_is_utf_8() {
        let message = |payload: &'static [u8]| Message::new("t".parse().unwrap(), payload);
        assert_eq!(
            message("21.5 \u{b0}C".as_bytes()).text(),
            Ok("21.5 \u{b0}C")
        );
        assert_eq!(message(b"").text(), Ok(""));
        let error = message(b"geheim\xff").text().unwrap_err();
        assert_eq!(error.valid_up_to(), 6);
        assert!(!error.to_string().contains("geheim"), "{error}");
    }

    #[test]
    fn a_detached_message_is_equal_counts_the_same_and_keeps_nothing_else_alive() {
        let memory = Bytes::from(vec![b'a'; 100]);
        let before = slices(&memory);
        let mut message = before.clone();
        message.detach();
        assert_eq!(message, before);
        assert_eq!(message.memory_size(), before.memory_size());
        drop(before);
        assert!(memory.is_unique());
    }

    #[test]
    fn topic_payload_and_properties_count_and_so_does_the_message_itself() {
        let mut message = slices(&Bytes::from(vec![b'a'; 100]));
        let properties = message.properties.as_ref().unwrap().memory_size();
        assert_eq!(message.memory_size(), MESSAGE_OVERHEAD + 1 + 1 + properties);
        message.properties = None;
        message.payload = Bytes::new();
        assert_eq!(message.memory_size(), MESSAGE_OVERHEAD + 1);
        assert!(size_of::<Message>() <= MESSAGE_OVERHEAD);
    }
}
