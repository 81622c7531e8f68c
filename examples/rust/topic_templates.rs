//! Subscribe to a filter whose wildcards have names, and read the named levels of each message's topic.
//!
//! It prints:
//!
//! ```text
//! subscribed to room/+/temp
//! hall: 21.5
//! cellar: 12
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{Client, Error, Options, TopicTemplate};
use ferromqtt_testing::TestBroker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    ferromqtt::scope(Options::new(broker.host(), broker.port()), program).await?;
    broker.stop().await;
    Ok(())
}

async fn program(client: Client) -> Result<(), Error> {
    let template: TopicTemplate = "room/{room}/temp".parse()?;
    let mut temperatures = client.subscribe(&template).await?;
    println!("subscribed to {}", template.filter());

    for (room, celsius) in [("hall", "21.5"), ("cellar", "12")] {
        // The other way round: the template makes the topic.
        let topic = template.topic(&[("room", room)])?;
        client.publish(topic, celsius).await?;
    }

    for _ in 0..2 {
        let Some(message) = temperatures.next().await else {
            break;
        };
        let params = temperatures.params(&message);
        let room = params.get("room").unwrap_or_default();
        println!("{room}: {}", message.text()?);
    }
    Ok(())
}
