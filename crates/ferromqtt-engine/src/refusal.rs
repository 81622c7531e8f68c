//! Why the engine does not accept an operation.

use ferromqtt_proto::{ConnectionError, InvalidPublish, InvalidSubscribe};

/// A message was not accepted, and nothing of it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishRefusal {
    /// The core refuses it.
    Invalid(InvalidPublish),
    /// There is no connection, and none will follow.
    Disconnected(ConnectionError),
    /// The connection is being drained.
    Draining,
}

impl From<ConnectionError> for PublishRefusal {
    fn from(cause: ConnectionError) -> Self {
        Self::Disconnected(cause)
    }
}

/// A SUBSCRIBE or UNSUBSCRIBE was not accepted, and nothing of it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscribeRefusal {
    /// The core refuses it.
    Invalid(InvalidSubscribe),
    /// There is no connection, and none will follow.
    Disconnected(ConnectionError),
}

impl From<ConnectionError> for SubscribeRefusal {
    fn from(cause: ConnectionError) -> Self {
        Self::Disconnected(cause)
    }
}
