//! The first byte of everything that a client sends.

use ferromqtt_proto::packet::{Disconnect, Packet};

use crate::support::*;

/// First bytes of packets that are each shorter than 128 bytes.
fn first_bytes(pair: &mut Pair) -> Vec<u8> {
    let bytes = pair.bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        found.push(bytes[at]);
        assert!(bytes[at + 1] < 128, "a longer packet");
        at += 2 + usize::from(bytes[at + 1]);
    }
    found
}

/// MQTT-2.1.3-1, MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1, MQTT-3.14.1-1;
/// 3.1.1: MQTT-2.2.2-1, MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1, MQTT-3.14.1-1.
#[test]
fn every_packet_has_the_flags_that_the_standard_fixes() {
    for version in VERSIONS {
        let mut options = options(version);
        options.keep_alive = 10;
        let mut pair = Pair::new(options);
        pair.connect();
        assert_eq!(first_bytes(&mut pair), [0x10], "CONNECT");
        pair.server_sends(accepted(false, Default::default()));

        pair.publish("t", "x", AtMostOnce);
        pair.publish("t", "x", AtLeastOnce);
        pair.publish("t", "x", ExactlyOnce);
        assert_eq!(first_bytes(&mut pair), [0x30, 0x32, 0x34], "PUBLISH");
        pair.server_sends(pubrec(2));
        assert_eq!(first_bytes(&mut pair), [0x62], "PUBREL");

        pair.server_sends(Packet::Publish(message("t", "x", AtLeastOnce, 1)));
        pair.server_sends(Packet::Publish(message("t", "x", ExactlyOnce, 2)));
        pair.server_sends(pubrel(2));
        assert_eq!(
            first_bytes(&mut pair),
            [0x40, 0x50, 0x70],
            "acknowledgements"
        );

        pair.subscribe(&["a"]);
        pair.unsubscribe(&["a"]);
        assert_eq!(first_bytes(&mut pair), [0x82, 0xa2], "requests");
        pair.advance(10 * SECOND);
        assert_eq!(first_bytes(&mut pair), [0xc0], "PINGREQ");
        pair.client.disconnect(pair.now, Disconnect::normal());
        pair.pump();
        assert_eq!(first_bytes(&mut pair), [0xe0], "DISCONNECT");
    }
}
