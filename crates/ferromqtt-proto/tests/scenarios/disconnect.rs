//! The end of a connection that one side ends on purpose.

use ferromqtt_proto::packet::{Disconnect, Packet};
use ferromqtt_proto::{
    ConnectionError, Delivery, Event, InvalidPublish, InvalidSubscribe, Outcome, Properties,
    Publish, ReasonCode, TopicName, TransportRequest, Unsubscribe,
};

use crate::support::*;

fn leave(pair: &mut Pair, disconnect: Disconnect) {
    pair.client.disconnect(pair.now, disconnect);
    pair.pump();
}

/// MQTT-3.14.1-1, MQTT-3.14.2-1; 3.1.1: MQTT-3.14.1-1, where it holds nothing.
#[test]
fn disconnect_on_the_wire() {
    let expiring = Disconnect {
        reason: ReasonCode::Success,
        properties: Properties {
            session_expiry_interval: Some(3_600),
            ..Properties::default()
        },
    };
    let with_will = Disconnect::because(ReasonCode::DisconnectWithWill);
    for (version, disconnect, expected) in [
        (V311, Disconnect::normal(), &b"\xe0\x00"[..]),
        (V5, Disconnect::normal(), b"\xe0\x00"),
        (V5, with_will, b"\xe0\x01\x04"),
        (V5, expiring, b"\xe0\x07\x00\x05\x11\x00\x00\x0e\x10"),
    ] {
        let mut options = options(version);
        if version == V5 {
            options.properties.session_expiry_interval = Some(60); // only then may DISCONNECT change it
        }
        let mut pair = Pair::connected(options);
        pair.events();
        leave(&mut pair, disconnect);
        assert_eq!(pair.bytes(), expected);
        assert_eq!(pair.cause(), ConnectionError::Closed);
        assert_eq!(pair.closes, [true], "flushed, then closed");
        assert!(pair.client.is_idle());
    }
}

/// There DISCONNECT always deletes the will (3.1.1, section 3.14.4). What is encoded before is to be written all the same.
#[test]
fn before_5_0_the_will_is_asked_for_by_closing_without_disconnect() {
    for version in [V31, V311] {
        for reason in [ReasonCode::DisconnectWithWill, ReasonCode::UnspecifiedError] {
            let mut pair = Pair::connected(options(version));
            pair.events();
            pair.publish("t", "last words", AtMostOnce);
            leave(&mut pair, Disconnect::because(reason));
            assert_eq!(pair.sent(), ["PUBLISH q0 last words"], "{version:?}");
            assert_eq!(pair.cause(), ConnectionError::Closed);
            assert_eq!(pair.closes, [true], "flushed, then closed");
            assert!(pair.client.is_idle());
        }
    }
}

/// MQTT-3.14.4-1, MQTT-3.14.4-2; 3.1.1: MQTT-3.14.4-1, MQTT-3.14.4-2. Pitfall 20.
#[test]
fn nothing_follows_disconnect() {
    for version in VERSIONS {
        let mut options = resuming(version);
        options.keep_alive = 2;
        let mut pair = Pair::connected(options);
        pair.writable = false;
        pair.publish("t", "too late", AtLeastOnce);
        pair.client.disconnect(pair.now, Disconnect::normal());
        // The transport is not closed yet: whatever happens now must not be answered.
        let publish = Publish::new(TopicName::new("t").unwrap(), "x");
        let refused = pair.client.publish(pair.now, publish.clone());
        assert_eq!(refused, Err(InvalidPublish::NotConnected));
        let at_once = Packet::Publish(message("t", "x", AtLeastOnce, 1));
        let mut input = bytes::BytesMut::new();
        at_once.encode(version, &mut input);
        pair.client.handle_input(pair.now, &mut input);
        let unsubscribe = Unsubscribe {
            filters: vec![filter("a")],
            properties: Properties::default(),
        };
        let refused = pair.client.unsubscribe(pair.now, unsubscribe);
        assert_eq!(refused, Err(InvalidSubscribe::NotConnected));
        let later = pair.now + 9 * SECOND; // a PINGREQ would have been due, and Keep Alive over
        pair.client.handle_timeout(later);
        pair.writable = true;
        pair.pump();
        assert_eq!(pair.sent(), ["DISCONNECT 0x00"]);
        pair.advance(10_000 * SECOND);
        assert!(
            pair.attempts.len() == 1 && !pair.link_is_up(),
            "no reconnect"
        );
        assert!(pair.messages().is_empty());
    }
}

/// MQTT-3.14.4-2: the transport is closed only when the last chunk has been handed over.
#[test]
fn close_is_told_after_the_last_chunk() {
    let mut pair = Pair::connected(options(V5));
    let client = &mut pair.client;
    let large = Publish::new(TopicName::new("t").unwrap(), vec![7; 5_000]);
    client.publish(pair.now, large).unwrap();
    let first = client.poll_transmit(pair.now).unwrap();
    assert!(first.len() < 20, "the header alone");
    client.disconnect(pair.now, Disconnect::normal());
    assert_eq!(client.poll_transport(), None);
    let payload = client.poll_transmit(pair.now).unwrap();
    assert_eq!(payload.len(), 5_000);
    assert_eq!(client.poll_transport(), None);
    assert_eq!(client.poll_transmit(pair.now).unwrap(), &b"\xe0\x00"[..]);
    assert_eq!(client.poll_transport(), Some(TransportRequest::Finish));
    assert_eq!(client.poll_transport(), None);
}

/// Exactly one outcome each, and whether anything had reached the wire.
#[test]
fn operations_end_with_the_connection() {
    for version in VERSIONS {
        let mut pair = Pair::connected_with(options(version), receive_maximum(2));
        let on_the_wire = pair.publish("t", "a", AtLeastOnce);
        let released = pair.publish("t", "b", ExactlyOnce);
        pair.server_sends(pubrec(2));
        let request = pair.subscribe(&["a"]);
        pair.writable = false;
        let waiting = pair.publish("t", "c", AtLeastOnce);
        pair.events();
        pair.writable = true;
        pair.client.disconnect(pair.now, Disconnect::normal());
        pair.pump();
        let mut outcomes = pair.outcomes();
        outcomes.sort_by_key(|(op, _)| *op);
        let closed = |delivery| Outcome::Disconnected {
            cause: ConnectionError::Closed,
            delivery,
        };
        assert_eq!(
            outcomes,
            [
                (on_the_wire, closed(Delivery::Unknown)),
                (released, closed(Delivery::Unknown)),
                (request, closed(Delivery::Unknown)),
                (waiting, closed(Delivery::NotSent)),
            ]
        );
    }
}

/// MQTT-3.14.4-2, MQTT-4.13.2-1: told with reason and properties, closed, not answered. Pitfall 20.
#[test]
fn a_disconnect_of_the_server_is_told_with_its_reason() {
    for (bytes, reason, text_given) in [
        (&b"\xe0\x00"[..], ReasonCode::Success, None),
        (b"\xe0\x01\x8b", ReasonCode::ServerShuttingDown, None),
        (
            b"\xe0\x08\x9c\x06\x1c\x00\x03alt",
            ReasonCode::UseAnotherServer,
            Some(text("alt")),
        ),
    ] {
        let mut pair = Pair::connected(options(V5));
        pair.events();
        let op = pair.publish("t", "x", AtLeastOnce);
        pair.bytes();
        pair.server_sends_bytes(bytes);
        let events = pair.events();
        let [
            Event::Disconnected {
                cause,
                retry_at: None,
                ..
            },
            Event::Completed { op: ended, outcome },
        ] = &events[..]
        else {
            panic!("{events:?}");
        };
        let properties = std::sync::Arc::new(Properties {
            server_reference: text_given,
            ..Properties::default()
        });
        assert_eq!(cause, &ConnectionError::Disconnected { reason, properties });
        assert_eq!(*ended, op);
        let (cause, delivery) = (cause.clone(), Delivery::Unknown);
        assert_eq!(outcome, &Outcome::Disconnected { cause, delivery });
        assert!(pair.bytes().is_empty());
        assert!(!pair.link_is_up());
    }
}

/// What the server sends behind its DISCONNECT is not processed.
#[test]
fn nothing_is_read_behind_a_disconnect_of_the_server() {
    let mut pair = Pair::connected(options(V5));
    pair.server_sends_bytes(b"\xe0\x00\x30\x05\x00\x01t\x00x\x00\x00");
    assert!(pair.messages().is_empty());
    assert!(matches!(pair.cause(), ConnectionError::Disconnected { .. }));
}

/// 3.1.1: MQTT-4.8.0-1: there only clients send DISCONNECT.
#[test]
fn a_disconnect_of_a_3_1_1_server_breaks_the_protocol() {
    let mut pair = Pair::connected(options(V311));
    pair.server_sends_bytes(b"\xe0\x00");
    assert!(matches!(
        pair.cause(),
        ConnectionError::ProtocolViolation(_)
    ));
}

/// An attempt can be given up at any moment; each operation that waited for it gets its outcome.
#[test]
fn disconnecting_before_there_is_a_connection() {
    for moment in ["opening", "handshake", "waiting"] {
        let mut pair = Pair::new(resuming(V5));
        pair.opens = moment == "handshake";
        pair.connect();
        if moment == "waiting" {
            pair.transport_opens();
            pair.accept(false, Properties::default());
            pair.cut();
        }
        let publish = pair.publish("t", "x", AtLeastOnce);
        let subscribe = pair.subscribe(&["a"]);
        pair.bytes();
        pair.events();
        leave(&mut pair, Disconnect::normal());
        let events = pair.events();
        assert_eq!(events.len(), 3, "{moment} {events:?}");
        for op in [publish, subscribe] {
            let (cause, delivery) = (ConnectionError::Closed, Delivery::NotSent);
            let outcome = Outcome::Disconnected { cause, delivery };
            assert!(
                events.contains(&Event::Completed { op, outcome }),
                "{moment}"
            );
        }
        assert!(
            pair.bytes().is_empty(),
            "{moment}: no DISCONNECT before CONNACK"
        );
        assert!(pair.client.is_idle(), "{moment}");
        pair.advance(1_000 * SECOND);
        assert!(!pair.link_is_up(), "{moment}");
    }
}

/// The same while the driver is still closing the transport of a connection that was lost.
#[test]
fn disconnecting_while_the_lost_connection_is_being_closed() {
    let mut pair = Pair::connected(resuming(V5));
    let on_the_wire = pair.publish("t", "x", AtLeastOnce);
    pair.events();
    let mut malformed = bytes::BytesMut::from(&b"\x00\x00"[..]);
    pair.client.handle_input(pair.now, &mut malformed);
    let waiting = pair
        .client
        .publish(pair.now, Publish::new(TopicName::new("t").unwrap(), "y"));
    pair.client.disconnect(pair.now, Disconnect::normal());
    pair.pump();
    let closed = |delivery| Outcome::Disconnected {
        cause: ConnectionError::Closed,
        delivery,
    };
    let expected = [
        (on_the_wire, closed(Delivery::Unknown)),
        (waiting.unwrap(), closed(Delivery::NotSent)),
    ];
    assert_eq!(pair.outcomes(), expected);
    assert!(pair.client.is_idle());
}

#[test]
fn disconnecting_twice_or_without_a_connection_is_harmless() {
    let mut pair = Pair::new(options(V5));
    leave(&mut pair, Disconnect::normal());
    assert!(pair.events().is_empty());
    pair.connect();
    pair.accept(false, Properties::default());
    pair.events();
    pair.client.disconnect(pair.now, Disconnect::normal());
    leave(&mut pair, Disconnect::normal());
    assert_eq!(pair.sent(), ["DISCONNECT 0x00"]);
    assert_eq!(pair.cause(), ConnectionError::Closed);
}

/// A client can be used again.
#[test]
fn connecting_again_after_disconnecting() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        leave(&mut pair, Disconnect::normal());
        pair.connect();
        let connect = pair.accept(false, Properties::default());
        assert!(connect.clean_start);
        pair.publish("t", "x", AtLeastOnce);
        assert_eq!(pair.packets().len(), 1);
        assert_eq!(pair.client.stats().connections, 2);
    }
}
