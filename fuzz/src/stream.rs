//! The packets in what a peer writes.

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::ProtocolVersion;
use ferromqtt_proto::packet::{self, Packet};

/// Bytes of one direction of a connection, of which a part may be missing.
#[derive(Debug, Default)]
pub struct Stream {
    bytes: BytesMut,
}

impl Stream {
    /// Appends what was written.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next whole packet out, and how long it was.
    ///
    /// # Panics
    /// When it cannot be read: our own code wrote it.
    pub fn next_packet(&mut self, version: ProtocolVersion) -> Option<(Packet, usize)> {
        let source = self.take_whole()?;
        let packet = packet::decode(&source, &mut 0, version)
            .unwrap_or_else(|error| panic!("{error} in what we wrote: {source:02x?}"));
        Some((packet, source.len()))
    }

    /// The bytes of the next whole packet.
    ///
    /// # Panics
    /// When its fixed header is malformed.
    pub fn take_whole(&mut self) -> Option<Bytes> {
        let header = packet_len(&self.bytes)?;
        (self.bytes.len() >= header).then(|| self.bytes.split_to(header).freeze())
    }

    /// Whether no packet has been begun.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

fn packet_len(bytes: &[u8]) -> Option<usize> {
    let header = ferromqtt_proto::codec::FixedHeader::read(bytes);
    let header = header.unwrap_or_else(|error| panic!("{error} in what we wrote: {bytes:02x?}"));
    header.map(|header| header.packet_len())
}
