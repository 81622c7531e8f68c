//! Nothing that the client has, reports or writes to `tracing` shows a payload, or what authenticates, also when the peer
//! sends it back. A program of its own: `tracing` remembers for all threads who listened first.
#![cfg(all(
    feature = "tls",
    feature = "tracing",
    feature = "proxy",
    feature = "websocket"
))]

#[path = "../../ferromqtt-proto/tests/scenarios/support/markers.rs"]
mod markers;
#[path = "error_texts/memory_store.rs"]
mod memory_store;
#[path = "scenarios/server.rs"]
mod server;

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferromqtt::{
    Acknowledge, Authenticator, AuthenticatorError, Bytes, ConnectAttempt, ConnectError,
    Connection, ConnectionError, ConnectionEvent, Credentials, CredentialsError,
    DeclaredSubscription, Decode, Error, Events, ExactlyOnce, Message, OnFailure, Options,
    PayloadError, Properties, ProtocolVersion, Proxy, PublishError, QoS, QueueOptions, ReasonCode,
    Route, Router, Server as Place, TlsOptions, TypedMessage, Utf8String, Will,
};
use ferromqtt_proto::packet::{Ack, Auth, ConnAck, Disconnect, Packet};
use ferromqtt_testing::{BrokerOptions, TestBroker, User};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use markers::*;
use memory_store::{Changing, Failure, Memory};
use server::Server;

/// The marker as it stands in a URL.
const ENCODED: &str = "s3cr3t%2FKumquat%3F7%26x";

/// Notes all that is written to `tracing`, by whomever.
#[derive(Clone, Default)]
struct Noted(Arc<Mutex<Vec<String>>>);

impl Noted {
    /// Fails when any of it shows the marker; tells how much it was.
    fn look(&self) -> usize {
        let texts = self.0.lock().unwrap();
        texts.iter().for_each(|text| search("tracing", text));
        texts.len()
    }
}

impl Subscriber for Noted {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = Text::default();
        span.record(&mut text);
        self.0.lock().unwrap().push(text.0);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut text = Text::default();
        values.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

/// Plays what `program` does, with a limit of time; then looks at all that was written.
fn play(program: impl Future<Output = ()>) {
    let noted = Noted::default();
    let _noting = tracing::subscriber::set_default(noted.clone());
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let limit = Duration::from_secs(60);
            tokio::time::timeout(limit, program)
                .await
                .expect("the test ends in time");
        });
    assert!(noted.look() > 0, "something is written");
}

fn of_message() -> Properties {
    Properties {
        correlation_data: Some(MARKER.into()),
        user_properties: vec![(
            Utf8String::try_from("name").unwrap(),
            Utf8String::try_from(MARKER).unwrap(),
        )]
        .into_iter()
        .collect(),
        ..Properties::default()
    }
}

fn echo() -> Properties {
    Properties {
        reason_string: Utf8String::try_from(format!("no, not {MARKER}")).ok(),
        ..Properties::default()
    }
}

fn login(host: impl ToString, port: u16) -> Options {
    Options::new(host, port)
        .user_name("u")
        .password(MARKER)
        .will(Will::new("gone", MARKER).properties(of_message()))
        .reconnect(None)
        .connect_timeout(Duration::from_secs(5))
}

/// Fails to connect, and looks at all on the way.
async fn fail(options: Options) -> ConnectError {
    look(&options);
    let error = Connection::open(options).await.unwrap_err();
    look_at_error(&error);
    look_at_error(&Error::from(error.clone()));
    error
}

async fn look_at_events(events: &mut Events) {
    look(events);
    while let Some(event) = events.next().await {
        look(&event);
        if matches!(event, ConnectionEvent::Disconnected { .. }) {
            return;
        }
    }
}

async fn a_whole_life() {
    let mut options = BrokerOptions::default();
    options.users = vec![User::new("u", MARKER)];
    look(&options);
    let broker = TestBroker::bind(([127, 0, 0, 1], 0).into(), options).await;
    let broker = broker.unwrap();
    let options = login(broker.host(), broker.port())
        .subscription(DeclaredSubscription::new("declared/#"))
        .incoming(QueueOptions::UNBOUNDED);
    look(&options);
    let connection = Connection::open(options).await.unwrap();
    look(&connection);
    let client = connection.client();
    look(&client);
    let mut events = client.events();
    let mut messages = client.subscribe("#").qos(QoS::ExactlyOnce).await.unwrap();
    look(&client.subscribe("a").qos(QoS::AtMostOnce));
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let publish = client
            .publish("t", MARKER)
            .qos(qos)
            .properties(of_message());
        let publish = publish.retain(true);
        look(&publish);
        look(&publish.clone().into_future());
        let receipt = publish.enqueue().await.unwrap();
        look(&receipt);
        look(&receipt.await.unwrap());
        look(&broker);
        let message = messages.next().await.unwrap();
        look(&message);
        look(&messages);
    }
    let responder = client.responder("service");
    look(&responder);
    let mut requests = responder.await.unwrap();
    let route = Route::new("routed");
    look(&route);
    let (looked, mut has_looked) = tokio::sync::mpsc::channel(1);
    let router = Router::new().on_with(route, looked, |message, looked| async move {
        look(&message); // a RoutedMessage
        Ok(looked.send(()).await?)
    });
    look(&router);
    let routing = tokio::spawn(router.start(&client).await.unwrap());
    client.publish("routed", MARKER).await.unwrap();
    has_looked.recv().await.unwrap();
    routing.abort();
    let request = client.request("service", MARKER);
    look(&request);
    let answer = async {
        let request = requests.next().await.unwrap();
        look(&request); // a RequestMessage of Requests, which a Responder has subscribed to
        look(&requests);
        let response = request.respond(MARKER);
        look(&response);
        response.await.unwrap();
    };
    let (response, ()) = tokio::join!(request.into_future(), answer);
    look(&response.unwrap());
    look(&client.declared("declared/#").await.unwrap());
    look(&broker);
    look(&client.stats());
    connection.disconnect_with_will().await.unwrap();
    look_at_events(&mut events).await;
    look(&broker); // with what is retained
    look(&client.publish("t", MARKER).await.unwrap_err());
    broker.stop().await;
}

#[test]
fn a_connection_that_goes_well_shows_no_secret() {
    play(a_whole_life());
}

/// What a server does with a connection after it has read some of it.
type Script = fn(Server<TcpStream>) -> futures::Served;

mod futures {
    use std::future::Future;
    use std::pin::Pin;

    pub(crate) type Served = Pin<Box<dyn Future<Output = ()>>>;
}

async fn with_server(script: Script, client: impl AsyncFnOnce(u16)) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        script(Server::new(stream)).await;
    };
    tokio::join!(client(port), serve);
}

fn refuses(mut server: Server<TcpStream>) -> futures::Served {
    Box::pin(async move {
        server.connect().await;
        let refusal = ConnAck {
            session_present: false,
            reason: ReasonCode::BadUserNameOrPassword,
            properties: echo(),
        };
        server.send(&Packet::ConnAck(Box::new(refusal))).await;
    })
}

fn closes(mut server: Server<TcpStream>) -> futures::Served {
    Box::pin(async move { drop(server.connect().await) })
}

fn sends_it_back(server: Server<TcpStream>) -> futures::Served {
    Box::pin(async move {
        let mut stream = server.stream;
        let mut input = [0; 1000];
        let read = stream.read(&mut input).await.unwrap();
        stream.write_all(&input[..read]).await.unwrap();
        while matches!(stream.read(&mut input).await, Ok(read) if read > 0) {}
    })
}

#[test]
fn a_connection_that_fails_shows_no_secret() {
    for script in [refuses as Script, closes, sends_it_back] {
        play(with_server(script, async |port| {
            fail(login("127.0.0.1", port)).await;
        }));
    }
    play(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let silent = login("127.0.0.1", port).connect_timeout(Duration::from_millis(100));
        fail(silent).await;
        drop(listener);
        fail(login("127.0.0.1", port)).await;
    });
}

fn accepts_and_refuses_the_message(server: Server<TcpStream>) -> futures::Served {
    Box::pin(async move {
        let (mut server, _) = Server::accept(server.stream, false).await;
        let publish = server.publish().await;
        let ack = Ack {
            packet_id: publish.packet_id.unwrap(),
            reason: ReasonCode::NotAuthorized,
            properties: Some(Box::new(echo())),
        };
        server.send(&Packet::PubAck(ack)).await;
        let farewell = Disconnect {
            reason: ReasonCode::NotAuthorized,
            properties: echo(),
        };
        server.send(&Packet::Disconnect(Box::new(farewell))).await;
    })
}

#[test]
fn a_connection_that_the_server_ends_shows_no_secret() {
    play(with_server(accepts_and_refuses_the_message, async |port| {
        let connection = Connection::open(login("127.0.0.1", port)).await.unwrap();
        let client = connection.client();
        let mut events = client.events();
        let publish = client.publish("t", MARKER).qos(QoS::AtLeastOnce);
        let error = publish.await.unwrap_err();
        look_at_error(&error);
        assert!(matches!(error, PublishError::Rejected { .. }), "{error:?}");
        look_at_events(&mut events).await;
        look_at_error(&client.closed().await);
        look_at_error(&client.publish("t", MARKER).await.unwrap_err());
        look_at_error(&connection.disconnect().await.unwrap_err());
    }));
}

/// Says its secret, and is not content with what the server says.
struct Distrustful;

impl Authenticator for Distrustful {
    fn begin(&mut self) -> Result<Option<Bytes>, AuthenticatorError> {
        Ok(Some(MARKER.into()))
    }

    fn answer(&mut self, _: Option<Bytes>) -> Result<Option<Bytes>, AuthenticatorError> {
        Ok(Some(MARKER.into()))
    }
}

fn asks_and_refuses(mut server: Server<TcpStream>) -> futures::Served {
    Box::pin(async move {
        let connect = server.connect().await;
        look(&connect);
        let properties = Properties {
            authentication_method: connect.properties.authentication_method,
            authentication_data: Some(MARKER.into()),
            ..echo()
        };
        let ask = Auth {
            reason: ReasonCode::ContinueAuthentication,
            properties,
        };
        server.send(&Packet::Auth(Box::new(ask))).await;
        let answer = server.next().await.unwrap();
        look(&answer);
        let refusal = ConnAck {
            session_present: false,
            reason: ReasonCode::NotAuthorized,
            properties: echo(),
        };
        server.send(&Packet::ConnAck(Box::new(refusal))).await;
    })
}

#[test]
fn authentication_data_are_not_shown() {
    play(with_server(asks_and_refuses, async |port| {
        let options = Options::new("127.0.0.1", port)
            .reconnect(None)
            .authenticator("PLAIN", || Distrustful);
        let error = fail(options).await;
        let ConnectError::Connection {
            cause: ConnectionError::Refused { properties, .. },
            ..
        } = error
        else {
            panic!("{error:?}");
        };
        let text = properties.reason_string.as_ref().unwrap();
        assert!(text.contains("left out"), "{text}");
    }));
}

#[test]
fn fresh_credentials_are_not_shown() {
    play(with_server(refuses, async |port| {
        let options = Options::new("127.0.0.1", port).reconnect(None).credentials(
            async |attempt: ConnectAttempt| {
                look(&attempt);
                let credentials = Credentials::new()
                    .user_name("u")
                    .password(MARKER)
                    .websocket_header("Authorization", MARKER)
                    .websocket_path(format!("/mqtt?token={ENCODED}"));
                look(&credentials);
                Ok::<_, CredentialsError>(credentials)
            },
        );
        fail(options.connect_timeout(Duration::from_secs(1))).await;
    }));
}

/// A peer that answers a request with words that repeat it.
fn repeats_the_request(server: Server<TcpStream>) -> futures::Served {
    Box::pin(async move {
        let mut stream = server.stream;
        let mut input = [0; 4000];
        let read = stream.read(&mut input).await.unwrap();
        let words: Vec<u8> = (input[..read].iter())
            .map(|&byte| if byte < 32 { b' ' } else { byte })
            .collect();
        let answer = [&b"HTTP/1.1 403 "[..], &words, b"\r\n\r\n"].concat();
        stream.write_all(&answer).await.unwrap();
    })
}

/// A peer that shows what it has read of it.
fn shows_the_token(server: Server<TcpStream>) -> futures::Served {
    Box::pin(async move {
        let mut stream = server.stream;
        stream.read_u8().await.unwrap();
        let answer = format!("HTTP/1.1 307 no {ENCODED}\r\nLocation: ws://b/?{MARKER}\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = stream.shutdown().await;
    })
}

#[test]
fn neither_a_proxy_nor_a_websocket_server_has_its_request_shown() {
    for script in [
        repeats_the_request as Script,
        shows_the_token,
        sends_it_back,
    ] {
        play(with_server(script, async |port| {
            let url = format!("ws://127.0.0.1:{port}/mqtt?token={ENCODED}");
            let server = Place::from_url(&url).unwrap();
            look_at_error(&server);
            let options = login("", 1)
                .servers([server])
                .websocket_header("Authorization", format!("Bearer {MARKER}"));
            fail(options).await;
        }));
        for scheme in ["http", "socks5h", "socks4a"] {
            play(with_server(script, async |port| {
                let url = format!("{scheme}://u:{ENCODED}@127.0.0.1:{port}");
                let proxy = Proxy::from_url(&url).unwrap();
                look_at_error(&proxy);
                fail(login("broker.example", 1883).proxy(proxy)).await;
            }));
        }
    }
}

#[tokio::test]
async fn options_that_are_refused_are_not_repeated() {
    let long = MARKER.repeat(10_000);
    let wrong = [
        login("a", 1).password(long.clone()),
        login("a", 1).will(Will::new("t", long.clone())),
        login("a", 1).will(Will::new("#", MARKER)),
        login("a", 1)
            .protocol(ProtocolVersion::V311)
            .properties(of_message()),
        login("a", 1).websocket_header(format!("Authorization: {MARKER}"), ""),
        Options::from_url("ws://a")
            .unwrap()
            .websocket_header(format!("Key: {MARKER}"), ""),
        Options::from_url("ws://a")
            .unwrap()
            .websocket_header("Key", format!("{MARKER}\n")),
        login("a", 1).tls(TlsOptions::new().ca_pem(MARKER)),
        login("a", 1).tls(TlsOptions::new().client_certificate_pem(MARKER, MARKER)),
    ];
    for options in wrong {
        look(&options);
        match Connection::open(options.connect_timeout(Duration::from_millis(50))).await {
            Err(ConnectError::Options(error)) => look_at_error(&error),
            Err(error) => look_at_error(&error),
            Ok(connection) => look(&connection),
        }
    }
    for url in [
        format!("mqtt://u:{MARKER}@a"),
        format!("mqtt://u:{ENCODED}@a:x"),
        format!("wss://a/{MARKER} x"),
    ] {
        if let Err(error) = Options::from_url(&url) {
            look_at_error(&error);
        }
        if let Err(error) = Proxy::from_url(&url) {
            look_at_error(&error);
        }
    }
}

/// A codec whose errors show the payload, as those of `serde_json` may.
struct Shows;

impl Decode<()> for Shows {
    type Error = String;

    fn decode(&self, payload: &Bytes) -> Result<(), String> {
        Err(format!("{payload:?}"))
    }
}

/// A `DeadLetter` has the message, and its key.
#[test]
fn a_dead_letter_shows_neither_its_message_nor_its_key() {
    play(async {
        let mut store = Memory::default();
        let broker = TestBroker::new();
        let options = Options::test(&broker);
        let program = ferromqtt::scope(options, async |client| {
            let queue = QueueOptions {
                acknowledge: Acknowledge::ByApplication,
                ..QueueOptions::UNBOUNDED
            };
            let orders = client.subscribe("t").qos(QoS::AtLeastOnce);
            let mut orders = orders.queue(queue).await?;
            let publish = client.publish("t", MARKER).properties(of_message());
            publish.qos(QoS::AtLeastOnce).await?;
            let key = |_: &Message| Ok(MARKER.to_owned());
            let handle = async |_: &Message, _: &mut Changing<'_>| Err(Failure);
            let mut once = ExactlyOnce::new("t").on_failure(OnFailure::DeadLetter);
            let handled = once.handle_next(&mut orders, &mut store, key, handle).await;
            assert_eq!(handled.unwrap(), Some(1));
            Ok(())
        });
        program.await.unwrap();
        assert_eq!(store.letters.len(), 1);
        search("DeadLetter", &store.letters[0]);
    });
}

#[test]
fn a_payload_that_a_codec_refuses_is_not_shown() {
    let message = Message::new("t".try_into().unwrap(), MARKER);
    let refused = TypedMessage::decode(message, &Shows);
    look(&refused);
    let error: PayloadError = refused.value.unwrap_err();
    look(&error);
    search("the text of a PayloadError", &error.to_string());
    look(&Error::from(error));
}

/// Public types that can hold neither a payload nor what authenticates.
const WITHOUT_SECRETS: &str = "
    ReAuthenticateError Drained TlsError AddressError SubscribeError AuthError InvalidOptions InvalidPublish InvalidSubscribe TopicAlias
    Acknowledge AcknowledgeError CleanStart DecodeError Delivery DeliveryId FilterRefusal OnSessionLost OutgoingLimits OutgoingPolicy
    Overflow PacketId Reconnect RetainHandling Slip Stats AckLatency StringError SubscriptionOptions TopicError TopicFilter TopicName
    TransportError OptionsError Client UrlError WebSocketError FilterResult RequestError UserProperties SubscriptionIdentifiers HostError
    PropertyError PropertyProblem Contest InvalidTopic TemplateError TemplateProblem TopicParams TopicTemplate SubscriptionFilter Json
    Awaited Unacknowledged ServerLimits ConnectResult RouterError ExactlyOnce OnceError OnFailure InvalidExactlyOnce
    KeepAliveBounds PortProtocol ProfileConflict ProfileEvidence ProfileFigure ProfilePorts ProfileRow ProfileSource
    ServerProfile TopicLimit UncountedLevels UnknownProfile
    Outbox OutboxStats QuarantineReason StoreCounters StoreError StoreSync
";

/// Traits, and what stands in the tests above under another name: what calls return.
const OTHERS: &str = "
    CredentialsProvider Stream IntoPayload Transport Message Messages Publish PublishFuture Published Receipt Request Subscribe Encode Decode TypedMessages
    Server HandlerError OnceStore
";

#[test]
fn every_public_type_is_known() {
    let test = format!("{}{WITHOUT_SECRETS}{OTHERS}", include_str!("secrets.rs"));
    knows_all_exports(include_str!("../src/lib.rs"), &test);
}
