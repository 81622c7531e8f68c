//! The driver over pipes in memory, in virtual time: the runtime's clock moves only when everyone waits.

mod authentication;
mod batching;
mod claiming;
mod connection;
mod credentials;
mod drain;
mod dropped_streams;
mod events;
mod filters;
mod holding;
mod keep_alive;
mod large_packets;
mod leaving;
mod operations;
mod pausing;
mod profiles;
mod reentry;
mod requests;
mod room;
#[path = "../../tests/scenarios/server.rs"]
mod server;
mod start;
mod time_limit;
mod wake_ups;
mod wakers;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ferromqtt_proto::packet::{self, Packet};
use tokio::io::{DuplexStream, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use crate::transport::{Connector, Opener, Transport};
use crate::{ConnectError, Connection, ConnectionError, Options, QoS, Server as Place, Utf8String};
use server::Server;

/// Gives the driver the streams, or the errors, that a test has sent.
struct Script(Mutex<mpsc::UnboundedReceiver<io::Result<DuplexStream>>>);

impl Transport for Script {
    type Stream = DuplexStream;

    async fn connect(&self, _server: Place) -> io::Result<DuplexStream> {
        match self.0.lock().await.recv().await {
            Some(result) => result,
            None => std::future::pending().await,
        }
    }
}

/// The error of a first connection that failed.
fn not_connected(cause: ConnectionError) -> ConnectError {
    ConnectError::Connection {
        server: Place::new("in memory", 1883),
        cause,
    }
}

/// The test's end of the script: each call makes the client's next attempt succeed or fail.
struct Attempts(mpsc::UnboundedSender<io::Result<DuplexStream>>);

impl Attempts {
    fn new() -> (Self, Connector) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let script = Arc::new(Script(Mutex::new(receiver)));
        let servers = vec![Place::new("in memory", 1883)];
        (Self(sender), Connector::new(servers, Opener::Own(script)))
    }

    /// The next attempt gets a pipe that holds `size` bytes; this is its other end.
    fn succeeds(&self, size: usize) -> DuplexStream {
        let (ours, theirs) = duplex(size);
        self.0.send(Ok(theirs)).unwrap();
        ours
    }

    fn fails(&self) {
        let refused = io::ErrorKind::ConnectionRefused.into();
        self.0.send(Err(refused)).unwrap();
    }
}

/// A limit in virtual time, so that a hang is a failure.
async fn in_time<T>(step: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(3_600), step)
        .await
        .expect("done in time")
}

/// A runtime that a test can shut down.
fn paused_runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap()
}

/// Runs `test` in a thread of its own: one that waits for its own lock never ends.
fn without_deadlock(test: impl FnOnce() + Send + 'static) {
    let (ended, end) = std::sync::mpsc::channel();
    let running = std::thread::spawn(move || {
        test();
        let _ = ended.send(());
    });
    let end = end.recv_timeout(Duration::from_secs(10));
    let waits = end == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
    assert!(!waits, "code of the application's ran under the lock");
    running.join().unwrap();
}

fn options() -> Options {
    Options::new("in memory", 1883)
}

/// A client that is connected over a pipe of `size` bytes, the server at its other end, and what becomes of later attempts.
async fn connected(options: Options, size: usize) -> (Connection, Server<DuplexStream>, Attempts) {
    let (attempts, script) = Attempts::new();
    let stream = attempts.succeeds(size);
    let (connection, (server, _)) = tokio::join!(
        Connection::open_over(options, script),
        Server::accept(stream, false)
    );
    (connection.unwrap(), server, attempts)
}

fn message(payload: &'static str) -> Packet {
    Packet::Publish(packet::PublishPacket {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: Utf8String::from_static("t").unwrap(),
        packet_id: None,
        properties: None,
        payload: payload.into(),
    })
}
