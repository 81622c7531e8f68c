//! Outboxes that cannot be opened, and messages that they keep or refuse.

use std::path::PathBuf;

use ferromqtt::testing::TestBroker;
use ferromqtt::{
    CleanStart, ConnectError, Connection, Options, Outbox, PublishError, QoS, ReasonCode, Receipt,
    Reconnect,
};
use ferromqtt_proto::packet::PacketType;

use crate::page::{Provoked, compare};

fn folder(name: &str) -> PathBuf {
    let name = format!("ferromqtt-outbox-texts-{}-{name}", std::process::id());
    std::env::temp_dir().join(name)
}

fn options(broker: &TestBroker, name: &str) -> Options {
    Options::test(broker).outbox(Outbox::new(folder(name)))
}

fn of_connecting(error: ConnectError) -> Provoked {
    let ConnectError::Outbox(_) = &error else {
        panic!("{error:?}");
    };
    (error.to_string(), "ConnectError::Outbox")
}

fn of_publishing(error: PublishError) -> Provoked {
    let kind = match &error {
        PublishError::Invalid(_) => "PublishError::Invalid",
        PublishError::Quarantined { .. } => "PublishError::Quarantined",
        PublishError::Kept { .. } => "PublishError::Kept",
        PublishError::NoOutbox => "PublishError::NoOutbox",
        other => panic!("a kind that this test does not know: {other:?}"),
    };
    (error.to_string(), kind)
}

async fn open(options: Options) -> Connection {
    Connection::open(options).await.unwrap()
}

async fn enqueue(connection: &Connection, qos: QoS) -> Result<Receipt, PublishError> {
    let client = connection.client();
    let publish = client.publish("a", "x").qos(qos);
    publish.enqueue().await
}

async fn openings(broker: &TestBroker) -> Vec<Provoked> {
    let named = || options(broker, "one").client_identifier("one");
    let first = open(named()).await;
    let in_use = Connection::open(named()).await.unwrap_err();
    first.disconnect().await.unwrap();
    let other = options(broker, "one").client_identifier("other");
    let other = Connection::open(other).await.unwrap_err();
    std::fs::write(folder("file"), "").unwrap();
    let file = Connection::open(options(broker, "file")).await.unwrap_err();
    [in_use, other, file].map(of_connecting).into()
}

async fn messages(broker: &TestBroker) -> Vec<Provoked> {
    let clean = options(broker, "clean").clean_start(CleanStart::Always);
    let connection = open(clean).await;
    let too_short = enqueue(&connection, QoS::ExactlyOnce).await.unwrap_err();
    connection.disconnect().await.unwrap();

    let connection = open(Options::test(broker)).await;
    let receipt = enqueue(&connection, QoS::AtLeastOnce).await.unwrap();
    let no_outbox = receipt.stored().await.unwrap_err();
    receipt.await.unwrap();
    connection.disconnect().await.unwrap();

    (broker.receives(PacketType::Publish)).refuse(ReasonCode::NotAuthorized);
    let connection = open(options(broker, "refused")).await;
    let receipt = enqueue(&connection, QoS::AtLeastOnce).await.unwrap();
    let refused = receipt.await.unwrap_err();
    connection.disconnect().await.unwrap();

    let nobody = TestBroker::new();
    let patient = Reconnect {
        initial: true,
        ..Reconnect::default()
    };
    let offline = options(&nobody, "kept").reconnect(patient);
    drop(nobody);
    let connection = Connection::start(offline).await.unwrap();
    let receipt = enqueue(&connection, QoS::AtLeastOnce).await.unwrap();
    connection.disconnect().await.unwrap();
    let kept = receipt.await.unwrap_err();
    [too_short, refused, kept, no_outbox]
        .map(of_publishing)
        .into()
}

#[tokio::test]
async fn the_page_has_every_text_of_the_outbox() {
    let broker = TestBroker::new();
    let mut provoked = openings(&broker).await;
    provoked.extend(messages(&broker).await);
    for name in ["one", "clean", "refused", "kept"] {
        std::fs::remove_dir_all(folder(name)).unwrap();
    }
    std::fs::remove_file(folder("file")).unwrap();
    compare("Rust: the outbox", provoked);
}
