//! Connections in memory.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::ReasonCode;
use ferromqtt_proto::packet::{Packet, QoS};
use ferromqtt_testing::{BrokerOptions, BrokerUnreachable, TestBroker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Handle};
use tokio::time::Instant;

use crate::{Client, VERSION, connect, exchange, publish};

#[test]
fn a_broker_is_ready_before_there_is_a_runtime() {
    let broker = TestBroker::new();
    let runtime = || Builder::new_current_thread().enable_time().build().unwrap();
    // The second runtime finds the broker as the first has left it.
    for name in ["first", "second"] {
        runtime().block_on(async {
            let mut client = Client::in_memory(&broker, connect(name)).await;
            client.send(&Packet::PingReq).await;
            assert_eq!(client.next().await, Some(Packet::PingResp));
        });
        assert_eq!(broker.stats().connections, 0, "its runtime has gone");
    }
    drop(broker);
}

#[test]
#[should_panic(expected = "make it by TestBroker::start or bind, or connect in memory")]
fn a_broker_that_does_not_listen_has_no_address() {
    TestBroker::new().url();
}

#[tokio::test(start_paused = true)]
async fn messages_go_from_client_to_client_whole_and_in_order_in_memory() {
    let broker = TestBroker::new();
    let mut subscriber = Client::in_memory(&broker, connect("subscriber")).await;
    let mut publisher = Client::in_memory(&broker, connect("publisher")).await;
    exchange(&mut publisher, &mut subscriber).await;
    assert_eq!(broker.stats().connections, 2);
    broker.stop().await;
}

#[tokio::test]
async fn a_broker_that_listens_serves_clients_in_memory_too() {
    let broker = TestBroker::start().await.unwrap();
    let mut subscriber = Client::connect(&broker, connect("on a socket")).await;
    subscriber.subscribe("t", QoS::AtMostOnce).await;
    let mut publisher = Client::in_memory(&broker, connect("in memory")).await;
    publisher
        .send(&publish("t", Bytes::from_static(b"x")))
        .await;
    assert!(matches!(subscriber.next().await, Some(Packet::Publish(_))));
    broker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_and_dropping_end_connections_and_refuse_new_ones() {
    for stops in [true, false] {
        let broker = TestBroker::new();
        let open = broker.transport();
        let mut client = Client::in_memory(&broker, connect("c")).await;
        match stops {
            true => broker.stop().await,
            false => drop(broker),
        }
        assert_eq!(client.next().await, None);
        let written = client.stream.write_all(b"\xc0\x00").await;
        assert_eq!(written.unwrap_err().kind(), ErrorKind::BrokenPipe);
        let refused = open("server").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let reason = refused
            .get_ref()
            .unwrap()
            .downcast_ref::<BrokerUnreachable>();
        let text = reason.unwrap().to_string();
        assert!(text.starts_with("the test broker has stopped"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_hundred_starts_and_stops_leave_no_task() {
    let metrics = Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    for round in 0..200 {
        let broker = TestBroker::new();
        let client = Client::in_memory(&broker, connect("c")).await;
        let silent = broker.connect().unwrap();
        match round % 4 {
            0 => broker.stop().await,
            1 => drop(broker),
            2 => {
                drop((client, silent)); // before the broker
                broker.stop().await;
                continue;
            }
            _ => {
                drop(client);
                broker.stop().await;
            }
        }
    }
    while metrics.num_alive_tasks() > before {
        tokio::task::yield_now().await; // those of brokers that were dropped end as soon as they can
    }
}

/// A write that fails at once would hide from a client why it was closed.
#[tokio::test(start_paused = true)]
async fn a_client_that_still_writes_can_read_in_memory_why_it_was_closed() {
    let broker = TestBroker::new();
    let mut client = Client::in_memory(&broker, connect("c")).await;
    client.subscribe("t", QoS::AtMostOnce).await;
    let mut bytes = BytesMut::new();
    publish("t", Bytes::from_static(b"before")).encode(VERSION, &mut bytes);
    bytes.extend_from_slice(b"\x00\x00"); // malformed
    bytes.resize(1_000_000, 0); // more than the connection holds
    let written = client.stream.write_all(&bytes).await;
    written.expect("the broker takes it, and throws it away");
    assert!(matches!(client.next().await, Some(Packet::Publish(_))));
    let end = client.stream.read(&mut [0]).await;
    assert_eq!(end.expect("an end"), 0);
    broker.stop().await;
}

/// It held its task and its connection for as long as the client pleased.
#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_let_go_when_its_time_to_leave_is_over() {
    let mut options = BrokerOptions::default();
    options.handshake_timeout = Duration::from_secs(5);
    let broker = TestBroker::with_options(options);
    let alive = || Handle::current().metrics().num_alive_tasks();
    let mut stuck = Client::in_memory(&broker, connect("stuck")).await;
    stuck.subscribe("t", QoS::AtMostOnce).await;
    let mut publisher = Client::in_memory(&broker, connect("publisher")).await;
    let before = alive();
    for _ in 0..10 {
        publisher.send(&publish("t", vec![0; 50_000].into())).await;
    }
    publisher.send(&Packet::PingReq).await;
    assert_eq!(publisher.next().await, Some(Packet::PingResp));
    let reason = ReasonCode::AdministrativeAction;
    assert_eq!(broker.disconnect_client("stuck", reason, None), Ok(true));
    let began = Instant::now();
    while alive() == before {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Five seconds to read what the broker has for it, and ten for what was on the way.
    assert_eq!(began.elapsed(), Duration::from_millis(15_100));
    broker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn connections_in_memory_beyond_the_bound_are_closed() {
    let mut options = BrokerOptions::default();
    options.maximum_connections = 0;
    let broker = TestBroker::with_options(options);
    let mut streams = Vec::new();
    for _ in 0..101 {
        streams.push(broker.connect().unwrap());
    }
    let error = streams[100].read_u8().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(broker.stats().connections, 100);
    broker.stop().await;
}
