//! Errors, one type an operation, told apart by whose fault they are.

use std::convert::Infallible;

use ferromqtt_proto as proto;
use thiserror::Error;

use crate::{ConnectionError, Delivery, Properties, ReasonCode};

/// A server address that cannot be used. The caller's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Not `mqtt` or `tcp`.
    #[error("the address begins with {0}://; only mqtt:// is supported")]
    Scheme(String),
    /// No host, or one that cannot be read.
    #[error("the address has no valid host; write mqtt://host:port, an IPv6 address in brackets")]
    Host,
    /// The port is no number from 1 to 65,535.
    #[error("the port {0:?} is not a number from 1 to 65535")]
    Port(String),
    /// Something stands behind host and port.
    #[error("the address has a path, query or fragment, which MQTT over TCP does not know")]
    Path,
    /// User name and password do not belong into the address, which is shown in logs and errors.
    #[error(
        "the address holds credentials; give them with Options::user_name and Options::password"
    )]
    Credentials,
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
}

/// No connection came about.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The options are wrong: nothing was tried.
    #[error("cannot connect with these options: {0}")]
    Options(#[from] OptionsError),
    /// The server, the network, or the time limit.
    #[error("cannot connect: {0}")]
    Connection(#[from] ConnectionError),
}

/// A publish did not complete.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The message, or a limit of the server that it breaks: nothing was sent.
    #[error("cannot publish: {0}")]
    Invalid(proto::PublishError),
    /// The server refused it: PUBACK or PUBREC with a Reason Code of 0x80 or above.
    #[error("the server refused the message: {reason}")]
    Rejected {
        /// The server's Reason Code.
        reason: ReasonCode,
        /// Reason String and the like, if any.
        properties: Option<Box<Properties>>,
    },
    /// The connection ended, and none follows by itself.
    #[error("the connection ended before the message was acknowledged: {cause}")]
    Disconnected {
        /// Why it ended.
        cause: ConnectionError,
        /// Whether the message may have arrived.
        delivery: Delivery,
    },
    /// The server lost the session while a QoS 2 message was on its way. It may have arrived.
    #[error("the server lost the session; the message may have arrived")]
    SessionLost,
    /// It was unacknowledged when its connection was lost, and a limit of the next one forbids to send it again. It may have
    /// arrived.
    #[error("cannot be sent again: {0}; the message may have arrived")]
    GivenUp(proto::PublishError),
    /// Its Message Expiry Interval was over before it could be sent.
    #[error("the message expired before it could be sent")]
    Expired,
    /// The outgoing queue was full, and its policy dropped the message.
    #[error("the full outgoing queue dropped the message")]
    Dropped,
}

impl PublishError {
    /// Whether the message may have reached the server all the same.
    pub const fn delivery(&self) -> Delivery {
        match self {
            Self::Disconnected { delivery, .. } => *delivery,
            Self::Invalid(_) | Self::Expired | Self::Dropped => Delivery::NotSent,
            Self::Rejected { .. } | Self::SessionLost | Self::GivenUp(_) => Delivery::Unknown,
        }
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

impl From<proto::PublishError> for PublishError {
    fn from(error: proto::PublishError) -> Self {
        Self::Invalid(error)
    }
}

/// A subscription was not made, or not ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The filter or its options, or a limit of the server that they break: nothing was sent.
    #[error("cannot subscribe or unsubscribe: {0}")]
    Invalid(proto::SubscribeError),
    /// The server refused it: SUBACK or UNSUBACK with a Reason Code of 0x80 or above.
    #[error("the server refused the subscription or its end: {reason}")]
    Rejected {
        /// The server's Reason Code.
        reason: ReasonCode,
        /// Reason String and the like, if any.
        properties: Option<Box<Properties>>,
    },
    /// The connection ended, and none follows by itself.
    #[error("the connection ended before the server answered: {cause}")]
    Disconnected {
        /// Why it ended.
        cause: ConnectionError,
        /// Whether the request may have arrived.
        delivery: Delivery,
    },
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

impl From<proto::SubscribeError> for SubscribeError {
    fn from(error: proto::SubscribeError) -> Self {
        Self::Invalid(error)
    }
}

/// Any error of this crate, for programs that treat them alike.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
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
}
