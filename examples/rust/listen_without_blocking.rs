//! Listen in a task while the rest of the program does something else.
//!
//! It prints:
//!
//! ```text
//! other work: step 1
//!   received progress: 1
//! other work: step 2
//!   received progress: 2
//! other work: step 3
//!   received progress: 3
//! the listener has ended with the connection
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{Client, Messages, Options};
use ferromqtt_testing::TestBroker;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    let options = Options::new(broker.host(), broker.port());
    let listener = ferromqtt::scope_with(options, program).await?;
    listener.await?;
    println!("the listener has ended with the connection");
    broker.stop().await;
    Ok(())
}

async fn program(client: Client) -> Result<JoinHandle<()>, Box<dyn StdError>> {
    let (heard, mut wait) = mpsc::channel(1);
    let progress = client.subscribe("progress").await?;
    let listener = tokio::spawn(listen(progress, heard));
    for step in 1..=3 {
        println!("other work: step {step}");
        client.publish("progress", step.to_string()).await?;
        wait.recv().await; // only to have the lines in order
    }
    Ok(listener)
}

async fn listen(mut progress: Messages, heard: mpsc::Sender<()>) {
    while let Some(message) = progress.next().await {
        let text = String::from_utf8_lossy(&message.payload);
        println!("  received {}: {text}", message.topic);
        let _ = heard.send(()).await; // nobody waits any more: fine
    }
}
