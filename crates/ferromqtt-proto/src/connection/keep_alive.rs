//! Keep Alive (section 3.1.2.10): when a PINGREQ is due, and when the peer is dead.
//!
//! A ping is due when nothing was *sent* for the interval (MQTT-3.1.2-20), and also when nothing was *received* for it,
//! since publishing at QoS 0 into a dead link would otherwise never notice.
//!
//! The peer then has half an interval to answer. That time starts again while the link proves that it is alive:
//! - when the PINGREQ has left this process, behind whatever was queued before it;
//! - while the peer's TCP acknowledges bytes in front of the PINGREQ, or bytes of a backlog;
//! - while an unfinished packet from the peer gains [`MOVING`] bytes.
//!
//! Bytes that the operating system has merely taken prove nothing: it takes them for a dead link too, until its buffer is
//! full.

use std::time::{Duration, Instant};

/// How far the bytes of [`Client::poll_transmit`](crate::Client::poll_transmit) have come, for
/// [`Client::transport_progress`](crate::Client::transport_progress).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that were handed to the driver and are still in a buffer of this process.
    pub unwritten: u64,
    /// The transport has refused bytes since there were last none unwritten. `unwritten` alone does not say so: those bytes
    /// may not have been offered yet.
    pub held_up: bool,
    /// What the operating system says about the TCP connection below; `None` where there is none, or it does not say.
    pub tcp: Option<TcpProgress>,
}

/// How far the peer's TCP has confirmed what was written to a connection.
///
/// With TLS or WebSocket in between, these are bytes of that layer. Only differences of `acknowledged` are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpProgress {
    /// Bytes that the peer's TCP has acknowledged since the connection began.
    pub acknowledged: u64,
    /// Bytes that were written and that the peer's TCP has not acknowledged.
    pub unacknowledged: u64,
}

#[derive(Debug)]
pub(crate) struct KeepAlive {
    interval: Option<Duration>,
    last_sent: Instant,
    last_received: Instant,
    /// Bytes of the unfinished packet at the end of the input that have been taken for a sign of life.
    counted: usize,
    /// The PINGREQ that is to be answered.
    ping: Option<Ping>,
    /// What the driver reported last. A driver that reports nothing is taken to write what it is handed at once.
    reading: Option<ProgressReport>,
}

#[derive(Debug)]
struct Ping {
    place: PingState,
    /// The peer is dead when there is no answer by then.
    until: Instant,
    /// It is the second one, because the first one's deadline was noticed far too late.
    pinged_again: bool,
}

/// How far a PINGREQ has come.
#[derive(Debug)]
enum PingState {
    /// It leaves this process with byte number `end`.
    Queued { end: u64 },
    /// It has left. The peer's TCP has it once `acknowledged` is as high as `arrival`, where that is known.
    Written { arrival: Option<u64> },
}

/// A report of the driver.
#[derive(Clone, Copy, Debug)]
struct ProgressReport {
    at: Instant,
    /// Bytes that had left this process.
    written: u64,
    /// There was a backlog that the transport did not take.
    held_up: bool,
    acknowledged: Option<u64>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepAliveAction {
    Nothing,
    Ping,
    PeerIsDead,
}

impl KeepAlive {
    pub(crate) fn new(now: Instant, seconds: u16) -> Self {
        Self {
            interval: interval(seconds),
            last_sent: now,
            last_received: now,
            counted: 0,
            ping: None,
            reading: None,
        }
    }

    /// The server has chosen another interval (MQTT-3.1.2-21). What was sent and received before still counts.
    pub(crate) fn set_interval(&mut self, seconds: u16) {
        self.interval = interval(seconds);
    }

    /// Bytes were handed to the driver.
    pub(crate) fn sent(&mut self, now: Instant, handed_over: u64) {
        self.last_sent = now;
        if self.reading.is_none() {
            self.written(now, handed_over, None);
        }
    }

    /// Input came: `whole` bytes of whole packets, behind which there are `rest` bytes of one that is not finished.
    pub(crate) fn received(&mut self, now: Instant, whole: usize, rest: usize) {
        if whole > 0 {
            self.last_received = now;
            self.ping = None;
            self.counted = 0;
        }
        if rest.saturating_sub(self.counted) >= MOVING {
            self.counted = rest;
            self.last_received = now;
            self.wait_for_answer_from(now);
        }
    }

    /// Whether a PINGREQ waits for its answer, from when it is queued: input must be read for it.
    pub(crate) const fn awaits_answer(&self) -> bool {
        self.ping.is_some()
    }

    /// Gives the peer the full time to answer the PINGREQ that is under way, if one is, from `start` on.
    pub(crate) fn wait_for_answer_from(&mut self, start: Instant) {
        if let (Some(interval), Some(ping)) = (self.interval, &mut self.ping) {
            ping.until = ping.until.max(start + answer_time(interval));
        }
    }

    /// Whether a [`Progress`] decides something now, if `written` bytes have left this process: a deadline is due, or the
    /// PINGREQ has left.
    pub(crate) fn wants_progress(&self, now: Instant, written: u64) -> bool {
        let has_left = self
            .ping
            .as_ref()
            .is_some_and(|ping| matches!(ping.place, PingState::Queued { end } if end <= written));
        has_left || self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// Takes the driver's report, when it was handed so many bytes.
    pub(crate) fn progressed(&mut self, now: Instant, handed_over: u64, progress: Progress) {
        let reading = ProgressReport {
            at: now,
            written: handed_over.saturating_sub(progress.unwritten),
            held_up: progress.held_up,
            acknowledged: progress.tcp.map(|tcp| tcp.acknowledged),
        };
        let previous = self.reading.replace(reading);
        if let Some(alive_at) = previous.and_then(|it| self.proof_of_life(&it, &reading)) {
            self.wait_for_answer_from(alive_at);
        }
        let arrival = (progress.tcp).map(|tcp| tcp.acknowledged.saturating_add(tcp.unacknowledged));
        let has_left = self.written(now, reading.written, arrival);
        if let (true, None, Some(ProgressReport { held_up: true, .. }), Some(interval)) =
            (has_left, arrival, previous, self.interval)
        {
            // It stands behind a full buffer of the operating system, whose way to the peer nobody tells. That there was
            // room for it is a sign of life, so this still is within one and a half intervals of the last one.
            self.wait_for_answer_from(now + interval - answer_time(interval));
        }
    }

    /// When the link was last seen to carry bytes to the peer that stand between a PINGREQ and its answer.
    fn proof_of_life(
        &self,
        previous: &ProgressReport,
        reading: &ProgressReport,
    ) -> Option<Instant> {
        let moved = match (previous.acknowledged, reading.acknowledged) {
            (Some(before), Some(now)) => now > before,
            // Nobody tells. Where the transport held bytes up and takes them now, somebody has made room for them.
            _ => previous.held_up && reading.written > previous.written,
        };
        let Ping { place, .. } = self.ping.as_ref().filter(|_| moved)?;
        if previous.held_up || matches!(place, PingState::Queued { .. }) {
            return Some(reading.at);
        }
        // Later bytes that arrive say nothing about a peer that has the PINGREQ and does not answer.
        match (place, previous.acknowledged, reading.acknowledged) {
            (PingState::Written { arrival: Some(it) }, Some(before), _) if before >= *it => None,
            (PingState::Written { arrival: Some(it) }, _, Some(now)) if now >= *it => {
                Some(previous.at)
            }
            (PingState::Written { arrival: Some(_) }, _, _) => Some(reading.at),
            _ => None,
        }
    }

    /// So many bytes have left this process. Returns whether the PINGREQ is among them, and was not before.
    fn written(&mut self, now: Instant, written: u64, arrival: Option<u64>) -> bool {
        let Some(ping) = &mut self.ping else {
            return false;
        };
        let has_left = matches!(ping.place, PingState::Queued { end } if end <= written);
        if has_left {
            ping.place = PingState::Written { arrival };
            self.wait_for_answer_from(now);
        }
        has_left
    }

    /// When [`KeepAlive::due`] is to be asked next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let interval = self.interval?;
        let Some(ping) = &self.ping else {
            return Some(self.last_sent.min(self.last_received) + interval);
        };
        let look = (self.reading).map(|reading| reading.at + answer_time(interval) / 2);
        let next_ping = match ping.place {
            PingState::Queued { .. } => None, // it may stand behind a large payload: one is enough
            PingState::Written { .. } => Some(self.last_sent + interval),
        };
        [Some(ping.until), look, next_ping]
            .into_iter()
            .flatten()
            .min()
    }

    /// What is due at `now`. `end` is the number of the byte that a PINGREQ would end with if it were sent now, as it is
    /// when one is due.
    pub(crate) fn due(&mut self, now: Instant, end: u64) -> KeepAliveAction {
        let (Some(interval), Some(deadline)) = (self.interval, self.deadline()) else {
            return KeepAliveAction::Nothing;
        };
        if deadline > now {
            return KeepAliveAction::Nothing;
        }
        if let Some(reading) = &mut self.reading {
            reading.at = now; // a driver that has forgotten to report is not asked again at once
        }
        let pinged_again = match &self.ping {
            None => false,
            Some(ping) if ping.until > now => {
                let silent = now.saturating_duration_since(self.last_sent) >= interval;
                if !silent || matches!(ping.place, PingState::Queued { .. }) {
                    return KeepAliveAction::Nothing;
                }
                self.last_sent = now;
                return KeepAliveAction::Ping; // the answer to the one before is awaited all the same
            }
            // Noticed late, because the machine slept or the process stood still: the answer may be there, unread.
            Some(ping) => {
                let stood_still = now.saturating_duration_since(ping.until) >= late(interval);
                if !stood_still || ping.pinged_again {
                    return KeepAliveAction::PeerIsDead;
                }
                true
            }
        };
        self.ping = Some(Ping {
            place: PingState::Queued { end },
            until: now + answer_time(interval),
            pinged_again,
        });
        KeepAliveAction::Ping
    }
}

fn interval(seconds: u16) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

/// An unfinished packet is on its way, rather than held back, while it gains so many bytes within each
/// [`answer_time`].
const MOVING: usize = 1024;

/// A timer that is so late says that the process did not run, or did not get round to reading.
fn late(interval: Duration) -> Duration {
    Duration::from_secs(1).min(answer_time(interval) / 2)
}

/// How long the peer has to answer a ping: half the Keep Alive, as servers wait one and a half times it (MQTT-3.1.2-22).
fn answer_time(interval: Duration) -> Duration {
    interval / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests_support::start;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn receiving_alone_does_not_postpone_a_ping_mqtt_3_1_2_20() {
        let mut keep_alive = KeepAlive::new(start(), 10);
        keep_alive.received(start() + 9 * SECOND, 2, 0);
        assert_eq!(
            keep_alive.due(start() + 9 * SECOND, 2),
            KeepAliveAction::Nothing
        );
        assert_eq!(
            keep_alive.due(start() + 10 * SECOND, 2),
            KeepAliveAction::Ping
        );
    }

    #[test]
    fn sending_alone_does_not_hide_a_dead_peer() {
        let mut keep_alive = KeepAlive::new(start(), 10);
        keep_alive.sent(start() + 9 * SECOND, 2);
        assert_eq!(
            keep_alive.due(start() + 10 * SECOND, 2),
            KeepAliveAction::Ping
        );
        keep_alive.sent(start() + 10 * SECOND, 2);
        keep_alive.sent(start() + 14 * SECOND, 9);
        assert_eq!(
            keep_alive.due(start() + 15 * SECOND, 2),
            KeepAliveAction::PeerIsDead
        );
    }

    #[test]
    fn any_packet_after_a_ping_proves_the_peer_alive() {
        let mut keep_alive = KeepAlive::new(start(), 10);
        assert_eq!(
            keep_alive.due(start() + 10 * SECOND, 2),
            KeepAliveAction::Ping
        );
        keep_alive.sent(start() + 10 * SECOND, 2);
        keep_alive.received(start() + 12 * SECOND, 2, 0);
        assert_eq!(
            keep_alive.due(start() + 15 * SECOND, 2),
            KeepAliveAction::Nothing
        );
        assert_eq!(keep_alive.deadline(), Some(start() + 20 * SECOND));
    }

    #[test]
    fn silence_is_noticed_within_one_and_a_half_of_the_shortest_keep_alive_too() {
        let mut keep_alive = KeepAlive::new(start(), 1);
        assert_eq!(keep_alive.due(start() + SECOND, 2), KeepAliveAction::Ping);
        let half_later = start() + SECOND * 3 / 2;
        assert_eq!(keep_alive.deadline(), Some(half_later));
        assert_eq!(keep_alive.due(half_later, 2), KeepAliveAction::PeerIsDead);
    }

    #[test]
    fn with_the_shortest_keep_alive_a_shorter_standstill_excuses_the_peer() {
        let mut keep_alive = KeepAlive::new(start(), 1);
        assert_eq!(keep_alive.due(start() + SECOND, 2), KeepAliveAction::Ping);
        let woken = start() + SECOND * 7 / 4;
        assert_eq!(keep_alive.due(woken, 2), KeepAliveAction::Ping);
        assert_eq!(
            keep_alive.due(woken + SECOND / 2, 2),
            KeepAliveAction::PeerIsDead
        );
    }

    #[test]
    fn after_a_standstill_the_peer_gets_one_more_chance() {
        let mut keep_alive = KeepAlive::new(start(), 10);
        assert_eq!(
            keep_alive.due(start() + 10 * SECOND, 2),
            KeepAliveAction::Ping
        );
        let woken = start() + 3_600 * SECOND;
        assert_eq!(keep_alive.due(woken, 2), KeepAliveAction::Ping);
        assert_eq!(
            keep_alive.due(woken + 4 * SECOND, 2),
            KeepAliveAction::Nothing
        );
        assert_eq!(
            keep_alive.due(woken + 3_600 * SECOND, 2),
            KeepAliveAction::PeerIsDead
        );
    }

    #[test]
    fn zero_turns_pings_off() {
        let mut keep_alive = KeepAlive::new(start(), 0);
        assert_eq!(keep_alive.deadline(), None);
        assert_eq!(
            keep_alive.due(start() + 1_000_000 * SECOND, 2),
            KeepAliveAction::Nothing
        );
    }

    /// A ping that was due after 10 seconds and left with byte 2, reported by a driver whose TCP has acknowledged nothing.
    fn pinged() -> KeepAlive {
        let mut keep_alive = KeepAlive::new(start(), 10);
        report(&mut keep_alive, 10, 0, 0, 0);
        assert_eq!(
            keep_alive.due(start() + 10 * SECOND, 2),
            KeepAliveAction::Ping
        );
        keep_alive.sent(start() + 10 * SECOND, 2);
        keep_alive
    }

    /// The driver reports, `at` so many seconds.
    fn report(keep_alive: &mut KeepAlive, at: u32, handed_over: u64, unwritten: u64, acked: u64) {
        let tcp = TcpProgress {
            acknowledged: acked,
            unacknowledged: handed_over - unwritten - acked,
        };
        let progress = Progress {
            unwritten,
            held_up: unwritten > 0,
            tcp: Some(tcp),
        };
        keep_alive.progressed(start() + at * SECOND, handed_over, progress);
    }

    #[test]
    fn a_ping_that_has_left_is_asked_about_at_once_and_then_by_the_clock() {
        let mut keep_alive = pinged();
        let ten = start() + 10 * SECOND;
        assert!(!keep_alive.wants_progress(ten, 1));
        assert!(keep_alive.wants_progress(ten, 2));
        report(&mut keep_alive, 10, 2, 0, 0);
        assert!(!keep_alive.wants_progress(ten, 2));
        assert_eq!(keep_alive.deadline(), Some(ten + SECOND * 5 / 2));
    }

    #[test]
    fn later_bytes_that_arrive_do_not_excuse_a_peer_that_has_the_ping() {
        let mut keep_alive = pinged();
        report(&mut keep_alive, 10, 2, 0, 0);
        for at in [12, 13, 14] {
            let count = u64::from(at);
            report(&mut keep_alive, at, count, 0, count);
            assert_eq!(
                keep_alive.due(start() + at * SECOND, 0),
                KeepAliveAction::Nothing
            );
        }
        report(&mut keep_alive, 15, 15, 0, 15);
        assert_eq!(
            keep_alive.due(start() + 15 * SECOND, 0),
            KeepAliveAction::PeerIsDead
        );
    }

    #[test]
    fn a_driver_that_does_not_report_is_not_asked_again_at_once() {
        let mut keep_alive = pinged();
        let late = start() + 13 * SECOND;
        assert!(keep_alive.deadline() <= Some(late));
        assert_eq!(keep_alive.due(late, 0), KeepAliveAction::Nothing);
        assert!(keep_alive.deadline() > Some(late));
    }
}
