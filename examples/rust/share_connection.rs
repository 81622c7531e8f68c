//! One connection for the whole program: open it once, and clone the client for whoever needs it.
//!
//! It prints:
//!
//! ```text
//! 2 sensors published 6 readings over one connection
//! 3 readings of temperature, 3 of humidity
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{Client, Error, Options, QoS};
use ferromqtt_testing::TestBroker;
use tokio::task::JoinSet;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    ferromqtt::scope_with(Options::new(broker.host(), broker.port()), program).await?;
    broker.stop().await;
    Ok(())
}

async fn program(client: Client) -> Result<(), Box<dyn StdError>> {
    let mut temperatures = client.subscribe("temperature").await?;
    let mut humidities = client.subscribe("humidity").await?;
    let mut sensors = JoinSet::new();
    sensors.spawn(run_sensor(
        client.clone(),
        "temperature",
        [28.4, 28.5, 28.3],
    ));
    sensors.spawn(run_sensor(client.clone(), "humidity", [0.38, 0.37, 0.39]));
    while let Some(sensor) = sensors.join_next().await {
        sensor??;
    }
    println!("2 sensors published 6 readings over one connection");
    for _ in 0..3 {
        temperatures
            .next()
            .await
            .ok_or("the connection has ended")?;
        humidities.next().await.ok_or("the connection has ended")?;
    }
    println!("3 readings of temperature, 3 of humidity");
    Ok(())
}

async fn run_sensor(client: Client, topic: &'static str, readings: [f64; 3]) -> Result<(), Error> {
    for reading in readings {
        let message = client.publish(topic, reading.to_string());
        message.qos(QoS::AtLeastOnce).await?;
    }
    Ok(())
}
