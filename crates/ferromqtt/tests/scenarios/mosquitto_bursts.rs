//! mosquitto 2.0.11, which sends a burst of messages at once, whatever our Receive Maximum is.

use std::process;

use ferromqtt::{CleanStart, Connection, Options, QoS};
use tokio::task::spawn_blocking;

use crate::in_time;
use crate::mosquitto_process::{Mosquitto, free_port};

const BURST: usize = 2_000;

async fn start(name: &'static str) -> (Mosquitto, u16) {
    let port = free_port();
    let listener = format!("listener {port} 127.0.0.1\nmax_queued_messages 0\n");
    let folder = format!("ferromqtt-mosquitto-{name}-{}", process::id());
    let folder = std::env::temp_dir().join(folder);
    let broker = spawn_blocking(move || Mosquitto::start(folder, &listener)).await;
    (broker.unwrap(), port)
}

/// Publishes without waiting for each acknowledgement, as a burst is.
async fn publish_burst(port: u16) {
    let connection = Connection::open(Options::new("127.0.0.1", port))
        .await
        .unwrap();
    let client = connection.client();
    let mut receipts = Vec::new();
    for number in 0..BURST {
        let publish = client.publish("t", number.to_string());
        receipts.push(publish.qos(QoS::AtLeastOnce).enqueue().await.unwrap());
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
    connection.disconnect().await.unwrap();
}

/// MQTT-3.3.4-9, which this server breaks: a client that insisted on it had 77 connections in 6 s, and 975 messages.
#[tokio::test]
async fn a_burst_beyond_the_receive_maximum_comes_whole_on_one_connection() {
    in_time(async {
        let (_broker, port) = start("burst").await;
        let options = Options::new("127.0.0.1", port)
            .client_identifier("burst")
            .receive_maximum(10);
        let connection = Connection::open(options).await.unwrap();
        let client = connection.client();
        let mut messages = client.subscribe("t").qos(QoS::AtLeastOnce).await.unwrap();
        publish_burst(port).await;
        for number in 0..BURST {
            let message = messages.next().await.unwrap();
            assert_eq!(message.payload, number.to_string());
        }
        assert_eq!(client.stats().connections, 1);
        connection.disconnect().await.unwrap();
    })
    .await;
}

/// The other way to a burst: what was kept for a session, all at once.
#[tokio::test]
async fn what_was_kept_for_a_session_comes_whole_on_one_connection() {
    in_time(async {
        let (_broker, port) = start("kept").await;
        let options = Options::new("127.0.0.1", port)
            .client_identifier("kept")
            .clean_start(CleanStart::Never)
            .receive_maximum(10);
        let connection = Connection::open(options.clone()).await.unwrap();
        let messages = connection
            .client()
            .subscribe("t")
            .qos(QoS::AtLeastOnce)
            .await;
        messages.unwrap().detach();
        connection.disconnect().await.unwrap();
        publish_burst(port).await;
        let connection = Connection::open(options).await.unwrap();
        let client = connection.client();
        let mut messages = client.messages();
        for number in 0..BURST {
            let message = messages.next().await.unwrap();
            assert_eq!(message.payload, number.to_string());
        }
        assert_eq!(client.stats().connections, 1);
        connection.disconnect().await.unwrap();
    })
    .await;
}
