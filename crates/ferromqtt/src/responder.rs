//! Responders: subscriptions to requests (5.0, section 4.10).

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ferromqtt_engine::{asks_for_response, check_responder};
use ferromqtt_proto::TopicTemplates;
use futures_core::Stream;

use crate::shared::Shared;
use crate::subscribe::Subscribe;
use crate::terms::subscribe_setters;
use crate::{
    Client, FilterRefusal, FilterResult, IntoPayload, Message, Messages, Publish, QoS,
    SubscribeError, TopicFilter, TopicParams,
};

/// A responder that is about to subscribe: see [`Client::responder`]. It borrows nothing, so its future can be spawned.
///
/// The options are those of [`Subscribe`].
#[derive(Clone, Debug)]
#[must_use = "nothing is subscribed until this is awaited"]
pub struct Responder {
    client: Client,
    subscribe: Subscribe,
}

impl Responder {
    pub(crate) fn new(client: Client, subscribe: Subscribe) -> Self {
        let subscribe = subscribe.of_requests();
        Self { client, subscribe }
    }

    subscribe_setters! {
        subscribe.terms:
        /// One more filter, with a QoS or [`SubscriptionOptions`](crate::SubscriptionOptions) of its own: see
        /// [`Subscribe::and`].
        and;
        /// Bounds of the queue behind the stream: see [`Subscribe::queue`]. Default:
        /// [`QueueOptions::DEFAULT`](crate::QueueOptions::DEFAULT).
        queue;
        /// What it means when the server refuses some of several filters: see [`Subscribe::partial`]. Default: `false`, an error.
        partial;
    }
}

impl IntoFuture for Responder {
    type Output = Result<Requests, SubscribeError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Completes with SUBACK. Dropped before, the subscription is taken back, as of [`Client::subscribe`].
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            check_responder(self.client.protocol())?;
            let messages = self.subscribe.await?;
            Ok(Requests {
                messages,
                passed_over: 0,
            })
        })
    }
}

/// The requests that a responder gets, in order of arrival: from [`Client::responder`].
///
/// It is a [`Stream`], and has [`next`](Self::next) of its own. Bounds, losses, how it ends and what dropping it does are those
/// of [`Messages`].
///
/// A message without a Response Topic asks for nothing, and nothing could answer it. It is passed over: acknowledged if that is
/// left to the application, [counted](Self::passed_over), and with the feature `tracing` logged as a warning.
#[derive(Debug)]
#[must_use = "dropping a stream of requests ends its subscription, unless the session outlives the program"]
pub struct Requests {
    messages: Messages,
    passed_over: u64,
}

impl Requests {
    /// The next request; `None` when none will come any more: see [`Messages::next`].
    ///
    /// # Cancel safety
    /// A request is taken only when this completes: nothing is lost in `select!` or under a time limit.
    pub async fn next(&mut self) -> Option<RequestMessage> {
        poll_fn(|cx| self.poll_request(cx)).await
    }

    /// A request that is already there, without waiting.
    pub fn try_next(&mut self) -> Option<RequestMessage> {
        while let Some(message) = self.messages.try_next() {
            if let Some(request) = self.admit(message) {
                return Some(request);
            }
        }
        None
    }

    /// How many messages asked for no response, and were passed over.
    pub const fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// How many messages wait, those included that ask for no response.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether no message waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// See [`Messages::not_subscribed`]. It has [`InvalidSubscribe::NoRequests`](crate::InvalidSubscribe::NoRequests) when a later
    /// connection has a version before 5.0 (`Options::protocol_auto`), which ends the stream.
    pub fn not_subscribed(&self) -> Vec<(TopicFilter, FilterRefusal)> {
        self.messages.not_subscribed()
    }

    /// See [`Messages::take_lost`].
    pub fn take_lost(&mut self) -> u64 {
        self.messages.take_lost()
    }

    /// See [`Messages::results`].
    pub fn results(&self) -> &[(TopicFilter, FilterResult)] {
        self.messages.results()
    }

    /// See [`Messages::granted_qos`].
    pub fn granted_qos(&self) -> QoS {
        self.messages.granted_qos()
    }

    /// Ends the subscription, and waits until the server has confirmed it: see [`Messages::unsubscribe`].
    ///
    /// # Errors
    /// As [`Client::unsubscribe`].
    ///
    /// # Cancel safety
    /// Dropped, it goes on in the background.
    pub async fn unsubscribe(self) -> Result<(), SubscribeError> {
        self.messages.unsubscribe().await
    }

    /// Ends the stream, but not the subscription: see [`Messages::detach`].
    pub fn detach(self) {
        self.messages.detach();
    }

    #[cfg(feature = "blocking")]
    pub(crate) fn into_messages(self) -> Messages {
        self.messages
    }

    fn admit(&mut self, message: Message) -> Option<RequestMessage> {
        let messages = &self.messages;
        let request = RequestMessage::admit(&messages.shared, &messages.templates, message);
        self.passed_over += u64::from(request.is_none());
        request
    }

    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Option<RequestMessage>> {
        loop {
            let message = ready!(Pin::new(&mut self.messages).poll_next(cx));
            let Some(message) = message else {
                return Poll::Ready(None);
            };
            if let Some(request) = self.admit(message) {
                return Poll::Ready(Some(request));
            }
        }
    }
}

impl Stream for Requests {
    type Item = RequestMessage;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RequestMessage>> {
        self.poll_request(cx)
    }
}

/// A received [`Message`] that asks for a response: from [`Client::responder`].
#[derive(Clone)]
pub struct RequestMessage {
    client: Client,
    message: Message,
    templates: Arc<TopicTemplates>,
}

impl RequestMessage {
    /// The request that a message is; `None` for one that is passed over.
    pub(crate) fn admit(
        shared: &Arc<Shared>,
        templates: &Arc<TopicTemplates>,
        message: Message,
    ) -> Option<Self> {
        if asks_for_response(message.properties.as_deref()) {
            let shared = Arc::clone(shared);
            let client = Client { shared };
            let templates = Arc::clone(templates);
            return Some(Self {
                client,
                message,
                templates,
            });
        }
        shared.call_and_notify(|state, _| {
            (state.engine).pass_over(message.topic.clone(), message.delivery);
        });
        None
    }

    /// Answers it: a publish to its Response Topic, with its Correlation Data, and at the QoS that it came with unless another
    /// one is set. Set what differs from the defaults, then await it.
    ///
    /// Called again it publishes another response. [`Client::request`] takes the first one, and later ones are dropped there.
    ///
    /// # Errors
    /// As [`Client::publish`].
    ///
    /// # Cancel safety
    /// As [`Client::publish`]: a response that was accepted is not taken back.
    pub fn respond(&self, payload: impl IntoPayload) -> Publish<'_> {
        self.client.respond(&self.message, payload)
    }

    /// What the levels of its topic are named by the [`TopicTemplate`](crate::TopicTemplate) that was subscribed to: see [`Messages::params`].
    pub fn params(&self) -> TopicParams<'_> {
        self.templates.params(&self.message.topic)
    }

    /// The message alone.
    pub fn into_message(self) -> Message {
        self.message
    }
}

impl Deref for RequestMessage {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl fmt::Debug for RequestMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestMessage")
            .field(&self.message)
            .finish()
    }
}
