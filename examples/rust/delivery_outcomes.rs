//! What has become of a message? A publish that fails says whether it may have arrived.
//!
//! It prints:
//!
//! ```text
//! all is well: acknowledged by the server
//! nobody listens: acknowledged, and nobody has subscribed
//! a forbidden topic: refused by the server: Not authorized (0x87)
//! a wild-card in the topic: cannot publish, it was not sent
//! the server breaks down: it may have arrived
//! not connected any more: it was not sent
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{Client, Connection, Delivery, Options, PublishError, Published, QoS, ReasonCode};
use ferromqtt_testing::{BrokerOptions, TestBroker};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let mut rules = BrokerOptions::default();
    rules.deny_publish("secrets".try_into()?, ReasonCode::NotAuthorized)?;
    let broker = TestBroker::bind(([127, 0, 0, 1], 0).into(), rules).await?;
    // By default the client would connect again, and the calls would wait for that.
    let options = Options::new(broker.host(), broker.port()).reconnect(None);
    let connection = Connection::open(options).await?;
    let client = connection.client();
    let _news = client.subscribe("news").await?;
    println!("all is well: {}", outcome(publish(&client, "news").await));
    println!(
        "nobody listens: {}",
        outcome(publish(&client, "olds").await)
    );
    println!(
        "a forbidden topic: {}",
        outcome(publish(&client, "secrets").await)
    );
    println!(
        "a wild-card in the topic: {}",
        outcome(publish(&client, "#").await)
    );

    let message = client.publish("news", "hello").qos(QoS::AtLeastOnce);
    let receipt = message.enqueue().await?;
    broker.stop().await; // the message is on the wire by then, and not read
    println!("the server breaks down: {}", outcome(receipt.await));
    println!(
        "not connected any more: {}",
        outcome(publish(&client, "news").await)
    );
    Ok(())
}

async fn publish(client: &Client, topic: &str) -> Result<Published, PublishError> {
    client.publish(topic, "hello").qos(QoS::AtLeastOnce).await
}

fn outcome(result: Result<Published, PublishError>) -> String {
    match result {
        Ok(published) if published.reason == ReasonCode::NoMatchingSubscribers => {
            "acknowledged, and nobody has subscribed".to_owned()
        }
        Ok(_) => "acknowledged by the server".to_owned(),
        Err(PublishError::Rejected { reason, .. }) => format!("refused by the server: {reason}"),
        Err(PublishError::Invalid(_)) => "cannot publish, it was not sent".to_owned(),
        Err(error) => match error.delivery() {
            Delivery::NotSent => "it was not sent".to_owned(), // to publish it again is safe
            Delivery::Unknown => "it may have arrived".to_owned(), // it might arrive twice then
        },
    }
}
