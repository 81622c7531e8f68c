//! Errors, told apart by whose fault they are.
//!
//! Ours before anything is sent: [`StringError`], [`TopicError`], [`InvalidOptions`], [`InvalidPublish`],
//! [`InvalidSubscribe`], [`DisconnectError`], [`AuthError`], [`AcknowledgeError`]. The peer's bytes: [`DecodeError`]. The end
//! of a connection, whoever ended it: [`ConnectionError`].

use std::sync::Arc;

use thiserror::Error;

use crate::packet::{PacketType, Properties, ReasonCode};
use crate::profile::{ProfileConflict, TopicLimit};
use crate::property_error::PropertyError;
use crate::shown::peer_text;

/// A text that cannot be an MQTT string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StringError {
    /// More than 65,535 bytes of UTF-8.
    #[error("string is {bytes} bytes long; MQTT strings hold at most 65535")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Holds the character U+0000 (MQTT-1.5.4-2).
    #[error("string contains the character U+0000, which MQTT forbids")]
    Nul,
}

/// A text that cannot be a Topic Name or Topic Filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TopicError {
    /// No character at all (MQTT-4.7.3-1).
    #[error("topic is empty")]
    Empty,
    /// `+` or `#` in a name that messages are published to (MQTT-3.3.2-2).
    #[error("a topic to publish to cannot contain the wildcards + and #")]
    WildcardInName,
    /// `+` or `#` that does not fill its level, or `#` that is not last (MQTT-4.7.1-1, MQTT-4.7.1-2).
    #[error("a wildcard must fill its level, and # must be the last level")]
    MisplacedWildcard,
    /// `$share/` without a share name or without a filter behind it (MQTT-4.8.2-1, MQTT-4.8.2-2).
    #[error("a shared subscription reads $share/name/filter")]
    MalformedShare,
    /// Not an MQTT string.
    #[error(transparent)]
    String(#[from] StringError),
}

/// A text that was to become a Topic Name or Topic Filter, and cannot: a [`TopicError`] that names the text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{error}{}", quoted(text))]
#[non_exhaustive]
pub struct InvalidTopic {
    /// The text, shortened to 200 bytes, its control characters escaped.
    pub text: Box<str>,
    /// What is wrong with it.
    pub error: TopicError,
}

impl InvalidTopic {
    #[cold]
    pub(crate) fn new(text: &str, error: TopicError) -> Self {
        let text = peer_text(text, &[]).into();
        Self { text, error }
    }
}

fn quoted(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!(": \"{text}\""),
    }
}

impl From<InvalidTopic> for TopicError {
    fn from(invalid: InvalidTopic) -> Self {
        invalid.error
    }
}

impl From<TopicError> for InvalidTopic {
    fn from(error: TopicError) -> Self {
        Self::new("", error)
    }
}

impl From<InvalidTopic> for InvalidPublish {
    fn from(invalid: InvalidTopic) -> Self {
        Self::TopicText(Box::new(invalid))
    }
}

impl From<InvalidTopic> for InvalidSubscribe {
    fn from(invalid: InvalidTopic) -> Self {
        Self::FilterText(Box::new(invalid))
    }
}

/// Options that no connection can be made with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidOptions {
    /// 3.1 always needs a name (most servers take more than the 23 characters that it allows); 3.1.1 needs one for a session
    /// that is kept (MQTT-3.1.3-7 of 3.1.1). A driver may need one in 5.0 too: see [`CleanStart::Never`](crate::CleanStart::Never).
    #[error(
        "a Client Identifier is needed, by which the server finds a session that is kept: give Options::client_identifier (with MQTT 3.1.1 or later, a session that starts clean needs none)"
    )]
    IdentifierNeeded,
    /// 3.1 and 3.1.1: a password cannot stand without a user name (MQTT-3.1.2-22 of 3.1.1).
    #[error(
        "a password without a user name is possible with MQTT 5.0 only: give a user name too, or use that version"
    )]
    PasswordWithoutUserName,
    /// A password or will payload longer than 65,535 bytes.
    #[error("{what} is {bytes} bytes long; the CONNECT packet holds at most 65535")]
    TooLong {
        /// Which field.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
    },
    /// The session was recorded under another Client Identifier: what it holds means nothing to this client's session on the
    /// server.
    #[error(
        "the recorded session belongs to another Client Identifier: give Options::client_identifier as it was, or begin a new record"
    )]
    OtherSession,
    /// A Session Expiry Interval above 0 for DISCONNECT, where that of CONNECT is 0 (section 3.14.2.2.2).
    #[error(
        "session_expiry_at_disconnect cannot keep a session that ends with the connection: give a Session Expiry Interval above 0 for connecting too, or 0 here"
    )]
    SessionExpiryRaised,
    /// The will's topic cannot be published to.
    #[error("the will's topic cannot be published to: {0}")]
    WillTopic(TopicError),
    /// What contradicts the [profile](crate::Options::profile).
    #[error(transparent)]
    Profile(Box<ProfileConflict>),
    /// An option or property that exists in 5.0 only, on an earlier version; or one that CONNECT or the will does not have.
    #[error(transparent)]
    Property(#[from] PropertyError),
}

/// A publish that was refused before anything was sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidPublish {
    /// The topic cannot be published to.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The text given as topic is none.
    #[error(transparent)]
    TopicText(Box<InvalidTopic>),
    /// The packet would be longer than MQTT, or this server, allows (MQTT-3.2.2-15).
    #[error("packet of {bytes} bytes is larger than the {limit} that {whose} accepts")]
    TooLarge {
        /// Size of the whole PUBLISH packet.
        bytes: usize,
        /// The limit broken.
        limit: usize,
        /// "the server", "MQTT", or the server of the [profile](crate::Options::profile) and the profile's name.
        whose: &'static str,
    },
    /// The packet would be short enough with its Topic Alias alone, and is too long with the topic. It must be sendable with
    /// that: another connection, to which a message goes that waits or comes again, does not know the alias.
    #[error(
        "packet of {bytes} bytes, with the topic that its Topic Alias stands for, is larger than the {limit} that the server accepts: sending it again needs the topic"
    )]
    TooLargeWithTopic {
        /// Size of the whole PUBLISH packet, with the topic.
        bytes: usize,
        /// The server's Maximum Packet Size.
        limit: usize,
    },
    /// Above the server's Maximum QoS (MQTT-3.2.2-11).
    #[error("{whose} accepts QoS {maximum} at most; publish with that, or elsewhere")]
    QosNotSupported {
        /// The server's Maximum QoS.
        maximum: u8,
        /// "the server", or the one of the [profile](crate::Options::profile) and the profile's name.
        whose: &'static str,
    },
    /// Retain Available is 0 (MQTT-3.2.2-14).
    #[error("{whose} does not support retained messages")]
    RetainNotSupported {
        /// As above.
        whose: &'static str,
    },
    /// The payload is larger than servers of the [profile](crate::Options::profile) take.
    #[error("payload of {bytes} bytes is larger than the {limit} that {whose} accepts")]
    PayloadTooLarge {
        /// Size of the payload.
        bytes: usize,
        /// The limit broken.
        limit: usize,
        /// The server, and the name of its profile.
        whose: &'static str,
    },
    /// The topic is one that servers of the [profile](crate::Options::profile) do not take.
    #[error(transparent)]
    TopicLimit(TopicLimit),
    /// A property on a version before 5.0, or one that a client's PUBLISH does not have.
    #[error(transparent)]
    Property(Box<PropertyError>),
    /// Requests and responses are properties, which exist in 5.0 only.
    #[error("requests and responses exist in MQTT 5.0 only: use that version")]
    NoRequests,
    /// The store has failed, so a message that is to be stored cannot be accepted.
    #[error(
        "the store has failed, so the message cannot be stored: check its disk, or publish without it"
    )]
    StoreFailed,
    /// The store takes no more messages for now: its disk is full, or slower than they come. What it has is sent meanwhile.
    #[error(
        "the store takes no more messages for now, since its disk is full or slower than they come: publish later"
    )]
    StoreBusy,
    /// A QoS 2 message for a store whose session ends with the process: what is on its way could come twice, or not at all.
    #[error(
        "QoS 2 needs a session that outlives the program: give neither a clean start nor a Session Expiry Interval of 0, and the server must grant one; or publish with QoS 1"
    )]
    SessionTooShort,
    /// A Topic Alias above the server's Topic Alias Maximum (MQTT-3.2.2-17, MQTT-3.2.2-18).
    #[error(
        "topic alias {alias} is above the {maximum} that the server allows: leave it out, or choose a lower one"
    )]
    TopicAliasTooHigh {
        /// The alias given.
        alias: u16,
        /// The server's Topic Alias Maximum; 0 where it takes none.
        maximum: u16,
    },
    /// A Topic Alias without a topic, which stands for none on this connection.
    #[error(
        "topic alias {alias} stands for no topic on this connection: publish once with the topic and the alias first"
    )]
    TopicAliasUnknown {
        /// The alias given.
        alias: u16,
    },
    /// The message to respond to has no Response Topic: its sender asks for no response.
    #[error("the message has no Response Topic: it asks for no response")]
    NoResponseTopic,
    /// A request whose response cannot be subscribed to.
    #[error("no response can be received: {0}")]
    Unanswerable(InvalidSubscribe),
    /// The outgoing queue is at its limit.
    #[error("the outgoing queue is full ({limit} {unit})")]
    QueueFull {
        /// The limit reached.
        limit: usize,
        /// "messages" or "bytes".
        unit: &'static str,
    },
    /// There is no connection, and none will be made by itself.
    #[error("the client is not connected")]
    NotConnected,
}

/// A SUBSCRIBE or UNSUBSCRIBE that was refused before anything was sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidSubscribe {
    /// A filter is malformed.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The text given as filter is none.
    #[error(transparent)]
    FilterText(Box<InvalidTopic>),
    /// No filter at all (MQTT-3.8.3-2, MQTT-3.10.3-2).
    #[error("at least one topic filter is needed")]
    NoFilter,
    /// No Local on a Shared Subscription (MQTT-3.8.3-4).
    #[error("No Local cannot be combined with a shared subscription: leave it out")]
    NoLocalShared,
    /// The server said in CONNACK that it does not support this kind of subscription: the Reason Code names it.
    #[error(
        "{whose} does not offer what this subscription needs: {0}",
        whose = "the server"
    )]
    NotSupported(ReasonCode),
    /// Servers of the [profile](crate::Options::profile) do not support this kind of subscription: the Reason Code names it.
    #[error("{whose} does not offer what this subscription needs: {reason}")]
    NotOffered {
        /// What is not offered.
        reason: ReasonCode,
        /// The server, and the name of its profile.
        whose: &'static str,
    },
    /// Servers of the [profile](crate::Options::profile) take no subscription with this QoS.
    #[error("{whose} accepts QoS {maximum} at most; subscribe with that")]
    QosNotSupported {
        /// The highest one.
        maximum: u8,
        /// The server, and the name of its profile.
        whose: &'static str,
    },
    /// The filter is one that servers of the [profile](crate::Options::profile) do not take.
    #[error(transparent)]
    FilterLimit(TopicLimit),
    /// The packet would be longer than MQTT, or this server, allows (MQTT-3.2.2-15).
    #[error("packet of {bytes} bytes is larger than the {limit} that the server accepts")]
    TooLarge {
        /// Size of the whole packet.
        bytes: usize,
        /// The limit broken.
        limit: usize,
    },
    /// An option or property on a version before 5.0, or a property that the packet does not have.
    #[error(transparent)]
    Property(Box<PropertyError>),
    /// A responder before 5.0: requests and responses are properties.
    #[error("requests and responses exist in MQTT 5.0 only: use that version")]
    NoRequests,
    /// The queue that its messages would go to has been closed.
    #[error("the queue for the messages has been closed: open another one")]
    NoQueue,
    /// All 65,535 Packet Identifiers are in use.
    #[error("all 65535 Packet Identifiers are in use: wait for acknowledgements")]
    NoPacketIdentifier,
    /// There is no connection, and none will be made by itself.
    #[error("the client is not connected")]
    NotConnected,
}

impl From<PropertyError> for InvalidPublish {
    fn from(error: PropertyError) -> Self {
        Self::Property(Box::new(error)) // rare, and larger than all else here
    }
}

impl From<PropertyError> for InvalidSubscribe {
    fn from(error: PropertyError) -> Self {
        Self::Property(Box::new(error)) // as above
    }
}

impl InvalidSubscribe {
    /// The Reason Code that a server would have said this with.
    pub const fn as_reason(&self) -> ReasonCode {
        match self.limit() {
            Some(reason) => reason,
            None => ReasonCode::UnspecifiedError,
        }
    }

    /// The Reason Code that stands for the limit which this breaks; `None` when it is wrong in itself, or there is no
    /// connection.
    pub const fn limit(&self) -> Option<ReasonCode> {
        Some(match self {
            Self::NotSupported(reason) | Self::NotOffered { reason, .. } => *reason,
            Self::QosNotSupported { .. } => ReasonCode::QosNotSupported,
            Self::FilterLimit(_) => ReasonCode::TopicFilterInvalid,
            Self::TooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::NoPacketIdentifier => ReasonCode::QuotaExceeded,
            _ => return None,
        })
    }
}

impl InvalidPublish {
    /// The Reason Code that stands for the limit of the server which this breaks; `None` when it is wrong in itself, the
    /// outgoing queue is full, or there is no connection.
    pub const fn limit(&self) -> Option<ReasonCode> {
        Some(match self {
            Self::TooLarge { .. }
            | Self::TooLargeWithTopic { .. }
            | Self::PayloadTooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::QosNotSupported { .. } => ReasonCode::QosNotSupported,
            Self::TopicLimit(_) => ReasonCode::TopicNameInvalid,
            Self::RetainNotSupported { .. } => ReasonCode::RetainNotSupported,
            Self::TopicAliasTooHigh { .. } => ReasonCode::TopicAliasInvalid,
            _ => return None,
        })
    }
}

/// A DISCONNECT that a client must not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DisconnectError {
    /// A Reason Code that DISCONNECT does not have, or that only servers send (section 3.14.2.1).
    #[error("a client cannot disconnect with the Reason Code {0}")]
    Reason(ReasonCode),
    /// A Session Expiry Interval above 0, after a CONNECT with 0 or none (section 3.14.2.2.2).
    #[error(
        "DISCONNECT cannot keep a session that CONNECT has not asked to keep: give a Session Expiry Interval when connecting"
    )]
    SessionExpiryRaised,
    /// A property that a client's DISCONNECT does not have.
    #[error(transparent)]
    Property(#[from] PropertyError),
}

/// An AUTH that was refused before anything was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthError {
    /// CONNECT named no Authentication Method, or another one (MQTT-4.12.0-5, MQTT-4.12.0-7).
    #[error("AUTH needs the Authentication Method that the connection was made with")]
    Method,
    /// The Reason Code is not a client's, or has no place at this point of the exchange (MQTT-3.15.2-1).
    #[error(
        "AUTH cannot say {0} now: continue only when the server asked, re-authenticate only when connected and no exchange is under way"
    )]
    NotNow(ReasonCode),
    /// A property that AUTH does not have, or Authentication Data of more than 65,535 bytes.
    #[error(transparent)]
    Property(#[from] PropertyError),
    /// The packet would be longer than this server allows (MQTT-3.2.2-15).
    #[error("packet of {bytes} bytes is larger than the {limit} that the server accepts")]
    TooLarge {
        /// Size of the whole packet.
        bytes: usize,
        /// The limit broken.
        limit: usize,
    },
    /// There is no connection.
    #[error("the client is not connected")]
    NotConnected,
}

/// An answer to a received message that was refused before anything was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AcknowledgeError {
    /// Before 5.0 PUBACK and PUBREC hold no Reason Code.
    #[error(
        "acknowledging with a Reason Code is possible with MQTT 5.0 only: leave it out, or use that version"
    )]
    NotInThisVersion,
    /// A Reason Code that PUBACK and PUBREC do not have, or that only servers send (sections 3.4.2.1 and 3.5.2.1).
    #[error("a client cannot acknowledge with the Reason Code {0}")]
    Reason(ReasonCode),
    /// A property that PUBACK and PUBREC do not have.
    #[error(transparent)]
    Property(#[from] PropertyError),
}

/// Bytes from the peer that break the standard, with the Reason Code that answers them (section 4.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{what} (0x{:02X})", reason.value())]
pub struct DecodeError {
    /// What a DISCONNECT packet says about it.
    pub reason: ReasonCode,
    /// What was wrong.
    pub what: &'static str,
}

impl DecodeError {
    /// Cannot be read by the rules of the standard: Malformed Packet.
    pub const fn malformed(what: &'static str) -> Self {
        Self {
            reason: ReasonCode::MalformedPacket,
            what,
        }
    }

    /// Can be read, but must not be sent like that or now: Protocol Error.
    pub const fn protocol(what: &'static str) -> Self {
        Self {
            reason: ReasonCode::ProtocolError,
            what,
        }
    }
}

/// Why a transport ended or could not be opened, as its driver saw it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The peer closed the stream.
    #[error("the server closed the connection")]
    EndOfStream,
    /// The program cut the connection itself, past the client: neither the server nor the network is the reason.
    #[error("this client cut the connection")]
    Cut,
    /// The operating system, TLS, or a proxy reported an error.
    #[error("{0}")]
    Failed(Arc<str>),
    /// In TLS, one side does not accept the other's certificate, or its absence.
    #[error("{0}")]
    Certificate(Arc<str>),
}

/// Why there is no connection (any more).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The server answered CONNECT with an error (section 3.2.2.2). On 3.x the Return Code, as the 5.0 code of that meaning.
    #[error("the server refused the connection: {reason}")]
    Refused {
        /// The server's Reason Code.
        reason: ReasonCode,
        /// Reason String, Server Reference and the like: shared by everything that reports this end.
        properties: Arc<Properties>,
    },
    /// The server sent DISCONNECT (section 3.14).
    #[error("the server disconnected: {} (0x{:02X})", reason.name_in(PacketType::Disconnect), reason.value())]
    Disconnected {
        /// The server's Reason Code.
        reason: ReasonCode,
        /// Reason String, Server Reference and the like: shared by everything that reports this end.
        properties: Arc<Properties>,
    },
    /// The server broke the standard, and this client ended the connection (section 4.13).
    #[error("the server broke the protocol: {0}")]
    ProtocolViolation(DecodeError),
    /// Before 5.0 the server began a packet that is larger than
    /// [`Options::maximum_packet_size`](crate::Options::maximum_packet_size) allows, and this client ended the connection. A
    /// QoS 1 or 2 message comes again in the next connection of the session.
    #[error(
        "a packet of {bytes} bytes came, and the option maximum_packet_size allows {limit}: raise it, or publish less at once"
    )]
    PacketTooLarge {
        /// Size of the whole packet.
        bytes: usize,
        /// What the option allows.
        limit: usize,
    },
    /// The server began a packet other than PUBLISH that is larger than
    /// [`Options::maximum_non_publish_size`](crate::Options::maximum_non_publish_size) allows, and this client ended the
    /// connection before it was read.
    #[error(
        "a packet other than PUBLISH of {bytes} bytes came, and the option maximum_non_publish_size allows {limit}: raise it if the server means well"
    )]
    NonPublishTooLarge {
        /// Size of the whole packet.
        bytes: usize,
        /// What the option allows.
        limit: usize,
    },
    /// Nothing came from the server within the Keep Alive and the time to answer a PINGREQ (MQTT-3.1.2-20).
    #[error("nothing came from the server within the Keep Alive time")]
    KeepAliveTimeout,
    /// The transport or the CONNACK packet took longer than the time limit.
    #[error("the server did not accept the connection in time")]
    ConnectTimeout,
    /// This client could not answer the server's authentication, or found that it is not the right server (section 4.12).
    #[error("authentication failed on this side: {0}")]
    AuthenticationFailed(Arc<str>),
    /// This client asks for credentials at each attempt, and got none for this one: whoever was to give them failed, or took
    /// longer than the time limit. Nothing was sent.
    #[error("no credentials to connect with: {0}")]
    NoCredentials(Arc<str>),
    /// The server closed the connection instead of answering CONNECT.
    #[error(
        "the server closed the connection instead of answering CONNECT (does the port expect TLS or WebSocket? some brokers also close without a word on a Client Identifier, user or version of MQTT that they do not accept)"
    )]
    Unanswered,
    /// The transport failed.
    #[error(transparent)]
    Transport(TransportError),
    /// This client disconnected, as it was asked to.
    #[error("the client disconnected")]
    Closed,
    /// This client disconnected because the application let go of the connection: in `ferromqtt`, it dropped the `Connection`,
    /// the future of a `scope`, or the last clone of a blocking client. Drivers report it; the core does not know.
    #[error(
        "the connection was dropped, which disconnects: keep the Connection, or the blocking Client, for as long as it is used"
    )]
    Dropped,
    /// The task that drives the connection has gone without a DISCONNECT: its runtime was shut down, or it panicked. Drivers
    /// report it; the core does not know.
    #[error(
        "the task behind the connection has gone, since its runtime was shut down or it panicked: keep that runtime for as long as its clients are used"
    )]
    DriverGone,
    /// A blocking call was made inside an asynchronous runtime, whose thread it would block. The connection is as it was.
    /// Blocking clients report it; the core does not know.
    #[error(
        "the call was made inside a tokio runtime, whose thread it would block: await ferromqtt::Client there, or call from a thread of std::thread"
    )]
    InsideRuntime,
    /// This process was forked from the one that connected, which goes on with the connection. Blocking clients report it; the
    /// core does not know.
    #[error(
        "this process was forked from the one that connected, and must leave that connection alone: connect again in the child"
    )]
    Forked,
}
