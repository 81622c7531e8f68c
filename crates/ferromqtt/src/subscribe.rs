//! Subscribing and unsubscribing.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferromqtt_engine::{Awaited, CallEnd, CallId, FilterAnswer};
use ferromqtt_proto as proto;
use tokio::sync::oneshot;
use tokio::task::coop::consume_budget;

use crate::call::PendingCall;
use crate::shared::Shared;
use crate::state::TaskEngine;
use crate::terms::{Terms, subscribe_setters};
use crate::{Client, Messages, Properties, SubscribeError, SubscriptionFilter, TopicFilter};

/// A subscription that is about to be made: see [`Client::subscribe`] and [`Client::subscribe_all`]. Wraps
/// [`ferromqtt_proto::Subscribe`]. It borrows nothing, so its future can be spawned.
#[derive(Clone)]
#[must_use = "nothing is subscribed until this is awaited"]
pub struct Subscribe {
    client: Client,
    pub(crate) terms: Terms,
}

impl fmt::Debug for Subscribe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.terms.filters() {
            Ok(filters) => {
                let filters = filters.iter().map(|(filter, _)| filter.as_str());
                f.debug_struct("Subscribe")
                    .field("filters", &filters.collect::<Vec<_>>())
                    .finish_non_exhaustive()
            }
            Err(error) => f.debug_tuple("Subscribe").field(&error).finish(),
        }
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

    subscribe_setters! {
        terms:
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
        and;
        /// Bounds of the queue behind the stream. Default: [`QueueOptions::DEFAULT`](crate::QueueOptions::DEFAULT), 100,000 messages and 64 MiB, beyond which
        /// the server [waits](crate::Overflow::Wait).
        queue;
        /// What it means when the server refuses some of several filters. By default that is
        /// [`SubscribeError::SomeRejected`], and the others are taken back, so that no stream lacks a part unnoticed (with
        /// [`CleanStart::Never`](crate::CleanStart::Never), where an earlier connection may have wanted them, they stay in the
        /// session, and their messages wait for the next stream that [claims](crate::Options::claim_within) them). With `true`
        /// there is a stream for those that were granted, and [`Messages::results`] says which; it is an error only when none was.
        partial;
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
    messages.results = answered(call.end().await)?.granted(names, terms.partial)?;
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
    let answer = answered(adapt(call).end().await).map_err(SubscribeError::of_unsubscribing)?;
    answer.granted(filters, false).map(drop)
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

/// What the server has answered, if the call has ended with that.
pub(crate) fn answered(end: CallEnd) -> Result<FilterAnswer, SubscribeError> {
    end.answered(Awaited::SubAck, Duration::ZERO) // it has no time limit
}
