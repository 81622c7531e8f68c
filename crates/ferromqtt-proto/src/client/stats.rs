//! What a client counts.

/// Defines [`Stats`] and the list of its fields, so that a counter is one line here.
macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident: $number:ty,)*) => {
        /// Counters since the client was made, and how full its outgoing queue is.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: $number,)*
        }

        impl Stats {
            /// All fields, by their names: for a client in another language, or an exporter of metrics.
            pub fn fields(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name as u64)),*].into_iter()
            }
        }
    };
}

stats! {
    /// Messages received, duplicates of QoS 2 not counted.
    received: u64,
    /// QoS 0 publishes encoded for the transport.
    sent_qos0: u64,
    /// QoS 1 and 2 publishes acknowledged by the server.
    acknowledged: u64,
    /// PUBLISH packets sent again after a reconnect.
    resent: u64,
    /// QoS 0 publishes reported as sent that were never handed to a transport.
    unflushed: u64,
    /// Messages that the full outgoing queue dropped, by its policy.
    dropped: u64,
    /// Messages whose Message Expiry Interval was over before they could be sent.
    expired: u64,
    /// Attempts to connect, one that is under way included.
    attempts: u64,
    /// Connections that the server accepted.
    connections: u64,
    /// Messages in the outgoing queue now: they wait, or are unacknowledged.
    outgoing: usize,
    /// Bytes of memory that those take, as the queue's bound counts them
    /// ([`OutgoingLimits::bytes`](crate::OutgoingLimits::bytes)).
    outgoing_bytes: usize,
    /// Rules that servers broke, and that were tolerated because the client is not [strict](crate::Options::strict): each
    /// time, not only the first of its kind.
    tolerated: u64,
    /// Messages that went to the default queue because no queue had [claimed](crate::Options::claim_within) them in time.
    unclaimed: u64,
    /// Messages that are held now, for a queue to claim them.
    awaiting_claim: usize,
    /// How often a message in flight was suspected to make the server end connections. Each is reported as an event,
    /// `MessageSuspected`.
    suspected: u64,
    /// QoS 1 and 2 publishes that the server refused by ending the connection. Each is reported as an event,
    /// `MessageRefused`.
    refused_by_disconnect: u64,
    /// Received messages that full queues have lost.
    lost: u64,
    /// How often input was held back, because a queue under [`Overflow::Wait`](crate::Overflow::Wait) had no room.
    pauses: u64,
    /// How often a queue has withheld acknowledgements for 5 s, because nobody reads it. Each is reported as an event,
    /// `Stalled`.
    stalls: u64,
}
