//! Errors of subscribing and unsubscribing.

use std::convert::Infallible;

use ferromqtt_proto as proto;
use ferromqtt_proto::shown::peer_text;
use thiserror::Error;

use crate::error::Unanswered;
use crate::{ConnectionError, Delivery, FilterResult, Properties, ReasonCode, TopicFilter};

/// A subscription was not made, or not ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The filter or its options, or a limit of the server that they break: nothing was sent.
    #[error("cannot subscribe: {0}")]
    Invalid(proto::InvalidSubscribe),
    /// The filter to unsubscribe from, or a limit of the server that it breaks: nothing was sent.
    #[error("cannot unsubscribe: {0}")]
    InvalidUnsubscribe(proto::InvalidSubscribe),
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

impl From<proto::InvalidSubscribe> for SubscribeError {
    fn from(error: proto::InvalidSubscribe) -> Self {
        Self::Invalid(error)
    }
}
