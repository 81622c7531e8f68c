//! A connection's life: opened, worked with, closed.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ferromqtt_engine::{EngineOptions, Goodbye, IdentifierLedgers};
use tokio::task::JoinHandle;
use tokio::task::coop::consume_budget;
use tokio::time::sleep;

use crate::declared::{check_exactly_once, declare};
use crate::driver::{Flushed, drive};
use crate::outbox::{OpenedOutbox, attach_outbox, open_outbox, start_outbox, take_up};
use crate::shared::{Shared, now};
use crate::state::TaskEngine;
use crate::transport::Connector;
use crate::{
    Client, ConnectError, ConnectionError, Error, InvalidExactlyOnce, Options, OptionsError,
    ReasonCode, TransportError,
};

/// Connects, runs `program`, and disconnects, whether it succeeds or fails.
///
/// When `program` has succeeded, no call is accepted any more, and what was accepted before, and somebody still waits for
/// (another task, or a [`Receipt`](crate::Receipt) that is kept), is waited for, within
/// [`Options::disconnect_timeout`]. When it has failed, nothing is waited for. Either way what was written last is
/// DISCONNECT, and this returns when the transport is closed and the task behind it has ended.
///
/// The server then drops the will, also when the program has failed; with [`Options::will_on_error`] it publishes it in
/// that case.
///
/// A program that has succeeded has done what it was for, so its value is returned if everything that was accepted has its
/// outcome, however the connection ended. [`Client::closed`] returns that.
///
/// A program with an error type of its own runs in [`scope_with`].
///
/// # Errors
/// The program's own. Else [`Error::Connect`] when no connection came about, and [`Error::Connection`] when the end of the
/// connection has failed calls that were waited for after the program, or has lost QoS 0 messages.
///
/// # Cancel safety
/// When the future is dropped, or the program panics, the connection is closed in the background, as by dropping a
/// [`Connection`]. [`Options::will_on_error`] counts this as a failure too.
///
/// # Panics
/// Outside a tokio runtime.
///
/// ```no_run
/// use ferromqtt::{Error, Options};
///
/// # async fn example() -> Result<(), Error> {
/// ferromqtt::scope(Options::new("localhost", 1883), async |client| {
///     client.publish("greeting", "hello").await?;
///     Ok(())
/// })
/// .await?;
/// # Ok(()) }
/// ```
pub async fn scope<T, F>(options: Options, program: F) -> Result<T, Error>
where
    F: AsyncFnOnce(Client) -> Result<T, Error>,
{
    scope_with(options, program).await
}

/// As [`scope`], for a program with an error type of its own, which [`Error`] converts into.
///
/// The compiler cannot guess that type where the program uses `?`: the last expression names it.
///
/// # Errors
/// As [`scope`], with what that says made a `E`.
///
/// # Cancel safety
/// As [`scope`].
///
/// # Panics
/// Outside a tokio runtime.
///
/// ```no_run
/// use ferromqtt::Options;
///
/// type AnyError = Box<dyn std::error::Error + Send + Sync>;
///
/// # async fn example() -> Result<(), AnyError> {
/// let port = ferromqtt::scope_with(Options::new("localhost", 1883), async |client| {
///     client.publish("greeting", "hello").await?;
///     Ok::<_, AnyError>("1883".parse::<u16>()?)
/// })
/// .await?;
/// # Ok(()) }
/// ```
pub async fn scope_with<T, E, F>(options: Options, program: F) -> Result<T, E>
where
    F: AsyncFnOnce(Client) -> Result<T, E>,
    E: From<Error>,
{
    let when_it_fails = match options.will_on_error {
        true => ReasonCode::DisconnectWithWill,
        false => ReasonCode::Success,
    };
    let mut connection = Connection::open(options).await.map_err(Error::from)?;
    connection.when_dropped = when_it_fails;
    scope_over(connection, program).await
}

/// As [`scope`], over a connection that is there.
pub(crate) async fn scope_over<T, E, F>(connection: Connection, program: F) -> Result<T, E>
where
    F: AsyncFnOnce(Client) -> Result<T, E>,
    E: From<Error>,
{
    let shared = Arc::clone(&connection.client.shared);
    match program(connection.client()).await {
        Ok(value) => {
            let before = shared.losses();
            let ended = connection.leave(ReasonCode::Success).await;
            if shared.losses() != before {
                ended.map_err(Error::from)?;
            }
            Ok(value)
        }
        Err(error) => {
            shared.disconnect(Goodbye::Asked, connection.when_dropped);
            let _ = connection.ended().await; // the program's error is what it was about
            Err(error)
        }
    }
}

/// How soon leaving notices that a receipt which it waits for was dropped: dropping one wakes nothing.
const LOOK_FOR_CALLERS: Duration = Duration::from_millis(100);

/// A connection without a block around it. Prefer [`scope`] where its form fits.
///
/// **Dropping it** disconnects in the background: a task of the runtime writes what is left and DISCONNECT, within
/// [`Options::disconnect_timeout`]. If the runtime is shut down at once, that is cut short, and the server publishes the
/// will. [`Connection::disconnect`] waits for it.
#[must_use = "dropping a connection disconnects: keep it for as long as its clients are used"]
pub struct Connection {
    client: Client,
    driver: JoinHandle<Flushed>,
    /// The Reason Code of DISCONNECT when nobody has called for one before.
    pub(crate) when_dropped: ReasonCode,
}

impl Connection {
    /// Connects, and waits until the server has accepted the connection.
    ///
    /// # Errors
    /// [`ConnectError::Options`] before anything is tried, also when a certificate cannot be read;
    /// [`ConnectError::Connection`] with the server's refusal or the network's error; [`ConnectError::TimedOut`] after
    /// [`Options::connect_timeout`]. The first attempt is
    /// the only one (one for each of several servers) unless [`Reconnect::initial`](crate::Reconnect::initial) is set.
    ///
    /// # Cancel safety
    /// When the future is dropped the attempt is given up in the background.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn open(options: Options) -> Result<Self, ConnectError> {
        consume_budget().await; // a loop of attempts that fail at once must not keep others from running
        let connector = options.connector().await?;
        let outbox = open_outbox(&options).await?;
        Self::open_with(options, connector, outbox).await
    }

    /// Begins to connect, and does not wait for it: calls are accepted from now on, and wait for the connection. So a program
    /// can publish before there is a server; the outgoing queue's bounds hold.
    ///
    /// As with [`open`](Self::open) the first attempt is the only one unless [`Reconnect::initial`](crate::Reconnect::initial)
    /// is set; when it fails each call ends with its cause. [`Client::connected`] and [`Client::events`] report how it goes.
    ///
    /// # Errors
    /// When the options are wrong, or a certificate cannot be read.
    ///
    /// # Cancel safety
    /// It waits for files only; dropped before it completes, nothing was begun.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// ```no_run
    /// use ferromqtt::{Connection, Error, Options, QoS, Reconnect};
    ///
    /// # async fn example() -> Result<(), Error> {
    /// let patient = Reconnect { initial: true, ..Reconnect::default() };
    /// let connection = Connection::start(Options::new("localhost", 1883).reconnect(patient)).await?;
    /// let client = connection.client();
    /// let receipt = client.publish("log", "started").qos(QoS::AtLeastOnce).enqueue().await?;
    /// receipt.await?; // when there is a server at last
    /// # Ok(()) }
    /// ```
    pub async fn start(options: Options) -> Result<Self, ConnectError> {
        consume_budget().await; // a loop of attempts that fail at once must not keep others from running
        let connector = options.connector().await?;
        let outbox = open_outbox(&options).await?;
        Self::start_with(&options, connector, outbox)
    }

    #[cfg(test)]
    pub(crate) async fn open_over(
        options: Options,
        connector: Connector,
    ) -> Result<Self, ConnectError> {
        Self::open_with(options, connector, None).await
    }

    async fn open_with(
        options: Options,
        connector: Connector,
        outbox: Option<OpenedOutbox>,
    ) -> Result<Self, ConnectError> {
        if options.subscriptions.iter().any(|it| it.exactly_once) {
            return Err(OptionsError::from(InvalidExactlyOnce::Waits).into());
        }
        let first = connector.first();
        let connection = Self::start_with(&options, connector, outbox)?;
        match connection.client.shared.opened().await {
            Ok(()) => Ok(connection),
            Err(cause) => {
                let first = first.expect("the options name a server: the core has counted them");
                let shared = Arc::clone(&connection.client.shared);
                if shared.lock().outbox.is_some() {
                    let _ = connection.ended().await; // its folder is free then, for another attempt
                }
                Err(shared.not_opened(cause, first))
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn start_over(
        options: &Options,
        connector: Connector,
    ) -> Result<Self, ConnectError> {
        Self::start_with(options, connector, None)
    }

    fn start_with(
        options: &Options,
        mut connector: Connector,
        outbox: Option<OpenedOutbox>,
    ) -> Result<Self, ConnectError> {
        let shared = Self::shared(options, outbox)?;
        connector.credentials = options.credentials_source(shared.lock().engine.core().options());
        let driver = tokio::spawn(drive(Arc::clone(&shared), connector));
        let client = Client { shared };
        Ok(Self {
            client,
            driver,
            when_dropped: ReasonCode::Success,
        })
    }

    /// An engine that is about to connect, for a driver.
    pub(crate) fn shared(
        options: &Options,
        outbox: Option<OpenedOutbox>,
    ) -> Result<Arc<Shared>, ConnectError> {
        let random = || RandomState::new().build_hasher().finish();
        let seed = options.seed.unwrap_or_else(random);
        let authentication = options.authentication();
        let of_engine = EngineOptions {
            disconnect_timeout: options.disconnect_timeout,
            ends_session: outbox.is_none() && options.ends_session(),
            authenticates: authentication.is_some(),
            restarts: false,
        };
        let (core, session, outbox) = take_up(options, outbox)?;
        let handlers = check_exactly_once(&options.subscriptions, &core)?;
        let mut engine =
            TaskEngine::new(core, session, seed, of_engine).map_err(OptionsError::from)?;
        if let Some(queue) = options.outgoing_queue {
            engine.open_outgoing_queue(queue, []);
        }
        let outbox = start_outbox(&mut engine, outbox)?;
        if let Some(recorder) = &options.recorder {
            engine.record(recorder.clone());
        }
        engine.keep_identifiers(handlers > 0);
        engine.start(now());
        let shared = Shared::new(engine, authentication);
        if handlers > 0 {
            shared.lock().ledgers = Some(IdentifierLedgers::new(handlers));
        }
        // Accepted now, they are subscribed when the server's first message comes.
        declare(&mut shared.lock(), &options.subscriptions)
            .map_err(|error| OptionsError::Subscription(Box::new(error)))?;
        let shared = Arc::new(shared);
        if let Some(outbox) = outbox {
            attach_outbox(outbox, &shared);
        }
        #[cfg(feature = "testing")]
        options.watch(&shared);
        Ok(shared)
    }

    /// A handle to the connection.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Leaves: refuses new calls, waits for the outcome of those that somebody waits for, disconnects, and returns when
    /// DISCONNECT is written, the transport is closed, and the task behind it has ended. The server drops the will
    /// (MQTT-3.14.4-3).
    ///
    /// All that takes [`Options::disconnect_timeout`], or little more. Calls that have not completed by then end with
    /// [`ConnectionError::Closed`]. **A publish whose [`Receipt`](crate::Receipt) was dropped is sent only if the server's window
    /// lets it at once, and is not waited for**: [`drain`](Self::drain) waits for those too, and returns what was left. Here a
    /// warning in the log (feature `tracing`) counts those that have no outcome: `not_sent` and `unknown`. They are lost
    /// with this connection, also when the server keeps the session: no later connection sends them. A QoS 0 message whose
    /// publish has completed is written. Messages are received meanwhile, and not waited for. On a connection that is lost at
    /// the moment there is nothing to wait for, and one that is lost meanwhile is not made again.
    ///
    /// # Errors
    /// Why the connection had ended before; or why DISCONNECT could not be written, in which case the server publishes the
    /// will.
    ///
    /// # Cancel safety
    /// Dropped, it goes on in the background.
    pub async fn disconnect(self) -> Result<(), ConnectionError> {
        self.leave(ReasonCode::Success).await
    }

    /// As [`disconnect`](Self::disconnect), and has the server publish the will: for a program that ends on purpose, and wants
    /// others to learn of it as they would of its loss.
    ///
    /// In 5.0 by the Reason Code Disconnect with Will Message (0x04). A Will Delay Interval still runs, but no longer than the
    /// session lives, and by default that [ends here](Options::session_expiry_interval). Before 5.0 every DISCONNECT deletes the
    /// will, so none is sent, and the connection is closed once all else is written.
    ///
    /// # Errors
    /// As [`disconnect`](Self::disconnect).
    ///
    /// # Cancel safety
    /// Dropped, it goes on in the background.
    pub async fn disconnect_with_will(self) -> Result<(), ConnectionError> {
        self.leave(ReasonCode::DisconnectWithWill).await
    }

    /// Waits for what was accepted, and disconnects.
    pub(crate) async fn leave(self, reason: ReasonCode) -> Result<(), ConnectionError> {
        let shared = Arc::clone(&self.client.shared);
        shared.leave(reason);
        let mut ended = pin!(self.ended());
        loop {
            tokio::select! {
                biased; // no random number: the same program takes the same course
                end = &mut ended => return end,
                () = sleep(LOOK_FOR_CALLERS) => shared.release_callers(),
            }
        }
    }

    /// Disconnects as dropping it does, and waits for that.
    #[cfg(feature = "blocking")]
    pub(crate) async fn let_go(self) -> Result<(), ConnectionError> {
        (self.client.shared).disconnect(Goodbye::Dropped, self.when_dropped);
        self.ended().await
    }

    /// Waits until the connection, which is being ended, has ended.
    pub(crate) async fn ended(mut self) -> Result<(), ConnectionError> {
        let flushed = match (&mut self.driver).await {
            Ok(flushed) => flushed,
            // Its runtime was shut down, or it panicked.
            Err(error) => Err(TransportError::Failed(error.to_string().into())),
        };
        match self.client.closed().await {
            ConnectionError::Closed => flushed.map_err(ConnectionError::Transport),
            cause => Err(cause),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        (self.client.shared).disconnect(Goodbye::Dropped, self.when_dropped); // does nothing once it has ended
    }
}
