//! A will: the message that the server publishes when a client is lost.
//!
//! It prints:
//!
//! ```text
//! station: online
//! the station fails: the roof is gone
//! station: lost
//! station: online
//! station: offline
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{Client, Error, Messages, Options, QoS, Will};
use ferromqtt_testing::TestBroker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    let options = Options::new(broker.host(), broker.port());
    ferromqtt::scope(options.clone(), async |watcher| {
        watch(watcher, options).await
    })
    .await?;
    broker.stop().await;
    Ok(())
}

async fn watch(watcher: Client, options: Options) -> Result<(), Error> {
    let mut states = watcher.subscribe("station").await?;
    let will = Will::new("station", "lost").retain(true);
    // Without `will_on_error` only a broken connection publishes the will, not an error. A program without a scope ends its
    // connection with `disconnect_with_will`.
    let station = options.will(will).will_on_error(true);

    let failed = ferromqtt::scope_with(station.clone(), async |station| {
        set_state(&station, "online").await?;
        print_next(&mut states).await;
        Err::<(), Box<dyn StdError>>("the roof is gone".into())
    });
    if let Err(error) = failed.await {
        println!("the station fails: {error}");
    }
    print_next(&mut states).await;

    ferromqtt::scope(station, async |station| {
        set_state(&station, "online").await?;
        print_next(&mut states).await;
        set_state(&station, "offline").await // no will: this is goodbye
    })
    .await?;
    print_next(&mut states).await;
    Ok(())
}

async fn set_state(station: &Client, state: &'static str) -> Result<(), Error> {
    let message = station.publish("station", state).retain(true);
    message.qos(QoS::AtLeastOnce).await?;
    Ok(())
}

async fn print_next(states: &mut Messages) {
    if let Some(message) = states.next().await {
        let text = String::from_utf8_lossy(&message.payload);
        println!("{}: {text}", message.topic);
    }
}
