//! Publish values as JSON, and take messages as values; a payload that is none is an item of its own.
//!
//! It prints:
//!
//! ```text
//! room/hall/temp: 21.5 °C
//! room/attic/temp: the payload for "room/attic/temp" cannot be decoded by its codec
//! room/cellar/temp: 12.25 °C
//! by a codec of its own: 7
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{Bytes, Client, Decode, Encode, Error, Options, QoS};
use ferromqtt_testing::TestBroker;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Reading {
    celsius: f64,
}

/// A codec without serde: numbers as bytes in big-endian order.
struct BigEndian;

impl Encode<u32> for BigEndian {
    type Error = std::convert::Infallible;

    fn encode(&self, value: &u32) -> Result<Bytes, Self::Error> {
        Ok(Bytes::copy_from_slice(&value.to_be_bytes()))
    }
}

impl Decode<u32> for BigEndian {
    type Error = &'static str;

    fn decode(&self, payload: &Bytes) -> Result<u32, Self::Error> {
        let bytes = payload[..].try_into().map_err(|_| "not four bytes")?;
        Ok(u32::from_be_bytes(bytes))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    ferromqtt::scope(Options::new(broker.host(), broker.port()), program).await?;
    broker.stop().await;
    Ok(())
}

async fn program(client: Client) -> Result<(), Error> {
    let mut readings = client.subscribe("room/+/temp").await?.json::<Reading>();

    // The first `?` is for a value that has no JSON: nothing is sent then.
    let hall = Reading { celsius: 21.5 };
    let publish = client.publish_json("room/hall/temp", &hall)?;
    publish.qos(QoS::AtLeastOnce).await?;
    client.publish("room/attic/temp", "too hot").await?;
    let cellar = Reading { celsius: 12.25 };
    client.publish_json("room/cellar/temp", &cellar)?.await?;

    for _ in 0..3 {
        let Some(reading) = readings.next().await else {
            break;
        };
        match &reading.value {
            Ok(value) => println!("{}: {} °C", reading.message.topic, value.celsius),
            Err(error) => println!("{}: {error}", reading.message.topic),
        }
    }

    let mut counts = client.subscribe("count").await?.typed(BigEndian);
    (client.publish_encoded("count", &7, &BigEndian)?).await?;
    if let Some(count) = counts.next().await {
        println!("by a codec of its own: {}", count.value?);
    }
    Ok(())
}
