//! PUBLISH (section 3.3): the packet, and a borrowed form of it that is encoded without taking anything over.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    PacketId, PacketType, Properties, PropertyPlace, ProtocolVersion, QoS, packet_len, read_boxed,
    read_packet_id,
};
use crate::codec::{BodyReader, put_var_int, var_int_len};
use crate::debug_fields;
use crate::error::DecodeError;
use crate::slips::{Slip, Slips};
use crate::text::{self, Utf8String};

const DUP: u8 = 0b1000;
const RETAIN: u8 = 0b0001;

/// A PUBLISH packet. `Debug` shows the length of its payload.
#[derive(Clone, PartialEq, Eq)]
pub struct PublishPacket {
    /// Sent before (MQTT-3.3.1-1).
    pub dup: bool,
    /// Quality of Service.
    pub qos: QoS,
    /// Kept by the server, or sent because it was kept.
    pub retain: bool,
    /// Topic Name; empty only beside a Topic Alias.
    pub topic: Utf8String,
    /// Packet Identifier: present exactly at QoS 1 and 2 (MQTT-2.2.1-2).
    pub packet_id: Option<PacketId>,
    /// Properties (5.0), if any.
    pub properties: Option<Box<Properties>>,
    /// Application Message.
    pub payload: Bytes,
}

debug_fields!(PublishPacket {
    dup,
    qos,
    retain,
    topic,
    packet_id,
    properties,
    payload: length
});

impl PublishPacket {
    pub(super) fn encode(&self, version: ProtocolVersion, out: &mut BytesMut) {
        let publish = self.borrowed();
        publish.encode_header(version, out);
        out.put_slice(&self.payload);
    }

    /// The same packet as references.
    pub fn borrowed(&self) -> PublishRef<'_> {
        PublishRef {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: self.topic.as_bytes(),
            packet_id: self.packet_id,
            properties: self.properties.as_deref(),
            payload_len: self.payload.len(),
        }
    }

    pub(super) fn decode(
        first_byte: u8,
        version: ProtocolVersion,
        mut body: BodyReader<'_>,
        slips: &mut Slips,
    ) -> Result<Self, DecodeError> {
        let mut dup = first_byte & DUP != 0;
        let Some(qos) = QoS::from_value(first_byte >> 1 & 3) else {
            return Err(DecodeError::malformed("PUBLISH has QoS 3"));
        };
        if dup && qos == QoS::AtMostOnce {
            let refusal = DecodeError::malformed("PUBLISH has DUP set at QoS 0");
            slips.tolerate(Slip::DupAtQos0, refusal)?;
            dup = false;
        }
        let topic = body.topic()?;
        let packet_id = match qos {
            QoS::AtMostOnce => None,
            _ => Some(read_packet_id(&mut body)?),
        };
        let properties = if version.is_v5() {
            read_boxed(PropertyPlace::of(PacketType::Publish), &mut body)?
        } else {
            None
        };
        let alias = properties.as_ref().is_some_and(|p| p.topic_alias.is_some());
        if topic.is_empty() && !alias {
            return Err(DecodeError::protocol(
                "PUBLISH has neither topic nor Topic Alias",
            ));
        }
        if let Some(properties) = &properties {
            check_response_topic(properties)?;
        }
        Ok(Self {
            dup,
            qos,
            retain: first_byte & RETAIN != 0,
            topic,
            packet_id,
            properties,
            payload: body.rest(),
        })
    }
}

/// Whether the Response Topic of a message, or of a will, is one that can be published to (MQTT-3.3.2-14, MQTT-4.7.3-1).
pub(super) fn check_response_topic(properties: &Properties) -> Result<(), DecodeError> {
    match &properties.response_topic {
        Some(topic) if topic.is_empty() => Err(DecodeError::protocol("Response Topic is empty")),
        Some(topic) if text::has_wildcard(topic.as_bytes()) => {
            Err(DecodeError::protocol("Response Topic contains a wildcard"))
        }
        _ => Ok(()),
    }
}

/// What [`PublishRef::memory_size`] counts for a message beside its topic, payload and properties, in bytes: the message
/// itself, its place in a queue, and what an allocator adds to each piece of memory.
pub const MESSAGE_OVERHEAD: usize = 128;

/// A PUBLISH packet without its payload, as references to what the caller holds.
#[derive(Clone, Copy, Debug)]
pub struct PublishRef<'a> {
    /// Sent before.
    pub dup: bool,
    /// Quality of Service.
    pub qos: QoS,
    /// Retain flag.
    pub retain: bool,
    /// Topic Name in UTF-8.
    pub topic: &'a [u8],
    /// Packet Identifier, at QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// Properties, if any.
    pub properties: Option<&'a Properties>,
    /// Length of the payload that follows the header.
    pub payload_len: usize,
}

impl PublishRef<'_> {
    /// Length of the properties without their length field; `None` where there is no such field.
    #[inline]
    fn properties_len(&self, version: ProtocolVersion) -> Option<usize> {
        let properties = self.properties.map_or(0, Properties::len_in_publish);
        version.is_v5().then_some(properties)
    }

    #[inline]
    fn remaining_length(&self, properties_len: Option<usize>) -> usize {
        let packet_id = if self.qos == QoS::AtMostOnce { 0 } else { 2 };
        let properties = properties_len.map_or(0, |length| var_int_len(length) + length);
        2 + self.topic.len() + packet_id + properties + self.payload_len
    }

    /// Length of the whole packet, payload included: what Maximum Packet Size limits (MQTT-3.2.2-15).
    pub fn packet_len(&self, version: ProtocolVersion) -> usize {
        packet_len(self.remaining_length(self.properties_len(version)))
    }

    /// Appends all but the payload, which the caller appends or sends behind it.
    ///
    /// Short fields are joined: each append looks whether there is room, which takes longer than to write them.
    pub fn encode_header(&self, version: ProtocolVersion, out: &mut BytesMut) {
        let properties_len = self.properties_len(version);
        let remaining = self.remaining_length(properties_len);
        let [high, low] = (self.topic.len() as u16).to_be_bytes();
        if remaining <= 0x7f {
            out.put_slice(&[self.first_byte(), remaining as u8, high, low]);
        } else {
            out.put_u8(self.first_byte());
            put_var_int(out, remaining);
            out.put_slice(&[high, low]);
        }
        out.put_slice(self.topic);
        let packet_id = self.packet_id.map_or(0, PacketId::get).to_be_bytes();
        match (self.packet_id, properties_len) {
            (None, None) => {}
            (Some(_), None) => out.put_slice(&packet_id),
            (None, Some(length)) => put_var_int(out, length),
            (Some(_), Some(length @ ..=0x7f)) => {
                out.put_slice(&[packet_id[0], packet_id[1], length as u8]);
            }
            (Some(_), Some(length)) => {
                out.put_slice(&packet_id);
                put_var_int(out, length);
            }
        }
        if let (Some(properties), Some(1..)) = (self.properties, properties_len) {
            properties.encode_in_publish(out);
        }
    }

    /// How many bytes of memory the message counts in every bound of bytes: its topic, its payload, its properties
    /// ([`Properties::memory_size`]), and [`MESSAGE_OVERHEAD`] bytes.
    ///
    /// That is about what it takes on the heap, as long as it shares no larger memory.
    #[inline]
    pub fn memory_size(&self) -> usize {
        let properties = self.properties.map_or(0, Properties::memory_size);
        MESSAGE_OVERHEAD + self.topic.len() + self.payload_len + properties
    }

    fn first_byte(&self) -> u8 {
        let mut first_byte = (PacketType::Publish as u8) << 4 | self.qos.value() << 1;
        if self.dup {
            first_byte |= DUP;
        }
        if self.retain {
            first_byte |= RETAIN;
        }
        first_byte
    }
}
