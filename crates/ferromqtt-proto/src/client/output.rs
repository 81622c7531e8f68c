//! Bytes for the transport. Publishes are encoded here, when the transport asks, and not before.

use std::time::Instant;

use bytes::Bytes;

use super::{Client, ClientPhase};
use crate::connection::Progress;

impl Client {
    /// The next chunk to write. Call it again until `None` each time the transport can take more. A chunk holds many
    /// small packets, or one large payload that was not copied.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        self.poll_transmit_up_to(now, usize::MAX)
    }

    /// As [`Client::poll_transmit`], in chunks of at most `limit` bytes, which is at least 1: for a transport that keeps
    /// what it is given, however much that is. The bytes of a large payload are still not copied.
    pub fn poll_transmit_up_to(&mut self, now: Instant, limit: usize) -> Option<Bytes> {
        if self.packet_trace() {
            return self.poll_traced(now, limit);
        }
        if matches!(self.phase, ClientPhase::Connected) {
            self.encode_publishes(now);
            self.leave_when_done(now);
        }
        let connection = self.connection.as_mut()?;
        let chunk = connection.transmit.pop(limit.max(1))?;
        let handed_over = connection.transmit.handed_over();
        connection.keep_alive.sent(now, handed_over);
        Some(chunk)
    }

    /// Whether Keep Alive, or closing, waits for a [`transport_progress`](Client::transport_progress) at `now`, if `unwritten`
    /// of the bytes handed over are still in a buffer of this process: a deadline is due, or a PINGREQ has left.
    ///
    /// Ask before [`Client::handle_timeout`], and when bytes have left. Where it costs something to know how many are left,
    /// ask with 0 first: if the answer is no, it is no with any other number.
    pub fn wants_progress(&self, now: Instant, unwritten: u64) -> bool {
        let Some(connection) = &self.connection else {
            return false;
        };
        match self.phase {
            ClientPhase::Connected => {}
            ClientPhase::Closing { closing, .. } => return closing.wants_progress(now),
            _ => return false,
        }
        let written = (connection.transmit.handed_over()).saturating_sub(unwritten);
        connection.keep_alive.wants_progress(now, written)
    }

    /// Reports how far the bytes handed over have come, when [asked](Client::wants_progress) for.
    ///
    /// With it, the server's time to answer a PINGREQ counts from when it was written, and a slow link that moves is told
    /// from a dead one. Without, what was handed over counts as written.
    pub fn transport_progress(&mut self, now: Instant, progress: Progress) {
        if (progress.tcp).is_some_and(|tcp| tcp.unacknowledged > 0) {
            self.still_linger(now);
        }
        if let Some(connection) = &mut self.connection {
            let handed_over = connection.transmit.handed_over();
            (connection.keep_alive).progressed(now, handed_over, progress);
        }
    }

    /// How many bytes are encoded and not handed over yet: a driver flushes early when this is large. Packets that
    /// [wait for a store](Client::held_packets) are not encoded.
    pub fn pending_transmit(&self) -> usize {
        self.connection
            .as_ref()
            .map_or(0, |connection| connection.transmit.len())
    }
}
