//! Waiting for room in the outgoing queue: whoever waits is let in by the driver, and holds up nobody.

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::{
    Client, ConnectionError, Delivery, OutgoingLimits, OutgoingPolicy, PublishError, ReasonCode,
    SubscribeError,
};

/// One message in flight, and no room for another.
fn narrow() -> Options {
    let limits = OutgoingLimits {
        messages: Some(1),
        bytes: None,
    };
    options().outgoing(limits).max_in_flight(1)
}

/// Polls a future once, as a `select!` does with the branch that loses. It has to wait.
fn begin(future: std::pin::Pin<&mut impl Future>) {
    let polled = future.poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
}

async fn acknowledge(server: &mut Server<DuplexStream>, payload: &str) {
    let publish = server.publish().await;
    assert_eq!(publish.payload, payload);
    server.puback(publish.packet_id, ReasonCode::Success).await;
}

async fn fill(client: &Client) {
    let publish = client.publish("t", "first").qos(QoS::AtLeastOnce);
    drop(publish.enqueue().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_waits_and_is_not_polled_holds_up_no_other() {
    let (connection, mut server, _attempts) = connected(narrow(), 4096).await;
    let client = connection.client();
    fill(&client).await;
    let mut second = pin!(
        client
            .publish("t", "second")
            .qos(QoS::AtLeastOnce)
            .into_future()
    );
    begin(second.as_mut());
    let third = client.publish("t", "third").qos(QoS::AtLeastOnce);
    let (third, ()) = tokio::join!(in_time(third.into_future()), async {
        for payload in ["first", "second", "third"] {
            acknowledge(&mut server, payload).await;
        }
    });
    third.unwrap();
    in_time(second).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_leaves_the_line_to_the_others() {
    let (connection, mut server, _attempts) = connected(narrow(), 4096).await;
    let client = connection.client();
    fill(&client).await;
    let third = {
        let mut second = pin!(
            client
                .publish("t", "second")
                .qos(QoS::AtLeastOnce)
                .enqueue()
        );
        begin(second.as_mut());
        let mut third = Box::pin(
            client
                .publish("t", "third")
                .qos(QoS::AtLeastOnce)
                .into_future(),
        );
        begin(third.as_mut());
        third
    };
    let (third, ()) = tokio::join!(in_time(third), async {
        acknowledge(&mut server, "first").await;
        acknowledge(&mut server, "third").await;
    });
    third.unwrap();
}

/// Accepted by the driver while nobody polled it, and not written: it is taken back.
#[tokio::test(start_paused = true)]
async fn who_gives_up_when_accepted_already_takes_the_message_back_if_it_is_not_written() {
    let limits = OutgoingLimits {
        messages: Some(2),
        bytes: None,
    };
    let options = options().outgoing(limits).max_in_flight(1);
    let (connection, mut server, _attempts) = connected(options, 4096).await;
    let client = connection.client();
    fill(&client).await;
    let publish = client.publish("t", "second").qos(QoS::AtLeastOnce);
    drop(publish.enqueue().await.unwrap());
    let publish = client.publish("t", "third").qos(QoS::AtLeastOnce);
    let mut third = Box::pin(publish.enqueue());
    begin(third.as_mut());
    acknowledge(&mut server, "first").await;
    let publish = server.publish().await; // so the third has room, and stays behind it
    assert_eq!(publish.payload, "second");
    drop(third);
    server.puback(publish.packet_id, ReasonCode::Success).await;
    let last = client.publish("t", "last").qos(QoS::AtLeastOnce);
    let (last, ()) = tokio::join!(last.into_future(), acknowledge(&mut server, "last"));
    last.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_when_the_connection_ends_is_told_why() {
    let (connection, server, _attempts) = connected(narrow().reconnect(None), 4096).await;
    let client = connection.client();
    fill(&client).await;
    let mut publishing = pin!(client.publish("t", "").qos(QoS::AtLeastOnce).into_future());
    begin(publishing.as_mut());
    let mut requesting = pin!(client.request("t", "").into_future());
    begin(requesting.as_mut());
    drop(server);
    let Err(PublishError::Disconnected { cause, delivery }) = in_time(publishing).await else {
        panic!("its connection has ended");
    };
    assert!(matches!(cause, ConnectionError::Transport(_)), "{cause:?}");
    assert_eq!(delivery, Delivery::NotSent);
    assert!(in_time(requesting).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn trying_never_waits_and_says_that_the_queue_is_full() {
    for policy in [OutgoingPolicy::Wait, OutgoingPolicy::Refuse] {
        let options = narrow().outgoing_policy(policy);
        let (connection, mut server, _attempts) = connected(options, 4096).await;
        let client = connection.client();
        let attempt = |payload: &'static str| {
            client
                .publish("t", payload)
                .qos(QoS::AtLeastOnce)
                .try_enqueue()
        };
        let receipt = attempt("first").unwrap();
        let full = attempt("second").unwrap_err();
        let (limit, unit) = (1, "messages");
        assert_eq!(full, PublishError::QueueFull { limit, unit });
        assert!(
            full.to_string().contains("queue is full (1 message"),
            "{full}"
        );
        acknowledge(&mut server, "first").await;
        in_time(receipt).await.unwrap();
        let receipt = attempt("third").unwrap();
        acknowledge(&mut server, "third").await;
        in_time(receipt).await.unwrap();
        drop(client.publish("t", "at once").try_enqueue().unwrap());
        assert_eq!(server.publish().await.payload, "at once");
    }
}

/// One that was tried in vain must not make the core forget who waits.
#[tokio::test(start_paused = true)]
async fn trying_takes_no_room_from_the_memory_of_who_waits() {
    let limits = OutgoingLimits {
        messages: None,
        bytes: Some(100),
    };
    let options = options().outgoing(limits).max_in_flight(1);
    let (connection, mut server, _attempts) = connected(options, 4096).await;
    let client = connection.client();
    let first = vec![b'1'; 90];
    let publish = client.publish("t", first).qos(QoS::AtLeastOnce);
    drop(publish.enqueue().await.unwrap());
    let second = client.publish("t", vec![b'2'; 20]).qos(QoS::AtLeastOnce);
    let mut second = pin!(second.into_future());
    begin(second.as_mut());
    let large = client.publish("t", vec![b'3'; 99]).qos(QoS::AtLeastOnce);
    assert!(large.try_enqueue().is_err());
    let answering = async {
        for first_byte in [b'1', b'2'] {
            let publish = server.publish().await;
            assert_eq!(publish.payload[0], first_byte);
            server.puback(publish.packet_id, ReasonCode::Success).await;
        }
    };
    let (second, ()) = tokio::join!(in_time(second), answering);
    second.unwrap();
}

#[test]
fn a_client_whose_runtime_is_gone_accepts_nothing_and_says_so() {
    let first = paused_runtime();
    let (connection, server, attempts) = first.block_on(connected(options(), 4096));
    let client = connection.client();
    drop(first);
    let reported = async {
        assert!(!client.is_connected());
        let ended = PublishError::Disconnected {
            cause: ConnectionError::DriverGone,
            delivery: Delivery::NotSent,
        };
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            assert_eq!(client.publish("t", "").qos(qos).await, Err(ended.clone()));
            let tried = client.publish("t", "").qos(qos).try_enqueue();
            assert_eq!(tried.map(drop), Err(ended.clone()));
        }
        assert!(client.request("t", "").await.is_err());
        let subscribed = client.subscribe("t").await;
        assert!(matches!(
            subscribed,
            Err(SubscribeError::Disconnected { .. })
        ));
        assert!(client.unsubscribe("t").await.is_err());
    };
    paused_runtime().block_on(in_time(reported));
    drop((server, attempts));
}

#[tokio::test(start_paused = true)]
async fn no_time_limit_is_too_long() {
    let options = options().disconnect_timeout(Duration::MAX);
    let (connection, mut server, _attempts) = connected(options, 4096).await;
    let draining = tokio::spawn(connection.drain(Duration::MAX));
    server.disconnected().await;
    drop(server);
    assert!(draining.await.unwrap().is_complete());
}

#[test]
fn trying_needs_no_runtime() {
    let runtime = paused_runtime();
    let (connection, mut server, _attempts) = runtime.block_on(connected(options(), 4096));
    let client = connection.client();
    let receipt = client
        .publish("t", "x")
        .qos(QoS::AtLeastOnce)
        .try_enqueue()
        .unwrap();
    runtime.block_on(async {
        acknowledge(&mut server, "x").await;
        receipt.await.unwrap();
    });
    assert!(matches!(
        pin!(client.closed()).poll(&mut Context::from_waker(Waker::noop())),
        Poll::Pending
    ));
}
