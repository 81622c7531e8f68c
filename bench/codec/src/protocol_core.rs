//! mqtt-protocol-core's codec: `PacketBuilder::feed` and `Publish::parse`, as its `Connection::recv` calls them, and
//! the buffers that its documentation tells an application to write.

use std::hint::black_box;

use bytes::BytesMut;
use mqtt_protocol_core::mqtt::common::{Arc, Cursor};
use mqtt_protocol_core::mqtt::connection::{
    PacketBuildResult, PacketBuilder, PacketData, RawPacket,
};
use mqtt_protocol_core::mqtt::packet::{
    GenericPacketTrait, MessageExpiryInterval, Property, Qos, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::MqttError;

use crate::codec::Codec;
use crate::message::Message;

/// Its Connection sets this limit when the server announces none.
const LARGEST_PACKET: usize =
    mqtt_protocol_core::mqtt::connection::MQTT_PACKET_SIZE_NO_LIMIT as usize;

/// The growing buffer is emptied when it holds so much: as much as one write of our client.
const WRITE_BUFFER: usize = ferromqtt_proto::CHUNK;

/// What the packet types of the two versions have in common.
pub(crate) trait Publish: GenericPacketTrait + Sized {
    fn parse(flags: u8, body: Arc<[u8]>) -> Result<(Self, usize), MqttError>;
    fn message(&self) -> Message;
}

pub(crate) struct ProtocolCore<P> {
    builder: PacketBuilder,
    publish: P,
    out: Vec<u8>,
}

pub(crate) fn v311(message: &Message) -> ProtocolCore<v3_1_1::Publish> {
    let publish = v3_1_1::Publish::builder()
        .topic_name(message.topic.as_str())
        .expect("the topic is valid")
        .qos(qos(message))
        .packet_id(message.packet_id)
        .payload(&message.payload)
        .build();
    ProtocolCore::new(publish.expect("the packet is valid"))
}

pub(crate) fn v5(message: &Message) -> ProtocolCore<v5_0::Publish> {
    let properties = message.message_expiry_interval.map(|interval| {
        let interval = MessageExpiryInterval::new(interval).expect("the interval is valid");
        Property::MessageExpiryInterval(interval)
    });
    let publish = v5_0::Publish::builder()
        .topic_name(message.topic.as_str())
        .expect("the topic is valid")
        .qos(qos(message))
        .packet_id(message.packet_id)
        .props(properties.into_iter().collect::<Vec<_>>())
        .payload(&message.payload)
        .build();
    ProtocolCore::new(publish.expect("the packet is valid"))
}

fn qos(message: &Message) -> Qos {
    if message.packet_id.is_some() {
        Qos::AtLeastOnce
    } else {
        Qos::AtMostOnce
    }
}

impl<P: Publish> ProtocolCore<P> {
    fn new(publish: P) -> Self {
        Self {
            builder: PacketBuilder::new(),
            publish,
            out: Vec::with_capacity(WRITE_BUFFER),
        }
    }
}

impl<P: Publish> Codec for ProtocolCore<P> {
    fn decode(&mut self, chunk: BytesMut) -> usize {
        let mut cursor = Cursor::new(&chunk[..]);
        let mut count = 0;
        while cursor.position() < chunk.len() as u64 {
            let PacketBuildResult::Complete(raw) = self.builder.feed(&mut cursor) else {
                panic!("the packet is not whole");
            };
            let packet: Result<(P, usize), MqttError> = parse(raw);
            assert!(black_box(&packet).is_ok());
            count += 1;
        }
        count
    }

    fn encode(&mut self, count: usize) -> usize {
        let mut written = 0;
        for _ in 0..count {
            let publish = black_box(&self.publish);
            assert!(publish.size() <= LARGEST_PACKET);
            // Its other way, `to_continuous_buffer`, costs more and then has to be copied as a whole.
            for buffer in publish.to_buffers() {
                self.out.extend_from_slice(&buffer);
            }
            if self.out.len() >= WRITE_BUFFER {
                written += black_box(&self.out).len();
                self.out.clear();
            }
        }
        written += black_box(&self.out).len();
        self.out.clear();
        written
    }

    fn packet(&self) -> Vec<u8> {
        self.publish.to_continuous_buffer()
    }

    fn read(&self, packet: &[u8]) -> Message {
        let result = PacketBuilder::new().feed(&mut Cursor::new(packet));
        let PacketBuildResult::Complete(raw) = result else {
            panic!("the packet is not whole");
        };
        let (publish, _) = parse::<P>(raw).expect("the packet is well-formed");
        publish.message()
    }
}

fn parse<P: Publish>(raw: RawPacket) -> Result<(P, usize), MqttError> {
    let flags = raw.flags();
    let PacketData::Publish(body) = raw.data else {
        panic!("no PUBLISH");
    };
    P::parse(flags, body)
}

impl Publish for v3_1_1::Publish {
    fn parse(flags: u8, body: Arc<[u8]>) -> Result<(Self, usize), MqttError> {
        Self::parse(flags, body)
    }

    fn message(&self) -> Message {
        Message {
            topic: self.topic_name().to_owned(),
            payload: self.payload().as_slice().to_vec(),
            packet_id: self.packet_id(),
            message_expiry_interval: None,
        }
    }
}

impl Publish for v5_0::Publish {
    fn parse(flags: u8, body: Arc<[u8]>) -> Result<(Self, usize), MqttError> {
        Self::parse(flags, body)
    }

    fn message(&self) -> Message {
        Message {
            topic: self.topic_name().to_owned(),
            payload: self.payload().as_slice().to_vec(),
            packet_id: self.packet_id(),
            message_expiry_interval: self.props().iter().find_map(|property| match property {
                Property::MessageExpiryInterval(interval) => Some(interval.val()),
                _ => None,
            }),
        }
    }
}
