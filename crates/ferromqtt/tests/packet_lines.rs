//! What is told to `tracing` of a connection: its span, and at DEBUG a line for each packet. A program of its own: `tracing`
//! remembers for all threads who listened first.
#![cfg(feature = "tracing")]

#[path = "scenarios/server.rs"]
mod server;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferromqtt::{Client, Connection, ConnectionEvent, Error, Options, QoS, Reconnect};
use ferromqtt_proto::ReasonCode;
use tokio::net::{TcpListener, TcpStream};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use server::Server;

/// Notes the lines up to a level, each with the span that it stands in.
#[derive(Clone)]
struct Lines {
    level: Level,
    noted: Arc<Mutex<Noted>>,
}

#[derive(Default)]
struct Noted {
    lines: Vec<(Level, String, String)>,
    spans: HashMap<u64, String>,
    entered: Vec<u64>,
}

impl Lines {
    fn up_to(level: Level) -> Self {
        let noted = Arc::default();
        Self { level, noted }
    }

    /// The lines of one level: span and text.
    fn of(&self, level: Level) -> Vec<(String, String)> {
        (self.noted.lock().unwrap().lines.iter())
            .filter(|(of, ..)| *of == level)
            .map(|(_, span, line)| (span.clone(), line.clone()))
            .collect()
    }

    fn all(&self) -> String {
        format!("{:?}", self.noted.lock().unwrap().lines)
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "ferromqtt" && *metadata.level() <= self.level
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let mut noted = self.noted.lock().unwrap();
        let span = noted.entered.last().and_then(|id| noted.spans.get(id));
        let span = span.cloned().unwrap_or_default();
        noted.lines.push((*event.metadata().level(), span, text.0));
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = Text::default();
        span.record(&mut text);
        let mut noted = self.noted.lock().unwrap();
        let id = noted.spans.len() as u64 + 1;
        let name = span.metadata().name();
        noted.spans.insert(id, format!("{name} {}", text.0));
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut text = Text::default();
        values.record(&mut text);
        let mut noted = self.noted.lock().unwrap();
        *noted.spans.get_mut(&span.into_u64()).unwrap() += &text.0;
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn enter(&self, span: &Id) {
        self.noted.lock().unwrap().entered.push(span.into_u64());
    }

    fn exit(&self, span: &Id) {
        let left = self.noted.lock().unwrap().entered.pop();
        assert_eq!(left, Some(span.into_u64()));
    }
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

async fn in_time<T>(step: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, step)
        .await
        .expect("done in time")
}

async fn listen() -> (TcpListener, Options) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, Options::new("127.0.0.1", port))
}

async fn accept(listener: &TcpListener) -> Server<TcpStream> {
    let (stream, _) = listener.accept().await.unwrap();
    Server::accept(stream, false).await.0
}

/// A short life: one publish at QoS 1, and the end.
async fn publish_once(options: Options, listener: TcpListener) -> Result<(), Error> {
    let scope = ferromqtt::scope(options, async |client: Client| {
        client
            .publish("a/b", "s3cret payload")
            .qos(QoS::AtLeastOnce)
            .await?;
        Ok(())
    });
    let serve = async {
        let mut server = accept(&listener).await;
        let publish = server.publish().await;
        server.puback(publish.packet_id, ReasonCode::Success).await;
        server.disconnected().await;
    };
    in_time(async { tokio::join!(scope, serve).0 }).await
}

#[tokio::test]
async fn at_debug_each_packet_has_a_line_and_none_shows_a_secret() {
    let lines = Lines::up_to(Level::DEBUG);
    let _noting = tracing::subscriber::set_default(lines.clone());
    let (listener, options) = listen().await;
    let port = options_port(&listener);
    let options = options
        .client_identifier("station-7")
        .user_name("s3cret user")
        .password("s3cret password");
    publish_once(options, listener).await.unwrap();
    let debug = lines.of(Level::DEBUG);
    let beginnings = [
        "connecting",
        "sent CONNECT (",
        "received CONNACK (5 bytes, 0x00 Success)",
        "sent PUBLISH (24 bytes, id 1, QoS 1, topic \"a/b\", payload 14 bytes)",
        "received PUBACK (4 bytes, id 1, 0x00 Success)",
        "sent DISCONNECT (",
    ];
    assert_eq!(debug.len(), beginnings.len(), "{debug:?}");
    for ((span, line), beginning) in debug.iter().zip(beginnings) {
        assert!(line.starts_with(&format!("message={beginning}")), "{line}");
        for part in [
            "connection ",
            "client_identifier=\"station-7\"",
            &format!("server=\"127.0.0.1:{port}\""),
            "attempt=1",
        ] {
            assert!(span.contains(part), "{part} in {span:?}");
        }
    }
    let published = &debug[3].1;
    for part in ["packet=\"PUBLISH\"", "bytes=24", "packet_id=1"] {
        assert!(published.contains(part), "{published}");
    }
    assert!(!lines.all().contains("s3cret"), "{}", lines.all());
}

fn options_port(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn above_debug_packets_have_no_lines() {
    let lines = Lines::up_to(Level::INFO);
    let _noting = tracing::subscriber::set_default(lines.clone());
    let (listener, options) = listen().await;
    publish_once(options.client_identifier("station-7"), listener)
        .await
        .unwrap();
    let reported = lines.of(Level::INFO);
    let [(first, connected), (second, disconnected)] = &reported[..] else {
        panic!("{reported:?}");
    };
    assert!(connected.contains("message=connected"), "{connected}");
    assert!(
        disconnected.contains("message=disconnected"),
        "{disconnected}"
    );
    assert!(
        first.contains("station-7") && first == second,
        "{reported:?}"
    );
    assert_eq!(lines.noted.lock().unwrap().lines.len(), 2);
}

/// What goes wrong is told with the connection that it is about, also where nothing else is written.
#[tokio::test]
async fn each_attempt_has_a_number_of_its_own() {
    let lines = Lines::up_to(Level::WARN);
    let _noting = tracing::subscriber::set_default(lines.clone());
    let (listener, options) = listen().await;
    let options = options.client_identifier("station-7").reconnect(Reconnect {
        initial_delay: Duration::from_millis(1),
        ..Reconnect::default()
    });
    let (connection, server) =
        in_time(async { tokio::join!(Connection::open(options), accept(&listener)) }).await;
    let connection = connection.unwrap();
    let mut events = connection.client().events();
    drop(server);
    let server = in_time(accept(&listener)).await;
    drop(server);
    let mut ends = 0;
    while ends < 2 {
        let event = in_time(events.next()).await;
        ends += usize::from(matches!(event, Some(ConnectionEvent::Disconnected { .. })));
    }
    let reported = lines.of(Level::WARN);
    for ((span, line), attempt) in reported.iter().zip(1..=2) {
        assert!(
            line.contains("message=connection lost: the server closed the connection"),
            "{line}"
        );
        assert!(span.contains(&format!("attempt={attempt} ")), "{span:?}");
    }
    assert_eq!(reported.len(), 2, "{reported:?}");
}

/// MQTT-3.2.2-16: the server chooses the Client Identifier.
#[tokio::test]
async fn an_assigned_client_identifier_joins_the_span() {
    use ferromqtt_proto::packet::{ConnAck, Packet};
    let lines = Lines::up_to(Level::INFO);
    let _noting = tracing::subscriber::set_default(lines.clone());
    let (listener, options) = listen().await;
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut server = Server::new(stream);
        server.connect().await;
        let mut connack = ConnAck {
            session_present: false,
            reason: ReasonCode::Success,
            properties: ferromqtt::Properties::default(),
        };
        let assigned = ferromqtt::Utf8String::from_static("given").unwrap();
        connack.properties.assigned_client_identifier = Some(assigned);
        server.send(&Packet::ConnAck(Box::new(connack))).await;
        server
    };
    let (connection, _server) =
        in_time(async { tokio::join!(Connection::open(options), serve) }).await;
    let reported = lines.of(Level::INFO);
    assert!(
        reported[0].0.contains("client_identifier=\"given\""),
        "{reported:?}"
    );
    drop(connection);
}
