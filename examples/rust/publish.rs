//! Publish a message: connect, publish, leave.
//!
//! It prints:
//!
//! ```text
//! published, and disconnected once all was written
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{Client, Error, Options};
use ferromqtt_testing::TestBroker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    ferromqtt::scope(Options::new(broker.host(), broker.port()), program).await?;
    println!("published, and disconnected once all was written");
    broker.stop().await;
    Ok(())
}

async fn program(client: Client) -> Result<(), Error> {
    client.publish("temperature/outside", "28.4").await?;
    Ok(())
}
