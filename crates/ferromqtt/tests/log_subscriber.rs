//! A `tracing` subscriber that uses the client whose lines it gets. A program of its own: `tracing` remembers for all threads
//! who listened first.
#![cfg(feature = "tracing")]

#[path = "scenarios/server.rs"]
mod server;

use std::fmt::Debug;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use ferromqtt::{
    CleanStart, Client, Connection, ConnectionError, ConnectionEvent, DeclaredSubscription,
    Options, Overflow, QoS, QueueOptions, ReasonCode, Reconnect, TopicFilter,
};
use ferromqtt_proto::packet::{Disconnect, Packet};
use ferromqtt_testing::{BrokerOptions, TestBroker};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use server::Server;

/// Publishes each line of a client by that client, and notes those for which that has returned.
#[derive(Clone, Default)]
struct Forwards {
    client: Arc<Mutex<Option<Client>>>,
    forwarded: Arc<Mutex<Vec<String>>>,
    /// Panics at the line that has this in it.
    panics_at: Option<&'static str>,
}

impl Forwards {
    /// Begins to connect a client that this subscriber uses.
    async fn start(&self, options: Options) -> Connection {
        let connection = Connection::start(options).await.unwrap();
        *self.client.lock().unwrap() = Some(connection.client());
        connection
    }

    /// Asserts that these lines were forwarded, in this order.
    fn assert_forwarded(&self, parts: &[&str]) {
        let lines = self.forwarded.lock().unwrap();
        let mut rest = lines.iter();
        for part in parts {
            let found = rest.any(|line| line.contains(part));
            assert!(found, "{part:?} in its place in {lines:?}");
        }
    }
}

impl Subscriber for Forwards {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // At DEBUG a line follows each packet, and here each line would be a packet.
        metadata.target() == "ferromqtt" && *metadata.level() <= Level::INFO
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let panics = self.panics_at.is_some_and(|part| text.0.contains(part));
        assert!(!panics, "as the test wants it");
        let client = self.client.lock().unwrap().clone();
        if let Some(client) = client {
            let _ = client.publish("log", text.0.as_str()).try_enqueue(); // refused without a connection
            let _ = client.stats();
            self.forwarded.lock().unwrap().push(text.0);
        }
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

/// Runs `program` with a subscriber that forwards. One that waits for a lock of its own never ends, so it has a thread of its
/// own.
fn play<F: Future<Output = ()>>(
    forwards: Forwards,
    program: impl FnOnce(Forwards) -> F + Send + 'static,
) {
    let (ended, end) = mpsc::channel();
    let running = thread::spawn(move || {
        let _forwarding = tracing::subscriber::set_default(forwards.clone());
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(program(forwards));
        let _ = ended.send(());
    });
    if let Err(mpsc::RecvTimeoutError::Timeout) = end.recv_timeout(Duration::from_secs(60)) {
        panic!("a line was written under the lock, or nobody was told");
    }
    running.join().unwrap();
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn accept(listener: &TcpListener, session_present: bool) -> Server<TcpStream> {
    let (stream, _) = listener.accept().await.unwrap();
    Server::accept(stream, session_present).await.0
}

/// A client of the broker, in memory.
fn in_memory(broker: &TestBroker) -> Options {
    Options::new("test-broker", 1883).transport(broker.transport())
}

fn quickly() -> Reconnect {
    Reconnect {
        initial_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(1),
        initial: true,
        ..Reconnect::default()
    }
}

#[test]
fn a_log_subscriber_may_publish_by_the_client_that_connects_and_disconnects() {
    play(Forwards::default(), async |forwards| {
        let broker = TestBroker::new();
        let options = in_memory(&broker).subscription(DeclaredSubscription::new("log"));
        let connection = forwards.start(options).await;
        let mut log = connection.client().declared("log").await.unwrap();
        let line = log.next().await.unwrap();
        let line = String::from_utf8_lossy(&line.payload).into_owned();
        assert!(line.contains("=connected "), "{line}");
        connection.disconnect().await.unwrap();
        forwards.assert_forwarded(&["=connected ", "=disconnected "]);
        broker.stop().await;
    });
}

#[test]
fn a_log_subscriber_may_publish_by_the_client_whose_connection_is_lost() {
    play(Forwards::default(), async |forwards| {
        let (listener, port) = listen().await;
        let options = Options::new("127.0.0.1", port).reconnect(quickly());
        let connection = forwards.start(options).await;
        let client = connection.client();
        let mut events = client.events();
        for session_present in [false, true, true] {
            let mut server = accept(&listener, session_present).await;
            // It breaks a rule: DUP at QoS 0.
            let slip = b"\x38\x05\x00\x01t\x00x";
            server.stream.write_all(slip).await.unwrap();
            let busy = Disconnect::because(ReasonCode::ServerBusy);
            server.send(&Packet::Disconnect(Box::new(busy))).await;
            while server.next().await.is_some() {}
            while !matches!(
                events.next().await,
                Some(ConnectionEvent::Disconnected { .. })
            ) {}
        }
        drop(connection);
        client.closed().await;
        forwards.assert_forwarded(&[
            "=connected ",
            "DUP is ignored",
            "=connection lost: ",
            "left out",
            "=disconnected ",
        ]);
    });
}

#[test]
fn a_log_subscriber_may_publish_by_the_client_whose_message_ends_connections() {
    play(Forwards::default(), async |forwards| {
        let (listener, port) = listen().await;
        let options = Options::new("127.0.0.1", port).reconnect(quickly());
        let connection = forwards.start(options).await;
        let client = connection.client();
        let publish = client.publish("bad/topic", "x").qos(QoS::AtLeastOnce);
        let serve = async {
            for session_present in [false, true, true] {
                let mut server = accept(&listener, session_present).await;
                while server.publish().await.topic.as_str() != "bad/topic" {} // but a line
                let disconnect = Disconnect::because(ReasonCode::PacketTooLarge);
                server.send(&Packet::Disconnect(Box::new(disconnect))).await;
            }
        };
        let (published, ()) = tokio::join!(publish.into_future(), serve);
        published.unwrap_err();
        forwards.assert_forwarded(&["one at a time", "given up"]);
    });
}

#[test]
fn a_log_subscriber_may_publish_by_the_client_that_loses_messages() {
    play(Forwards::default(), async |forwards| {
        let broker = TestBroker::new();
        let options = in_memory(&broker);
        let connection = forwards.start(options).await;
        let client = connection.client();
        let bounds = QueueOptions {
            limit: Some(2),
            overflow: Overflow::DropOldest,
            ..QueueOptions::default()
        };
        let mut messages = client.subscribe("readings").queue(bounds).await.unwrap();
        for _ in 0..10 {
            client.publish("readings", "x").await.unwrap();
        }
        let _other = client.subscribe("other").await.unwrap(); // its answer comes behind them
        assert!(messages.take_lost() >= 6);
        forwards.assert_forwarded(&["messages are lost"]);
        connection.disconnect().await.unwrap();
        broker.stop().await;
    });
}

#[test]
fn a_log_subscriber_may_publish_by_the_client_whose_subscription_is_refused() {
    play(Forwards::default(), async |forwards| {
        let mut denying = BrokerOptions::default();
        let filter = TopicFilter::new("denied").unwrap();
        let denied = denying.deny_subscribe(filter, ReasonCode::NotAuthorized);
        denied.unwrap();
        let broker = TestBroker::with_options(denying);
        let options = in_memory(&broker)
            .client_identifier("worker")
            .clean_start(CleanStart::Never)
            .claim_within(Duration::ZERO)
            .subscription(DeclaredSubscription::new("denied"));
        let connection = forwards.start(options).await;
        let client = connection.client();
        let mut events = client.events();
        while !matches!(
            events.next().await,
            Some(ConnectionEvent::NotSubscribed { .. })
        ) {}
        forwards.assert_forwarded(&[
            "the server refused a subscription that was declared before the connection",
        ]);
        let subscribe = client.subscribe("forgotten").qos(QoS::AtLeastOnce);
        subscribe.await.unwrap().detach();
        let publish = client.publish("forgotten", "x").qos(QoS::AtLeastOnce);
        publish.await.unwrap();
        while !matches!(events.next().await, Some(ConnectionEvent::Unclaimed { .. })) {}
        forwards.assert_forwarded(&["no stream has claimed"]);
        connection.disconnect().await.unwrap();
        broker.stop().await;
    });
}

#[test]
fn a_log_subscriber_may_publish_by_the_client_whose_subscription_is_not_renewed() {
    play(Forwards::default(), async |forwards| {
        let (listener, port) = listen().await;
        let options = Options::new("127.0.0.1", port).reconnect(quickly());
        let connection = forwards.start(options).await;
        let client = connection.client();
        let serve = async {
            for reason in [ReasonCode::Success, ReasonCode::NotAuthorized] {
                let mut server = accept(&listener, false).await;
                let subscribe = loop {
                    match server.next().await {
                        Some(Packet::Subscribe(subscribe)) => break subscribe,
                        Some(Packet::Publish(_)) => {} // a line
                        other => panic!("SUBSCRIBE expected, not {other:?}"),
                    }
                };
                server.suback(subscribe.packet_id, &[reason]).await;
                if reason != ReasonCode::Success {
                    return server;
                }
            }
            unreachable!("the second is refused")
        };
        let lives = async {
            let mut messages = client.subscribe("readings").await.unwrap();
            assert_eq!(messages.next().await, None);
        };
        let ((), _server) = tokio::join!(lives, serve);
        forwards.assert_forwarded(&["was not renewed"]);
    });
}

#[test]
fn everyone_hears_of_the_end_when_a_log_subscriber_panics_at_it() {
    let forwards = Forwards {
        panics_at: Some("=connection lost, "),
        ..Forwards::default()
    };
    play(forwards, async |forwards| {
        let (listener, port) = listen().await;
        let options = Options::new("127.0.0.1", port).reconnect(None);
        let connection = forwards.start(options).await;
        let client = connection.client();
        let (mut messages, mut events) = (client.messages(), client.events());
        let serve = async {
            let mut server = accept(&listener, false).await;
            assert!(matches!(server.next().await, Some(Packet::Publish(_)))); // a line
            drop(server);
        };
        let all_events = async { while events.next().await.is_some() {} };
        let (end, message, (), ()) =
            tokio::join!(client.closed(), messages.next(), all_events, serve);
        assert!(matches!(end, ConnectionError::Transport(_)), "{end:?}");
        assert_eq!(message, None);
    });
}
