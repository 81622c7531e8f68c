//! A connection's life: opened, worked with, closed.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use ferromqtt_proto as proto;
use proto::Session;
use tokio::task::JoinHandle;

use crate::driver::{Flushed, drive};
use crate::shared::{Shared, now};
use crate::transport::Connector;
use crate::{Client, ConnectError, ConnectionError, Error, Options, OptionsError, TransportError};

/// Connects, runs `program`, and disconnects, whether it succeeds or fails.
///
/// Returns when DISCONNECT is written, the transport is closed and the task behind it has ended. What `program` has
/// enqueued and not awaited by then is not waited for.
///
/// # Errors
/// The program's own. Else [`Error::Connect`] when no connection came about, and [`Error::Connection`] when it had ended
/// before the program did, or DISCONNECT could not be written.
///
/// # Cancel safety
/// When the future is dropped, or the program panics, the connection is closed in the background, as by dropping a
/// [`Connection`].
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
///     Ok::<_, Error>(())
/// })
/// .await?;
/// # Ok(()) }
/// ```
pub async fn scope<T, E, F>(options: Options, program: F) -> Result<T, E>
where
    F: AsyncFnOnce(Client) -> Result<T, E>,
    E: From<Error>,
{
    let connection = Connection::open(options).await.map_err(Error::from)?;
    let result = program(connection.client()).await;
    let ended = connection.disconnect().await;
    let value = result?;
    ended.map_err(Error::from)?;
    Ok(value)
}

/// A connection without a block around it. Prefer [`scope`] where its form fits.
///
/// **Dropping it** disconnects in the background: a task of the runtime writes what is left and DISCONNECT, within
/// [`Options::disconnect_timeout`]. If the runtime is shut down at once, that is cut short, and the server publishes the
/// will. [`Connection::disconnect`] waits for it.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    driver: JoinHandle<Flushed>,
}

impl Connection {
    /// Connects, and waits until the server has accepted the connection.
    ///
    /// # Errors
    /// [`ConnectError::Options`] before anything is tried, also when a certificate cannot be read;
    /// [`ConnectError::Connection`] with the server's refusal, the network's error, or the time limit. The first attempt is
    /// the only one (one for each of several servers) unless [`Reconnect::initial`](crate::Reconnect::initial) is set.
    ///
    /// # Cancel safety
    /// When the future is dropped the attempt is given up in the background.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn open(options: Options) -> Result<Self, ConnectError> {
        let connector = options.connector().await?;
        Self::open_over(options, connector).await
    }

    /// Begins to connect, and does not wait for it: calls are accepted from now on, and wait for the connection. So a program
    /// can publish before there is a server; the outgoing queue's bounds hold.
    ///
    /// As with [`open`](Self::open) the first attempt is the only one unless [`Reconnect::initial`](crate::Reconnect::initial)
    /// is set; when it fails each call ends with its cause. [`Client::connected`] and [`Client::events`] tell how it goes.
    /// Without reconnecting (`Options::reconnect(None)`) calls fail until there is a connection.
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
        let connector = options.connector().await?;
        Self::start_over(&options, connector)
    }

    pub(crate) async fn open_over(
        options: Options,
        connector: Connector,
    ) -> Result<Self, ConnectError> {
        let connection = Self::start_over(&options, connector)?;
        connection.client.shared.opened().await?;
        Ok(connection)
    }

    pub(crate) fn start_over(
        options: &Options,
        connector: Connector,
    ) -> Result<Self, ConnectError> {
        let shared = Self::shared(options)?;
        let driver = tokio::spawn(drive(Arc::clone(&shared), connector));
        let client = Client { shared };
        Ok(Self { client, driver })
    }

    /// A core that is about to connect, for a driver.
    pub(crate) fn shared(options: &Options) -> Result<Arc<Shared>, ConnectError> {
        let seed = RandomState::new().build_hasher().finish();
        let mut core = proto::Client::new(options.to_core()?, Session::default(), seed)
            .map_err(OptionsError::from)?;
        core.connect(now());
        Ok(Arc::new(Shared::new(
            core,
            options.disconnect_timeout,
            options.ends_session(),
            options.authentication(),
        )))
    }

    /// A handle to the connection.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Disconnects, and waits until DISCONNECT is written, the transport is closed, and the task behind it has ended.
    ///
    /// Calls that have not completed end with [`ConnectionError::Closed`]; a QoS 0 message whose publish has completed is
    /// written.
    ///
    /// # Errors
    /// Why the connection had ended before; or why DISCONNECT could not be written, in which case the server publishes the
    /// will.
    ///
    /// # Cancel safety
    /// Dropped, it goes on in the background.
    pub async fn disconnect(mut self) -> Result<(), ConnectionError> {
        self.client.shared.disconnect();
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

impl Drop for Connection {
    fn drop(&mut self) {
        self.client.shared.disconnect(); // does nothing once it has ended
    }
}
