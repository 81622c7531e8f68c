//! Subscriptions that are declared in the options: made with the first connection, and taken as streams later.

use std::sync::Arc;

use ferromqtt_engine::{CallEnd, DeclaredQueue};
use ferromqtt_proto as proto;
use tokio::sync::oneshot;

use crate::shared::{Shared, now};
use crate::state::SharedState;
use crate::subscribe::answered;
use crate::terms::{Terms, subscribe_setters};
use crate::{
    Acknowledge, CleanStart, InvalidExactlyOnce, Messages, OptionsError, ProtocolVersion, QoS,
    QueueOptions, SubscribeError, SubscriptionFilter, TopicFilter,
};

/// A subscription that [`Options::subscription`](crate::Options::subscription) declares: what
/// [`Client::subscribe`](crate::Client::subscribe) asks for, said before there is a client.
#[derive(Clone, Debug)]
#[must_use = "give it to Options::subscription"]
pub struct DeclaredSubscription {
    terms: Terms,
    /// For a handler that knows messages by their Packet Identifiers.
    pub(crate) exactly_once: bool,
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
            exactly_once: false,
        }
    }

    /// Declares it for [`ExactlyOnce::run_by_identifier`](crate::ExactlyOnce::run_by_identifier), which takes its stream in the
    /// place of [`Client::declared`](crate::Client::declared): QoS 2, and a queue without bounds whose messages the application
    /// acknowledges. The server sends no more than the Receive Maximum of them.
    ///
    /// The connection then waits for the handler: before each CONNECT, before PUBCOMP, and, when the server has lost the session,
    /// before anything that makes it send messages. So it is for [`Connection::start`](crate::Connection::start) alone, with
    /// [`CleanStart::Never`](crate::CleanStart::Never); anything else is refused as
    /// [`InvalidExactlyOnce`](crate::InvalidExactlyOnce). Each subscription so declared needs a handler of its own.
    pub const fn exactly_once(mut self) -> Self {
        self.terms.options.qos = QoS::ExactlyOnce;
        self.terms.queue = QueueOptions {
            acknowledge: Acknowledge::ByApplication,
            ..QueueOptions::UNBOUNDED
        };
        self.exactly_once = true;
        self
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
    pub(crate) partial: bool,
    pub(crate) templates: proto::TopicTemplates,
    pub(crate) end: oneshot::Receiver<CallEnd>,
    /// The place of its handler among those of the connection that keep identifiers.
    ledger: Option<usize>,
}

/// Accepts the declared subscriptions, for an engine that is about to connect.
pub(crate) fn declare(
    state: &mut SharedState,
    subscriptions: &[DeclaredSubscription],
) -> Result<(), SubscribeError> {
    let mut handlers = 0..;
    for subscription in subscriptions {
        let DeclaredSubscription {
            terms,
            exactly_once,
        } = subscription;
        let ledger = exactly_once.then(|| handlers.next()).flatten();
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
                ledger,
            },
        );
    }
    Ok(())
}

/// Checks the subscriptions of exactly-once handlers without a key. Returns how many there are.
pub(crate) fn check_exactly_once(
    subscriptions: &[DeclaredSubscription],
    options: &proto::Options,
) -> Result<usize, OptionsError> {
    let of_handlers = || subscriptions.iter().filter(|it| it.exactly_once);
    let handlers = of_handlers().count();
    if handlers == 0 {
        return Ok(0);
    }
    let has_expiry = options.properties.session_expiry_interval != Some(0);
    if options.clean_start != CleanStart::Never || !has_expiry {
        return Err(InvalidExactlyOnce::Session.into());
    }
    if options.protocol == ProtocolVersion::V31 {
        return Err(InvalidExactlyOnce::Version.into());
    }
    for subscription in of_handlers() {
        let filters = subscription.terms.filters();
        let filters = filters.map_err(|error| OptionsError::Subscription(Box::new(error)))?;
        if (filters.iter()).any(|(_, options)| options.qos != QoS::ExactlyOnce) {
            return Err(InvalidExactlyOnce::QoS.into());
        }
        if filters.iter().any(|(filter, _)| filter.is_shared()) {
            return Err(InvalidExactlyOnce::Shared.into());
        }
    }
    Ok(handlers)
}

/// Takes the queue of a subscription that was declared for an exactly-once handler, whether the server has answered or not.
pub(crate) fn take_kept(
    shared: &Shared,
    filter: &TopicFilter,
) -> Option<(usize, DeclaredQueue, PendingStream)> {
    let mut state = shared.lock();
    let declared = state.engine.take_declared(filter)?;
    let pending = state.declared.remove(&declared.call);
    let ledger = pending.as_ref().and_then(|pending| pending.ledger);
    match (ledger, pending) {
        (Some(ledger), Some(pending)) => Some((ledger, declared, pending)),
        (_, pending) => {
            (state.declared).extend(pending.map(|pending| (declared.call, pending)));
            state.engine.put_back_declared(declared);
            None
        }
    }
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
        if pending.ledger.is_some() {
            state.declared.insert(declared.call, pending);
            state.engine.put_back_declared(declared);
            return None; // its handler takes it: the connection waits for that one
        }
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
