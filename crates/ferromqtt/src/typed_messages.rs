//! Received messages with what a codec makes of their payloads.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::{Decode, Message, Messages, PayloadError, TopicParams};

/// A received message, and what a codec has made of its payload.
///
/// A payload that cannot be decoded is an item as any other: the stream goes on behind it, and it is to be acknowledged where
/// the application does that.
#[derive(Clone)]
#[non_exhaustive]
pub struct TypedMessage<T> {
    /// The message, with its payload as it came.
    pub message: Message,
    /// The value, or why there is none.
    pub value: Result<T, PayloadError>,
}

impl<T> TypedMessage<T> {
    /// Decodes the payload of a message, of any stream: for instance of a [`blocking`](crate::blocking) client.
    pub fn decode<D: Decode<T>>(message: Message, codec: &D) -> Self {
        let value = codec.decode(&message.payload);
        let value = value.map_err(|cause| PayloadError::decoding(message.topic.clone(), cause));
        Self { message, value }
    }
}

impl<T> fmt::Debug for TypedMessage<T> {
    /// Without the value: a payload is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedMessage")
            .field("message", &self.message)
            .field("error", &self.value.as_ref().err())
            .finish_non_exhaustive()
    }
}

/// [`Messages`] whose payloads a codec decodes: see [`Messages::typed`] and [`Messages::json`].
///
/// It is a [`Stream`], and has [`next`](Self::next) of its own. A message is decoded when it is taken, in the task that takes it.
#[must_use = "dropping a stream of messages ends its subscription, unless the session outlives the program"]
pub struct TypedMessages<T, D> {
    messages: Messages,
    codec: D,
    values: PhantomData<fn() -> T>,
}

impl<T, D: Decode<T>> TypedMessages<T, D> {
    /// The next message. See [`Messages::next`].
    ///
    /// # Cancel safety
    /// A message is taken only when this completes: nothing is lost in `select!` or under a time limit.
    pub async fn next(&mut self) -> Option<TypedMessage<T>> {
        let message = self.messages.next().await?;
        Some(TypedMessage::decode(message, &self.codec))
    }

    /// A message that is already there, without waiting.
    pub fn try_next(&mut self) -> Option<TypedMessage<T>> {
        let message = self.messages.try_next()?;
        Some(TypedMessage::decode(message, &self.codec))
    }
}

impl<T, D> TypedMessages<T, D> {
    /// What the topic of a message names. See [`Messages::params`].
    pub fn params<'a>(&'a self, message: &'a TypedMessage<T>) -> TopicParams<'a> {
        self.messages.params(&message.message)
    }

    /// The stream below, for what it knows of the subscription.
    pub const fn messages(&self) -> &Messages {
        &self.messages
    }

    /// The stream below. A message that is taken from it is not decoded.
    pub const fn messages_mut(&mut self) -> &mut Messages {
        &mut self.messages
    }

    /// The stream below, for instance to [unsubscribe](Messages::unsubscribe) or [detach](Messages::detach) it.
    pub fn into_messages(self) -> Messages {
        self.messages
    }
}

// The codec is never pinned.
impl<T, D> Unpin for TypedMessages<T, D> {}

impl<T, D: Decode<T>> Stream for TypedMessages<T, D> {
    type Item = TypedMessage<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let message = ready!(Pin::new(&mut this.messages).poll_next(cx));
        Poll::Ready(message.map(|message| TypedMessage::decode(message, &this.codec)))
    }
}

impl<T, D> fmt::Debug for TypedMessages<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedMessages")
            .field(&self.messages)
            .finish()
    }
}

impl Messages {
    /// The same stream, with the payloads decoded by a codec.
    ///
    /// ```no_run
    /// # async fn example<Text: ferromqtt::Decode<f64>>(client: ferromqtt::Client, codec: Text) -> Result<(), ferromqtt::Error> {
    /// let mut readings = client.subscribe("room/+/temp").await?.typed(codec);
    /// while let Some(reading) = readings.next().await {
    ///     match reading.value {
    ///         Ok(celsius) => println!("{}: {celsius} °C", reading.message.topic),
    ///         Err(error) => println!("{error}"), // and the stream goes on
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub const fn typed<T, D: Decode<T>>(self, codec: D) -> TypedMessages<T, D> {
        TypedMessages {
            messages: self,
            codec,
            values: PhantomData,
        }
    }

    /// The same stream, with the payloads as values of their JSON. Of the feature `serde`.
    ///
    /// ```no_run
    /// # async fn example(client: ferromqtt::Client) -> Result<(), ferromqtt::Error> {
    /// #[derive(serde::Deserialize)]
    /// struct Reading {
    ///     celsius: f64,
    /// }
    ///
    /// let mut readings = client.subscribe("room/+/temp").await?.json::<Reading>();
    /// while let Some(reading) = readings.next().await {
    ///     println!("{}: {:?}", reading.message.topic, reading.value.map(|it| it.celsius));
    /// }
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "serde")]
    pub const fn json<T: serde::de::DeserializeOwned>(self) -> TypedMessages<T, crate::Json> {
        self.typed(crate::Json)
    }
}
