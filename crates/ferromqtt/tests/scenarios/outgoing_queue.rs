//! What is enqueued waits in an outgoing queue: while there is no connection, in place of others, and for a limited time.

use std::time::Duration;

use ferromqtt::testing::TestBroker;
use ferromqtt::{
    Client, Connection, Delivery, Messages, Options, OutgoingLimits, OutgoingPolicy,
    ProtocolVersion, PublishError, QoS, ReasonCode, Receipt, Reconnect,
};
use tokio::time::sleep;

use crate::in_time;

const fn limits(messages: usize) -> OutgoingLimits {
    OutgoingLimits {
        messages: Some(messages),
        bytes: None,
    }
}

/// For how long a client that was cut off has no connection.
const OFFLINE: Duration = Duration::from_secs(20);

/// A client that has lost its connection, and one that listens.
async fn offline(
    broker: &TestBroker,
    options: Options,
) -> (Connection, Client, Connection, Messages) {
    let listening = Connection::open(Options::test(broker)).await.unwrap();
    let messages = listening.client().subscribe("t/#").await.unwrap();
    let later = Reconnect {
        initial_delay: OFFLINE,
        max_delay: OFFLINE,
        jitter_percent: 0,
        ..Reconnect::default()
    };
    let options = options.reconnect(later).client_identifier("cut");
    let connection = Connection::open(options).await.unwrap();
    let client = connection.client();
    let reason = ReasonCode::ServerShuttingDown;
    assert!(broker.disconnect_client("cut", reason, None).unwrap());
    while client.is_connected() {
        sleep(Duration::from_millis(10)).await;
    }
    (connection, client, listening, messages)
}

fn enqueue(client: &Client, payload: &'static str) -> Result<Receipt, PublishError> {
    let publish = client.publish("t", payload).qos(QoS::AtLeastOnce);
    publish.try_enqueue()
}

async fn texts(messages: &mut Messages, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        let message = messages.next().await.unwrap();
        texts.push(message.text().unwrap().to_owned());
    }
    texts
}

#[tokio::test(start_paused = true)]
async fn what_is_enqueued_offline_is_delivered_in_order() {
    in_time(async {
        let broker = TestBroker::new();
        let options = Options::test(&broker).outgoing_queue(limits(3), OutgoingPolicy::Wait);
        let (connection, client, listening, mut messages) = offline(&broker, options).await;
        let mut receipts = Vec::new();
        for payload in ["1", "2", "3"] {
            let publish = client.publish("t", payload).qos(QoS::AtLeastOnce);
            receipts.push(publish.enqueue().await.unwrap());
        }
        let full = enqueue(&client, "full").unwrap_err();
        assert!(matches!(full, PublishError::QueueFull { limit: 3, .. }));
        let late = client.publish("t", "late").qos(QoS::AtLeastOnce);
        let late = late.timeout(Duration::from_secs(1)).enqueue().await;
        let error = late.unwrap_err();
        assert!(matches!(error, PublishError::TimedOut { .. }));
        assert_eq!(error.delivery(), Delivery::NotSent);
        let waiting = client.publish("t", "4").qos(QoS::AtLeastOnce).into_owned();
        let waiting = tokio::spawn(waiting.enqueue());
        sleep(Duration::from_millis(10)).await;
        receipts.push(waiting.await.unwrap().unwrap());
        for receipt in receipts {
            receipt.await.unwrap();
        }
        assert_eq!(texts(&mut messages, 4).await, ["1", "2", "3", "4"]);
        connection.disconnect().await.unwrap();
        listening.disconnect().await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_oldest_are_dropped_and_the_latest_kept() {
    in_time(async {
        let broker = TestBroker::new();
        let options = Options::test(&broker).outgoing_queue(limits(3), OutgoingPolicy::DropOldest);
        let (connection, client, listening, mut messages) = offline(&broker, options).await;
        let dropped = enqueue(&client, "dropped").unwrap();
        let latest = |payload| {
            let publish = client.publish("t/level", payload).qos(QoS::AtLeastOnce);
            publish.keep_latest().try_enqueue().unwrap()
        };
        let replaced = latest("1");
        assert_eq!(format!("{replaced:?}"), "Receipt(\"accepted\")");
        let level = latest("2");
        let kept = [
            enqueue(&client, "3").unwrap(),
            enqueue(&client, "4").unwrap(),
        ];
        assert_eq!(replaced.await.unwrap_err(), PublishError::Replaced);
        let error = dropped.await.unwrap_err();
        assert_eq!(error, PublishError::Dropped);
        assert_eq!(error.delivery(), Delivery::NotSent);
        level.await.unwrap();
        for receipt in kept {
            receipt.await.unwrap();
        }
        assert_eq!(texts(&mut messages, 3).await, ["2", "3", "4"]);
        connection.disconnect().await.unwrap();
        listening.disconnect().await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_message_expires_on_every_version() {
    for protocol in [ProtocolVersion::V311, ProtocolVersion::V5] {
        in_time(async {
            let broker = TestBroker::new();
            let options = Options::test(&broker).protocol(protocol);
            let options = options.outgoing_queue(limits(10), OutgoingPolicy::Wait);
            let (connection, client, listening, _messages) = offline(&broker, options).await;
            let expires_in = |seconds| {
                let publish = client.publish("t", "x").qos(QoS::AtLeastOnce);
                let publish = publish.expires_in(Duration::from_secs(seconds));
                publish.try_enqueue().unwrap()
            };
            let (brief, lasting) = (expires_in(5), expires_in(3_600));
            let begin = tokio::time::Instant::now();
            assert_eq!(brief.await.unwrap_err(), PublishError::Expired);
            assert_eq!(begin.elapsed().as_secs(), 5);
            lasting.await.unwrap();
            connection.disconnect().await.unwrap();
            listening.disconnect().await.unwrap();
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_message_ends_with_the_client() {
    in_time(async {
        let broker = TestBroker::new();
        let options = Options::test(&broker).outgoing_queue(limits(3), OutgoingPolicy::Wait);
        let (connection, client, listening, _messages) = offline(&broker, options).await;
        let receipt = enqueue(&client, "x").unwrap();
        let _ = connection.disconnect().await;
        let error = receipt.await.unwrap_err();
        assert!(matches!(error, PublishError::Disconnected { .. }));
        assert_eq!(error.delivery(), Delivery::NotSent);
        assert!(enqueue(&client, "late").is_err());
        drop(listening);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn terms_without_a_queue_are_refused() {
    in_time(async {
        let broker = TestBroker::new();
        let connection = Connection::open(Options::test(&broker)).await.unwrap();
        let client = connection.client();
        let message = || client.publish("t", "x").keep_latest();
        assert_eq!(message().await.unwrap_err(), PublishError::NotQueued);
        let enqueued = message().enqueue().await;
        assert_eq!(enqueued.map(drop).unwrap_err(), PublishError::NotQueued);
        let enqueued = message().try_enqueue();
        assert_eq!(enqueued.map(drop).unwrap_err(), PublishError::NotQueued);
        connection.disconnect().await.unwrap();
    })
    .await;
}
