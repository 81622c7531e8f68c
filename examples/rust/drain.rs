//! Leave when everything is done: what was enqueued is sent and acknowledged first, but within a limit.
//!
//! It prints:
//!
//! ```text
//! 3 messages enqueued
//! a message that comes later: the connection is about to end, and accepts no more messages: publish before that
//! everything was acknowledged, and the client has disconnected: true
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;
use std::time::Duration;

use ferromqtt::{Connection, Options, QoS};
use ferromqtt_testing::TestBroker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    let options = Options::new(broker.host(), broker.port());
    let connection = Connection::open(options).await?;
    let client = connection.client();
    for number in 1..=3 {
        let message = client.publish("log", format!("line {number}"));
        // The receipt would tell how this one ended. `drain` tells of all.
        drop(message.qos(QoS::ExactlyOnce).enqueue().await?);
    }
    println!("3 messages enqueued");

    let (drained, late) = tokio::join!(
        biased;
        connection.drain(Duration::from_secs(5)),
        async { client.publish("log", "too late").await },
    );
    if let Err(error) = late {
        println!("a message that comes later: {error}");
    }
    let complete = drained.is_complete();
    println!("everything was acknowledged, and the client has disconnected: {complete}");
    broker.stop().await;
    Ok(())
}
