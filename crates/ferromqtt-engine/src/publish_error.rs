//! The error of publishing.

use std::time::Duration;

use ferromqtt_proto::{
    ConnectionError, Delivery, InvalidPublish, Properties, QuarantineReason, ReasonCode,
};
use thiserror::Error;

use crate::Awaited;
use crate::failure::{reason_string_behind, unanswered};

/// What to do about [`PublishError::SessionLost`]. This and the next name options of Rust.
const RESEND: &str = " (with OnSessionLost::Resend it is published again)";

/// What to do about [`PublishError::QueueFull`].
const WAIT: &str = ": wait for receipts, raise Options::outgoing, or choose another OutgoingPolicy";

/// What to do about [`PublishError::Dropped`].
const CHANGE_POLICY: &str = ": raise Options::outgoing, or choose another OutgoingPolicy";

/// A publish did not complete.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The message, or a limit of the server that it breaks: nothing was sent.
    #[error("cannot publish: {0}")]
    Invalid(InvalidPublish),
    /// The server refused it: PUBACK or PUBREC with a Reason Code of 0x80 or above; or it ended the connection each time the
    /// message came ([`ConnectionEvent::MessageRefused`](crate::ConnectionEvent::MessageRefused)).
    #[error("the server refused the message: {reason}{}", reason_string_behind(properties.as_deref()))]
    Rejected {
        /// The server's Reason Code.
        reason: ReasonCode,
        /// Reason String and the like, if any.
        properties: Option<Box<Properties>>,
    },
    /// The connection ended, and none follows by itself.
    #[error("{}", unanswered("message", "the message was acknowledged", cause, *delivery))]
    Disconnected {
        /// Why it ended.
        cause: ConnectionError,
        /// Whether the message may have arrived.
        delivery: Delivery,
    },
    /// The server lost the session while a QoS 2 message was on its way. It may have arrived.
    #[error("the server lost the session; the message may have arrived{RESEND}")]
    SessionLost,
    /// The store of the session failed, so a QoS 2 message cannot go on: it would not be sent once.
    #[error("the store failed, and a QoS 2 message cannot go on without it{}: check its disk", arrived(*delivery))]
    NotStored {
        /// Whether the message may have arrived.
        delivery: Delivery,
    },
    /// The server took over a QoS 2 message (PUBREC), and then did not know its Packet Identifier: PUBCOMP has the Reason Code
    /// 0x92, and the exchange is over. The server's session state does not match the client's. The message may have arrived.
    #[error(
        "the server took the message over, and then lost its Packet Identifier (0x92); the message may have arrived{}",
        reason_string_behind(properties.as_deref())
    )]
    Unreleased {
        /// Reason String and the like, if any.
        properties: Option<Box<Properties>>,
    },
    /// It was unacknowledged when its connection was lost, and a limit of the next one forbids to send it again. It may have
    /// arrived.
    #[error("cannot be sent again: {0}; the message may have arrived")]
    GivenUp(InvalidPublish),
    /// Its Message Expiry Interval was over before it could be sent.
    #[error("the message expired before it could be sent")]
    Expired,
    /// The outgoing queue was full, and its policy dropped the message.
    #[error("the full outgoing queue dropped the message{CHANGE_POLICY}")]
    Dropped,
    /// A newer message to the same topic took its place in the outgoing queue before it could be sent.
    #[error("a newer message to the same topic took the place of this one before it could be sent")]
    Replaced,
    /// It will not get through, and is kept in the quarantine of the outbox until somebody decides: by
    /// `ferromqtt outbox retry` or `drop`. With [`QuarantineReason::Uncertain`] it may have arrived.
    #[error("the message is kept in the quarantine of the outbox: {why}")]
    Quarantined {
        /// Why.
        why: QuarantineReason,
    },
    /// The client ended first. The message is in the outbox, and is sent when a client has that again.
    #[error(
        "the client ended before the message did: the outbox keeps it, and sends it when a client has that again"
    )]
    Kept {
        /// The key of the message there.
        key: u64,
    },
    /// The store failed before the message was on record. The message goes its way, unless its own outcome says otherwise.
    #[error("the store failed before the message was on record: check its disk")]
    NotOnRecord,
    /// `Receipt::stored` of a client without an outbox, which stores nothing.
    #[error("nothing is stored without an outbox: give the client one, or await the receipt alone")]
    NoOutbox,
    /// The message was to expire (`Publish::expires_in`) or to be replaced (`Publish::keep_latest`), which messages do that wait
    /// in an outgoing queue (`Options::outgoing_queue`): there is none, or the message was not enqueued.
    #[error(
        "expires_in and keep_latest need an outgoing queue: give Options::outgoing_queue, and enqueue the message instead of awaiting it"
    )]
    NotQueued,
    /// The time limit, `Publish::timeout`, was over before the message reached its Quality of Service.
    #[error("{}{}", awaited.overdue(*delivery, "", *limit), what_became_of_it(*delivery))]
    TimedOut {
        /// What did not come in time.
        awaited: Awaited,
        /// The limit that was given.
        limit: Duration,
        /// With `NotSent` the message was withdrawn, and is never sent. With `Unknown` it is on the wire, and
        /// stays in the session.
        delivery: Delivery,
    },
    /// The outgoing queue is full, and its policy or the call does not wait: nothing was sent.
    #[error("the outgoing queue is full ({limit} {unit}){WAIT}")]
    QueueFull {
        /// The limit reached: `Options::outgoing`.
        limit: usize,
        /// "messages" or "bytes".
        unit: &'static str,
    },
    /// The connection is being drained (`Connection::drain`), and accepts no more messages.
    #[error("the connection is about to end, and accepts no more messages: publish before that")]
    Draining,
}

impl PublishError {
    /// Whether the message may have reached the server all the same.
    pub const fn delivery(&self) -> Delivery {
        match self {
            Self::Disconnected { delivery, .. }
            | Self::TimedOut { delivery, .. }
            | Self::NotStored { delivery } => *delivery,
            Self::Invalid(_)
            | Self::Expired
            | Self::Dropped
            | Self::Replaced
            | Self::NotQueued
            | Self::NoOutbox
            | Self::QueueFull { .. }
            | Self::Draining => Delivery::NotSent,
            Self::Rejected { .. }
            | Self::Quarantined { .. }
            | Self::NotOnRecord
            | Self::Kept { .. }
            | Self::SessionLost
            | Self::Unreleased { .. }
            | Self::GivenUp(_) => Delivery::Unknown,
        }
    }

    /// What happened, without what to do about it: for a client whose options have other names than those of Rust.
    pub fn summary(&self) -> String {
        let mut text = self.to_string();
        for remedy in [RESEND, CHANGE_POLICY, WAIT] {
            if text.ends_with(remedy) {
                text.truncate(text.len() - remedy.len());
            }
        }
        text
    }

    /// Nothing was sent, for lack of a connection.
    pub const fn not_sent(cause: ConnectionError) -> Self {
        Self::Disconnected {
            cause,
            delivery: Delivery::NotSent,
        }
    }
}

const fn arrived(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::NotSent => "",
        Delivery::Unknown => " (it may have arrived)",
    }
}

const fn what_became_of_it(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::NotSent => {
            ": the message was withdrawn, since there was no connection, or too much was unacknowledged (Options::outgoing, Options::max_in_flight)"
        }
        Delivery::Unknown => {
            ": the message was sent and may have arrived, and stays in the session"
        }
    }
}

impl From<InvalidPublish> for PublishError {
    fn from(error: InvalidPublish) -> Self {
        match error {
            InvalidPublish::QueueFull { limit, unit } => Self::QueueFull { limit, unit },
            error => Self::Invalid(error),
        }
    }
}
