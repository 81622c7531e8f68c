//! What a client counts.

use std::time::{Duration, Instant};

/// Defines a struct of numbers, and the list of its fields.
macro_rules! with_fields {
    (
        $(#[$of_struct:meta])*
        pub struct $Struct:ident {
            $($(#[$of_field:meta])* pub $field:ident: $number:ty,)*
        }
    ) => {
        $(#[$of_struct])*
        pub struct $Struct {
            $($(#[$of_field])* pub $field: $number,)*
        }

        impl $Struct {
            /// All fields, by their names: for a client in another language, or an exporter of metrics.
            pub fn fields(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($field), self.$field as u64)),*].into_iter()
            }
        }
    };
}

with_fields! {
    /// Counters since the client was made, and how full its outgoing queue is.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct Stats {
        /// Messages received, duplicates of QoS 2 not counted.
        pub received: u64,
        /// QoS 0 publishes encoded for the transport.
        pub sent_qos0: u64,
        /// QoS 1 and 2 publishes acknowledged by the server.
        pub acknowledged: u64,
        /// QoS 1 and 2 publishes that the server has refused by the Reason Code of PUBACK or PUBREC (5.0).
        pub refused: u64,
        /// QoS 2 publishes that the server has accepted by PUBREC, and whose Packet Identifier it then did not know: PUBCOMP with
        /// 0x92 (5.0). Whether they have arrived is unknown. [`acknowledged`](Self::acknowledged) and `refused` do not count them.
        pub unreleased: u64,
        /// PUBLISH packets sent again after a reconnect.
        pub resent: u64,
        /// QoS 0 publishes reported as sent that were never handed to a transport.
        pub unflushed: u64,
        /// Messages that the full outgoing queue dropped, by its policy.
        pub dropped: u64,
        /// Messages whose Message Expiry Interval was over before they could be sent.
        pub expired: u64,
        /// Messages whose place a newer one to the same topic took before they could be sent: in an outgoing queue above the
        /// core, which counts them.
        pub replaced: u64,
        /// Attempts to connect, one that is under way included.
        pub attempts: u64,
        /// Connections that the server accepted.
        pub connections: u64,
        /// Those of them that were made again after a loss.
        pub reconnects: u64,
        /// Messages in the outgoing queue now: they wait, or are unacknowledged.
        pub outgoing: usize,
        /// Those of them that are unacknowledged: QoS 1 and 2 publishes that were sent, on this connection or an earlier one.
        pub in_flight: usize,
        /// Bytes of memory that those take, as the queue's bound counts them
        /// ([`OutgoingLimits::bytes`](crate::OutgoingLimits::bytes)).
        pub outgoing_bytes: usize,
        /// Received messages that are in queues now, and were not taken yet.
        pub queued: usize,
        /// Bytes of memory that those take, as the bounds of queues count them
        /// ([`QueueOptions::bytes`](crate::QueueOptions::bytes)).
        pub queued_bytes: usize,
        /// Received QoS 1 and 2 messages whose PUBACK or PUBREC is withheld now, until the application or a queue lets go of
        /// them.
        pub unacknowledged: usize,
        /// QoS 1 and 2 publishes whose time from PUBLISH to PUBACK or PUBCOMP was taken: those that one connection carried
        /// from the one to the other. [`Stats::latency`] has it in words.
        pub latency_count: u64,
        /// The latest such time, in nanoseconds.
        pub latency_last: u64,
        /// The longest such time, in nanoseconds.
        pub latency_max: u64,
        /// The sum of such times, in nanoseconds.
        pub latency_total: u64,
        /// Rules that servers broke, and that were tolerated because the client is not [strict](crate::Options::strict): each
        /// time, not only the first of its kind.
        pub tolerated: u64,
        /// Messages that went to the default queue because no queue had [claimed](crate::Options::claim_within) them in time.
        pub unclaimed: u64,
        /// Messages that are held now, for a queue to claim them.
        pub awaiting_claim: usize,
        /// How often a message in flight was suspected to make the server end connections. Each is reported as an event,
        /// `MessageSuspected`.
        pub suspected: u64,
        /// QoS 1 and 2 publishes that the server refused by ending the connection. Each is reported as an event,
        /// `MessageRefused`.
        pub refused_by_disconnect: u64,
        /// Received messages that full queues have lost.
        pub lost: u64,
        /// How often input was held back, because a queue under [`Overflow::Wait`](crate::Overflow::Wait) had no room.
        pub pauses: u64,
        /// How often a queue has withheld acknowledgements for 5 s, because nobody reads it. Each is reported as an event,
        /// `Stalled`.
        pub stalls: u64,
    }
}

/// How long the server took to acknowledge QoS 1 and 2 publishes: from the PUBLISH to PUBACK or PUBCOMP, an error in PUBACK or
/// PUBREC included. Of those that one connection carried from the one to the other, since the client was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AckLatency {
    /// Of how many publishes.
    pub count: u64,
    /// Of the latest one.
    pub last: Duration,
    /// The longest.
    pub max: Duration,
    /// The arithmetic mean.
    pub mean: Duration,
}

impl Stats {
    /// How long acknowledgements took; `None` before the first.
    pub fn latency(&self) -> Option<AckLatency> {
        let mean = self.latency_total.checked_div(self.latency_count)?;
        Some(AckLatency {
            count: self.latency_count,
            last: Duration::from_nanos(self.latency_last),
            max: Duration::from_nanos(self.latency_max),
            mean: Duration::from_nanos(mean),
        })
    }

    /// A publish was acknowledged after so many nanoseconds.
    #[inline]
    pub(super) fn count_latency(&mut self, nanos: u64) {
        self.latency_count += 1;
        self.latency_last = nanos;
        self.latency_max = self.latency_max.max(nanos);
        self.latency_total = self.latency_total.saturating_add(nanos);
    }
}

/// Tells how long acknowledgements took. Messages that were sent together are often acknowledged together, and then it costs
/// two comparisons, not a subtraction of instants.
#[derive(Debug, Default)]
pub(super) struct AckClock {
    /// From when to when.
    taken: Option<(Instant, Instant)>,
    nanos: u64,
}

impl AckClock {
    /// Nanoseconds from `sent_at` to `now`.
    #[inline]
    pub(super) fn between(&mut self, sent_at: Instant, now: Instant) -> u64 {
        if self.taken != Some((sent_at, now)) {
            self.take(sent_at, now);
        }
        self.nanos
    }

    #[inline(never)]
    fn take(&mut self, sent_at: Instant, now: Instant) {
        let elapsed = now.saturating_duration_since(sent_at);
        self.taken = Some((sent_at, now));
        self.nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
    }
}
