//! Bytes on their way to one client.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::debug_fields;
use ferromqtt_proto::packet::{Packet, ProtocolVersion, PublishRef};

/// A payload of this size or more is handed over as it is; smaller ones are cheaper to copy into the chunk.
pub(crate) const OWN_CHUNK: usize = 4096;

/// A chunk of this size is handed over even when more follows.
const FULL_CHUNK: usize = 64 * 1024;

/// Packets in order, coalesced into chunks.
#[derive(Default)]
pub(crate) struct ConnectionOutput {
    chunks: VecDeque<Bytes>,
    current: BytesMut,
    waiting: usize,
}

debug_fields!(ConnectionOutput {
    chunks: count,
    current: length,
    waiting
});

impl ConnectionOutput {
    /// Appends a packet, unless it is longer than `maximum`: then it says `false`.
    pub(crate) fn packet(
        &mut self,
        packet: &Packet,
        version: ProtocolVersion,
        maximum: usize,
    ) -> bool {
        let before = self.current.len();
        packet.encode(version, &mut self.current);
        let fits = self.current.len() - before <= maximum;
        if fits {
            self.grown(before);
        } else {
            self.current.truncate(before);
        }
        fits
    }

    pub(crate) fn publish(
        &mut self,
        publish: &PublishRef<'_>,
        payload: &Bytes,
        version: ProtocolVersion,
    ) {
        let before = self.current.len();
        publish.encode_header(version, &mut self.current);
        if payload.len() < OWN_CHUNK {
            self.current.extend_from_slice(payload);
            self.grown(before);
        } else {
            self.grown(before);
            self.end_chunk();
            self.waiting += payload.len();
            self.chunks.push_back(payload.clone());
        }
    }

    /// The next chunk.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        let chunk = match self.chunks.pop_front() {
            Some(chunk) => chunk,
            None if self.current.is_empty() => return None,
            None => self.current.split().freeze(),
        };
        self.waiting -= chunk.len();
        Some(chunk)
    }

    /// How many bytes wait to be taken.
    pub(crate) const fn waiting(&self) -> usize {
        self.waiting
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    fn grown(&mut self, before: usize) {
        self.waiting += self.current.len() - before;
        if self.current.len() >= FULL_CHUNK {
            self.end_chunk();
        }
    }

    fn end_chunk(&mut self) {
        if !self.current.is_empty() {
            self.chunks.push_back(self.current.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferromqtt_proto::packet::PublishPacket;

    fn publish(payload: &Bytes) -> PublishPacket {
        PublishPacket {
            dup: false,
            qos: ferromqtt_proto::packet::QoS::AtMostOnce,
            retain: false,
            topic: ferromqtt_proto::Utf8String::from_static("t").unwrap(),
            packet_id: None,
            properties: None,
            payload: payload.clone(),
        }
    }

    #[test]
    fn small_packets_share_a_chunk_and_a_large_payload_is_not_copied() {
        let version = ProtocolVersion::V311;
        let mut output = ConnectionOutput::default();
        let large = Bytes::from(vec![7; OWN_CHUNK]);
        assert!(output.packet(&Packet::PingResp, version, 2));
        assert!(!output.packet(&Packet::PingResp, version, 1));
        output.publish(&publish(&large).borrowed(), &large, version);
        assert!(output.packet(&Packet::PingResp, version, 2));
        assert_eq!(output.waiting(), 2 + 6 + OWN_CHUNK + 2);

        assert_eq!(output.take().unwrap().len(), 8);
        assert_eq!(output.take().unwrap().as_ptr(), large.as_ptr());
        assert_eq!(&output.take().unwrap()[..], [0xD0, 0]);
        assert_eq!(output.take(), None);
        assert!(output.is_empty());
    }
}
