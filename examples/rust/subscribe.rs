//! Subscribe to one filter, or to several in one call; read the server's answer; unsubscribe.
//!
//! It prints:
//!
//! ```text
//! temperature/#: granted QoS AtLeastOnce
//! the server refused the filter "secrets/#": Not authorized (0x87)
//! humidity/+: Granted QoS 0 (0x00)
//! secrets/#: refused, Not authorized (0x87)
//! temperature/outside 28.4
//! humidity/inside 0.38
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{Client, Error, Options, QoS, ReasonCode};
use ferromqtt_testing::{BrokerOptions, TestBroker};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let mut rules = BrokerOptions::default();
    rules.deny_subscribe("secrets/#".try_into()?, ReasonCode::NotAuthorized)?;
    let broker = TestBroker::bind(([127, 0, 0, 1], 0).into(), rules).await?;
    ferromqtt::scope(Options::new(broker.host(), broker.port()), program).await?;
    broker.stop().await;
    Ok(())
}

async fn program(client: Client) -> Result<(), Error> {
    // Each subscription is a stream of its own.
    let mut temperatures = client
        .subscribe("temperature/#")
        .qos(QoS::AtLeastOnce)
        .await?;
    println!(
        "temperature/#: granted QoS {:?}",
        temperatures.granted_qos()
    );

    if let Err(error) = client.subscribe("secrets/#").await {
        println!("{error}");
    }

    // One stream for several filters; `partial`: for those that are granted.
    let filters = ["humidity/+", "secrets/#"];
    let mut others = client.subscribe_all(filters).partial(true).await?;
    for (filter, result) in others.results() {
        match result.is_error() {
            false => println!("{filter}: {result}"),
            true => println!("{filter}: refused, {result}"),
        }
    }

    client.publish("temperature/outside", "28.4").await?;
    if let Some(message) = temperatures.next().await {
        println!(
            "{} {}",
            message.topic,
            String::from_utf8_lossy(&message.payload)
        );
    }
    temperatures.unsubscribe().await?; // dropping the stream does so too, in the background
    client.publish("temperature/outside", "28.5").await?; // nobody listens to it any more
    client.publish("humidity/inside", "0.38").await?;
    if let Some(message) = others.next().await {
        println!(
            "{} {}",
            message.topic,
            String::from_utf8_lossy(&message.payload)
        );
    }
    Ok(())
}
