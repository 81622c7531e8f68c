//! Why the engine does not accept an operation: an error of its caller, who gets it as it is.

use ferromqtt_proto::ConnectionError;

use crate::{PublishError, SubscribeError};

/// A message was not accepted, and nothing of it was sent.
pub type PublishRefusal = PublishError;

/// A SUBSCRIBE or UNSUBSCRIBE was not accepted, and nothing of it was sent.
pub type SubscribeRefusal = SubscribeError;

impl From<ConnectionError> for PublishError {
    fn from(cause: ConnectionError) -> Self {
        Self::not_sent(cause)
    }
}

impl From<ConnectionError> for SubscribeError {
    fn from(cause: ConnectionError) -> Self {
        Self::not_sent(cause)
    }
}
