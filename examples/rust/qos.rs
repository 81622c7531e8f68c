//! Quality of Service: what is certain when `client.publish(...).await` returns.
//!
//! It prints:
//!
//! ```text
//! the server granted QoS ExactlyOnce
//! QoS 0: handed to the connection
//! QoS 1: acknowledged by the server, perhaps delivered twice
//! QoS 2: acknowledged by the server, delivered once
//! received at AtMostOnce: hello
//! received at AtLeastOnce: hello
//! received at ExactlyOnce: hello
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
    // A message comes at the lower of two levels: the publisher's, and the subscription's.
    let mut greetings = client.subscribe("greetings").qos(QoS::ExactlyOnce).await?;
    println!("the server granted QoS {:?}", greetings.granted_qos());

    client.publish("greetings", "hello").await?;
    println!("QoS 0: handed to the connection");
    let greeting = client.publish("greetings", "hello");
    greeting.qos(QoS::AtLeastOnce).await?;
    println!("QoS 1: acknowledged by the server, perhaps delivered twice");
    let greeting = client.publish("greetings", "hello");
    greeting.qos(QoS::ExactlyOnce).await?;
    println!("QoS 2: acknowledged by the server, delivered once");

    for _ in 0..3 {
        if let Some(message) = greetings.next().await {
            let text = String::from_utf8_lossy(&message.payload);
            println!("received at {:?}: {text}", message.qos);
        }
    }
    Ok(())
}
