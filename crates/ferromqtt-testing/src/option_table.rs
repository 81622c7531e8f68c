//! The one table of what can be set on a broker.

/// Calls the macro `$make` with one row for each option of a broker.
///
/// A row is the option's documentation, name, type and default. Behind it are the unit and the one line of help of its argument
/// on command lines; a row without them has no argument of its own, or one that is written by hand. From the rows
/// [`BrokerOptions`](crate::BrokerOptions) is made, and in other crates the arguments of the command `ferromqtt` and what the
/// Python package sets and shows. They match types with what they know to read: see `docs/design/0058-pytest-plugin.md`.
///
/// What is refused by its name is not here: [`BrokerOptions::deny_publish`](crate::BrokerOptions::deny_publish) and its sisters
/// are methods, which check what they are given.
#[doc(hidden)]
#[macro_export]
macro_rules! broker_options {
    ($make:ident) => {
        $make! {
            /// How many QoS 1 and 2 messages may be in flight to a client that names no Receive Maximum because it speaks 3.x.
            /// Default 20. Clients of 5.0 get as many as their Receive Maximum says, 65,535 without one.
            inflight_window: NonZeroU16 = const { NonZeroU16::new(20).unwrap() },
                "COUNT", "How many QoS 1 and 2 messages are in flight to a client of 3.x";
            /// The broker's own Receive Maximum: how many QoS 2 messages a client of 5.0 may have unreleased. Default 65,535.
            receive_maximum: NonZeroU16 = NonZeroU16::MAX,
                "COUNT", "How many QoS 2 messages a client of 5.0 may have unreleased";
            /// The broker's Maximum Packet Size, in bytes, for clients of every version. Default: the largest that MQTT knows.
            maximum_packet_size: NonZeroU32 = LARGEST_PACKET,
                "BYTES", "Largest packet from a client";
            /// How many bytes a packet other than PUBLISH may have, and any packet before CONNECT is accepted. Default 1 MiB. A larger
            /// one is refused from its fixed header: its client is disconnected with Quota exceeded.
            maximum_non_publish_size: NonZeroU32 = const { NonZeroU32::new(1 << 20).unwrap() },
                "BYTES", "Largest packet from a client other than PUBLISH";
            /// How many connections have a client. Default 100,000. Beyond it CONNECT is answered Quota exceeded (3.x: Server
            /// unavailable), unless it takes over a session from another connection. 100 more connections may be in the middle of
            /// their handshake or end; those beyond that are closed unread.
            maximum_connections: usize = 100_000,
                "COUNT", "How many connections have a client; more are refused";
            /// How many sessions there are, connected or not. Default 100,000. Beyond it a CONNECT that would begin another is answered
            /// Quota exceeded (3.x: Server unavailable).
            maximum_sessions: usize = 100_000,
                "COUNT", "How many sessions there are, connected or not; more are refused";
            /// How many bytes of memory all sessions take together: Client Identifiers, subscriptions, wills, and the messages that
            /// wait or are in flight, each counted once however many sessions it goes to. Default 2 GiB. Beyond it messages are dropped and
            /// counted, CONNECT and SUBSCRIBE are answered Quota exceeded.
            maximum_session_bytes: usize = 2 << 30,
                "BYTES", "How much memory all sessions take; messages beyond it are dropped and counted, the rest is refused";
            /// How many subscriptions one session has. Default 1,000,000. Beyond it a Topic Filter is answered Quota exceeded (3.1.1:
            /// Failure); the connection of 3.1, whose SUBACK cannot refuse, is closed.
            maximum_subscriptions: usize = 1_000_000,
                "COUNT", "How many subscriptions one session has; more are refused";
            /// How many messages wait for a session, whether its client is away or its window is full. Default 100,000. At the
            /// limit the newest message is dropped and counted in [`BrokerStats::dropped`](crate::BrokerStats::dropped).
            maximum_queued_messages: usize = 100_000,
                "COUNT", "How many messages wait for one session; more are dropped and counted";
            /// How many bytes of memory the messages take that wait for one session or are in flight to it: topic, properties,
            /// payload, the Topic Filter of a Shared Subscription, and a fixed overhead of some hundred bytes. Default 512 MiB. At
            /// the limit the newest message is dropped and counted.
            maximum_queued_bytes: usize = 512 << 20,
                "BYTES", "How much memory the messages take that wait for one session or are in flight; more are dropped and counted";
            /// How many topics have a retained message. Default 100,000. At the limit a message to a further topic is refused with
            /// Quota exceeded when it has QoS 1 or 2 and comes from a client of 5.0. Any other, which has no such answer, goes to
            /// the subscribers and is not retained, which [`BrokerStats::dropped`](crate::BrokerStats::dropped) counts.
            maximum_retained_messages: usize = 100_000,
                "COUNT", "How many topics have a retained message; more are refused, or dropped and counted";
            /// How many bytes of memory all retained messages take, counted like [`BrokerOptions::maximum_queued_bytes`]. Default
            /// 1 GiB; at the limit as above.
            maximum_retained_bytes: usize = 1 << 30,
                "BYTES", "How much memory retained messages take; more are refused, or dropped and counted";
            /// How many bytes may wait for a client that does not read. Default 64 MiB. Beyond it QoS 0 messages are dropped and
            /// counted, and a client that still asks for answers is disconnected with Quota exceeded.
            maximum_output: usize = 64 << 20,
                "BYTES", "How many bytes wait for a client that does not read";
            /// How long a new connection may take to send CONNECT, and how long one that is being closed may take to read what
            /// is left. Default 10 s.
            handshake_timeout: Duration = Duration::from_secs(10),
                "SECONDS", "How long a new connection may take to send CONNECT";
            /// How many packets, and how many accepted messages, the [`BrokerJournal`](crate::BrokerJournal) holds; 0 turns it
            /// off. Default: none, which is off in [`Broker`](crate::Broker), and 10,000 in `TestBroker`. It costs a copy of each packet.
            journal_packets: Option<usize> = None;
            /// How many bytes the packets in the journal take, and how many its messages. Default 16 MiB each.
            journal_bytes: usize = 16 << 20;
            /// How many bytes each direction of a link holds that a fault delays or holds back, with 128 beside each packet. Default
            /// 1 MiB. Beyond it the oldest goes on.
            maximum_postponed: usize = 1 << 20;
            /// Who may connect. Default: empty, which lets everybody in unless [`BrokerOptions::authentication`] is set. Otherwise a
            /// wrong User Name or Password is answered Bad User Name or Password, and none at all Not authorized.
            users: Vec<User> = Vec::new();
            /// Enhanced authentication: an Authentication Method that clients of 5.0 may use instead of a User Name. Default: none,
            /// which answers every method Bad authentication method.
            authentication: Option<Authentication> = None;
            /// Maximum QoS of what clients publish and of what they are granted. Default 2. More in PUBLISH ends the connection,
            /// also of 3.x, where no packet announces the limit.
            maximum_qos: QoS = QoS::ExactlyOnce,
                "QOS", "Largest QoS of messages and subscriptions";
            /// Retain Available. Default `true`. Otherwise RETAIN in PUBLISH ends the connection.
            retain_available: bool = true,
                "BOOL", "Whether messages can be retained";
            /// Topic Alias Maximum: up to which number clients of 5.0 may use aliases. Default 0.
            topic_alias_maximum: u16 = 0,
                "COUNT", "Up to which number clients of 5.0 may use Topic Aliases";
            /// How many Topic Aliases the broker itself assigns, at most, to a client that announces a Topic Alias Maximum. Default
            /// 16; 0 turns them off. When all are in use, the oldest goes to the next topic.
            topic_aliases_out: u16 = 16,
                "COUNT", "How many Topic Aliases the broker assigns to a client that takes some";
            /// Server Keep Alive, in seconds: instead of what clients of 5.0 ask for. Default: none.
            server_keep_alive: Option<u16> = None,
                "SECONDS", "Keep Alive for clients of 5.0, whatever they ask for";
            /// The longest Session Expiry Interval of clients of 5.0, in seconds. Default `u32::MAX`, which never expires.
            maximum_session_expiry_interval: u32 = u32::MAX,
                "SECONDS", "Longest Session Expiry Interval of clients of 5.0";
            /// Whether a client of 5.0, or one of 3.1.1 with Clean Session, that names no Client Identifier is given one. Default
            /// `true`. Otherwise it is answered Client Identifier not valid.
            assign_client_identifiers: bool = true,
                "BOOL", "Whether a client without a Client Identifier is given one";
            /// Response Information for clients of 5.0 that ask for it. Default: none.
            response_information: Option<Utf8String> = None,
                "TEXT", "Response Information for clients that ask for it";
            /// The versions of MQTT that the broker does not speak: their CONNECT is answered Unsupported Protocol Version, in the form
            /// of 3.1.1. Default: none.
            refused_versions: Vec<ProtocolVersion> = Vec::new();
            /// The versions on whose CONNECT the broker closes the connection without an answer, as some servers do. Default: none.
            unanswered_versions: Vec<ProtocolVersion> = Vec::new();
            /// Server Reference: sends every client to another server, with Use another server in the answer to CONNECT. 3.x is
            /// answered Server unavailable. Default: none.
            server_reference: Option<Utf8String> = None;
            /// Whether [`BrokerOptions::server_reference`] is permanent: then the answer is Server moved. Default `false`.
            server_moved: bool = false;
            /// Wildcard Subscription Available. Default `true`. Otherwise asking for one ends the connection of 5.0, is refused in
            /// SUBACK of 3.1.1, and ends the connection of 3.1, whose SUBACK cannot refuse. So do the next two, but for Subscription
            /// Identifiers, which 3.x does not know.
            wildcard_subscription_available: bool = true,
                "BOOL", "Whether Topic Filters may have wildcards";
            /// Shared Subscription Available. Default `true`.
            shared_subscription_available: bool = true,
                "BOOL", "Whether there are Shared Subscriptions";
            /// Subscription Identifier Available. Default `true`.
            subscription_identifier_available: bool = true,
                "BOOL", "Whether there are Subscription Identifiers";
        }
    };
}
