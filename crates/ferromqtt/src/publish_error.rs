//! The error of publishing.

use std::convert::Infallible;
use std::time::Duration;

use ferromqtt_engine::PublishRefusal;
use ferromqtt_proto as proto;
use thiserror::Error;

use crate::error::Unanswered;
use crate::{ConnectionError, Delivery, Properties, ReasonCode};

/// A publish did not complete.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The message, or a limit of the server that it breaks: nothing was sent.
    #[error("cannot publish: {0}")]
    Invalid(proto::InvalidPublish),
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
    GivenUp(proto::InvalidPublish),
    /// Its Message Expiry Interval was over before it could be sent.
    #[error("the message expired before it could be sent")]
    Expired,
    /// The outgoing queue was full, and its policy dropped the message.
    #[error(
        "the full outgoing queue dropped the message: raise Options::outgoing, or choose another OutgoingPolicy"
    )]
    Dropped,
    /// A newer message to the same topic took its place in the outgoing queue before it could be sent.
    #[error("a newer message to the same topic took the place of this one before it could be sent")]
    Replaced,
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
    /// The message was to [expire](crate::Publish::expires_in) or to [be replaced](crate::Publish::keep_latest), which messages do
    /// that wait in an [outgoing queue](crate::Options::outgoing_queue): there is none, or the message was not enqueued.
    #[error(
        "expires_in and keep_latest need an outgoing queue: give Options::outgoing_queue, and enqueue the message instead of awaiting it"
    )]
    NotQueued,
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
            | Self::Replaced
            | Self::QueueFull { .. }
            | Self::NotQueued
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

impl From<proto::InvalidPublish> for PublishError {
    fn from(error: proto::InvalidPublish) -> Self {
        match error {
            proto::InvalidPublish::QueueFull { limit, unit } => Self::QueueFull { limit, unit },
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
