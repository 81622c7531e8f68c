//! Our codec, as `Client::handle_input` and the transmit buffer behind `Client::poll_transmit` use it.

use std::hint::black_box;

use bytes::{BufMut, Bytes, BytesMut};
use ferromqtt_proto::codec::MAX_REMAINING_LENGTH;
use ferromqtt_proto::packet::{Packet, PacketId, PublishPacket, decode, whole_packets};
use ferromqtt_proto::{CHUNK, Properties, ProtocolVersion, QoS, Utf8String};

use crate::codec::Codec;
use crate::message::Message;

const LARGEST_PACKET: usize = 5 + MAX_REMAINING_LENGTH;

pub(crate) struct Ferromqtt {
    version: ProtocolVersion,
    publish: PublishPacket,
    chunks: Chunks,
    out: BytesMut,
}

/// What happens when a chunk is full.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunks {
    /// The same buffer is used again, as in every other codec's row.
    Reused,
    /// The chunk is handed over, and the next one grows from nothing, as in the client of today.
    New,
}

impl Ferromqtt {
    pub(crate) fn new(message: &Message, version: ProtocolVersion, chunks: Chunks) -> Self {
        let packet_id = message
            .packet_id
            .map(|id| PacketId::new(id).expect("the Packet Identifier is not 0"));
        let properties = message.message_expiry_interval.map(|interval| {
            Box::new(Properties {
                message_expiry_interval: Some(interval),
                ..Properties::default()
            })
        });
        let publish = PublishPacket {
            dup: false,
            qos: if packet_id.is_some() {
                QoS::AtLeastOnce
            } else {
                QoS::AtMostOnce
            },
            retain: false,
            topic: Utf8String::try_from(message.topic.as_str()).expect("the topic is valid"),
            packet_id,
            properties,
            payload: Bytes::from(message.payload.clone()),
        };
        Self {
            version,
            publish,
            chunks,
            out: BytesMut::new(),
        }
    }

    /// Writes the packet as the client does, with its check of the Maximum Packet Size.
    fn append(&self, out: &mut BytesMut) {
        let publish = black_box(&self.publish);
        let header = publish.borrowed();
        assert!(header.packet_len(self.version) <= LARGEST_PACKET);
        header.encode_header(self.version, out);
        out.put_slice(&publish.payload);
    }

    /// Hands over what has been written; tells how much that was.
    fn flush(&self, out: &mut BytesMut) -> usize {
        let written = black_box(&*out).len();
        match self.chunks {
            Chunks::Reused => out.clear(),
            Chunks::New => drop(black_box(std::mem::take(out).freeze())),
        }
        written
    }
}

impl Codec for Ferromqtt {
    fn decode(&mut self, mut chunk: BytesMut) -> usize {
        let whole = whole_packets(&chunk, LARGEST_PACKET).expect("the chunk is well-formed");
        let source = chunk.split_to(whole.bytes).freeze();
        let mut at = 0;
        let mut count = 0;
        while at < source.len() {
            let packet = decode(&source, &mut at, self.version);
            assert!(black_box(&packet).is_ok());
            count += 1;
        }
        count
    }

    fn encode(&mut self, count: usize) -> usize {
        let mut out = std::mem::take(&mut self.out);
        let mut written = 0;
        for _ in 0..count {
            self.append(&mut out);
            if out.len() >= CHUNK {
                written += self.flush(&mut out);
            }
        }
        written += self.flush(&mut out);
        self.out = out;
        written
    }

    fn packet(&self) -> Vec<u8> {
        let mut out = BytesMut::new();
        self.append(&mut out);
        out.to_vec()
    }

    fn read(&self, packet: &[u8]) -> Message {
        let source = Bytes::copy_from_slice(packet);
        let Ok(Packet::Publish(publish)) = decode(&source, &mut 0, self.version) else {
            panic!("no PUBLISH");
        };
        Message {
            topic: publish.topic.as_str().to_owned(),
            payload: publish.payload.to_vec(),
            packet_id: publish.packet_id.map(PacketId::get),
            message_expiry_interval: publish
                .properties
                .and_then(|properties| properties.message_expiry_interval),
        }
    }
}
