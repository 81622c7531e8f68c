//! Bytes that break the standard. 5.0 answers with DISCONNECT and a Reason Code, then closes (MQTT-4.13.1-1); 3.1.1 just closes
//! (3.1.1: MQTT-4.8.0-1).

use std::num::NonZeroU32;

use bytes::BytesMut;
use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{ConnectionError, Properties};

use crate::support::*;

/// A client with one publish of each QoS and one SUBSCRIBE (two filters) and UNSUBSCRIBE open: identifiers 1 to 4.
fn busy(version: ferromqtt_proto::ProtocolVersion) -> Pair {
    let mut options = options(version);
    if version == V5 {
        options.properties.topic_alias_maximum = Some(2);
    }
    let mut pair = Pair::connected(options);
    pair.publish("t", "x", AtLeastOnce);
    pair.publish("t", "x", ExactlyOnce);
    pair.subscribe(&["a", "b"]);
    pair.unsubscribe(&["a"]);
    pair.bytes();
    pair.events();
    pair
}

/// MQTT-4.13.1-1, and the statements beside the bytes. Pitfalls 17, 18 and 19.
#[test]
fn in_5_0_disconnect_with_a_reason_code_goes_first() {
    for (reason, bytes) in [
        (0x81, &b"\x00\x00"[..]), // packet type 0
        (0x81, b"\xd0\x01\x00"),  // PINGRESP with a body
        (0x81, b"\xd1\x00"),      // MQTT-2.1.3-1: reserved bits
        (0x81, b"\x41\x02\x00\x01"),
        (0x81, b"\x44\x02\x00\x01"),
        (0x81, b"\x48\x02\x00\x01"),
        (0x81, b"\x52\x02\x00\x01"),
        (0x81, b"\x60\x02\x00\x01"), // MQTT-3.6.1-1
        (0x81, b"\x6a\x02\x00\x01"),
        (0x81, b"\x91\x05\x00\x03\x00\x00\x00"),
        (0x81, b"\xb2\x04\x00\x04\x00\x00"),
        (0x81, b"\xe1\x00"),                     // MQTT-3.14.1-1
        (0x81, b"\xf1\x00"),                     // MQTT-3.15.1-1
        (0x81, b"\x30\xff\xff\xff\xff"),         // MQTT-1.5.5-1: five length bytes
        (0x81, b"\x30\x85\x00\x00\x01t\x00x"),   // more length bytes than needed
        (0x81, b"\x40\x01\x00"),                 // a field is cut off
        (0x81, b"\x40\x05\x00\x01\x00\x00\x00"), // bytes behind the last field
        (0x81, b"\x40\x00"),
        (0x81, b"\x36\x06\x00\x01t\x00\x01\x00"), // MQTT-3.3.1-4: QoS 3
        (0x81, b"\x38\x04\x00\x01t\x00"),         // MQTT-3.3.1-2: DUP at QoS 0
        (0x81, b"\x30\x05\x00\x02t\xff\x00"),     // MQTT-1.5.4-1: no UTF-8
        (0x81, b"\x30\x06\x00\x03\xed\xa0\x80\x00"), // a surrogate
        (0x81, b"\x30\x05\x00\x02t\x00\x00"),     // MQTT-1.5.4-2: U+0000
        (0x81, b"\x30\x0b\x00\x01t\x07\x26\x00\x01a\x00\x01\x00"), // MQTT-1.5.7-1
        (0x81, b"\x30\x05\x00\x02a#\x00"),        // MQTT-3.3.2-2: a wildcard
        (0x81, b"\x30\x05\x00\x01t\x01\x7f"),     // an unknown property
        (0x81, b"\x30\x05\x00\x01t\x05\x01"),     // properties longer than the packet
        (0x82, b"\x32\x06\x00\x01t\x00\x00\x00"), // MQTT-2.2.1-4: identifier 0
        (0x82, b"\x40\x02\x00\x00"),
        (0x82, b"\x30\x03\x00\x00\x00"), // neither topic nor alias
        (0x82, b"\x30\x06\x00\x01t\x02\x01\x02"), // Payload Format Indicator 2
        (0x82, b"\x30\x08\x00\x01t\x04\x01\x01\x01\x01"), // a property twice
        (0x82, b"\x30\x07\x00\x01t\x03\x13\x00\x01"), // a property of CONNACK
        (0x82, b"\x30\x06\x00\x01t\x02\x0b\x00"), // Subscription Identifier 0
        (0x82, b"\x30\x09\x00\x01t\x05\x08\x00\x02a+"), // MQTT-3.3.2-14
        (0x82, b"\x30\x07\x00\x01t\x03\x08\x00\x00"), // MQTT-4.7.3-1: an empty Response Topic
        (0x94, b"\x30\x07\x00\x01t\x03\x23\x00\x00"), // MQTT-3.3.2-8: alias 0
        (0x94, b"\x30\x07\x00\x01t\x03\x23\x00\x03"), // MQTT-3.3.2-11: above our maximum
        (0x82, b"\x30\x06\x00\x00\x03\x23\x00\x01"), // MQTT-3.3.2-10: not assigned
        (0x82, b"\x40\x03\x00\x01\x92"), // MQTT-3.4.2-1
        (0x82, b"\x40\x03\x00\x01\x01"),
        (0x82, b"\x50\x03\x00\x02\x92"),         // MQTT-3.5.2-1
        (0x82, b"\x62\x03\x00\x02\x10"),         // MQTT-3.6.2-1
        (0x82, b"\x70\x03\x00\x02\x80"),         // MQTT-3.7.2-1
        (0x82, b"\x90\x05\x00\x03\x00\x00\x03"), // MQTT-3.9.3-2
        (0x82, b"\xb0\x04\x00\x04\x00\x10"),     // MQTT-3.11.3-2
        (0x82, b"\xe0\x01\x01"),                 // MQTT-3.14.2-1
        (0x82, b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02me"), // packets of clients
        (0x82, b"\x82\x07\x00\x01\x00\x00\x01a\x00"),
        (0x82, b"\xa2\x06\x00\x01\x00\x00\x01a"),
        (0x82, b"\xc0\x00"),
        (0x82, b"\xf0\x00"), // MQTT-4.12.0-6
        (0x82, b"\xf0\x02\x18\x00"),
    ] {
        let mut pair = busy(V5);
        pair.server_sends_bytes(bytes);
        assert_eq!(pair.bytes(), [0xe0, 1, reason][..], "{bytes:02x?}");
        assert_eq!(pair.closes, [true], "{bytes:02x?}");
        let ConnectionError::ProtocolViolation(error) = pair.cause() else {
            panic!("{bytes:02x?}");
        };
        assert_eq!(error.reason.value(), reason, "{bytes:02x?}");
        assert!(pair.messages().is_empty());
    }
}

/// 3.1.1: MQTT-4.8.0-1, MQTT-2.2.2-2 and the statements beside the bytes. Pitfalls 17, 18 and 19.
#[test]
fn in_3_1_1_the_connection_is_just_closed() {
    for bytes in [
        &b"\x00\x00"[..],
        b"\xf0\x00", // AUTH does not exist
        b"\xd0\x01\x00",
        b"\xd1\x00",
        b"\x41\x02\x00\x01",
        b"\x44\x02\x00\x01",
        b"\x48\x02\x00\x01",
        b"\x52\x02\x00\x01",
        b"\x60\x02\x00\x01", // MQTT-3.6.1-1
        b"\x91\x04\x00\x03\x00\x00",
        b"\xb2\x02\x00\x04",
        b"\x30\xff\xff\xff\xff",
        b"\x40\x03\x00\x01\x00", // no Reason Code here
        b"\x40\x01\x00",
        b"\xb0\x03\x00\x04\x00",
        b"\x36\x05\x00\x01t\x00\x01", // MQTT-3.3.1-4
        b"\x38\x03\x00\x01t",         // MQTT-3.3.1-2
        b"\x30\x04\x00\x02t\xff",     // MQTT-1.5.3-1
        b"\x30\x05\x00\x03\xed\xa0\x80",
        b"\x30\x04\x00\x02t\x00",     // MQTT-1.5.3-2
        b"\x30\x04\x00\x02a#",        // MQTT-3.3.2-2
        b"\x30\x02\x00\x00",          // MQTT-4.7.3-1
        b"\x32\x05\x00\x01t\x00\x00", // MQTT-2.3.1-1, MQTT-2.3.1-4
        b"\x90\x04\x00\x03\x00\x03",  // MQTT-3.9.3-2
        b"\x90\x04\x00\x03\x00\x87",
        b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02me",
        b"\x82\x06\x00\x01\x00\x01a\x00",
        b"\xa2\x05\x00\x01\x00\x01a",
        b"\xc0\x00",
        b"\xe0\x00",
    ] {
        let mut pair = busy(V311);
        pair.server_sends_bytes(bytes);
        assert!(pair.bytes().is_empty(), "{bytes:02x?}");
        assert_eq!(pair.closes, [true], "{bytes:02x?}");
        assert!(matches!(
            pair.cause(),
            ConnectionError::ProtocolViolation(_)
        ));
        assert!(pair.messages().is_empty());
    }
}

/// What stands before the faulty packet counts, what stands behind it does not, and the answers go out before
/// DISCONNECT and before the close.
#[test]
fn good_packets_before_a_bad_one_are_processed() {
    for (version, expected) in [
        (V311, &b"\x40\x02\x00\x07"[..]),
        (V5, b"\x40\x02\x00\x07\xe0\x01\x81"),
    ] {
        let mut pair = Pair::connected(options(version));
        let mut segment = BytesMut::new();
        Packet::Publish(message("t", "before", AtLeastOnce, 7)).encode(version, &mut segment);
        segment.extend_from_slice(b"\x00\x00");
        Packet::Publish(message("t", "behind", AtLeastOnce, 8)).encode(version, &mut segment);
        pair.server_sends_bytes(&segment);
        assert_eq!(pair.payloads(), ["before"]);
        assert_eq!(pair.bytes(), expected);
    }
}

/// MQTT-3.1.2-24. Pitfall 15, inbound: refused from the fixed header, before anything of it is buffered.
#[test]
fn a_packet_above_our_maximum_packet_size_is_refused_from_its_header() {
    let mut options = options(V5);
    options.properties.maximum_packet_size = NonZeroU32::new(20);
    let mut pair = Pair::connected(options);
    pair.server_sends_bytes(b"\x30\x12\x00\x01t\x0012345678901234");
    assert_eq!(pair.payloads(), ["12345678901234"], "20 bytes are allowed");
    pair.events();
    pair.server_sends_bytes(b"\x30\x13");
    assert_eq!(pair.bytes(), &b"\xe0\x01\x95"[..]);
    assert!(matches!(
        pair.cause(),
        ConnectionError::ProtocolViolation(_)
    ));
}

/// With reconnecting on, a broken server is tried again, and what was unacknowledged is not lost.
#[test]
fn after_a_violation_the_client_reconnects() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        pair.publish("t", "x", AtLeastOnce);
        pair.server_sends_bytes(b"\x00\x00");
        pair.wait_for_transport();
        pair.accept(true, Properties::default());
        assert_eq!(pair.sent(), ["PUBLISH q1 1 DUP x"]);
    }
}
