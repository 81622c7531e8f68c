//! The broker on a loopback socket, for tokio: one task accepts, one watches the clock, and each connection has its own.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use ferromqtt_proto::{ReasonCode, Utf8String};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::ReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::{Broker, BrokerOptions, BrokerOptionsError, BrokerStats, ConnectionId, SessionStats};

/// Room for one read.
const READ_SIZE: usize = 64 * 1024;

/// How long to wait after the system refused to accept, for example because it has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a client has to close its side, once the broker closed its own.
const LINGER: Duration = Duration::from_secs(10);

/// A client that is silent for this long meanwhile is not waited for.
const SILENCE: Duration = Duration::from_secs(1);

/// So many clients are waited for so at the same time.
const MOST_LINGERING: usize = 1000;

/// A [`Broker`] that listens on TCP, until it is stopped or dropped.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let broker = ferromqtt_testing::TestBroker::start().await?;
/// println!("connect to {}", broker.url());
/// broker.stop().await;
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct TestBroker {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    /// The task ends when this is dropped.
    running: oneshot::Sender<()>,
}

impl TestBroker {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When the system gives no socket.
    pub async fn start() -> io::Result<Self> {
        Self::bind((Ipv4Addr::LOCALHOST, 0).into(), BrokerOptions::default()).await
    }

    /// Listens on `address`; port 0 stands for a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: SocketAddr, options: BrokerOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                broker: Broker::new(options),
                wakers: HashMap::new(),
                sleeping_until: None,
            }),
            clock: Notify::new(),
            lingering: AtomicUsize::new(0),
        });
        let (running, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, Arc::clone(&shared), stopped));
        Ok(Self {
            address,
            shared,
            task,
            running,
        })
    }

    /// The address it listens on.
    pub const fn host(&self) -> IpAddr {
        self.address.ip()
    }

    /// The port it listens on.
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// `mqtt://host:port`.
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// What there is at the moment, and what was lost so far.
    pub fn stats(&self) -> BrokerStats {
        self.shared.lock().broker.stats()
    }

    /// The state of one client's session, if there is one.
    pub fn session_stats(&self, client_identifier: &str) -> Option<SessionStats> {
        self.shared.lock().broker.session_stats(client_identifier)
    }

    /// Sends a client away: see [`Broker::disconnect_client`].
    ///
    /// # Errors
    /// When a server's DISCONNECT cannot hold `reason`.
    pub fn disconnect_client(
        &self,
        client_identifier: &str,
        reason: ReasonCode,
        server_reference: Option<Utf8String>,
    ) -> Result<bool, BrokerOptionsError> {
        self.shared.with(|state| {
            let now = Instant::now();
            (state.broker).disconnect_client(now, client_identifier, reason, server_reference)
        })
    }

    /// Stops listening and breaks every connection; returns when all of it is gone.
    pub async fn stop(self) {
        drop(self.running);
        let _ = self.task.await; // it ends by itself, and has nothing to tell
    }
}

/// What the tasks share. The lock is never held over an await.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the clock when a deadline comes earlier than it sleeps.
    clock: Notify,
    /// Connections that the broker has closed, and the client has not.
    lingering: AtomicUsize,
}

#[derive(Debug)]
struct State {
    broker: Broker,
    wakers: HashMap<ConnectionId, Arc<Waker>>,
    sleeping_until: Option<Instant>,
}

/// How a connection's task learns that there is something for it.
#[derive(Debug, Default)]
struct Waker {
    notify: Notify,
    close: AtomicBool,
}

impl Waker {
    fn close(&self) {
        self.close.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    fn is_closed(&self) -> bool {
        self.close.load(Ordering::Acquire)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls the broker, then wakes whoever that concerns.
    fn with<T>(&self, call: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = call(&mut state);
        while let Some(id) = state.broker.poll_writable() {
            if let Some(waker) = state.wakers.get(&id) {
                waker.notify.notify_one();
            }
        }
        while let Some(id) = state.broker.poll_close() {
            if let Some(waker) = state.wakers.remove(&id) {
                waker.close();
            }
        }
        if let Some(deadline) = state.broker.poll_timeout()
            && state.sleeping_until.is_none_or(|until| deadline < until)
        {
            self.clock.notify_one();
        }
        result
    }
}

/// Accepts connections until it is stopped; ends when all its tasks have.
async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let mut tasks = JoinSet::new();
    tasks.spawn(watch_clock(Arc::clone(&shared)));
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    tasks.spawn(serve_connection(stream, Arc::clone(&shared)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = tasks.join_next() => {}
            _ = &mut stopped => break,
        }
    }
    drop(listener);
    tasks.shutdown().await;
}

async fn watch_clock(shared: Arc<Shared>) {
    loop {
        let deadline = shared.with(|state| {
            let now = Instant::now();
            state.broker.handle_timeout(now);
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
            () = sleep => {}
            () = shared.clock.notified() => {}
        }
    }
}

async fn serve_connection(mut stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true); // slower without it, but not wrong
    let waker = Arc::new(Waker::default());
    let id = shared.with(|state| {
        let id = state.broker.open(Instant::now());
        state.wakers.insert(id, Arc::clone(&waker));
        id
    });
    // An error of the socket and its end are the same to the broker.
    let _ = move_bytes(&mut stream, &shared, id, &waker).await;
    shared.with(|state| {
        state.wakers.remove(&id);
        state.broker.closed(Instant::now(), id);
    });
    if shared.lingering.fetch_add(1, Ordering::Relaxed) < MOST_LINGERING {
        let _ = tokio::time::timeout(LINGER, linger(&mut stream)).await;
    }
    shared.lingering.fetch_sub(1, Ordering::Relaxed);
}

/// Closes the broker's side and waits for the client's: dropping the socket would reset the connection of a client that still
/// writes, and it might give up before it has read why.
async fn linger(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut ignored = [0; 4096];
    while tokio::time::timeout(SILENCE, stream.read(&mut ignored)).await?? > 0 {}
    Ok(())
}

/// Moves bytes both ways, until the peer or the broker ends the connection.
async fn move_bytes(
    stream: &mut TcpStream,
    shared: &Shared,
    id: ConnectionId,
    waker: &Waker,
) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut input = BytesMut::new();
    let mut chunk = Bytes::new();
    loop {
        if chunk.is_empty() {
            chunk = shared
                .with(|state| state.broker.poll_transmit(id))
                .unwrap_or_default();
        }
        if chunk.is_empty() && waker.is_closed() {
            return Ok(());
        }
        tokio::select! {
            readable = reader.readable(), if !waker.is_closed() => {
                readable?;
                if !read(&reader, &mut input)? {
                    return Ok(());
                }
                shared.with(|state| state.broker.handle_input(Instant::now(), id, &mut input));
            }
            written = writer.write(&chunk), if !chunk.is_empty() => chunk.advance(written?),
            () = waker.notify.notified(), if chunk.is_empty() => {}
        }
    }
}

/// Reads what is there; `false` at the end. A connection on which nothing comes holds no memory for it, and what comes holds
/// about its own size.
fn read(reader: &ReadHalf<'_>, input: &mut BytesMut) -> io::Result<bool> {
    let mut chunk = BytesMut::with_capacity(READ_SIZE);
    match reader.try_read_buf(&mut chunk) {
        Ok(0) => return Ok(false),
        Ok(length) if input.is_empty() && length > READ_SIZE / 2 => *input = chunk,
        Ok(_) if input.is_empty() => *input = BytesMut::from(&chunk[..]),
        Ok(_) => input.extend_from_slice(&chunk),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) => return Err(error),
    }
    Ok(true)
}
