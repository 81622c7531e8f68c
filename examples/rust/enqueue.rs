//! Accept messages while there is no connection, and learn later what became of each.
//!
//! It prints:
//!
//! ```text
//! offline, and three readings are accepted
//! reading 1: replaced
//! reading 2: replaced
//! reading 3: acknowledged by the server
//! an old alarm: expired
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;
use std::time::Duration;

use ferromqtt::{
    Connection, ConnectionEvent, Options, OutgoingLimits, OutgoingPolicy, PublishError, QoS,
    ReasonCode, Receipt, Reconnect,
};
use ferromqtt_testing::TestBroker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    let again = Reconnect {
        initial_delay: Duration::from_millis(500),
        jitter_percent: 0,
        ..Reconnect::default()
    };
    let options = Options::new(broker.host(), broker.port())
        .client_identifier("station")
        .reconnect(again)
        .outgoing_queue(OutgoingLimits::default(), OutgoingPolicy::DropOldest);
    let connection = Connection::open(options).await?;
    let client = connection.client();
    let mut events = client.events();
    broker.disconnect_client("station", ReasonCode::ServerShuttingDown, None)?;
    while let Some(event) = events.next().await {
        if matches!(event, ConnectionEvent::Disconnected { .. }) {
            break;
        }
    }

    let alarm = client.publish("alarm", "hot").qos(QoS::AtLeastOnce);
    let alarm = alarm.expires_in(Duration::from_millis(100));
    let alarm = alarm.enqueue().await?;
    let mut readings = Vec::new();
    for number in ["1", "2", "3"] {
        let reading = client.publish("level", number).qos(QoS::AtLeastOnce);
        readings.push((number, reading.keep_latest().enqueue().await?));
    }
    println!("offline, and three readings are accepted");
    for (number, receipt) in readings {
        println!("reading {number}: {}", outcome(receipt).await);
    }
    println!("an old alarm: {}", outcome(alarm).await);
    connection.disconnect().await?;
    Ok(())
}

async fn outcome(receipt: Receipt) -> String {
    match receipt.await {
        Ok(_) => "acknowledged by the server".to_owned(),
        Err(PublishError::Expired) => "expired".to_owned(),
        Err(PublishError::Replaced) => "replaced".to_owned(),
        Err(error) => format!("{error}"),
    }
}
