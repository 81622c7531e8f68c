//! Reading and writing PUBLISH packets, without a client.
//!
//! Half of the packets have QoS 0 and half QoS 1. In MQTT 5.0 the latter have a property, too.

use std::hint::black_box;

use bytes::{BufMut, Bytes, BytesMut};
use ferromqtt_proto::packet::{Packet, PublishPacket, decode, whole_packets};
use ferromqtt_proto::{CHUNK, Properties, ProtocolVersion, QoS};

use crate::message::packet;

pub(crate) struct Codec {
    version: ProtocolVersion,
    publishes: [PublishPacket; 2],
    out: BytesMut,
    /// Two packets, again and again, until a driver's read is full.
    encoded: Bytes,
    packets: usize,
}

impl Codec {
    pub(crate) fn new(version: ProtocolVersion) -> Self {
        let mut publishes = [packet(0, QoS::AtMostOnce), packet(0, QoS::AtLeastOnce)];
        if version.is_v5() {
            publishes[1].properties = Some(Box::new(Properties {
                message_expiry_interval: Some(60),
                ..Properties::default()
            }));
        }
        let mut encoded = BytesMut::new();
        let mut packets = 0;
        while encoded.len() < CHUNK {
            for publish in &publishes {
                Packet::Publish(publish.clone()).encode(version, &mut encoded);
                packets += 1;
            }
        }
        Self {
            version,
            publishes,
            out: BytesMut::new(),
            encoded: encoded.freeze(),
            packets,
        }
    }

    /// Encodes so many packets into a buffer that is emptied when a chunk is full.
    pub(crate) fn encode(&mut self, count: usize) {
        for number in 0..count {
            let publish = black_box(&self.publishes[number % 2]);
            publish
                .borrowed()
                .encode_header(self.version, &mut self.out);
            self.out.put_slice(&publish.payload);
            if self.out.len() >= CHUNK {
                black_box(&self.out);
                self.out.clear();
            }
        }
    }

    /// Decodes so many packets, read by read, and drops each.
    pub(crate) fn decode(&self, count: usize) {
        let mut missing = count;
        while missing > 0 {
            let whole = whole_packets(&self.encoded, usize::MAX).expect("they are well-formed");
            assert_eq!(whole.bytes, self.encoded.len());
            let mut at = 0;
            for _ in 0..self.packets.min(missing) {
                let packet = decode(black_box(&self.encoded), &mut at, self.version);
                assert!(black_box(&packet).is_ok());
                missing -= 1;
            }
        }
    }
}
