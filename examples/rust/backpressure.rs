//! Many messages at once, and a bound on everything that could grow.
//!
//! It prints:
//!
//! ```text
//! 1000 messages published, at most 10 in the queue
//! 5 were accepted, 2 were not: cannot publish: the outgoing queue is full (5 messages)
//! 3 of 5 received messages were kept: 2, 3, 4; 2 were lost
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{Client, Error, Options, OutgoingLimits, OutgoingPolicy, QoS, QueueOptions};
use ferromqtt_testing::TestBroker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    let options = || Options::new(broker.host(), broker.port());
    ferromqtt::scope(options().outgoing(up_to(10)), publish_in_turn).await?;
    let impatient = options().outgoing(up_to(5));
    let impatient = impatient.outgoing_policy(OutgoingPolicy::Refuse);
    ferromqtt::scope(impatient, refuse_what_is_too_much).await?;
    ferromqtt::scope(options(), drop_what_nobody_takes).await?;
    broker.stop().await;
    Ok(())
}

fn up_to(messages: usize) -> OutgoingLimits {
    OutgoingLimits {
        messages: Some(messages),
        ..OutgoingLimits::default()
    }
}

/// By default a call waits for room: a program that publishes too fast is slowed down.
async fn publish_in_turn(client: Client) -> Result<(), Error> {
    let mut receipts = Vec::new();
    for number in 0..1000 {
        let message = client.publish("news", number.to_string());
        receipts.push(message.qos(QoS::AtLeastOnce).enqueue().await?);
    }
    let mut published = 0;
    for receipt in receipts {
        receipt.await?;
        published += 1;
    }
    println!("{published} messages published, at most 10 in the queue");
    Ok(())
}

async fn refuse_what_is_too_much(client: Client) -> Result<(), Error> {
    let (mut receipts, mut errors) = (Vec::new(), Vec::new());
    for number in 0..7 {
        let message = client.publish("news", number.to_string());
        match message.qos(QoS::AtLeastOnce).enqueue().await {
            Ok(receipt) => receipts.push(receipt),
            Err(error) => errors.push(error),
        }
    }
    let (accepted, refused) = (receipts.len(), errors.len());
    println!(
        "{accepted} were accepted, {refused} were not: {}",
        errors[0]
    );
    for receipt in receipts {
        receipt.await?;
    }
    Ok(())
}

/// `Overflow::Wait` would have the server wait instead, at QoS 1 and 2.
async fn drop_what_nobody_takes(client: Client) -> Result<(), Error> {
    let bounds = QueueOptions {
        limit: Some(3),
        ..QueueOptions::default()
    };
    let mut news = client.subscribe("news").queue(bounds).await?;
    for number in 0..5 {
        client.publish("news", number.to_string()).await?;
    }
    client.unsubscribe("other").await?; // once it is answered, what was published before has come
    let mut kept = Vec::new();
    while let Some(message) = news.try_next() {
        kept.push(String::from_utf8_lossy(&message.payload).into_owned());
    }
    let (count, lost) = (kept.len(), news.take_lost());
    let kept = kept.join(", ");
    println!("{count} of 5 received messages were kept: {kept}; {lost} were lost");
    Ok(())
}
