//! Bytes on their way to the transport: small packets join one chunk, a large payload is a chunk of its own, uncopied.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use crate::packet::{Packet, ProtocolVersion, PublishRef, QoS};

/// A chunk is handed over when it has grown to this size: one write then carries hundreds of small packets.
pub const CHUNK: usize = 64 * 1024;

/// A payload of this size or more is not copied into a chunk; drivers hand it over in the form that needs no copy either.
pub const LARGE_PAYLOAD: usize = 4 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Transmit {
    chunks: VecDeque<Bytes>,
    current: BytesMut,
    /// Bytes in all of them.
    len: usize,
    /// QoS 0 publishes in all of them: reported as sent, but not handed over yet.
    unflushed: u64,
}

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

    pub(crate) const fn unflushed(&self) -> u64 {
        self.unflushed
    }

    pub(crate) fn push(&mut self, packet: &Packet, version: ProtocolVersion) {
        self.append(|out| packet.encode(version, out));
    }

    /// Appends a PUBLISH whose payload is copied: for one that its caller keeps.
    pub(crate) fn push_copied(
        &mut self,
        publish: PublishRef<'_>,
        payload: &[u8],
        version: ProtocolVersion,
    ) {
        self.count(publish.qos);
        self.append(|out| {
            publish.encode_header(version, out);
            out.put_slice(payload);
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
        self.count(publish.qos);
        self.append(|out| publish.encode_header(version, out));
        self.finish_chunk();
        self.len += payload.len();
        self.chunks.push_back(payload.clone());
    }

    /// The next chunk for the transport.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        if self.chunks.is_empty() {
            self.finish_chunk();
        }
        let chunk = self.chunks.pop_front()?;
        self.len -= chunk.len();
        if self.len == 0 {
            self.unflushed = 0;
        }
        Some(chunk)
    }

    fn append(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let before = self.current.len();
        write(&mut self.current);
        self.len += self.current.len() - before;
    }

    fn count(&mut self, qos: QoS) {
        self.unflushed += u64::from(qos == QoS::AtMostOnce);
    }

    /// Freezes the current chunk. A new one allocates when it is first written to, so that an idle connection holds nothing.
    fn finish_chunk(&mut self) {
        if !self.current.is_empty() {
            let chunk = std::mem::take(&mut self.current);
            self.chunks.push_back(chunk.freeze());
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
        let first = transmit.pop().unwrap();
        assert_eq!(
            &first[..],
            b"\x30\x04\x00\x01tx\x30\x04\x00\x01tx\x30\x83\x20\x00\x01t"
        );
        let second = transmit.pop().unwrap();
        assert_eq!(second.as_ptr(), large.as_ptr());
        assert_eq!(&transmit.pop().unwrap()[..], b"\x30\x04\x00\x01tx");
        assert_eq!(transmit.pop(), None);
        assert!(transmit.is_empty());
        assert_eq!(transmit.unflushed(), 0);
    }
}
