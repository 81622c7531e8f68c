//! Take urgent messages first: a stream for each subscription, and a choice between them.
//!
//! It prints:
//!
//! ```text
//! fire
//! flood
//! report 1
//! report 2
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{Client, Error, Options};
use ferromqtt_testing::TestBroker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    ferromqtt::scope(Options::new(broker.host(), broker.port()), program).await?;
    broker.stop().await;
    Ok(())
}

async fn program(client: Client) -> Result<(), Error> {
    let mut alarms = client.subscribe("alarms").await?;
    let mut reports = client.subscribe("reports").await?;
    for (topic, text) in [
        ("reports", "report 1"),
        ("alarms", "fire"),
        ("reports", "report 2"),
        ("alarms", "flood"),
    ] {
        client.publish(topic, text).await?;
    }
    client.unsubscribe("other").await?; // once it is answered, what was published before has come
    for _ in 0..4 {
        // What loses the choice loses no message: `next` takes one only when it completes.
        let message = tokio::select! {
            biased;
            message = alarms.next() => message,
            message = reports.next() => message,
        };
        if let Some(message) = message {
            println!("{}", String::from_utf8_lossy(&message.payload));
        }
    }
    Ok(())
}
