//! Keep Alive (section 3.1.2.10): when a PINGREQ is due, and when the peer is dead.
//!
//! A ping is due when nothing was *sent* for the interval (MQTT-3.1.2-20), and also when nothing was *received* for it,
//! since publishing at QoS 0 into a dead link would otherwise never notice. After a ping any byte proves the peer alive.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct KeepAlive {
    interval: Option<Duration>,
    last_sent: Instant,
    last_received: Instant,
    ping_sent: Option<Instant>,
    /// A second ping was sent because the first one's deadline was noticed far too late.
    pinged_again: bool,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    PeerIsDead,
}

impl KeepAlive {
    pub(crate) fn new(now: Instant, seconds: u16) -> Self {
        Self {
            interval: (seconds > 0).then(|| Duration::from_secs(seconds.into())),
            last_sent: now,
            last_received: now,
            ping_sent: None,
            pinged_again: false,
        }
    }

    pub(crate) const fn sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    pub(crate) const fn received(&mut self, now: Instant) {
        self.last_received = now;
        self.ping_sent = None;
        self.pinged_again = false;
    }

    /// Whether a PINGREQ waits for its answer, which is to be read.
    pub(crate) const fn awaits_answer(&self) -> bool {
        self.ping_sent.is_some()
    }

    /// When [`KeepAlive::due`] is to be asked next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let interval = self.interval?;
        Some(match self.ping_sent {
            Some(ping) => ping + answer_time(interval),
            None => self.last_sent.min(self.last_received) + interval,
        })
    }

    /// What is due at `now`; a ping that is due counts as sent.
    pub(crate) fn due(&mut self, now: Instant) -> Due {
        let Some(deadline) = self.deadline() else {
            return Due::Nothing;
        };
        if deadline > now {
            return Due::Nothing;
        }
        if self.ping_sent.is_some() {
            // Noticed late, because the machine slept or the process stood still: the answer may be there, unread.
            let stood_still = now.saturating_duration_since(deadline) >= LATE;
            if !stood_still || self.pinged_again {
                return Due::PeerIsDead;
            }
            self.pinged_again = true;
        }
        self.ping_sent = Some(now);
        Due::Ping
    }
}

/// A timer that is so late says that the process did not run, or did not get round to reading.
const LATE: Duration = Duration::from_secs(1);

/// How long the peer has to answer a ping: half the Keep Alive, as servers wait one and a half times it (MQTT-3.1.2-22).
fn answer_time(interval: Duration) -> Duration {
    (interval / 2).max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests_support::start;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn receiving_alone_does_not_postpone_a_ping_mqtt_3_1_2_20() {
        let mut keep_alive = KeepAlive::new(start(), 10);
        keep_alive.received(start() + 9 * SECOND);
        assert_eq!(keep_alive.due(start() + 9 * SECOND), Due::Nothing);
        assert_eq!(keep_alive.due(start() + 10 * SECOND), Due::Ping);
    }

    #[test]
    fn sending_alone_does_not_hide_a_dead_peer() {
        let mut keep_alive = KeepAlive::new(start(), 10);
        keep_alive.sent(start() + 9 * SECOND);
        assert_eq!(keep_alive.due(start() + 10 * SECOND), Due::Ping);
        keep_alive.sent(start() + 14 * SECOND);
        assert_eq!(keep_alive.due(start() + 15 * SECOND), Due::PeerIsDead);
    }

    #[test]
    fn any_byte_after_a_ping_proves_the_peer_alive() {
        let mut keep_alive = KeepAlive::new(start(), 10);
        assert_eq!(keep_alive.due(start() + 10 * SECOND), Due::Ping);
        keep_alive.sent(start() + 10 * SECOND);
        keep_alive.received(start() + 12 * SECOND);
        assert_eq!(keep_alive.due(start() + 15 * SECOND), Due::Nothing);
        assert_eq!(keep_alive.deadline(), Some(start() + 20 * SECOND));
    }

    #[test]
    fn after_a_standstill_the_peer_gets_one_more_chance() {
        let mut keep_alive = KeepAlive::new(start(), 10);
        assert_eq!(keep_alive.due(start() + 10 * SECOND), Due::Ping);
        let woken = start() + 3_600 * SECOND;
        assert_eq!(keep_alive.due(woken), Due::Ping);
        assert_eq!(keep_alive.due(woken + 4 * SECOND), Due::Nothing);
        assert_eq!(keep_alive.due(woken + 3_600 * SECOND), Due::PeerIsDead);
    }

    #[test]
    fn zero_turns_pings_off() {
        let mut keep_alive = KeepAlive::new(start(), 0);
        assert_eq!(keep_alive.deadline(), None);
        assert_eq!(keep_alive.due(start() + 1_000_000 * SECOND), Due::Nothing);
    }
}
