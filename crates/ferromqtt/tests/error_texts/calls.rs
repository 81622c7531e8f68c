//! Publishing, and the ends of connections as a publish reports them.

use std::future::IntoFuture;
use std::time::Duration;

use ferromqtt::{
    Bytes, Client, Connection, Decode, Encode, Message, Options, OutgoingLimits, OutgoingPolicy,
    Properties, ProtocolVersion, Publish, PublishError, QoS, Reconnect, ServerProfile, TopicAlias,
    TopicName, TypedMessage, Utf8String,
};

use crate::clock::{in_virtual_time, play};
use crate::page::{Provoked, compare};
use crate::replies::{
    ACCEPTED, ACCEPTED_311, Pipes, accept, connected, in_memory, resetting, server,
};

pub(crate) fn kind(error: PublishError) -> Provoked {
    let kind = match &error {
        PublishError::Invalid(_) => "PublishError::Invalid",
        PublishError::Rejected { .. } => "PublishError::Rejected",
        PublishError::Disconnected { .. } => "PublishError::Disconnected",
        PublishError::SessionLost => "PublishError::SessionLost",
        PublishError::NotStored { .. } => "PublishError::NotStored",
        PublishError::Unreleased { .. } => "PublishError::Unreleased",
        PublishError::GivenUp(_) => "PublishError::GivenUp",
        PublishError::Expired => "PublishError::Expired",
        PublishError::Dropped => "PublishError::Dropped",
        PublishError::Replaced => "PublishError::Replaced",
        PublishError::NotQueued => "PublishError::NotQueued",
        PublishError::TimedOut { .. } => "PublishError::TimedOut",
        PublishError::QueueFull { .. } => "PublishError::QueueFull",
        PublishError::Draining => "PublishError::Draining",
        other => panic!("a kind that this test does not know: {other:?}"),
    };
    (error.to_string(), kind)
}

async fn fail(publish: Publish<'_>) -> Provoked {
    kind(publish.await.unwrap_err())
}

fn at_least_once<'a>(client: &'a Client, topic: &'a str) -> Publish<'a> {
    client.publish(topic, "x").qos(QoS::AtLeastOnce)
}

/// What a publish ends with when the server answers it with these.
async fn answered(answer: Option<&'static [u8]>) -> Provoked {
    let connection = connected(ACCEPTED, answer).await;
    fail(at_least_once(&connection.client(), "a")).await
}

/// The ends of connections that a server brings about.
async fn ends() -> Vec<Provoked> {
    let mut all = Vec::new();
    let answers: [&[u8]; 5] = [
        b"",
        b"\xe0\x01\x8e",
        ACCEPTED,
        b"\x40\x04\0\x01\x87\0",
        b"\xe0\xff\xff\xff\x7f",
    ];
    for answer in answers {
        all.push(answered(Some(answer)).await);
    }
    let forgets = connected(ACCEPTED, Some(b"\x50\x02\0\x01\x70\x03\0\x01\x92")).await;
    let client = forgets.client();
    all.push(fail(client.publish("a", "x").qos(QoS::ExactlyOnce)).await);
    let options = Options::new("127.0.0.1", resetting(2).await).reconnect(None);
    let connection = Connection::open(options).await.unwrap();
    all.push(fail(at_least_once(&connection.client(), "a")).await);
    let old = server(ACCEPTED_311, Some(b"\x30\xff\x7f")).await;
    let old = old.protocol(ProtocolVersion::V311).maximum_packet_size(100);
    let connection = Connection::open(old).await.unwrap();
    all.push(fail(at_least_once(&connection.client(), "a")).await);
    let connection = connected(ACCEPTED, None).await;
    let client = connection.client();
    connection.disconnect().await.unwrap();
    all.push(fail(at_least_once(&client, "a")).await);
    let connection = connected(ACCEPTED, None).await;
    let client = connection.client();
    drop(connection);
    all.push(fail(at_least_once(&client, "a")).await);
    all
}

/// Its runtime was shut down.
fn of_a_dead_runtime() -> Provoked {
    let connection = play(connected(ACCEPTED, None)); // the runtime ends here
    play(fail(at_least_once(&connection.client(), "a")))
}

/// What is refused before anything is sent.
async fn refused() -> Vec<Provoked> {
    let mut all = Vec::new();
    let limits: [&[u8]; 3] = [
        b"\x20\x08\0\0\x05\x27\0\0\0\x64",
        b"\x20\x05\0\0\x02\x24\0",
        b"\x20\x05\0\0\x02\x25\0",
    ];
    for (place, limit) in limits.into_iter().enumerate() {
        let connection = connected(limit, None).await;
        let client = connection.client();
        let publish = client.publish("a", vec![1; 200]).qos(QoS::AtLeastOnce);
        all.push(fail(publish.retain(place == 2)).await);
    }
    for (topic, payload) in [("a", 131_073), (&"a".repeat(257), 0), (&"a/".repeat(8), 0)] {
        let aws = |options: Options| options.profile(ServerProfile::AwsIot);
        let (connection, _server, _pipes) = in_memory(aws).await;
        let client = connection.client();
        all.push(fail(client.publish(topic, vec![0; payload])).await);
    }
    let nats = server(ACCEPTED_311, None)
        .await
        .profile(ServerProfile::Nats);
    let nats = Connection::open(nats).await.unwrap();
    all.push(fail(nats.client().publish("a b", "x")).await);
    let connection = connected(ACCEPTED, None).await;
    let client = connection.client();
    for topic in ["", "a/#", "a\0", &"a".repeat(65_536)] {
        all.push(fail(at_least_once(&client, topic)).await);
    }
    let old = server(ACCEPTED_311, None)
        .await
        .protocol(ProtocolVersion::V311);
    let old = Connection::open(old).await.unwrap();
    let alias = |alias: u16| Properties {
        topic_alias: Some(TopicAlias(alias.try_into().unwrap())),
        ..Properties::default()
    };
    let properties = [
        Properties {
            will_delay_interval: Some(1),
            ..Properties::default()
        },
        Properties {
            subscription_identifiers: [1].into_iter().collect(),
            ..Properties::default()
        },
        Properties {
            correlation_data: Some(vec![0; 65_536].into()),
            ..Properties::default()
        },
        Properties {
            response_topic: Some(Utf8String::try_from("a/#").unwrap()),
            ..Properties::default()
        },
        alias(1),
    ];
    for properties in properties {
        all.push(fail(at_least_once(&client, "a").properties(properties)).await);
    }
    let small = connected(b"\x20\x0b\0\0\x08\x27\0\0\0\x64\x22\0\x05", None).await;
    let (aliasing, topic) = (small.client(), "a".repeat(95));
    let aliased = at_least_once(&aliasing, &topic).properties(alias(1));
    all.push(fail(aliased).await);
    let answering = Properties {
        message_expiry_interval: Some(1),
        ..Properties::default()
    };
    let old = old.client();
    all.push(fail(at_least_once(&old, "a").properties(answering)).await);
    let message = Message::new(TopicName::new("a").unwrap(), "x");
    all.push(fail(client.respond(&message, "y")).await);
    all
}

fn one(options: Options) -> Options {
    options.outgoing(OutgoingLimits {
        messages: Some(1),
        bytes: None,
    })
}

fn quickly() -> Reconnect {
    Reconnect {
        initial_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(1),
        ..Reconnect::default()
    }
}

/// What a publish at QoS 2 ends with when its connection is lost, and the next one is accepted like this.
async fn after_a_loss(session_present: bool, properties: Properties) -> Provoked {
    let (connection, mut server, pipes) = in_memory(|options| options.reconnect(quickly())).await;
    let client = connection.client();
    let publish = client.publish("a", vec![0; 200]).qos(QoS::ExactlyOnce);
    let serve = async {
        server.publish().await;
        drop(server);
        accept(pipes.next(), session_present, properties).await
    };
    let (published, _server) = tokio::join!(publish.into_future(), serve);
    kind(published.unwrap_err())
}

/// What a publish ends with that its own limits end.
async fn limited() -> Vec<Provoked> {
    let limit = Duration::from_secs(5);
    let mut all = vec![
        after_a_loss(false, Properties::default()).await,
        after_a_loss(
            true,
            Properties {
                maximum_packet_size: std::num::NonZeroU32::new(100),
                ..Properties::default()
            },
        )
        .await,
    ];
    // Without a server, nothing is sent.
    let (options, _pipes) = Pipes::new();
    let options = options.connect_timeout(Duration::from_secs(600));
    let waiting = Connection::start(options.clone()).await.unwrap();
    let client = waiting.client();
    let expiring = Properties {
        message_expiry_interval: Some(1),
        ..Properties::default()
    };
    all.push(fail(at_least_once(&client, "a").properties(expiring)).await);
    all.push(fail(at_least_once(&client, "a").timeout(limit)).await);
    let (options_of_once, _pipes) = Pipes::new();
    let once = Connection::start(options_of_once.reconnect(None))
        .await
        .unwrap();
    all.push(fail(at_least_once(&once.client(), "a")).await);
    for policy in [OutgoingPolicy::DropNewest, OutgoingPolicy::Refuse] {
        let options = one(options.clone()).outgoing_policy(policy);
        let full = Connection::start(options).await.unwrap();
        let client = full.client();
        let first = at_least_once(&client, "a").enqueue().await.unwrap();
        all.push(fail(at_least_once(&client, "b")).await);
        drop(first);
    }
    let limits = OutgoingLimits::default();
    let options = options.clone().outgoing_queue(limits, OutgoingPolicy::Wait);
    let queued = Connection::start(options).await.unwrap();
    let client = queued.client();
    all.push(fail(at_least_once(&client, "a").keep_latest()).await);
    let latest = || at_least_once(&client, "a").keep_latest().try_enqueue();
    let (replaced, latest) = (latest().unwrap(), latest().unwrap());
    all.push(kind(replaced.await.unwrap_err()));
    drop(latest);
    let (connection, mut server, _pipes) = in_memory(|options| options).await;
    let client = connection.client();
    all.push(fail(at_least_once(&client, "a").timeout(limit)).await);
    server.publish().await;
    let pending = at_least_once(&client, "b").enqueue().await.unwrap();
    let draining = tokio::spawn(connection.drain(limit));
    server.publish().await;
    tokio::task::yield_now().await; // and the drain has begun
    all.push(fail(at_least_once(&client, "c")).await);
    let _left = draining.await.unwrap();
    drop(pending);
    // The server is silent, and does not even answer PINGREQ.
    let (connection, _server, _pipes) = in_memory(|options| {
        let options = options.reconnect(None);
        options.keep_alive(Duration::from_secs(10))
    })
    .await;
    all.push(fail(at_least_once(&connection.client(), "a")).await);
    all
}

/// A codec that fails.
struct Fails;

impl Encode<str> for Fails {
    type Error = &'static str;

    fn encode(&self, _value: &str) -> Result<Bytes, Self::Error> {
        Err("it fails")
    }
}

impl Decode<()> for Fails {
    type Error = &'static str;

    fn decode(&self, _payload: &Bytes) -> Result<(), Self::Error> {
        Err("it fails")
    }
}

async fn by_a_codec() -> Vec<Provoked> {
    let (connection, _server, _pipes) = in_memory(|options| options).await;
    let client = connection.client();
    let encoding = client.publish_encoded("a", "b", &Fails).unwrap_err();
    let message = Message::new(TopicName::new("a").unwrap(), "b");
    let decoding = TypedMessage::decode(message, &Fails).value.unwrap_err();
    [encoding, decoding]
        .map(|error| (error.to_string(), "PayloadError"))
        .into()
}

#[test]
fn every_text_of_publishing_is_provoked_and_reads_as_the_page_says() {
    let mut provoked = play(ends());
    provoked.extend(in_virtual_time(by_a_codec()));
    provoked.push(of_a_dead_runtime());
    provoked.extend(play(refused()));
    provoked.extend(in_virtual_time(limited()));
    compare("Rust: publishing", provoked);
}

#[tokio::test]
async fn the_loss_of_a_connection_names_the_server() {
    let port = resetting(2).await;
    let options = Options::new("127.0.0.1", port).reconnect(None);
    let connection = Connection::open(options).await.unwrap();
    let (text, _) = fail(at_least_once(&connection.client(), "a")).await;
    let lost = format!("mqtt://127.0.0.1:{port}: Connection reset by peer");
    assert!(text.contains(&lost), "{text}");
}
