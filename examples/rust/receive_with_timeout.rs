//! Wait for a message for so long and no longer.
//!
//! It prints:
//!
//! ```text
//! nothing came within 0.1 seconds
//! then came: better late than never
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;
use std::time::Duration;

use ferromqtt::{Client, Options};
use ferromqtt_testing::TestBroker;
use tokio::time::timeout;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    ferromqtt::scope_with(Options::new(broker.host(), broker.port()), program).await?;
    broker.stop().await;
    Ok(())
}

async fn program(client: Client) -> Result<(), Box<dyn StdError>> {
    let mut answers = client.subscribe("answers").await?;
    if timeout(Duration::from_millis(100), answers.next())
        .await
        .is_err()
    {
        println!("nothing came within 0.1 seconds");
    }

    // A message that comes in the very moment of the time-out stays in the queue.
    client.publish("answers", "better late than never").await?;
    if let Some(message) = timeout(Duration::from_secs(5), answers.next()).await? {
        println!("then came: {}", String::from_utf8_lossy(&message.payload));
    }
    Ok(())
}
