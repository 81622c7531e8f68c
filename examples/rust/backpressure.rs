//! Many messages at once, and a bound on everything that could grow.
//!
//! It prints:
//!
//! ```text
//! 1000 of 1000 messages were accepted
//! not 5: the outgoing queue is full (5 messages): wait for receipts, raise Options::outgoing, or choose another OutgoingPolicy
//! not 6: the outgoing queue is full (5 messages): wait for receipts, raise Options::outgoing, or choose another OutgoingPolicy
//! 5 of 7 messages were accepted
//! received and kept: 2
//! received and kept: 3
//! received and kept: 4
//! received and lost: 2 messages
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{
    Client, Error, Options, OutgoingLimits, OutgoingPolicy, Overflow, QoS, QueueOptions,
};
use ferromqtt_testing::TestBroker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    let limits = OutgoingLimits {
        messages: Some(5),
        bytes: None,
    };
    let options = Options::new(broker.host(), broker.port()).outgoing(limits);
    let refusing = options.clone().outgoing_policy(OutgoingPolicy::Refuse);

    // A call waits for room: a program that publishes too fast is slowed down. Or it fails.
    ferromqtt::scope(options.clone(), async |client| publish(client, 1000).await).await?;
    ferromqtt::scope(refusing, async |client| publish(client, 7).await).await?;
    ferromqtt::scope(options, leave_untaken).await?;
    broker.stop().await;
    Ok(())
}

async fn publish(client: Client, count: usize) -> Result<(), Error> {
    let mut receipts = Vec::new();
    for number in 0..count {
        let message = client.publish("news", number.to_string());
        match message.qos(QoS::AtLeastOnce).enqueue().await {
            Ok(receipt) => receipts.push(receipt),
            Err(error) => println!("not {number}: {error}"),
        }
    }
    println!("{} of {count} messages were accepted", receipts.len());
    for receipt in receipts {
        receipt.await?;
    }
    Ok(())
}

/// The latest messages are kept. By default, `Overflow::Wait`, the server would wait until there is room again.
async fn leave_untaken(client: Client) -> Result<(), Error> {
    let bounds = QueueOptions {
        limit: Some(3),
        overflow: Overflow::DropOldest,
        ..QueueOptions::default()
    };
    let mut news = client.subscribe("news").queue(bounds).await?;
    for number in 0..5 {
        client.publish("news", number.to_string()).await?;
    }
    client.unsubscribe("other").await?; // once it is answered, what was published before has come
    while let Some(message) = news.try_next() {
        println!(
            "received and kept: {}",
            String::from_utf8_lossy(&message.payload)
        );
    }
    println!("received and lost: {} messages", news.take_lost());
    Ok(())
}
