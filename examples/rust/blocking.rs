//! Publish and receive without an asynchronous runtime: `ferromqtt::blocking`, of the feature `blocking`.
//!
//! It prints:
//!
//! ```text
//! published, and acknowledged by the broker
//! received temperature/outside: 28.4
//! received temperature/inside: 21.0
//! nothing more for now
//! disconnected
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;

use ferromqtt::blocking::{Client, RecvError};
use ferromqtt::{Error, Options, QoS};
use ferromqtt_testing::TestBroker;

fn main() -> Result<(), Error> {
    let broker = TestBroker::new();
    // A broker in memory; with one of yours: Options::new("localhost", 1883).
    let options = Options::new("test-broker", 1883).transport(broker.transport());
    let client = Client::connect(options)?;
    let mut readings = client.subscribe("temperature/#").wait()?;

    client
        .publish("temperature/outside", "28.4")
        .qos(QoS::AtLeastOnce)
        .wait()?;
    println!("published, and acknowledged by the broker");
    let receipt = client
        .publish("temperature/inside", "21.0")
        .qos(QoS::ExactlyOnce)
        .enqueue()?;
    receipt.wait()?;

    for message in readings.by_ref().take(2) {
        println!("received {}: {}", message.topic, message.text()?);
    }
    match readings.recv_timeout(Duration::from_millis(100)) {
        Ok(message) => println!("received {}", message.topic),
        Err(RecvError::Empty) => println!("nothing more for now"),
        Err(error) => return Err(error.into()),
    }
    client.disconnect()?;
    println!("disconnected");
    Ok(())
}
