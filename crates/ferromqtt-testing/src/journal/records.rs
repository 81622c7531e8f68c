//! The entries of the journal.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ferromqtt_proto::packet::{Packet, PacketType, Properties, ProtocolVersion, QoS};
use ferromqtt_proto::{Utf8String, debug_fields};

use crate::connection::ConnectionId;
use crate::message::PublishedMessage;

/// What the broker does with a packet. It is from the broker's view, in rules for faults as in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BrokerSide {
    /// The broker sends it to a client.
    Sends,
    /// The broker receives it from a client.
    Receives,
}

/// Names an entry of the [`BrokerJournal`](crate::BrokerJournal) for as long as that has it: they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JournalEntryId(pub(super) u64);

/// An entry of the [`BrokerJournal`](crate::BrokerJournal).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum JournalEvent {
    /// A packet.
    Packet(JournalPacket),
    /// A link began, changed or ended.
    Link(JournalLink),
}

impl JournalEvent {
    /// When it happened.
    pub const fn at(&self) -> Instant {
        match self {
            Self::Packet(JournalPacket { at, .. }) | Self::Link(JournalLink { at, .. }) => *at,
        }
    }
}

/// A packet that went by, and what befell it. Its text is a line without the time:
/// `PUBLISH (id 7, QoS 1, topic "a/b", payload 2 bytes "42")`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JournalPacket {
    /// When the broker saw it.
    pub at: Instant,
    /// Which way it went.
    pub side: BrokerSide,
    /// The connection that it went by.
    pub link: ConnectionId,
    /// The Client Identifier of that connection; empty until it is known.
    pub client: Utf8String,
    /// The version of MQTT that the packet is coded by.
    pub version: ProtocolVersion,
    /// Its type; `None` where the first byte names none.
    pub kind: Option<PacketType>,
    /// The packet, without what authenticates; `None` where it breaks the standard's coding. The topic of a PUBLISH is as it
    /// was on the wire: see [`JournalPacket::topic`].
    pub packet: Option<Packet>,
    /// The Topic Name of a PUBLISH, also where a Topic Alias stands for it.
    pub topic: Option<Utf8String>,
    /// Length of the whole packet.
    pub bytes: usize,
    /// The fault that befell it: the text of its rule, or of the verb.
    pub fault: Option<Arc<str>>,
    /// Whether it, or what a fault made of it, goes on to its receiver. `false` for what was lost or refused, and for what was
    /// on its way when its link ended.
    pub passed: bool,
    /// Whether it, or what a fault made of it, has come to its receiver: the broker, or the transport that leads to the client.
    /// What such a transport loses in a reset counts as arrived.
    pub arrived: bool,
}

/// A change of a link.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JournalLink {
    /// When.
    pub at: Instant,
    /// Which connection.
    pub link: ConnectionId,
    /// Its Client Identifier; empty until it is known.
    pub client: Utf8String,
    /// What happened.
    pub change: LinkChange,
}

/// What happened to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkChange {
    /// A client opened it.
    Opened,
    /// A client tried to open it, and was refused: the broker is down or cut off.
    Refused,
    /// The client closed it.
    ClosedByClient,
    /// The broker closed it.
    ClosedByBroker,
    /// A fault ended it.
    Cut,
    /// A fault reset it.
    Reset,
    /// Nothing passes any more, in either direction, and neither side is told.
    HalfOpen,
}

/// Its text in a chart.
impl fmt::Display for LinkChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Opened => "connection opened",
            Self::Refused => "connection refused",
            Self::ClosedByClient => "closed by the client",
            Self::ClosedByBroker => "closed by the broker",
            Self::Cut => "cut",
            Self::Reset => "reset",
            Self::HalfOpen => "half-open from here",
        })
    }
}

/// A message that the broker accepted.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalMessage {
    /// When it was accepted.
    pub at: Instant,
    /// The Client Identifier of its publisher; empty for the broker itself, and where its session has ended.
    pub client: Utf8String,
    /// Topic Name.
    pub topic: Utf8String,
    /// Application Message.
    pub payload: Bytes,
    /// Quality of Service that it was published with.
    pub qos: QoS,
    /// Retain flag that it was published with.
    pub retain: bool,
    /// Properties of 5.0, if there are any.
    pub properties: Option<Arc<Properties>>,
}

impl JournalMessage {
    /// A message that owns its memory, accepted from a client.
    pub(crate) fn of(at: Instant, client: Utf8String, message: PublishedMessage) -> Self {
        Self {
            at,
            client,
            topic: message.topic,
            payload: message.payload,
            qos: message.qos,
            retain: message.retain,
            properties: message.properties,
        }
    }
}

debug_fields!(JournalMessage {
    at,
    client,
    topic,
    payload: length,
    qos,
    retain,
    properties
});
