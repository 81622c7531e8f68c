//! How long a message may wait (Message Expiry Interval, section 3.3.2.3.3).

use std::time::{Duration, Instant};

use crate::reconnect::later;

/// The life of a message that has a Message Expiry Interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageExpiry {
    accepted: Instant,
    /// The interval as the caller gave it, in seconds.
    interval: u32,
}

impl MessageExpiry {
    pub(crate) const fn new(accepted: Instant, interval: u32) -> Self {
        Self { accepted, interval }
    }

    /// Whether the interval has passed. One of 0 s leaves no time to wait, but what need not wait is sent.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        let waited = now.saturating_duration_since(self.accepted);
        !waited.is_zero() && waited >= Duration::from_secs(self.interval.into())
    }

    /// When the interval has passed.
    pub(crate) fn end(&self) -> Instant {
        later(self.accepted, Duration::from_secs(self.interval.into()))
    }

    /// The interval less the whole seconds waited.
    pub(crate) fn left(&self, now: Instant) -> u32 {
        let waited = now.saturating_duration_since(self.accepted).as_secs();
        u32::try_from(waited).map_or(0, |waited| self.interval.saturating_sub(waited))
    }
}
