//! What a client is asked to do, and waits for.

use std::fmt;
use std::future::IntoFuture;
use std::time::Duration;

use super::park::{deadline, park_on, park_until};
use super::process::{Process, check_wait};
use super::{Client, Messages, Requests};
use crate::{
    ConnectionError, Delivery, Message, Properties, Publish, PublishError, Published, QoS,
    QueueOptions, Request, RequestError, Responder, RetainHandling, Subscribe, SubscribeError,
    SubscriptionFilter, SubscriptionOptions,
};

/// A [`Publish`], a [`Subscribe`], a [`Responder`] or a [`Request`] of a blocking client, that is about to be made: set what differs from the
/// defaults, then `wait` for it, or `enqueue` a publish.
#[derive(Clone)]
#[must_use = "nothing is sent until this is waited for, or enqueued"]
pub struct Call<'a, T> {
    client: &'a Client,
    call: T,
}

impl<'a, T> Call<'a, T> {
    pub(super) const fn new(client: &'a Client, call: T) -> Self {
        Self { client, call }
    }

    fn with(self, set: impl FnOnce(T) -> T) -> Self {
        Self::new(self.client, set(self.call))
    }
}

impl<T: fmt::Debug> fmt::Debug for Call<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&self.call).finish()
    }
}

/// Methods that set what the methods of the same name set on what is behind the call.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $value:ty;)*) => {
        $($(#[$doc])*
        pub fn $name(self, $name: $value) -> Self {
            self.with(|call| call.$name($name))
        })*
    };
}

impl<'a> Call<'a, Publish<'a>> {
    setters! {
        /// Quality of Service. Default: 0, at most once.
        qos: QoS;
        /// RETAIN: the server keeps the message for later subscriptions. Default: `false`.
        retain: bool;
        /// Properties (5.0). See [`Publish::properties`].
        properties: Properties;
        /// How long to wait for the outcome; `None` waits as long as it takes. Default: `None`. A message that has not been
        /// sent by then is withdrawn. See [`Publish::timeout`].
        timeout: impl Into<Option<Duration>>;
        /// How long the message may wait in an outgoing queue. See [`Publish::expires_in`].
        expires_in: impl Into<Option<Duration>>;
    }

    /// Has a later message to the same topic take the place of this one in an outgoing queue. See [`Publish::keep_latest`].
    pub fn keep_latest(self) -> Self {
        self.with(|call| call.keep_latest())
    }

    /// Waits until the message has reached its Quality of Service: at QoS 0 until it is on its way to the transport, at QoS 1
    /// until PUBACK, at QoS 2 until PUBCOMP.
    ///
    /// # Errors
    /// Each [`PublishError`] says whose fault it was, and whether the message may have arrived.
    /// [Refused calls](crate::blocking#inside-a-runtime) are [`PublishError::Disconnected`].
    pub fn wait(self) -> Result<Published, PublishError> {
        match self.call.send_now() {
            Some(sent) => sent.map(|()| Published::SENT),
            None => (self.client).run(PublishError::not_sent, self.call.into_future()),
        }
    }

    /// Waits until the message is accepted, which is at once unless the outgoing queue is full. The [`Receipt`] is for the rest
    /// of its way. See [`Publish::enqueue`].
    ///
    /// # Errors
    /// As of that; and [refused calls](crate::blocking#inside-a-runtime) as [`PublishError::Disconnected`].
    ///
    /// ```no_run
    /// # fn example(client: ferromqtt::blocking::Client) -> Result<(), ferromqtt::PublishError> {
    /// use ferromqtt::QoS;
    ///
    /// let mut receipts = Vec::new();
    /// for line in ["one", "two", "three"] {
    ///     receipts.push(client.publish("log", line).qos(QoS::AtLeastOnce).enqueue()?);
    /// }
    /// for receipt in receipts {
    ///     receipt.wait()?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn enqueue(self) -> Result<Receipt, PublishError> {
        let sent = match self.call.client.shared.has_queue {
            true => None,
            false => self.call.send_now(),
        };
        let receipt = match sent {
            Some(sent) => sent.map(|()| crate::Receipt::sent()),
            None => (self.client).run(PublishError::not_sent, self.call.enqueue()),
        };
        Ok(Receipt(receipt?, self.client.0.process))
    }

    /// As [`enqueue`](Self::enqueue), but never waits, so it works inside a tokio runtime too. See [`Publish::try_enqueue`].
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue); and [`PublishError::QueueFull`] when the outgoing queue is full, unless its policy drops
    /// messages.
    pub fn try_enqueue(self) -> Result<Receipt, PublishError> {
        self.client.check().map_err(PublishError::not_sent)?;
        Ok(Receipt(self.call.try_enqueue()?, self.client.0.process))
    }
}

/// Methods of a call that subscribes, and returns the stream behind what the builder completes with.
macro_rules! subscribing {
    ($builder:ident, $stream:ident: $(#[$wait:meta])+ wait;) => {
        impl Call<'_, $builder> {
            setters! {
                /// The QoS up to which the server may send; it may grant less. Default: 0. This and the other options of
                /// SUBSCRIBE are for the filters that have none of their own.
                qos: QoS;
                /// No Local (5.0): what this client publishes does not come back. Default: `false`.
                no_local: bool;
                /// Retain As Published (5.0): messages keep the RETAIN flag that they were published with. Default: `false`.
                retain_as_published: bool;
                /// Retain Handling (5.0): when the server sends what it retains. Default: at every subscription.
                retain_handling: RetainHandling;
                /// SUBSCRIBE properties (5.0): a Subscription Identifier, User Properties. Default: none.
                properties: Properties;
                /// Bounds of the queue behind the messages. Default: [`QueueOptions::DEFAULT`]. See [`Subscribe::queue`].
                queue: QueueOptions;
                /// What it means when the server refuses some of several filters. Default: `false`, an error. See
                /// [`Subscribe::partial`].
                partial: bool;
            }

            /// One more filter for the same messages, in the same SUBSCRIBE. See [`Subscribe::and`].
            pub fn and(
                self,
                filter: impl TryInto<SubscriptionFilter, Error: Into<SubscribeError>>,
                options: impl Into<SubscriptionOptions>,
            ) -> Self {
                self.with(|builder| builder.and(filter, options))
            }

            $(#[$wait])+
            pub fn wait(self) -> Result<$stream, SubscribeError> {
                let subscribing = self.call.into_future();
                (self.client.run(SubscribeError::not_sent, subscribing)).map($stream::new)
            }
        }
    };
}

subscribing! { Subscribe, Messages:
    /// Waits for SUBACK, and returns the messages.
    ///
    /// # Errors
    /// As [`crate::Client::subscribe`] and [`crate::Client::subscribe_all`]; and
    /// [refused calls](crate::blocking#inside-a-runtime) as [`SubscribeError::Disconnected`].
    wait;
}

subscribing! { Responder, Requests:
    /// Waits for SUBACK, and returns the requests.
    ///
    /// # Errors
    /// As [`crate::Client::responder`]; and [refused calls](crate::blocking#inside-a-runtime) as
    /// [`SubscribeError::Disconnected`].
    wait;
}

impl Call<'_, Request> {
    setters! {
        /// Quality of Service of the request. Default: 1, at which a server can tell that nobody is there to respond.
        qos: QoS;
        /// Properties. See [`Request::properties`].
        properties: Properties;
        /// How long to wait for the response, all included; `None` waits forever. Default: 30 s.
        timeout: impl Into<Option<Duration>>;
    }

    /// Waits for the response.
    ///
    /// # Errors
    /// Each [`RequestError`] says why there is no answer. [Refused calls](crate::blocking#inside-a-runtime) are
    /// [`RequestError::Publish`].
    pub fn wait(self) -> Result<Message, RequestError> {
        let refused = |cause| PublishError::not_sent(cause).into();
        self.client.run(refused, self.call.into_future())
    }
}

/// A blocking [`crate::Receipt`]: tells how an accepted message ended. Dropping it changes nothing about the message, but
/// [`Client::disconnect`] does not wait for it then.
#[must_use = "a receipt tells whether the message arrived; drop it explicitly if that does not matter"]
pub struct Receipt(pub(super) crate::Receipt, Process);

impl Receipt {
    /// Waits until the message has reached its Quality of Service, or has failed to.
    ///
    /// # Errors
    /// Each [`PublishError`] says whether the message may have arrived. [Refused calls](crate::blocking#inside-a-runtime) are
    /// [`PublishError::Disconnected`].
    pub fn wait(self) -> Result<Published, PublishError> {
        check_wait(self.1).map_err(not_waited)?;
        park_on(self.0)
    }

    /// As [`crate::Receipt::stored`]: waits until the message is stored in the [outbox](crate::Options::outbox).
    ///
    /// # Errors
    /// As there; and [refused calls](crate::blocking#inside-a-runtime) are [`PublishError::Disconnected`].
    #[cfg(feature = "outbox")]
    pub fn stored(&self) -> Result<(), PublishError> {
        check_wait(self.1).map_err(not_waited)?;
        park_on(std::pin::pin!(self.0.stored()))
    }

    /// As [`wait`](Self::wait), for no longer than `limit`, at whose end the receipt is given back: the message is still on its
    /// way.
    ///
    /// # Errors
    /// The receipt, when the outcome is still unknown.
    ///
    /// ```no_run
    /// # fn example(receipt: ferromqtt::blocking::Receipt) {
    /// use std::time::Duration;
    ///
    /// match receipt.wait_timeout(Duration::from_secs(1)) {
    ///     Ok(outcome) => println!("{outcome:?}"),
    ///     Err(receipt) => println!("not yet: {receipt:?}"),
    /// }
    /// # }
    /// ```
    pub fn wait_timeout(
        mut self,
        limit: Duration,
    ) -> Result<Result<Published, PublishError>, Self> {
        match check_wait(self.1) {
            Ok(()) => park_until(&mut self.0, deadline(limit)).ok_or(self),
            Err(refused) => Ok(Err(not_waited(refused))),
        }
    }
}

/// The message may arrive all the same.
const fn not_waited(cause: ConnectionError) -> PublishError {
    let delivery = Delivery::Unknown;
    PublishError::Disconnected { cause, delivery }
}
