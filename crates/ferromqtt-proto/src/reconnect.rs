//! When to try again: exponential back-off with jitter, and which ends of a connection are final.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::error::ConnectionError;
use crate::packet::ReasonCode;

/// How a client reconnects.
///
/// Set what differs from the default, and take the rest from it: later versions may add fields.
///
/// ```
/// # use ferromqtt_proto::Reconnect;
/// let patient = Reconnect { initial: true, ..Reconnect::default() };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// Longest wait before the first retry; it doubles with each failure. Default: 500 ms.
    pub initial_delay: Duration,
    /// Upper bound of the doubling. Default: 30 s.
    pub max_delay: Duration,
    /// How long a connection must have lasted for the back-off to start anew. Default: 10 s.
    pub stable_after: Duration,
    /// How much of each wait is random, in percent of it; more than 100 is 100. The waits of clients that have lost the same
    /// server at the same moment differ by that. Default: 50, so a wait takes between half and the whole of its length.
    pub jitter_percent: u8,
    /// How many attempts in a row may fail, after the loss of a connection or the failure of the first attempt, before the
    /// client gives up. The row ends with a connection that was [stable](Self::stable_after). `None` is no limit. Default:
    /// `None`.
    pub attempts: Option<NonZeroU32>,
    /// Also retry while no connection has come about at all. Default: `false`, so that a wrong address is reported at once.
    pub initial: bool,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            initial_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(30),
            stable_after: Duration::from_secs(10),
            jitter_percent: 50,
            attempts: None,
            initial: false,
        }
    }
}

/// Counts attempts and draws the jitter, from a seed alone.
#[derive(Debug)]
pub(crate) struct Backoff {
    state: u64,
    /// Attempts since the last stable connection, for the driver to know.
    pub(crate) attempt: u32,
    /// How often it has waited since then.
    waits: u32,
}

impl Backoff {
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            state: seed,
            attempt: 0,
            waits: 0,
        }
    }

    pub(crate) const fn reset(&mut self) {
        self.attempt = 0;
        self.waits = 0;
    }

    /// Whether so many attempts have failed that no more are made.
    pub(crate) fn is_exhausted(&self, policy: &Reconnect) -> bool {
        (policy.attempts).is_some_and(|attempts| self.attempt > attempts.get())
    }

    /// The time of the next attempt: the doubled delay, of which a part is random.
    pub(crate) fn next_attempt(&mut self, now: Instant, policy: &Reconnect) -> Instant {
        let doubled = policy
            .initial_delay
            .saturating_mul(1_u32 << self.waits.min(16))
            .min(policy.max_delay);
        self.waits = self.waits.saturating_add(1);
        let random = doubled.mul_f64(f64::from(policy.jitter_percent.min(100)) / 100.0);
        later(now, doubled - random + random.mul_f64(self.random()))
    }

    /// A number in 0..1 (SplitMix64, whose constants are its author's).
    fn random(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        (mix(self.state) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Makes of each number another one, with no order left between those of neighbours.
pub(crate) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// `now` and a duration that the application has chosen, however long.
pub(crate) fn later(now: Instant, duration: Duration) -> Instant {
    const LONG: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
    now.checked_add(duration).unwrap_or(now + LONG)
}

/// What the end of a connection, or of an attempt, says about the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// Trying again could never help, or would take the session from another client for ever.
    Final,
    /// Trying this server again could never help.
    ThisServer,
    /// It may go better the next time.
    Passing,
}

/// With `fresh_credentials` the next attempt has others than the one that has ended: what the server says of credentials
/// is passing. Of a method of authentication it is not, nor of a client that is banned.
pub(crate) const fn severity(cause: &ConnectionError, fresh_credentials: bool) -> Severity {
    match cause {
        ConnectionError::Closed
        | ConnectionError::Dropped
        | ConnectionError::DriverGone
        | ConnectionError::AuthenticationFailed(_) => Severity::Final,
        ConnectionError::Refused { reason, .. } => match reason {
            ReasonCode::BadUserNameOrPassword | ReasonCode::NotAuthorized if fresh_credentials => {
                Severity::Passing
            }
            ReasonCode::UnsupportedProtocolVersion
            | ReasonCode::ClientIdentifierNotValid
            | ReasonCode::BadUserNameOrPassword
            | ReasonCode::NotAuthorized
            | ReasonCode::Banned
            | ReasonCode::BadAuthenticationMethod
            | ReasonCode::MalformedPacket
            | ReasonCode::ProtocolError
            | ReasonCode::PacketTooLarge
            | ReasonCode::TopicNameInvalid
            | ReasonCode::PayloadFormatInvalid
            | ReasonCode::RetainNotSupported
            | ReasonCode::QosNotSupported => Severity::Final,
            ReasonCode::ServerMoved => Severity::ThisServer,
            _ => Severity::Passing,
        },
        ConnectionError::Disconnected { reason, .. } => match reason {
            ReasonCode::NotAuthorized if fresh_credentials => Severity::Passing, // a token has expired
            ReasonCode::SessionTakenOver
            | ReasonCode::NotAuthorized
            | ReasonCode::BadAuthenticationMethod => Severity::Final,
            ReasonCode::ServerMoved => Severity::ThisServer,
            _ => Severity::Passing,
        },
        _ => Severity::Passing,
    }
}

impl ConnectionError {
    /// Whether trying again could not help: wrong credentials, another client that has taken the Client Identifier over, the
    /// application's own end, and the like. After any other error a client that [reconnects](Reconnect) tries again.
    ///
    /// A client that asks for new credentials at each attempt tries again after a refusal of the old ones, too.
    pub const fn is_final(&self) -> bool {
        !matches!(severity(self, false), Severity::Passing)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn errors_that_trying_again_cannot_mend_are_final() {
        let refused = |reason| ConnectionError::Refused {
            reason,
            properties: Arc::default(),
        };
        assert!(ConnectionError::Closed.is_final());
        assert!(ConnectionError::Dropped.is_final());
        assert!(ConnectionError::DriverGone.is_final());
        assert!(refused(ReasonCode::BadUserNameOrPassword).is_final());
        assert!(!refused(ReasonCode::ServerBusy).is_final());
        assert!(!ConnectionError::ConnectTimeout.is_final());
    }

    #[test]
    fn a_part_of_each_delay_is_random_as_the_policy_says() {
        let now = crate::tests_support::start();
        for (jitter_percent, least) in [(0, 1_000), (50, 500), (100, 0), (200, 0)] {
            let policy = Reconnect {
                initial_delay: Duration::from_secs(1),
                max_delay: Duration::from_secs(1),
                jitter_percent,
                ..Reconnect::default()
            };
            let mut backoff = Backoff::new(7);
            let delays: Vec<_> = (0..1_000)
                .map(|_| backoff.next_attempt(now, &policy) - now)
                .collect();
            let (least, most) = (Duration::from_millis(least), Duration::from_secs(1));
            assert!(delays.iter().all(|delay| (least..=most).contains(delay)));
            let spread = *delays.iter().max().unwrap() - *delays.iter().min().unwrap();
            assert!(
                spread >= (most - least).mul_f64(0.9),
                "{jitter_percent} {spread:?}"
            );
        }
    }

    #[test]
    fn delays_double_with_jitter_up_to_the_bound_and_depend_on_the_seed_alone() {
        let policy = Reconnect::default();
        let now = crate::tests_support::start();
        let mut one = Backoff::new(7);
        let mut two = Backoff::new(7);
        let mut longest = policy.initial_delay;
        for _ in 0..20 {
            let delay = one.next_attempt(now, &policy) - now;
            assert_eq!(delay, two.next_attempt(now, &policy) - now);
            assert!(delay >= longest / 2 && delay <= longest, "{delay:?}");
            longest = (longest * 2).min(policy.max_delay);
        }
        one.reset();
        assert!(one.next_attempt(now, &policy) - now <= policy.initial_delay);
    }
}
