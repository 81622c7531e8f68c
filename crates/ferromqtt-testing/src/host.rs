//! The broker for tokio: connections in memory, and on sockets when it listens. One task watches the clock, one accepts
//! connections from each socket, and each connection has its own.

use std::collections::HashMap;
use std::future::{Future, Ready, ready};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ferromqtt_proto::{ReasonCode, Utf8String};
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

#[cfg(feature = "tls")]
use crate::authority::{CertificateError, TestAuthority};
use crate::link::{self, Waker};
use crate::listen::{self, Listen, Listening};
use crate::memory_stream::{MemoryStream, MemoryTraffic};
use crate::watched_clients::{ClientWatch, WatchedClients};
use crate::{Broker, BrokerOptions, BrokerOptionsError, BrokerStats, ConnectionId, SessionStats};

/// How many packets the journal holds, unless the options say something else.
const JOURNAL_PACKETS: usize = 10_000;

/// A [`Broker`] for programs on tokio, until it is stopped or dropped.
///
/// Clients connect in memory, without a port: by `Options::test` of the crate `ferromqtt` with its feature `testing`, by
/// [`transport`](Self::transport), or by hand with [`connect`](Self::connect). A broker that was made by [`start`](Self::start)
/// or [`bind`](Self::bind) also listens on TCP, for clients in other processes and of other libraries, and
/// [`listen`](Self::listen) adds sockets of any kind.
///
/// The broker takes the time from tokio. Under `start_paused = true` its deadlines pass in virtual time, and over connections
/// in memory an hour takes milliseconds. The runtime needs `enable_time`. Use a broker within one runtime: a second one may have
/// another time.
///
/// ```
/// use ferromqtt_testing::TestBroker;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let broker = TestBroker::new();
/// let mut client = broker.connect()?;
/// client.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a").await?; // CONNECT
/// let mut answer = [0; 4];
/// client.read_exact(&mut answer).await?;
/// assert_eq!(answer, *b"\x20\x02\x00\x00"); // CONNACK
/// broker.stop().await;
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct TestBroker {
    pub(crate) shared: Arc<SharedHost>,
    /// Where it listens, if it does.
    address: Option<SocketAddr>,
}

/// A connection to a [`TestBroker`] that was stopped or dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[error("the test broker has stopped: keep the TestBroker for as long as clients connect to it")]
pub struct BrokerStopped;

/// Why a client cannot connect to a [`TestBroker`] in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BrokerUnreachable {
    /// It was stopped or dropped.
    #[error(transparent)]
    Stopped(#[from] BrokerStopped),
    /// A fault keeps it from being reached: it is being restarted, or cut off.
    #[error(
        "the test broker refuses connections: it is down after TestBroker::restart, or cut off by partition until heal"
    )]
    Down,
}

impl TestBroker {
    /// A broker with the default options, for connections in memory. It is ready at once, and needs no runtime until a
    /// client connects.
    pub fn new() -> Self {
        Self::with_options(BrokerOptions::default())
    }

    /// A broker for connections in memory, as [`new`](Self::new).
    ///
    /// ```
    /// use ferromqtt_testing::{BrokerOptions, TestBroker};
    ///
    /// let mut options = BrokerOptions::default();
    /// options.retain_available = false;
    /// let broker = TestBroker::with_options(options);
    /// ```
    pub fn with_options(mut options: BrokerOptions) -> Self {
        options.journal_packets.get_or_insert(JOURNAL_PACKETS);
        Self::serving(Broker::new(options))
    }

    pub(crate) fn serving(broker: Broker) -> Self {
        let state = HostState {
            broker,
            wakers: HashMap::new(),
            sleeping_until: None,
            tasks: Some(JoinSet::new()),
            clock: None,
            runtime: None,
        };
        let shared = Arc::new(SharedHost {
            state: Mutex::new(state),
            clock: Notify::new(),
            lingering: AtomicUsize::new(0),
            #[cfg(feature = "tls")]
            authority: Mutex::new(None),
            unsent: AtomicUsize::new(0),
            traffic: Arc::default(),
            clients: Arc::default(),
        });
        Self {
            shared,
            address: None,
        }
    }

    /// A broker that also listens, on a free port of 127.0.0.1.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let broker = ferromqtt_testing::TestBroker::start().await?;
    /// println!("connect to {}", broker.url());
    /// broker.stop().await;
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When the system gives no socket.
    pub async fn start() -> io::Result<Self> {
        Self::bind((Ipv4Addr::LOCALHOST, 0).into(), BrokerOptions::default()).await
    }

    /// A broker that also listens, on `address`; port 0 stands for a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: SocketAddr, options: BrokerOptions) -> io::Result<Self> {
        let mut broker = Self::with_options(options);
        let listening = broker.listen(Listen::tcp().address(address)).await?;
        broker.address = listening.address();
        Ok(broker)
    }

    /// Listens on one more socket, beside the connections in memory and the sockets that there are: TCP, a Unix socket, and with
    /// the features `tls` and `websocket` those too. It ends when the broker is stopped or dropped.
    ///
    /// Use it in the runtime that the broker is used in.
    ///
    /// ```
    /// use ferromqtt_testing::{Listen, TestBroker};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let broker = TestBroker::new();
    /// let listening = broker.listen(Listen::tcp()).await?;
    /// println!("connect to {}", listening.url());
    /// broker.stop().await;
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When the address or path cannot be bound. Of the kind [`InvalidInput`](io::ErrorKind::InvalidInput) when a Unix socket
    /// is to carry TLS or WebSocket. When there is no certificate, since the system gave no random numbers.
    ///
    /// Cancel-safe: when the future is dropped, the broker does not listen.
    pub async fn listen(&self, what: Listen) -> io::Result<Listening> {
        listen::listen(&self.shared, what).await
    }

    /// Opens a connection in memory, for a client that is written by hand: the example of [`TestBroker`] does so.
    ///
    /// # Errors
    /// [`BrokerUnreachable`] when it was stopped, or a fault keeps it from being reached. A connection beyond [`BrokerOptions::maximum_connections`] is opened, and closed by the
    /// broker.
    ///
    /// # Panics
    /// When called outside of a tokio runtime, which runs the broker's side of the connection.
    pub fn connect(&self) -> Result<MemoryStream, BrokerUnreachable> {
        self.shared.connect()
    }

    /// Returns a function that opens a connection in memory at each call, whatever it is given: for `Options::transport` of
    /// the crate `ferromqtt`, which calls it with the server that the options name. It does not keep the broker running.
    ///
    /// ```
    /// use ferromqtt_testing::TestBroker;
    /// use tokio::io::AsyncWriteExt;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let broker = TestBroker::new();
    /// let open = broker.transport();
    /// let mut first = open("broker.example").await?;
    /// let mut second = open("broker.example").await?;
    /// first.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a").await?; // CONNECT
    /// second.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01b").await?;
    /// broker.stop().await;
    /// let error = open("broker.example").await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Of the function that it returns: [`BrokerUnreachable`] in an [`io::Error`] of the kind
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused).
    ///
    /// # Panics
    /// The function that it returns panics when called outside of a tokio runtime.
    pub fn transport<S>(
        &self,
    ) -> impl Fn(S) -> Ready<io::Result<MemoryStream>> + Clone + Send + Sync + use<S> + 'static
    {
        let shared = Arc::clone(&self.shared);
        move |_server| {
            let stream = shared.connect();
            ready(
                stream.map_err(|stopped| io::Error::new(io::ErrorKind::ConnectionRefused, stopped)),
            )
        }
    }

    /// Lets [`idle`](Self::idle) see messages that clients still have to send. Clients made by `Options::test` of the crate
    /// `ferromqtt` use it by themselves.
    pub fn client_watch(&self) -> ClientWatch {
        self.shared.clients.watch()
    }

    /// The address that it listens on.
    ///
    /// # Panics
    /// When it does not listen: it was made by [`new`](Self::new) or [`with_options`](Self::with_options).
    #[track_caller]
    pub const fn host(&self) -> IpAddr {
        self.address().ip()
    }

    /// The port that it listens on.
    ///
    /// # Panics
    /// When it does not listen, as [`host`](Self::host).
    #[track_caller]
    pub const fn port(&self) -> u16 {
        self.address().port()
    }

    /// `mqtt://host:port`.
    ///
    /// # Panics
    /// When it does not listen, as [`host`](Self::host).
    #[track_caller]
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address())
    }

    #[track_caller]
    const fn address(&self) -> SocketAddr {
        self.address.expect(
            "a test broker that does not listen has no address: make it by TestBroker::start or bind, or connect in memory",
        )
    }

    /// What there is at the moment, and what was lost so far.
    pub fn stats(&self) -> BrokerStats {
        self.shared.lock().broker.stats()
    }

    /// The state of one client's session, if there is one.
    ///
    /// # Panics
    /// On a broker [that replays a recording](Self::from_recording): it has none.
    #[track_caller]
    pub fn session_stats(&self, client_identifier: &str) -> Option<SessionStats> {
        self.shared
            .act(|broker, _| broker.session_stats(client_identifier))
    }

    /// Sends a client away: see [`Broker::disconnect_client`].
    ///
    /// # Errors
    /// When a server's DISCONNECT cannot hold `reason`.
    ///
    /// # Panics
    /// On a broker [that replays a recording](Self::from_recording): it sends what was recorded.
    #[track_caller]
    pub fn disconnect_client(
        &self,
        client_identifier: &str,
        reason: ReasonCode,
        server_reference: Option<Utf8String>,
    ) -> Result<bool, BrokerOptionsError> {
        self.shared.act(|broker, now| {
            broker.disconnect_client(now, client_identifier, reason, server_reference)
        })
    }

    /// Stops listening and breaks every connection; returns when all of it is gone. Dropping the broker does the same in the
    /// background.
    pub async fn stop(self) {
        let tasks = self.shared.stop();
        if let Some(mut tasks) = tasks {
            tasks.shutdown().await;
        }
    }
}

impl Default for TestBroker {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        drop(self.shared.stop());
    }
}

/// The time of the runtime that this is called in: virtual when its clock is paused.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What the tasks of a [`TestBroker`] share. The lock is never held over an await.
#[derive(Debug)]
pub(crate) struct SharedHost {
    state: Mutex<HostState>,
    /// Wakes the clock when a deadline comes earlier than it sleeps.
    clock: Notify,
    /// Connections that the broker has closed, and the client has not.
    pub(crate) lingering: AtomicUsize,
    /// What signs the certificates, once there is one.
    #[cfg(feature = "tls")]
    authority: Mutex<Option<Arc<TestAuthority>>>,
    /// Bytes that the broker has handed out, and that are not written yet.
    pub(crate) unsent: AtomicUsize,
    /// Bytes on their way in memory, and the news that something has happened.
    pub(crate) traffic: Arc<MemoryTraffic>,
    /// Clients that tell what they still have to send.
    pub(crate) clients: Arc<WatchedClients>,
}

/// What the lock of [`SharedHost`] guards.
#[derive(Debug)]
pub(crate) struct HostState {
    pub(crate) broker: Broker,
    pub(crate) wakers: HashMap<ConnectionId, Arc<Waker>>,
    sleeping_until: Option<Instant>,
    /// All tasks of the broker; none once it is stopped. Each of them holds the state, which they are taken out of then.
    tasks: Option<JoinSet<()>>,
    /// The task that watches the clock.
    clock: Option<AbortHandle>,
    /// Where the latest task was spawned.
    runtime: Option<Handle>,
}

impl HostState {
    /// The time of the runtime that serves the clients, wherever this is called.
    pub(crate) fn now(&self) -> Instant {
        let runtime = self.runtime.clone();
        let _entered = runtime.as_ref().map(Handle::enter);
        now()
    }
}

impl SharedHost {
    pub(crate) fn lock(&self) -> MutexGuard<'_, HostState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls the broker, then wakes whoever that concerns.
    pub(crate) fn with<T>(&self, call: impl FnOnce(&mut HostState) -> T) -> T {
        let mut state = self.lock();
        let result = call(&mut state);
        while let Some(id) = state.broker.poll_writable() {
            if let Some(waker) = state.wakers.get(&id) {
                waker.wake();
            }
        }
        while let Some(id) = state.broker.poll_close() {
            let reset = state.broker.closes_by_reset(id);
            if let Some(waker) = state.wakers.remove(&id) {
                waker.close(reset);
            }
        }
        if let Some(deadline) = state.broker.poll_timeout()
            && state.sleeping_until.is_none_or(|until| deadline < until)
        {
            self.clock.notify_one();
        }
        drop(state);
        self.traffic.changed.notify_waiters();
        result
    }

    /// Calls the broker at the time of the runtime that serves the clients.
    pub(crate) fn call<T>(&self, call: impl FnOnce(&mut Broker, Instant) -> T) -> T {
        self.with(|state| {
            let now = state.now();
            call(&mut state.broker, now)
        })
    }

    /// As [`Self::call`], for what a broker that replays a recording does not do.
    #[track_caller]
    pub(crate) fn act<T>(&self, call: impl FnOnce(&mut Broker, Instant) -> T) -> T {
        let replays = self.lock().broker.replay().is_some();
        assert!(
            !replays,
            "a test broker that replays a recording makes no faults, has no sessions and sends nothing of its own: it plays \
             what was recorded; use a TestBroker of its own for this"
        );
        self.call(call)
    }

    fn connect(self: &Arc<Self>) -> Result<MemoryStream, BrokerUnreachable> {
        let reaches = self.with(|state| {
            let now = now();
            let reaches = state.tasks.is_none() || state.broker.is_reachable(now);
            if !reaches {
                let id = state.broker.open(now); // the journal has the attempt
                state.broker.closed(now, id);
            }
            reaches
        });
        if !reaches {
            return Err(BrokerUnreachable::Down);
        }
        let (ours, theirs) = MemoryStream::pair(&self.traffic);
        self.spawn(link::serve(ours, Arc::clone(self)))?;
        Ok(theirs)
    }

    /// The authority of this broker, which is made when it is first asked for.
    #[cfg(feature = "tls")]
    pub(crate) fn authority(&self) -> Result<Arc<TestAuthority>, CertificateError> {
        let mut authority = self
            .authority
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = &*authority {
            return Ok(Arc::clone(there));
        }
        let made = Arc::new(TestAuthority::new()?);
        *authority = Some(Arc::clone(&made));
        Ok(made)
    }

    /// Runs a task until the broker is stopped, in the runtime that this is called in, and the clock beside it.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), BrokerStopped> {
        let runtime = Handle::current();
        let mut state = self.lock();
        let HostState { tasks, clock, .. } = &mut *state;
        let tasks = tasks.as_mut().ok_or(BrokerStopped)?;
        while tasks.try_join_next().is_some() {}
        // It has finished when the runtime that it was spawned in was shut down.
        if clock.as_ref().is_none_or(AbortHandle::is_finished) {
            *clock = Some(tasks.spawn_on(watch_clock(Arc::clone(self)), &runtime));
        }
        tasks.spawn_on(task, &runtime);
        state.runtime = Some(runtime);
        Ok(())
    }

    /// Takes the tasks out, which end when they are dropped.
    fn stop(&self) -> Option<JoinSet<()>> {
        self.lock().tasks.take()
    }
}

async fn watch_clock(shared: Arc<SharedHost>) {
    loop {
        let deadline = shared.with(|state| {
            state.broker.handle_timeout(now());
            state.sleeping_until = state.broker.poll_timeout();
            state.sleeping_until
        });
        let sleep = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased; // no random number: the same program takes the same steps
            () = shared.clock.notified() => {}
            () = sleep => {}
        }
    }
}
