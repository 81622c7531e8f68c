//! Speak MQTT 5.0 with the servers that know it, and 3.1.1 with the others.
//!
//! It prints:
//!
//! ```text
//! 3.1.1 alone: MQTT 3.1.1, hello
//! 5.0 too: MQTT 5.0, hello
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{Client, Error, Options, ProtocolVersion, QoS};
use ferromqtt_testing::{BrokerOptions, TestBroker};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let mut old = BrokerOptions::default();
    old.refused_versions = vec![ProtocolVersion::V5];
    for (what, rules) in [("3.1.1 alone", old), ("5.0 too", BrokerOptions::default())] {
        let broker = TestBroker::bind(([127, 0, 0, 1], 0).into(), rules).await?;
        let options = Options::new(broker.host(), broker.port()).protocol_auto();
        let (version, text) = ferromqtt::scope(options, program).await?;
        println!("{what}: MQTT {version}, {text}");
        broker.stop().await;
    }
    Ok(())
}

async fn program(client: Client) -> Result<(ProtocolVersion, String), Error> {
    let mut letters = client.subscribe("letters").await?;
    let letter = client.publish("letters", "hello").qos(QoS::AtLeastOnce);
    letter.await?;
    let text = match letters.next().await {
        Some(letter) => letter.text()?.to_owned(),
        None => "the connection has ended".to_owned(),
    };
    Ok((client.protocol(), text))
}
