//! Errors, one type an operation, told apart by whose fault they are.

use std::convert::Infallible;
use std::fmt;
use std::str::Utf8Error;
use std::time::Duration;

use ferromqtt_engine::PublishRefusal;
use ferromqtt_proto as proto;
use ferromqtt_proto::shown::peer_text;
use ferromqtt_transport::{HostError, UrlError};
use thiserror::Error;

use crate::{
    ConnectError, ConnectionError, Delivery, FilterResult, Properties, ReAuthenticateError,
    ReasonCode, RequestError, TopicFilter,
};

/// An address that cannot be used. The caller's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The URL cannot be read. Nothing of it but its scheme is repeated.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// User name and password are the client's: the same for each of its servers.
    #[error(
        "the URL of one of several servers holds credentials; give them with Options::user_name and Options::password"
    )]
    Credentials,
    /// A Server Reference that leads from TLS to a connection without it, or to a Unix socket.
    #[error(
        "that is less secure than the present connection, or on this machine: it is not followed"
    )]
    Reference,
}

/// Options that no connection can be made with. The caller's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// A text is no MQTT string.
    #[error("{what}: {error}")]
    Text {
        /// Which option.
        what: &'static str,
        /// What is wrong with it.
        error: proto::StringError,
    },
    /// They contradict each other, or the version of MQTT.
    #[error(transparent)]
    Invalid(#[from] proto::OptionsError),
    /// An option got a number or a time that it cannot take.
    #[error("Options::{option} got {given}: give {expected}")]
    OutOfRange {
        /// The option.
        option: &'static str,
        /// What it got.
        given: String,
        /// What it takes.
        expected: &'static str,
    },
    /// [`Options::servers`](crate::Options::servers) got none, or more than 65,535.
    #[error("there are {0} servers; give from 1 to 65535")]
    Servers(usize),
    /// The host of a server ([`Server::new`](crate::Server::new)) cannot be used.
    #[error("server {server}: {error}{}", or_from_url(error))]
    Host {
        /// The server.
        server: crate::Server,
        /// What is wrong with its host.
        error: HostError,
    },
    /// A server at port 0 ([`Server::new`](crate::Server::new)), where nothing can listen.
    #[error("server {0}: the port is 0: give the server's, usually 1883, or 8883 with TLS")]
    Port(crate::Server),
    /// The address needs a part of this crate that was not compiled in.
    #[error(
        "the server's address needs the feature `{0}` of the crate ferromqtt: add it in Cargo.toml"
    )]
    Feature(&'static str),
    /// This operating system has no Unix sockets.
    #[error("there are no Unix sockets on this operating system")]
    NoUnixSockets,
    /// Certificates, keys and names for TLS.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Path or headers of the WebSocket request.
    #[cfg(feature = "websocket")]
    #[error(transparent)]
    WebSocket(ferromqtt_transport::WebSocketError),
    /// [`Options::websocket_header`](crate::Options::websocket_header) or
    /// [`Options::without_websocket_header`](crate::Options::without_websocket_header), and no server is reached by WebSocket.
    #[cfg(feature = "websocket")]
    #[error(
        "headers of a WebSocket request are given, and no server is reached by WebSocket: give a URL with ws:// or wss://"
    )]
    HeadersWithoutWebSocket,
    /// An option that shapes a connection over a network was given beside `Options::test`, which connects in memory. Of the
    /// feature `testing`.
    #[error(
        "Options::{0} shapes a connection over a network, and Options::test connects in memory: leave it out, or connect to a TestBroker that listens"
    )]
    InMemory(&'static str),
    /// A subscription that was [declared](crate::Options::subscription).
    #[error("a declared subscription: {0}")]
    Subscription(Box<SubscribeError>),
}

const fn or_from_url(error: &HostError) -> &'static str {
    match error {
        HostError::Url => ", or the URL to Options::from_url",
        _ => "",
    }
}

/// TLS options that cannot be used. The caller's. No text holds a part of a key.
#[cfg(feature = "tls")]
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {what} from {}: {reason}", path.display())]
    File {
        /// What it should hold.
        what: &'static str,
        /// Where it is.
        path: std::path::PathBuf,
        /// The system's reason.
        reason: String,
    },
    /// There is nothing of the kind in PEM form.
    #[error("{what} is not in PEM form: it must have a line {expected}")]
    NotPem {
        /// What, and from which file.
        what: String,
        /// The line that is missing, or does not begin what can be read.
        expected: &'static str,
    },
    /// A certificate or key can be read, and is of no use.
    #[error("{0}")]
    Refused(String),
    /// The operating system trusts no authority, or does not tell which.
    #[error(
        "the operating system has no certificates of trusted authorities ({0}); install them (package ca-certificates), or give some with TlsOptions::ca_file"
    )]
    NoSystemRoots(String),
    /// No name that a certificate can hold.
    #[error("TlsOptions::server_name got {0:?}, which is neither a host name nor an IP address")]
    ServerName(String),
    /// The runtime was shut down meanwhile.
    #[error("the runtime was shut down while certificates were read")]
    Interrupted,
}

/// Why something has no answer: the connection ended before it came, or nothing was sent.
struct Unanswered<'a> {
    /// What was to be sent.
    what: &'static str,
    /// What the server had to do.
    missing: &'static str,
    cause: &'a ConnectionError,
    delivery: Delivery,
}

impl fmt::Display for Unanswered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            missing,
            cause,
            delivery,
        } = self;
        let is_refused_here = matches!(
            cause,
            ConnectionError::InsideRuntime | ConnectionError::Forked
        );
        match delivery {
            Delivery::NotSent => write!(f, "the {what} was not sent: {cause}")?,
            Delivery::Unknown if is_refused_here => {
                write!(f, "the outcome of the {what} was not waited for: {cause}")?;
            }
            Delivery::Unknown => write!(f, "the connection ended before {missing}: {cause}")?,
        }
        match self.cause.is_final() {
            true => Ok(()),
            false => f.write_str(
                " (Options::reconnect connects again after a loss, and with Reconnect::initial after a failed first attempt)",
            ),
        }
    }
}

/// A publish did not complete.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The message, or a limit of the server that it breaks: nothing was sent.
    #[error("cannot publish: {0}")]
    Invalid(proto::PublishError),
    /// The server refused it: PUBACK or PUBREC with a Reason Code of 0x80 or above; or it ended the connection each time the
    /// message came ([`ConnectionEvent::MessageRefused`](crate::ConnectionEvent::MessageRefused)).
    #[error("the server refused the message: {reason}")]
    Rejected {
        /// The server's Reason Code.
        reason: ReasonCode,
        /// Reason String and the like, if any.
        properties: Option<Box<Properties>>,
    },
    /// The connection ended, and none follows by itself.
    #[error(
        "{}",
        Unanswered {
            what: "message",
            missing: "the message was acknowledged",
            cause,
            delivery: *delivery,
        }
    )]
    Disconnected {
        /// Why it ended.
        cause: ConnectionError,
        /// Whether the message may have arrived.
        delivery: Delivery,
    },
    /// The server lost the session while a QoS 2 message was on its way. It may have arrived.
    #[error(
        "the server lost the session; the message may have arrived (with OnSessionLost::Resend it is published again)"
    )]
    SessionLost,
    /// It was unacknowledged when its connection was lost, and a limit of the next one forbids to send it again. It may have
    /// arrived.
    #[error("cannot be sent again: {0}; the message may have arrived")]
    GivenUp(proto::PublishError),
    /// Its Message Expiry Interval was over before it could be sent.
    #[error("the message expired before it could be sent")]
    Expired,
    /// The outgoing queue was full, and its policy dropped the message.
    #[error(
        "the full outgoing queue dropped the message: raise Options::outgoing, or choose another OutgoingPolicy"
    )]
    Dropped,
    /// The [time limit](crate::Publish::timeout) was over before the message reached its Quality of Service.
    #[error("{}", timed_out(*limit, *delivery))]
    TimedOut {
        /// The limit that was given.
        limit: Duration,
        /// [`Delivery::NotSent`]: the message was withdrawn, and is never sent. [`Delivery::Unknown`]: it is on the wire, and
        /// stays in the session.
        delivery: Delivery,
    },
    /// The outgoing queue is full, and its policy or the call does not wait: nothing was sent.
    #[error(
        "the outgoing queue is full ({limit} {unit}): wait for receipts, raise Options::outgoing, or choose another OutgoingPolicy"
    )]
    QueueFull {
        /// The limit reached: [`Options::outgoing`](crate::Options::outgoing).
        limit: usize,
        /// "messages" or "bytes".
        unit: &'static str,
    },
    /// The connection is being [drained](crate::Connection::drain), and accepts no more messages.
    #[error("the connection is about to end, and accepts no more messages: publish before that")]
    Draining,
}

impl PublishError {
    /// Whether the message may have reached the server all the same.
    pub const fn delivery(&self) -> Delivery {
        match self {
            Self::Disconnected { delivery, .. } | Self::TimedOut { delivery, .. } => *delivery,
            Self::Invalid(_)
            | Self::Expired
            | Self::Dropped
            | Self::QueueFull { .. }
            | Self::Draining => Delivery::NotSent,
            Self::Rejected { .. } | Self::SessionLost | Self::GivenUp(_) => Delivery::Unknown,
        }
    }
}

fn timed_out(limit: Duration, delivery: Delivery) -> String {
    match delivery {
        Delivery::NotSent => format!(
            "the message could not be sent within {limit:?} and was withdrawn: there was no connection, or too much was unacknowledged (Options::outgoing, Options::max_in_flight)"
        ),
        Delivery::Unknown => format!(
            "the server did not acknowledge the message within {limit:?}: it was sent and may have arrived, and stays in the session"
        ),
    }
}

impl From<Infallible> for PublishError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<proto::TopicError> for PublishError {
    fn from(error: proto::TopicError) -> Self {
        Self::Invalid(error.into())
    }
}

impl From<proto::InvalidTopic> for PublishError {
    fn from(error: proto::InvalidTopic) -> Self {
        Self::Invalid(error.into())
    }
}

impl From<proto::PublishError> for PublishError {
    fn from(error: proto::PublishError) -> Self {
        match error {
            proto::PublishError::QueueFull { limit, unit } => Self::QueueFull { limit, unit },
            error => Self::Invalid(error),
        }
    }
}

impl PublishError {
    /// A message that the engine has not accepted.
    pub(crate) fn of_refusal(refusal: PublishRefusal) -> Self {
        match refusal {
            PublishRefusal::Invalid(error) => error.into(),
            PublishRefusal::Disconnected(cause) => Self::not_sent(cause),
            PublishRefusal::Draining => Self::Draining,
        }
    }

    /// Nothing was sent, for lack of a connection.
    pub(crate) const fn not_sent(cause: ConnectionError) -> Self {
        Self::Disconnected {
            cause,
            delivery: Delivery::NotSent,
        }
    }
}

/// A subscription was not made, or not ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The filter or its options, or a limit of the server that they break: nothing was sent.
    #[error("cannot subscribe: {0}")]
    Invalid(proto::SubscribeError),
    /// The filter to unsubscribe from, or a limit of the server that it breaks: nothing was sent.
    #[error("cannot unsubscribe: {0}")]
    InvalidUnsubscribe(proto::SubscribeError),
    /// The server refused it: SUBACK or UNSUBACK with a Reason Code of 0x80 or above.
    #[error("the server refused the filter \"{}\": {reason}", shown(filter))]
    Rejected {
        /// The filter.
        filter: TopicFilter,
        /// The server's Reason Code.
        reason: ReasonCode,
        /// Reason String and the like, if any.
        properties: Option<Box<Properties>>,
    },
    /// The server refused some or all of several filters.
    #[error("the server refused {} of {} filters{}", refused(results), results.len(), first_refused(results))]
    SomeRejected {
        /// What it said to each filter.
        results: Vec<(TopicFilter, FilterResult)>,
        /// Reason String and the like, if any.
        properties: Option<Box<Properties>>,
    },
    /// The connection ended, and none follows by itself.
    #[error(
        "{}",
        Unanswered {
            what: "request",
            missing: "the server answered",
            cause,
            delivery: *delivery,
        }
    )]
    Disconnected {
        /// Why it ended.
        cause: ConnectionError,
        /// Whether the request may have arrived.
        delivery: Delivery,
    },
    /// [`Client::declared`](crate::Client::declared): no subscription with this filter was
    /// [declared](crate::Options::subscription), or its stream has been taken. The caller's.
    #[error(
        "no stream of \"{}\" is there to be taken: declare it with Options::subscription, and take it once",
        shown(.0)
    )]
    NotDeclared(TopicFilter),
}

impl SubscribeError {
    /// Whether the request may have reached the server all the same: then it may be subscribed.
    pub const fn delivery(&self) -> Delivery {
        match self {
            Self::Disconnected { delivery, .. } => *delivery,
            Self::Invalid(_) | Self::InvalidUnsubscribe(_) | Self::NotDeclared(_) => {
                Delivery::NotSent
            }
            Self::Rejected { .. } | Self::SomeRejected { .. } => Delivery::Unknown,
        }
    }
}

impl SubscribeError {
    /// The same, of a call that was to unsubscribe.
    pub(crate) fn of_unsubscribing(self) -> Self {
        match self {
            Self::Invalid(error) => Self::InvalidUnsubscribe(error),
            error => error,
        }
    }
}

/// A filter, fit for a line: it may be 65,535 bytes long.
fn shown(filter: &TopicFilter) -> String {
    peer_text(filter, &[])
}

fn first_refused(results: &[(TopicFilter, FilterResult)]) -> String {
    let first = results.iter().find(|(_, result)| result.is_error());
    first.map_or_else(String::new, |(filter, result)| {
        format!(", first \"{}\": {}", shown(filter), result.reason())
    })
}

fn refused(results: &[(TopicFilter, FilterResult)]) -> usize {
    (results.iter())
        .filter(|(_, result)| result.is_error())
        .count()
}

impl From<Infallible> for SubscribeError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<proto::TopicError> for SubscribeError {
    fn from(error: proto::TopicError) -> Self {
        Self::Invalid(error.into())
    }
}

impl From<proto::InvalidTopic> for SubscribeError {
    fn from(error: proto::InvalidTopic) -> Self {
        Self::Invalid(error.into())
    }
}

impl From<proto::SubscribeError> for SubscribeError {
    fn from(error: proto::SubscribeError) -> Self {
        Self::Invalid(error)
    }
}

/// Any error of this crate, for programs that treat them alike: `?` converts each of them.
///
/// The text of an error has its cause in it, so that none is printed twice by what follows
/// [`source`](std::error::Error::source); the variants hold causes as values.
///
/// An error of the system is in the text, and not kept as a `source`: [`std::io::Error`] can neither be cloned nor compared,
/// and every call that the end of a connection fails gets a clone of the same cause.
///
/// `Debug` prints the same text, since that is what Rust shows when `main` returns an error, or `unwrap` finds one. The
/// variants' own types show their fields: `match` on the error, and print what is in it.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection came about.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection ended by itself.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// A publish did not complete.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A subscription was not made, or not ended.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// A request got no response.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The client did not authenticate again.
    #[error(transparent)]
    ReAuthenticate(#[from] ReAuthenticateError),
    /// A message was not acknowledged as asked.
    #[error(transparent)]
    Acknowledge(#[from] proto::AcknowledgeError),
    /// The options are wrong.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// An address cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A blocking reader has nothing to give.
    #[cfg(feature = "blocking")]
    #[error(transparent)]
    Receive(#[from] crate::blocking::RecvError),
    /// A text is no Topic Name, or no Topic Filter.
    #[error(transparent)]
    Topic(#[from] proto::InvalidTopic),
    /// A text is no MQTT string.
    #[error(transparent)]
    Text(#[from] proto::StringError),
    /// A payload is no text: [`Message::text`](crate::Message::text).
    #[error("the payload is no text: {0}")]
    Payload(Utf8Error),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<proto::TopicError> for Error {
    fn from(error: proto::TopicError) -> Self {
        Self::Topic(error.into())
    }
}

impl From<Utf8Error> for Error {
    fn from(error: Utf8Error) -> Self {
        Self::Payload(error)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;

    use super::*;
    use crate::{Server, TransportError};

    fn ended(cause: ConnectionError, delivery: Delivery) -> [String; 2] {
        let published = PublishError::Disconnected {
            cause: cause.clone(),
            delivery,
        };
        let subscribed = SubscribeError::Disconnected { cause, delivery };
        [published.to_string(), subscribed.to_string()]
    }

    #[test]
    fn an_error_that_trying_again_may_mend_names_the_option_that_tries_again() {
        let passing = ConnectionError::ConnectTimeout;
        let failed = |why: &str| ConnectionError::Transport(TransportError::Failed(why.into()));
        let certificate = TransportError::Certificate("mqtt://broker:1883: no".into());
        let opening = |cause| {
            let server = Server::new("broker", 1883);
            ConnectError::Connection { server, cause }.to_string()
        };
        for cause in [
            passing.clone(),
            failed("mqtt://broker:1883: TCP: refused"),
            failed("of a transport of one's own"),
        ] {
            let text = opening(cause);
            assert!(text.contains("Reconnect::initial"), "{text}");
        }
        for cause in [
            ConnectionError::Closed,
            ConnectionError::Transport(certificate),
            failed("mqtt://broker:1883: TLS handshake: no version in common"),
            failed("mqtt://broker:1883: WebSocket handshake error: the server answered 404"),
            failed("mqtt://broker:1883: TCP: not here (Options::bind_address must be one)"),
        ] {
            let text = opening(cause);
            assert!(!text.contains("Reconnect"), "{text}");
        }
        for text in ended(passing, Delivery::NotSent) {
            assert!(text.contains("Options::reconnect"), "{text}");
        }
        for cause in [
            ConnectionError::Closed,
            ConnectionError::Dropped,
            ConnectionError::DriverGone,
            ConnectionError::InsideRuntime,
            ConnectionError::Forked,
        ] {
            for text in ended(cause, Delivery::Unknown) {
                assert!(!text.contains("Options"), "{text}");
            }
        }
    }

    #[test]
    fn a_call_that_was_refused_here_does_not_say_that_the_connection_ended() {
        for cause in [ConnectionError::InsideRuntime, ConnectionError::Forked] {
            for text in ended(cause, Delivery::Unknown) {
                assert!(text.starts_with("the outcome of the "), "{text}");
            }
        }
    }

    #[test]
    fn an_error_says_whether_the_connection_ended_or_nothing_was_sent() {
        for text in ended(ConnectionError::KeepAliveTimeout, Delivery::NotSent) {
            assert!(
                text.contains("was not sent") && !text.contains("ended"),
                "{text}"
            );
        }
        for text in ended(ConnectionError::KeepAliveTimeout, Delivery::Unknown) {
            assert!(text.starts_with("the connection ended before"), "{text}");
        }
    }

    #[test]
    fn every_error_converts_and_has_its_cause_in_its_text_alone() {
        let closed = ConnectionError::Closed;
        let server = TopicFilter::check("").unwrap_err();
        let not_text = crate::Message::new("t".parse().unwrap(), &b"\xff"[..]);
        let errors: [(Error, &str); 15] = [
            (
                ConnectError::Connection {
                    server: Server::new("broker", 1883),
                    cause: closed.clone(),
                }
                .into(),
                "mqtt://broker:1883: the client disconnected",
            ),
            (
                ConnectError::from(OptionsError::Servers(0)).into(),
                "0 servers",
            ),
            (closed.clone().into(), "the client disconnected"),
            (PublishError::from(server).into(), "empty"),
            (
                PublishError::Disconnected {
                    cause: closed.clone(),
                    delivery: Delivery::Unknown,
                }
                .into(),
                "the client disconnected",
            ),
            (SubscribeError::from(server).into(), "empty"),
            (
                SubscribeError::Disconnected {
                    cause: closed.clone(),
                    delivery: Delivery::NotSent,
                }
                .into(),
                "the client disconnected",
            ),
            (
                RequestError::from(PublishError::from(server)).into(),
                "empty",
            ),
            (
                ReAuthenticateError::Disconnected(closed).into(),
                "the client disconnected",
            ),
            (proto::AcknowledgeError::NotInThisVersion.into(), "5.0"),
            (OptionsError::Servers(0).into(), "0 servers"),
            (AddressError::Credentials.into(), "credentials"),
            (server.into(), "empty"),
            (proto::StringError::Nul.into(), "U+0000"),
            (not_text.text().unwrap_err().into(), "utf-8"),
        ];
        for (error, part) in errors {
            let text = error.to_string();
            assert!(text.contains(part), "{part:?} in: {text}");
            assert!(error.source().is_none(), "{text}");
            assert_eq!(
                format!("{error:?}"),
                text,
                "what a main that returns it shows"
            );
        }
    }
}
