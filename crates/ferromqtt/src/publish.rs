//! Publishing: what is to be sent, when it was accepted, and how it ended.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use ferromqtt_engine::{Awaited, CallEnd, CallId, MessageTerms, Purpose, Submission, at_once};
use ferromqtt_proto as proto;
use tokio::sync::oneshot;

use crate::handle::Handle;
use crate::shared::{end_of, now};
use crate::state::SharedState;
use crate::{Client, Message, Properties, PublishError, Published, QoS, TopicName};

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

    /// Sends the message if nothing has to be waited for, not even the lock. `None` if something has.
    #[cfg(feature = "blocking")]
    pub(crate) fn send_now(&self) -> Option<Result<(), PublishError>> {
        if self.is_on_terms() {
            return None;
        }
        let publish = self.publish.as_ref().ok()?;
        let shared = &self.client.shared;
        let mut state = shared.try_lock()?;
        match publish_now(&mut state, publish) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(refusal) => return Some(Err(refusal)),
        }
        let first = state.call_driver();
        let may_have_forked = state.may_have_forked();
        drop(state);
        if may_have_forked && shared.has_forked() {
            return Some(Err(PublishError::not_sent(crate::ConnectionError::Forked)));
        }
        if first {
            shared.driver.notify_one();
        }
        Some(Ok(()))
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

impl<'a> IntoFuture for Publish<'a> {
    type Output = Result<Published, PublishError>;
    type IntoFuture = PublishFuture<'a>;

    fn into_future(self) -> PublishFuture<'a> {
        PublishFuture {
            publish: self,
            stage: Stage::NotPolled,
        }
    }
}

/// Completes when a message has reached its Quality of Service: awaiting a [`Publish`] makes it.
///
/// # Cancel safety
/// Dropping it does not take back a message that was accepted, whether it is on the wire or not:
/// [`Publish::timeout`] does, if it is not. One that still waited for capacity is not sent; except one that was accepted at
/// that very moment, and was written already.
#[must_use = "futures do nothing unless awaited"]
pub struct PublishFuture<'a> {
    /// Kept whole beside the stage. As a variant of it, its fields would be moved in pieces that overlap those that were
    /// written, which costs more time than the copy itself.
    publish: Publish<'a>,
    stage: Stage,
}

enum Stage {
    NotPolled,
    Submitted {
        end: oneshot::Receiver<CallEnd>,
        /// The call, if it had to wait for capacity or has a time limit.
        call: Option<CallId>,
    },
    Done,
}

/// Encodes a message if that can be done at once.
pub(crate) fn publish_now(
    state: &mut SharedState,
    publish: &proto::Publish,
) -> Result<bool, PublishError> {
    match at_once(publish) {
        Some(packet) => state.engine.publish_now(packet, &publish.payload),
        None => Ok(false),
    }
}

impl Drop for PublishFuture<'_> {
    /// A message that still waits for capacity is not sent; an accepted one has no time limit from now on.
    fn drop(&mut self) {
        if let Stage::Submitted {
            call: Some(call), ..
        } = self.stage
        {
            let shared = &self.publish.client.shared;
            let left = shared.call(|state, _| state.engine.leave_line(call));
            drop(left); // not under the lock: it may hold a waker
        }
    }
}

impl Future for PublishFuture<'_> {
    type Output = Result<Published, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { publish, stage } = &mut *self;
        if let Stage::NotPolled = stage {
            ready!(let_others_run(cx));
            match publish.submit() {
                Ok(None) => {
                    *stage = Stage::Done;
                    return Poll::Ready(Ok(Published::SENT));
                }
                Ok(Some(submitted)) => *stage = submitted,
                Err(error) => {
                    *stage = Stage::Done;
                    return Poll::Ready(Err(error));
                }
            }
        }
        let Stage::Submitted { end, .. } = stage else {
            panic!("a PublishFuture was polled after it had completed");
        };
        let end = ready!(Pin::new(end).poll(cx)).unwrap_or(CallEnd::DriverGone);
        *stage = Stage::Done;
        Poll::Ready(publish.outcome(end))
    }
}

impl Publish<'_> {
    /// Submits the message; `None` when it was sent at once.
    fn submit(&self) -> Result<Option<Stage>, PublishError> {
        let deadline = end_of(self.limit); // which panics outside a runtime: nothing must be sent then
        let publish = self.publish.as_ref().map_err(Clone::clone)?;
        if self.terms.is_some() {
            return Err(PublishError::NotQueued);
        }
        (self.client.shared).call_untimed(|state| {
            if publish_now(state, publish)? {
                return Ok(None);
            }
            // The clock is read only here: that costs as much as encoding a small message.
            let (token, end) = oneshot::channel();
            let purpose = Purpose::Message;
            let submission = (state.engine).publish(now(), purpose, publish, deadline, token);
            let call = match submission.map_err(|(_, refusal)| refusal)? {
                Submission::Accepted(_) if deadline.is_none() => None,
                Submission::Accepted(call) | Submission::Waits(call) => Some(call),
            };
            Ok(Some(Stage::Submitted { end, call }))
        })
    }

    fn outcome(&self, end: CallEnd) -> Result<Published, PublishError> {
        let awaited = Awaited::of_publish(
            self.publish
                .as_ref()
                .map_or(QoS::AtMostOnce, |publish| publish.qos),
        );
        end.published(awaited, self.limit.unwrap_or_default())
    }
}

/// A loop of publishes that complete at once must not starve the thread's other tasks, nor write a few at a time: one
/// in so many takes from what the runtime lets a task do in a row.
const PUBLISHES_PER_UNIT: u32 = 8;

fn let_others_run(cx: &mut Context<'_>) -> Poll<()> {
    thread_local! {
        static PUBLISHES: Cell<u32> = const { Cell::new(0) };
    }
    PUBLISHES.with(|publishes| {
        if publishes.get() >= PUBLISHES_PER_UNIT {
            ready!(pin!(tokio::task::coop::consume_budget()).poll(cx));
            publishes.set(0);
        }
        publishes.set(publishes.get() + 1);
        Poll::Ready(())
    })
}

impl fmt::Debug for PublishFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::NotPolled => "not polled",
            Stage::Submitted { .. } => "submitted",
            Stage::Done => "done",
        };
        f.debug_tuple("PublishFuture").field(&stage).finish()
    }
}

/// A future that completes with the outcome of an accepted message.
///
/// # Errors
/// Each [`PublishError`] says whether the message may have arrived: [`PublishError::delivery`].
///
/// # Cancel safety
/// Dropping it changes nothing about the message, but [`Connection::disconnect`](crate::Connection::disconnect) does not wait
/// for it then.
#[must_use = "a receipt says whether the message arrived; drop it explicitly if that does not matter"]
pub struct Receipt(Option<oneshot::Receiver<CallEnd>>);

impl Receipt {
    /// Handed to the transport already.
    pub(crate) const fn sent() -> Self {
        Self(None)
    }

    pub(crate) const fn waiting(outcome: oneshot::Receiver<CallEnd>) -> Self {
        Self(Some(outcome))
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.0 {
            None => "sent",
            Some(_) => "accepted",
        };
        f.debug_tuple("Receipt").field(&stage).finish()
    }
}

impl Future for Receipt {
    type Output = Result<Published, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(outcome) = &mut self.0 else {
            return Poll::Ready(Ok(Published::SENT));
        };
        let end = ready!(Pin::new(outcome).poll(cx));
        let end = end.unwrap_or(CallEnd::DriverGone);
        Poll::Ready(end.published(Awaited::PubAck, Duration::ZERO)) // it has no time limit
    }
}
