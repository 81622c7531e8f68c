//! A will: the message that the server publishes when a client is gone without a goodbye.
//!
//! It prints:
//!
//! ```text
//! station: online
//! station: lost
//! station: online
//! station: offline
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;
use std::thread;

use ferromqtt::{Client, Connection, Error, Messages, Options, QoS, Will};
use ferromqtt_testing::TestBroker;
use tokio::runtime::Builder;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    let anybody = Options::new(broker.host(), broker.port());
    let will = Will::new("station", "lost")
        .qos(QoS::AtLeastOnce)
        .retain(true);
    let station = anybody.clone().will(will);
    ferromqtt::scope(anybody, async |watcher| {
        let mut states = watcher.subscribe("station").await?;
        let failing = station.clone();
        thread::spawn(|| fail(failing));
        print_next(&mut states).await;
        print_next(&mut states).await;

        ferromqtt::scope(station, work_and_leave).await?;
        print_next(&mut states).await;
        print_next(&mut states).await;
        Ok::<_, Error>(())
    })
    .await?;
    broker.stop().await;
    Ok(())
}

async fn print_next(states: &mut Messages) {
    if let Some(message) = states.next().await {
        let text = String::from_utf8_lossy(&message.payload);
        println!("{}: {text}", message.topic);
    }
}

/// A program that ends in the middle of it: its runtime is gone before anything can say goodbye.
fn fail(options: Options) -> Result<(), Box<dyn StdError + Send + Sync>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let connection = runtime.block_on(Connection::open(options))?;
    runtime.block_on(go_online(&connection.client()))?;
    drop(runtime);
    Ok(())
}

async fn work_and_leave(client: Client) -> Result<(), Error> {
    go_online(&client).await?;
    let goodbye = client.publish("station", "offline"); // no will then: leaving disconnects
    goodbye.qos(QoS::AtLeastOnce).retain(true).await?;
    Ok(())
}

async fn go_online(client: &Client) -> Result<(), Error> {
    let message = client.publish("station", "online");
    message.qos(QoS::AtLeastOnce).retain(true).await?;
    Ok(())
}
