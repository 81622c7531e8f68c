//! The client connects again by itself, with growing pauses, and subscribes anew. Events tell.
//!
//! It prints:
//!
//! ```text
//! connected; the server has a session of before: false
//! received: before the restart
//! connection lost: the server closed the connection; tried again: true
//! connected; the server has a session of before: false
//! received: published while there was no server
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::time::Duration;

use ferromqtt::{ConnectionEvent, Events, Messages, Options, QoS, Reconnect};
use ferromqtt_testing::{BrokerOptions, TestBroker};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    let address = SocketAddr::new(broker.host(), broker.port());
    let soon = Reconnect {
        initial_delay: Duration::from_millis(50), // the defaults: 500 ms, growing up to 30 s
        ..Reconnect::default()
    };
    let options = Options::new(address.ip(), address.port()).reconnect(soon);
    ferromqtt::scope_with(options, async |client| {
        let mut events = client.events();
        print_next_event(&mut events).await;
        let mut news = client.subscribe("news").await?;
        client.publish("news", "before the restart").await?;
        print_next_message(&mut news).await;

        broker.stop().await;
        print_next_event(&mut events).await;
        let message = client.publish("news", "published while there was no server");
        let receipt = message.qos(QoS::AtLeastOnce).enqueue().await?;
        let broker = TestBroker::bind(address, BrokerOptions::default()).await?;
        print_next_event(&mut events).await;
        receipt.await?;
        print_next_message(&mut news).await; // the same stream: it did not end
        broker.stop().await;
        Ok::<_, Box<dyn StdError>>(())
    })
    .await
}

async fn print_next_event(events: &mut Events) {
    match events.next().await {
        Some(ConnectionEvent::Connected {
            session_present, ..
        }) => {
            println!("connected; the server has a session of before: {session_present}");
        }
        Some(ConnectionEvent::Disconnected {
            cause, retry_at, ..
        }) => {
            println!(
                "connection lost: {cause}; tried again: {}",
                retry_at.is_some()
            );
        }
        other => println!("{other:?}"),
    }
}

async fn print_next_message(news: &mut Messages) {
    if let Some(message) = news.next().await {
        println!("received: {}", String::from_utf8_lossy(&message.payload));
    }
}
