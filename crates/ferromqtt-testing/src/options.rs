//! What can be set on a broker.

use std::num::NonZeroU16;
use std::time::Duration;

use ferromqtt_proto::TopicFilter;
use ferromqtt_proto::packet::QoS;

use crate::access::User;

/// Limits of a [`Broker`](crate::Broker). Start from `BrokerOptions::default()` and set what a test needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerOptions {
    /// How many QoS 1 and 2 messages may be in flight to a client that names no Receive Maximum because it speaks 3.x.
    /// Default 20. Clients of 5.0 get as many as their Receive Maximum says, 65,535 without one.
    pub inflight_window: NonZeroU16,
    /// The broker's own Receive Maximum: how many QoS 2 messages a client of 5.0 may have unreleased. Default 65,535.
    pub receive_maximum: NonZeroU16,
    /// The broker's Maximum Packet Size, in bytes, for clients of every version. Default: the largest that MQTT knows.
    pub maximum_packet_size: u32,
    /// How many messages wait for a session, whether its client is away or its window is full. Default 100,000. At the
    /// limit the newest message is dropped and counted in [`Stats::dropped`](crate::Stats::dropped).
    pub maximum_queued_messages: usize,
    /// How many topics have a retained message. Default 100,000; at the limit further topics are not retained, and counted.
    pub maximum_retained_messages: usize,
    /// How many bytes may wait for a client that does not read. Default 64 MiB. Beyond it QoS 0 messages are dropped and
    /// counted, and a client that still asks for answers is disconnected with Quota exceeded.
    pub maximum_output: usize,
    /// How long a new connection may take to send CONNECT, and how long one that is being closed may take to read what
    /// is left. Default 10 s.
    pub handshake_timeout: Duration,
    /// Who may connect. Default: empty, which lets everybody in. Otherwise a wrong User Name or Password is answered Bad User
    /// Name or Password, and none at all Not authorized.
    pub users: Vec<User>,
    /// Topics that nobody may publish to. Default: none. 5.0 is answered Not authorized at QoS 1 and 2; 3.x and QoS 0 have
    /// no such answer, and the message is dropped. A will there is refused with CONNECT.
    pub deny_publish: Vec<TopicFilter>,
    /// Topic Filters that nobody may subscribe to, nor to a part of what they match: that is answered Not authorized. Default:
    /// none. A wider filter is granted, and gets all it matches.
    pub deny_subscribe: Vec<TopicFilter>,
    /// Maximum QoS of what clients publish and of what they are granted. Default 2. More in PUBLISH ends the connection.
    pub maximum_qos: QoS,
    /// Retain Available. Default `true`. Otherwise RETAIN in PUBLISH ends the connection.
    pub retain_available: bool,
    /// Topic Alias Maximum: up to which number clients of 5.0 may use aliases. Default 0. The broker itself uses none.
    pub topic_alias_maximum: u16,
    /// Server Keep Alive, in seconds: instead of what clients of 5.0 ask for. Default: none.
    pub server_keep_alive: Option<u16>,
    /// The longest Session Expiry Interval of clients of 5.0, in seconds. Default `u32::MAX`, which never expires.
    pub maximum_session_expiry_interval: u32,
    /// Wildcard Subscription Available. Default `true`. Otherwise asking for one ends the connection, as the next two do.
    pub wildcard_subscription_available: bool,
    /// Shared Subscription Available. Default `true`.
    pub shared_subscription_available: bool,
    /// Subscription Identifier Available. Default `true`.
    pub subscription_identifier_available: bool,
}

/// Fixed header and Remaining Length at their largest.
const LARGEST_PACKET: u32 = 268_435_455 + 5;

impl BrokerOptions {
    /// Whether Maximum Packet Size restricts anything.
    pub(crate) const fn limits_packet_size(&self) -> bool {
        self.maximum_packet_size < LARGEST_PACKET
    }
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            inflight_window: NonZeroU16::MIN.saturating_add(19),
            receive_maximum: NonZeroU16::MAX,
            maximum_packet_size: LARGEST_PACKET,
            maximum_queued_messages: 100_000,
            maximum_retained_messages: 100_000,
            maximum_output: 64 << 20,
            handshake_timeout: Duration::from_secs(10),
            users: Vec::new(),
            deny_publish: Vec::new(),
            deny_subscribe: Vec::new(),
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            topic_alias_maximum: 0,
            server_keep_alive: None,
            maximum_session_expiry_interval: u32::MAX,
            wildcard_subscription_available: true,
            shared_subscription_available: true,
            subscription_identifier_available: true,
        }
    }
}
