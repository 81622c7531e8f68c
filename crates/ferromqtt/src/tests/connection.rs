//! Opening, losing, regaining and closing a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ferromqtt_proto::packet::{self, Packet};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};

use super::server::Server;
use super::{Attempts, connected, in_time, message, options, paused_runtime};
use crate::connection::scope_over;
use crate::{
    Client, ConnectError, Connection, ConnectionError, ConnectionEvent, Delivery, Error, Messages,
    PublishError, QoS, ReasonCode, SubscribeError, TransportError,
};

#[test]
fn public_types_go_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Client>();
    shared::<Connection>();
    shared::<Messages>();
    shared::<crate::Receipt>();
    shared::<crate::PublishFuture<'static>>();
    shared::<crate::Publish<'static>>();
    shared::<crate::Subscribe>();
    shared::<Error>();
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up_after_keep_alive_and_half_of_it_mqtt_3_1_2_20() {
    let options = options()
        .keep_alive(Duration::from_secs(60))
        .reconnect(None);
    let (connection, mut server, _attempts) = connected(options, 4096).await;
    let start = Instant::now();
    let client = connection.client();
    let closed = client.closed();
    tokio::pin!(closed);
    assert!(timeout(Duration::from_secs(89), &mut closed).await.is_err());
    assert_eq!(server.next().await, Some(Packet::PingReq));
    assert_eq!(closed.await, ConnectionError::KeepAliveTimeout);
    assert_eq!(start.elapsed().as_secs(), 90);
    let end = connection.disconnect().await;
    assert_eq!(end, Err(ConnectionError::KeepAliveTimeout));
}

#[tokio::test(start_paused = true)]
async fn an_answered_ping_keeps_the_connection() {
    let (connection, mut server, _attempts) = connected(options().reconnect(None), 4096).await;
    for _ in 0..5 {
        assert_eq!(server.next().await, Some(Packet::PingReq));
        server.send(&Packet::PingResp).await;
    }
    assert!(connection.client().is_connected());
    let (end, _) = tokio::join!(connection.disconnect(), server.disconnected());
    assert_eq!(end, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_connect_is_given_up_in_time() {
    let (attempts, script) = Attempts::new();
    let _silent = attempts.succeeds(4096);
    let options = options().connect_timeout(Duration::from_secs(7));
    let start = Instant::now();
    let error = Connection::open_over(options, script).await.unwrap_err();
    let silent = ConnectError::TimedOut {
        server: super::Place::new("in memory", 1883),
        limit: Duration::from_secs(7),
        opened: true,
    };
    assert_eq!(error, silent);
    assert_eq!(start.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_does_not_open_is_given_up_in_time() {
    let (_attempts, script) = Attempts::new();
    let error = Connection::open_over(options(), script).await.unwrap_err();
    let silent = ConnectError::TimedOut {
        server: super::Place::new("in memory", 1883),
        limit: Duration::from_secs(10),
        opened: false,
    };
    assert_eq!(error, silent);
}

#[tokio::test(start_paused = true)]
async fn opening_that_is_given_up_closes_the_transport() {
    let (attempts, script) = Attempts::new();
    let mut stream = attempts.succeeds(4096);
    let opening = Connection::open_over(options(), script);
    assert!(timeout(Duration::from_secs(1), opening).await.is_err());
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap(); // ends only when the other side is dropped
    assert_eq!(bytes[0], 0x10, "CONNECT alone");
}

#[tokio::test(start_paused = true)]
async fn opening_that_is_given_up_ends_the_attempt() {
    let (attempts, script) = Attempts::new(); // the attempt waits forever
    let opening = Connection::open_over(options(), script);
    assert!(
        in_time(timeout(Duration::from_secs(1), opening))
            .await
            .is_err()
    );
    in_time(attempts.0.closed()).await; // the driver has dropped its end
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_delays_disconnecting_for_the_time_limit_only() {
    let options = options().disconnect_timeout(Duration::from_secs(3));
    let (connection, server, _attempts) = connected(options, 256).await;
    connection
        .client()
        .publish("t", vec![0; 10_000])
        .await
        .unwrap();
    let start = Instant::now();
    let end = connection.disconnect().await;
    assert!(
        matches!(
            end,
            Err(ConnectionError::Transport(TransportError::Failed(_)))
        ),
        "{end:?}"
    );
    assert_eq!(start.elapsed().as_secs(), 3);
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn a_full_transport_does_not_stop_delivery() {
    let (connection, mut server, _attempts) = connected(options(), 256).await;
    let client = connection.client();
    let stuck = client.publish("t", vec![0; 10_000]).qos(QoS::AtLeastOnce);
    let stuck = stuck.enqueue().await.unwrap();
    for payload in ["one", "two", "three"] {
        server.send(&message(payload)).await;
        let mut messages = client.messages();
        let received = in_time(messages.next()).await.unwrap();
        assert_eq!(received.payload, payload);
    }
    let publish = server.publish().await;
    assert_eq!(publish.payload.len(), 10_000);
    server.puback(publish.packet_id, ReasonCode::Success).await;
    stuck.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropping_the_connection_disconnects_in_the_background_and_ends_the_session() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    client.publish("t", "last").await.unwrap();
    drop(connection);
    assert_eq!(server.publish().await.payload, "last");
    let disconnect = server.disconnected().await;
    assert_eq!(disconnect.reason, ReasonCode::Success);
    assert_eq!(disconnect.properties.session_expiry_interval, Some(0));
    assert_eq!(client.closed().await, ConnectionError::Dropped);
    let error = client.publish("t", "").await.unwrap_err();
    assert_eq!(
        error,
        PublishError::Disconnected {
            cause: ConnectionError::Dropped,
            delivery: Delivery::NotSent,
        }
    );
    assert!(error.to_string().contains("was dropped"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_disconnect_says_how_long_the_session_is_kept() {
    for seconds in [0, 60] {
        let limit = Duration::from_secs(seconds);
        let options = options().session_expiry_at_disconnect(limit);
        let (connection, mut server, _attempts) = connected(options, 4096).await;
        let ending = tokio::spawn(connection.disconnect());
        let properties = server.disconnected().await.properties;
        drop(server);
        assert_eq!(
            properties.session_expiry_interval.map(u64::from),
            Some(seconds)
        );
        assert_eq!(ending.await.unwrap(), Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_under_way_when_the_connection_was_dropped_says_so() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let receipt = client.publish("t", "").qos(QoS::AtLeastOnce).enqueue();
    let receipt = receipt.await.unwrap();
    let subscribing = tokio::spawn({
        let client = client.clone();
        async move { client.subscribe("t").await.unwrap_err() }
    });
    server.publish().await;
    assert!(matches!(server.next().await, Some(Packet::Subscribe(_))));
    let mut events = client.events();
    drop(connection);
    let (cause, delivery) = (ConnectionError::Dropped, Delivery::Unknown);
    let lost = PublishError::Disconnected {
        cause: cause.clone(),
        delivery,
    };
    assert_eq!(receipt.await, Err(lost));
    let lost = SubscribeError::Disconnected {
        cause: cause.clone(),
        delivery,
    };
    assert_eq!(subscribing.await.unwrap(), lost);
    let reported = loop {
        match events.next().await {
            Some(ConnectionEvent::Disconnected { cause, .. }) => break cause,
            Some(_) => {}
            None => panic!("the end is an event"),
        }
    };
    assert_eq!(reported, cause);
}

/// Asked to leave first, dropped then: the program has asked.
#[tokio::test(start_paused = true)]
async fn a_connection_that_was_asked_to_disconnect_is_not_called_dropped() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let leaving = tokio::spawn(connection.disconnect());
    server.disconnected().await;
    leaving.abort();
    drop(server);
    assert_eq!(client.closed().await, ConnectionError::Closed);
}

#[tokio::test(start_paused = true)]
async fn disconnecting_with_the_will_says_so_and_ends_the_session_too() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let ending = tokio::spawn(connection.disconnect_with_will());
    let disconnect = server.disconnected().await;
    drop(server);
    assert_eq!(disconnect.reason, ReasonCode::DisconnectWithWill);
    assert_eq!(disconnect.properties.session_expiry_interval, Some(0));
    assert_eq!(ending.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn after_a_loss_it_retries_until_it_is_back_and_resends_with_dup_mqtt_4_4_0_1() {
    let (connection, mut server, attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let publish = client.publish("t", "precious").qos(QoS::AtLeastOnce);
    let receipt = publish.enqueue().await.unwrap();
    let first = server.publish().await;
    assert!(!first.dup);
    attempts.fails();
    attempts.fails();
    let stream = attempts.succeeds(4096);
    drop(server);
    let (mut server, connect) = Server::accept(stream, true).await;
    assert!(!connect.clean_start);
    let again = server.publish().await;
    assert!(again.dup);
    assert_eq!(
        (again.packet_id, again.payload),
        (first.packet_id, first.payload)
    );
    server.puback(again.packet_id, ReasonCode::Success).await;
    assert!(!receipt.await.unwrap().resent_as_new);
    assert_eq!(client.stats().connections, 2);
}

#[tokio::test(start_paused = true)]
async fn disconnecting_while_there_is_no_connection_says_so() {
    let (connection, server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let waiting = client.publish("t", "").qos(QoS::AtLeastOnce).enqueue();
    let waiting = waiting.await.unwrap();
    drop(server);
    let start = Instant::now();
    let end = connection.disconnect().await;
    assert!(matches!(end, Err(ConnectionError::Transport(_))), "{end:?}");
    assert!(start.elapsed() < Duration::from_secs(6));
    let Err(PublishError::Disconnected { .. }) = waiting.await else {
        panic!("a receipt ends with the connection");
    };
}

#[tokio::test(start_paused = true)]
async fn what_the_server_said_before_it_closed_is_the_cause_though_writing_failed() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let goodbye = packet::Disconnect::because(ReasonCode::SessionTakenOver);
    server.send(&Packet::Disconnect(Box::new(goodbye))).await;
    drop(server);
    client.publish("t", "into the void").await.unwrap();
    let end = in_time(client.closed()).await;
    assert!(
        matches!(
            end,
            ConnectionError::Disconnected {
                reason: ReasonCode::SessionTakenOver,
                ..
            }
        ),
        "{end:?}"
    );
    assert_eq!(client.messages().next().await, None);
}

#[test]
fn nobody_waits_for_a_driver_whose_runtime_was_shut_down() {
    let first = paused_runtime();
    let (connection, server, attempts) = first.block_on(connected(options(), 4096));
    let client = connection.client();
    let receipt = first
        .block_on(client.publish("t", "").qos(QoS::AtLeastOnce).enqueue())
        .unwrap();
    drop(first);
    let reported = async {
        let Err(error) = receipt.await else {
            panic!("nobody has acknowledged it");
        };
        let (cause, delivery) = (ConnectionError::DriverGone, Delivery::Unknown);
        assert_eq!(error, PublishError::Disconnected { cause, delivery });
        assert!(error.to_string().contains("runtime"), "{error}");
        assert_eq!(client.messages().next().await, None);
        assert_eq!(client.closed().await, ConnectionError::DriverGone);
        let (cause, delivery) = (ConnectionError::DriverGone, Delivery::NotSent);
        let refused = PublishError::Disconnected { cause, delivery };
        assert_eq!(client.publish("t", "").await, Err(refused));
        assert!(connection.disconnect().await.is_err());
    };
    paused_runtime().block_on(in_time(reported));
    drop((server, attempts));
}

#[tokio::test(start_paused = true)]
async fn loops_that_never_wait_leave_their_thread_to_others() {
    const PUBLISHES: usize = 4 * 1_024;
    let (connection, mut server, _attempts) = connected(options(), 1 << 20).await;
    let client = connection.client();
    let turns = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&turns);
    let ticker = tokio::spawn(async move {
        loop {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..PUBLISHES {
        client.publish("t", "").await.unwrap();
    }
    ticker.abort();
    assert!(turns.load(Ordering::Relaxed) > 2);
    for _ in 0..PUBLISHES {
        server.publish().await;
    }
}

/// Counts how often another task of the thread runs while `call` is awaited again and again, without a pause.
async fn turns_of_others<T>(mut call: impl AsyncFnMut() -> T) -> u64 {
    const CALLS: usize = 8 * 1_024;
    let turns = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&turns);
    let ticker = tokio::spawn(async move {
        loop {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..CALLS {
        call().await;
    }
    ticker.abort();
    turns.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn loops_of_calls_that_fail_leave_their_thread_to_others() {
    let (connection, server, _attempts) = connected(options().reconnect(None), 4096).await;
    let client = connection.client();
    drop(server);
    client.closed().await;
    let mut messages = client.messages();
    let turns = [
        turns_of_others(async || client.publish("t", "").await.unwrap_err()).await,
        turns_of_others(async || client.publish("+", "").await.unwrap_err()).await,
        turns_of_others(async || client.publish("t", "").enqueue().await.unwrap_err()).await,
        turns_of_others(async || client.publish("+", "").enqueue().await.unwrap_err()).await,
        turns_of_others(async || client.request("t", "").await.unwrap_err()).await,
        turns_of_others(async || client.request("+", "").await.unwrap_err()).await,
        turns_of_others(async || client.subscribe("t").await.unwrap_err()).await,
        turns_of_others(async || client.subscribe("#/").await.unwrap_err()).await,
        turns_of_others(async || client.unsubscribe("t").await.unwrap_err()).await,
        turns_of_others(async || client.unsubscribe("#/").await.unwrap_err()).await,
        turns_of_others(async || client.declared("t").await.unwrap_err()).await,
        turns_of_others(async || client.re_authenticate().await.unwrap_err()).await,
        turns_of_others(async || client.connected().await.unwrap_err()).await,
        turns_of_others(async || client.closed().await).await,
        turns_of_others(async || messages.next().await).await,
        turns_of_others(async || {
            let wrong = options().client_identifier("\0");
            (Connection::open(wrong).await.unwrap_err(),)
        })
        .await,
    ];
    assert!(turns.iter().all(|&turns| turns > 2), "{turns:?}");
}

/// The server accepts, and the connection is lost before the program has ended.
#[tokio::test(start_paused = true)]
async fn a_scope_returns_the_value_of_its_program_though_the_connection_has_ended() {
    let (connection, mut server, _attempts) = connected(options().reconnect(None), 4096).await;
    let program = async |client: Client| {
        let publishing = tokio::spawn({
            let client = client.clone();
            async move { client.publish("t", "").qos(QoS::AtLeastOnce).await }
        });
        let publish = server.publish().await;
        server.puback(publish.packet_id, ReasonCode::Success).await;
        publishing.await.unwrap()?;
        drop(server);
        client.closed().await;
        Ok::<_, Error>(7)
    };
    assert_eq!(in_time(scope_over(connection, program)).await, Ok(7));
}

/// DISCONNECT cannot be written, and nothing depends on it.
#[tokio::test(start_paused = true)]
async fn a_scope_returns_the_value_of_its_program_though_the_server_is_gone() {
    let (connection, server, _attempts) = connected(options().reconnect(None), 4096).await;
    let program = async |_: Client| {
        drop(server);
        Ok::<_, Error>(7)
    };
    assert_eq!(in_time(scope_over(connection, program)).await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn a_scope_whose_calls_the_end_of_the_connection_has_failed_tells_why() {
    let (connection, mut server, _attempts) = connected(options().reconnect(None), 4096).await;
    let program = async |client: Client| {
        let publish = client.publish("t", "").qos(QoS::AtLeastOnce);
        Ok::<_, Error>(publish.enqueue().await?)
    };
    let scope = tokio::spawn(scope_over(connection, program));
    server.publish().await;
    drop(server);
    let cause = ConnectionError::Transport(TransportError::EndOfStream);
    let ended = in_time(scope).await.unwrap().map(drop);
    assert_eq!(ended, Err(Error::Connection(cause)));
}

/// No annotation is needed: see that this compiles.
#[tokio::test(start_paused = true)]
async fn the_usual_form_of_a_scope_needs_no_annotation() {
    let result = crate::scope(options().client_identifier("\0"), async |client| {
        client.publish("t", "").await?;
        let mut messages = client.subscribe("t").await?;
        messages.next().await;
        Ok(())
    });
    assert!(matches!(in_time(result).await, Err(Error::Connect(_))));
}
