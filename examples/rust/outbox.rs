//! Messages survive the program: it is killed, and its next start sends what it had stored.
//!
//! The station has no server to talk to yet. It stores three readings, and is killed. Started again, with the same folder, it
//! finds a server.
//!
//! It prints:
//!
//! ```text
//! station: stored 28.4
//! station: stored 28.5
//! station: stored 28.9
//! the station was killed
//! station: all readings are sent
//! the server has: 28.4, 28.5, 28.9
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::env;
use std::error::Error as StdError;
use std::process::ExitStatus;
use std::time::Duration;

use ferromqtt::{Connection, Options, Outbox, QoS, Reconnect};
use ferromqtt_testing::TestBroker;
use tokio::process::Command;

const NO_SERVER: u16 = 1;

/// Stores readings and dies, where there is no server; otherwise sends what is there.
async fn station(port: u16, folder: &str) -> Result<(), Box<dyn StdError>> {
    let patient = Reconnect {
        initial: true,
        initial_delay: Duration::from_millis(50),
        ..Reconnect::default()
    };
    let options = Options::new("127.0.0.1", port).reconnect(patient);
    let connection = Connection::start(options.outbox(Outbox::new(folder))).await?;
    let client = connection.client();
    if port == NO_SERVER {
        for level in ["28.4", "28.5", "28.9"] {
            let reading = client.publish("site/7/level", level).qos(QoS::AtLeastOnce);
            let receipt = reading.enqueue().await?;
            receipt.stored().await?; // it survives from here on
            println!("station: stored {level}");
        }
        std::process::abort();
    }
    client.connected().await?;
    let drained = connection.drain(Duration::from_secs(30)).await;
    assert!(drained.is_complete());
    println!("station: all readings are sent");
    Ok(())
}

/// Runs the station in a process of its own.
async fn start_station(port: u16, folder: &str) -> Result<ExitStatus, Box<dyn StdError>> {
    let mut station = Command::new(env::current_exe()?);
    Ok(station.args([&port.to_string(), folder]).status().await?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let arguments: Vec<_> = env::args().collect();
    if let [_, port, folder] = &arguments[..] {
        return station(port.parse()?, folder).await;
    }
    let folder = env::temp_dir().join(format!("ferromqtt-example-{}", std::process::id()));
    let path = folder.to_str().ok_or("the folder's name is no text")?;
    if !start_station(NO_SERVER, path).await?.success() {
        println!("the station was killed");
    }
    let broker = TestBroker::start().await?;
    let options = Options::new(broker.host(), broker.port());
    ferromqtt::scope(options, async |watcher| {
        let mut levels = watcher.subscribe("site/#").qos(QoS::AtLeastOnce).await?;
        let started = start_station(broker.port(), path).await;
        assert!(started.is_ok_and(|it| it.success()));
        let mut texts = Vec::new();
        while texts.len() < 3
            && let Some(level) = levels.next().await
        {
            texts.push(level.text()?.to_owned());
        }
        println!("the server has: {}", texts.join(", "));
        Ok(())
    })
    .await?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
