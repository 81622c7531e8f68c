//! The error of a request that got no response.

use std::time::Duration;

use ferromqtt_proto::{Delivery, FilterRefusal};
use thiserror::Error;

use crate::PublishError;

/// A request got no response.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request could not be published, or the connection ended for good before the response.
    #[error(transparent)]
    Publish(PublishError),
    /// The server says that nobody has subscribed to the request's topic (Reason Code 0x10).
    #[error("nobody is there to respond")]
    NoResponder,
    /// The subscription that the response would have come by was refused, or not renewed.
    #[error("{}", unanswerable(refusal))]
    Unanswerable {
        /// Who has refused it, and why.
        refusal: FilterRefusal,
        /// Whether the request itself may have arrived.
        delivery: Delivery,
    },
    /// No response came within the time limit, `Request::timeout`.
    #[error("no response came within {} s{}", limit.as_secs_f32(), sent(*delivery))]
    TimedOut {
        /// The limit.
        limit: Duration,
        /// With `NotSent` the request had not been sent, and was withdrawn. With `Unknown` it may have arrived.
        delivery: Delivery,
    },
}

fn unanswerable(refusal: &FilterRefusal) -> String {
    match refusal.forbidden_by() {
        Some(error) => format!("this client can receive no response: {error}"),
        None => format!(
            "the server lets this client receive no response: {}",
            refusal.reason()
        ),
    }
}

const fn sent(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::NotSent => ": the request could not be sent, and was withdrawn",
        Delivery::Unknown => "; the request was sent, and may have arrived",
    }
}

impl From<PublishError> for RequestError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::TimedOut {
                limit, delivery, ..
            } => Self::TimedOut { limit, delivery },
            error => Self::Publish(error),
        }
    }
}

impl RequestError {
    /// Whether the request may have arrived all the same.
    pub const fn delivery(&self) -> Delivery {
        match self {
            Self::Publish(error) => error.delivery(),
            Self::Unanswerable { delivery, .. } | Self::TimedOut { delivery, .. } => *delivery,
            Self::NoResponder => Delivery::Unknown, // the server has it, and passed it on to nobody
        }
    }
}
