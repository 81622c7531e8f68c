//! The client against the built-in broker: in memory where MQTT is the subject, and on loopback sockets where they are.
//! Behind a cable that can be cut, against a server that is played by hand, and against mosquitto.

mod authentication;
mod backpressure;
#[cfg(feature = "blocking")]
mod blocking;
mod cable;
#[cfg(feature = "tls")]
mod certificate_files;
#[cfg(feature = "tls")]
mod certificates;
#[cfg(feature = "testing")]
mod faults;
#[cfg(all(
    feature = "idna",
    feature = "proxy",
    feature = "tls",
    feature = "websocket"
))]
mod hosts;
#[cfg(feature = "testing")]
mod in_memory;
mod lasting_session;
mod leaving;
mod lifecycle;
#[cfg(all(feature = "tls", feature = "websocket", unix))]
mod listening;
#[cfg(all(feature = "tls", feature = "websocket", unix))]
mod mosquitto;
#[cfg(all(feature = "tls", feature = "websocket", unix))]
mod mosquitto_bursts;
#[cfg(all(feature = "tls", feature = "websocket", unix))]
mod mosquitto_process;
#[cfg(all(feature = "outbox", feature = "testing"))]
mod outbox;
#[cfg(all(feature = "outbox", feature = "tls", feature = "websocket", unix))]
mod outbox_kill;
#[cfg(feature = "testing")]
mod outgoing_queue;
#[cfg(feature = "proxy")]
mod proxy;
mod publish;
mod reconnect;
#[cfg(feature = "testing")]
mod recordings;
mod refused_by_disconnect;
mod requests;
mod responder;
mod router;
mod server;
mod servers;
mod slow_links;
mod slow_relay;
mod subscribe;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_front;
#[cfg(feature = "testing")]
mod typed_messages;
#[cfg(unix)]
mod unix;
#[cfg(feature = "websocket")]
mod websocket;
mod will;
mod worlds;

use std::future::Future;
use std::time::Duration;

use ferromqtt::{Connection, Options};
use ferromqtt_testing::TestBroker;

/// Runs a test with a limit, so that a hang is a failure.
async fn in_time<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), test)
        .await
        .expect("the test ends in time")
}

/// A broker that also listens on a loopback socket.
async fn listening() -> TestBroker {
    TestBroker::start().await.expect("a loopback port")
}

/// A client of the broker, in memory: `Options::test` without its feature.
fn options(broker: &TestBroker) -> Options {
    Options::new("test-broker", 1883).transport(broker.transport())
}

async fn connect(broker: &TestBroker) -> Connection {
    Connection::open(options(broker))
        .await
        .expect("a connection")
}
