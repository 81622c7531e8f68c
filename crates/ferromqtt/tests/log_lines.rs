//! Every log line of docs/errors.md is provoked, and reads as the page says. A program of its own: `tracing` remembers for all
//! threads who listened first.
#![cfg(all(feature = "tls", feature = "tracing"))]

#[path = "error_texts/clock.rs"]
mod clock;
#[path = "error_texts/memory_store.rs"]
mod memory_store;
#[path = "error_texts/page.rs"]
mod page;
#[path = "error_texts/replies.rs"]
#[allow(dead_code, reason = "of the other test program")]
mod replies;
#[path = "scenarios/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::IntoFuture;
use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferromqtt::{
    Acknowledge, CleanStart, Client, Connection, ConnectionEvent, DeclaredSubscription,
    ExactlyOnce, Message, Messages, OnFailure, Options, OutgoingLimits, OutgoingPolicy, Overflow,
    Properties, ProtocolVersion, QoS, QueueOptions, ReasonCode, Reconnect, Router, TlsOptions,
};
use ferromqtt_proto::packet::{Disconnect, Packet};
use ferromqtt_testing::TestBroker;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{sleep, timeout};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use clock::{in_virtual_time, play};
use memory_store::{Changing, Failure, Memory};
use page::compare;
use replies::{Pipes, accept, in_memory};
use server::Server;

/// Notes the texts of warnings, each once.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<BTreeSet<String>>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "ferromqtt" && *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.0.lock().unwrap().insert(text.0);
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
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

type InMemory = Server<DuplexStream>;

fn quickly() -> Reconnect {
    Reconnect {
        initial_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(1),
        ..Reconnect::default()
    }
}

/// A message at QoS 0, or at QoS 1 with this Packet Identifier.
async fn send(server: &mut InMemory, packet_id: Option<u8>) {
    match packet_id {
        None => server.stream.write_all(b"\x30\x05\0\x01t\0x").await,
        Some(packet_id) => {
            let bytes = [0x32, 7, 0, 1, b't', 0, packet_id, 0, b'x'];
            server.stream.write_all(&bytes).await
        }
    }
    .unwrap();
}

async fn subscribe(client: &Client, server: &mut InMemory, bounds: QueueOptions) -> Messages {
    let subscribe = client.subscribe("t").qos(QoS::AtLeastOnce).queue(bounds);
    let (messages, ()) = tokio::join!(
        subscribe.into_future(),
        server.subscribe(ReasonCode::GrantedQos1)
    );
    messages.unwrap()
}

fn narrow(limit: usize, overflow: Overflow) -> QueueOptions {
    QueueOptions {
        limit: Some(limit),
        overflow,
        ..QueueOptions::default()
    }
}

const HANDLER_FAILED: &str = "a handler of the router failed";

const DEAD_LETTER: &str = "an exactly-once handler failed, and its message is a dead letter";

/// Messages for a handler without a key: two of another QoS than 2, and two that it may have handled before, of which it fails on
/// one.
async fn handled_once() {
    let broker = TestBroker::new();
    let lasting = || {
        Options::test(&broker)
            .client_identifier("worker")
            .clean_start(CleanStart::Never)
    };
    // The session is there, and an earlier program has not heard of it.
    Connection::open(lasting())
        .await
        .unwrap()
        .disconnect()
        .await
        .unwrap();
    let keys = ["connecting", "1", "2", "3", "4"];
    let mut store = Memory {
        keys: keys.map(str::to_owned).into(),
        ..Memory::default()
    };
    let orders = DeclaredSubscription::new("orders").exactly_once();
    let connection = Connection::start(lasting().subscription(orders))
        .await
        .unwrap();
    let client = connection.client();
    let handle = async |message: &Message, _: &mut Changing<'_>| match &message.payload[..] {
        b"stone" => Err(Failure),
        _ => Ok(()),
    };
    let mut once = ExactlyOnce::new("kitchen").on_failure(OnFailure::DeadLetter);
    let handled = once.run_by_identifier(&client, "orders", &mut store, handle);
    let publish = ferromqtt::scope(Options::test(&broker), async |publisher| {
        client.connected().await?;
        sleep(Duration::from_secs(1)).await; // it has subscribed
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for dish in ["soup", "stone"] {
                publisher.publish("orders", dish).qos(qos).await?;
            }
        }
        sleep(Duration::from_secs(1)).await;
        Ok(())
    });
    tokio::select! {
        ended = handled => panic!("{ended:?}"),
        published = publish => published.unwrap(),
    }
}

/// A responder that gets something else, and a handler that fails.
async fn routed() {
    let (connection, mut server, _pipes) = in_memory(|options| options).await;
    let client = connection.client();
    let router = Router::new()
        .respond("t", |_| async { Ok("") })
        .on("t", |_| async { Err("as it likes".into()) });
    let (running, ()) = tokio::join!(router.start(&client), async {
        server.subscribe(ReasonCode::GrantedQos1).await;
        server.subscribe(ReasonCode::GrantedQos1).await;
    });
    let running = tokio::spawn(running.unwrap());
    send(&mut server, None).await;
    exchange(&client, &mut server).await;
    sleep(Duration::from_secs(1)).await;
    running.abort();
}

/// Publishes, and waits for the answer: whatever the server has sent before has come then.
async fn exchange(client: &Client, server: &mut InMemory) {
    let publish = client.publish("other", "x").qos(QoS::AtLeastOnce);
    let (published, ()) = tokio::join!(publish.into_future(), async {
        let publish = server.publish().await;
        server.puback(publish.packet_id, ReasonCode::Success).await;
    });
    published.unwrap();
}

async fn disconnect(server: &mut InMemory, reason: ReasonCode) {
    let disconnect = Disconnect::because(reason);
    server.send(&Packet::Disconnect(Box::new(disconnect))).await;
}

/// A slip, and losses that repeat.
async fn slips_and_losses() {
    let (connection, mut server, _pipes) = in_memory(|options| options).await;
    let client = connection.client();
    server
        .stream
        .write_all(b"\x38\x05\0\x01t\0x")
        .await
        .unwrap(); // DUP at QoS 0
    let mut messages = subscribe(&client, &mut server, narrow(1, Overflow::DropOldest)).await;
    for _ in 0..3 {
        for _ in 0..4 {
            send(&mut server, None).await;
        }
        exchange(&client, &mut server).await;
        messages.take_lost();
    }
    let leaving = connection.disconnect();
    let (left, _) = tokio::join!(leaving, server.next());
    left.unwrap();
}

/// Subscriptions that a server does not give, or not again.
async fn refused_subscriptions() {
    let (options, pipes) = Pipes::new();
    let options = options
        .client_identifier("station-7")
        .clean_start(CleanStart::Never)
        .claim_within(Duration::ZERO)
        .reconnect(quickly())
        .subscription(DeclaredSubscription::new("denied"));
    let connection = Connection::start(options).await.unwrap();
    let client = connection.client();
    let mut server = accept(pipes.next(), false, Properties::default()).await;
    server.subscribe(ReasonCode::NotAuthorized).await;
    let mut messages = subscribe(&client, &mut server, QueueOptions::default()).await;
    drop(server);
    let mut server = accept(pipes.next(), false, Properties::default()).await;
    server.subscribe(ReasonCode::NotAuthorized).await;
    assert_eq!(messages.next().await, None);
    subscribe(&client, &mut server, QueueOptions::default())
        .await
        .detach();
    send(&mut server, Some(1)).await; // nobody claims it
    assert!(matches!(server.next().await, Some(Packet::PubAck(_))));
}

/// A stream that was dropped, and whose subscription the server does not end.
async fn a_refused_end() {
    let (connection, mut server, _pipes) = in_memory(|options| options).await;
    let client = connection.client();
    drop(subscribe(&client, &mut server, QueueOptions::default()).await);
    let reasons = [ReasonCode::NotAuthorized];
    assert_eq!(server.unsubscribe_all(&reasons).await, ["t"]);
    exchange(&client, &mut server).await;
}

/// Filters that are too long for what a later connection takes.
async fn what_the_server_cannot_be_asked() {
    let (options, pipes) = Pipes::new();
    let options = options
        .client_identifier("station-7")
        .session_expiry_interval(Duration::from_secs(3_600))
        .reconnect(quickly())
        .subscription(DeclaredSubscription::new("d".repeat(100)));
    let small_packets = || Properties {
        maximum_packet_size: NonZeroU32::new(64),
        ..Properties::default()
    };
    let connection = Connection::start(options).await.unwrap();
    let client = connection.client();
    drop(accept(pipes.next(), false, small_packets()).await);
    let mut server = accept(pipes.next(), true, Properties::default()).await;
    let (messages, ()) = tokio::join!(
        client.subscribe("x".repeat(100)).into_future(),
        server.subscribe(ReasonCode::GrantedQos1)
    );
    drop(server);
    let _server = accept(pipes.next(), true, small_packets()).await;
    client.connected().await.unwrap();
    drop(messages.unwrap());
}

/// A message whose receipt was dropped, and that the server does not acknowledge.
async fn an_unawaited_message() {
    let (connection, mut server, _pipes) = in_memory(|options| options).await;
    let client = connection.client();
    let publish = client.publish("t", "x").qos(QoS::AtLeastOnce);
    drop(publish.enqueue().await.unwrap());
    server.publish().await;
    let leaving = connection.disconnect();
    let (left, _) = tokio::join!(leaving, server.next());
    left.unwrap();
}

/// A message whose receipt was dropped, and that the server refuses.
async fn a_refused_message() {
    let (connection, mut server, _pipes) = in_memory(|options| options).await;
    let client = connection.client();
    let publish = client.publish("t", "x").qos(QoS::AtLeastOnce);
    drop(publish.enqueue().await.unwrap());
    let publish = server.publish().await;
    let reason = ReasonCode::QuotaExceeded;
    server.puback(publish.packet_id, reason).await;
    exchange(&client, &mut server).await;
}

/// A message that the full outgoing queue drops, and whose receipt was dropped.
async fn a_dropped_message() {
    let one = OutgoingLimits {
        messages: Some(1),
        bytes: None,
    };
    let queue = |options: Options| options.outgoing_queue(one, OutgoingPolicy::DropOldest);
    let (connection, _server, _pipes) = in_memory(queue).await;
    let client = connection.client();
    for payload in ["1", "2"] {
        let publish = client.publish("t", payload).qos(QoS::AtLeastOnce);
        drop(publish.try_enqueue().unwrap()); // neither is on the wire yet
    }
}

/// A server that is never there.
async fn failing_attempts() {
    let options = Options::new("nowhere", 1883)
        .reconnect(Reconnect {
            initial: true,
            ..quickly()
        })
        .transport(async |_| Err::<DuplexStream, _>(ErrorKind::ConnectionRefused.into()));
    let connection = Connection::start(options).await.unwrap();
    let mut events = connection.client().events();
    events.next().await;
}

/// Streams that nobody reads.
async fn unread_streams() {
    let (connection, mut server, _pipes) = in_memory(|options| options).await;
    let client = connection.client();
    let _messages = subscribe(&client, &mut server, narrow(1, Overflow::Wait)).await;
    for packet_id in 1..=2 {
        send(&mut server, Some(packet_id)).await;
    }
    sleep(Duration::from_secs(10)).await;
    let (connection, mut server, _pipes) = in_memory(|options| options).await;
    let client = connection.client();
    let _forgotten = subscribe(&client, &mut server, narrow(4, Overflow::Wait)).await;
    let flood = tokio::spawn(async move {
        for _ in 0..2_000 {
            send(&mut server, None).await;
        }
        server
    });
    let _server = flood.await.unwrap();
    sleep(Duration::from_secs(10)).await;
    let (connection, mut server, _pipes) = in_memory(|options| options).await;
    let client = connection.client();
    let by_application = QueueOptions {
        acknowledge: Acknowledge::ByApplication,
        ..QueueOptions::default()
    };
    let mut messages = subscribe(&client, &mut server, by_application).await;
    for packet_id in 1..=10 {
        send(&mut server, Some(packet_id)).await;
        messages.next().await.unwrap();
    }
    sleep(Duration::from_secs(10)).await;
    send(&mut server, Some(11)).await;
    exchange(&client, &mut server).await; // then it is in the queue
    drop(messages);
    sleep(Duration::from_secs(1)).await;
}

/// A message that the server answers by ending the connection.
async fn a_message_ends_connections() {
    let (options, pipes) = Pipes::new();
    let connection = Connection::start(options.reconnect(quickly()))
        .await
        .unwrap();
    let client = connection.client();
    let publish = client.publish("t", "x").qos(QoS::AtLeastOnce);
    let serve = async {
        for session_present in [false, true, true] {
            let mut server = accept(pipes.next(), session_present, Properties::default()).await;
            server.publish().await;
            disconnect(&mut server, ReasonCode::PacketTooLarge).await;
        }
    };
    let (published, ()) = tokio::join!(publish.into_future(), serve);
    published.unwrap_err();
}

/// The same before 5.0, where the server cannot say why.
async fn a_message_ends_connections_without_a_word() {
    let (options, pipes) = Pipes::new();
    let options = options
        .protocol(ProtocolVersion::V311)
        .client_identifier("station-7")
        .clean_start(CleanStart::Never)
        .reconnect(quickly());
    let connection = Connection::start(options).await.unwrap();
    let client = connection.client();
    let mut events = client.events();
    let publish = client.publish("t", "x").qos(QoS::AtLeastOnce);
    let receipt = publish.enqueue().await.unwrap();
    for _ in 0..3 {
        let mut stream = pipes.next();
        let mut input = [0; 100];
        assert!(stream.read(&mut input).await.unwrap() > 0); // CONNECT
        stream.write_all(b"\x20\x02\x01\0").await.unwrap();
        assert!(stream.read(&mut input).await.unwrap() > 0); // PUBLISH
        drop(stream);
        while !matches!(
            events.next().await,
            Some(ConnectionEvent::Disconnected { .. })
        ) {}
    }
    drop(receipt);
}

async fn a_contested_identifier() {
    let (connection, mut server, _pipes) =
        in_memory(|options| options.client_identifier("station-7").reconnect(None)).await;
    disconnect(&mut server, ReasonCode::SessionTakenOver).await;
    connection.client().closed().await;
}

/// A server that takes nothing while the client leaves.
async fn unwritten_messages() {
    let limit = Duration::from_secs(1);
    let (connection, _server, _pipes) =
        in_memory(|options| options.disconnect_timeout(limit)).await;
    let client = connection.client();
    let mut written = 0;
    while timeout(limit, client.publish("t", vec![0; 1_000]).into_future())
        .await
        .is_ok()
    {
        written += 1;
        assert!(written < 1_000, "no server that takes nothing");
    }
    connection.disconnect().await.unwrap_err();
}

/// A recording whose disk is full.
struct Full;

impl std::io::Write for Full {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn a_recording_that_cannot_be_written() {
    let broker = TestBroker::new();
    let recorder = ferromqtt::recording::Recorder::new(Full, Default::default());
    let options = Options::new("test-broker", 1883).transport(broker.transport());
    let connection = Connection::open(options.record(recorder)).await.unwrap();
    connection.disconnect().await.unwrap();
}

async fn danger() {
    let danger = TlsOptions::new().danger_accept_any_certificate_from_anyone();
    let options = Options::new("127.0.0.1", 1).tls(danger);
    Connection::open(options).await.unwrap_err(); // nobody listens there
}

#[test]
fn every_log_line_is_provoked_and_reads_as_the_page_says() {
    let noted = Warnings::default();
    let noting = tracing::subscriber::set_default(noted.clone());
    in_virtual_time(async {
        slips_and_losses().await;
        refused_subscriptions().await;
        a_refused_end().await;
        what_the_server_cannot_be_asked().await;
        unread_streams().await;
        a_message_ends_connections().await;
        a_message_ends_connections_without_a_word().await;
        a_contested_identifier().await;
        unwritten_messages().await;
        an_unawaited_message().await;
        a_refused_message().await;
        a_dropped_message().await;
        failing_attempts().await;
        a_recording_that_cannot_be_written().await;
    });
    play(danger());
    in_virtual_time(routed());
    in_virtual_time(handled_once());
    drop(noting);
    let mut lines = noted.0.lock().unwrap().clone();
    let mut seen = BTreeSet::new(); // one for each cause, of which the page has a row
    lines.retain(|line| {
        let kind = line.split_once(": ").map(|(kind, _)| kind.to_owned());
        let is_end = kind
            .as_deref()
            .is_some_and(|it| it.starts_with("con") || it.starts_with("can"));
        !is_end || seen.insert(kind)
    });
    let level = |line: &str| match line {
        HANDLER_FAILED | DEAD_LETTER => "ERROR",
        _ => "WARN",
    };
    let provoked = (lines.into_iter().map(|line| (line.clone(), level(&line)))).collect();
    compare("Rust: log lines", provoked);
}
