//! Cuts one direction of a link into packets.

use bytes::{Buf, Bytes, BytesMut};
use ferromqtt_proto::codec::FixedHeader;
use ferromqtt_proto::debug_fields;

/// A longer packet is not held, and recorded without what is in it.
pub(crate) const MAXIMUM_PACKET: usize = 16 << 20;

/// What was cut.
pub(crate) enum Cut {
    /// A whole packet.
    Packet(Bytes),
    /// A packet of this length, too long to be held; its first byte.
    TooLong(u8, usize),
    /// Bytes that do not begin a packet. Nothing of this direction is read any more.
    NoPacket(Bytes),
}

/// The bytes of one direction that are no whole packet yet.
#[derive(Default)]
pub(crate) struct PacketCutter {
    rest: BytesMut,
    /// How much of a packet that is too long is still to come.
    skipped: usize,
    broken: bool,
}

debug_fields!(PacketCutter {
    rest: length,
    skipped,
    broken
});

impl PacketCutter {
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        if self.broken {
            return;
        }
        let skipped = self.skipped.min(bytes.len());
        self.skipped -= skipped;
        bytes.advance(skipped);
        self.rest.extend_from_slice(bytes);
    }

    pub(crate) fn next(&mut self) -> Option<Cut> {
        let header = match FixedHeader::read(&self.rest) {
            Ok(header) => header?,
            Err(_) => {
                self.broken = true;
                return Some(Cut::NoPacket(self.rest.split().freeze()));
            }
        };
        let length = header.packet_len();
        if length > MAXIMUM_PACKET {
            let there = length.min(self.rest.len());
            self.rest.advance(there);
            self.skipped = length - there;
            return Some(Cut::TooLong(header.first_byte, length));
        }
        let is_whole = self.rest.len() >= length;
        is_whole.then(|| Cut::Packet(Bytes::copy_from_slice(&self.rest.split_to(length))))
    }

    /// The beginning of a packet that never became whole.
    pub(crate) fn take_rest(&mut self) -> Bytes {
        self.rest.split().freeze()
    }
}
