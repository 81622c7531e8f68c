//! One blocking client for several threads: workers publish while another thread receives.
//!
//! It prints:
//!
//! ```text
//! 30 readings of 3 sensors
//! the receiver has ended with the connection
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::collections::HashMap;
use std::sync::mpsc;
use std::thread;

use ferromqtt::blocking::{Client, Messages};
use ferromqtt::{Error, Options, PublishError, QoS};
use ferromqtt_testing::TestBroker;

fn main() -> Result<(), Error> {
    let broker = TestBroker::new();
    let options = Options::new("test-broker", 1883).transport(broker.transport());
    let client = Client::connect(options)?;
    let readings = client.subscribe("sensor/+").qos(QoS::AtLeastOnce).wait()?;
    let (received, all_received) = mpsc::channel();
    let receiver = thread::spawn(move || receive(readings, &received));

    // A clone is cheap; threads of a scope can share a reference as well.
    let workers = ["a", "b", "c"].map(|sensor| {
        let client = client.clone();
        thread::spawn(move || measure(&client, sensor))
    });
    for worker in workers {
        worker.join().expect("no worker panics")?;
    }
    let _ = all_received.recv();
    client.disconnect()?; // for all clones
    receiver.join().expect("the receiver does not panic");
    println!("the receiver has ended with the connection");
    Ok(())
}

fn measure(client: &Client, sensor: &str) -> Result<(), PublishError> {
    let topic = format!("sensor/{sensor}");
    for reading in 0..10 {
        client
            .publish(&*topic, reading.to_string())
            .qos(QoS::AtLeastOnce)
            .wait()?;
    }
    Ok(())
}

fn receive(readings: Messages, all_received: &mpsc::Sender<()>) {
    let mut counts = HashMap::new();
    for reading in readings {
        *counts.entry(reading.topic).or_insert(0) += 1;
        let total: u32 = counts.values().sum();
        if total == 30 {
            println!("{total} readings of {} sensors", counts.len());
            let _ = all_received.send(());
        }
    }
}
