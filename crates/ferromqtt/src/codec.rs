//! From values to payloads and back: the traits of codecs, and JSON.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Client, IntoPayload, Publish, PublishError, TopicName};

/// The half of a codec that makes payloads of values.
///
/// A format for all types of serde is one implementation, `impl<T: Serialize> Encode<T> for Cbor`; one for a type of yours
/// implements it for that type. Neither needs the feature `serde`, which brings `Json` alone.
///
/// ```
/// use std::num::ParseFloatError;
///
/// use ferromqtt::{Bytes, Decode, Encode};
///
/// /// Numbers as text.
/// struct Text;
///
/// impl Encode<f64> for Text {
///     type Error = std::convert::Infallible;
///
///     fn encode(&self, value: &f64) -> Result<Bytes, Self::Error> {
///         Ok(value.to_string().into())
///     }
/// }
///
/// impl Decode<f64> for Text {
///     type Error = Box<dyn std::error::Error + Send + Sync>;
///
///     fn decode(&self, payload: &Bytes) -> Result<f64, Self::Error> {
///         Ok(std::str::from_utf8(payload)?.trim().parse()?)
///     }
/// }
///
/// let payload = Text.encode(&21.5).unwrap();
/// assert_eq!(payload, "21.5");
/// let value: f64 = Text.decode(&payload).unwrap();
/// assert_eq!(value, 21.5);
/// ```
pub trait Encode<T: ?Sized> {
    /// Why a value has no payload.
    type Error: Into<Box<dyn StdError + Send + Sync>>;

    /// The payload for a value.
    ///
    /// # Errors
    /// There is none.
    fn encode(&self, value: &T) -> Result<Bytes, Self::Error>;
}

/// The half of a codec that makes values of payloads: see [`Encode`], and [`Messages::typed`](crate::Messages::typed).
pub trait Decode<T> {
    /// Why a payload has no value.
    type Error: Into<Box<dyn StdError + Send + Sync>>;

    /// The value in a payload.
    ///
    /// # Errors
    /// There is none.
    fn decode(&self, payload: &Bytes) -> Result<T, Self::Error>;
}

impl<T: ?Sized, C: Encode<T>> Encode<T> for &C {
    type Error = C::Error;

    fn encode(&self, value: &T) -> Result<Bytes, Self::Error> {
        (**self).encode(value)
    }
}

impl<T, C: Decode<T>> Decode<T> for &C {
    type Error = C::Error;

    fn decode(&self, payload: &Bytes) -> Result<T, Self::Error> {
        (**self).decode(payload)
    }
}

/// JSON, by `serde_json`. Of the feature `serde`.
#[cfg(feature = "serde")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

#[cfg(feature = "serde")]
impl<T: serde::Serialize + ?Sized> Encode<T> for Json {
    type Error = serde_json::Error;

    fn encode(&self, value: &T) -> Result<Bytes, Self::Error> {
        serde_json::to_vec(value).map(Bytes::from)
    }
}

#[cfg(feature = "serde")]
impl<T: serde::de::DeserializeOwned> Decode<T> for Json {
    type Error = serde_json::Error;

    fn decode(&self, payload: &Bytes) -> Result<T, Self::Error> {
        serde_json::from_slice(payload)
    }
}

/// A payload that a codec cannot decode, or a value that it cannot encode.
///
/// Its text has neither of them. The codec's own error is the [`source`](StdError::source), whose text may have: `serde_json` shows
/// a value of the wrong type. Two of these are equal when they are clones of one.
#[derive(Clone)]
pub struct PayloadError {
    topic: TopicName,
    half: CodecHalf,
    cause: Arc<dyn StdError + Send + Sync>,
}

/// Which half of a codec has failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CodecHalf {
    Encode,
    Decode,
}

impl PayloadError {
    pub(crate) fn decoding<E: Into<Box<dyn StdError + Send + Sync>>>(
        topic: TopicName,
        cause: E,
    ) -> Self {
        Self::new(topic, CodecHalf::Decode, cause.into())
    }

    fn new(topic: TopicName, half: CodecHalf, cause: Box<dyn StdError + Send + Sync>) -> Self {
        let cause = Arc::from(cause);
        Self { topic, half, cause }
    }

    /// The topic of the message.
    pub const fn topic(&self) -> &TopicName {
        &self.topic
    }
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.half {
            CodecHalf::Encode => write!(
                f,
                "a value for {:?} cannot be encoded by its codec",
                self.topic
            ),
            CodecHalf::Decode => write!(
                f,
                "the payload for {:?} cannot be decoded by its codec",
                self.topic
            ),
        }
    }
}

impl fmt::Debug for PayloadError {
    /// Without the cause, whose `Debug` may have the payload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PayloadError")
            .field(&format_args!("{self}"))
            .finish()
    }
}

impl StdError for PayloadError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.cause)
    }
}

impl PartialEq for PayloadError {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cause, &other.cause)
    }
}

impl Eq for PayloadError {}

impl Client {
    /// As [`publish`](Self::publish), with the payload that a codec makes of a value.
    ///
    /// For [`request`](Self::request) and [`respond`](Self::respond), whose codec is as good, give them `codec.encode(&value)?`.
    ///
    /// # Errors
    /// The codec cannot encode the value: nothing is sent. The others as of [`publish`](Self::publish), when it is awaited.
    ///
    /// ```no_run
    /// # async fn example<C: ferromqtt::Encode<f64>>(client: ferromqtt::Client, codec: C) -> Result<(), ferromqtt::Error> {
    /// use ferromqtt::QoS;
    ///
    /// client.publish_encoded("room/hall/temp", &21.5, &codec)?.qos(QoS::AtLeastOnce).await?;
    /// # Ok(()) }
    /// ```
    pub fn publish_encoded<T, V, C>(
        &self,
        topic: T,
        value: &V,
        codec: &C,
    ) -> Result<Publish<'_>, PayloadError>
    where
        T: TryInto<TopicName>,
        T::Error: Into<PublishError>,
        V: ?Sized,
        C: Encode<V>,
    {
        let topic = match topic.try_into() {
            Ok(topic) => topic,
            // It fails when it is awaited, as of `publish`.
            Err(error) => return Ok(Publish::new(self, Err(error.into()), Bytes::new())),
        };
        match codec.encode(value) {
            Ok(payload) => Ok(Publish::new(self, Ok(topic), payload.into_payload())),
            Err(cause) => Err(PayloadError::new(topic, CodecHalf::Encode, cause.into())),
        }
    }

    /// As [`publish`](Self::publish), with the JSON of a value. Of the feature `serde`.
    ///
    /// # Errors
    /// The value has no JSON: nothing is sent. The others as of [`publish`](Self::publish), when it is awaited.
    ///
    /// ```no_run
    /// # async fn example(client: ferromqtt::Client) -> Result<(), ferromqtt::Error> {
    /// #[derive(serde::Serialize)]
    /// struct Reading {
    ///     celsius: f64,
    /// }
    ///
    /// client.publish_json("room/hall/temp", &Reading { celsius: 21.5 })?.await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "serde")]
    pub fn publish_json<T, V>(&self, topic: T, value: &V) -> Result<Publish<'_>, PayloadError>
    where
        T: TryInto<TopicName>,
        T::Error: Into<PublishError>,
        V: serde::Serialize + ?Sized,
    {
        self.publish_encoded(topic, value, &Json)
    }
}
