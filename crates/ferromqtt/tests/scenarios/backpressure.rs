//! Full queues: waiting for room must never wait for itself.

use std::time::Duration;

use ferromqtt::{
    Client, Connection, Error, Options, OutgoingLimits, Overflow, QoS, QueueOptions, ReasonCode,
};
use ferromqtt_proto::packet::{Packet, PublishPacket};
use ferromqtt_testing::TestBroker;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::server::Server;
use crate::{connect, in_time, options};

/// Room for two messages, one of them on its way.
fn narrow(options: Options) -> Options {
    options.max_in_flight(1).outgoing(OutgoingLimits {
        messages: Some(2),
        bytes: None,
    })
}

async fn echo(client: &Client, qos: QoS, count: usize, queue: QueueOptions) -> Result<(), Error> {
    let mut messages = client.subscribe("ask").qos(qos).queue(queue).await?;
    client.publish("ready", "").qos(QoS::AtLeastOnce).await?;
    for _ in 0..count {
        let message = messages.next().await.expect("a message");
        client.publish("answer", message.payload).qos(qos).await?;
    }
    Ok(())
}

async fn consumers_publish_under_full_queues(queue: QueueOptions) {
    const COUNT: usize = 500;
    let broker = TestBroker::new();
    let asking = connect(&broker).await;
    let asker = asking.client();
    let mut ready = asker.subscribe("ready").await.unwrap();
    let mut answers = asker
        .subscribe("answer")
        .qos(QoS::ExactlyOnce)
        .await
        .unwrap();
    let options = narrow(options(&broker));
    let echoing = tokio::spawn(ferromqtt::scope(options, async move |client| {
        tokio::try_join!(
            echo(&client, QoS::AtLeastOnce, COUNT, queue),
            echo(&client, QoS::ExactlyOnce, COUNT, queue),
        )
    }));
    for _ in 0..2 {
        ready.next().await.unwrap();
    }
    let mut receipts = Vec::new();
    for _ in 0..COUNT {
        let question = asker.publish("ask", "x").qos(QoS::AtLeastOnce);
        receipts.push(question.enqueue().await.unwrap());
    }
    // The broker may send one message for both subscriptions: each stream has its copy of it all the same.
    for _ in 0..2 * COUNT {
        answers.next().await.unwrap();
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
    echoing.await.unwrap().unwrap();
    asking.disconnect().await.unwrap();
    broker.stop().await;
}

/// The queues of received messages are full too, and make the server wait.
const FULL: QueueOptions = QueueOptions {
    limit: Some(1),
    overflow: Overflow::Wait,
    ..QueueOptions::UNBOUNDED
};

#[tokio::test(start_paused = true)]
async fn consumers_publish_under_full_queues_on_one_thread() {
    in_time(consumers_publish_under_full_queues(QueueOptions::default())).await;
    in_time(consumers_publish_under_full_queues(FULL)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_publish_under_full_queues_on_two_threads() {
    in_time(consumers_publish_under_full_queues(QueueOptions::default())).await;
    in_time(consumers_publish_under_full_queues(FULL)).await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_into_a_narrow_queue_arrives_complete_and_in_order() {
    in_time(async {
        let broker = TestBroker::new();
        let receiving = connect(&broker).await;
        let mut messages = receiving
            .client()
            .subscribe("t")
            .qos(QoS::ExactlyOnce)
            .await
            .unwrap();
        ferromqtt::scope(narrow(options(&broker)), async |client| {
            let mut last = None;
            for number in 0..600_u32 {
                let qos = QoS::from_value((number % 3) as u8).unwrap_or_default();
                let publish = client.publish("t", number.to_be_bytes().to_vec()).qos(qos);
                last = Some(publish.enqueue().await?);
            }
            last.expect("600 receipts").await?;
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
        for number in 0..600_u32 {
            let message = messages.next().await.unwrap();
            assert_eq!(message.payload[..], number.to_be_bytes());
        }
        receiving.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

/// A reader that does not run until its queue is full. What the system's buffers do not hold stays with the server, whose
/// writes come to a stop; and in the end the reader has it all.
async fn a_slow_reader_holds_back_its_server() {
    const COUNT: usize = 2_000;
    const SIZE: usize = 64 * 1024; // 125 MiB together: no system buffers so much
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (start, started) = oneshot::channel();
    let sending = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut server, _) = Server::accept(stream, false).await;
        server.subscribe(ReasonCode::Success).await;
        started.await.unwrap();
        for number in 0..COUNT {
            let mut payload = vec![0; SIZE];
            payload[..8].copy_from_slice(&number.to_be_bytes());
            let publish = PublishPacket {
                dup: false,
                qos: QoS::AtMostOnce,
                retain: false,
                topic: "t".try_into().unwrap(),
                packet_id: None,
                properties: None,
                payload: payload.into(),
            };
            server.send(&Packet::Publish(publish)).await;
        }
        server
    });
    let connection = Connection::open(Options::new("127.0.0.1", port))
        .await
        .unwrap();
    let client = connection.client();
    let bounds = QueueOptions {
        limit: Some(16),
        ..QueueOptions::default()
    };
    let mut messages = client.subscribe("t").queue(bounds).await.unwrap();
    start.send(()).unwrap();
    while client.stats().pauses == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await; // until it has come to that
    }
    assert!(!sending.is_finished());
    assert_eq!(messages.len(), 16);
    for number in 0..COUNT {
        let message = messages.next().await.unwrap();
        assert_eq!(message.payload.len(), SIZE);
        assert_eq!(message.payload[..8], number.to_be_bytes());
    }
    assert_eq!((messages.take_lost(), client.stats().lost), (0, 0));
    let server = sending.await.unwrap();
    connection.disconnect().await.unwrap();
    drop(server);
}

#[tokio::test]
async fn a_slow_reader_holds_back_its_server_on_one_thread() {
    in_time(a_slow_reader_holds_back_its_server()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_back_its_server_on_two_threads() {
    in_time(a_slow_reader_holds_back_its_server()).await;
}
