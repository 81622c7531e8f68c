//! Draining: a connection that ends when all that was accepted has its outcome.

use std::time::Instant;

use ferromqtt_proto::{Delivery, OpId, ReasonCode};

use crate::{Engine, Fact, Goodbye, PublishRefusal, Tokens};

/// What was left when a connection ended: operations that were accepted, and whose outcome is that it ended; messages that
/// the outgoing queue keeps; and QoS 0 messages that were not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// Those that were never sent.
    pub not_sent: usize,
    /// Those that were on the wire, and whose outcome is unknown.
    pub unknown: usize,
    /// QoS 0 messages that were accepted, and not written.
    pub unflushed: u64,
}

impl Undone {
    pub(crate) const fn count(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::NotSent => self.not_sent += 1,
            Delivery::Unknown => self.unknown += 1,
        }
    }
}

/// A connection that is being drained.
#[derive(Debug, Default)]
pub(crate) struct Draining {
    pub(crate) undone: Undone,
    /// [`Stats::unflushed`](ferromqtt_proto::Stats::unflushed) when it began.
    unflushed_before: u64,
    until: Option<Instant>,
    /// DISCONNECT was called for.
    disconnects: bool,
}

impl Draining {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.until.filter(|_| !self.disconnects)
    }
}

impl<T: Tokens> Engine<T> {
    /// Accepts no more messages, waits until every operation that was accepted, and every message of the outgoing queue, has
    /// its outcome or `until` is over, then disconnects. Messages that wait for capacity were not accepted yet, and are refused.
    /// A lost connection is made again meanwhile. The face waits for the end of the connection, and then asks for what is
    /// [`undone`](Self::undone).
    pub fn drain(&mut self, now: Instant, until: Option<Instant>) {
        let unflushed_before = self.core.stats().unflushed;
        let draining = self.draining.get_or_insert_with(|| Draining {
            unflushed_before,
            ..Draining::default()
        });
        draining.until = until;
        self.is_closed = true;
        self.refuse_line(&PublishRefusal::Draining);
        self.disconnect_when_drained(now);
    }

    /// Whether the connection is being drained, or ended so and was not started again.
    pub const fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// What was left when a connection that is drained ended.
    pub fn undone(&self) -> Undone {
        (self.draining.as_ref()).map_or_else(Undone::default, |draining| Undone {
            unflushed: self.core.stats().unflushed - draining.unflushed_before,
            ..draining.undone
        })
    }

    /// The end of a connection has failed `op`.
    pub(crate) fn count_cut_short(&mut self, op: OpId, delivery: Delivery) {
        if let Some(draining) = &mut self.draining {
            draining.undone.count(delivery);
        }
        if !self.reports_undone() && self.calls.get(op).is_some_and(T::is_gone) {
            self.unawaited.count(delivery);
        }
    }

    /// Whether the application still waits to learn what is [`undone`](Self::undone).
    pub(crate) fn reports_undone(&self) -> bool {
        self.draining.is_some() && self.goodbye != Some(Goodbye::Dropped)
    }

    /// Reports the messages without an outcome that no caller waited for.
    pub(crate) fn report_unawaited(&mut self) {
        if self.unawaited != Undone::default() {
            let Undone {
                not_sent, unknown, ..
            } = std::mem::take(&mut self.unawaited);
            self.report(Fact::Unawaited { not_sent, unknown });
        }
    }

    /// Disconnects when nothing is waited for any more. Returns whether it does so now.
    pub(crate) fn disconnect_when_drained(&mut self, now: Instant) -> bool {
        let has_queued = self.has_queued();
        let Some(draining) = &mut self.draining else {
            return false;
        };
        let over = draining.until.is_some_and(|until| until <= now);
        let disconnects = !draining.disconnects && (over || self.calls.is_empty() && !has_queued);
        if disconnects {
            draining.disconnects = true;
            let until = draining.until;
            self.disconnect(now, Goodbye::Asked, ReasonCode::Success, until);
        }
        disconnects
    }
}
