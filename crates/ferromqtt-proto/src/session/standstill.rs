//! Finds out that the server waits for acknowledgements that the application does not give.

use std::time::{Duration, Instant};

/// How long nothing moves before it is reported.
const PATIENCE: Duration = Duration::from_secs(5);

/// The smallest window that servers in use have by default. A server does not say how many unacknowledged messages it
/// allows, so this many may already be all.
const SMALLEST_WINDOW: usize = 10;

/// Since when, on this connection, neither a QoS 1 or 2 message has come nor an acknowledgement been given.
#[derive(Debug, Default)]
pub(super) struct Standstill {
    since: Option<Instant>,
    /// An acknowledgement was given since, at a time that is not known.
    acknowledged: bool,
    reported: bool,
}

impl Standstill {
    /// A message came at `now`, or, without a time, an acknowledgement was given.
    pub(super) const fn moves(&mut self, now: Option<Instant>) {
        if now.is_some() {
            self.since = now;
        }
        self.acknowledged = now.is_none();
    }

    /// When to look, if `waiting` messages are unacknowledged and the server may have at most `window` of them.
    pub(super) fn due(&self, waiting: usize, window: usize) -> Option<Instant> {
        let may_be_full = waiting >= window.min(SMALLEST_WINDOW) && !self.reported;
        self.since.filter(|_| may_be_full).map(|it| it + PATIENCE)
    }

    /// Whether nothing has moved for too long, once.
    pub(super) fn is_overdue(&mut self, now: Instant, waiting: usize, window: usize) -> bool {
        if self.due(waiting, window).is_none_or(|due| due > now) {
            return false;
        }
        if std::mem::take(&mut self.acknowledged) {
            self.since = Some(now);
            return false;
        }
        self.reported = true;
        true
    }
}
