//! Bounds of the queue of publishes, and what the transport is given at once.

use ferromqtt_proto::{InvalidPublish, Publish, QoS, TopicName};

use crate::support::*;

fn publish(qos: QoS, length: usize) -> Publish {
    let mut publish = Publish::new(TopicName::new("t").unwrap(), vec![7; length]);
    publish.qos = qos;
    publish
}

fn full(limit: usize, unit: &'static str) -> InvalidPublish {
    InvalidPublish::QueueFull { limit, unit }
}

/// What waits counts, and so does what is unacknowledged, until its last acknowledgement.
#[test]
fn the_number_of_messages_is_bounded() {
    for version in VERSIONS {
        let mut options = resuming(version);
        options.outgoing.messages = Some(3);
        let mut pair = Pair::connected(options);
        pair.publish("t", "a", AtLeastOnce);
        pair.publish("t", "b", ExactlyOnce);
        pair.publish("t", "c", AtMostOnce); // handed over, so it does not count any more
        pair.publish("t", "d", AtLeastOnce);
        let refused = pair.client.publish(pair.now, publish(AtMostOnce, 0));
        assert_eq!(refused, Err(full(3, "messages")));
        pair.server_sends(pubrec(2));
        pair.client
            .publish(pair.now, publish(AtMostOnce, 0))
            .unwrap_err();
        pair.server_sends(pubcomp(2));
        pair.publish("t", "e", AtLeastOnce);
        pair.client
            .publish(pair.now, publish(AtMostOnce, 0))
            .unwrap_err();
        pair.server_sends(puback(1));
        pair.client
            .publish(pair.now, publish(AtMostOnce, 0))
            .unwrap();
    }
}

/// One message larger than the bound alone must pass, or it never could.
#[test]
fn the_number_of_bytes_is_bounded() {
    let mut options = resuming(V5);
    let limit = counted(&[60, 40]);
    options.outgoing.bytes = Some(limit);
    let mut pair = Pair::connected(options);
    pair.cut();
    for (qos, id) in [(AtLeastOnce, 1), (ExactlyOnce, 2)] {
        pair.client.publish(pair.now, publish(qos, 1_000)).unwrap();
        let refused = pair.client.publish(pair.now, publish(AtMostOnce, 1));
        assert_eq!(refused, Err(full(limit, "bytes")));
        pair.wait_for_transport();
        pair.accept(id == 2, ferromqtt_proto::Properties::default());
        if qos == AtLeastOnce {
            pair.server_sends(puback(id));
        } else {
            pair.server_sends(pubrec(id)); // its payload is gone, and it still counts as a message
            pair.client
                .publish(pair.now, publish(AtMostOnce, 60))
                .unwrap();
            pair.client
                .publish(pair.now, publish(AtMostOnce, 40))
                .unwrap_err();
            pair.server_sends(pubcomp(id));
        }
        pair.client
            .publish(pair.now, publish(AtMostOnce, 60))
            .unwrap();
        pair.client
            .publish(pair.now, publish(AtMostOnce, 40))
            .unwrap();
        pair.client
            .publish(pair.now, publish(AtMostOnce, 1))
            .unwrap_err();
        pair.pump();
        pair.cut();
    }
}

/// A session that was lost puts publishes back into the queue; the count stays right.
#[test]
fn publishes_of_a_lost_session_are_counted_once() {
    let mut options = resuming(V5);
    options.outgoing.messages = Some(2);
    options.outgoing.bytes = Some(counted(&[10, 10]));
    let mut pair = Pair::connected(options);
    for id in 1..5 {
        pair.client
            .publish(pair.now, publish(AtLeastOnce, 10))
            .unwrap();
        pair.client
            .publish(pair.now, publish(ExactlyOnce, 10))
            .unwrap();
        pair.pump();
        pair.reconnect(false);
        // QoS 2 ended as SessionLost, QoS 1 went out anew.
        let anew = 3 * id;
        assert_eq!(pair.packets().len(), 1);
        pair.client
            .publish(pair.now, publish(AtMostOnce, 10))
            .unwrap();
        pair.client
            .publish(pair.now, publish(AtMostOnce, 0))
            .unwrap_err();
        pair.pump();
        pair.server_sends(puback(anew));
    }
}

/// Messages are encoded when the transport asks, one chunk of about 64 KiB at a time: a slow transport holds little.
#[test]
fn encoding_follows_the_transport() {
    let mut options = options(V5);
    options.outgoing = ferromqtt_proto::OutgoingLimits::NONE;
    let mut pair = Pair::connected(options);
    for _ in 0..1_000 {
        pair.client
            .publish(pair.now, publish(AtMostOnce, 1_000))
            .unwrap();
    }
    assert_eq!(pair.client.pending_transmit(), 0);
    let mut chunks = 0;
    while let Some(chunk) = pair.client.poll_transmit(pair.now) {
        chunks += 1;
        assert!(chunk.len() < 70_000, "{}", chunk.len());
        assert!(pair.client.pending_transmit() < 70_000);
    }
    assert!((15..=17).contains(&chunks), "{chunks}");
}

/// Acknowledgements of one read leave in one write.
#[test]
fn small_packets_share_a_chunk() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let mut segment = bytes::BytesMut::new();
        for id in 1..=100 {
            let publish = message("t", "x", AtLeastOnce, id);
            ferromqtt_proto::packet::Packet::Publish(publish).encode(version, &mut segment);
        }
        pair.client.handle_input(pair.now, &mut segment);
        let chunk = pair.client.poll_transmit(pair.now).unwrap();
        assert_eq!(chunk.len(), 400);
        assert_eq!(pair.client.poll_transmit(pair.now), None);
    }
}

#[test]
fn a_topic_and_a_payload_at_the_limits_of_mqtt() {
    let mut pair = Pair::connected(options(V311));
    let mut longest = publish(AtMostOnce, 0);
    longest.topic = TopicName::new("t".repeat(65_535)).unwrap();
    pair.client.publish(pair.now, longest).unwrap();
    pair.pump();
    assert_eq!(pair.bytes().len(), 4 + 2 + 65_535);
    // 3.1.1: fixed header 5, topic 3, so a payload of 268,435,452 bytes is the largest.
    let largest: bytes::Bytes = vec![0; 268_435_453].into();
    let mut too_large = publish(AtMostOnce, 0);
    too_large.payload = largest.clone();
    let refused = pair.client.publish(pair.now, too_large.clone());
    let (bytes, limit) = (268_435_461, 268_435_460);
    assert_eq!(
        refused,
        Err(InvalidPublish::TooLarge {
            bytes,
            limit,
            whose: "MQTT"
        })
    );
    let mut options = options(V311);
    options.outgoing = ferromqtt_proto::OutgoingLimits::NONE;
    let mut pair = Pair::connected(options);
    too_large.payload = largest.slice(1..);
    pair.client.publish(pair.now, too_large).unwrap();
    let header = pair.client.poll_transmit(pair.now);
    assert!(header.is_some_and(|header| header.starts_with(b"\x30\xff\xff\xff\x7f\x00\x01t")));
}
