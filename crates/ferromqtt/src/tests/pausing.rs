//! Readers that are slower than the server: it is held back rather than messages lost, and nobody waits forever.

use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::packet::PublishPacket;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;

use super::holding::{message as qos1, sends_nothing, subscribed};
use super::*;
use crate::{Client, ConnectionEvent, Messages, Overflow, QueueOptions, ReasonCode};

const VERSION: crate::ProtocolVersion = crate::ProtocolVersion::V5;

fn publish(topic: &'static str, payload: impl Into<Bytes>) -> Packet {
    Packet::Publish(PublishPacket {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: Utf8String::from_static(topic).unwrap(),
        packet_id: None,
        properties: None,
        payload: payload.into(),
    })
}

fn encoded(packets: impl IntoIterator<Item = Packet>) -> Bytes {
    let mut bytes = BytesMut::new();
    for packet in packets {
        packet.encode(VERSION, &mut bytes);
    }
    bytes.freeze()
}

/// Messages of QoS 0 whose payloads are these numbers.
fn numbered(numbers: std::ops::Range<u32>) -> Bytes {
    encoded(numbers.map(|number| publish("t", number.to_be_bytes().to_vec())))
}

fn narrow(limit: usize) -> QueueOptions {
    QueueOptions {
        limit: Some(limit),
        ..QueueOptions::default()
    }
}

/// Has the server send this, as far as the client takes it. Gives the server back when all is sent.
fn sends(mut server: Server<DuplexStream>, bytes: Bytes) -> JoinHandle<Server<DuplexStream>> {
    tokio::spawn(async move {
        server.stream.write_all(&bytes).await.unwrap();
        server
    })
}

/// Whether the server could send all within a second, in which everyone does what there is to do.
async fn is_sent(sending: &JoinHandle<Server<DuplexStream>>) -> bool {
    timeout(Duration::from_secs(1), async {
        while !sending.is_finished() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .is_ok()
}

async fn take_numbers(messages: &mut Messages, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let message = in_time(messages.next()).await.unwrap();
        assert_eq!(message.payload[..], number.to_be_bytes());
    }
}

/// A stream of its defaults, and a reader that does not run until its queue is full: the server is held back, and the reader
/// gets every message.
#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_run_while_a_flood_comes_loses_nothing() {
    const COUNT: u32 = 150_000; // the queue takes 100,000
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let (messages, ()) = tokio::join!(
        client.subscribe("t").into_future(),
        server.subscribe(ReasonCode::Success)
    );
    let mut messages = messages.unwrap();
    let sending = sends(server, numbered(0..COUNT));
    assert!(!is_sent(&sending).await, "the server is held back");
    assert_eq!(messages.len(), 100_000);
    take_numbers(&mut messages, 0..COUNT).await;
    assert_eq!(messages.take_lost(), 0);
    assert_eq!(client.stats().lost, 0);
    in_time(sending).await.unwrap();
}

/// As many times as it takes, and with a pipe that holds next to nothing.
#[tokio::test(start_paused = true)]
async fn a_queue_of_one_passes_everything() {
    let (connection, mut server, _attempts) = connected(options(), 64).await;
    let client = connection.client();
    let mut messages = subscribed(&client, &mut server, narrow(1)).await;
    let sending = sends(server, numbered(0..2_000));
    take_numbers(&mut messages, 0..2_000).await;
    assert_eq!(messages.take_lost(), 0);
    in_time(sending).await.unwrap();
}

/// A full stream, whose server has more to send than the pipe holds, and has sent `behind` after that.
async fn full(
    client: &Client,
    mut server: Server<DuplexStream>,
    behind: Bytes,
) -> (Messages, JoinHandle<Server<DuplexStream>>) {
    let messages = subscribed(client, &mut server, narrow(4)).await;
    let mut bytes = BytesMut::from(&numbered(0..1_000)[..]);
    bytes.extend_from_slice(&behind);
    let sending = sends(server, bytes.freeze());
    assert!(!is_sent(&sending).await, "the server is held back");
    assert_eq!(client.stats().pauses, 1);
    (messages, sending)
}

/// The reader waits for the server's answer, which comes behind messages that have no room.
#[tokio::test(start_paused = true)]
async fn a_reader_that_publishes_is_answered() {
    let (connection, server, _attempts) = connected(options(), 256).await;
    let client = connection.client();
    let (mut messages, sending) = full(&client, server, Bytes::new()).await;
    messages.next().await.unwrap();
    let answering = tokio::spawn(async move {
        let mut server = sending.await.unwrap();
        let publish = server.publish().await;
        server.puback(publish.packet_id, ReasonCode::Success).await;
        server
    });
    let published = client.publish("answer", "x").qos(QoS::AtLeastOnce);
    in_time(published.into_future()).await.unwrap();
    assert_eq!(
        (messages.len(), messages.take_lost()),
        (8, 1_000 - 9),
        "twice its bounds"
    );
    // Nothing is to be answered any more: from here on nothing is lost.
    let sending = sends(in_time(answering).await.unwrap(), numbered(1_000..2_000));
    assert!(!is_sent(&sending).await);
    take_numbers(&mut messages, 1..9).await;
    take_numbers(&mut messages, 1_000..2_000).await;
    assert_eq!(messages.take_lost(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_subscribes_and_unsubscribes_is_answered() {
    let (connection, server, _attempts) = connected(options(), 256).await;
    let client = connection.client();
    let (messages, sending) = full(&client, server, Bytes::new()).await;
    let subscriber = client.clone();
    let subscribing = tokio::spawn(async move { subscriber.subscribe("more").await });
    let mut server = in_time(sending).await.unwrap();
    server.subscribe(ReasonCode::Success).await;
    let more = in_time(subscribing).await.unwrap().unwrap();
    let (ended, filter) = tokio::join!(in_time(more.unsubscribe()), server.unsubscribe());
    ended.unwrap();
    assert_eq!(filter, "more");
    drop(messages);
}

/// The end of the full stream is the end of the wait: by dropping it, by unsubscribing, by detaching.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_full_stream_lets_the_server_go_on() {
    for way in 0..3 {
        let (connection, server, _attempts) = connected(options(), 256).await;
        let client = connection.client();
        let (messages, sending) = full(&client, server, Bytes::new()).await;
        let mut unsubscribing = None;
        match way {
            0 => drop(messages),
            1 => messages.detach(),
            _ => unsubscribing = Some(tokio::spawn(messages.unsubscribe())),
        }
        let mut server = in_time(sending).await.unwrap();
        if way != 1 {
            assert_eq!(server.unsubscribe().await, "t");
        }
        if let Some(unsubscribing) = unsubscribing {
            in_time(unsubscribing).await.unwrap().unwrap();
        }
    }
}

/// Leaving waits neither for the reader nor for a limit of time.
#[tokio::test(start_paused = true)]
async fn a_paused_connection_is_left_at_once() {
    for drains in [false, true] {
        let (connection, server, _attempts) = connected(options(), 256).await;
        let client = connection.client();
        let (messages, sending) = full(&client, server, Bytes::new()).await;
        let began = tokio::time::Instant::now();
        let left = tokio::spawn(async move {
            if drains {
                connection.drain(Duration::from_secs(60)).await.end
            } else {
                connection.disconnect().await
            }
        });
        let mut server = in_time(sending).await.unwrap();
        assert_eq!(server.disconnected().await.reason, ReasonCode::Success);
        drop(server);
        in_time(left).await.unwrap().unwrap();
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
        drop(messages);
    }
}

/// The end of the connection is seen when its turn comes, and the next connection goes on.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_lost_during_a_pause_is_replaced() {
    let (connection, server, attempts) = connected(options(), 256).await;
    let client = connection.client();
    let (mut messages, sending) = full(&client, server, Bytes::new()).await;
    let reading = tokio::spawn(async move {
        take_numbers(&mut messages, 0..1_000).await;
        messages
    });
    drop(in_time(sending).await.unwrap());
    let (mut server, _) = Server::accept(attempts.succeeds(256), true).await;
    let mut messages = in_time(reading).await.unwrap();
    server.send(&publish("t", "next")).await;
    assert_eq!(in_time(messages.next()).await.unwrap().payload, "next");
    assert_eq!(messages.take_lost(), 0);
}

/// A stream that nobody polls holds up the others for 5 s, and then no more.
#[tokio::test(start_paused = true)]
async fn a_forgotten_stream_does_not_stop_the_others() {
    let (connection, mut server, _attempts) = connected(options(), 256).await;
    let client = connection.client();
    let (other, ()) = tokio::join!(
        client.subscribe("other").into_future(),
        server.subscribe(ReasonCode::Success)
    );
    let mut other = other.unwrap();
    let mut events = client.events();
    events.next().await;
    let behind = encoded([publish("other", "x")]);
    let (mut forgotten, sending) = full(&client, server, behind).await;
    let began = tokio::time::Instant::now();
    assert_eq!(in_time(other.next()).await.unwrap().payload, "x");
    assert!(began.elapsed() < Duration::from_secs(6));
    let Some(ConnectionEvent::Lagged { filters, .. }) = events.next().await else {
        panic!("its loss is told");
    };
    assert_eq!(filters, [crate::TopicFilter::new("t").unwrap()]);
    assert_eq!(client.stats().lost, 996);
    // It is polled again, and holds back its server again.
    take_numbers(&mut forgotten, 0..4).await;
    assert_eq!(forgotten.take_lost(), 996);
    let server = in_time(sending).await.unwrap();
    let sending = sends(server, numbered(0..1_000));
    assert!(!is_sent(&sending).await);
    take_numbers(&mut forgotten, 0..1_000).await;
}

/// A reader that waits for a message is there, and so is one that asks now and then without waiting.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_polled_is_not_forgotten() {
    let (connection, server, _attempts) = connected(options(), 256).await;
    let client = connection.client();
    let (mut messages, _sending) = full(&client, server, Bytes::new()).await;
    for _ in 0..300 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(messages.try_next().is_some());
    }
    assert_eq!(messages.take_lost(), 0);
}

/// A stream that withholds acknowledgements is named.
#[tokio::test(start_paused = true)]
async fn a_stream_that_holds_up_acknowledgements_is_named_after_5_seconds() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let mut messages = subscribed(&client, &mut server, narrow(1)).await;
    let mut events = client.events();
    events.next().await;
    let began = tokio::time::Instant::now();
    for number in 1..=2 {
        server.send(&qos1(number)).await;
    }
    let filters = vec!["t".try_into().unwrap()];
    let stalled = ConnectionEvent::Stalled { filters };
    assert_eq!(in_time(events.next()).await, Some(stalled));
    assert!(began.elapsed() >= Duration::from_secs(5));
    assert_eq!(client.stats().stalls, 1);
    server.next().await;
    assert!(sends_nothing(&mut server).await);
    messages.next().await.unwrap();
    server.next().await;
    assert_eq!(messages.take_lost(), 0);
}

/// Without anything to send it sends PINGREQ, hears the answer, and lives.
#[tokio::test(start_paused = true)]
async fn a_paused_client_is_not_ended_by_its_own_keep_alive() {
    let (connection, mut server, _attempts) =
        connected(options().keep_alive(Duration::from_secs(10)), 256).await;
    let client = connection.client();
    let mut messages = subscribed(&client, &mut server, narrow(4)).await;
    let (mut reader, mut writer) = tokio::io::split(server.stream);
    let flood = tokio::spawn(async move {
        writer.write_all(&numbered(0..3_000)).await.unwrap();
        writer
    });
    let pings = tokio::spawn(async move {
        let mut pings = 0;
        let mut read = [0; 64];
        while let Ok(count @ 1..) = tokio::io::AsyncReadExt::read(&mut reader, &mut read).await {
            pings += count / 2; // nothing answers but the flood
        }
        pings
    });
    for number in 0..120_u32 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let message = in_time(messages.next()).await.unwrap();
        assert_eq!(message.payload[..], number.to_be_bytes());
    }
    assert_eq!((messages.take_lost(), client.stats().connections), (0, 1));
    assert!(!flood.is_finished());
    drop((messages, connection, client));
    flood.abort();
    assert!(in_time(pings).await.unwrap() >= 5);
}

/// Large messages are seen by their reader while they come: the driver does not fill the queue first.
#[tokio::test(start_paused = true)]
async fn readers_run_while_large_messages_come() {
    const COUNT: usize = 64;
    let (connection, mut server, _attempts) = connected(options(), 80 << 20).await;
    let client = connection.client();
    let mut messages = subscribed(&client, &mut server, QueueOptions::default()).await;
    let payload = Bytes::from(vec![7; 1 << 20]);
    let flood = encoded((0..COUNT).map(|_| publish("t", payload.clone())));
    server.stream.write_all(&flood).await.unwrap();
    for _ in 0..COUNT {
        in_time(messages.next()).await.unwrap();
        assert!(messages.len() <= 2, "{} wait", messages.len());
    }
}

/// A loop over large messages that are all there lets others run after half a MiB.
#[tokio::test(start_paused = true)]
async fn a_reader_of_large_messages_lets_others_run() {
    let (connection, mut server, _attempts) = connected(options(), 4 << 20).await;
    let client = connection.client();
    let mut messages = subscribed(&client, &mut server, QueueOptions::default()).await;
    let payload = Bytes::from(vec![7; 64 * 1024]);
    let flood = encoded((0..32).map(|_| publish("t", payload.clone())));
    server.stream.write_all(&flood).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await; // until everyone waits
    assert_eq!(messages.len(), 32);
    let mut taken = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    while !messages.is_empty() {
        let mut in_a_row = 0;
        while let Poll::Ready(message) = std::pin::pin!(messages.next()).poll(&mut cx) {
            in_a_row += usize::from(message.is_some());
        }
        taken.push(in_a_row);
    }
    assert_eq!(taken, [8; 4]);
}

/// The policies that lose messages hold back nobody.
#[tokio::test(start_paused = true)]
async fn other_policies_hold_back_nobody() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::Fail] {
        let (connection, mut server, _attempts) = connected(options(), 256).await;
        let client = connection.client();
        let bounds = QueueOptions {
            overflow,
            ..narrow(4)
        };
        let mut messages = subscribed(&client, &mut server, bounds).await;
        let sending = sends(server, numbered(0..1_000));
        assert!(is_sent(&sending).await, "{overflow:?}");
        assert_eq!(client.stats().lost, 996);
        let mut count = 0;
        while messages.try_next().is_some() {
            count += 1;
        }
        assert_eq!((count, messages.take_lost()), (4, 996));
    }
}
