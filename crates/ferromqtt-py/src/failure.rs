//! What failed, as types that Python's exceptions are made from: `ferromqtt._errors` and `ferromqtt._attempt` do that.

use ferromqtt_engine::{OptionNames, end_text};
use ferromqtt_proto::shown::peer_text;
use ferromqtt_proto::{
    ConnectionError, InvalidOptions, InvalidPublish, InvalidSubscribe, Properties, ReasonCode,
    TransportError,
};
use ferromqtt_transport::{self as transport, AttemptPhase};
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
    /// The transport failed.
    Transport,
    /// The time limit for connecting was over.
    Timeout,
    /// Another reason, which the text says.
    Other,
    /// The client disconnected, as it was asked to.
    Closed,
}

/// The end of a connection.
#[pyclass(module = "ferromqtt._native", frozen, get_all)]
pub(crate) struct End {
    kind: EndKind,
    /// A Reason Code for programs: the server's own, or the one that comes closest.
    code: u8,
    /// What happened, with the server's own words.
    text: String,
    /// What to do about it, where the server refused the connection and its Reason Code says that; else empty.
    remedy: String,
    /// Where the connection led to.
    address: String,
}

/// The options that a remedy names.
const NAMES: OptionNames = OptionNames {
    protocol: "`protocol`",
    client_identifier: "`identifier`",
    user_name: "`username`",
    password: "`password`",
    authentication_method: "the Authentication Method in `properties`",
};

impl End {
    /// Of a connection to `address`, where a server `has_accepted` one before or not.
    pub(crate) fn new(cause: &ConnectionError, address: &str, has_accepted: bool) -> Self {
        let (kind, reason) = match cause {
            ConnectionError::Refused { reason, .. } => (EndKind::Refused, *reason),
            ConnectionError::Disconnected { reason, .. } => (EndKind::Disconnected, *reason),
            ConnectionError::ProtocolViolation(error) => (EndKind::ProtocolViolation, error.reason),
            ConnectionError::PacketTooLarge { .. } => {
                (EndKind::TooLarge, ReasonCode::PacketTooLarge)
            }
            ConnectionError::NonPublishTooLarge { .. } => {
                (EndKind::TooLarge, ReasonCode::QuotaExceeded)
            }
            ConnectionError::KeepAliveTimeout => (EndKind::Other, ReasonCode::KeepAliveTimeout),
            ConnectionError::ConnectTimeout => (EndKind::Timeout, ReasonCode::UnspecifiedError),
            ConnectionError::Unanswered
            | ConnectionError::AuthenticationFailed(_)
            | ConnectionError::NoCredentials(_)
            | ConnectionError::Transport(TransportError::EndOfStream) => {
                (EndKind::Other, ReasonCode::UnspecifiedError)
            }
            ConnectionError::Closed => (EndKind::Closed, ReasonCode::Success),
            // And whatever the core will tell apart one day, which keeps its text.
            ConnectionError::Transport(_) | _ => (EndKind::Transport, ReasonCode::UnspecifiedError),
        };
        let remedy = (kind == EndKind::Refused).then(|| NAMES.remedy(reason));
        Self {
            kind,
            code: reason.value(),
            text: end_text(cause, has_accepted),
            remedy: remedy.flatten().unwrap_or_default(),
            address: address.to_owned(),
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
        _ => error
            .to_string()
            .replace("Options::client_identifier", "`identifier`"),
    }
}

/// The text of requests, and of responders, before 5.0.
pub(crate) const NO_REQUESTS: &str = "Requests and responses need MQTT 5.0, and the connection has an earlier version: give the client protocol=5";

/// The text of a publish that was refused, likewise.
pub(crate) fn publish_text(error: &InvalidPublish) -> String {
    match error {
        InvalidPublish::Property(error) => properties::refused_text(error),
        InvalidPublish::NoRequests => NO_REQUESTS.to_owned(),
        _ => error.to_string(),
    }
}

/// The text of a SUBSCRIBE or UNSUBSCRIBE that was refused, likewise.
pub(crate) fn request_text(error: &InvalidSubscribe) -> String {
    match error {
        InvalidSubscribe::Property(error) => properties::refused_text(error),
        InvalidSubscribe::NoRequests => NO_REQUESTS.to_owned(),
        _ => error.to_string(),
    }
}

/// An enum for Python, and what each of its values stands for in `ferromqtt_transport`.
macro_rules! python_form {
    ($(#[$about:meta])+ $name:ident = $of:path { $($variant:ident => $value:expr,)+ }) => {
        $(#[$about])+
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
        pub(crate) enum $name {
            $($variant,)+
        }

        impl From<$name> for $of {
            fn from(form: $name) -> Self {
                match form {
                    $($name::$variant => $value,)+
                }
            }
        }
    };
}

python_form! {
    /// The phases of connecting.
    Phase = AttemptPhase {
        Resolve => Self::Resolve,
        Tcp => Self::Tcp,
        Unix => Self::Unix,
        Proxy => Self::Proxy,
        Tls => Self::Tls,
        Websocket => Self::WebSocket,
        Connect => Self::Connect,
    }
}

// Python's form of `ferromqtt_transport::Hint`.
python_form! {
    /// What to do about failures whose symptom is known.
    Hint = transport::Hint {
        UnknownName => Self::UnknownName,
        ResolverUnreachable => Self::ResolverUnreachable,
        NobodyListens => Self::NobodyListens,
        NoRoute => Self::NoRoute,
        NoSocket => Self::NoSocket,
        SocketPermission => Self::SocketPermission,
        LocalPortInUse => Self::LocalPortInUse { option: "bind_port" },
        LocalPortReserved => Self::LocalPortReserved { option: "bind_port" },
        LocalAddress => Self::LocalAddress { option: "bind_address" },
        SpeaksNoTls => Self::SpeaksNoTls { websocket: false },
        SpeaksNoTlsForWebsocket => Self::SpeaksNoTls { websocket: true },
        NoWebsocket => Self::NoWebSocket,
        NoProxy => Self::NoProxy,
        Unanswered => Self::Unanswered,
        CertificateName => Self::CertificateName { option: "tls_server_hostname" },
        CertificateIssuer => Self::CertificateIssuer { option: "TLSParameters(ca_certs=...)" },
        CertificateTime => Self::CertificateTime,
        ClientCertificate => Self::ClientCertificate {
            option: "TLSParameters(certfile=..., keyfile=...)",
        },
        NoCommonTls => Self::NoCommonTls,
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
