//! Ending a connection when all that was accepted has its outcome.

use tokio::time::Instant;

use super::server::Server;
use super::*;
use crate::{ConnectionError, Delivery, OutgoingLimits, PublishError, ReasonCode};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn draining_waits_for_what_was_accepted_and_takes_nothing_more() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let publishing = client.publish("t", "accepted").qos(QoS::AtLeastOnce);
    let receipt = publishing.enqueue().await.unwrap();
    let draining = tokio::spawn(connection.drain(LIMIT));
    let publish = server.publish().await;
    tokio::time::sleep(Duration::from_secs(10)).await; // virtual: the server takes its time
    for qos in [QoS::AtMostOnce, QoS::ExactlyOnce] {
        let error = client.publish("t", "late").qos(qos).await.unwrap_err();
        assert_eq!(error, PublishError::Draining);
        assert_eq!(error.delivery(), Delivery::NotSent);
    }
    assert!(client.request("t", "late").await.is_err());
    assert!(!draining.is_finished());
    server.puback(publish.packet_id, ReasonCode::Success).await;
    server.disconnected().await;
    drop(server);
    let drained = draining.await.unwrap();
    assert!(drained.is_complete(), "{drained:?}");
    receipt.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn draining_ends_at_its_limit_and_tells_what_was_left() {
    let limits = OutgoingLimits {
        messages: Some(3),
        bytes: None,
    };
    let options = options().outgoing(limits).max_in_flight(1);
    let (connection, mut server, _attempts) = connected(options, 4096).await;
    let client = connection.client();
    let mut receipts = Vec::new();
    for _ in 0..3 {
        let publishing = client.publish("t", "").qos(QoS::AtLeastOnce);
        receipts.push(publishing.enqueue().await.unwrap());
    }
    let late = client.clone();
    let waiting =
        tokio::spawn(async move { late.publish("t", "").qos(QoS::AtLeastOnce).enqueue().await });
    tokio::task::yield_now().await; // it waits for room
    server.publish().await;
    let start = Instant::now();
    let (drained, _) = tokio::join!(connection.drain(LIMIT), async {
        let error = waiting.await.unwrap().unwrap_err();
        assert_eq!(error, PublishError::Draining);
        assert_eq!(start.elapsed(), Duration::ZERO);
        server.disconnected().await;
        drop(server);
    });
    assert_eq!(start.elapsed(), LIMIT);
    assert_eq!((drained.not_sent, drained.unknown), (2, 1));
    assert_eq!(drained.end, Ok(()));
    assert!(!drained.is_complete());
    for receipt in receipts {
        assert!(receipt.await.is_err());
    }
}

/// A connection that is lost meanwhile is made good, and what is owed is sent.
#[tokio::test(start_paused = true)]
async fn draining_goes_on_over_a_lost_connection() {
    let (connection, mut server, attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let publishing = client.publish("t", "").qos(QoS::AtLeastOnce);
    let receipt = publishing.enqueue().await.unwrap();
    server.publish().await;
    let draining = tokio::spawn(connection.drain(LIMIT));
    drop(server);
    let (mut server, _) = Server::accept(attempts.succeeds(4096), true).await;
    let publish = server.publish().await;
    server.puback(publish.packet_id, ReasonCode::Success).await;
    server.disconnected().await;
    drop(server);
    assert!(in_time(draining).await.unwrap().is_complete());
    receipt.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn draining_a_connection_that_had_ended_tells_why() {
    let (connection, server, _attempts) = connected(options().reconnect(None), 4096).await;
    let client = connection.client();
    drop(server);
    client.closed().await;
    let start = Instant::now();
    let drained = connection.drain(LIMIT).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(
        matches!(drained.end, Err(ConnectionError::Transport(_))),
        "{drained:?}"
    );
}

/// The server reads nothing, and never closes its side: neither writing nor closing waits for it any longer.
#[tokio::test(start_paused = true)]
async fn draining_takes_no_longer_than_its_limit_whatever_the_server_does() {
    for size in [64, 4096] {
        let (connection, server, _attempts) = connected(options(), size).await;
        let client = connection.client();
        let publishing = client.publish("t", vec![0; 1_000]).qos(QoS::AtLeastOnce);
        drop(publishing.enqueue().await.unwrap());
        let start = Instant::now();
        let drained = connection.drain(LIMIT).await;
        assert_eq!(start.elapsed(), LIMIT);
        assert_eq!((drained.not_sent, drained.unknown), (0, 1));
        assert_eq!(drained.end.is_err(), size == 64, "{drained:?}");
        drop(server);
    }
}

/// An operation that its caller gives up meanwhile is waited for no longer.
#[tokio::test(start_paused = true)]
async fn draining_does_not_wait_for_what_was_given_up() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let subscribing = tokio::spawn(async move { client.subscribe("t").await });
    assert!(matches!(server.next().await, Some(Packet::Subscribe(_))));
    let draining = tokio::spawn(connection.drain(LIMIT));
    tokio::task::yield_now().await;
    let start = Instant::now();
    subscribing.abort();
    while server.next().await.is_some() {} // UNSUBSCRIBE, DISCONNECT
    drop(server);
    let drained = draining.await.unwrap();
    assert_eq!(drained.end, Ok(()));
    assert!(start.elapsed() < Duration::from_secs(1));
}
