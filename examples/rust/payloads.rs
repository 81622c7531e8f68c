//! What can be sent as a payload, and what arrives: bytes. `publish` takes what turns into `bytes::Bytes`.
//!
//! It prints:
//!
//! ```text
//! a &str arrives as b"Gr\xc3\xbc\xc3\x9fe"
//! a String arrives as b"28.4"
//! a Vec<u8> arrives as b"\0\x01"
//! nothing arrives as b""
//! JSON, as its Content Type says: {"degrees": 28.4}
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use bytes::Bytes;
use ferromqtt::{Client, Options, Properties};
use ferromqtt_testing::TestBroker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    ferromqtt::scope_with(Options::new(broker.host(), broker.port()), program).await?;
    broker.stop().await;
    Ok(())
}

async fn program(client: Client) -> Result<(), Box<dyn StdError>> {
    let mut payloads = client.subscribe("payloads").await?;
    for (what, payload) in [
        ("a &str", Bytes::from("Grüße")),
        ("a String", Bytes::from(28.4.to_string())), // numbers are sent as you write them
        ("a Vec<u8>", Bytes::from(vec![0, 1])),
        ("nothing", Bytes::new()),
    ] {
        client.publish("payloads", payload).await?;
        let message = payloads.next().await.ok_or("no message")?;
        println!("{what} arrives as {:?}", message.payload);
    }

    // In earnest `serde_json::to_vec(&reading)`; a String or Vec is taken over without copying it.
    let json = r#"{"degrees": 28.4}"#;
    let properties = Properties {
        payload_format_indicator: Some(true),
        content_type: Some("application/json".try_into()?),
        ..Properties::default()
    };
    client
        .publish("payloads", json)
        .properties(properties)
        .await?;
    let message = payloads.next().await.ok_or("no message")?;
    let properties = message.properties.as_deref();
    let content_type = properties.and_then(|it| it.content_type.as_ref());
    if content_type.is_some_and(|kind| kind == "application/json") {
        println!("JSON, as its Content Type says: {}", message.text()?);
    }
    Ok(())
}
