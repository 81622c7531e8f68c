//! Queues that hold messages: acknowledging by the application, waiting, failing; and a subscription that is not renewed.

use std::time::Duration;

use ferromqtt_proto::PacketId;
use ferromqtt_proto::packet::{Ack, Packet, PublishPacket};

use super::*;
use crate::{Acknowledge, Client, FilterRefusal, Messages, Overflow, QueueOptions, ReasonCode};

pub(super) fn message(number: u16) -> Packet {
    Packet::Publish(PublishPacket {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: "t".try_into().unwrap(),
        packet_id: PacketId::new(number),
        properties: None,
        payload: number.to_string().into(),
    })
}

pub(super) fn puback(number: u16) -> Packet {
    Packet::PubAck(Ack::success(PacketId::new(number).unwrap()))
}

pub(super) async fn subscribed(
    client: &Client,
    server: &mut Server<DuplexStream>,
    queue: QueueOptions,
) -> Messages {
    let (messages, ()) = tokio::join!(
        client
            .subscribe("t")
            .qos(QoS::AtLeastOnce)
            .queue(queue)
            .into_future(),
        server.subscribe(ReasonCode::GrantedQos1)
    );
    messages.unwrap()
}

pub(super) async fn sends_nothing(server: &mut Server<DuplexStream>) -> bool {
    timeout(Duration::from_secs(1), server.next())
        .await
        .is_err()
}

/// MQTT-4.6.0-2: in the order of receipt.
#[tokio::test(start_paused = true)]
async fn the_application_acknowledges_in_any_order() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let queue = QueueOptions {
        acknowledge: Acknowledge::ByApplication,
        ..QueueOptions::default()
    };
    let mut messages = subscribed(&client, &mut server, queue).await;
    server.send(&message(1)).await;
    server.send(&message(2)).await;
    let first = messages.next().await.unwrap().delivery.unwrap();
    let second = messages.next().await.unwrap().delivery.unwrap();
    client.acknowledge(second);
    assert!(sends_nothing(&mut server).await);
    client.acknowledge(first);
    assert_eq!(server.next().await, Some(puback(1)));
    assert_eq!(server.next().await, Some(puback(2)));
    client.acknowledge(first); // harmless
    assert!(sends_nothing(&mut server).await);
}

/// In the order of receipt the oldest holds up the others: how many there are, and since when, can be asked for.
#[tokio::test(start_paused = true)]
async fn what_is_not_acknowledged_is_counted_and_its_age_is_known() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let queue = QueueOptions {
        acknowledge: Acknowledge::ByApplication,
        ..QueueOptions::default()
    };
    let counts = |client: &Client| {
        let counted = client.unacknowledged();
        let oldest = counted.oldest.map(|age| age.as_secs());
        (counted.messages, oldest, counted.held_back)
    };
    let mut messages = subscribed(&client, &mut server, queue).await;
    assert_eq!(counts(&client), (0, None, 0));
    server.send(&message(1)).await;
    let first = messages.next().await.unwrap().delivery.unwrap();
    tokio::time::sleep(Duration::from_secs(7)).await;
    server.send(&message(2)).await;
    let second = messages.next().await.unwrap().delivery.unwrap();
    assert_eq!(counts(&client), (2, Some(7), 0));
    client.acknowledge(second);
    assert_eq!(counts(&client), (1, Some(7), 1));
    client.acknowledge(first);
    assert_eq!(counts(&client), (0, None, 0));
}

/// What was withheld leaves when a message is taken, without anything else happening.
#[tokio::test(start_paused = true)]
async fn a_waiting_queue_acknowledges_as_it_is_read() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let queue = QueueOptions {
        limit: Some(1),
        overflow: Overflow::Wait,
        ..QueueOptions::default()
    };
    let mut messages = subscribed(&client, &mut server, queue).await;
    for number in 1..=3 {
        server.send(&message(number)).await;
    }
    assert_eq!(server.next().await, Some(puback(1)));
    assert!(sends_nothing(&mut server).await);
    for number in 1..=3_u16 {
        let taken = messages.next().await.unwrap();
        assert_eq!(taken.payload, number.to_string());
        if number < 3 {
            assert_eq!(server.next().await, Some(puback(number + 1)));
        }
    }
    assert_eq!(messages.take_lost(), 0);
}

/// The reader learns of the gap before it sees anything behind it.
#[tokio::test(start_paused = true)]
async fn a_failing_queue_ends_its_stream_until_the_loss_is_taken() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let queue = QueueOptions {
        limit: Some(1),
        overflow: Overflow::Fail,
        ..QueueOptions::default()
    };
    let mut messages = subscribed(&client, &mut server, queue).await;
    for number in 1..=3 {
        server.send(&message(number)).await;
        assert_eq!(server.next().await, Some(puback(number)));
    }
    assert_eq!(messages.next().await.unwrap().payload, "1");
    assert_eq!(messages.next().await, None);
    assert_eq!(messages.take_lost(), 2);
    server.send(&message(4)).await;
    assert_eq!(messages.next().await.unwrap().payload, "4");
}

/// A stream whose subscription the server lost and refuses to renew does not wait forever.
#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_subscription_is_not_renewed() {
    let (connection, mut server, attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let mut messages = subscribed(&client, &mut server, QueueOptions::default()).await;
    drop(server);
    let (mut server, _) = Server::accept(attempts.succeeds(4096), false).await;
    server.subscribe(ReasonCode::NotAuthorized).await;
    assert_eq!(in_time(messages.next()).await, None);
    let refusal = FilterRefusal::ByServer(ReasonCode::NotAuthorized);
    let refused = ("t".try_into().unwrap(), refusal);
    assert_eq!(messages.not_subscribed(), [refused]);
}
