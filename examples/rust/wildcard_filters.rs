//! Tell messages apart by the filter that their topic matches: `+` stands for one level, `#` for the rest.
//!
//! Where a stream for each filter will do, subscribe to each: there is nothing to tell apart then.
//!
//! It prints:
//!
//! ```text
//! temperature in the kitchen: 21.5
//! humidity: 0.38
//! an alarm from cellar/water: "!"
//! not asked for: garden/gnome
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{Client, Message, Options, TopicFilter};
use ferromqtt_testing::TestBroker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    ferromqtt::scope_with(Options::new(broker.host(), broker.port()), program).await?;
    broker.stop().await;
    Ok(())
}

async fn program(client: Client) -> Result<(), Box<dyn StdError>> {
    let filters = Filters {
        temperature: "house/+/temperature".try_into()?,
        humidity: "house/+/humidity".try_into()?,
    };
    let mut everything = client.subscribe("#").await?;
    client.publish("house/kitchen/temperature", "21.5").await?;
    client.publish("house/bathroom/humidity", "0.38").await?;
    client.publish("alarms/cellar/water", "!").await?;
    client.publish("garden/gnome", "").await?;
    for _ in 0..4 {
        if let Some(message) = everything.next().await {
            filters.handle(&message);
        }
    }
    Ok(())
}

/// Checked once, used for every message.
struct Filters {
    temperature: TopicFilter,
    humidity: TopicFilter,
}

impl Filters {
    fn handle(&self, message: &Message) {
        let text = String::from_utf8_lossy(&message.payload);
        if message.topic.matches(&self.temperature) {
            let room = message.topic.split('/').nth(1).unwrap_or_default();
            println!("temperature in the {room}: {text}");
        } else if message.topic.matches(&self.humidity) {
            println!("humidity: {text}");
        } else if let Some(place) = message.topic.strip_prefix("alarms/") {
            println!("an alarm from {place}: {text:?}");
        } else {
            println!("not asked for: {}", message.topic);
        }
    }
}
