//! What a call returns: the one place where outcomes of the core become results and errors.

use std::iter;
use std::time::Duration;

use ferromqtt_proto::{
    ConnectionError, Delivery, FilterRefusal, InvalidSubscribe, Message, Outcome, Properties,
    QuarantineReason, ReasonCode, TopicFilter,
};

use crate::{Awaited, CallEnd, FilterResult, PublishError, RequestError, SubscribeError};

/// The server has the message, or at QoS 0 the transport.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The server's Reason Code; Success at QoS 0 and before 5.0.
    pub reason: ReasonCode,
    /// Reason String and User Properties of the acknowledgement, if any.
    pub properties: Option<Box<Properties>>,
    /// The server had lost the session, and the message was published again: it may have come twice.
    pub resent_as_new: bool,
}

impl Published {
    /// Of a QoS 0 message that was handed to the transport.
    pub const SENT: Self = Self {
        reason: ReasonCode::Success,
        properties: None,
        resent_as_new: false,
    };
}

/// What SUBACK or UNSUBACK says to the filters of a request, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterAnswer {
    /// One for each filter; none in UNSUBACK before 5.0.
    pub results: Vec<FilterResult>,
    /// Reason String and the like, if any.
    pub properties: Option<Box<Properties>>,
}

impl FilterAnswer {
    /// What the server has answered for each of `filters`, of the request that this is the answer to. With `partial` it
    /// may have refused some of them, but not all.
    ///
    /// # Errors
    /// [`SubscribeError::Rejected`] when it has refused the only filter, [`SubscribeError::SomeRejected`] for one of several.
    pub fn granted(
        self,
        filters: Vec<TopicFilter>,
        partial: bool,
    ) -> Result<Vec<(TopicFilter, FilterResult)>, SubscribeError> {
        let results = self.by_filter(filters);
        let properties = self.properties;
        let refused = (results.iter()).filter(|(_, result)| result.is_error());
        let refused = refused.count();
        if refused == 0 || partial && refused < results.len() {
            return Ok(results);
        }
        Err(match &*results {
            [(filter, result)] => SubscribeError::Rejected {
                filter: filter.clone(),
                reason: result.reason(),
                properties,
            },
            _ => SubscribeError::SomeRejected {
                results,
                properties,
            },
        })
    }

    /// Each of the `filters` that were asked for, with its result. UNSUBACK before 5.0 grants all.
    fn by_filter(&self, filters: Vec<TopicFilter>) -> Vec<(TopicFilter, FilterResult)> {
        let success = FilterResult::of_unsuback(ReasonCode::Success);
        let results = self.results.iter().copied().chain(iter::repeat(success));
        filters.into_iter().zip(results).collect()
    }
}

/// How a call ended, whichever kind of call it was.
enum Sorted {
    Published(Published),
    Responded(Box<Message>),
    Answered(FilterAnswer),
    NotPublished(PublishError),
    NotRequested(InvalidSubscribe),
    Unanswerable {
        refusal: FilterRefusal,
        delivery: Delivery,
    },
    Dropped,
    Disconnected {
        cause: ConnectionError,
        delivery: Delivery,
    },
    TimedOut(Delivery),
}

impl Sorted {
    /// The driver has gone.
    const GONE: Self = Self::Disconnected {
        cause: ConnectionError::DriverGone,
        delivery: Delivery::Unknown,
    };
}

impl CallEnd {
    /// What the end of a publish means for its caller, which has waited for `awaited` for up to `limit`.
    ///
    /// # Errors
    /// Each [`PublishError`] says whether the message may have arrived.
    pub fn published(self, awaited: Awaited, limit: Duration) -> Result<Published, PublishError> {
        self.sorted().published(awaited, limit)
    }

    /// What the end of [`Engine::await_stored`](crate::Engine::await_stored) means.
    ///
    /// # Errors
    /// [`PublishError::NotOnRecord`].
    pub fn stored(self) -> Result<(), PublishError> {
        match self {
            Self::Stored { .. } => Ok(()),
            _ => Err(PublishError::NotOnRecord),
        }
    }

    /// The same of a [request](crate::Purpose::Request): its response.
    ///
    /// # Errors
    /// Each [`RequestError`] says why there is no response.
    pub fn responded(self, awaited: Awaited, limit: Duration) -> Result<Message, RequestError> {
        match self.sorted() {
            Sorted::Responded(response) => Ok(*response),
            Sorted::Published(_) => Err(RequestError::NoResponder),
            Sorted::Unanswerable { refusal, delivery } => {
                Err(RequestError::Unanswerable { refusal, delivery })
            }
            other => match other.published(awaited, limit) {
                Err(error) => Err(error.into()),
                Ok(_) => Err(RequestError::NoResponder), // cannot be: that is above
            },
        }
    }

    /// The same of a SUBSCRIBE or UNSUBSCRIBE: the server's answer, which may be a refusal of each filter.
    ///
    /// # Errors
    /// Each [`SubscribeError`] says whether the request may have arrived.
    pub fn answered(
        self,
        awaited: Awaited,
        limit: Duration,
    ) -> Result<FilterAnswer, SubscribeError> {
        Err(match self.sorted() {
            Sorted::Answered(answer) => return Ok(answer),
            Sorted::NotRequested(error) => error.into(),
            Sorted::Dropped => InvalidSubscribe::NoQueue.into(),
            Sorted::TimedOut(delivery) => SubscribeError::TimedOut {
                awaited,
                limit,
                delivery,
            },
            other => {
                let (cause, delivery) = other.disconnected();
                SubscribeError::Disconnected { cause, delivery }
            }
        })
    }

    /// The only match over all outcomes of calls.
    fn sorted(self) -> Sorted {
        let outcome = match self {
            Self::Completed(outcome) => outcome,
            Self::Refused(refusal) => return Sorted::NotPublished(refusal),
            Self::TimedOut(delivery) => return Sorted::TimedOut(delivery),
            Self::NotStored { .. } => return Sorted::NotPublished(PublishError::NotOnRecord),
            Self::Kept { key } => return Sorted::NotPublished(PublishError::Kept { key }),
            Self::DriverGone
            | Self::Accepted
            | Self::Queued { .. }
            | Self::Stored { .. }
            | Self::ReAuthenticated(_) => return Sorted::GONE,
        };
        match outcome {
            Outcome::Sent => Sorted::Published(Published::SENT),
            Outcome::Acknowledged {
                reason,
                properties,
                resent_as_new,
            } => Sorted::Published(Published {
                reason,
                properties,
                resent_as_new,
            }),
            Outcome::Responded(response) => Sorted::Responded(response),
            Outcome::Unanswerable { refusal, delivery } => {
                Sorted::Unanswerable { refusal, delivery }
            }
            Outcome::Subscribed {
                reasons,
                properties,
            } => Sorted::Answered(FilterAnswer {
                results: reasons.into_iter().map(FilterResult::of_suback).collect(),
                properties,
            }),
            Outcome::Unsubscribed {
                reasons,
                properties,
            } => Sorted::Answered(FilterAnswer {
                results: reasons.into_iter().map(FilterResult::of_unsuback).collect(),
                properties,
            }),
            Outcome::Refused { reason, properties } => {
                Sorted::NotPublished(PublishError::Rejected { reason, properties })
            }
            Outcome::NotPossible(error) => Sorted::NotPublished(error.into()),
            Outcome::GivenUp(error) => Sorted::NotPublished(PublishError::GivenUp(error)),
            Outcome::Expired => Sorted::NotPublished(PublishError::Expired),
            Outcome::Replaced => Sorted::NotPublished(PublishError::Replaced),
            Outcome::SessionLost => Sorted::NotPublished(PublishError::SessionLost),
            Outcome::Uncertain => Sorted::NotPublished(PublishError::Quarantined {
                why: QuarantineReason::Uncertain,
            }),
            Outcome::Quarantined { why } => Sorted::NotPublished(PublishError::Quarantined { why }),
            Outcome::NotStored { delivery } => {
                Sorted::NotPublished(PublishError::NotStored { delivery })
            }
            Outcome::Unreleased { properties } => {
                Sorted::NotPublished(PublishError::Unreleased { properties })
            }
            Outcome::RequestNotPossible(error) => Sorted::NotRequested(error),
            Outcome::Dropped => Sorted::Dropped,
            Outcome::Disconnected { cause, delivery } => Sorted::Disconnected { cause, delivery },
        }
    }
}

impl Sorted {
    fn published(self, awaited: Awaited, limit: Duration) -> Result<Published, PublishError> {
        Err(match self {
            Self::Published(published) => return Ok(published),
            Self::NotPublished(error) => error,
            Self::Dropped => PublishError::Dropped,
            Self::TimedOut(delivery) => PublishError::TimedOut {
                awaited,
                limit,
                delivery,
            },
            other => {
                let (cause, delivery) = other.disconnected();
                PublishError::Disconnected { cause, delivery }
            }
        })
    }

    /// Why the connection ended. An end that calls of this kind do not have counts as the driver's.
    fn disconnected(self) -> (ConnectionError, Delivery) {
        match self {
            Self::Disconnected { cause, delivery } => (cause, delivery),
            _ => (ConnectionError::DriverGone, Delivery::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: ReasonCode = ReasonCode::NotAuthorized;

    fn granted(reasons: &[ReasonCode], partial: bool) -> Result<usize, SubscribeError> {
        let filters = ["a", "b"].map(|filter| filter.try_into().unwrap());
        let answer = FilterAnswer {
            results: (reasons.iter().copied().map(FilterResult::of_suback)).collect(),
            properties: None,
        };
        let filters = filters.into_iter().take(reasons.len().max(1)).collect();
        let results = answer.granted(filters, partial)?;
        Ok((results.iter().filter(|(_, result)| !result.is_error())).count())
    }

    #[test]
    fn a_refused_filter_is_an_error_unless_others_will_do() {
        let both = [ReasonCode::Success, ReasonCode::GrantedQos1];
        let one = [ReasonCode::Success, REFUSED];
        for partial in [false, true] {
            assert_eq!(granted(&both, partial), Ok(2));
            let alone = granted(&[REFUSED], partial);
            assert!(
                matches!(alone, Err(SubscribeError::Rejected { reason, .. }) if reason == REFUSED)
            );
            let none = granted(&[REFUSED; 2], partial);
            assert!(matches!(none, Err(SubscribeError::SomeRejected { .. })));
        }
        assert_eq!(granted(&one, true), Ok(1));
        let strict = granted(&one, false);
        let Err(SubscribeError::SomeRejected { results, .. }) = strict else {
            panic!("{strict:?}");
        };
        assert_eq!(results.len(), 2, "those that were granted are named too");
    }

    /// UNSUBACK before 5.0.
    #[test]
    fn an_answer_without_results_grants_all() {
        assert_eq!(granted(&[], false), Ok(1));
    }
}
