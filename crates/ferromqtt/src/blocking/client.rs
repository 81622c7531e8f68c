//! The handle that threads work with.

use std::future::Future;
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferromqtt_engine::Standing;
use tokio::runtime::Handle;

use super::park::{deadline, park_on, park_until};
use super::process::{Process, check_wait};
use super::thread::{Background, Ending};
use super::{Call, Events, Messages};
use crate::{
    AcknowledgeError, Client as AsyncClient, ConnectError, ConnectResult, Connection,
    ConnectionError, DeliveryId, Drained, IntoPayload, Message, Options, Properties,
    ProtocolVersion, Publish, PublishError, ReAuthenticateError, ReasonCode, Request, Responder,
    Stats, Subscribe, SubscribeError, SubscriptionFilter, TopicFilter, TopicName, Unacknowledged,
    Utf8String,
};

/// A blocking [`crate::Client`]: the connection, shared by as many threads as you like.
///
/// # When it is dropped
/// The connection lives as long as a clone of its client. Dropping the last one disconnects, and waits until what was written
/// last is on its way and the client's thread has ended, for about [`Options::disconnect_timeout`] at most (inside a tokio
/// runtime it does not wait). Calls, readers and receipts of other threads end then:
/// [`disconnect`](Self::disconnect) waits for the outcomes that somebody waits for, [`drain`](Self::drain) for all, and both
/// return how it went.
///
/// With [`Options::will_on_error`] a client that is dropped without them counts as failed, and the server publishes the will.
#[derive(Clone)]
pub struct Client(pub(super) Arc<Life>);

/// A connection, as long as it has a client.
pub(super) struct Life {
    pub(super) client: AsyncClient,
    pub(super) runtime: Handle,
    pub(super) process: Process,
    /// `None` once a call has ended the connection.
    background: Mutex<Option<Background>>,
}

impl Client {
    /// Connects, and waits until the server has accepted the connection.
    ///
    /// # Errors
    /// As [`Connection::open`](crate::Connection::open); [`ConnectError::NotTried`] inside a tokio runtime, and when the system
    /// starts no more threads.
    pub fn connect(options: Options) -> Result<Self, ConnectError> {
        Self::begin(options, Connection::open, Process::this())
    }

    /// Begins to connect, and does not wait for it, as [`Connection::start`](crate::Connection::start):
    /// [`wait_connected`](Self::wait_connected) and [`events`](Self::events) tell how it goes.
    ///
    /// # Errors
    /// When the options are wrong, or a certificate cannot be read; [`ConnectError::NotTried`] as of [`connect`](Self::connect).
    pub fn start(options: Options) -> Result<Self, ConnectError> {
        Self::begin(options, Connection::start, Process::this())
    }

    pub(super) fn begin(
        options: Options,
        open: impl AsyncFnOnce(Options) -> Result<Connection, ConnectError> + Send + 'static,
        process: Process,
    ) -> Result<Self, ConnectError> {
        check_wait(process).map_err(ConnectError::NotTried)?;
        let (background, (client, runtime)) = Background::start(options, open, process)?;
        Ok(Self(Arc::new(Life {
            client,
            runtime,
            process,
            background: Mutex::new(Some(background)),
        })))
    }

    /// Publishes a message: set what differs from the defaults, then [`wait`](Call) for it, or
    /// [`enqueue`](Call) it. See [`crate::Client::publish`].
    ///
    /// ```no_run
    /// # fn example(client: ferromqtt::blocking::Client) -> Result<(), ferromqtt::PublishError> {
    /// use ferromqtt::QoS;
    ///
    /// client.publish("status", "up").qos(QoS::AtLeastOnce).retain(true).wait()?;
    /// # Ok(()) }
    /// ```
    pub fn publish(
        &self,
        topic: impl TryInto<TopicName, Error: Into<PublishError>>,
        payload: impl IntoPayload,
    ) -> Call<'_, Publish<'_>> {
        Call::new(self, self.0.client.publish(topic, payload))
    }

    /// Subscribes: set what differs from the defaults, then [`wait`](Call) for SUBACK, which gives the messages. See
    /// [`crate::Client::subscribe`].
    ///
    /// ```no_run
    /// # fn example(client: ferromqtt::blocking::Client) -> Result<(), ferromqtt::SubscribeError> {
    /// use ferromqtt::QoS;
    ///
    /// for message in client.subscribe("sensors/+/temperature").qos(QoS::AtLeastOnce).wait()? {
    ///     println!("{}: {:?}", message.topic, message.payload);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn subscribe(
        &self,
        filter: impl TryInto<SubscriptionFilter, Error: Into<SubscribeError>>,
    ) -> Call<'_, Subscribe> {
        Call::new(self, self.0.client.subscribe(filter))
    }

    /// Subscribes to several filters with one SUBSCRIBE and one reader. See [`crate::Client::subscribe_all`].
    pub fn subscribe_all(
        &self,
        filters: impl IntoIterator<Item = impl TryInto<SubscriptionFilter, Error: Into<SubscribeError>>>,
    ) -> Call<'_, Subscribe> {
        Call::new(self, self.0.client.subscribe_all(filters))
    }

    /// Ends a subscription, and waits for UNSUBACK. See [`crate::Client::unsubscribe`].
    ///
    /// # Errors
    /// As of that, and [refused calls](crate::blocking#inside-a-runtime) as [`SubscribeError::Disconnected`].
    pub fn unsubscribe(
        &self,
        filter: impl TryInto<TopicFilter, Error: Into<SubscribeError>>,
    ) -> Result<(), SubscribeError> {
        self.unsubscribe_all([filter])
    }

    /// As [`unsubscribe`](Self::unsubscribe), with several filters in one UNSUBSCRIBE.
    ///
    /// # Errors
    /// As [`crate::Client::unsubscribe_all`], and as [`unsubscribe`](Self::unsubscribe).
    pub fn unsubscribe_all(
        &self,
        filters: impl IntoIterator<Item = impl TryInto<TopicFilter, Error: Into<SubscribeError>>>,
    ) -> Result<(), SubscribeError> {
        let unsubscribing = self.0.client.unsubscribe_all(filters);
        self.run(SubscribeError::not_sent, unsubscribing)
    }

    /// Asks a question (5.0): set what differs from the defaults, then [`wait`](Call) for the message that answers it.
    /// See [`crate::Client::request`].
    ///
    /// ```no_run
    /// # fn example(client: ferromqtt::blocking::Client) -> Result<(), ferromqtt::RequestError> {
    /// use std::time::Duration;
    ///
    /// let answer = client.request("clock", "now?").timeout(Duration::from_secs(2)).wait()?;
    /// println!("{:?}", answer.payload);
    /// # Ok(()) }
    /// ```
    pub fn request(
        &self,
        topic: impl TryInto<TopicName, Error: Into<PublishError>>,
        payload: impl IntoPayload,
    ) -> Call<'_, Request> {
        Call::new(self, self.0.client.request(topic, payload))
    }

    /// Subscribes to requests (5.0): set what differs from the defaults, then [`wait`](Call) for SUBACK, which gives the requests.
    /// See [`crate::Client::responder`].
    pub fn responder(
        &self,
        filter: impl TryInto<SubscriptionFilter, Error: Into<SubscribeError>>,
    ) -> Call<'_, Responder> {
        Call::new(self, self.0.client.responder(filter))
    }

    /// Answers a request (5.0): a publish to its Response Topic. See [`crate::Client::respond`].
    pub fn respond(&self, request: &Message, payload: impl IntoPayload) -> Call<'_, Publish<'_>> {
        Call::new(self, self.0.client.respond(request, payload))
    }

    /// The messages that no [`subscribe`](Self::subscribe) of this connection asks for. See [`crate::Client::messages`].
    ///
    /// # Errors
    /// [`ConnectionError::Forked`].
    pub fn messages(&self) -> Result<Messages, ConnectionError> {
        (self.check()).map(|()| Messages::new(self.0.client.messages()))
    }

    /// Waits for SUBACK of a subscription that was [declared in the options](Options::subscription), and takes its messages. See
    /// [`crate::Client::declared`].
    ///
    /// # Errors
    /// As of that, and [refused calls](crate::blocking#inside-a-runtime) as [`SubscribeError::Disconnected`].
    pub fn declared(
        &self,
        filter: impl TryInto<TopicFilter, Error: Into<SubscribeError>>,
    ) -> Result<Messages, SubscribeError> {
        let taking = self.0.client.declared(filter);
        (self.run(SubscribeError::not_sent, taking)).map(Messages::new)
    }

    /// Acknowledges a message whose queue leaves that to the application. See [`crate::Client::acknowledge`]. In a forked child
    /// it does nothing.
    pub fn acknowledge(&self, delivery: DeliveryId) {
        if self.check().is_ok() {
            self.0.client.acknowledge(delivery);
        }
    }

    /// As [`acknowledge`](Self::acknowledge), with a Reason Code and properties for the server (5.0).
    ///
    /// # Errors
    /// As [`crate::Client::acknowledge_with`]. A forked child gets none.
    pub fn acknowledge_with(
        &self,
        delivery: DeliveryId,
        reason: ReasonCode,
        properties: Properties,
    ) -> Result<(), AcknowledgeError> {
        match self.check() {
            Ok(()) => (self.0.client).acknowledge_with(delivery, reason, properties),
            Err(_) => Ok(()),
        }
    }

    /// What the application has taken and not acknowledged. See [`crate::Client::unacknowledged`].
    pub fn unacknowledged(&self) -> Unacknowledged {
        self.0.client.unacknowledged()
    }

    /// Whether there is a connection now. In a forked child there is none.
    pub fn is_connected(&self) -> bool {
        self.0.client.is_connected()
    }

    /// The Client Identifier in use: the one of the options, or the one that the server has assigned. In a forked child it is
    /// empty.
    pub fn client_identifier(&self) -> Utf8String {
        self.0.client.client_identifier()
    }

    /// What the CONNACK of the latest connection has settled. See [`crate::Client::connack`].
    pub fn connack(&self) -> Option<ConnectResult> {
        self.0.client.connack()
    }

    /// The version of MQTT in use. See [`crate::Client::protocol`].
    pub fn protocol(&self) -> ProtocolVersion {
        self.0.client.protocol()
    }

    /// Counters since the connection was opened. See [`crate::Client::stats`]. In a forked child all are 0.
    pub fn stats(&self) -> Stats {
        self.0.client.stats()
    }

    /// Authenticates again on the present connection (5.0). See [`crate::Client::re_authenticate`].
    ///
    /// # Errors
    /// As of that, and [refused calls](crate::blocking#inside-a-runtime) as [`ReAuthenticateError::Disconnected`].
    pub fn re_authenticate(&self) -> Result<(), ReAuthenticateError> {
        let authenticating = self.0.client.re_authenticate();
        self.run(ReAuthenticateError::Disconnected, authenticating)
    }

    /// What happens to the connection, from now on. See [`crate::Client::events`].
    ///
    /// # Errors
    /// [`ConnectionError::Forked`].
    pub fn events(&self) -> Result<Events, ConnectionError> {
        (self.check()).map(|()| Events(self.0.client.events()))
    }

    /// Waits until there is a connection, at most as long as `limit`; `None` waits as long as it takes. Returns whether there
    /// is one.
    ///
    /// # Errors
    /// Why the connection has ended for good, or why none came about; and
    /// [refused calls](crate::blocking#inside-a-runtime).
    pub fn wait_connected(
        &self,
        limit: impl Into<Option<Duration>>,
    ) -> Result<bool, ConnectionError> {
        check_wait(self.0.process)?;
        let connected = park_until(self.0.client.connected(), deadline(limit));
        connected.map_or(Ok(false), |connected| connected.map(|()| true))
    }

    /// Waits until the connection has ended for good, at most as long as `limit`; `None` waits as long as it takes. Returns
    /// whether it has; [`end_cause`](Self::end_cause) tells why.
    ///
    /// # Errors
    /// [Refused calls](crate::blocking#inside-a-runtime) alone.
    pub fn wait_closed(&self, limit: impl Into<Option<Duration>>) -> Result<bool, ConnectionError> {
        check_wait(self.0.process)?;
        Ok(park_until(self.0.client.closed(), deadline(limit)).is_some())
    }

    /// Why the connection has ended for good; `None` while it has not. In a forked child that is [`ConnectionError::Forked`].
    pub fn end_cause(&self) -> Option<ConnectionError> {
        if let Err(forked) = self.check() {
            return Some(forked);
        }
        match self.0.client.shared.lock().engine.standing() {
            Standing::Ended(cause) => Some(cause.clone()),
            _ => None,
        }
    }

    /// Leaves, for all clones: refuses new calls, waits for the outcome of those that somebody waits for, disconnects, and
    /// returns when the connection is closed and its thread has ended. **Messages whose [`Receipt`](super::Receipt) was dropped
    /// are not waited for**: [`drain`](Self::drain) waits for everything. See
    /// [`Connection::disconnect`](crate::Connection::disconnect), also for the warning that counts what was left. One call ends
    /// the connection, and later ones wait for that.
    ///
    /// # Errors
    /// Why the connection had ended before; or why DISCONNECT could not be written, in which case the server publishes the
    /// will; and [refused calls](crate::blocking#inside-a-runtime).
    pub fn disconnect(&self) -> Result<(), ConnectionError> {
        self.end(Ending::Leave(ReasonCode::Success)).end
    }

    /// As [`disconnect`](Self::disconnect), and has the server publish the will. See
    /// [`Connection::disconnect_with_will`](crate::Connection::disconnect_with_will).
    ///
    /// # Errors
    /// As [`disconnect`](Self::disconnect).
    pub fn disconnect_with_will(&self) -> Result<(), ConnectionError> {
        self.end(Ending::Leave(ReasonCode::DisconnectWithWill)).end
    }

    /// Ends the connection for all clones when every operation that was accepted has its outcome, at most as long as `limit`,
    /// and tells what was left. See [`Connection::drain`](crate::Connection::drain). Why the call was
    /// [refused](crate::blocking#inside-a-runtime) stands in [`Drained::end`].
    pub fn drain(&self, limit: Duration) -> Drained {
        self.end(Ending::Drain(limit))
    }

    fn end(&self, ending: Ending) -> Drained {
        if let Err(refused) = check_wait(self.0.process) {
            return Drained::nothing_left(Err(refused));
        }
        let background = (self.0.background.lock()).map_or(None, |mut here| here.take());
        let ended = background.and_then(|background| background.end(ending));
        // Another call has ended it, or is about to.
        ended.unwrap_or_else(|| match park_on(self.0.client.closed()) {
            ConnectionError::Closed => Drained::nothing_left(Ok(())),
            cause => Drained::nothing_left(Err(cause)),
        })
    }

    /// Refuses a call in a forked child.
    pub(super) fn check(&self) -> Result<(), ConnectionError> {
        self.0.client.shared.check()
    }

    /// Waits for a call of the client, unless it must not wait here. Time limits of the call are kept by the client's runtime.
    pub(super) fn run<T, E>(
        &self,
        refused: impl FnOnce(ConnectionError) -> E,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        check_wait(self.0.process).map_err(refused)?;
        let _context = self.0.runtime.enter();
        park_on(call)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        match self.background.get_mut().map_or(None, Option::take) {
            // In a child its parts have locks that a thread of the parent may have held at the fork.
            Some(background) if self.process.has_forked() => mem::forget(background),
            Some(background) => background.let_go(),
            None => {}
        }
    }
}
