//! The handle that programs work with.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ferromqtt_proto::QueueId;

use crate::shared::Shared;
use crate::subscribe::unsubscribe;
use crate::{
    AcknowledgeError, ConnectionError, DeliveryId, Messages, Properties, Publish, PublishError,
    ReasonCode, Stats, Subscribe, SubscribeError, TopicFilter, TopicName, Utf8String,
};

/// A handle to a connection: cheap to clone, shared by as many tasks as you like.
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
    /// Awaiting completes when the message has reached its Quality of Service: at QoS 0 when it is handed to the transport,
    /// at QoS 1 with PUBACK, at QoS 2 with PUBCOMP. The call waits as long as that takes, also for room in the outgoing
    /// queue and for a lost connection to come back; wrap it into a time limit if need be.
    ///
    /// A topic that is used often can be a [`TopicName`]: it is checked once, and cloning it copies nothing.
    ///
    /// # Errors
    /// Each [`PublishError`] says whose fault it was, and whether the message may have arrived.
    ///
    /// # Cancel safety
    /// Dropping the future does not take back a message that was accepted.
    ///
    /// ```no_run
    /// # async fn example(client: ferromqtt::Client) -> Result<(), ferromqtt::PublishError> {
    /// use ferromqtt::QoS;
    ///
    /// client.publish("status", "up").qos(QoS::AtLeastOnce).retain(true).await?;
    /// # Ok(()) }
    /// ```
    pub fn publish<T>(&self, topic: T, payload: impl Into<Bytes>) -> Publish<'_>
    where
        T: TryInto<TopicName>,
        T::Error: Into<PublishError>,
    {
        Publish::new(self, topic.try_into().map_err(Into::into), payload.into())
    }

    /// Subscribes: set what differs from the defaults, then await it. It completes with SUBACK, and gives the messages.
    ///
    /// The stream gets every message whose topic matches the filter (section 4.7). Where subscriptions overlap a server may
    /// send a message once for all of them or once for each; each stream gets it as often. A lost connection is made good: the subscription is renewed if the server has lost it.
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
    pub fn subscribe<T>(&self, filter: T) -> Subscribe<'_>
    where
        T: TryInto<TopicFilter>,
        T::Error: Into<SubscribeError>,
    {
        Subscribe::new(self, filter.try_into().map_err(Into::into))
    }

    /// Ends a subscription, and waits for UNSUBACK: for one that an earlier connection has left in the session. Streams of
    /// [`subscribe`](Self::subscribe) unsubscribe by themselves; one with this filter gets nothing any more.
    ///
    /// # Errors
    /// [`SubscribeError::Rejected`] when the server refuses, and the others. A subscription that did not exist is no error.
    ///
    /// # Cancel safety
    /// Dropped before it completes, it is taken back if it was not sent yet.
    pub async fn unsubscribe<T>(&self, filter: T) -> Result<(), SubscribeError>
    where
        T: TryInto<TopicFilter>,
        T::Error: Into<SubscribeError>,
    {
        let filter = filter.try_into().map_err(Into::into)?;
        unsubscribe(&self.shared, filter).await.map(drop)
    }

    /// The messages that no [`subscribe`](Self::subscribe) of this connection asks for. Above all those that the server has
    /// kept in a session while the client was away, which come before it can subscribe again: take them here.
    ///
    /// All such streams of a connection share one queue.
    pub fn messages(&self) -> Messages {
        Messages::new(Arc::clone(&self.shared), QueueId::DEFAULT, None)
    }

    /// Says that the application is done with a message whose queue leaves that to it
    /// ([`Acknowledge::ByApplication`](crate::Acknowledge::ByApplication)): [`Message::delivery`](crate::Message::delivery)
    /// names it. PUBACK or PUBREC goes out as soon as those of the messages before it have (MQTT-4.6.0-2). A delivery that
    /// was acknowledged already, or whose session is lost, is harmless.
    pub fn acknowledge(&self, delivery: DeliveryId) {
        self.shared
            .call(|state, _| state.core.acknowledge(delivery));
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
            .call(|state, _| state.core.acknowledge_with(delivery, reason, properties))
    }

    /// Whether there is a connection now.
    pub fn is_connected(&self) -> bool {
        self.shared.lock().core.is_connected()
    }

    /// The Client Identifier in use: the one of the options, or the one that the server has assigned.
    pub fn client_identifier(&self) -> Utf8String {
        self.shared.lock().core.client_identifier().clone()
    }

    /// Counters since the connection was opened, reconnections included.
    pub fn stats(&self) -> Stats {
        self.shared.lock().core.stats()
    }

    /// Waits until the connection has ended for good, and tells why.
    pub async fn closed(&self) -> ConnectionError {
        self.shared.ended().await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("Client")
            .field("client_identifier", state.core.client_identifier())
            .field("is_connected", &state.core.is_connected())
            .finish_non_exhaustive()
    }
}
