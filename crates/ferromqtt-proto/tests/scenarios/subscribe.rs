//! SUBSCRIBE and UNSUBSCRIBE.

use ferromqtt_proto::packet::{Packet, SubAck};
use ferromqtt_proto::{
    ConnectionError, Delivery, InvalidSubscribe, Outcome, Properties, QueueId, ReasonCode,
    RetainHandling, Subscribe, SubscriptionOptions, TransportError, Unsubscribe,
};

use crate::support::*;

fn subscribe(filters: &[(&str, SubscriptionOptions)], properties: Properties) -> Subscribe {
    Subscribe {
        filters: (filters.iter())
            .map(|&(text, options)| (filter(text), options))
            .collect(),
        properties,
        queue: QueueId::DEFAULT,
    }
}

fn identifier(value: u32) -> Properties {
    Properties {
        subscription_identifiers: [value].into(),
        ..Properties::default()
    }
}

/// MQTT-3.8.1-1, MQTT-3.8.3-5, MQTT-2.2.2-1; 3.1.1: MQTT-3.8.1-1, MQTT-3-8.3-4: only the QoS is known there.
#[test]
fn subscribe_on_the_wire() {
    let all = SubscriptionOptions {
        qos: ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::Never,
    };
    for (version, all, properties, expected) in [
        (
            V311,
            at(ExactlyOnce),
            Properties::default(),
            &b"\x82\x0a\x00\x01\x00\x01a\x02\x00\x01b\x00"[..],
        ),
        (
            V5,
            all,
            Properties::default(),
            b"\x82\x0b\x00\x01\x00\x00\x01a\x2e\x00\x01b\x00",
        ),
        (
            V5,
            all,
            identifier(268_435_455),
            b"\x82\x10\x00\x01\x05\x0b\xff\xff\xff\x7f\x00\x01a\x2e\x00\x01b\x00",
        ),
    ] {
        let mut pair = Pair::connected(options(version));
        let request = subscribe(&[("a", all), ("b", at(AtMostOnce))], properties);
        pair.client.subscribe(pair.now, request).unwrap();
        pair.pump();
        assert_eq!(pair.bytes(), expected);
    }
}

/// MQTT-3.10.1-1; 3.1.1: MQTT-3.10.1-1.
#[test]
fn unsubscribe_on_the_wire() {
    for (version, expected) in [
        (V311, &b"\xa2\x08\x00\x01\x00\x01a\x00\x01b"[..]),
        (V5, b"\xa2\x09\x00\x01\x00\x00\x01a\x00\x01b"),
    ] {
        let mut pair = Pair::connected(options(version));
        pair.unsubscribe(&["a", "b"]);
        assert_eq!(pair.bytes(), expected);
    }
}

/// MQTT-3.8.4-6, MQTT-3.8.4-7, MQTT-3.9.3-1, MQTT-3.9.3-2; 3.1.1: MQTT-3.8.4-5, MQTT-3.9.3-1: failures stand beside successes.
#[test]
fn suback_tells_a_reason_code_for_each_filter() {
    for (version, failure) in [
        (V311, ReasonCode::UnspecifiedError),
        (V5, ReasonCode::NotAuthorized),
    ] {
        let mut pair = Pair::connected(options(version));
        let op = pair.subscribe(&["a", "b", "c"]);
        let reasons = vec![ReasonCode::GrantedQos1, failure, ReasonCode::Success];
        pair.server_sends(suback(1, &reasons));
        let properties = None;
        assert_eq!(
            pair.outcome(op),
            Outcome::Subscribed {
                reasons,
                properties
            }
        );
        assert!(pair.client.is_connected());
    }
}

#[test]
fn suback_and_unsuback_tell_their_properties() {
    let because = Properties {
        reason_string: Some(text("why")),
        ..Properties::default()
    };
    let mut pair = Pair::connected(options(V5));
    let op = pair.subscribe(&["a"]);
    let reasons = vec![ReasonCode::GrantedQos2];
    pair.server_sends(Packet::SubAck(Box::new(SubAck {
        packet_id: id(1),
        properties: because.clone(),
        reasons: reasons.clone(),
    })));
    let properties = Some(Box::new(because));
    assert_eq!(
        pair.outcome(op),
        Outcome::Subscribed {
            reasons,
            properties
        }
    );
}

/// MQTT-3.11.3-1, MQTT-3.11.3-2, MQTT-3.10.4-4; 3.1.1: MQTT-3.10.4-4, -5, where UNSUBACK holds nothing.
#[test]
fn unsuback_tells_a_reason_code_for_each_filter_in_5_0() {
    for (version, reasons) in [
        (V311, vec![]),
        (
            V5,
            vec![ReasonCode::NoSubscriptionExisted, ReasonCode::NotAuthorized],
        ),
    ] {
        let mut pair = Pair::connected(options(version));
        let op = pair.unsubscribe(&["a", "b"]);
        pair.server_sends(unsuback(1, &reasons));
        let properties = None;
        assert_eq!(
            pair.outcome(op),
            Outcome::Unsubscribed {
                reasons,
                properties
            }
        );
    }
}

/// MQTT-3.8.4-6, MQTT-3.11.3-1; 3.1.1: MQTT-3.8.4-5.
#[test]
fn a_wrong_number_of_reason_codes_closes_the_connection() {
    for version in VERSIONS {
        for count in [0, 1, 3] {
            let mut pair = Pair::connected(options(version));
            pair.subscribe(&["a", "b"]);
            pair.server_sends(suback(1, &vec![ReasonCode::Success; count]));
            assert!(matches!(
                pair.cause(),
                ConnectionError::ProtocolViolation(_)
            ));
        }
    }
    let mut pair = Pair::connected(options(V5));
    pair.unsubscribe(&["a", "b"]);
    pair.server_sends(unsuback(1, &[ReasonCode::Success]));
    assert!(matches!(
        pair.cause(),
        ConnectionError::ProtocolViolation(_)
    ));
}

/// The answer of the wrong kind for a request that is open breaks the protocol.
#[test]
fn suback_for_an_unsubscribe_closes_the_connection() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        pair.unsubscribe(&["a"]);
        pair.server_sends(suback(1, &[ReasonCode::Success]));
        assert!(matches!(
            pair.cause(),
            ConnectionError::ProtocolViolation(_)
        ));
        let mut pair = Pair::connected(options(version));
        pair.subscribe(&["a"]);
        pair.server_sends(unsuback(
            1,
            if version == V5 {
                &[ReasonCode::Success]
            } else {
                &[]
            },
        ));
        assert!(matches!(
            pair.cause(),
            ConnectionError::ProtocolViolation(_)
        ));
    }
}

/// MQTT-2.2.1-6, MQTT-3.8.4-2, MQTT-3.10.4-5; 3.1.1: MQTT-2.3.1-7, MQTT-3.8.4-2, MQTT-3.10.4-4: answers find their own requests in any order.
#[test]
fn answers_may_come_in_any_order() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let ops = ["a", "b"].map(|filter| pair.subscribe(&[filter]));
        pair.server_sends(suback(2, &[ReasonCode::GrantedQos1]));
        assert!(matches!(pair.outcome(ops[1]), Outcome::Subscribed { .. }));
        pair.server_sends(suback(1, &[ReasonCode::GrantedQos1]));
        assert!(matches!(pair.outcome(ops[0]), Outcome::Subscribed { .. }));
    }
}

/// MQTT-3.8.3-2, MQTT-3.8.3-4, MQTT-3.10.3-2; 3.1.1: MQTT-3.8.3-3, MQTT-3.10.3-2.
#[test]
fn what_no_server_would_accept_is_refused_locally() {
    let no_local = SubscriptionOptions {
        no_local: true,
        ..SubscriptionOptions::default()
    };
    let misplaced = Properties {
        server_keep_alive: Some(1),
        ..Properties::default()
    };
    for (request, shared) in [
        (subscribe(&[], Properties::default()), false),
        (
            subscribe(&[("$share/g/a", no_local)], Properties::default()),
            true,
        ),
        (subscribe(&[("a", at(AtMostOnce))], misplaced), false),
        (subscribe(&[("a", at(AtMostOnce))], identifier(0)), false),
        (
            subscribe(&[("a", at(AtMostOnce))], identifier(268_435_456)),
            false,
        ),
    ] {
        let mut pair = Pair::connected(options(V5));
        let error = pair.client.subscribe(pair.now, request).unwrap_err();
        assert_eq!(error == InvalidSubscribe::NoLocalShared, shared, "{error}");
        pair.pump();
        assert!(pair.bytes().is_empty());
    }
    let mut pair = Pair::connected(options(V311));
    let request = subscribe(&[("a", at(AtMostOnce))], identifier(1));
    let error = pair.client.subscribe(pair.now, request).unwrap_err();
    assert!(matches!(error, InvalidSubscribe::Property(_)));
    let nothing = Unsubscribe {
        filters: Vec::new(),
        properties: Properties::default(),
    };
    let error = pair.client.unsubscribe(pair.now, nothing).unwrap_err();
    assert_eq!(error, InvalidSubscribe::NoFilter);
}

/// With reconnecting on, a request waits through any number of connections.
#[test]
fn a_request_waits_through_reconnects() {
    for version in VERSIONS {
        for session_present in [true, false] {
            let mut pair = Pair::connected(resuming(version));
            let subscribe = pair.subscribe(&["a"]);
            let unsubscribe = pair.unsubscribe(&["b"]);
            pair.bytes();
            pair.cut();
            let offline = pair.subscribe(&["c"]);
            pair.wait_for_transport();
            pair.accept(session_present, Properties::default());
            let sent = ["SUBSCRIBE 3 a", "UNSUBSCRIBE 4 b", "SUBSCRIBE 5 c"];
            assert_eq!(pair.sent(), sent, "each once");
            pair.events();
            pair.server_sends(suback(3, &[ReasonCode::GrantedQos1]));
            assert!(matches!(
                pair.outcome(subscribe),
                Outcome::Subscribed { .. }
            ));
            pair.server_sends(unsuback(
                4,
                if version == V5 {
                    &[ReasonCode::Success]
                } else {
                    &[]
                },
            ));
            assert!(matches!(
                pair.outcome(unsubscribe),
                Outcome::Unsubscribed { .. }
            ));
            pair.server_sends(suback(5, &[ReasonCode::GrantedQos1]));
            assert!(matches!(pair.outcome(offline), Outcome::Subscribed { .. }));
        }
    }
}

/// With reconnecting off, a request fails with its connection. Pitfall 20.
#[test]
fn a_request_fails_at_once_when_no_connection_will_follow() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let op = pair.subscribe(&["a"]);
        pair.cut();
        let cause = ConnectionError::Transport(TransportError::EndOfStream);
        let delivery = Delivery::Unknown;
        assert_eq!(pair.outcome(op), Outcome::Disconnected { cause, delivery });
    }
}

/// Once it was on a wire, its delivery is unknown, also when it failed while waiting for the next connection.
#[test]
fn a_request_that_was_sent_once_is_of_unknown_delivery_from_then_on() {
    let mut pair = Pair::connected(resuming(V5));
    let sent = pair.subscribe(&["a"]);
    let abandoned = pair.subscribe(&["b"]);
    pair.cut();
    let unsent = pair.subscribe(&["c"]);
    assert_eq!(pair.client.abandon(abandoned), Some(Delivery::Unknown));
    pair.events();
    pair.client
        .disconnect(pair.now, ferromqtt_proto::packet::Disconnect::normal());
    pair.pump();
    let cause = ConnectionError::Closed;
    let outcome = |delivery| Outcome::Disconnected {
        cause: cause.clone(),
        delivery,
    };
    assert_eq!(
        pair.outcomes(),
        [
            (sent, outcome(Delivery::Unknown)),
            (unsent, outcome(Delivery::NotSent))
        ]
    );
}
