//! Rules that real servers break without harm: a strict client ends the connection, a tolerant one goes on and says so.

use ferromqtt_proto::{
    CleanStart, ConnectionError, Event, Options, Outcome, Properties, ProtocolVersion, ReasonCode,
    Reconnect, Slip,
};

use crate::support::*;

fn strict(version: ProtocolVersion) -> Options {
    options(version)
}

fn tolerant(version: ProtocolVersion) -> Options {
    let mut options = options(version);
    options.strict = false;
    options
}

fn both(version: ProtocolVersion) -> [Options; 2] {
    [strict(version), tolerant(version)]
}

/// What was tolerated since the last look; other events are dropped.
fn tolerated(pair: &mut Pair) -> Vec<Slip> {
    (pair.events().into_iter())
        .filter_map(|event| match event {
            Event::Tolerated { slip } => Some(slip),
            _ => None,
        })
        .collect()
}

fn assert_refused(pair: &mut Pair) {
    assert!(!pair.client.is_connected());
    let events = pair.events();
    let refused = |event: &Event| {
        matches!(
            event,
            Event::Disconnected {
                cause: ConnectionError::ProtocolViolation(_),
                ..
            }
        )
    };
    assert!(events.iter().any(refused), "{events:?}");
    let slips = events
        .iter()
        .any(|it| matches!(it, Event::Tolerated { .. }));
    assert!(!slips, "{events:?}");
    assert_eq!(pair.client.stats().tolerated, 0);
}

/// A client with publishes 1 and 2, at QoS 1 and 2, SUBSCRIBE 3 with one filter, and UNSUBSCRIBE 4.
fn busy(options: Options) -> Pair {
    let mut pair = Pair::connected(options);
    pair.publish("t", "x", AtLeastOnce);
    pair.publish("t", "x", ExactlyOnce);
    pair.subscribe(&["a"]);
    pair.unsubscribe(&["b"]);
    pair.bytes();
    pair.events();
    pair
}

/// Behind CONNACK.
const SLIPS: [(ProtocolVersion, Slip, &[u8]); 8] = [
    (V311, Slip::DupAtQos0, b"\x38\x04\x00\x01tx"),
    (V5, Slip::DupAtQos0, b"\x38\x05\x00\x01t\x00x"),
    (V311, Slip::SubackCode, b"\x90\x03\x00\x03\x87"),
    (V311, Slip::UnsubackPayload, b"\xb0\x03\x00\x04\x00"),
    (V311, Slip::AckCode, b"\x40\x03\x00\x01\x00"),
    (V311, Slip::AckCode, b"\x50\x04\x00\x02\x00\x00"),
    (V311, Slip::AckCode, b"\x62\x03\x00\x05\x00"),
    (V311, Slip::AckCode, b"\x70\x03\x00\x09\x92"),
];

/// In CONNACK.
const CONNACK_SLIPS: [(ProtocolVersion, Slip, &[u8]); 3] = [
    (V5, Slip::MaximumQos2, b"\x20\x05\x00\x00\x02\x24\x02"),
    (
        V311,
        Slip::SessionPresentAfterCleanSession,
        b"\x20\x02\x01\x00",
    ),
    (
        V31,
        Slip::SessionPresentAfterCleanSession,
        b"\x20\x02\x01\x00",
    ),
];

#[test]
fn a_strict_client_refuses_each_slip() {
    for (version, slip, bytes) in SLIPS {
        let mut pair = busy(strict(version));
        pair.server_sends_bytes(bytes);
        assert_refused(&mut pair);
        assert!(pair.messages().is_empty(), "{slip:?}");
    }
    for (version, _, bytes) in CONNACK_SLIPS {
        let mut pair = Pair::new(strict(version));
        pair.connect();
        pair.server_sends_bytes(bytes);
        assert_refused(&mut pair);
    }
}

#[test]
fn a_tolerant_client_goes_on_and_tells_of_each_slip() {
    for (version, slip, bytes) in SLIPS {
        let mut pair = busy(tolerant(version));
        pair.server_sends_bytes(bytes);
        assert!(pair.client.is_connected(), "{slip:?}");
        assert_eq!(tolerated(&mut pair), [slip]);
        assert_eq!(pair.client.stats().tolerated, 1);
    }
    for (version, slip, bytes) in CONNACK_SLIPS {
        let mut pair = Pair::new(tolerant(version));
        pair.connect();
        pair.server_sends_bytes(bytes);
        assert!(pair.client.is_connected(), "{slip:?}");
        let events = pair.events();
        assert!(matches!(events[0], Event::Connected(_)), "{events:?}");
        assert_eq!(events[1..], [Event::Tolerated { slip }]);
    }
}

/// Programs are not flooded with what a server does at every message.
#[test]
fn each_kind_is_told_once_a_connection_and_counted_each_time() {
    let mut options = resuming(V311);
    options.strict = false;
    let mut pair = Pair::connected(options);
    pair.publish("t", "x", AtLeastOnce);
    for _ in 0..3 {
        pair.server_sends_bytes(b"\x38\x04\x00\x01tx");
    }
    pair.server_sends_bytes(b"\x40\x03\x00\x01\x00");
    assert_eq!(tolerated(&mut pair), [Slip::DupAtQos0, Slip::AckCode]);
    assert_eq!(pair.client.stats().tolerated, 4);
    pair.reconnect(true);
    assert_eq!(tolerated(&mut pair), []);
    pair.server_sends_bytes(b"\x38\x04\x00\x01tx");
    assert_eq!(tolerated(&mut pair), [Slip::DupAtQos0]);
    assert_eq!(pair.client.stats().tolerated, 5);
}

/// MQTT-3.3.1-2: the flag means nothing at QoS 0, so that the application does not see it.
#[test]
fn a_message_with_dup_at_qos_0_is_delivered_without_dup() {
    for (version, bytes) in [
        (V311, &b"\x39\x04\x00\x01tx"[..]),
        (V5, b"\x39\x05\x00\x01t\x00x"),
    ] {
        let mut pair = Pair::connected(tolerant(version));
        pair.server_sends_bytes(bytes);
        let messages = pair.messages();
        assert_eq!(messages.len(), 1);
        assert_eq!(
            (&messages[0].topic[..], &messages[0].payload[..]),
            ("t", &b"x"[..])
        );
        assert_eq!((messages[0].dup, messages[0].retain), (false, true));
        assert!(pair.bytes().is_empty());
    }
}

#[test]
fn a_maximum_qos_of_2_is_no_limit() {
    let mut pair = Pair::new(tolerant(V5));
    pair.connect();
    pair.bytes();
    pair.server_sends_bytes(b"\x20\x05\x00\x00\x02\x24\x02");
    assert_eq!(pair.connected_event().properties, Properties::default());
    pair.publish("t", "x", ExactlyOnce);
    assert_eq!(pair.sent(), ["PUBLISH q2 1 x"]);
}

/// Section 3.2.2.3.4: 3 has no meaning that could be meant.
#[test]
fn a_maximum_qos_of_3_is_always_refused() {
    for options in both(V5) {
        let mut pair = Pair::new(options);
        pair.connect();
        pair.server_sends_bytes(b"\x20\x05\x00\x00\x02\x24\x03");
        assert_refused(&mut pair);
    }
}

/// 3.1.1: MQTT-3.9.3-2. Whatever the code was meant to say, the subscription failed.
#[test]
fn suback_codes_above_0x80_are_failures_in_3_1_1() {
    for code in 0x81..=0xFF {
        let mut pair = Pair::connected(tolerant(V311));
        let op = pair.subscribe(&["a", "b"]);
        pair.server_sends_bytes(&[0x90, 4, 0, 1, code, 1]);
        let Outcome::Subscribed { reasons, .. } = pair.outcome(op) else {
            panic!("not subscribed");
        };
        assert_eq!(
            reasons,
            [ReasonCode::UnspecifiedError, ReasonCode::GrantedQos1]
        );
    }
    for code in 0x03..0x80 {
        let mut pair = Pair::connected(tolerant(V311));
        pair.subscribe(&["a"]);
        pair.server_sends_bytes(&[0x90, 3, 0, 1, code]);
        assert_refused(&mut pair);
    }
}

/// What refuses a message in 5.0 refuses it in 3.1.1 too, where the standard has no such answer: a failure is never taken for a
/// success.
#[test]
fn codes_in_acknowledgements_of_3_1_1_refuse_a_message_or_accept_it() {
    for code in 0..=0xFF {
        for (qos, packet_type) in [(AtLeastOnce, 0x40), (ExactlyOnce, 0x50)] {
            let mut pair = Pair::connected(tolerant(V311));
            let op = pair.publish("t", "x", qos);
            pair.bytes();
            pair.server_sends_bytes(&[packet_type, 4, 0, 1, code, 0]);
            let expected = ReasonCode::from_value(code).unwrap_or(ReasonCode::UnspecifiedError);
            if code >= 0x80 {
                let Outcome::Refused { reason, .. } = pair.outcome(op) else {
                    panic!("{code:#x} is no refusal");
                };
                assert_eq!(reason, expected);
                assert!(pair.bytes().is_empty(), "no PUBREL follows");
                pair.publish("t", "y", AtLeastOnce); // identifier and slot are free
                assert_eq!(pair.client.stats().acknowledged, 0);
                continue;
            }
            if qos == ExactlyOnce {
                assert_eq!(pair.sent(), ["PUBREL 1"]);
                pair.server_sends_bytes(&[0x70, 3, 0, 1, code]); // below 0x80 too
            }
            let Outcome::Acknowledged { reason, .. } = pair.outcome(op) else {
                panic!("{code:#x} refuses");
            };
            assert_eq!(reason, ReasonCode::Success);
        }
    }
}

/// As in 5.0: a server that has taken the message over, and fails to release it, may have lost it.
#[test]
fn a_failure_in_pubcomp_of_3_1_1_leaves_the_delivery_unknown() {
    for code in 0x80..=0xFF {
        let mut pair = Pair::connected(tolerant(V311));
        let op = pair.publish("t", "x", ExactlyOnce);
        pair.server_sends(pubrec(1));
        pair.server_sends_bytes(&[0x70, 3, 0, 1, code]);
        let properties = None;
        assert_eq!(pair.outcome(op), Outcome::Unreleased { properties });
        assert_eq!(pair.client.stats().refused, 0);
    }
}

#[test]
fn a_code_in_pubrel_of_3_1_1_changes_nothing() {
    for code in [0, 0x92] {
        let mut pair = Pair::connected(tolerant(V311));
        pair.receive("t", "x", ExactlyOnce, 7);
        pair.server_sends_bytes(&[0x62, 3, 0, 7, code]);
        assert_eq!(pair.sent(), ["PUBREC 7", "PUBCOMP 7"]);
    }
}

#[test]
fn an_unsuback_of_3_1_1_may_go_on() {
    let mut pair = Pair::connected(tolerant(V311));
    let op = pair.unsubscribe(&["a"]);
    pair.server_sends_bytes(b"\xb0\x04\x00\x01\x11\x80");
    let Outcome::Unsubscribed { reasons, .. } = pair.outcome(op) else {
        panic!("not unsubscribed");
    };
    assert!(reasons.is_empty());
}

/// 5.0 has a code for each of these, and properties: there the packets say something else than was meant, or nothing.
#[test]
fn slips_of_3_1_1_are_refused_in_5_0() {
    for bytes in [
        &b"\x90\x04\x00\x03\x00\x81"[..], // SUBACK with a code of other packets
        b"\x90\x04\x00\x03\x00\xff",
        b"\xb0\x04\x00\x04\x00\xff",
        b"\x40\x03\x00\x01\xff",
        b"\x40\x03\x00\x01\x01",
        b"\x40\x05\x00\x01\x00\x00\x00", // bytes behind the properties
    ] {
        let mut pair = busy(tolerant(V5));
        pair.server_sends_bytes(bytes);
        assert_refused(&mut pair);
    }
}

/// 3.1.1: MQTT-3.2.2-1. Nothing of a session is left that could be resumed: what was on the wire goes out again.
#[test]
fn session_present_after_a_clean_session_of_3_1_1_is_taken_for_a_new_session() {
    let mut options = tolerant(V311);
    options.clean_start = CleanStart::Always;
    options.reconnect = Some(Reconnect::default());
    let mut pair = Pair::connected(options);
    pair.publish("t", "x", AtLeastOnce);
    let two = pair.publish("t", "y", ExactlyOnce);
    pair.subscribe(&["a"]);
    pair.server_sends(suback(3, &[ReasonCode::GrantedQos1]));
    pair.events();
    pair.cut();
    pair.wait_for_transport();
    pair.bytes();
    pair.server_sends_bytes(b"\x20\x02\x01\x00");
    let events = pair.events();
    let slip = Slip::SessionPresentAfterCleanSession;
    assert!(events.contains(&Event::Tolerated { slip }), "{events:?}");
    let connected = events
        .iter()
        .any(|event| matches!(event, Event::Connected(connected) if !connected.session_present));
    assert!(connected, "{events:?}");
    let outcome = Outcome::SessionLost;
    assert!(
        events.contains(&Event::Completed { op: two, outcome }),
        "{events:?}"
    );
    assert_eq!(pair.sent(), ["SUBSCRIBE 4 a", "PUBLISH q1 5 x"]);
}

/// MQTT-3.2.2-4: in 5.0 the session that the server takes to be there outlives the connection, and decides what comes next.
#[test]
fn session_present_after_clean_start_is_always_refused_in_5_0_mqtt_3_2_2_4() {
    for options in both(V5) {
        let mut pair = Pair::new(options);
        pair.connect();
        pair.server_sends(accepted(true, Properties::default()));
        assert_refused(&mut pair);
    }
}

/// MQTT-3.8.4-6, MQTT-3.11.3-1: which filters the codes are for cannot be guessed. None at all is no answer either.
#[test]
fn another_number_of_reason_codes_than_filters_is_always_refused() {
    let codes = [ReasonCode::Success; 3];
    for version in VERSIONS {
        for options in both(version) {
            for number in [0, 1, 3] {
                let mut pair = Pair::connected(options.clone());
                pair.subscribe(&["a", "b"]);
                pair.server_sends(suback(1, &codes[..number]));
                assert_refused(&mut pair);
            }
        }
    }
    for options in both(V5) {
        for number in [0, 1, 3] {
            let mut pair = Pair::connected(options.clone());
            pair.unsubscribe(&["a", "b"]);
            pair.server_sends(unsuback(1, &codes[..number]));
            assert_refused(&mut pair);
        }
    }
}

/// A slip is reported before what ends the connection, which it does not prevent.
#[test]
fn what_is_no_slip_ends_the_connection_of_a_tolerant_client() {
    let mut pair = Pair::connected(tolerant(V311));
    pair.events();
    pair.server_sends_bytes(b"\x38\x04\x00\x01tx\x36\x05\x00\x01t\x00\x01");
    let events = pair.events();
    let slip = Slip::DupAtQos0;
    let slips = events
        .iter()
        .position(|it| *it == Event::Tolerated { slip });
    let ends = (events.iter()).position(|it| matches!(it, Event::Disconnected { .. }));
    assert!(slips.unwrap() < ends.unwrap(), "{events:?}");
    assert_eq!(pair.payloads(), ["x"]);
}

/// The text stands in a warning.
#[test]
fn each_slip_says_what_came_and_what_is_made_of_it() {
    for (_, slip, _) in SLIPS.iter().chain(&CONNACK_SLIPS) {
        assert!(slip.to_string().contains("; "), "{slip}");
    }
    assert!(
        Slip::ReceiveMaximumExceeded
            .to_string()
            .contains("Receive Maximum")
    );
}
