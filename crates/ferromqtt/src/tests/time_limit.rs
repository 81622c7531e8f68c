//! Publishes with a time limit: what is not on the wire when it is over is withdrawn, and each has exactly one outcome.

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::server::Server;
use super::*;
use crate::{Awaited, Client, Delivery, OutgoingLimits, OutgoingPolicy, PublishError, ReasonCode};

const LIMIT: Duration = Duration::from_secs(5);

fn timed_out(delivery: Delivery) -> PublishError {
    PublishError::TimedOut {
        awaited: Awaited::PubAck,
        limit: LIMIT,
        delivery,
    }
}

/// Room for one message.
fn narrow() -> Options {
    options().outgoing(OutgoingLimits {
        messages: Some(1),
        bytes: None,
    })
}

/// Publishes at QoS 1 with the limit, and expects it to be over at its end.
async fn publish(client: &Client, payload: &'static str) -> PublishError {
    let start = Instant::now();
    let publish = client.publish("t", payload).qos(QoS::AtLeastOnce);
    let error = in_time(publish.timeout(LIMIT).into_future()).await;
    assert_eq!(start.elapsed(), LIMIT);
    error.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn what_has_not_been_sent_when_its_time_is_over_is_withdrawn() {
    let (connection, server, attempts) = connected(options(), 4096).await;
    let client = connection.client();
    drop(server);
    let error = publish(&client, "withdrawn").await;
    assert_eq!(error, timed_out(Delivery::NotSent));
    assert_eq!(error.delivery(), Delivery::NotSent);
    let text = error.to_string();
    assert!(
        text.contains("within 5 s: the message was withdrawn"),
        "{text}"
    );
    let stream = attempts.succeeds(4096);
    let next = client
        .publish("t", "next")
        .qos(QoS::AtLeastOnce)
        .timeout(None);
    let (next, ()) = tokio::join!(next.into_future(), async {
        let (mut server, _) = Server::accept(stream, true).await;
        let publish = server.publish().await;
        assert_eq!(publish.payload, "next");
        server.puback(publish.packet_id, ReasonCode::Success).await;
    });
    next.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_on_the_wire_when_its_time_is_over_stays_in_the_session() {
    let (connection, mut server, attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let (error, first) = tokio::join!(publish(&client, "sent"), server.publish());
    assert_eq!(error, timed_out(Delivery::Unknown));
    assert_eq!(error.delivery(), Delivery::Unknown);
    let text = error.to_string();
    assert!(text.contains("may have arrived"), "{text}");
    drop(server);
    let (mut server, _) = Server::accept(attempts.succeeds(4096), true).await;
    let again = server.publish().await;
    assert!(again.dup);
    assert_eq!(again.packet_id, first.packet_id);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_when_the_time_is_over_leaves_it_to_the_others() {
    let (connection, mut server, _attempts) = connected(narrow(), 4096).await;
    let client = connection.client();
    let first = client.publish("t", "first").qos(QoS::AtLeastOnce);
    let first = first.enqueue().await.unwrap();
    assert_eq!(
        publish(&client, "second").await,
        timed_out(Delivery::NotSent)
    );
    let third = client.publish("t", "third").qos(QoS::AtLeastOnce);
    let start = Instant::now();
    let error = in_time(third.timeout(LIMIT).enqueue()).await.unwrap_err();
    assert_eq!(
        error,
        PublishError::TimedOut {
            awaited: Awaited::Capacity,
            limit: LIMIT,
            delivery: Delivery::NotSent
        }
    );
    assert_eq!(start.elapsed(), LIMIT);
    let last = client.publish("t", "last").qos(QoS::AtLeastOnce);
    let (last, ()) = tokio::join!(last.into_future(), async {
        for payload in ["first", "last"] {
            let publish = server.publish().await;
            assert_eq!(publish.payload, payload);
            server.puback(publish.packet_id, ReasonCode::Success).await;
        }
    });
    last.unwrap();
    first.await.unwrap();
}

/// Room comes while nobody polls the publish, and then its time is over.
#[tokio::test(start_paused = true)]
async fn what_was_accepted_in_the_last_moment_is_withdrawn_if_it_was_not_sent() {
    let window = narrow().max_in_flight(1);
    let limits = OutgoingLimits {
        messages: Some(2),
        bytes: None,
    };
    let (connection, mut server, _attempts) = connected(window.outgoing(limits), 4096).await;
    let client = connection.client();
    for payload in ["first", "second"] {
        let publish = client.publish("t", payload).qos(QoS::AtLeastOnce);
        drop(publish.enqueue().await.unwrap());
    }
    let third = client.publish("t", "third").qos(QoS::AtLeastOnce);
    let mut third = pin!(third.timeout(LIMIT).into_future());
    assert!(poll(third.as_mut()).is_pending());
    let first = server.publish().await;
    server.puback(first.packet_id, ReasonCode::Success).await;
    let second = server.publish().await; // so the third has room, and stays behind it
    tokio::time::sleep(LIMIT).await;
    assert_eq!(
        third.await.unwrap_err(),
        timed_out(Delivery::NotSent),
        "accepted, and not on the wire"
    );
    server.puback(second.packet_id, ReasonCode::Success).await;
    let last = client.publish("t", "last").qos(QoS::AtLeastOnce);
    drop(last.enqueue().await.unwrap());
    assert_eq!(server.publish().await.payload, "last");
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_that_has_come_when_the_time_is_over_counts() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let publish = client.publish("t", "").qos(QoS::AtLeastOnce);
    let mut publish = pin!(publish.timeout(LIMIT).into_future());
    assert!(poll(publish.as_mut()).is_pending());
    let sent = server.publish().await;
    server.puback(sent.packet_id, ReasonCode::Success).await;
    tokio::time::sleep(LIMIT * 2).await; // the driver reads it, and nobody polls the publish
    let Poll::Ready(published) = poll(publish) else {
        panic!("its outcome is there");
    };
    assert_eq!(published.unwrap().reason, ReasonCode::Success);
}

/// The core has the outcome, and the driver has not passed it on yet.
#[tokio::test(start_paused = true)]
async fn an_outcome_that_is_on_its_way_when_the_time_is_over_is_the_only_one() {
    let options = narrow().outgoing_policy(OutgoingPolicy::DropOldest);
    let (connection, server, _attempts) = connected(options, 4096).await;
    let client = connection.client();
    drop(server);
    tokio::time::sleep(Duration::from_millis(1)).await; // virtual: the driver notices
    let publish = client.publish("t", "dropped").qos(QoS::AtLeastOnce);
    let mut publish = pin!(publish.timeout(LIMIT).into_future());
    assert!(poll(publish.as_mut()).is_pending());
    tokio::time::sleep(LIMIT).await;
    let newer = client.publish("t", "newer").qos(QoS::AtLeastOnce);
    drop(newer.try_enqueue().unwrap());
    assert!(
        poll(publish.as_mut()).is_pending(),
        "not timed out, and not twice"
    );
    assert_eq!(in_time(publish).await.unwrap_err(), PublishError::Dropped);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_nothing_is_enough_for_what_is_sent_at_once() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let publish = client.publish("t", "at once").timeout(Duration::ZERO);
    publish.await.unwrap();
    assert_eq!(server.publish().await.payload, "at once");
    let slow = client.publish("t", "").qos(QoS::AtLeastOnce);
    let error = in_time(slow.timeout(Duration::ZERO).into_future()).await;
    let withdrawn = PublishError::TimedOut {
        awaited: Awaited::PubAck,
        limit: Duration::ZERO,
        delivery: Delivery::NotSent,
    };
    assert_eq!(error, Err(withdrawn));
    let forever = client.publish("t", "").timeout(Duration::MAX);
    forever.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_message_does_not_hold_up_draining() {
    let (connection, server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    drop(server);
    let publish = client.publish("t", "").qos(QoS::AtLeastOnce).timeout(LIMIT);
    let publishing = tokio::spawn(publish.into_owned().into_future());
    tokio::task::yield_now().await;
    let start = Instant::now();
    let drained = connection.drain(LIMIT * 4).await;
    assert_eq!(start.elapsed(), LIMIT, "{drained:?}");
    assert_eq!(publishing.await.unwrap(), Err(timed_out(Delivery::NotSent)));
}

/// Everything that a task of its own can do with a client that it does not hold.
#[tokio::test(start_paused = true)]
async fn operations_can_be_spawned_and_outlive_the_handle_that_made_them() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let publish = client.publish("t", "").qos(QoS::AtLeastOnce).into_owned();
    let subscribe = client.subscribe("a");
    let unsubscribe = client.unsubscribe("b");
    let request = client.request("t", "").timeout(LIMIT);
    drop(client);
    let publishing = tokio::spawn(publish.into_future());
    let sent = server.publish().await;
    server.puback(sent.packet_id, ReasonCode::Success).await;
    publishing.await.unwrap().unwrap();
    let subscribing = tokio::spawn(subscribe.into_future());
    server.subscribe(ReasonCode::Success).await;
    subscribing.await.unwrap().unwrap().detach();
    let unsubscribing = tokio::spawn(unsubscribe);
    assert_eq!(server.unsubscribe().await, "b");
    unsubscribing.await.unwrap().unwrap();
    let requesting = tokio::spawn(request.into_future());
    server.subscribe(ReasonCode::Success).await;
    assert!(requesting.await.unwrap().is_err());
}

/// Its time limit goes with the future: a message that was accepted is not taken back by dropping that.
#[tokio::test(start_paused = true)]
async fn a_publish_that_is_dropped_has_no_time_limit_any_more() {
    let (connection, server, attempts) = connected(options(), 4096).await;
    let client = connection.client();
    drop(server);
    while client.is_connected() {
        tokio::task::yield_now().await;
    }
    let publish = client.publish("t", "stays").qos(QoS::AtLeastOnce);
    let mut publish = Box::pin(publish.timeout(LIMIT).into_future());
    assert!(poll(publish.as_mut()).is_pending());
    drop(publish);
    tokio::time::sleep(LIMIT * 2).await; // virtual
    let (mut server, _) = Server::accept(attempts.succeeds(4096), true).await;
    assert_eq!(server.publish().await.payload, "stays");
}

/// A time limit needs the runtime's timers.
#[test]
fn nothing_is_sent_by_a_publish_with_a_time_limit_that_is_polled_outside_a_runtime() {
    let runtime = paused_runtime();
    let (connection, mut server, _attempts) = runtime.block_on(connected(options(), 4096));
    let client = connection.client();
    let limited = || {
        client
            .publish("t", "limited")
            .qos(QoS::AtLeastOnce)
            .timeout(LIMIT)
    };
    let publishing = std::panic::AssertUnwindSafe(|| {
        drop(poll(pin!(limited().into_future())));
    });
    assert!(std::panic::catch_unwind(publishing).is_err());
    let enqueueing = std::panic::AssertUnwindSafe(|| drop(poll(pin!(limited().enqueue()))));
    assert!(std::panic::catch_unwind(enqueueing).is_err());
    runtime.block_on(async {
        let unlimited = client.publish("t", "unlimited").qos(QoS::AtLeastOnce);
        let receipt = unlimited.enqueue().await.unwrap();
        assert_eq!(server.publish().await.payload, "unlimited");
        drop(receipt);
    });
}
