//! Publishing: what is to be sent, and how.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use ferromqtt_engine::MessageTerms;
use ferromqtt_proto as proto;

use crate::handle::Handle;
use crate::{Client, Message, Properties, PublishError, QoS, TopicName};

/// A message that is about to be published: see [`Client::publish`]. Wraps [`ferromqtt_proto::Publish`].
///
/// It borrows the client. [`into_owned`](Self::into_owned) makes one of it that can be spawned as a task.
#[derive(Clone)]
#[must_use = "nothing is published until this is awaited or enqueued"]
pub struct Publish<'a> {
    pub(crate) client: Handle<'a>,
    pub(crate) publish: Result<proto::Publish, PublishError>,
    pub(crate) limit: Option<Duration>,
    /// How it waits in an outgoing queue. Boxed, since each publish is moved with it.
    pub(crate) terms: Option<Box<MessageTerms>>,
}

impl fmt::Debug for Publish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.publish {
            Ok(publish) => publish.fmt(f),
            Err(error) => f.debug_tuple("Publish").field(error).finish(),
        }
    }
}

impl<'a> Publish<'a> {
    pub(crate) fn new(
        client: &'a Client,
        topic: Result<TopicName, PublishError>,
        payload: Bytes,
    ) -> Self {
        Self {
            client: Handle::Borrowed(client),
            publish: topic.map(|topic| proto::Publish::new(topic, payload)),
            limit: None,
            terms: None,
        }
    }

    pub(crate) fn response_to(client: &'a Client, request: &Message, payload: Bytes) -> Self {
        Self {
            client: Handle::Borrowed(client),
            publish: proto::Publish::response_to(request, payload).map_err(Into::into),
            limit: None,
            terms: None,
        }
    }

    fn with(mut self, set: impl FnOnce(&mut proto::Publish)) -> Self {
        if let Ok(publish) = &mut self.publish {
            set(publish);
        }
        self
    }

    /// Quality of Service. Default: 0, at most once.
    pub fn qos(self, qos: QoS) -> Self {
        self.with(|publish| publish.qos = qos)
    }

    /// RETAIN: the server keeps the message for later subscriptions. Default: `false`.
    pub fn retain(self, retain: bool) -> Self {
        self.with(|publish| publish.retain = retain)
    }

    /// Properties (5.0), such as Message Expiry Interval or Content Type. Default: none, and for
    /// [responses](Client::respond) the Correlation Data of the request, which stays unless other is given.
    ///
    /// With a Topic Alias, give the topic each time: the client leaves it out of the packet once the server knows the alias.
    /// It stands for the topic until the connection ends, or until you publish to another topic with it. One above the
    /// server's Topic Alias Maximum is refused. The server's Maximum Packet Size is for the packet with the topic, which sending it
    /// again on another connection needs.
    pub fn properties(self, properties: Properties) -> Self {
        self.with(|publish| publish.replace_properties(properties))
    }

    /// How long to wait for the outcome; `None` waits as long as it takes. Default: `None`.
    ///
    /// The time runs from the first poll of the future, and includes waiting for capacity in the outgoing queue and for a lost
    /// connection to come back. When it is over, the publish ends as [`PublishError::TimedOut`]. What becomes of the message
    /// depends on whether it has reached the wire, and [`PublishError::delivery`] says which it was:
    ///
    /// - [`Delivery::NotSent`](crate::Delivery::NotSent): it has not. It is withdrawn, and is never sent.
    /// - [`Delivery::Unknown`](crate::Delivery::Unknown): it has, at QoS 1 or 2. It stays in the session, which still delivers
    ///   it, also after a reconnect (MQTT-4.4.0-1).
    ///
    /// An outcome that is known at that moment is the one that is reported. With [`enqueue`](Self::enqueue) the limit is for
    /// the wait until the message is accepted; [`try_enqueue`](Self::try_enqueue) never waits, and needs none.
    ///
    /// # Panics
    /// Not this, but polling the future of a publish with a time limit, outside a tokio runtime whose timers are enabled.
    /// Nothing is sent then.
    ///
    /// ```no_run
    /// # async fn example(client: ferromqtt::Client) -> Result<(), ferromqtt::PublishError> {
    /// use std::time::Duration;
    ///
    /// use ferromqtt::{Delivery, PublishError, QoS};
    ///
    /// let alarm = client.publish("alarm", "fire").qos(QoS::AtLeastOnce);
    /// match alarm.timeout(Duration::from_secs(5)).await {
    ///     Ok(_) => println!("the server has it"),
    ///     Err(PublishError::TimedOut { delivery: Delivery::NotSent, .. }) => println!("ring the bell instead"),
    ///     Err(PublishError::TimedOut { .. }) => println!("it was sent, and may have arrived"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(()) }
    /// ```
    pub fn timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.limit = limit.into();
        self
    }

    /// The same publish with a client of its own, for a task of its own: `tokio::spawn` takes futures that borrow nothing.
    ///
    /// ```no_run
    /// # async fn example(client: ferromqtt::Client) {
    /// use std::future::IntoFuture;
    ///
    /// let publish = client.publish("status", "up").into_owned();
    /// let publishing = tokio::spawn(publish.into_future());
    /// # }
    /// ```
    pub fn into_owned(self) -> Publish<'static> {
        Publish {
            client: self.client.into_owned(),
            publish: self.publish,
            limit: self.limit,
            terms: self.terms,
        }
    }
}
