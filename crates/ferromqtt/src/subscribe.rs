//! Subscribing and unsubscribing.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use ferromqtt_proto as proto;
use proto::{OpId, Outcome, SubscriptionOptions};
use tokio::sync::oneshot;

use crate::options::QUEUE;
use crate::shared::{Shared, State};
use crate::{
    Client, ConnectionError, Delivery, Messages, Properties, QoS, QueueOptions, ReasonCode,
    RetainHandling, SubscribeError, TopicFilter,
};

/// A subscription that is about to be made: see [`Client::subscribe`].
#[derive(Clone, Debug)]
#[must_use = "nothing is subscribed until this is awaited"]
pub struct Subscribe<'a> {
    client: &'a Client,
    filter: Result<TopicFilter, SubscribeError>,
    options: SubscriptionOptions,
    properties: Properties,
    queue: QueueOptions,
}

impl<'a> Subscribe<'a> {
    pub(crate) fn new(client: &'a Client, filter: Result<TopicFilter, SubscribeError>) -> Self {
        Self {
            client,
            filter,
            options: QoS::AtMostOnce.into(),
            properties: Properties::default(),
            queue: QUEUE,
        }
    }

    /// The QoS up to which the server may send; it may grant less. Default: 0.
    pub const fn qos(mut self, qos: QoS) -> Self {
        self.options.qos = qos;
        self
    }

    /// No Local (5.0): what this client publishes does not come back. Default: `false`.
    pub const fn no_local(mut self, no_local: bool) -> Self {
        self.options.no_local = no_local;
        self
    }

    /// Retain As Published (5.0): messages keep the RETAIN flag that they were published with. Default: `false`.
    pub const fn retain_as_published(mut self, keep: bool) -> Self {
        self.options.retain_as_published = keep;
        self
    }

    /// Retain Handling (5.0): when the server sends what it retains. Default: at every subscription.
    pub const fn retain_handling(mut self, handling: RetainHandling) -> Self {
        self.options.retain_handling = handling;
        self
    }

    /// SUBSCRIBE properties (5.0): a Subscription Identifier, User Properties. Default: none.
    pub fn properties(mut self, properties: Properties) -> Self {
        self.properties = properties;
        self
    }

    /// Bounds of the queue behind the stream. Default: the latest 100,000 messages.
    pub const fn queue(mut self, bounds: QueueOptions) -> Self {
        self.queue = bounds;
        self
    }
}

impl<'a> IntoFuture for Subscribe<'a> {
    type Output = Result<Messages, SubscribeError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    /// Completes with SUBACK. Dropped before, the subscription is taken back.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(subscribe(self))
    }
}

async fn subscribe(subscribe: Subscribe<'_>) -> Result<Messages, SubscribeError> {
    let filter = subscribe.filter?;
    let shared = &subscribe.client.shared;
    let queue = shared.lock().core.open_queue(subscribe.queue);
    // From here on dropping it closes the queue, and ends the subscription if there is one.
    let mut messages = Messages::new(Arc::clone(shared), queue, Some(filter.clone()));
    let request = Request::new(shared, |state, now| {
        let subscribe = proto::Subscribe {
            filters: vec![(filter, subscribe.options)],
            properties: subscribe.properties,
            queue,
        };
        state.core.subscribe(now, subscribe)
    })?;
    let granted = request.answer().await?;
    messages.granted = QoS::from_value(granted.value()).unwrap_or_default();
    Ok(messages)
}

pub(crate) async fn unsubscribe(
    shared: &Shared,
    filter: TopicFilter,
) -> Result<ReasonCode, SubscribeError> {
    let request = Request::new(shared, |state, now| {
        let unsubscribe = proto::Unsubscribe {
            filters: vec![filter],
            properties: Properties::default(),
        };
        state.core.unsubscribe(now, unsubscribe)
    })?;
    request.answer().await
}

/// A SUBSCRIBE or UNSUBSCRIBE on its way. Dropping it takes it back, if it was not sent yet.
struct Request<'a> {
    shared: &'a Shared,
    op: OpId,
    outcome: oneshot::Receiver<Outcome>,
}

impl<'a> Request<'a> {
    fn new(
        shared: &'a Shared,
        accept: impl FnOnce(&mut State, std::time::Instant) -> Result<OpId, proto::SubscribeError>,
    ) -> Result<Self, SubscribeError> {
        shared.call(|state, now| match accept(state, now) {
            Ok(op) => Ok(Self {
                shared,
                op,
                outcome: state.register(op),
            }),
            Err(proto::SubscribeError::NotConnected) => Err(SubscribeError::Disconnected {
                cause: state.end_cause(),
                delivery: Delivery::NotSent,
            }),
            Err(error) => Err(error.into()),
        })
    }

    /// Waits for SUBACK or UNSUBACK: its Reason Code for the one filter.
    async fn answer(mut self) -> Result<ReasonCode, SubscribeError> {
        let (reasons, properties) = match (&mut self.outcome).await {
            Ok(
                Outcome::Subscribed {
                    reasons,
                    properties,
                }
                | Outcome::Unsubscribed {
                    reasons,
                    properties,
                },
            ) => (reasons, properties),
            Ok(Outcome::Disconnected { cause, delivery }) => {
                return Err(SubscribeError::Disconnected { cause, delivery });
            }
            Ok(Outcome::RequestNotPossible(error)) => return Err(error.into()),
            // No other outcome belongs to a request; no outcome at all means that the runtime was shut down.
            _ => {
                return Err(SubscribeError::Disconnected {
                    cause: ConnectionError::Closed,
                    delivery: Delivery::Unknown,
                });
            }
        };
        let reason = reasons.first().copied().unwrap_or(ReasonCode::Success);
        if reason.is_error() {
            return Err(SubscribeError::Rejected { reason, properties });
        }
        Ok(reason)
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.shared.call(|state, _| state.forget(self.op)); // harmless when it has completed
    }
}
