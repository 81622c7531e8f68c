//! Why the engine does not accept an operation: an error of its caller, who gets it as it is.

use std::convert::Infallible;

use ferromqtt_proto::{ConnectionError, InvalidTopic, TopicError};

use crate::{PublishError, SubscribeError};

/// A message was not accepted, and nothing of it was sent.
pub type PublishRefusal = PublishError;

/// A SUBSCRIBE or UNSUBSCRIBE was not accepted, and nothing of it was sent.
pub type SubscribeRefusal = SubscribeError;

macro_rules! refusals {
    ($($error:ident)+) => {$(
        impl From<ConnectionError> for $error {
            fn from(cause: ConnectionError) -> Self {
                Self::not_sent(cause)
            }
        }

        impl From<TopicError> for $error {
            fn from(error: TopicError) -> Self {
                Self::Invalid(error.into())
            }
        }

        impl From<InvalidTopic> for $error {
            fn from(error: InvalidTopic) -> Self {
                Self::Invalid(error.into())
            }
        }

        impl From<Infallible> for $error {
            fn from(never: Infallible) -> Self {
                match never {}
            }
        }
    )+};
}

refusals!(PublishError SubscribeError);
