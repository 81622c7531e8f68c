//! Errors of subscribing and unsubscribing.

use std::time::Duration;

use ferromqtt_proto::shown::peer_text;
use ferromqtt_proto::{
    ConnectionError, Delivery, InvalidSubscribe, Properties, ReasonCode, TopicFilter,
};
use thiserror::Error;

use crate::failure::{reason_string_behind, unanswered};
use crate::{Awaited, FilterResult};

/// A subscription was not made, or not ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The filter or its options, or a limit of the server that they break: nothing was sent.
    #[error("cannot subscribe: {0}")]
    Invalid(InvalidSubscribe),
    /// The filter to unsubscribe from, or a limit of the server that it breaks: nothing was sent.
    #[error("cannot unsubscribe: {0}")]
    InvalidUnsubscribe(InvalidSubscribe),
    /// The server refused it: SUBACK or UNSUBACK with a Reason Code of 0x80 or above.
    #[error(
        "the server refused the filter \"{}\": {reason}{}",
        shown(filter),
        reason_string_behind(properties.as_deref())
    )]
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
    #[error("{}", unanswered("request", "the server answered", cause, *delivery))]
    Disconnected {
        /// Why it ended.
        cause: ConnectionError,
        /// Whether the request may have arrived.
        delivery: Delivery,
    },
    /// `Client::declared`: no subscription with this filter was declared (`Options::subscription`), or its stream has been
    /// taken. The caller's.
    #[error(
        "no stream of \"{}\" is there to be taken: declare it with Options::subscription, and take it once",
        shown(.0)
    )]
    NotDeclared(TopicFilter),
    /// The time limit of the call was over before the server answered.
    #[error("{}", awaited.overdue(*delivery, "", *limit))]
    TimedOut {
        /// What did not come in time.
        awaited: Awaited,
        /// The limit that was given.
        limit: Duration,
        /// With `NotSent` the request was withdrawn, and is never sent. With `Unknown` it may have arrived.
        delivery: Delivery,
    },
}

impl SubscribeError {
    /// Whether the request may have reached the server all the same: then it may be subscribed.
    pub const fn delivery(&self) -> Delivery {
        match self {
            Self::Disconnected { delivery, .. } | Self::TimedOut { delivery, .. } => *delivery,
            Self::Invalid(_) | Self::InvalidUnsubscribe(_) | Self::NotDeclared(_) => {
                Delivery::NotSent
            }
            Self::Rejected { .. } | Self::SomeRejected { .. } => Delivery::Unknown,
        }
    }

    /// The same, of a call that was to unsubscribe.
    #[must_use]
    pub fn of_unsubscribing(self) -> Self {
        match self {
            Self::Invalid(error) => Self::InvalidUnsubscribe(error),
            error => error,
        }
    }

    /// Nothing was sent, for lack of a connection.
    pub const fn not_sent(cause: ConnectionError) -> Self {
        Self::Disconnected {
            cause,
            delivery: Delivery::NotSent,
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

impl From<InvalidSubscribe> for SubscribeError {
    fn from(error: InvalidSubscribe) -> Self {
        Self::Invalid(error)
    }
}
