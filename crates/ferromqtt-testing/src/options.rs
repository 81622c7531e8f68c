//! What can be set on a broker.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use ferromqtt_proto::packet::{ProtocolVersion, QoS, ReasonCode};
use ferromqtt_proto::{StringError, Utf8String};
use thiserror::Error;

use crate::access::User;
use crate::authentication::Authentication;
use crate::denied::Denied;

/// Limits of a [`Broker`](crate::Broker), in numbers and in bytes. Start from `BrokerOptions::default()` and set what a test
/// needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerOptions {
    /// How many QoS 1 and 2 messages may be in flight to a client that names no Receive Maximum because it speaks 3.x.
    /// Default 20. Clients of 5.0 get as many as their Receive Maximum says, 65,535 without one.
    pub inflight_window: NonZeroU16,
    /// The broker's own Receive Maximum: how many QoS 2 messages a client of 5.0 may have unreleased. Default 65,535.
    pub receive_maximum: NonZeroU16,
    /// The broker's Maximum Packet Size, in bytes, for clients of every version. Default: the largest that MQTT knows.
    pub maximum_packet_size: NonZeroU32,
    /// How many bytes a packet other than PUBLISH may have, and any packet before CONNECT is accepted. Default 1 MiB. A larger
    /// one is refused from its fixed header: its client is disconnected with Quota exceeded.
    pub maximum_non_publish_size: NonZeroU32,
    /// How many connections have a client. Default 100,000. Beyond it CONNECT is answered Quota exceeded (3.x: Server
    /// unavailable), unless it takes over a session from another connection. 100 more connections may be in the middle of
    /// their handshake or end; those beyond that are closed unread.
    pub maximum_connections: usize,
    /// How many sessions there are, connected or not. Default 100,000. Beyond it a CONNECT that would begin another is answered
    /// Quota exceeded (3.x: Server unavailable).
    pub maximum_sessions: usize,
    /// How many bytes of memory all sessions take together: Client Identifiers, subscriptions, wills, and the messages that
    /// wait or are in flight, each counted once however many sessions it goes to. Default 2 GiB. Beyond it messages are dropped and
    /// counted, CONNECT and SUBSCRIBE are answered Quota exceeded.
    pub maximum_session_bytes: usize,
    /// How many subscriptions one session has. Default 1,000,000. Beyond it a Topic Filter is answered Quota exceeded (3.1.1:
    /// Failure); the connection of 3.1, whose SUBACK cannot refuse, is closed.
    pub maximum_subscriptions: usize,
    /// How many messages wait for a session, whether its client is away or its window is full. Default 100,000. At the
    /// limit the newest message is dropped and counted in [`BrokerStats::dropped`](crate::BrokerStats::dropped).
    pub maximum_queued_messages: usize,
    /// How many bytes of memory the messages take that wait for one session or are in flight to it: topic, properties,
    /// payload, the Topic Filter of a Shared Subscription, and a fixed overhead of some hundred bytes. Default 512 MiB. At
    /// the limit the newest message is dropped and counted.
    pub maximum_queued_bytes: usize,
    /// How many topics have a retained message. Default 100,000. At the limit a message to a further topic is refused with
    /// Quota exceeded when it has QoS 1 or 2 and comes from a client of 5.0. Any other, which has no such answer, goes to
    /// the subscribers and is not retained, which [`BrokerStats::dropped`](crate::BrokerStats::dropped) counts.
    pub maximum_retained_messages: usize,
    /// How many bytes of memory all retained messages take, counted like [`BrokerOptions::maximum_queued_bytes`]. Default
    /// 1 GiB; at the limit as above.
    pub maximum_retained_bytes: usize,
    /// How many bytes may wait for a client that does not read. Default 64 MiB. Beyond it QoS 0 messages are dropped and
    /// counted, and a client that still asks for answers is disconnected with Quota exceeded.
    pub maximum_output: usize,
    /// How long a new connection may take to send CONNECT, and how long one that is being closed may take to read what
    /// is left. Default 10 s.
    pub handshake_timeout: Duration,
    /// Who may connect. Default: empty, which lets everybody in unless [`BrokerOptions::authentication`] is set. Otherwise a
    /// wrong User Name or Password is answered Bad User Name or Password, and none at all Not authorized.
    pub users: Vec<User>,
    /// Enhanced authentication: an Authentication Method that clients of 5.0 may use instead of a User Name. Default: none,
    /// which answers every method Bad authentication method.
    pub authentication: Option<Authentication>,
    /// What is refused with a Reason Code: see [`BrokerOptions::deny_publish`] and its sisters.
    pub(crate) denied: Denied,
    /// Maximum QoS of what clients publish and of what they are granted. Default 2. More in PUBLISH ends the connection,
    /// also of 3.x, where no packet announces the limit.
    pub maximum_qos: QoS,
    /// Retain Available. Default `true`. Otherwise RETAIN in PUBLISH ends the connection.
    pub retain_available: bool,
    /// Topic Alias Maximum: up to which number clients of 5.0 may use aliases. Default 0.
    pub topic_alias_maximum: u16,
    /// How many Topic Aliases the broker itself assigns, at most, to a client that announces a Topic Alias Maximum. Default
    /// 16; 0 turns them off. When all are in use, the oldest goes to the next topic.
    pub topic_aliases_out: u16,
    /// Server Keep Alive, in seconds: instead of what clients of 5.0 ask for. Default: none.
    pub server_keep_alive: Option<u16>,
    /// The longest Session Expiry Interval of clients of 5.0, in seconds. Default `u32::MAX`, which never expires.
    pub maximum_session_expiry_interval: u32,
    /// Whether a client of 5.0, or one of 3.1.1 with Clean Session, that names no Client Identifier is given one. Default
    /// `true`. Otherwise it is answered Client Identifier not valid.
    pub assign_client_identifiers: bool,
    /// Response Information for clients of 5.0 that ask for it. Default: none.
    pub response_information: Option<Utf8String>,
    /// The versions of MQTT that the broker does not speak: their CONNECT is answered Unsupported Protocol Version, in the form
    /// of 3.1.1. Default: none.
    pub refused_versions: Vec<ProtocolVersion>,
    /// The versions on whose CONNECT the broker closes the connection without an answer, as some servers do. Default: none.
    pub unanswered_versions: Vec<ProtocolVersion>,
    /// Server Reference: sends every client to another server, with Use another server in the answer to CONNECT. 3.x is
    /// answered Server unavailable. Default: none.
    pub server_reference: Option<Utf8String>,
    /// Whether [`BrokerOptions::server_reference`] is permanent: then the answer is Server moved. Default `false`.
    pub server_moved: bool,
    /// Wildcard Subscription Available. Default `true`. Otherwise asking for one ends the connection of 5.0, is refused in
    /// SUBACK of 3.1.1, and ends the connection of 3.1, whose SUBACK cannot refuse. So do the next two, but for Subscription
    /// Identifiers, which 3.x does not know.
    pub wildcard_subscription_available: bool,
    /// How many packets, and how many accepted messages, the [`BrokerJournal`](crate::BrokerJournal) holds; 0 turns it off. Default: none,
    /// which is off in [`Broker`](crate::Broker), and 10,000 in `TestBroker`. It costs a copy of each packet.
    pub journal_packets: Option<usize>,
    /// How many bytes the packets in the journal take, and how many its messages. Default 16 MiB each.
    pub journal_bytes: usize,
    /// How many bytes each direction of a link holds that a fault delays or holds back, with 128 beside each packet. Default
    /// 1 MiB. Beyond it the oldest goes on.
    pub maximum_postponed: usize,
    /// Shared Subscription Available. Default `true`.
    pub shared_subscription_available: bool,
    /// Subscription Identifier Available. Default `true`.
    pub subscription_identifier_available: bool,
}

/// Fixed header and Remaining Length at their largest.
const LARGEST_PACKET: NonZeroU32 = NonZeroU32::MIN.saturating_add(268_435_455 + 4);

/// 1 MiB.
const MAXIMUM_NON_PUBLISH_SIZE: NonZeroU32 = NonZeroU32::new(1 << 20).unwrap();

/// A value that a broker cannot be started with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BrokerOptionsError {
    /// The standard does not list this Reason Code for the answer.
    #[error(
        "a refused {request} cannot be answered {reason}: give a code of 0x80 or above that section {section} of MQTT 5.0 lists"
    )]
    ReasonCode {
        /// What would be refused.
        request: &'static str,
        /// The code.
        reason: ReasonCode,
        /// Where the codes for it are.
        section: &'static str,
    },
    /// More than a packet can hold.
    #[error("{what} is {bytes} bytes long: MQTT carries at most 65535")]
    TooLong {
        /// Which value.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// Not an MQTT string.
    #[error("{what}: {error}")]
    Text {
        /// Which value.
        what: &'static str,
        /// Why.
        error: StringError,
    },
}

impl BrokerOptions {
    /// Maximum Packet Size, if it restricts anything.
    pub(crate) fn restricted_packet_size(&self) -> Option<NonZeroU32> {
        Some(self.maximum_packet_size).filter(|&size| size < LARGEST_PACKET)
    }
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            inflight_window: NonZeroU16::MIN.saturating_add(19),
            receive_maximum: NonZeroU16::MAX,
            maximum_packet_size: LARGEST_PACKET,
            maximum_non_publish_size: MAXIMUM_NON_PUBLISH_SIZE,
            maximum_connections: 100_000,
            maximum_sessions: 100_000,
            maximum_session_bytes: 2 << 30,
            maximum_subscriptions: 1_000_000,
            maximum_queued_messages: 100_000,
            maximum_queued_bytes: 512 << 20,
            maximum_retained_messages: 100_000,
            maximum_retained_bytes: 1 << 30,
            maximum_output: 64 << 20,
            handshake_timeout: Duration::from_secs(10),
            users: Vec::new(),
            authentication: None,
            denied: Denied::default(),
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            topic_alias_maximum: 0,
            topic_aliases_out: 16,
            server_keep_alive: None,
            maximum_session_expiry_interval: u32::MAX,
            assign_client_identifiers: true,
            response_information: None,
            refused_versions: Vec::new(),
            unanswered_versions: Vec::new(),
            server_reference: None,
            server_moved: false,
            journal_packets: None,
            journal_bytes: 16 << 20,
            maximum_postponed: 1 << 20,
            wildcard_subscription_available: true,
            shared_subscription_available: true,
            subscription_identifier_available: true,
        }
    }
}
