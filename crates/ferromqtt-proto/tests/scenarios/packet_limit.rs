//! How large a packet from the server may be, by an option of this side.

use std::num::NonZeroU32;

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{ConnectionError, Options, Properties, ProtocolVersion, ReasonCode};

use crate::support::*;

fn limited(version: ProtocolVersion, bytes: u32) -> Options {
    let mut options = resuming(version);
    options.maximum_packet_size = NonZeroU32::new(bytes);
    options
}

/// MQTT-3.1.2-24. Pitfall 15.
#[test]
fn the_limit_is_announced_where_it_can_be() {
    for version in VERSIONS {
        let mut pair = Pair::new(limited(version, 99));
        pair.connect();
        let connect = pair.accept(false, Properties::default());
        let announced = NonZeroU32::new(99).filter(|_| version == V5);
        assert_eq!(connect.properties.maximum_packet_size, announced);
    }
}

/// The option is said last, and by its own name.
#[test]
fn the_option_takes_the_place_of_the_property() {
    let mut options = limited(V5, 12);
    options.properties = maximum_packet_size(99);
    let mut pair = Pair::new(options);
    pair.connect();
    let connect = pair.accept(false, Properties::default());
    assert_eq!(connect.properties.maximum_packet_size, NonZeroU32::new(12));
    pair.receive("t", "more than 12", AtMostOnce, 0);
    assert!(matches!(
        pair.cause(),
        ConnectionError::ProtocolViolation(_)
    ));
}

/// A server that was told breaks the protocol; one that could not be told does not, and the error names the option.
#[test]
fn a_larger_packet_ends_the_connection_before_it_is_read() {
    for version in VERSIONS {
        let mut pair = Pair::connected(limited(version, 12));
        pair.receive("t", "1234", AtLeastOnce, 1);
        pair.server_sends(Packet::PingResp);
        assert!(pair.client.is_connected());
        pair.events();
        let mut head = vec![0x30, 0xff, 0x01, 0, 1]; // of a packet with 258 bytes, and no more than that
        head.extend_from_slice(b"t");
        pair.server_sends_bytes(&head);
        let sent = pair.sent();
        let cause = pair.cause();
        if version == V5 {
            assert_eq!(sent, ["PUBACK 1", "DISCONNECT 0x95"]);
            let ConnectionError::ProtocolViolation(error) = cause else {
                panic!("{cause:?}");
            };
            assert_eq!(error.reason, ReasonCode::PacketTooLarge);
        } else {
            assert_eq!(sent, ["PUBACK 1"]);
            let (bytes, limit) = (258, 12);
            assert_eq!(cause, ConnectionError::PacketTooLarge { bytes, limit });
            let text = cause.to_string();
            assert!(text.contains("258") && text.contains("12"), "{text}");
            assert!(text.contains("maximum_packet_size"), "{text}");
        }
        assert_eq!(pair.payloads(), ["1234"]);
    }
}

/// What came with it, and before it, is not lost; the next connection is an ordinary one.
#[test]
fn packets_before_a_larger_one_are_read() {
    for version in VERSIONS {
        let mut pair = Pair::connected(limited(version, 12));
        let packets = [("one", 1), ("two", 2), ("twelve bytes", 3), ("four", 4)]
            .map(|(payload, id)| Packet::Publish(message("t", payload, AtLeastOnce, id)));
        pair.server_sends_bytes(&in_one_read(version, packets));
        assert!(!pair.client.is_connected());
        assert_eq!(pair.sent()[..2], ["PUBACK 1", "PUBACK 2"]);
        assert_eq!(pair.payloads(), ["one", "two"]);
        pair.wait_for_transport();
        pair.accept(true, Properties::default());
        pair.receive("t", "four", AtLeastOnce, 4);
        assert_eq!(pair.payloads(), ["four"]);
    }
}

/// A packet of exactly as many bytes passes, and no more are asked for than it may have.
#[test]
fn the_limit_itself_is_allowed() {
    for version in VERSIONS {
        let length = if version == V5 { 6 } else { 7 };
        let mut pair = Pair::connected(limited(version, 12));
        pair.receive("t", &"x".repeat(length - 2), AtLeastOnce, 1);
        pair.receive("t", &"x".repeat(length), AtMostOnce, 0);
        assert!(pair.client.is_connected());
        assert_eq!(pair.client.input_hint(&[0x30, 10]), 10);
        pair.receive("t", &"x".repeat(length + 1), AtMostOnce, 0);
        assert!(!pair.client.is_connected());
    }
}
