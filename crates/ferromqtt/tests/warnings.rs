//! What is told to `tracing`. A program of its own: `tracing` remembers for all threads who listened first.
#![cfg(all(feature = "tls", feature = "tracing"))]

#[path = "scenarios/certificates.rs"]
#[allow(dead_code, reason = "of the other test program")]
mod certificates;
#[path = "scenarios/noted.rs"]
mod noted;
#[path = "scenarios/server.rs"]
mod server;
#[path = "scenarios/tls_front.rs"]
#[allow(dead_code, reason = "of the other test program")]
mod tls_front;

use std::sync::Mutex;
use std::time::Duration;

use ferromqtt::{
    Acknowledge, CleanStart, Client, Connection, ConnectionEvent, DeclaredSubscription, Options,
    Overflow, QoS, QueueOptions, ReasonCode, Reconnect, TlsOptions, TopicFilter,
};
use ferromqtt_proto::packet::{Ack, Disconnect, Packet};
use ferromqtt_testing::{BrokerOptions, TestBroker};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tracing::subscriber::DefaultGuard;

use certificates::Authority;
use noted::Warnings;
use server::Server;
use tls_front::TlsFront;

/// A client of the broker, in memory.
fn in_memory(broker: &TestBroker) -> Options {
    Options::new("test-broker", 1883).transport(broker.transport())
}

/// What is written to `tracing` from now on, until the guard is dropped.
fn note() -> (Warnings, DefaultGuard) {
    let noted = Warnings::default();
    let guard = tracing::subscriber::set_default(noted.clone());
    (noted, guard)
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// One connection over a pipe, after which there is none.
async fn piped(options: Options) -> (Connection, Server<DuplexStream>) {
    let (ours, theirs) = duplex(4096);
    let stream = Mutex::new(Some(theirs));
    let options = options.reconnect(None).transport(move |_| {
        let stream = stream.lock().unwrap().take();
        async { stream.ok_or_else(|| std::io::ErrorKind::ConnectionRefused.into()) }
    });
    let (connection, (server, _)) =
        tokio::join!(Connection::open(options), Server::accept(ours, false));
    (connection.unwrap(), server)
}

async fn in_time<T>(test: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    let ended = tokio::time::timeout(limit, test).await;
    ended.expect("the test ends in time")
}

async fn open_and_close(options: Options) {
    let connection = Connection::open(options).await.unwrap();
    connection.disconnect().await.unwrap();
}

async fn danger_is_told() {
    let broker = TestBroker::start().await.unwrap();
    let authority = Authority::new("ours");
    let address = (broker.host(), broker.port()).into();
    let front = TlsFront::to(address, &authority.issue("127.0.0.1")).await;
    let (noted, _noting) = note();
    let options = Options::new("127.0.0.1", front.port());
    let secure = TlsOptions::new().ca_pem(authority.pem());
    open_and_close(options.clone().tls(secure)).await;
    assert!(noted.0.lock().unwrap().is_empty());
    let anyone = TlsOptions::new().danger_accept_any_certificate_from_anyone();
    for count in 1..=2 {
        open_and_close(options.clone().tls(anyone.clone())).await;
        let reported = noted.0.lock().unwrap().clone();
        assert_eq!(reported.len(), count, "{reported:?}");
        for part in ["DANGER", "certificate is not verified", "127.0.0.1"] {
            assert!(reported[count - 1].contains(part), "{reported:?}");
        }
    }
    broker.stop().await;
}

#[tokio::test]
async fn danger_is_told_at_each_connection() {
    in_time(danger_is_told()).await;
}

/// A server that accepts and sends two messages at QoS 0 with DUP set (MQTT-3.3.1-2).
async fn slip_is_told() {
    let (listener, port) = listen().await;
    let (noted, _noting) = note();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap(); // CONNECT has begun
        let slip = b"\x38\x05\x00\x01t\x00x";
        let bytes = [&b"\x20\x03\x00\x00\x00"[..], slip, slip].concat();
        stream.write_all(&bytes).await.unwrap();
        stream
    };
    let options = Options::new("127.0.0.1", port).reconnect(None);
    let (connection, stream) = tokio::join!(Connection::open(options), server);
    let client = connection.unwrap().client();
    let mut messages = client.messages();
    for _ in 0..2 {
        messages.next().await.unwrap();
    }
    let reported = noted.0.lock().unwrap().clone();
    assert_eq!(reported.len(), 1, "{reported:?}");
    assert!(reported[0].contains("DUP is ignored"), "{reported:?}");
    drop(stream);
}

#[tokio::test]
async fn what_is_tolerated_of_a_server_is_told_once_a_connection() {
    in_time(slip_is_told()).await;
}

/// Subscribes, and drops the stream: with no time for claiming, the messages that come are not claimed.
async fn leave_unclaimed(client: &Client) {
    let subscribe = client.subscribe("forgotten").qos(QoS::AtLeastOnce);
    subscribe.await.unwrap().detach();
    let publish = client.publish("forgotten", "x").qos(QoS::AtLeastOnce);
    publish.await.unwrap();
}

async fn messages_that_nobody_claims_are_told() {
    let mut denying = BrokerOptions::default();
    let filter = TopicFilter::new("denied").unwrap();
    let denied = denying.deny_subscribe(filter, ReasonCode::NotAuthorized);
    denied.unwrap();
    let broker = TestBroker::with_options(denying);
    let (noted, _noting) = note();
    let options = in_memory(&broker)
        .client_identifier("worker")
        .clean_start(CleanStart::Never)
        .claim_within(Duration::ZERO)
        .subscription(DeclaredSubscription::new("denied"));
    let connection = Connection::open(options).await.unwrap();
    let client = connection.client();
    let mut events = client.events();
    let mut unclaimed = 0;
    while unclaimed < 2 {
        leave_unclaimed(&client).await;
        let next = loop {
            let event = events.next().await.expect("an event");
            if let ConnectionEvent::Unclaimed { messages } = event {
                break messages;
            }
        };
        unclaimed += next;
    }
    client.declared("denied").await.unwrap_err();
    connection.disconnect().await.unwrap();
    let mut reported = noted.0.lock().unwrap().clone();
    reported.sort();
    let [unclaimed, refused] = &reported[..] else {
        panic!("{reported:?}");
    };
    for part in ["no stream has claimed", "messages=1", "client's `messages`"] {
        assert!(unclaimed.contains(part), "{part:?} in {unclaimed}");
    }
    for part in ["denied", "declared before the connection", "Not authorized"] {
        assert!(refused.contains(part), "{part:?} in {refused}");
    }
    broker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn unclaimed_messages_and_refused_declarations_are_told_once() {
    in_time(messages_that_nobody_claims_are_told()).await;
}

/// A server that answers a message by ending the connection.
async fn a_message_that_is_refused_is_told() {
    let (listener, port) = listen().await;
    let (noted, _noting) = note();
    let options = Options::new("127.0.0.1", port).reconnect(Reconnect {
        initial_delay: Duration::from_millis(4),
        ..Reconnect::default()
    });
    let connection = Connection::start(options).await.unwrap();
    let client = connection.client();
    let publish = client.publish("bad/topic", "x").qos(QoS::AtLeastOnce);
    let serve = async {
        for session_present in [false, true, true] {
            let (stream, _) = listener.accept().await.unwrap();
            let (mut server, _) = Server::accept(stream, session_present).await;
            server.publish().await;
            let disconnect = Disconnect::because(ReasonCode::PacketTooLarge);
            server.send(&Packet::Disconnect(Box::new(disconnect))).await;
        }
    };
    let (published, ()) = tokio::join!(publish.into_future(), serve);
    published.unwrap_err();
    let reported = noted.0.lock().unwrap().clone();
    let about_it: Vec<_> = (reported.iter())
        .filter(|text| text.contains("bad/topic"))
        .collect();
    assert_eq!(about_it.len(), 2, "{reported:?}");
    assert!(about_it[0].contains("one at a time"), "{reported:?}");
    assert!(about_it[1].contains("given up"), "{reported:?}");
}

#[tokio::test]
async fn a_message_that_the_server_refuses_by_ending_connections_is_told() {
    in_time(a_message_that_is_refused_is_told()).await;
}

/// The server says that another client has the same Client Identifier.
async fn a_contest_is_told() {
    let (listener, port) = listen().await;
    let (noted, _noting) = note();
    let options = Options::new("127.0.0.1", port).client_identifier("station-7");
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut server, _) = Server::accept(stream, false).await;
        let reason = ReasonCode::SessionTakenOver;
        let disconnect = Packet::Disconnect(Box::new(Disconnect::because(reason)));
        server.send(&disconnect).await;
        server
    };
    let (connection, server) = tokio::join!(Connection::open(options), server);
    connection.unwrap().client().closed().await;
    drop(server);
    let reported = noted.0.lock().unwrap().clone();
    let found = reported
        .iter()
        .find(|line| line.contains("Client Identifier \"station-7\""));
    let line = found.unwrap_or_else(|| panic!("{reported:?}"));
    for part in ["Session taken over", "give each client its own"] {
        assert!(line.contains(part), "{line}");
    }
}

#[tokio::test]
async fn another_client_with_the_same_identifier_is_told() {
    in_time(a_contest_is_told()).await;
}

/// How a connection ends whose messages nobody waits for.
#[derive(Clone, Copy, Debug)]
enum UnawaitedEnd {
    Disconnected,
    Dropped,
    /// A call of `drain` that was given up.
    DrainDropped,
    /// The server ends it for good.
    EndedByServer,
    /// Everything is reported by what `drain` returns.
    Drained,
}

/// Five messages whose receipts are dropped, of which two are sent. Returns the lines about them.
async fn unawaited_messages_are_told(end: UnawaitedEnd) -> Vec<String> {
    let (noted, _noting) = note();
    let (connection, mut server) = piped(Options::new("in memory", 1883).max_in_flight(2)).await;
    let client = connection.client();
    for _ in 0..5 {
        let publish = client.publish("t", "x").qos(QoS::AtLeastOnce);
        drop(publish.enqueue().await.unwrap());
    }
    for _ in 0..2 {
        server.publish().await;
    }
    match end {
        UnawaitedEnd::Disconnected => {
            let (left, ()) = tokio::join!(connection.disconnect(), async {
                server.disconnected().await;
                drop(server);
            });
            left.unwrap();
        }
        UnawaitedEnd::Dropped => drop(connection),
        UnawaitedEnd::DrainDropped => {
            let draining = connection.drain(Duration::from_secs(60));
            let draining = tokio::time::timeout(Duration::from_secs(1), draining);
            draining.await.unwrap_err();
        }
        UnawaitedEnd::EndedByServer => {
            let taken = Disconnect::because(ReasonCode::SessionTakenOver);
            server.send(&Packet::Disconnect(Box::new(taken))).await;
        }
        UnawaitedEnd::Drained => {
            let drained = connection.drain(Duration::from_secs(1)).await;
            assert_eq!((drained.not_sent, drained.unknown), (3, 2));
        }
    }
    client.closed().await;
    tokio::time::sleep(Duration::from_secs(1)).await; // virtual: the driver has written its lines
    let reported = noted.0.lock().unwrap().clone();
    (reported.into_iter())
        .filter(|line| line.contains("nobody waited for"))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn messages_whose_receipts_were_dropped_are_counted_when_the_connection_ends() {
    for end in [
        UnawaitedEnd::Disconnected,
        UnawaitedEnd::Dropped,
        UnawaitedEnd::DrainDropped,
        UnawaitedEnd::EndedByServer,
        UnawaitedEnd::Drained,
    ] {
        let reported = in_time(unawaited_messages_are_told(end)).await;
        if matches!(end, UnawaitedEnd::Drained) {
            assert!(reported.is_empty(), "{reported:?}");
            continue;
        }
        let [line] = &reported[..] else {
            panic!("{end:?}: {reported:?}");
        };
        for part in ["not_sent=3 ", "unknown=2 ", "drain the connection"] {
            assert!(line.contains(part), "{end:?}: {part:?} in {line}");
        }
    }
}

/// A message whose receipt is dropped, and that the server answers `reply`. Returns the lines.
async fn a_refusal_is_told(qos: QoS, reply: fn(Ack) -> Packet) -> Vec<String> {
    let (noted, _noting) = note();
    let (connection, mut server) = piped(Options::new("in memory", 1883)).await;
    let client = connection.client();
    let refused = client.publish("refused/topic", "s3cret").qos(qos);
    drop(refused.enqueue().await.unwrap());
    let id = server.publish().await.packet_id.unwrap();
    let refusal = reply(Ack::new(id, ReasonCode::QuotaExceeded));
    server.send(&refusal).await;
    let heard = client.publish("heard", "x").qos(QoS::AtLeastOnce);
    let (heard, ()) = tokio::join!(heard.into_future(), async {
        let id = server.publish().await.packet_id.unwrap();
        let refusal = Packet::PubAck(Ack::new(id, ReasonCode::QuotaExceeded));
        server.send(&refusal).await;
    });
    heard.unwrap_err(); // its caller learns of it
    noted.0.lock().unwrap().clone()
}

/// MQTT-4.4.0-2: nobody waits for the outcome, and it must not be lost.
#[tokio::test(start_paused = true)]
async fn a_refused_message_whose_receipt_was_dropped_is_told() {
    for (qos, reply) in [
        (QoS::AtLeastOnce, Packet::PubAck as fn(Ack) -> Packet),
        (QoS::ExactlyOnce, Packet::PubRec),
    ] {
        let reported = in_time(a_refusal_is_told(qos, reply)).await;
        let [line] = &reported[..] else {
            panic!("{reported:?}");
        };
        for part in ["refused/topic", "Quota exceeded (0x97)", "times=1 "] {
            assert!(line.contains(part), "{part:?} in {line}");
        }
        assert!(!line.contains("s3cret"), "{line}");
    }
}

/// What a stream loses is reported once, with its filter, however much it is.
async fn losses_are_told(overflow: Overflow) -> Vec<String> {
    let broker = TestBroker::new();
    let (noted, _noting) = note();
    let connection = Connection::open(in_memory(&broker)).await.unwrap();
    let client = connection.client();
    let bounds = QueueOptions {
        limit: Some(2),
        overflow,
        ..QueueOptions::default()
    };
    let mut messages = client.subscribe("readings").queue(bounds).await.unwrap();
    for _ in 0..10 {
        client.publish("readings", "x").await.unwrap();
    }
    // Its answer comes behind them, and nothing is held back before an answer.
    let _other = client.subscribe("other").await.unwrap();
    assert!(messages.take_lost() >= 6);
    connection.disconnect().await.unwrap();
    broker.stop().await;
    noted.0.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn the_first_loss_of_a_stream_is_told_and_at_the_end_how_many_there_were() {
    for overflow in [Overflow::DropOldest, Overflow::Wait] {
        let reported = in_time(losses_are_told(overflow)).await;
        let [first, all] = &reported[..] else {
            panic!("{reported:?}");
        };
        for part in ["readings", "lost"] {
            assert!(first.contains(part), "{reported:?}");
        }
        for part in ["messages=", "lost in all"] {
            assert!(all.contains(part), "{reported:?}");
        }
    }
}

/// Ten messages that the application takes and does not acknowledge, which is all that some servers send.
async fn unacknowledged_messages_are_told() -> Vec<String> {
    let broker = TestBroker::new();
    let (noted, _noting) = note();
    let connection = Connection::open(in_memory(&broker)).await.unwrap();
    let client = connection.client();
    let by_application = QueueOptions {
        acknowledge: Acknowledge::ByApplication,
        ..QueueOptions::default()
    };
    let subscribe = client.subscribe("jobs").qos(QoS::AtLeastOnce);
    let mut jobs = subscribe.queue(by_application).await.unwrap();
    for _ in 0..10 {
        let publish = client.publish("jobs", "x").qos(QoS::AtLeastOnce);
        publish.await.unwrap();
    }
    for _ in 0..10 {
        jobs.next().await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    connection.disconnect().await.unwrap();
    broker.stop().await;
    noted.0.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_server_that_may_be_waiting_for_acknowledgements_is_told_of() {
    let reported = in_time(unacknowledged_messages_are_told()).await;
    assert_eq!(reported.len(), 1, "{reported:?}");
    for part in ["messages=10", "acknowledged", "waiting"] {
        assert!(reported[0].contains(part), "{reported:?}");
    }
}

/// A stream whose reader asks for its losses again and again, so that each of them is reported.
async fn losses_are_counted() -> (u64, Vec<String>) {
    let broker = TestBroker::new();
    let (noted, _noting) = note();
    let connection = Connection::open(in_memory(&broker)).await.unwrap();
    let client = connection.client();
    let bounds = QueueOptions {
        limit: Some(1),
        overflow: Overflow::DropOldest,
        ..QueueOptions::default()
    };
    let mut messages = client.subscribe("readings").queue(bounds).await.unwrap();
    let mut lost = 0;
    while lost < 500 {
        client.publish("readings", "x").await.unwrap();
        // Its answer comes behind the message.
        client
            .publish("other", "x")
            .qos(QoS::AtLeastOnce)
            .await
            .unwrap();
        lost += messages.take_lost();
    }
    connection.disconnect().await.unwrap();
    broker.stop().await;
    (lost, noted.0.lock().unwrap().clone())
}

#[tokio::test(start_paused = true)]
async fn losses_that_repeat_are_counted_and_not_written() {
    let (lost, reported) = in_time(losses_are_counted()).await;
    assert!(
        reported.len() <= 11,
        "one for each doubling, and two of the rest: {reported:?}"
    );
    for (line, times) in reported.iter().zip([1, 2, 4, 8]) {
        assert!(line.contains("messages are lost"), "{line}");
        assert!(line.contains(&format!("times={times} ")), "{line}");
    }
    let rest = reported.iter().rev().find(|line| line.contains("left out"));
    let rest = rest.unwrap();
    for part in ["readings", &format!("times={lost} ")] {
        assert!(rest.contains(part), "{part:?} in {rest}");
    }
}

/// A client that cannot connect tries again and again.
async fn attempts_are_counted() -> (usize, Vec<String>) {
    let (listener, port) = listen().await;
    drop(listener); // nobody listens there
    let (noted, _noting) = note();
    let options = Options::new("127.0.0.1", port).reconnect(Reconnect {
        initial_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(1),
        initial: true,
        ..Reconnect::default()
    });
    let connection = Connection::start(options).await.unwrap();
    let mut events = connection.client().events();
    let mut attempts = 0;
    while attempts < 50 {
        let event = events.next().await.unwrap();
        attempts += usize::from(matches!(event, ConnectionEvent::Disconnected { .. }));
    }
    drop(connection);
    (attempts, noted.0.lock().unwrap().clone())
}

#[tokio::test]
async fn attempts_that_fail_for_the_same_reason_are_counted_and_not_written() {
    let (attempts, reported) = in_time(attempts_are_counted()).await;
    assert!(reported.len() <= 8, "{attempts} attempts: {reported:?}");
}
