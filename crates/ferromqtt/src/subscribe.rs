//! Subscribing and unsubscribing.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferromqtt_engine::{Awaited, CallEnd, CallId};
use ferromqtt_proto as proto;
use proto::SubscriptionOptions;
use tokio::sync::oneshot;
use tokio::task::coop::consume_budget;

use crate::call::PendingCall;
use crate::shared::Shared;
use crate::state::TaskEngine;
use crate::{
    Client, FilterResult, Messages, Properties, QoS, QueueOptions, RetainHandling, SubscribeError,
    SubscriptionFilter, TopicFilter, TopicTemplate,
};

/// A subscription that is about to be made: see [`Client::subscribe`] and [`Client::subscribe_all`]. Wraps
/// [`ferromqtt_proto::Subscribe`]. It borrows nothing, so its future can be spawned.
#[derive(Clone)]
#[must_use = "nothing is subscribed until this is awaited"]
pub struct Subscribe {
    client: Client,
    terms: Terms,
}

impl fmt::Debug for Subscribe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.terms.filters {
            Ok(filters) => {
                let filters = filters.iter().map(|(filter, _)| filter.as_str());
                f.debug_struct("Subscribe")
                    .field("filters", &filters.collect::<Vec<_>>())
                    .finish_non_exhaustive()
            }
            Err(error) => f.debug_tuple("Subscribe").field(error).finish(),
        }
    }
}

/// What is subscribed to, and how its messages are kept.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// `None` stands for the options that are common to all filters without their own.
    filters: Result<Vec<(TopicFilter, Option<SubscriptionOptions>)>, SubscribeError>,
    /// Those that some of the filters come of, in their order.
    pub(crate) templates: Vec<TopicTemplate>,
    pub(crate) options: SubscriptionOptions,
    pub(crate) properties: Properties,
    pub(crate) queue: QueueOptions,
    /// They are requests: a responder's.
    pub(crate) of_requests: bool,
    pub(crate) partial: bool,
}

impl Terms {
    pub(crate) fn new(
        filters: impl IntoIterator<Item = Result<SubscriptionFilter, SubscribeError>>,
    ) -> Self {
        let mut templates = Vec::new();
        Self {
            filters: (filters.into_iter())
                .map(|filter| {
                    let SubscriptionFilter { filter, template } = filter?;
                    templates.extend(template);
                    Ok((filter, None))
                })
                .collect(),
            templates,
            options: QoS::AtMostOnce.into(),
            properties: Properties::default(),
            queue: QueueOptions::DEFAULT,
            of_requests: false,
            partial: false,
        }
    }

    pub(crate) fn add<T>(&mut self, filter: T, options: SubscriptionOptions)
    where
        T: TryInto<SubscriptionFilter>,
        T::Error: Into<SubscribeError>,
    {
        if let Ok(filters) = &mut self.filters {
            match filter.try_into() {
                Ok(SubscriptionFilter { filter, template }) => {
                    filters.push((filter, Some(options)));
                    self.templates.extend(template);
                }
                Err(error) => self.filters = Err(error.into()),
            }
        }
    }

    /// The filters, each with its options.
    pub(crate) fn filters(
        &self,
    ) -> Result<Vec<(TopicFilter, SubscriptionOptions)>, SubscribeError> {
        let filters = self.filters.clone()?;
        Ok((filters.into_iter())
            .map(|(filter, own)| (filter, own.unwrap_or(self.options)))
            .collect())
    }
}

impl Subscribe {
    pub(crate) fn new(
        client: Client,
        filters: impl IntoIterator<Item = Result<SubscriptionFilter, SubscribeError>>,
    ) -> Self {
        Self {
            client,
            terms: Terms::new(filters),
        }
    }

    pub(crate) const fn of_terms(client: Client, terms: Terms) -> Self {
        Self { client, terms }
    }

    /// Of requests: a connection before 5.0 ends it.
    pub(crate) const fn of_requests(mut self) -> Self {
        self.terms.of_requests = true;
        self
    }

    /// One more filter for the same stream, in the same SUBSCRIBE, with a QoS or
    /// [`SubscriptionOptions`](crate::SubscriptionOptions) of its own.
    ///
    /// ```no_run
    /// # async fn example(client: ferromqtt::Client) -> Result<(), ferromqtt::SubscribeError> {
    /// use ferromqtt::QoS;
    ///
    /// let mut orders = client.subscribe("orders/#").and("alarms/#", QoS::ExactlyOnce).await?;
    /// # Ok(()) }
    /// ```
    pub fn and<T>(mut self, filter: T, options: impl Into<SubscriptionOptions>) -> Self
    where
        T: TryInto<SubscriptionFilter>,
        T::Error: Into<SubscribeError>,
    {
        self.terms.add(filter, options.into());
        self
    }

    /// The QoS up to which the server may send; it may grant less. Default: 0.
    ///
    /// This and the other options of SUBSCRIBE are for the filters that have none of their own.
    pub const fn qos(mut self, qos: QoS) -> Self {
        self.terms.options.qos = qos;
        self
    }

    /// No Local (5.0): what this client publishes does not come back. Default: `false`.
    pub const fn no_local(mut self, no_local: bool) -> Self {
        self.terms.options.no_local = no_local;
        self
    }

    /// Retain As Published (5.0): messages keep the RETAIN flag that they were published with. Default: `false`.
    pub const fn retain_as_published(mut self, keep: bool) -> Self {
        self.terms.options.retain_as_published = keep;
        self
    }

    /// Retain Handling (5.0): when the server sends what it retains. Default: at every subscription.
    pub const fn retain_handling(mut self, handling: RetainHandling) -> Self {
        self.terms.options.retain_handling = handling;
        self
    }

    /// SUBSCRIBE properties (5.0): a Subscription Identifier, User Properties. Default: none.
    pub fn properties(mut self, properties: Properties) -> Self {
        self.terms.properties = properties;
        self
    }

    /// Bounds of the queue behind the stream. Default: [`QueueOptions::DEFAULT`], 100,000 messages and 64 MiB, beyond which
    /// the server [waits](crate::Overflow::Wait).
    pub const fn queue(mut self, bounds: QueueOptions) -> Self {
        self.terms.queue = bounds;
        self
    }

    /// What it means when the server refuses some of several filters. By default that is
    /// [`SubscribeError::SomeRejected`], and the others are taken back, so that no stream lacks a part unnoticed (with
    /// [`CleanStart::Never`](crate::CleanStart::Never), where an earlier connection may have wanted them, they stay in the
    /// session, and their messages wait for the next stream that [claims](crate::Options::claim_within) them). With `true`
    /// there is a stream for those that were granted, and [`Messages::results`] says which; it is an error only when none was.
    pub const fn partial(mut self, partial: bool) -> Self {
        self.terms.partial = partial;
        self
    }
}

impl IntoFuture for Subscribe {
    type Output = Result<Messages, SubscribeError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Completes with SUBACK. Dropped before, the subscription is taken back; or, with
    /// [`CleanStart::Never`](crate::CleanStart::Never), left to the session if it has been sent.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(subscribe(self))
    }
}

async fn subscribe(subscribe: Subscribe) -> Result<Messages, SubscribeError> {
    consume_budget().await; // a loop of calls that fail must not keep others from running
    let Subscribe { client, terms } = subscribe;
    let filters = terms.filters()?;
    let names: Vec<_> = filters.iter().map(|(filter, _)| filter.clone()).collect();
    let shared = &client.shared;
    let queue = match terms.of_requests {
        true => shared.lock().engine.open_request_queue(terms.queue),
        false => shared.lock().engine.open_queue(terms.queue),
    };
    // From here on dropping it gives up the queue, and the subscription if there is one.
    let mut messages = Messages::new(Arc::clone(shared), queue);
    messages.templates = terms.templates.into();
    let call = accept(shared, |engine, now, token| {
        let subscribe = proto::Subscribe {
            filters,
            properties: terms.properties,
            queue,
        };
        engine.subscribe(now, subscribe, None, token)
    })?;
    granted(messages, answered(call.end().await, names)?, terms.partial)
}

/// The stream, if the server has granted all filters, or with `partial` one of them.
pub(crate) fn granted(
    mut messages: Messages,
    answer: Answer,
    partial: bool,
) -> Result<Messages, SubscribeError> {
    let (results, properties) = answer;
    let granted = results.iter().any(|(_, result)| !result.is_error());
    if !(partial && granted) {
        check(&results, properties)?;
    }
    messages.results = results;
    Ok(messages)
}

/// Unsubscribes from all of `filters`, for every stream.
pub(crate) async fn unsubscribe(
    shared: &Shared,
    filters: Vec<TopicFilter>,
) -> Result<(), SubscribeError> {
    unsubscribe_by(shared, filters, |call| call).await
}

/// Closes a queue, and unsubscribes from what no other one needs, whether somebody waits for that or not.
pub(crate) async fn unsubscribe_queue(
    shared: &Shared,
    queue: proto::QueueId,
) -> Result<(), SubscribeError> {
    let filters = shared.call(|state, _| state.engine.close_queue(queue));
    if filters.is_empty() {
        return Ok(());
    }
    unsubscribe_by(shared, filters, PendingCall::lasting).await
}

async fn unsubscribe_by<'a>(
    shared: &'a Shared,
    filters: Vec<TopicFilter>,
    adapt: fn(PendingCall<'a>) -> PendingCall<'a>,
) -> Result<(), SubscribeError> {
    let unsubscribe = proto::Unsubscribe {
        filters: filters.clone(),
        properties: Properties::default(),
    };
    let call = accept(shared, |engine, now, token| {
        engine.unsubscribe(now, unsubscribe, None, token)
    })
    .map_err(SubscribeError::of_unsubscribing)?;
    let answer = answered(adapt(call).end().await, filters);
    let (results, properties) = answer.map_err(SubscribeError::of_unsubscribing)?;
    check(&results, properties)
}

type Token = oneshot::Sender<CallEnd>;

fn accept(
    shared: &Shared,
    accept: impl FnOnce(&mut TaskEngine, Instant, Token) -> Result<CallId, (Token, SubscribeError)>,
) -> Result<PendingCall<'_>, SubscribeError> {
    let (token, end) = oneshot::channel();
    let accepted = shared.call(|state, now| accept(&mut state.engine, now, token));
    match accepted {
        Ok(call) => Ok(PendingCall::new(shared, call, end)),
        Err((_, refusal)) => Err(refusal),
    }
}

pub(crate) type Answer = (Vec<(TopicFilter, FilterResult)>, Option<Box<Properties>>);

/// What the end of a call says to each filter.
pub(crate) fn answered(end: CallEnd, filters: Vec<TopicFilter>) -> Result<Answer, SubscribeError> {
    let answer = end.answered(Awaited::SubAck, Duration::ZERO)?; // it has no time limit
    Ok((answer.by_filter(filters), answer.properties))
}

/// An error when one of the filters was refused.
fn check(
    results: &[(TopicFilter, FilterResult)],
    properties: Option<Box<Properties>>,
) -> Result<(), SubscribeError> {
    match results {
        [(filter, result)] if result.is_error() => Err(SubscribeError::Rejected {
            filter: filter.clone(),
            reason: result.reason(),
            properties,
        }),
        results if results.iter().any(|(_, result)| result.is_error()) => {
            Err(SubscribeError::SomeRejected {
                results: results.to_vec(),
                properties,
            })
        }
        _ => Ok(()),
    }
}
