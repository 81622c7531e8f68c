//! Those who wait in the tokio client: publishes for room in the outgoing queue, and streams for messages.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Waker};

use bytes::BytesMut;
use ferromqtt::{Client, Connection, Options, OutgoingLimits, QoS, Server, Transport};
use ferromqtt_proto::ProtocolVersion;
use ferromqtt_proto::packet::Packet;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::{Builder, Runtime};

use crate::link::accepted;
use crate::measure::growth_of_steps;
use crate::order::{self, Order};
use crate::report::Report;

const SMALL: usize = 8_000;
const LARGE: usize = 64_000;

pub(crate) fn measure(report: &mut Report) {
    let mut row = |what: &str, prepare: &dyn Fn(usize) -> World, step: fn(&mut World, usize)| {
        let ratio = growth_of_steps(SMALL, LARGE, prepare, step);
        report.at_most(&format!("{what}: 64,000 against 8,000"), ratio, 10.0);
    };
    for (how, order) in order::all() {
        let what = format!("publishes give up waiting {how}");
        let prepare = |waiters| World::new(waiters, order, publish);
        row(&what, &prepare, |world, at| world.waiters[at] = None);
    }
    for (how, order) in order::all() {
        let what = format!("streams give up waiting {how}");
        let prepare = |waiters| World::new(waiters, order, next_message);
        row(&what, &prepare, |world, at| world.waiters[at] = None);
    }
    let prepare = |waiters| World::new(waiters, |_| {}, next_message);
    row("streams are polled again", &prepare, |world, at| {
        wait(world.waiters[at].as_mut().expect("nobody has left"));
    });
}

type Waiter = Pin<Box<dyn Future<Output = ()>>>;

/// A client whose outgoing queue is full, since the server acknowledges nothing, and those who wait.
struct World {
    waiters: Vec<Option<Waiter>>,
    _connection: Connection,
    _server: DuplexStream,
    _runtime: Runtime,
}

impl World {
    fn new(waiters: usize, order: Order<Option<Waiter>>, waiter: fn(Client) -> Waiter) -> Self {
        let runtime = Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime");
        let (connection, server) = runtime.block_on(full());
        let begin = || {
            let mut waiter = waiter(connection.client());
            wait(&mut waiter);
            Some(waiter)
        };
        let mut waiters: Vec<_> = std::iter::repeat_with(begin).take(waiters).collect();
        order(&mut waiters);
        Self {
            waiters,
            _connection: connection,
            _server: server,
            _runtime: runtime,
        }
    }
}

fn publish(client: Client) -> Waiter {
    Box::pin(async move {
        let publish = client.publish("growth", "x").qos(QoS::AtLeastOnce);
        publish.await.expect("it is never accepted");
    })
}

fn next_message(client: Client) -> Waiter {
    Box::pin(async move { _ = client.messages().next().await })
}

/// Polls a future that has to wait.
fn wait(future: &mut Waiter) {
    let polled = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
}

async fn full() -> (Connection, DuplexStream) {
    let (ours, mut theirs) = duplex(64 * 1024);
    let limits = OutgoingLimits {
        messages: Some(1),
        bytes: None,
    };
    let options = Options::new("in memory", 1883)
        .transport(Pipe(Mutex::new(Some(ours))))
        .outgoing(limits)
        .max_in_flight(1);
    let accepting = async {
        let mut answer = BytesMut::new();
        Packet::ConnAck(Box::new(accepted())).encode(ProtocolVersion::V5, &mut answer);
        let mut connect = [0; 1024];
        assert!(theirs.read(&mut connect).await.expect("CONNECT comes") > 0);
        theirs.write_all(&answer).await.expect("it is read");
    };
    let (connection, ()) = tokio::join!(Connection::open(options), accepting);
    let connection = connection.expect("the server has accepted");
    let client = connection.client();
    let publish = client.publish("growth", "first").qos(QoS::AtLeastOnce);
    drop(publish.enqueue().await.expect("there is room for one"));
    (connection, theirs)
}

/// One end of a pipe in memory, for the only connection.
struct Pipe(Mutex<Option<DuplexStream>>);

impl Transport for Pipe {
    type Stream = DuplexStream;

    async fn connect(&self, _server: Server) -> io::Result<Self::Stream> {
        let pipe = self.0.lock().expect("nobody panicked").take();
        pipe.ok_or_else(|| io::Error::other("there is one connection"))
    }
}
