//! A session that outlives the program's connection: the server keeps what comes meanwhile, at QoS 1 and 2. The program is
//! the same each time, and has one stream: it is declared in the options, so that it gets everything from the first message
//! on. Without that, a stream gets the same when it is subscribed soon after connecting (`Options::claim_within`). A program
//! that may end with messages unread acknowledges them itself, as `manual_acknowledgement.rs` does.
//!
//! It prints:
//!
//! ```text
//! V5 missed nothing: alarm 1, alarm 2
//! V311 missed nothing: alarm 1, alarm 2
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{CleanStart, Client, DeclaredSubscription, Error, Options, ProtocolVersion, QoS};
use ferromqtt_testing::TestBroker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    for version in [ProtocolVersion::V5, ProtocolVersion::V311] {
        let anybody = Options::new(broker.host(), broker.port()).protocol(version);
        let station = anybody
            .clone()
            .client_identifier(format!("station {version:?}"))
            .clean_start(CleanStart::Never) // on 5.0 for an hour, unless `session_expiry_interval` says else
            .subscription(DeclaredSubscription::new("alarms").qos(QoS::AtLeastOnce));
        ferromqtt::scope(station.clone(), subscribe_and_leave).await?;
        ferromqtt::scope(anybody, publish_meanwhile).await?;
        let missed = ferromqtt::scope(station, take_two).await?;
        println!("{version:?} missed nothing: {missed}");
    }
    broker.stop().await;
    Ok(())
}

async fn subscribe_and_leave(client: Client) -> Result<(), Error> {
    let _alarms = client.declared("alarms").await?;
    Ok(()) // the stream is dropped, the subscription stays in the session
}

async fn publish_meanwhile(client: Client) -> Result<(), Error> {
    for text in ["alarm 1", "alarm 2"] {
        client.publish("alarms", text).qos(QoS::AtLeastOnce).await?;
    }
    Ok(())
}

async fn take_two(client: Client) -> Result<String, Error> {
    let mut alarms = client.declared("alarms").await?; // what the server has kept is in it
    let mut texts = Vec::new();
    while texts.len() < 2
        && let Some(message) = alarms.next().await
    {
        texts.push(String::from_utf8_lossy(&message.payload).into_owned());
    }
    Ok(texts.join(", "))
}
