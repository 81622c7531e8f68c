//! rumqttc's codec for 5.0, whose packet types are others than those for 3.1.1.

use std::hint::black_box;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish, PublishProperties};

use crate::codec::Codec;
use crate::message::Message;
use crate::rumqttc_v4::WRITE_BUFFER;

/// As when the server announces a Maximum Packet Size: without one, this codec alone would be measured without the check.
const LARGEST_PACKET: Option<u32> = Some(10 * 1024);

pub(crate) struct Rumqttc {
    packet: Packet,
    out: BytesMut,
}

impl Rumqttc {
    pub(crate) fn new(message: &Message) -> Self {
        let qos = if message.packet_id.is_some() {
            QoS::AtLeastOnce
        } else {
            QoS::AtMostOnce
        };
        let properties = message
            .message_expiry_interval
            .map(|interval| PublishProperties {
                message_expiry_interval: Some(interval),
                ..PublishProperties::default()
            });
        let payload = message.payload.clone();
        let mut publish = Publish::new(message.topic.clone(), qos, payload, properties);
        publish.pkid = message.packet_id.unwrap_or(0);
        Self {
            packet: Packet::Publish(publish),
            out: BytesMut::with_capacity(WRITE_BUFFER),
        }
    }
}

impl Codec for Rumqttc {
    fn decode(&mut self, mut chunk: BytesMut) -> usize {
        let mut count = 0;
        while !chunk.is_empty() {
            let packet = Packet::read(&mut chunk, LARGEST_PACKET);
            assert!(black_box(&packet).is_ok());
            count += 1;
        }
        count
    }

    fn encode(&mut self, count: usize) -> usize {
        let mut written = 0;
        for _ in 0..count {
            black_box(&self.packet)
                .write(&mut self.out, LARGEST_PACKET)
                .expect("the packet can be written");
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
        let mut out = BytesMut::new();
        let written = self.packet.write(&mut out, LARGEST_PACKET);
        written.expect("the packet can be written");
        out.to_vec()
    }

    fn read(&self, packet: &[u8]) -> Message {
        let Ok(Packet::Publish(publish)) =
            Packet::read(&mut BytesMut::from(packet), LARGEST_PACKET)
        else {
            panic!("no PUBLISH");
        };
        Message {
            topic: String::from_utf8(publish.topic.to_vec()).expect("the topic is UTF-8"),
            payload: publish.payload.to_vec(),
            packet_id: (publish.pkid != 0).then_some(publish.pkid),
            message_expiry_interval: publish
                .properties
                .and_then(|properties| properties.message_expiry_interval),
        }
    }
}
