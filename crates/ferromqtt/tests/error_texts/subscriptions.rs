//! Subscribing, requests, acknowledgements and authentication.

use std::future::IntoFuture;
use std::num::NonZeroU32;
use std::time::Duration;

use ferromqtt::{
    Acknowledge, AcknowledgeError, Authenticator, AuthenticatorError, Bytes, Client, Connection,
    Message, Options, OutgoingLimits, Properties, ProtocolVersion, PublishError, QoS, QueueOptions,
    ReAuthenticateError, ReasonCode, RequestError, ServerProfile, Subscribe, SubscribeError,
    SubscriptionOptions,
};

use crate::clock::{in_virtual_time, play};
use crate::page::{Provoked, compare};
use crate::replies::{
    ACCEPTED, ACCEPTED_311, Pipes, accept, connected, in_memory, in_memory_with, server,
};
use crate::server::Server;

async fn fail(subscribe: Subscribe) -> Provoked {
    kind(&subscribe.await.unwrap_err())
}

fn kind(error: &SubscribeError) -> Provoked {
    let kind = match error {
        SubscribeError::Invalid(_) => "SubscribeError::Invalid",
        SubscribeError::InvalidUnsubscribe(_) => "SubscribeError::InvalidUnsubscribe",
        SubscribeError::Rejected { .. } => "SubscribeError::Rejected",
        SubscribeError::SomeRejected { .. } => "SubscribeError::SomeRejected",
        SubscribeError::Disconnected { .. } => "SubscribeError::Disconnected",
        SubscribeError::NotDeclared(_) => "SubscribeError::NotDeclared",
        other => panic!("a kind that this test does not know: {other:?}"),
    };
    (error.to_string(), kind)
}

fn identifiers(all: &[u32]) -> Properties {
    Properties {
        subscription_identifiers: all.iter().copied().collect(),
        ..Properties::default()
    }
}

/// What is refused before anything is sent.
async fn refused() -> Vec<Provoked> {
    let mut all = Vec::new();
    let connection = connected(ACCEPTED, None).await;
    let client = connection.client();
    for filter in ["", "a#", "$share/a", "a\0", &"a".repeat(65_536)] {
        all.push(fail(client.subscribe(filter)).await);
    }
    all.push(fail(client.subscribe_all([] as [&str; 0])).await);
    all.push(kind(&client.unsubscribe("a#").await.unwrap_err()));
    all.push(fail(client.subscribe("$share/a/b").no_local(true)).await);
    for wrong in [&[1, 2][..], &[0]] {
        all.push(fail(client.subscribe("a").properties(identifiers(wrong))).await);
    }
    let wrong = Properties {
        will_delay_interval: Some(1),
        ..Properties::default()
    };
    all.push(fail(client.subscribe("a").properties(wrong)).await);
    all.push(kind(&client.declared("a").await.unwrap_err()));
    // No wildcards; packets of 100 bytes at most.
    let narrow = connected(b"\x20\x0a\0\0\x07\x28\0\x27\0\0\0\x64", None).await;
    let client = narrow.client();
    all.push(fail(client.subscribe("a/#")).await);
    all.push(fail(client.subscribe("a".repeat(200))).await);
    for (filter, qos) in [
        ("a", QoS::ExactlyOnce),
        (&"a".repeat(257), QoS::AtMostOnce),
        (&"a/".repeat(8), QoS::AtMostOnce),
    ] {
        let aws = |options: Options| options.profile(ServerProfile::AwsIot);
        let (connection, _server, _pipes) = in_memory(aws).await;
        all.push(fail(connection.client().subscribe(filter).qos(qos)).await);
    }
    let nats = server(ACCEPTED_311, None)
        .await
        .profile(ServerProfile::Nats);
    let nats = Connection::open(nats).await.unwrap();
    all.push(fail(nats.client().subscribe("a b")).await);
    let old = server(ACCEPTED_311, None)
        .await
        .protocol(ProtocolVersion::V311);
    let old = Connection::open(old).await.unwrap();
    all.push(fail(old.client().subscribe("a").no_local(true)).await);
    all.push(kind(&old.client().responder("a").await.unwrap_err()));
    all
}

/// What a server brings about.
async fn answered() -> Vec<Provoked> {
    let mut all = Vec::new();
    for answer in [&b"\x90\x04\0\x01\0\x87"[..], b""] {
        let connection = connected(ACCEPTED, Some(answer)).await;
        all.push(fail(connection.client().subscribe("a")).await);
    }
    let connection = connected(ACCEPTED, Some(b"\x90\x05\0\x01\0\0\x87")).await;
    let both = (connection.client().subscribe("a")).and("b", SubscriptionOptions::default());
    all.push(fail(both).await);
    let connection = connected(ACCEPTED, None).await;
    let client = connection.client();
    connection.disconnect().await.unwrap();
    all.push(fail(client.subscribe("a")).await);
    all
}

/// As many messages in flight as there are Packet Identifiers.
async fn without_identifiers() -> Provoked {
    let (connection, server, _pipes) = in_memory(|options| {
        let unbounded = options.outgoing(OutgoingLimits::NONE);
        unbounded.max_in_flight(u16::MAX)
    })
    .await;
    let silent = tokio::spawn(reads_all(server));
    let client = connection.client();
    let mut receipts = Vec::new();
    for _ in 0..u16::MAX {
        let publish = client.publish("a", "x").qos(QoS::AtLeastOnce);
        receipts.push(publish.enqueue().await.unwrap());
    }
    let provoked = fail(client.subscribe("a")).await;
    silent.abort();
    provoked
}

async fn reads_all<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(mut server: Server<S>) {
    while server.next().await.is_some() {}
}

#[test]
fn every_text_of_subscribing_is_provoked_and_reads_as_the_page_says() {
    let mut provoked = play(refused());
    provoked.extend(play(answered()));
    provoked.push(play(without_identifiers()));
    compare("Rust: subscribing", provoked);
}

fn request_kind(error: &RequestError) -> Provoked {
    let kind = match error {
        RequestError::Publish(PublishError::Invalid(_)) => "RequestError::Publish",
        RequestError::NoResponder => "RequestError::NoResponder",
        RequestError::Unanswerable { .. } => "RequestError::Unanswerable",
        RequestError::TimedOut { .. } => "RequestError::TimedOut",
        other => panic!("a kind that this test does not know: {other:?}"),
    };
    (error.to_string(), kind)
}

async fn ask(client: &Client) -> Provoked {
    let request = client.request("a", "x").timeout(Duration::from_secs(5));
    request_kind(&request.await.unwrap_err())
}

/// A server that answers SUBSCRIBE with this, and the request at QoS 1 with that.
async fn responding(subscribed: ReasonCode, published: ReasonCode) -> Provoked {
    let (connection, mut server, _pipes) = in_memory(|options| options).await;
    let client = connection.client();
    let serve = async {
        server.subscribe(subscribed).await;
        if !subscribed.is_error() {
            let publish = server.publish().await;
            server.puback(publish.packet_id, published).await;
        }
        server
    };
    let request = client.request("a", "x").qos(QoS::AtLeastOnce);
    let (asked, _server) = tokio::join!(request.into_future(), serve);
    request_kind(&asked.unwrap_err())
}

async fn requests() -> Vec<Provoked> {
    let mut all = vec![
        responding(ReasonCode::Success, ReasonCode::NoMatchingSubscribers).await,
        responding(ReasonCode::NotAuthorized, ReasonCode::Success).await,
    ];
    let (options, _pipes) = Pipes::new();
    let options = options.connect_timeout(Duration::from_secs(600));
    let waiting = Connection::start(options).await.unwrap();
    all.push(ask(&waiting.client()).await);
    let (connection, mut server, _pipes) = in_memory(|options| options).await;
    let serve = async {
        server.subscribe(ReasonCode::Success).await;
        server.publish().await;
        server
    };
    let client = connection.client();
    let (asked, _server) = tokio::join!(ask(&client), serve);
    all.push(asked);
    all
}

async fn refused_requests() -> Vec<Provoked> {
    let old = server(ACCEPTED_311, None)
        .await
        .protocol(ProtocolVersion::V311);
    let old = Connection::open(old).await.unwrap();
    // Packets of 20 bytes at most: SUBSCRIBE is larger.
    let narrow = connected(b"\x20\x08\0\0\x05\x27\0\0\0\x14", None).await;
    // The same, known only when the request has been accepted.
    let (options, pipes) = Pipes::new();
    let waiting = Connection::start(options).await.unwrap();
    let client = waiting.client();
    let small_packets = Properties {
        maximum_packet_size: NonZeroU32::new(20),
        ..Properties::default()
    };
    let stream = pipes.next();
    let (late, _server) = tokio::join!(ask(&client), accept(stream, false, small_packets));
    vec![ask(&old.client()).await, ask(&narrow.client()).await, late]
}

fn acknowledge_kind(error: AcknowledgeError) -> Provoked {
    let kind = match error {
        AcknowledgeError::NotInThisVersion => "AcknowledgeError::NotInThisVersion",
        AcknowledgeError::Reason(_) => "AcknowledgeError::Reason",
        AcknowledgeError::Property(_) => "AcknowledgeError::Property",
        other => panic!("a kind that this test does not know: {other:?}"),
    };
    (error.to_string(), kind)
}

/// A message at QoS 1 that the application is to acknowledge.
async fn received(connection: &Connection) -> Message {
    let client = connection.client();
    let by_application = QueueOptions {
        acknowledge: Acknowledge::ByApplication,
        ..QueueOptions::default()
    };
    let mut messages = client.subscribe("a").queue(by_application).await.unwrap();
    messages.next().await.unwrap()
}

async fn acknowledgements() -> Vec<Provoked> {
    let mut all = Vec::new();
    let bytes: &[u8] = b"\x90\x04\0\x01\0\x01\x32\x07\0\x01a\0\x01\0x";
    let connection = connected(ACCEPTED, Some(bytes)).await;
    let client = connection.client();
    let delivery = received(&connection).await.delivery.unwrap();
    let none = Properties::default;
    let wrong = client.acknowledge_with(delivery, ReasonCode::ServerBusy, none());
    all.push(acknowledge_kind(wrong.unwrap_err()));
    let wrong = Properties {
        will_delay_interval: Some(1),
        ..none()
    };
    let wrong = client.acknowledge_with(delivery, ReasonCode::NotAuthorized, wrong);
    all.push(acknowledge_kind(wrong.unwrap_err()));
    let bytes: &[u8] = b"\x90\x03\0\x01\x01\x32\x06\0\x01a\0\x01x";
    let old = server(ACCEPTED_311, Some(bytes))
        .await
        .protocol(ProtocolVersion::V311);
    let old = Connection::open(old).await.unwrap();
    let delivery = received(&old).await.delivery.unwrap();
    let wrong = old
        .client()
        .acknowledge_with(delivery, ReasonCode::NotAuthorized, none());
    all.push(acknowledge_kind(wrong.unwrap_err()));
    all
}

/// Says this much at once, or fails.
struct Speaks(Result<usize, &'static str>);

impl Authenticator for Speaks {
    fn begin(&mut self) -> Result<Option<Bytes>, AuthenticatorError> {
        Ok(Some(vec![1; self.0?].into()))
    }

    fn answer(&mut self, _: Option<Bytes>) -> Result<Option<Bytes>, AuthenticatorError> {
        Ok(None)
    }
}

async fn re_authenticate(client: &Client) -> Provoked {
    let error = client.re_authenticate().await.unwrap_err();
    let kind = match &error {
        ReAuthenticateError::NoAuthenticator => "ReAuthenticateError::NoAuthenticator",
        ReAuthenticateError::Failed(_) => "ReAuthenticateError::Failed",
        ReAuthenticateError::Invalid(_) => "ReAuthenticateError::Invalid",
        ReAuthenticateError::Disconnected(_) => "ReAuthenticateError::Disconnected",
        other => panic!("a kind that this test does not know: {other:?}"),
    };
    (error.to_string(), kind)
}

/// A connection whose authenticator says these, one after the other.
async fn speaking(
    says: impl Fn(usize) -> Result<usize, &'static str> + Send + Sync + 'static,
) -> (Connection, Server<tokio::io::DuplexStream>, Pipes) {
    let exchanges = std::sync::atomic::AtomicUsize::new(0);
    let properties = Properties {
        maximum_packet_size: NonZeroU32::new(100),
        authentication_method: Some(ferromqtt::Utf8String::try_from("PLAIN").unwrap()),
        ..Properties::default()
    };
    in_memory_with(
        |options| {
            options.reconnect(None).authenticator("PLAIN", move || {
                let place = exchanges.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Speaks(says(place))
            })
        },
        properties,
    )
    .await
}

async fn authentications() -> Vec<Provoked> {
    let mut all = Vec::new();
    let plain = connected(ACCEPTED, None).await;
    all.push(re_authenticate(&plain.client()).await);
    let (connection, server, _pipes) = speaking(|exchange| match exchange {
        0 => Ok(1),
        1 => Err("no ticket"),
        2 => Ok(200),
        3 => Ok(70_000),
        _ => Ok(1),
    })
    .await;
    let client = connection.client();
    for _ in 1..=3 {
        all.push(re_authenticate(&client).await);
    }
    let again = client.clone();
    let pending = tokio::spawn(async move { re_authenticate(&again).await });
    let mut server = server;
    assert!(server.next().await.is_some()); // AUTH
    all.push(re_authenticate(&client).await);
    drop(server);
    all.push(pending.await.unwrap());
    all.push(re_authenticate(&client).await);
    all
}

#[test]
fn every_text_of_requests_acknowledgements_and_authentication_is_provoked_and_reads_as_the_page_says()
 {
    let mut provoked = in_virtual_time(requests());
    provoked.extend(play(refused_requests()));
    provoked.extend(play(acknowledgements()));
    provoked.extend(play(authentications()));
    compare(
        "Rust: requests, acknowledgements and authentication",
        provoked,
    );
}
