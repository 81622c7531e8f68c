//! Calls before there is a connection.

use super::server::Server;
use super::*;
use crate::{
    ConnectionError, Delivery, OutgoingLimits, PublishError, ReasonCode, Reconnect, SubscribeError,
    TransportError,
};

#[tokio::test(start_paused = true)]
async fn what_is_published_before_the_connection_leaves_in_its_order_when_it_is_there() {
    let (attempts, script) = Attempts::new();
    let connection = Connection::start_over(&options(), script).unwrap();
    let client = connection.client();
    assert!(!client.is_connected());
    let subscribing = client.clone();
    let subscribing = tokio::spawn(async move { subscribing.subscribe("t").await });
    let mut receipts = Vec::new();
    for (payload, qos) in [("1", QoS::AtMostOnce), ("2", QoS::AtLeastOnce)] {
        let publishing = client.publish("t", payload).qos(qos);
        receipts.push(publishing.enqueue().await.unwrap());
    }
    let (mut server, _) = Server::accept(attempts.succeeds(4096), false).await;
    server.subscribe(ReasonCode::Success).await;
    assert_eq!(server.publish().await.payload, "1");
    let second = server.publish().await;
    assert_eq!(second.payload, "2");
    server.puback(second.packet_id, ReasonCode::Success).await;
    for receipt in receipts {
        receipt.await.unwrap();
    }
    drop(subscribing.await.unwrap().unwrap());
    assert_eq!(client.connected().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_connection_and_a_receipt_are_shown_in_a_line() {
    let (_attempts, script) = Attempts::new();
    let connection = Connection::start_over(&options(), script).unwrap();
    let client = connection.client();
    let receipt = client.publish("t", "x").qos(QoS::AtLeastOnce);
    let receipt = receipt.enqueue().await.unwrap();
    assert_eq!(format!("{receipt:?}"), r#"Receipt("accepted")"#);
    let shown = format!("Connection {{ client: {client:?}, .. }}");
    assert_eq!(format!("{connection:?}"), shown);
}

/// Each call ends once, with the cause, whether it was accepted or waited for room.
#[tokio::test(start_paused = true)]
async fn each_call_ends_once_when_the_first_connection_never_comes() {
    let (attempts, script) = Attempts::new();
    let limits = OutgoingLimits {
        messages: Some(2),
        bytes: None,
    };
    let connection = Connection::start_over(&options().outgoing(limits), script).unwrap();
    let client = connection.client();
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.publish("t", "").qos(QoS::AtLeastOnce).await })
        })
        .collect();
    let subscribing = client.clone();
    let subscribing = tokio::spawn(async move { subscribing.subscribe("t").await });
    tokio::task::yield_now().await;
    attempts.fails();
    let cause = in_time(client.closed()).await;
    assert!(
        matches!(cause, ConnectionError::Transport(TransportError::Failed(_))),
        "{cause:?}"
    );
    for call in calls {
        let error = in_time(call).await.unwrap().unwrap_err();
        let expected = PublishError::Disconnected {
            cause: cause.clone(),
            delivery: Delivery::NotSent,
        };
        assert_eq!(error, expected);
        let text = error.to_string();
        assert!(text.contains("Reconnect::initial"), "{text}");
    }
    let error = in_time(subscribing).await.unwrap().unwrap_err();
    assert!(
        matches!(error, SubscribeError::Disconnected { .. }),
        "{error:?}"
    );
    assert_eq!(client.connected().await, Err(cause.clone()));
    assert_eq!(connection.disconnect().await, Err(cause));
}

/// Without reconnecting the first attempt is the only one, and calls wait for it all the same.
#[tokio::test(start_paused = true)]
async fn calls_wait_for_the_only_attempt() {
    for comes in [true, false] {
        let (attempts, script) = Attempts::new();
        let connection = Connection::start_over(&options().reconnect(None), script).unwrap();
        let client = connection.client();
        let early = client.publish("t", "early").qos(QoS::AtLeastOnce);
        let receipt = early.enqueue().await.unwrap();
        let plain = client.publish("t", "plain").enqueue().await.unwrap();
        let subscribing = client.clone();
        let subscribing = tokio::spawn(async move { subscribing.subscribe("t").await });
        tokio::task::yield_now().await;
        if comes {
            let (mut server, _) = Server::accept(attempts.succeeds(4096), false).await;
            server.subscribe(ReasonCode::Success).await;
            let publish = server.publish().await;
            assert_eq!(publish.payload, "early");
            server.puback(publish.packet_id, ReasonCode::Success).await;
            assert_eq!(server.publish().await.payload, "plain");
            in_time(receipt).await.unwrap();
            in_time(plain).await.unwrap();
            drop(in_time(subscribing).await.unwrap().unwrap());
            continue;
        }
        attempts.fails();
        let cause = in_time(client.closed()).await;
        assert!(
            matches!(cause, ConnectionError::Transport(TransportError::Failed(_))),
            "{cause:?}"
        );
        let delivery = Delivery::NotSent;
        let ended = PublishError::Disconnected {
            cause: cause.clone(),
            delivery,
        };
        assert_eq!(in_time(receipt).await, Err(ended.clone()));
        assert_eq!(in_time(plain).await, Err(ended));
        let error = in_time(subscribing).await.unwrap().unwrap_err();
        assert_eq!(error, SubscribeError::Disconnected { cause, delivery });
    }
}

#[tokio::test(start_paused = true)]
async fn a_patient_start_tries_until_there_is_a_server() {
    let (attempts, script) = Attempts::new();
    let patient = Reconnect {
        initial: true,
        ..Reconnect::default()
    };
    let connection = Connection::start_over(&options().reconnect(patient), script).unwrap();
    let client = connection.client();
    let publishing = client.publish("t", "early").qos(QoS::AtLeastOnce);
    let receipt = publishing.enqueue().await.unwrap();
    for _ in 0..20 {
        attempts.fails();
    }
    let (mut server, connect) = Server::accept(attempts.succeeds(4096), false).await;
    assert!(connect.clean_start);
    let publish = server.publish().await;
    assert_eq!(publish.payload, "early");
    server.puback(publish.packet_id, ReasonCode::Success).await;
    receipt.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropping_it_before_the_connection_gives_the_attempt_up() {
    let (attempts, script) = Attempts::new();
    let connection = Connection::start_over(&options(), script).unwrap();
    let client = connection.client();
    let receipt = client.publish("t", "").qos(QoS::AtLeastOnce).enqueue();
    let receipt = receipt.await.unwrap();
    drop(connection);
    let expected = PublishError::Disconnected {
        cause: ConnectionError::Dropped,
        delivery: Delivery::NotSent,
    };
    assert_eq!(in_time(receipt).await, Err(expected));
    in_time(attempts.0.closed()).await; // the driver has dropped its end
}
