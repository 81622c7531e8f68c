//! Events of a connection, and waiting for it.

use ferromqtt_proto::packet::{ConnAck, Packet};
use tokio::io::AsyncWriteExt;

use super::server::Server;
use super::*;
use crate::{
    ConnectionError, ConnectionEvent, Events, FilterRefusal, Overflow, Properties, QueueOptions,
    ReasonCode, Reconnect, Slip, TransportError,
};

async fn next(events: &mut Events) -> ConnectionEvent {
    in_time(events.next()).await.expect("an event")
}

fn is_connected(event: &ConnectionEvent) -> bool {
    matches!(event, ConnectionEvent::Connected { .. })
}

/// MQTT-3.2.2-16: the identifier that the server assigns, and its limits, are there to see.
#[tokio::test(start_paused = true)]
async fn each_connection_and_each_loss_is_told_with_its_details() {
    let (attempts, script) = Attempts::new();
    let stream = attempts.succeeds(4096);
    let connection = Connection::start_over(&options(), script).unwrap();
    let client = connection.client();
    let mut events = client.events();
    let reported = Properties {
        assigned_client_identifier: Some("given".try_into().unwrap()),
        maximum_qos: Some(QoS::AtLeastOnce),
        ..Properties::default()
    };
    let mut server = Server::new(stream);
    server.connect().await;
    server
        .send(&Packet::ConnAck(Box::new(ConnAck {
            session_present: false,
            reason: ReasonCode::Success,
            properties: reported.clone(),
        })))
        .await;
    let expected = ConnectionEvent::Connected {
        session_present: false,
        properties: Box::new(reported),
    };
    assert_eq!(next(&mut events).await, expected);
    drop(server);
    let ConnectionEvent::Disconnected {
        cause,
        retry_at: Some(retry_at),
        ..
    } = next(&mut events).await
    else {
        panic!("the loss, and when it is tried again");
    };
    assert_eq!(
        cause,
        ConnectionError::Transport(TransportError::EndOfStream)
    );
    assert!(retry_at > tokio::time::Instant::now().into_std());
    let (mut server, _) = Server::accept(attempts.succeeds(4096), true).await;
    let ConnectionEvent::Connected {
        session_present: true,
        ..
    } = next(&mut events).await
    else {
        panic!("the session is resumed");
    };
    let (end, _) = tokio::join!(connection.disconnect(), server.disconnected());
    assert_eq!(end, Ok(()));
    let last = next(&mut events).await;
    let ConnectionEvent::Disconnected {
        cause: ConnectionError::Closed,
        retry_at: None,
        ..
    } = last
    else {
        panic!("{last:?}");
    };
    assert_eq!(in_time(events.next()).await, None);
}

/// Section 3.2.2.3: as the core has settled it, in every handle, until the next connection.
#[tokio::test(start_paused = true)]
async fn what_a_connack_has_settled_is_there_when_the_connection_has_ended() {
    let (attempts, script) = Attempts::new();
    let stream = attempts.succeeds(4096);
    let connection = Connection::start_over(&options().reconnect(None), script).unwrap();
    let client = connection.client();
    assert_eq!(client.connack(), None);
    let mut server = Server::new(stream);
    server.connect().await;
    let properties = Properties {
        assigned_client_identifier: Some("given".try_into().unwrap()),
        maximum_qos: Some(QoS::AtLeastOnce),
        ..Properties::default()
    };
    server
        .send(&Packet::ConnAck(Box::new(ConnAck {
            session_present: false,
            reason: ReasonCode::Success,
            properties,
        })))
        .await;
    in_time(client.connected()).await.unwrap();
    let found = client.connack().unwrap();
    assert_eq!(found.client_identifier, client.client_identifier());
    assert_eq!(found.limits.max_qos, QoS::AtLeastOnce);
    assert_eq!(found.limits.receive_maximum, u16::MAX);
    drop(server);
    in_time(client.closed()).await;
    assert_eq!(client.connack(), Some(found));
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_events_begins_with_how_the_connection_stands() {
    let (connection, server, _attempts) = connected(options().reconnect(None), 4096).await;
    let client = connection.client();
    let mut early = client.events();
    assert!(is_connected(&next(&mut early).await));
    drop(server);
    client.closed().await;
    for mut events in [early, client.events()] {
        assert!(!is_connected(&next(&mut events).await));
        assert_eq!(in_time(events.next()).await, None);
    }
}

/// Nobody is held up, and nothing grows: the oldest go, and are counted.
#[tokio::test(start_paused = true)]
async fn who_does_not_take_events_in_time_is_told_how_many_are_gone() {
    let (connection, server, attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let mut slow = client.events();
    let mut quick = client.events();
    assert!(is_connected(&next(&mut slow).await));
    assert!(is_connected(&next(&mut quick).await));
    drop(server);
    for _ in 0..50 {
        while is_connected(&next(&mut quick).await) {}
        drop(Server::accept(attempts.succeeds(4096), true).await);
        assert!(is_connected(&next(&mut quick).await));
    }
    assert!(!is_connected(&next(&mut quick).await)); // the 102nd
    assert_eq!(next(&mut slow).await, ConnectionEvent::Missed(37));
    for left in 0..64 {
        assert_eq!(is_connected(&next(&mut slow).await), left % 2 == 0);
    }
    drop(connection);
}

#[tokio::test(start_paused = true)]
async fn what_a_queue_and_a_lost_session_have_lost_is_told() {
    let (connection, mut server, attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let mut events = client.events();
    assert!(is_connected(&next(&mut events).await));
    let bounds = QueueOptions {
        limit: Some(1),
        overflow: Overflow::DropOldest,
        ..QueueOptions::default()
    };
    let (messages, _) = tokio::join!(
        client.subscribe_all(["t", "u"]).queue(bounds).into_future(),
        server.subscribe_all(&[ReasonCode::Success; 2])
    );
    let messages = messages.unwrap();
    for payload in ["1", "2", "3"] {
        server.send(&message(payload)).await;
    }
    let ConnectionEvent::Lagged { filters, lost } = next(&mut events).await else {
        panic!("not told of the loss");
    };
    assert_eq!(filters, ["t", "u"]);
    assert!(
        (1..=2).contains(&lost),
        "{lost}, as many as came with one read"
    );
    drop(server);
    assert!(!is_connected(&next(&mut events).await));
    let (mut server, _) = Server::accept(attempts.succeeds(4096), false).await;
    assert!(is_connected(&next(&mut events).await));
    let refused = ReasonCode::QuotaExceeded;
    server.subscribe_all(&[ReasonCode::Success, refused]).await;
    let expected = ConnectionEvent::NotResubscribed {
        filter: "u".try_into().unwrap(),
        refusal: FilterRefusal::ByServer(refused),
    };
    assert_eq!(next(&mut events).await, expected);
    drop(messages);
}

#[tokio::test(start_paused = true)]
async fn a_connection_can_be_waited_for() {
    let (connection, server, attempts) = connected(options(), 4096).await;
    let client = connection.client();
    assert_eq!(in_time(client.connected()).await, Ok(()));
    drop(server);
    while client.is_connected() {
        tokio::task::yield_now().await;
    }
    let waiting = client.connected();
    tokio::pin!(waiting);
    assert!(timeout(Duration::from_secs(2), &mut waiting).await.is_err());
    let (mut server, _) = Server::accept(attempts.succeeds(4096), true).await;
    assert_eq!(in_time(waiting).await, Ok(()));
    let (end, _) = tokio::join!(connection.disconnect(), server.disconnected());
    assert_eq!(end, Ok(()));
    assert_eq!(client.connected().await, Err(ConnectionError::Closed));
}

#[tokio::test(start_paused = true)]
async fn attempts_that_fail_are_told_too() {
    let (attempts, script) = Attempts::new();
    attempts.fails();
    let patient = Reconnect {
        initial: true,
        ..Reconnect::default()
    };
    let connection = Connection::start_over(&options().reconnect(patient), script).unwrap();
    let mut events = connection.client().events();
    let first = next(&mut events).await;
    assert!(
        matches!(
            first,
            ConnectionEvent::Disconnected {
                retry_at: Some(_),
                ..
            }
        ),
        "{first:?}"
    );
    let (_server, _) = Server::accept(attempts.succeeds(4096), false).await;
    assert!(is_connected(&next(&mut events).await));
}

/// Nobody listens on two ports, which are tried in turn.
#[tokio::test]
async fn an_event_that_is_taken_late_has_the_address_of_its_own_attempt() {
    let bound = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = bound.map(|listener| listener.local_addr().unwrap().port());
    let servers = ports.map(|port| crate::Server::new("127.0.0.1", port));
    let moment = Duration::from_millis(1);
    let again = Reconnect {
        initial_delay: moment,
        max_delay: moment,
        initial: true,
        ..Reconnect::default()
    };
    let options = Options::new("127.0.0.1", 1)
        .servers(servers)
        .reconnect(again);
    let connection = Connection::start(options).await.unwrap();
    let mut late = connection.client().events();
    let mut watching = connection.client().events();
    for _ in 0..4 {
        next(&mut watching).await;
    }
    for port in ports.into_iter().cycle().take(4) {
        let ConnectionEvent::Disconnected { address, .. } = next(&mut late).await else {
            panic!("nobody listens there");
        };
        assert_eq!(*address, *format!("127.0.0.1:{port}"));
    }
}

/// A PUBLISH at QoS 0 with DUP: harmless, and wrong (MQTT-3.3.1-2).
const SLIP: &[u8] = b"\x38\x05\x00\x01t\x00x";

#[tokio::test(start_paused = true)]
async fn what_is_tolerated_of_a_server_is_told_once_a_connection_and_counted() {
    let (connection, mut server, attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let mut events = client.events();
    assert!(is_connected(&next(&mut events).await));
    let mut messages = client.messages();
    let slip = Slip::DupAtQos0;
    for connections in 1..=2 {
        for _ in 0..3 {
            server.stream.write_all(SLIP).await.unwrap();
            let message = in_time(messages.next()).await.unwrap();
            assert_eq!((&message.payload[..], message.dup), (&b"x"[..], false));
        }
        assert_eq!(next(&mut events).await, ConnectionEvent::Tolerated { slip });
        assert_eq!(client.stats().tolerated, 3 * connections);
        drop(server);
        let end = next(&mut events).await; // and no second `Tolerated` before it
        assert!(
            matches!(end, ConnectionEvent::Disconnected { .. }),
            "{end:?}"
        );
        (server, _) = Server::accept(attempts.succeeds(4096), true).await;
        assert!(is_connected(&next(&mut events).await));
    }
}

#[tokio::test(start_paused = true)]
async fn a_strict_client_ends_the_connection_instead() {
    let options = options().reconnect(None).strict(true);
    let (connection, mut server, _attempts) = connected(options, 4096).await;
    let client = connection.client();
    server.stream.write_all(SLIP).await.unwrap();
    let cause = in_time(client.closed()).await;
    assert!(
        matches!(cause, ConnectionError::ProtocolViolation(_)),
        "{cause:?}"
    );
    assert_eq!(client.stats().tolerated, 0);
}

/// A server that does not say that another client has come with the same Client Identifier.
#[tokio::test(start_paused = true)]
async fn two_clients_with_one_identifier_are_told_as_an_event() {
    let options = options().client_identifier("station-7");
    let (connection, server, attempts) = connected(options, 4096).await;
    let mut events = connection.client().events();
    let mut servers = vec![server];
    let contest = loop {
        match next(&mut events).await {
            ConnectionEvent::IdentifierContested(contest) => break contest,
            ConnectionEvent::Connected { .. } => drop(servers.pop()),
            ConnectionEvent::Disconnected { .. } => {
                let (server, _) = Server::accept(attempts.succeeds(4096), false).await;
                servers.push(server);
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(contest.client_identifier.as_str(), "station-7");
    assert_eq!((contest.ends, contest.reason), (3, None));
}
