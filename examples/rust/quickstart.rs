//! Connect, subscribe, publish, receive.
//!
//! Runs on the built-in broker, or on your own: `BROKER=mqtt://host:port cargo run -p ferromqtt --example quickstart`.
//! `BROKER` is `host`, `host:port` or a URL, which may have credentials: `mqtt://user:password@host:port`.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{Client, Error, Options, QoS};
use ferromqtt_testing::TestBroker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    let url = std::env::var("BROKER").unwrap_or_else(|_| broker.url());
    let shown = url
        .rsplit_once('@')
        .map_or(&*url, |(_credentials, server)| server);
    println!("The broker is {shown}.");
    ferromqtt::scope(Options::from_url(&url)?, program).await?;
    println!("3. Disconnected. Done: every message arrived.");
    broker.stop().await;
    Ok(())
}

async fn program(client: Client) -> Result<(), Error> {
    let mut readings = client.subscribe("quickstart/temperature/#").await?;
    client
        .publish("quickstart/temperature/outside", "28.4")
        .qos(QoS::AtLeastOnce)
        .await?;
    println!("1. Published one message, and the broker acknowledged it.");
    if let Some(message) = readings.next().await {
        println!("   received {}: {}", message.topic, message.text()?);
    }

    let mut receipts = Vec::new();
    for number in 1..=3 {
        let alarm = client.publish("quickstart/temperature/alarm", format!("alarm {number}"));
        receipts.push(alarm.qos(QoS::ExactlyOnce).enqueue().await?);
    }
    for receipt in receipts {
        receipt.await?;
    }
    println!("2. Enqueued three more at once, and have a receipt for each.");
    for _ in 0..3 {
        if let Some(message) = readings.next().await {
            println!("   received {}: {}", message.topic, message.text()?);
        }
    }
    Ok(())
}
