//! Ways out of a loop over messages; none loses one.
//!
//! It prints:
//!
//! ```text
//! left the loop at: stop
//! the next loop goes on with: after
//! a cancelled loop took nothing: the next message is still here
//! unsubscribed: the stream is gone, the client is connected
//! the connection has ended: no message comes any more
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{Client, Error, Messages, Options};
use ferromqtt_testing::TestBroker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    let options = Options::new(broker.host(), broker.port());
    let mut more = ferromqtt::scope(options, program).await?;
    if more.next().await.is_none() {
        println!("the connection has ended: no message comes any more");
    }
    broker.stop().await;
    Ok(())
}

async fn program(client: Client) -> Result<Messages, Error> {
    let mut lines = client.subscribe("lines").await?;
    for text in ["before", "stop", "after"] {
        client.publish("lines", text).await?;
    }
    while let Some(message) = lines.next().await {
        if message.payload == "stop" {
            println!("left the loop at: stop");
            break;
        }
    }
    if let Some(message) = lines.next().await {
        let text = String::from_utf8_lossy(&message.payload);
        println!("the next loop goes on with: {text}");
    }

    let publish = client.publish("lines", "still here");
    tokio::select! {
        biased;
        message = lines.next() => println!("too early: {message:?}"),
        published = publish => drop(published?),
    }
    if let Some(message) = lines.next().await {
        let text = String::from_utf8_lossy(&message.payload);
        println!("a cancelled loop took nothing: the next message is {text}");
    }

    lines.unsubscribe().await?;
    if client.is_connected() {
        println!("unsubscribed: the stream is gone, the client is connected");
    }
    Ok(client.subscribe("more").await?)
}
