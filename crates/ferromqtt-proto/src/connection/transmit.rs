//! Bytes on their way to the transport: small packets join one chunk, a large payload is a chunk of its own, uncopied.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use crate::debug_fields;
use crate::packet::{Ack, Packet, PacketType, ProtocolVersion, PublishRef, QoS};
use crate::session::Open;

/// A chunk is handed over when it has grown to this size: one write then carries hundreds of small packets.
pub const CHUNK: usize = 64 * 1024;

/// A payload of this size or more is not copied into a chunk; drivers hand it over in the form that needs no copy either.
pub const LARGE_PAYLOAD: usize = 4 * 1024;

/// What stands in a chunk, or in all of them.
#[derive(Clone, Copy, Debug, Default)]
struct ChunkContents {
    /// QoS 0 publishes whose last byte it holds: reported as sent, but not handed over yet.
    qos0: u64,
    /// Answers to the server's packets.
    answers: usize,
    /// What those among them that end an exchange give back to the server of the Receive Maximum.
    ended: Open,
}

impl ChunkContents {
    const fn add(&mut self, other: Self) {
        self.qos0 += other.qos0;
        self.answers += other.answers;
        self.ended.add(other.ended);
    }

    const fn subtract(&mut self, other: Self) {
        self.qos0 -= other.qos0;
        self.answers -= other.answers;
        self.ended.subtract(other.ended);
    }
}

struct OutgoingChunk {
    bytes: Bytes,
    contents: ChunkContents,
}

debug_fields!(OutgoingChunk {
    bytes: length,
    contents
});

#[derive(Default)]
pub(crate) struct Transmit {
    chunks: VecDeque<OutgoingChunk>,
    current: BytesMut,
    contents_of_current: ChunkContents,
    /// Bytes in all of them, and what they hold.
    len: usize,
    contents: ChunkContents,
    /// Bytes handed over so far.
    handed_over: u64,
}

debug_fields!(Transmit {
    chunks,
    current: length,
    contents_of_current,
    len,
    contents,
    handed_over,
});

impl Transmit {
    /// Whether a chunk's worth is waiting, so that no more should be encoded.
    pub(crate) const fn is_full(&self) -> bool {
        self.len >= CHUNK
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes handed over so far.
    pub(crate) const fn handed_over(&self) -> u64 {
        self.handed_over
    }

    /// How many bytes will have been handed over with the last packet that was appended.
    pub(crate) const fn end(&self) -> u64 {
        self.handed_over + self.len as u64
    }

    /// QoS 0 publishes that have not been handed over as a whole.
    pub(crate) const fn unflushed(&self) -> u64 {
        self.contents.qos0
    }

    /// Answers that have not been handed over.
    pub(super) const fn unsent_answers(&self) -> usize {
        self.contents.answers
    }

    /// The messages whose last answer has not been handed over.
    pub(crate) const fn unsent_ends(&self) -> Open {
        self.contents.ended
    }

    pub(crate) fn push(&mut self, packet: &Packet, version: ProtocolVersion) {
        self.append(|out| packet.encode(version, out));
    }

    /// Appends a packet, unless it is longer than `limit`: then `Err` holds its length.
    pub(crate) fn push_within(
        &mut self,
        limit: usize,
        packet: &Packet,
        version: ProtocolVersion,
    ) -> Result<(), usize> {
        let before = self.current.len();
        packet.encode(version, &mut self.current);
        let bytes = self.current.len() - before;
        if bytes > limit {
            self.current.truncate(before);
            return Err(bytes);
        }
        self.len += bytes;
        Ok(())
    }

    /// Appends an answer to a packet of the server; `ended` is the slot that it gives back, if it ends the exchange.
    pub(super) fn push_answer(
        &mut self,
        packet_type: PacketType,
        answer: &Ack,
        version: ProtocolVersion,
        ended: Open,
    ) {
        self.append(|out| answer.encode(packet_type, version, out));
        self.count(ChunkContents {
            answers: 1,
            ended,
            ..ChunkContents::default()
        });
    }

    /// Appends a PUBLISH whose payload is copied: for one that its caller keeps.
    pub(crate) fn push_copied(
        &mut self,
        publish: PublishRef<'_>,
        payload: &[u8],
        version: ProtocolVersion,
    ) {
        self.append(|out| {
            publish.encode_header(version, out);
            out.put_slice(payload);
        });
        self.count(ChunkContents {
            qos0: u64::from(publish.qos == QoS::AtMostOnce),
            ..ChunkContents::default()
        });
    }

    /// Appends a PUBLISH whose payload is shared: a large one is not copied.
    pub(crate) fn push_publish(
        &mut self,
        publish: PublishRef<'_>,
        payload: &Bytes,
        version: ProtocolVersion,
    ) {
        if payload.len() < LARGE_PAYLOAD {
            return self.push_copied(publish, payload, version);
        }
        self.append(|out| publish.encode_header(version, out));
        self.finish_chunk();
        let contents = ChunkContents {
            qos0: u64::from(publish.qos == QoS::AtMostOnce),
            ..ChunkContents::default()
        };
        self.len += payload.len();
        self.contents.add(contents);
        self.chunks.push_back(OutgoingChunk {
            bytes: payload.clone(),
            contents,
        });
    }

    /// The next chunk for the transport; of one longer than `limit`, its front.
    pub(crate) fn pop(&mut self, limit: usize) -> Option<Bytes> {
        if self.chunks.is_empty() {
            self.finish_chunk();
        }
        let front = self.chunks.front_mut()?;
        if front.bytes.len() > limit {
            self.len -= limit;
            self.handed_over += limit as u64;
            return Some(front.bytes.split_to(limit));
        }
        let chunk = self.chunks.pop_front()?;
        self.len -= chunk.bytes.len();
        self.handed_over += chunk.bytes.len() as u64;
        self.contents.subtract(chunk.contents);
        Some(chunk.bytes)
    }

    fn append(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let before = self.current.len();
        write(&mut self.current);
        self.len += self.current.len() - before;
    }

    fn count(&mut self, contents: ChunkContents) {
        self.contents.add(contents);
        self.contents_of_current.add(contents);
    }

    /// Freezes the current chunk. A new one allocates when it is first written to, so that an idle connection holds nothing.
    fn finish_chunk(&mut self) {
        if !self.current.is_empty() {
            self.chunks.push_back(OutgoingChunk {
                bytes: std::mem::take(&mut self.current).freeze(),
                contents: std::mem::take(&mut self.contents_of_current),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(payload: &[u8]) -> PublishRef<'_> {
        PublishRef {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: b"t",
            packet_id: None,
            properties: None,
            payload_len: payload.len(),
        }
    }

    #[test]
    fn small_packets_join_one_chunk_and_a_large_payload_is_not_copied() {
        let mut transmit = Transmit::default();
        let large = Bytes::from(vec![7; LARGE_PAYLOAD]);
        let small = Bytes::from_static(b"x");
        for payload in [&small, &small, &large, &small] {
            transmit.push_publish(header(payload), payload, ProtocolVersion::V311);
        }
        assert_eq!(transmit.unflushed(), 4);
        let first = transmit.pop(usize::MAX).unwrap();
        assert_eq!(transmit.unflushed(), 2, "the third is not complete");
        assert_eq!(
            &first[..],
            b"\x30\x04\x00\x01tx\x30\x04\x00\x01tx\x30\x83\x20\x00\x01t"
        );
        let second = transmit.pop(usize::MAX).unwrap();
        assert_eq!(second.as_ptr(), large.as_ptr());
        assert_eq!(
            &transmit.pop(usize::MAX).unwrap()[..],
            b"\x30\x04\x00\x01tx"
        );
        assert_eq!(transmit.pop(usize::MAX), None);
        assert!(transmit.is_empty());
        assert_eq!(transmit.unflushed(), 0);
    }

    #[test]
    fn a_packet_beyond_its_limit_leaves_no_byte() {
        let mut transmit = Transmit::default();
        transmit.push(&Packet::PingReq, ProtocolVersion::V5);
        let too_large = transmit.push_within(1, &Packet::PingResp, ProtocolVersion::V5);
        assert_eq!(too_large, Err(2));
        assert_eq!(transmit.end(), 2);
        let fits = transmit.push_within(2, &Packet::PingReq, ProtocolVersion::V5);
        assert_eq!(fits, Ok(()));
        assert_eq!(&transmit.pop(usize::MAX).unwrap()[..], [0xC0, 0, 0xC0, 0]);
        assert!(transmit.is_empty());
    }

    #[test]
    fn a_publish_counts_as_handed_over_with_its_last_slice() {
        let mut transmit = Transmit::default();
        let large = Bytes::from(vec![7; 3 * LARGE_PAYLOAD]);
        transmit.push_publish(header(&large), &large, ProtocolVersion::V311);
        let end = transmit.end();
        assert_eq!(transmit.pop(LARGE_PAYLOAD).unwrap().len(), 6);
        for unflushed in [1, 1, 0] {
            let slice = transmit.pop(LARGE_PAYLOAD).unwrap();
            assert_eq!(slice.len(), LARGE_PAYLOAD);
            assert_eq!(transmit.unflushed(), unflushed);
            assert_eq!(transmit.end(), end);
        }
        assert!(transmit.is_empty());
        assert_eq!(transmit.handed_over(), end);
    }
}
