//! What a client counts.

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
        /// PUBLISH packets sent again after a reconnect.
        pub resent: u64,
        /// QoS 0 publishes reported as sent that were never handed to a transport.
        pub unflushed: u64,
        /// Messages that the full outgoing queue dropped, by its policy.
        pub dropped: u64,
        /// Messages whose Message Expiry Interval was over before they could be sent.
        pub expired: u64,
        /// Attempts to connect, one that is under way included.
        pub attempts: u64,
        /// Connections that the server accepted.
        pub connections: u64,
        /// Messages in the outgoing queue now: they wait, or are unacknowledged.
        pub outgoing: usize,
        /// Bytes of memory that those take, as the queue's bound counts them
        /// ([`OutgoingLimits::bytes`](crate::OutgoingLimits::bytes)).
        pub outgoing_bytes: usize,
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
