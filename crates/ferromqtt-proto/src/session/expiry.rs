//! How long a message may wait (Message Expiry Interval, section 3.3.2.3.3).

use std::time::{Duration, Instant};

use crate::reconnect::later;

/// The life of a message that may not wait forever.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageExpiry {
    end: Instant,
    /// It leaves no time to wait, but what need not wait is sent.
    is_zero: bool,
}

impl MessageExpiry {
    /// Of a message with an interval, in seconds, that was accepted at `accepted`.
    pub(crate) fn new(accepted: Instant, interval: u32) -> Self {
        let end = later(accepted, Duration::from_secs(interval.into()));
        Self::until(accepted, end)
    }

    /// Of a message that is accepted at `now`, and may be sent until `end`.
    pub(crate) fn until(now: Instant, end: Instant) -> Self {
        Self {
            end,
            is_zero: end <= now,
        }
    }

    /// Whether the time has passed.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now > self.end || now == self.end && !self.is_zero
    }

    /// When the time has passed.
    pub(crate) const fn end(&self) -> Instant {
        self.end
    }

    /// The seconds that are left, rounded up: an interval less the whole seconds waited.
    pub(crate) fn left(&self, now: Instant) -> u32 {
        let left = self.end.saturating_duration_since(now);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }
}
