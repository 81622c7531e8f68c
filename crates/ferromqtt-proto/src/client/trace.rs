//! Records of packets, when a driver asks for them.

use std::time::Instant;

use bytes::Bytes;

use super::Client;
use crate::packet_trace::{PacketRecord, PacketTrace};

impl Client {
    /// Whether a record is kept of each packet that is handed to the transport or comes from it, for
    /// [`poll_packet`](Client::poll_packet). Default: `false`, which costs nothing.
    ///
    /// Switch it on before the transport is open: a packet that is half handed over when it begins has no record, nor have those
    /// behind it.
    pub fn set_packet_trace(&mut self, on: bool) {
        if on != self.trace.is_some() {
            self.trace = on.then(Box::default);
        }
    }

    /// Whether records are kept.
    pub const fn packet_trace(&self) -> bool {
        self.trace.is_some()
    }

    /// The record of the next packet, in the order in which they were handed over and came. Drain it after every call, as the
    /// events; at most 32,768 are kept, and [`take_untraced`](Client::take_untraced) counts the others.
    ///
    /// What a transport brings after this side has ended the connection is not read, and has no record.
    pub fn poll_packet(&mut self) -> Option<PacketRecord> {
        self.trace.as_mut()?.poll()
    }

    /// The next chunk to write, of which a record is kept.
    #[cold]
    pub(super) fn poll_traced(&mut self, now: Instant, limit: usize) -> Option<Bytes> {
        let mut trace = self.trace.take(); // so that the next call is the usual one
        let chunk = self.poll_transmit_up_to(now, limit);
        if let (Some(trace), Some(chunk)) = (&mut trace, &chunk) {
            trace.sent(now, self.options.protocol, chunk);
        }
        self.trace = trace;
        chunk
    }

    #[cold]
    pub(super) fn trace_received(&mut self, now: Instant, packets: &Bytes) {
        if let Some(trace) = &mut self.trace {
            trace.received(now, self.options.protocol, packets);
        }
    }

    /// How many packets have no record since the last call, because nobody took those before them.
    pub fn take_untraced(&mut self) -> u64 {
        self.trace
            .as_mut()
            .map_or(0, |trace| PacketTrace::take_left_out(trace))
    }
}
