//! What comes after CONNECT: CONNACK, something else, or nothing.

use std::time::Duration;

use bytes::BytesMut;
use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{
    CleanStart, ConnectionError, Delivery, Event, InvalidPublish, Outcome, Properties, ReasonCode,
    TransportError,
};

use crate::support::*;

fn violates(cause: &ConnectionError, reason: ReasonCode) -> bool {
    matches!(cause, ConnectionError::ProtocolViolation(error) if error.reason == reason)
}

/// Nothing but CONNECT is on the wire before CONNACK: what is sent earlier would be lost (MQTT-3.1.4-6; 3.1.1: MQTT-3.1.4-5).
#[test]
fn operations_wait_for_connack() {
    for version in VERSIONS {
        let mut pair = Pair::new(resuming(version));
        pair.connect();
        pair.subscribe(&["a"]);
        pair.publish("t", "x", AtMostOnce);
        pair.publish("t", "y", AtLeastOnce);
        pair.accept(false, Properties::default());
        assert_eq!(
            pair.sent(),
            ["SUBSCRIBE 1 a", "PUBLISH q0 x", "PUBLISH q1 2 y"]
        );
    }
}

/// A server of 3.1.1 refuses 5.0 in the form of 3.1.1, which is shorter than any CONNACK of 5.0.
#[test]
fn a_refusal_in_the_form_of_3_1_1_is_understood() {
    let mut pair = Pair::new(options(V5));
    pair.connect();
    pair.server_sends_bytes(&[0x20, 2, 0, 1]);
    let cause = pair.cause();
    assert!(
        matches!(
            cause,
            ConnectionError::Refused {
                reason: ReasonCode::UnsupportedProtocolVersion,
                ..
            }
        ),
        "{cause:?}"
    );
}

#[test]
fn without_a_connection_and_without_an_attempt_to_make_one_nothing_is_accepted() {
    let mut pair = Pair::new(options(V5));
    let publish = || ferromqtt_proto::Publish::new("t".try_into().unwrap(), "x");
    let refused = Err(InvalidPublish::NotConnected);
    assert_eq!(pair.client.publish(pair.now, publish()), refused);
    pair.connect();
    pair.accept(false, Properties::default());
    assert!(pair.client.publish(pair.now, publish()).is_ok());
    pair.cut();
    assert_eq!(pair.client.publish(pair.now, publish()), refused);
    assert!(pair.client.is_idle());
}

/// Though there will be no other attempt.
#[test]
fn what_is_accepted_during_the_first_attempt_is_sent_after_connack() {
    for opens in [false, true] {
        let mut pair = Pair::new(options(V5));
        pair.opens = opens;
        pair.connect();
        let publish = pair.publish("t", "x", AtLeastOnce);
        pair.subscribe(&["a"]);
        if !opens {
            pair.transport_opens();
        }
        pair.accept(false, Properties::default());
        assert_eq!(pair.sent(), ["SUBSCRIBE 1 a", "PUBLISH q1 2 x"]);
        pair.events();
        pair.server_sends(puback(2));
        let outcomes = pair.outcomes();
        assert!(matches!(outcomes[..], [(op, Outcome::Acknowledged { .. })] if op == publish));
    }
}

#[test]
fn what_is_accepted_during_the_first_attempt_ends_with_its_cause() {
    for moment in ["opening", "handshake"] {
        let mut pair = Pair::new(options(V5));
        pair.opens = moment == "handshake";
        pair.connect();
        let ops = [
            pair.publish("t", "x", AtMostOnce),
            pair.publish("t", "y", ExactlyOnce),
            pair.subscribe(&["a"]),
        ];
        let failure = TransportError::EndOfStream;
        pair.client.transport_closed(pair.now, failure.clone());
        pair.pump();
        let mut outcomes = pair.outcomes();
        outcomes.sort_by_key(|(op, _)| *op);
        let ended = Outcome::Disconnected {
            cause: match moment {
                "opening" => ConnectionError::Transport(failure),
                _ => ConnectionError::Unanswered,
            },
            delivery: Delivery::NotSent,
        };
        assert_eq!(outcomes, ops.map(|op| (op, ended.clone())), "{moment}");
        assert!(pair.client.is_idle(), "{moment}");
    }
}

/// 3.1.1: MQTT-3.1.2-2, MQTT-3.1.3-8, -9, MQTT-3.2.2-4, MQTT-3.2.2-5. Return Codes are told as the 5.0 code of that meaning. Pitfall 20.
#[test]
fn a_return_code_of_3_1_1_is_told_and_the_connection_closed() {
    for (code, reason) in [
        (1, ReasonCode::UnsupportedProtocolVersion),
        (2, ReasonCode::ClientIdentifierNotValid),
        (3, ReasonCode::ServerUnavailable),
        (4, ReasonCode::BadUserNameOrPassword),
        (5, ReasonCode::NotAuthorized),
        (6, ReasonCode::UnspecifiedError),
    ] {
        let mut pair = Pair::new(options(V311));
        pair.connect();
        pair.bytes();
        pair.server_sends_bytes(&[0x20, 2, 0, code]);
        let reason_string =
            (code == 6).then(|| text("Return Code 6, which this version of MQTT reserves"));
        let properties = Properties {
            reason_string,
            ..Properties::default()
        };
        let properties = properties.into();
        assert_eq!(
            pair.cause(),
            ConnectionError::Refused { reason, properties }
        );
        assert!(pair.bytes().is_empty());
        assert!(!pair.link_is_up() && pair.client.is_idle());
    }
}

/// MQTT-3.2.2-7, MQTT-3.2.2-8, MQTT-4.13.2-1. Pitfall 20.
#[test]
fn a_reason_code_of_5_0_is_told_with_its_properties() {
    let mut pair = Pair::new(options(V5));
    pair.connect();
    pair.bytes();
    pair.server_sends_bytes(b"\x20\x08\x00\x9d\x05\x1c\x00\x02hi");
    let ConnectionError::Refused { reason, properties } = pair.cause() else {
        panic!("not told as refused");
    };
    assert_eq!(reason, ReasonCode::ServerMoved);
    assert_eq!(properties.server_reference, Some(text("hi")));
    assert!(pair.bytes().is_empty(), "nothing follows a refusal");
    assert!(!pair.link_is_up());
}

/// 3.1.1: MQTT-3.2.2-6: a close instead of CONNACK is an error at once, not after a time limit. Pitfall 20.
#[test]
fn end_of_stream_before_connack_is_told_at_once() {
    for version in VERSIONS {
        let mut pair = Pair::new(options(version));
        pair.connect();
        pair.cut();
        assert_eq!(pair.cause(), ConnectionError::Unanswered);
        assert!(pair.client.is_idle());
    }
}

/// A port that speaks something else is named, once enough of its answer is there to tell.
#[test]
fn an_answer_in_http_or_tls_is_named() {
    let answers: [(&[u8], &str); 4] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "TLS"),
        (b"SSH-2.0-x\r\n", "SSH"),
        (b"H", "not CONNACK"),
    ];
    for (answer, named) in answers {
        let mut pair = Pair::new(options(V5));
        pair.connect();
        pair.bytes();
        pair.server_sends_bytes(answer);
        let text = pair.cause().to_string();
        assert!(text.contains(named), "{text}");
    }
}

#[test]
fn connack_has_until_the_time_limit_which_counts_from_the_beginning() {
    for version in VERSIONS {
        let mut options = options(version);
        options.connect_timeout = Some(10 * SECOND);
        let mut pair = Pair::new(options);
        pair.opens = false;
        pair.connect();
        pair.advance(6 * SECOND);
        pair.transport_opens();
        pair.advance(Duration::from_millis(3_999));
        assert!(pair.events().is_empty());
        pair.advance(Duration::from_millis(1));
        assert_eq!(pair.cause(), ConnectionError::ConnectTimeout);
        assert_eq!(pair.closes, [false], "aborted");
    }
}

#[test]
fn a_transport_that_does_not_open_has_the_same_time_limit() {
    let mut pair = Pair::new(options(V5));
    pair.opens = false;
    pair.connect();
    pair.advance(10 * SECOND);
    assert_eq!(pair.cause(), ConnectionError::ConnectTimeout);
    assert!(pair.client.is_idle());
}

#[test]
fn without_a_time_limit_connack_is_awaited_for_ever() {
    let mut options = options(V5);
    options.connect_timeout = None;
    let mut pair = Pair::new(options);
    pair.connect();
    pair.advance(1_000_000 * SECOND);
    pair.accept(false, Properties::default());
}

/// A CONNACK that comes after the time limit changes nothing: the driver may still be closing.
#[test]
fn a_late_connack_is_not_processed() {
    let mut pair = Pair::new(options(V5));
    pair.connect();
    let late = pair.now + 10 * SECOND;
    pair.client.handle_timeout(late);
    let mut input = BytesMut::from(&b"\x20\x03\x00\x00\x00 and the begin of more"[..]);
    pair.client.handle_input(late, &mut input);
    assert!(input.is_empty() && !pair.client.is_connected());
    pair.pump();
    assert_eq!(pair.cause(), ConnectionError::ConnectTimeout);
}

/// MQTT-3.2.0-1, MQTT-3.14.0-1; 3.1.1: MQTT-3.2.0-1. Before CONNACK there is nobody to send DISCONNECT to. Pitfall 19.
#[test]
fn any_other_first_packet_closes_the_connection() {
    for version in VERSIONS {
        for packet in [
            Packet::Publish(message("t", "x", AtMostOnce, 0)),
            puback(1),
            suback(1, &[ReasonCode::Success]),
            Packet::PingResp,
            disconnect(ReasonCode::Success),
        ] {
            let mut pair = Pair::new(options(version));
            pair.connect();
            pair.bytes();
            pair.server_sends(packet);
            assert!(violates(&pair.cause(), ReasonCode::ProtocolError));
            assert!(pair.bytes().is_empty());
            assert_eq!(pair.closes, [false]);
            assert!(pair.messages().is_empty());
        }
    }
}

/// MQTT-3.1.2-28: a server that tells what it was not asked for is no danger to the client.
#[test]
fn response_information_that_was_not_asked_for_is_told() {
    let mut options = options(V5);
    options.properties.request_response_information = Some(false);
    let mut pair = Pair::new(options);
    pair.connect();
    let unasked = Properties {
        response_information: Some(text("answers/me")),
        ..Properties::default()
    };
    let connect = pair.accept(false, unasked.clone());
    assert_eq!(connect.properties.request_response_information, Some(false));
    assert_eq!(pair.connected_event().properties, unasked);
}

/// MQTT-3.2.0-2; 3.1.1: MQTT-4.8.0-1. Pitfall 19.
#[test]
fn a_second_connack_closes_the_connection() {
    for (version, answer) in [(V311, &b""[..]), (V5, b"\xe0\x01\x82")] {
        let mut pair = Pair::connected(options(version));
        pair.events();
        pair.server_sends(accepted(false, Properties::default()));
        assert!(violates(&pair.cause(), ReasonCode::ProtocolError));
        assert_eq!(pair.bytes(), answer);
    }
}

/// MQTT-3.2.2-4; 3.1.1: MQTT-3.2.2-1. Pitfall 6.
#[test]
fn session_present_after_clean_start_closes_the_connection() {
    for version in VERSIONS {
        let mut options = options(version);
        options.clean_start = CleanStart::Always;
        let mut pair = Pair::new(options);
        pair.connect();
        pair.server_sends(accepted(true, Properties::default()));
        assert!(violates(&pair.cause(), ReasonCode::ProtocolError));
        assert!(!pair.link_is_up());
    }
}

/// MQTT-3.2.2-1, MQTT-3.2.2-6, MQTT-3.2.2-8. Pitfall 17.
#[test]
fn a_malformed_connack_closes_the_connection() {
    for (version, connack) in [
        (V311, &b"\x20\x02\x02\x00"[..]), // a reserved flag
        (V311, b"\x20\x02\x01\x05"),      // refused, yet Session Present
        (V311, b"\x20\x03\x00\x00\x00"),  // too long
        (V311, b"\x21\x02\x00\x00"),      // a reserved bit of the fixed header
        (V5, b"\x20\x03\x02\x00\x00"),
        (V5, b"\x20\x03\x01\x87\x00"),
        (V5, b"\x20\x03\x00\x01\x00"), // no Reason Code of CONNACK
        (V5, b"\x20\x02\x00\x00"),     // no Property Length
        (V5, b"\x20\x05\x00\x00\x02\x24\x02"), // Maximum QoS 2
        (V5, b"\x20\x06\x00\x00\x03\x21\x00\x00"), // Receive Maximum 0
    ] {
        let mut pair = Pair::new(options(version));
        pair.connect();
        pair.bytes();
        pair.server_sends_bytes(connack);
        let cause = pair.cause();
        assert!(
            matches!(cause, ConnectionError::ProtocolViolation(_)),
            "{connack:?} {cause}"
        );
        assert!(pair.bytes().is_empty());
    }
}

/// A message that comes in the segment of CONNACK is delivered, and so is one from before the client subscribed (MQTT-3.3.2-3).
#[test]
fn connack_and_more_in_one_segment() {
    for (version, connack) in [
        (V311, &b"\x20\x02\x00\x00"[..]),
        (V5, b"\x20\x03\x00\x00\x00"),
    ] {
        let mut segment = BytesMut::from(connack);
        Packet::Publish(message("t", "x", AtLeastOnce, 13_423)).encode(version, &mut segment);
        let mut pair = Pair::new(options(version));
        pair.connect();
        pair.bytes();
        pair.server_sends_bytes(&segment);
        assert!(matches!(pair.events()[0], Event::Connected(_)));
        assert_eq!(pair.payloads(), ["x"]);
        assert_eq!(pair.bytes(), &b"\x40\x02\x34\x6f"[..]);
    }
}

/// Pitfall 20: a loss that comes right behind CONNACK is told, after the connection was.
#[test]
fn connack_and_a_malformed_packet_in_one_segment() {
    for (version, segment) in [
        (V311, &b"\x20\x02\x00\x00\x00\x00"[..]),
        (V5, b"\x20\x03\x00\x00\x00\x00\x00"),
    ] {
        let mut pair = Pair::new(options(version));
        pair.connect();
        pair.server_sends_bytes(segment);
        let events = pair.events();
        assert!(
            matches!(
                &events[..],
                [Event::Connected(_), Event::Disconnected { .. }]
            ),
            "{events:?}"
        );
    }
}

/// MQTT-3.2.2-16. Pitfall 12.
#[test]
fn an_assigned_client_identifier_is_told_and_used_from_then_on() {
    let mut options = resuming(V5);
    options.client_identifier = text("");
    let mut pair = Pair::new(options);
    pair.connect();
    let assigned = Properties {
        assigned_client_identifier: Some(text("given")),
        ..Properties::default()
    };
    let connect = pair.accept(false, assigned.clone());
    assert_eq!(connect.client_identifier, "");
    assert_eq!(pair.connected_event().properties, assigned);
    assert_eq!(pair.client.client_identifier(), &"given");
    pair.cut();
    pair.wait_for_transport();
    let connect = pair.accept(true, Properties::default());
    assert_eq!(connect.client_identifier, "given");
}

/// MQTT-3.2.2-16: a server names those who have no name. One that renames others would make the next CONNECT, be it to another
/// server, ask for a session of somebody else. Pitfall 12.
#[test]
fn a_client_that_has_an_identifier_keeps_it() {
    let assigned = |name| Properties {
        assigned_client_identifier: Some(text(name)),
        ..Properties::default()
    };
    for (own, name) in [("me", "me"), ("", "first")] {
        let mut options = resuming(V5);
        options.client_identifier = text(own);
        let mut pair = Pair::new(options);
        pair.connect();
        assert_eq!(pair.accept(false, assigned("first")).client_identifier, own);
        assert_eq!(pair.client.client_identifier(), &name);
        pair.cut();
        pair.wait_for_transport();
        assert_eq!(
            pair.accept(true, assigned("second")).client_identifier,
            name
        );
        assert_eq!(pair.client.client_identifier(), &name);
    }
}

/// Section 3.2.2.3: what the server does not say is the default of the standard, or what the client asked for.
#[test]
fn what_a_connack_settles_is_there_until_the_next_one() {
    let mut asked = resuming(V5);
    asked.keep_alive = 7;
    asked.properties.session_expiry_interval = Some(60);
    let mut pair = Pair::new(asked);
    assert_eq!(pair.client.connack(), None);
    pair.connect();
    pair.accept(false, Properties::default());
    let found = pair.client.connack().unwrap().clone();
    assert!(!found.session_present);
    assert_eq!(found.client_identifier, *pair.client.client_identifier());
    assert_eq!(found.server_keep_alive, 7);
    assert_eq!(found.session_expiry_interval, 60);
    assert_eq!(found.limits.receive_maximum, u16::MAX);
    assert_eq!(found.limits.max_qos, ExactlyOnce);
    assert_eq!(found.limits.max_packet_size, 268_435_460);
    assert_eq!(found.limits.topic_alias_maximum, 0);
    assert!(found.limits.retain_available && found.limits.subscription_identifiers_available);
    pair.cut();
    assert_eq!(pair.client.connack(), Some(&found)); // the connection has ended
    pair.wait_for_transport();
    let said = Properties {
        maximum_qos: Some(AtMostOnce),
        server_keep_alive: Some(9),
        session_expiry_interval: Some(5),
        ..Properties::default()
    };
    pair.accept(true, said.clone());
    let next = pair.client.connack().unwrap();
    assert!(next.session_present);
    assert_eq!(next.limits.max_qos, AtMostOnce);
    assert_eq!(
        (next.server_keep_alive, next.session_expiry_interval),
        (9, 5)
    );
    assert_eq!(next.properties, said);
}

/// Section 3.1.2.4 of 3.1.1: Clean Session says whether the session outlives the connection. There are no identifiers of
/// subscriptions.
#[test]
fn before_5_the_session_ends_with_the_connection_or_never() {
    for (clean_start, interval) in [(CleanStart::Always, 0), (CleanStart::Never, u32::MAX)] {
        let mut options = options(V311);
        options.clean_start = clean_start;
        let mut pair = Pair::new(options);
        pair.connect();
        pair.accept(false, Properties::default());
        let found = pair.client.connack().unwrap();
        assert_eq!(found.session_expiry_interval, interval);
        assert!(!found.limits.subscription_identifiers_available);
    }
}
