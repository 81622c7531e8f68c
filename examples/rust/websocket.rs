//! MQTT over WebSocket: where only web traffic gets through, or the server is behind a web proxy.
//!
//! It needs a server that speaks it, and the feature `websocket`:
//!
//! `BROKER=ws://localhost:8080/mqtt cargo run -p ferromqtt --features websocket --example websocket`
//!
//! It prints:
//!
//! ```text
//! temperature/outside 28.4
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::env;
use std::error::Error as StdError;

use ferromqtt::{Client, Error, Options, QoS};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    // `wss` is the same over TLS. The path is the opening request's, and so are headers, for a web proxy that asks for some.
    let options = Options::from_url(&variable("BROKER")?)?;
    let options = options.websocket_header("User-Agent", "station-7");
    ferromqtt::scope(options, program).await?;
    Ok(())
}

/// Nothing here knows how the connection is made.
async fn program(client: Client) -> Result<(), Error> {
    let mut readings = client.subscribe("temperature/#").await?;
    let message = client.publish("temperature/outside", "28.4");
    message.qos(QoS::AtLeastOnce).await?;
    if let Some(reading) = readings.next().await {
        let text = String::from_utf8_lossy(&reading.payload);
        println!("{} {text}", reading.topic);
    }
    Ok(())
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| {
        format!("set the environment variable {name}: the head of this file shows how")
    })
}
