//! Why the engine does not accept an operation.

use ferromqtt_proto::{ConnectionError, PublishError, SubscribeError};

/// A message was not accepted, and nothing of it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishRefusal {
    /// The core refuses it.
    Invalid(PublishError),
    /// There is no connection, and none will follow.
    Disconnected(ConnectionError),
    /// The connection is being drained.
    Draining,
}

/// A SUBSCRIBE or UNSUBSCRIBE was not accepted, and nothing of it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscribeRefusal {
    /// The core refuses it.
    Invalid(SubscribeError),
    /// There is no connection, and none will follow.
    Disconnected(ConnectionError),
}
