//! Errors of options and addresses that cannot be used. They are the caller's, and nothing was tried.

use ferromqtt_proto as proto;
use ferromqtt_transport::{EndpointError, HostError, UrlError};
use thiserror::Error;

use crate::{InvalidExactlyOnce, SubscribeError};

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
    /// The options in the query of a URL are the client's: the same for each of its servers.
    #[error(
        "the URL of one of several servers has a query; give the options in it with Options::client_identifier and the like"
    )]
    Query,
    /// A Server Reference that leads from TLS to a connection without it, or to a Unix socket.
    #[error(
        "that is less secure than the present connection, or on this machine: it is not followed"
    )]
    Reference,
}

impl AddressError {
    pub(crate) fn of_endpoint(error: EndpointError) -> Self {
        match error {
            EndpointError::Url(error) => Self::Url(error),
            EndpointError::Credentials => Self::Credentials,
            EndpointError::Query => Self::Query,
            EndpointError::LessSecure => Self::Reference,
        }
    }
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
    Invalid(#[from] proto::InvalidOptions),
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
    /// A subscription that was declared [for an exactly-once handler](crate::DeclaredSubscription::exactly_once).
    #[error(transparent)]
    ExactlyOnce(#[from] InvalidExactlyOnce),
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
    /// The operating system trusts no authority, or does not say which.
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
