//! rumqttc's codec for 3.1.1: `Packet::read` and `Packet::write`, as its `Codec` calls them.

use std::hint::black_box;

use bytes::BytesMut;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, Publish};

use crate::codec::Codec;
use crate::message::Message;

/// What `MqttOptions` sets when nothing else is said, for both directions.
const LARGEST_PACKET: usize = 10 * 1024;

/// Its `Framed` writes to the socket when so much is waiting, and goes on with the same buffer.
pub(crate) const WRITE_BUFFER: usize = 8 * 1024;

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
        let mut publish = Publish::new(message.topic.clone(), qos, message.payload.clone());
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
            topic: publish.topic,
            payload: publish.payload.to_vec(),
            packet_id: (publish.pkid != 0).then_some(publish.pkid),
            message_expiry_interval: None,
        }
    }
}
