//! What failed, as types that Python's exceptions are made from: `ferromqtt._errors` and `ferromqtt._attempt` do that.

use ferromqtt_proto::shown::peer_text;
use ferromqtt_proto::{
    ConnectionError, InvalidOptions, InvalidPublish, InvalidSubscribe, Properties, ReasonCode,
};
use ferromqtt_transport as transport;
use pyo3::prelude::*;

use crate::properties;

/// Why a connection ended, or did not come about.
#[pyclass(
    module = "ferromqtt._native",
    frozen,
    eq,
    eq_int,
    hash,
    from_py_object,
    rename_all = "SCREAMING_SNAKE_CASE"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum EndKind {
    /// The server answered CONNECT with an error.
    Refused,
    /// The server sent DISCONNECT.
    Disconnected,
    /// The server broke the standard.
    ProtocolViolation,
    /// A packet was larger than an option allows.
    TooLarge,
    /// Nothing came within the Keep Alive.
    KeepAlive,
    /// The server closed the connection instead of answering CONNECT.
    Unanswered,
    /// The server closed the connection.
    ClosedByServer,
    /// The transport failed.
    Transport,
    /// The time limit for connecting was over.
    Timeout,
    /// The client could not authenticate, or had nothing to authenticate with.
    Authentication,
    /// The client disconnected, as it was asked to.
    Closed,
}

/// The end of a connection.
#[pyclass(module = "ferromqtt._native", frozen, get_all)]
pub(crate) struct End {
    kind: EndKind,
    /// A Reason Code for programs: the server's own, or the one that comes closest.
    code: u8,
    /// What happened, in words.
    text: String,
    /// The server's Reason String; empty if there is none.
    reason_string: String,
}

impl End {
    pub(crate) fn new(cause: &ConnectionError) -> Self {
        let (kind, reason, properties) = match cause {
            ConnectionError::Refused { reason, properties } => {
                (EndKind::Refused, *reason, Some(properties))
            }
            ConnectionError::Disconnected { reason, properties } => {
                (EndKind::Disconnected, *reason, Some(properties))
            }
            ConnectionError::ProtocolViolation(error) => {
                (EndKind::ProtocolViolation, error.reason, None)
            }
            ConnectionError::PacketTooLarge { .. } => {
                (EndKind::TooLarge, ReasonCode::PacketTooLarge, None)
            }
            ConnectionError::NonPublishTooLarge { .. } => {
                (EndKind::TooLarge, ReasonCode::QuotaExceeded, None)
            }
            ConnectionError::KeepAliveTimeout => {
                (EndKind::KeepAlive, ReasonCode::KeepAliveTimeout, None)
            }
            ConnectionError::Unanswered => {
                (EndKind::Unanswered, ReasonCode::UnspecifiedError, None)
            }
            ConnectionError::ConnectTimeout => {
                (EndKind::Timeout, ReasonCode::UnspecifiedError, None)
            }
            ConnectionError::AuthenticationFailed(_) | ConnectionError::NoCredentials(_) => {
                (EndKind::Authentication, ReasonCode::UnspecifiedError, None)
            }
            ConnectionError::Transport(ferromqtt_proto::TransportError::EndOfStream) => {
                (EndKind::ClosedByServer, ReasonCode::UnspecifiedError, None)
            }
            ConnectionError::Closed => (EndKind::Closed, ReasonCode::Success, None),
            // And whatever the core will tell apart one day, which keeps its text.
            ConnectionError::Transport(_) | _ => {
                (EndKind::Transport, ReasonCode::UnspecifiedError, None)
            }
        };
        Self {
            kind,
            code: reason.value(),
            text: cause.to_string(),
            reason_string: reason_string(properties.map(AsRef::as_ref)),
        }
    }
}

/// The server's own words; the core has replaced those that repeat a secret.
pub(crate) fn reason_string(properties: Option<&Properties>) -> String {
    properties
        .and_then(|properties| properties.reason_string.as_ref())
        .map(|text| peer_text(text, &[]))
        .unwrap_or_default()
}

/// The text of options that were refused, in the words of Python users.
pub(crate) fn options_text(error: &InvalidOptions) -> String {
    match error {
        InvalidOptions::Property(error) => properties::refused_text(error),
        _ => error.to_string(),
    }
}

/// The text of a publish that was refused, likewise.
pub(crate) fn publish_text(error: &InvalidPublish) -> String {
    match error {
        InvalidPublish::Property(error) => properties::refused_text(error),
        _ => error.to_string(),
    }
}

/// The text of a SUBSCRIBE or UNSUBSCRIBE that was refused, likewise.
pub(crate) fn request_text(error: &InvalidSubscribe) -> String {
    match error {
        InvalidSubscribe::Property(error) => properties::refused_text(error),
        _ => error.to_string(),
    }
}

/// Why a call failed.
#[pyclass(
    module = "ferromqtt._native",
    frozen,
    eq,
    eq_int,
    hash,
    from_py_object,
    rename_all = "SCREAMING_SNAKE_CASE"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CallFailure {
    /// An argument is wrong.
    Argument,
    /// The call's time is over.
    Timeout,
    /// There is no connection.
    NotConnected,
    /// The outgoing queue is full.
    QueueFull,
    /// A limit of the server forbids it.
    Limit,
    /// The server refused it.
    Refused,
    /// It was not sent, and is not any more.
    NotSent,
    /// The server lost the session it belonged to.
    SessionLost,
}

impl CallFailure {
    /// Of a publish, with the code that a server would have given.
    pub(crate) const fn of_publish(error: &InvalidPublish) -> (Self, u8) {
        match error {
            InvalidPublish::NotConnected => (Self::NotConnected, 0),
            InvalidPublish::QueueFull { .. } => (Self::QueueFull, 0),
            InvalidPublish::TooLarge { .. } | InvalidPublish::TooLargeWithTopic { .. } => {
                (Self::Limit, ReasonCode::PacketTooLarge.value())
            }
            InvalidPublish::QosNotSupported { .. } => {
                (Self::Limit, ReasonCode::QosNotSupported.value())
            }
            InvalidPublish::RetainNotSupported => {
                (Self::Limit, ReasonCode::RetainNotSupported.value())
            }
            InvalidPublish::TopicAliasTooHigh { .. } => {
                (Self::Limit, ReasonCode::TopicAliasInvalid.value())
            }
            // And whatever the core will refuse one day before anything is sent.
            InvalidPublish::Topic(_)
            | InvalidPublish::TopicText(_)
            | InvalidPublish::TopicAliasUnknown { .. }
            | InvalidPublish::Property(_)
            | InvalidPublish::NoRequests
            | InvalidPublish::NoResponseTopic
            | InvalidPublish::Unanswerable(_)
            | _ => (Self::Argument, 0),
        }
    }

    /// Of a SUBSCRIBE or UNSUBSCRIBE, with the code that a server would have given.
    pub(crate) const fn of_request(error: &InvalidSubscribe) -> (Self, u8) {
        match error {
            InvalidSubscribe::NotConnected => (Self::NotConnected, 0),
            InvalidSubscribe::TooLarge { .. } => (Self::Limit, ReasonCode::PacketTooLarge.value()),
            InvalidSubscribe::NoPacketIdentifier => {
                (Self::Limit, ReasonCode::QuotaExceeded.value())
            }
            InvalidSubscribe::NotSupported(reason) => (Self::Limit, reason.value()),
            InvalidSubscribe::Topic(_)
            | InvalidSubscribe::FilterText(_)
            | InvalidSubscribe::NoFilter
            | InvalidSubscribe::NoLocalShared
            | InvalidSubscribe::Property(_)
            | InvalidSubscribe::NoQueue
            | _ => (Self::Argument, 0),
        }
    }
}

/// What a call waits for. Small, since each waiting call has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// That a QoS 0 message is handed to the transport.
    Writing,
    PubAck,
    PubRecAndPubComp,
    SubAck,
    UnsubAck,
    /// That the outgoing queue has capacity for a message.
    Capacity,
}

impl Awaited {
    const fn packet(self) -> Option<&'static str> {
        Some(match self {
            Self::Writing | Self::Capacity => return None,
            Self::PubAck => "PUBACK",
            Self::PubRecAndPubComp => "PUBREC and PUBCOMP",
            Self::SubAck => "SUBACK",
            Self::UnsubAck => "UNSUBACK",
        })
    }
}

/// What did not come within a call's time.
pub(crate) fn overdue(awaited: Awaited, sent: bool, address: &str, seconds: f32) -> String {
    match awaited.packet() {
        None if awaited == Awaited::Capacity => {
            format!("the outgoing queue had no capacity within {seconds} s")
        }
        Some(packet) if sent => format!("no {packet} from {address} within {seconds} s"),
        _ => format!("nothing could be sent to {address} within {seconds} s"),
    }
}

/// The phases of connecting.
#[pyclass(
    module = "ferromqtt._native",
    frozen,
    eq,
    eq_int,
    hash,
    from_py_object,
    rename_all = "SCREAMING_SNAKE_CASE"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Resolve,
    Tcp,
    Unix,
    Proxy,
    Tls,
    Websocket,
    Connect,
}

impl From<Phase> for transport::AttemptPhase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Resolve => Self::Resolve,
            Phase::Tcp => Self::Tcp,
            Phase::Unix => Self::Unix,
            Phase::Proxy => Self::Proxy,
            Phase::Tls => Self::Tls,
            Phase::Websocket => Self::WebSocket,
            Phase::Connect => Self::Connect,
        }
    }
}

// Python's form of `ferromqtt_transport::Hint`.
/// What to do about failures whose symptom is known.
#[pyclass(
    module = "ferromqtt._native",
    frozen,
    eq,
    eq_int,
    hash,
    from_py_object,
    rename_all = "SCREAMING_SNAKE_CASE"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hint {
    UnknownName,
    ResolverUnreachable,
    NobodyListens,
    NoRoute,
    NoSocket,
    SocketPermission,
    LocalPortInUse,
    LocalPortReserved,
    LocalAddress,
    SpeaksNoTls,
    SpeaksNoTlsForWebsocket,
    NoWebsocket,
    NoProxy,
    Unanswered,
    CertificateName,
    CertificateIssuer,
    CertificateTime,
    ClientCertificate,
    NoCommonTls,
}

impl From<Hint> for transport::Hint {
    fn from(hint: Hint) -> Self {
        match hint {
            Hint::UnknownName => Self::UnknownName,
            Hint::ResolverUnreachable => Self::ResolverUnreachable,
            Hint::NobodyListens => Self::NobodyListens,
            Hint::NoRoute => Self::NoRoute,
            Hint::NoSocket => Self::NoSocket,
            Hint::SocketPermission => Self::SocketPermission,
            Hint::LocalPortInUse => Self::LocalPortInUse {
                option: "bind_port",
            },
            Hint::LocalPortReserved => Self::LocalPortReserved {
                option: "bind_port",
            },
            Hint::LocalAddress => Self::LocalAddress {
                option: "bind_address",
            },
            Hint::SpeaksNoTls => Self::SpeaksNoTls { websocket: false },
            Hint::SpeaksNoTlsForWebsocket => Self::SpeaksNoTls { websocket: true },
            Hint::NoWebsocket => Self::NoWebSocket,
            Hint::NoProxy => Self::NoProxy,
            Hint::Unanswered => Self::Unanswered,
            Hint::CertificateName => Self::CertificateName {
                option: "tls_server_hostname",
            },
            Hint::CertificateIssuer => Self::CertificateIssuer {
                option: "TLSParameters(ca_certs=...)",
            },
            Hint::CertificateTime => Self::CertificateTime,
            Hint::ClientCertificate => Self::ClientCertificate {
                option: "TLSParameters(certfile=..., keyfile=...)",
            },
            Hint::NoCommonTls => Self::NoCommonTls,
        }
    }
}

/// The text of an attempt to connect that failed: `address: phase: reason (hint)`.
#[pyfunction]
pub(crate) fn failure_text(
    address: &str,
    phase: Phase,
    reason: &str,
    hint: Option<Hint>,
) -> String {
    transport::Failure::new(address, phase.into())
        .reason(reason)
        .hint(hint.map(transport::Hint::from))
        .to_string()
}

/// Host and port as an address for people.
#[pyfunction]
pub(crate) fn authority(host: &str, port: u16) -> String {
    transport::authority(host, port)
}
