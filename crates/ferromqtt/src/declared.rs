//! Subscriptions that are declared in the options: made with the first connection, and taken as streams later.

use std::sync::Arc;

use ferromqtt_engine::{CallEnd, DeclaredQueue};
use ferromqtt_proto as proto;
use tokio::sync::oneshot;

use crate::shared::{Shared, now};
use crate::state::SharedState;
use crate::subscribe::answered;
use crate::terms::{Terms, subscribe_setters};
use crate::{Messages, SubscribeError, SubscriptionFilter, TopicFilter};

/// A subscription that [`Options::subscription`](crate::Options::subscription) declares: what
/// [`Client::subscribe`](crate::Client::subscribe) asks for, said before there is a client.
#[derive(Clone, Debug)]
#[must_use = "give it to Options::subscription"]
pub struct DeclaredSubscription {
    terms: Terms,
}

impl DeclaredSubscription {
    /// To one filter. One that is wrong is an error of connecting:
    /// [`OptionsError::Subscription`](crate::OptionsError::Subscription).
    pub fn new<T>(filter: T) -> Self
    where
        T: TryInto<SubscriptionFilter>,
        T::Error: Into<SubscribeError>,
    {
        Self {
            terms: Terms::new([filter.try_into().map_err(Into::into)]),
        }
    }

    subscribe_setters! {
        terms:
        /// One more filter for the same stream, in the same SUBSCRIBE. See [`Subscribe::and`](crate::Subscribe::and).
        and;
        /// Bounds of the queue behind the stream, which fills from the first message on, taken or not. Default:
        /// [`QueueOptions::DEFAULT`](crate::QueueOptions::DEFAULT).
        queue;
        /// What it means when the server refuses some of several filters. See [`Subscribe::partial`](crate::Subscribe::partial).
        partial;
    }
}

/// What this client keeps of a declared subscription whose stream nobody has taken yet.
#[derive(Debug)]
pub(crate) struct PendingStream {
    partial: bool,
    templates: proto::TopicTemplates,
    end: oneshot::Receiver<CallEnd>,
}

/// Accepts the declared subscriptions, for an engine that is about to connect.
pub(crate) fn declare(
    state: &mut SharedState,
    subscriptions: &[DeclaredSubscription],
) -> Result<(), SubscribeError> {
    for DeclaredSubscription { terms } in subscriptions {
        let subscribe = proto::Subscribe {
            filters: terms.filters()?,
            properties: terms.properties.clone(),
            queue: state.engine.open_queue(terms.queue),
        };
        let (partial, templates) = (terms.partial, terms.templates.clone());
        let (token, end) = oneshot::channel();
        let declared = state.engine.declare(now(), subscribe, token);
        let call = declared.map_err(|(_, error)| error)?;
        state.declared.insert(
            call,
            PendingStream {
                partial,
                templates,
                end,
            },
        );
    }
    Ok(())
}

/// Takes the stream of a declared subscription, once the server has granted it.
pub(crate) async fn take_declared(
    shared: &Arc<Shared>,
    filter: TopicFilter,
) -> Result<Messages, SubscribeError> {
    let Some(mut taken) = TakenStream::new(shared, &filter) else {
        return Err(SubscribeError::NotDeclared(filter));
    };
    let end = taken.end().await;
    let Some((declared, pending)) = taken.stream.take() else {
        return Err(SubscribeError::NotDeclared(filter)); // never: it is taken here alone
    };
    let mut messages = Messages::new(Arc::clone(shared), declared.queue);
    messages.templates = pending.templates.into();
    messages.results = answered(end)?.granted(declared.filters, pending.partial)?;
    Ok(messages)
}

/// A declared subscription whose stream is being taken. Dropped before that is done, it can be taken again.
struct TakenStream<'a> {
    shared: &'a Shared,
    stream: Option<(DeclaredQueue, PendingStream)>,
}

impl<'a> TakenStream<'a> {
    fn new(shared: &'a Shared, filter: &TopicFilter) -> Option<Self> {
        let mut state = shared.lock();
        let declared = state.engine.take_declared(filter)?;
        let pending = state.declared.remove(&declared.call)?;
        let stream = Some((declared, pending));
        Some(Self { shared, stream })
    }

    async fn end(&mut self) -> CallEnd {
        match &mut self.stream {
            Some((_, pending)) => (&mut pending.end).await.unwrap_or(CallEnd::DriverGone),
            None => CallEnd::DriverGone,
        }
    }
}

impl Drop for TakenStream<'_> {
    fn drop(&mut self) {
        if let Some((declared, pending)) = self.stream.take() {
            let mut state = self.shared.lock();
            state.declared.insert(declared.call, pending);
            state.engine.put_back_declared(declared);
        }
    }
}
