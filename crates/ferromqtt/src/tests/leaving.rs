//! Leaving in order: what was accepted, and is waited for, has its outcome first.

use tokio::time::Instant;

use super::*;
use crate::{Client, ConnectionError, Delivery, OutgoingLimits, PublishError, ReasonCode, Receipt};

async fn enqueue(client: &Client) -> Receipt {
    let publishing = client.publish("t", "").qos(QoS::AtLeastOnce);
    publishing.enqueue().await.unwrap()
}

/// The window lets 20 of 100 out at a time.
#[tokio::test(start_paused = true)]
async fn disconnecting_waits_for_the_receipts_that_are_kept() {
    let window = options().max_in_flight(20);
    let (connection, mut server, _attempts) = connected(window, 4096).await;
    let client = connection.client();
    let mut receipts = Vec::new();
    for _ in 0..100 {
        receipts.push(enqueue(&client).await);
    }
    let leaving = tokio::spawn(connection.disconnect());
    for _ in 0..100 {
        let publish = server.publish().await;
        server.puback(publish.packet_id, ReasonCode::Success).await;
    }
    server.disconnected().await;
    drop(server);
    in_time(leaving).await.unwrap().unwrap();
    for receipt in receipts {
        receipt.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn new_calls_and_those_that_wait_for_room_are_refused() {
    let limits = OutgoingLimits {
        messages: Some(1),
        bytes: None,
    };
    let (connection, mut server, _attempts) = connected(options().outgoing(limits), 4096).await;
    let client = connection.client();
    let receipt = enqueue(&client).await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.publish("t", "").qos(QoS::AtLeastOnce).await }
    });
    let publish = server.publish().await;
    let leaving = tokio::spawn(connection.disconnect());
    let refused = PublishError::Disconnected {
        cause: ConnectionError::Closed,
        delivery: Delivery::NotSent,
    };
    assert_eq!(in_time(waiting).await.unwrap(), Err(refused.clone()));
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let late = client.publish("t", "late").qos(qos).await;
        assert_eq!(late, Err(refused.clone()));
    }
    assert!(client.subscribe("t").await.is_err());
    assert!(!leaving.is_finished());
    server.puback(publish.packet_id, ReasonCode::Success).await;
    server.disconnected().await;
    drop(server);
    in_time(leaving).await.unwrap().unwrap();
    receipt.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_was_dropped_is_not_waited_for() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    drop(enqueue(&connection.client()).await);
    server.publish().await;
    let start = Instant::now();
    let leaving = tokio::spawn(connection.disconnect());
    server.disconnected().await;
    drop(server);
    in_time(leaving).await.unwrap().unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_is_dropped_meanwhile_is_waited_for_no_longer() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let receipt = enqueue(&connection.client()).await;
    server.publish().await;
    let leaving = tokio::spawn(connection.disconnect());
    tokio::time::sleep(Duration::from_secs(1)).await; // virtual
    assert!(!leaving.is_finished());
    let start = Instant::now();
    drop(receipt);
    server.disconnected().await;
    drop(server);
    in_time(leaving).await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
}

/// A server that never acknowledges delays leaving for its limit, and does not keep DISCONNECT from it.
#[tokio::test(start_paused = true)]
async fn a_server_that_acknowledges_nothing_is_left_at_the_limit() {
    let limit = Duration::from_secs(3);
    let (connection, mut server, _attempts) =
        connected(options().disconnect_timeout(limit), 4096).await;
    let receipt = enqueue(&connection.client()).await;
    server.publish().await;
    let start = Instant::now();
    let leaving = tokio::spawn(connection.disconnect());
    server.disconnected().await;
    assert_eq!(start.elapsed(), limit);
    drop(server);
    in_time(leaving).await.unwrap().unwrap();
    let lost = PublishError::Disconnected {
        cause: ConnectionError::Closed,
        delivery: Delivery::Unknown,
    };
    assert_eq!(receipt.await, Err(lost));
}

/// What a task of the program's is still waiting for when the program returns.
#[tokio::test(start_paused = true)]
async fn a_scope_that_succeeds_waits_for_other_tasks_and_one_that_fails_does_not() {
    for fails in [false, true] {
        let (attempts, script) = Attempts::new();
        let stream = attempts.succeeds(4096);
        let start = Instant::now();
        let serving = tokio::spawn(async move {
            let (mut server, _) = Server::accept(stream, false).await;
            if !fails {
                let publish = server.publish().await;
                tokio::time::sleep(Duration::from_secs(2)).await; // virtual: it takes its time
                server.puback(publish.packet_id, ReasonCode::Success).await;
            }
            server.disconnected().await;
        });
        let connection = Connection::open_over(options(), script).await.unwrap();
        let program = async |client: Client| {
            let receipt = enqueue(&client).await; // not encoded yet when the program fails
            let waiting = tokio::spawn(receipt);
            match fails {
                true => Err(crate::Error::Publish(PublishError::Dropped)),
                false => Ok(waiting),
            }
        };
        let ended = in_time(crate::connection::scope_over(connection, program)).await;
        serving.await.unwrap();
        let waited = Duration::from_secs(if fails { 0 } else { 2 });
        assert_eq!(start.elapsed(), waited);
        if let Ok(waiting) = ended {
            waiting.await.unwrap().unwrap();
        }
    }
}
