//! A retained message: the server keeps the last one of a topic for later subscribers.
//!
//! It prints:
//!
//! ```text
//! kept by the server: on
//! nothing is kept any more: the first message is "fresh"
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{Client, Error, Options, QoS};
use ferromqtt_testing::TestBroker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    ferromqtt::scope(Options::new(broker.host(), broker.port()), program).await?;
    broker.stop().await;
    Ok(())
}

async fn program(client: Client) -> Result<(), Error> {
    switch(&client, "off", true).await?;
    switch(&client, "on", true).await?; // takes the place of "off"
    let mut states = client.subscribe("pump/state").await?;
    if let Some(message) = states.next().await
        && message.retain
    {
        println!(
            "kept by the server: {}",
            String::from_utf8_lossy(&message.payload)
        );
    }
    states.unsubscribe().await?;

    switch(&client, "", true).await?; // an empty payload takes it away
    let mut states = client.subscribe("pump/state").await?;
    switch(&client, "fresh", false).await?;
    if let Some(message) = states.next().await
        && !message.retain
    {
        let text = String::from_utf8_lossy(&message.payload);
        println!("nothing is kept any more: the first message is {text:?}");
    }
    Ok(())
}

async fn switch(client: &Client, state: &'static str, retain: bool) -> Result<(), Error> {
    let message = client.publish("pump/state", state);
    message.qos(QoS::AtLeastOnce).retain(retain).await?;
    Ok(())
}
