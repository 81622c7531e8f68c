//! The handle that programs work with.

use std::fmt;
use std::sync::Arc;

use ferromqtt_proto::QueueId;
use tokio::task::coop::consume_budget;

use crate::authenticate::re_authenticate;
use crate::declared::take_declared;
use crate::shared::{Shared, now};
use crate::subscribe::unsubscribe;
use crate::{
    AcknowledgeError, ConnectResult, ConnectionError, DeliveryId, Events, IntoPayload, Message,
    Messages, Properties, ProtocolVersion, Publish, PublishError, ReAuthenticateError, ReasonCode,
    Request, Responder, Stats, Subscribe, SubscribeError, SubscriptionFilter, TopicFilter,
    TopicName, Unacknowledged, Utf8String,
};

/// A handle to a connection: cheap to clone, shared by as many tasks as you like. Wraps [`ferromqtt_proto::Client`], which
/// does no I/O.
///
/// The connection does not live as long as its handles, but as its [`scope`](crate::scope) or
/// [`Connection`](crate::Connection). Afterwards every call fails with the reason.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

impl Client {
    /// Publishes a message: set what differs from the defaults, then await it, or [`enqueue`](Publish::enqueue) it.
    ///
    /// Awaiting completes when the message has reached its Quality of Service: at QoS 0 when it is on its way to the transport
    /// (one that a connection takes with it when it is lost in that moment is counted: [`Stats::unflushed`]),
    /// at QoS 1 with PUBACK, at QoS 2 with PUBCOMP. The call waits as long as that takes, also for capacity in the outgoing
    /// queue and for a lost connection to come back, unless [`timeout`](Publish::timeout) sets a limit, at whose end a message
    /// that has not been sent is withdrawn.
    ///
    /// A topic that is used often can be a [`TopicName`]: it is checked once, and cloning it copies nothing.
    ///
    /// # Errors
    /// Each [`PublishError`] says whose fault it was, and whether the message may have arrived.
    ///
    /// # Cancel safety
    /// Dropping the future does not take back a message that was accepted: see [`PublishFuture`](crate::PublishFuture).
    /// So around a publish `tokio::time::timeout` only ends the wait; [`Publish::timeout`] takes back what was not sent.
    ///
    /// ```no_run
    /// # async fn example(client: ferromqtt::Client) -> Result<(), ferromqtt::PublishError> {
    /// use ferromqtt::QoS;
    ///
    /// client.publish("status", "up").qos(QoS::AtLeastOnce).retain(true).await?;
    /// # Ok(()) }
    /// ```
    pub fn publish<T>(&self, topic: T, payload: impl IntoPayload) -> Publish<'_>
    where
        T: TryInto<TopicName>,
        T::Error: Into<PublishError>,
    {
        Publish::new(
            self,
            topic.try_into().map_err(Into::into),
            payload.into_payload(),
        )
    }

    /// Subscribes: set what differs from the defaults, then await it. It completes with SUBACK, and gives the messages.
    ///
    /// The stream gets every message whose topic matches the filter (section 4.7). Where subscriptions overlap a server may
    /// send a message once for all of them or once for each. With Subscription Identifiers (5.0) each stream gets it once all the
    /// same, otherwise as often as the server sends it. A lost connection is made good: the subscription is renewed if the server has lost it.
    ///
    /// In a session that was [resumed](crate::CleanStart::Never), the stream begins with what the server has kept for it
    /// while the client was away: such messages are [held](crate::Options::claim_within) until a stream claims them. Where
    /// several match one, the first gets it.
    ///
    /// Streams of the same Shared Subscription (`$share/name/filter`, section 4.8.2) divide its messages among themselves, as
    /// clients do: each message goes to one of them, in turn, and to a full queue only when all are full.
    /// A stream that gets a message by another filter as well counts as the one. What a stream has not handed out when it is
    /// dropped, detached or unsubscribed goes to the others.
    ///
    /// # Errors
    /// [`SubscribeError::Rejected`] when the server refuses, and the others.
    ///
    /// # Cancel safety
    /// Dropped before it completes, the subscription is taken back.
    ///
    /// ```no_run
    /// # async fn example(client: ferromqtt::Client) -> Result<(), ferromqtt::SubscribeError> {
    /// use ferromqtt::QoS;
    ///
    /// let mut readings = client.subscribe("sensors/+/temperature").qos(QoS::AtLeastOnce).await?;
    /// while let Some(message) = readings.next().await {
    ///     println!("{}: {:?}", message.topic, message.payload);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn subscribe<T>(&self, filter: T) -> Subscribe
    where
        T: TryInto<SubscriptionFilter>,
        T::Error: Into<SubscribeError>,
    {
        Subscribe::new(self.clone(), [filter.try_into().map_err(Into::into)])
    }

    /// Subscribes to several filters with one SUBSCRIBE, and one stream for all: a message that several of them match comes
    /// as often as the server sends it. See [`subscribe`](Self::subscribe) and [`Subscribe::partial`].
    ///
    /// # Errors
    /// [`SubscribeError::SomeRejected`] when the server refuses some or all, and the others. The others are taken back then.
    ///
    /// # Cancel safety
    /// Dropped before it completes, the subscriptions are taken back.
    ///
    /// ```no_run
    /// # async fn example(client: ferromqtt::Client) -> Result<(), ferromqtt::SubscribeError> {
    /// let mut doors = client.subscribe_all(["front/door", "back/door"]).await?;
    /// for (filter, result) in doors.results() {
    ///     println!("{filter}: {result}"); // front/door: Granted QoS 0 (0x00)
    /// }
    /// # Ok(()) }
    /// ```
    pub fn subscribe_all<T>(&self, filters: impl IntoIterator<Item = T>) -> Subscribe
    where
        T: TryInto<SubscriptionFilter>,
        T::Error: Into<SubscribeError>,
    {
        let filters = filters.into_iter();
        Subscribe::new(
            self.clone(),
            filters.map(|filter| filter.try_into().map_err(Into::into)),
        )
    }

    /// Ends a subscription, and waits for UNSUBACK: for one that an earlier connection has left in the session. Streams of
    /// [`subscribe`](Self::subscribe) unsubscribe by themselves; one that has only this filter ends.
    ///
    /// # Errors
    /// [`SubscribeError::Rejected`] when the server refuses, and the others. A subscription that did not exist is no error.
    ///
    /// # Cancel safety
    /// Dropped before it completes, it is taken back if it was not sent yet.
    pub fn unsubscribe<T>(
        &self,
        filter: T,
    ) -> impl Future<Output = Result<(), SubscribeError>> + Send + use<T>
    where
        T: TryInto<TopicFilter>,
        T::Error: Into<SubscribeError>,
    {
        self.unsubscribe_all([filter])
    }

    /// As [`unsubscribe`](Self::unsubscribe), with several filters in one UNSUBSCRIBE.
    ///
    /// # Errors
    /// [`SubscribeError::SomeRejected`] when the server refuses some or all, which stay subscribed; and the others.
    ///
    /// # Cancel safety
    /// As [`unsubscribe`](Self::unsubscribe).
    pub fn unsubscribe_all<T, I>(
        &self,
        filters: I,
    ) -> impl Future<Output = Result<(), SubscribeError>> + Send + use<T, I>
    where
        I: IntoIterator<Item = T>,
        T: TryInto<TopicFilter>,
        T::Error: Into<SubscribeError>,
    {
        let filters: Result<_, _> = (filters.into_iter())
            .map(|filter| {
                let filter: Result<_, SubscribeError> = filter.try_into().map_err(Into::into);
                filter.map_err(SubscribeError::of_unsubscribing)
            })
            .collect();
        let shared = Arc::clone(&self.shared);
        async move {
            consume_budget().await; // a loop of calls that fail must not keep others from running
            unsubscribe(&shared, filters?).await
        }
    }

    /// Asks a question (5.0, section 4.10): publishes it with a Response Topic and Correlation Data of this client, and
    /// completes with the message that answers it. Set what differs from the defaults, then await it.
    ///
    /// The client subscribes to its Response Topic with the first request, and stays subscribed: see
    /// [`Options::response_topic`](crate::Options::response_topic). Requests may be made from as many tasks as you
    /// like, and answered in any order.
    ///
    /// # Errors
    /// Each [`RequestError`](crate::RequestError) says why there is no answer.
    ///
    /// # Cancel safety
    /// Dropped, it takes back a request that was not sent yet. A response that comes later is dropped.
    ///
    /// ```no_run
    /// # async fn example(client: ferromqtt::Client) -> Result<(), ferromqtt::RequestError> {
    /// use std::time::Duration;
    ///
    /// let answer = client.request("clock", "now?").timeout(Duration::from_secs(2)).await?;
    /// println!("{:?}", answer.payload);
    /// # Ok(()) }
    /// ```
    pub fn request<T>(&self, topic: T, payload: impl IntoPayload) -> Request
    where
        T: TryInto<TopicName>,
        T::Error: Into<PublishError>,
    {
        Request::new(
            self.clone(),
            topic.try_into().map_err(Into::into),
            payload.into_payload(),
        )
    }

    /// Answers a request (5.0): a publish to its Response Topic, with its Correlation Data, and at the QoS that it came with
    /// unless another one is set.
    ///
    /// # Errors
    /// [`PublishError::Invalid`] when the message asks for no response; and as [`publish`](Self::publish).
    ///
    /// # Cancel safety
    /// As [`publish`](Self::publish): a response that was accepted is not taken back.
    ///
    /// ```no_run
    /// # async fn example(client: ferromqtt::Client) -> Result<(), ferromqtt::Error> {
    /// let mut questions = client.subscribe("clock").await?;
    /// while let Some(question) = questions.next().await {
    ///     client.respond(&question, "half past nine").await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn respond(&self, request: &Message, payload: impl IntoPayload) -> Publish<'_> {
        Publish::response_to(self, request, payload.into_payload())
    }

    /// Subscribes to requests (5.0, section 4.10): set what differs from the defaults, then await it. It completes with SUBACK,
    /// and gives a stream of requests, each of which [responds](crate::RequestMessage::respond).
    ///
    /// It is [`subscribe`](Self::subscribe), with the same options. A message without a Response Topic asks for nothing, and is
    /// [passed over](crate::Requests). Several clients share the work by a filter such as `$share/workers/square`: each request
    /// goes to one of them.
    ///
    /// # Errors
    /// [`SubscribeError::Invalid`] before 5.0, with nothing sent; and as [`subscribe`](Self::subscribe).
    ///
    /// # Cancel safety
    /// Dropped before it completes, the subscription is taken back.
    ///
    /// ```no_run
    /// # async fn example(client: ferromqtt::Client) -> Result<(), ferromqtt::Error> {
    /// let mut questions = client.responder("clock").await?;
    /// while let Some(question) = questions.next().await {
    ///     question.respond("half past nine").await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn responder<T>(&self, filter: T) -> Responder
    where
        T: TryInto<SubscriptionFilter>,
        T::Error: Into<SubscribeError>,
    {
        Responder::new(self.clone(), self.subscribe(filter))
    }

    /// The messages that no [`subscribe`](Self::subscribe) of this connection asks for: everything that the server has kept
    /// in a session while the client was away, for a program that does not care which subscription brought it.
    ///
    /// This claims what is [held](crate::Options::claim_within) for a subscription now, in order of arrival, and from now on
    /// nothing is held any more: such messages come here. So a program that has streams for them subscribes, or
    /// [declares](crate::Options::subscription) them, before it calls this.
    ///
    /// All such streams of a connection share one queue, which stays when they are dropped.
    pub fn messages(&self) -> Messages {
        self.shared.call(|state, _| state.engine.claim_default());
        Messages::new(Arc::clone(&self.shared), QueueId::DEFAULT)
    }

    /// Takes the stream of a subscription that was [declared in the options](crate::Options::subscription): one with this
    /// filter. Completes with SUBACK; messages are in it from the first that the connection has brought.
    ///
    /// # Errors
    /// [`SubscribeError::Rejected`] or [`SubscribeError::SomeRejected`] when the server has refused it, and the others as of
    /// [`subscribe`](Self::subscribe); [`SubscribeError::NotDeclared`] when no such subscription was declared, or its stream
    /// has been taken already.
    ///
    /// # Cancel safety
    /// Dropped before it completes, it leaves the stream to be taken later.
    pub async fn declared<T>(&self, filter: T) -> Result<Messages, SubscribeError>
    where
        T: TryInto<TopicFilter>,
        T::Error: Into<SubscribeError>,
    {
        consume_budget().await; // a loop of calls that fail must not keep others from running
        let filter = filter.try_into().map_err(Into::into)?;
        take_declared(&self.shared, filter).await
    }

    /// Says that the application is done with a message whose queue leaves that to it
    /// ([`Acknowledge::ByApplication`](crate::Acknowledge::ByApplication)): [`Message::delivery`](crate::Message::delivery)
    /// names it. PUBACK or PUBREC goes out as soon as those of the messages before it have (MQTT-4.6.0-2). A delivery that
    /// was acknowledged already, or whose session is lost, is harmless.
    pub fn acknowledge(&self, delivery: DeliveryId) {
        self.shared
            .call(|state, _| state.engine.acknowledge(delivery));
    }

    /// As [`acknowledge`](Self::acknowledge), with a Reason Code and properties for the server (5.0). One of 0x80 or above
    /// refuses the message: the server does not send it again.
    ///
    /// # Errors
    /// Each [`AcknowledgeError`] says what the standard forbids; the message is still to be acknowledged then.
    pub fn acknowledge_with(
        &self,
        delivery: DeliveryId,
        reason: ReasonCode,
        properties: Properties,
    ) -> Result<(), AcknowledgeError> {
        self.shared
            .call(|state, _| (state.engine).acknowledge_with(delivery, reason, properties))
    }

    /// What the application has taken from streams whose messages it acknowledges, and has not acknowledged. When the server
    /// sends nothing more, see here whether it waits for acknowledgements: the message that is oldest holds up the others. A
    /// message that was sent again on a later connection is as old as when it came first. In a forked child there is none.
    ///
    /// It goes through all of them, at most as many as the Receive Maximum.
    pub fn unacknowledged(&self) -> Unacknowledged {
        let now = now();
        (self.shared).read(|engine| engine.core().unacknowledged(now))
    }

    /// Whether there is a connection now.
    pub fn is_connected(&self) -> bool {
        self.shared.read(|engine| engine.is_connected())
    }

    /// The Client Identifier in use: the one of the options, or the one that the server has assigned.
    pub fn client_identifier(&self) -> Utf8String {
        (self.shared).read(|engine| engine.core().client_identifier().clone())
    }

    /// What the CONNACK of the latest connection has settled: whether the session was resumed, the Client Identifier, what the
    /// server allows (section 3.2). `None` before a server has accepted the first one. It stays there when the connection has
    /// ended, and with each further connection there is another one.
    pub fn connack(&self) -> Option<ConnectResult> {
        (self.shared).read(|engine| engine.core().connack().cloned())
    }

    /// The version of MQTT in use: that of the connection, or of the last attempt to make one. With
    /// [`Options::protocol_auto`](crate::Options::protocol_auto) it depends on the server.
    pub fn protocol(&self) -> ProtocolVersion {
        (self.shared).read(|engine| engine.core().options().protocol)
    }

    /// Counters since the connection was opened, reconnections included, and how full its outgoing queue is: for a metrics
    /// exporter, which may ask as often as it likes.
    pub fn stats(&self) -> Stats {
        self.shared.read(|engine| engine.stats())
    }

    /// Authenticates again on the present connection (5.0, section 4.12.1), with a new exchange of the options'
    /// [authenticator](crate::Options::authenticator). Completes when the server has accepted it (MQTT-4.12.1-1). When one side
    /// does not accept the other, the connection ends (MQTT-4.12.1-2).
    ///
    /// # Errors
    /// Each [`ReAuthenticateError`] says what is missing, or why the connection ended.
    ///
    /// # Cancel safety
    /// Dropped, the exchange goes on.
    pub async fn re_authenticate(&self) -> Result<(), ReAuthenticateError> {
        re_authenticate(&self.shared).await
    }

    /// What happens to the connection, from now on: a stream, that begins with how it stands if a connection has come about or
    /// failed already.
    ///
    /// ```no_run
    /// # async fn example(client: ferromqtt::Client) {
    /// use ferromqtt::ConnectionEvent;
    ///
    /// let mut events = client.events();
    /// while let Some(event) = events.next().await {
    ///     match event {
    ///         ConnectionEvent::Connected { session_present, .. } => println!("connected, {session_present}"),
    ///         ConnectionEvent::Disconnected { cause, retry_at, .. } => println!("{cause}, again at {retry_at:?}"),
    ///         other => println!("{other:?}"),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn events(&self) -> Events {
        Events::new(Arc::clone(&self.shared))
    }

    /// Waits until there is a connection: at once when there is one.
    ///
    /// # Errors
    /// Why the connection has ended for good, or why none came about.
    ///
    /// # Cancel safety
    /// Dropping it changes nothing.
    pub async fn connected(&self) -> Result<(), ConnectionError> {
        self.shared.connected().await
    }

    /// Waits until the connection has ended for good, and returns why.
    ///
    /// # Cancel safety
    /// Dropping it changes nothing.
    pub async fn closed(&self) -> ConnectionError {
        self.shared.ended().await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing is written under the lock: whose writer it is, is not known.
        f.debug_struct("Client")
            .field("client_identifier", &self.client_identifier())
            .field("is_connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}
