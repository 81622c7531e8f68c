//! The test broker, and a program with an exactly-once handler, in virtual time.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use ferromqtt::{CleanStart, Message, Options, ProtocolVersion, QoS};
use ferromqtt_proto::packet::PacketType;
use ferromqtt_testing::{BrokerSide, PacketFilter, TestBroker};
use rusqlite::Transaction;

/// What a handler fails with.
#[derive(Debug)]
pub(crate) struct Unknown(pub(crate) String);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unknown {}

impl From<rusqlite::Error> for Unknown {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

/// Plays something with a clock that moves on while everybody waits.
pub(crate) fn play<F: Future>(program: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(program)
}

/// Waits until nobody has anything to do in the next seconds of virtual time.
pub(crate) async fn settled() {
    tokio::time::sleep(Duration::from_secs(5)).await;
}

/// The options of the program.
pub(crate) fn lasting(broker: &TestBroker, version: ProtocolVersion) -> Options {
    Options::test(broker)
        .protocol(version)
        .client_identifier("worker")
        .clean_start(CleanStart::Never)
}

/// Publishes dishes to `orders`, by another client, and waits until all is settled.
pub(crate) async fn publish(broker: &TestBroker, qos: QoS, dishes: &[&str]) {
    let program = ferromqtt::scope(Options::test(broker), async |client| {
        for dish in dishes {
            client.publish("orders", *dish).qos(qos).await?;
        }
        Ok(())
    });
    program.await.unwrap();
    settled().await;
}

/// How many packets of a kind have come to the broker from the program.
pub(crate) fn count(broker: &TestBroker, kind: PacketType) -> usize {
    let filter = PacketFilter::from(kind).side(BrokerSide::Receives);
    let packets = broker.packets(filter.client("worker"));
    packets.iter().filter(|packet| packet.passed).count()
}

pub(crate) fn dish(message: &Message) -> String {
    String::from_utf8_lossy(&message.payload).into_owned()
}

pub(crate) fn insert(message: &Message, transaction: &Transaction<'_>) -> Result<(), Unknown> {
    transaction.execute("INSERT INTO orders VALUES (?)", [dish(message)])?;
    Ok(())
}
