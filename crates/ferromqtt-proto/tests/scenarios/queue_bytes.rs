//! Bounds of queues in bytes: what whole messages count.

use ferromqtt_proto::packet::{self, Packet};
use ferromqtt_proto::{
    InvalidPublish, OutgoingLimits, Overflow, Properties, Publish, QueueId, QueueOptions, TopicName,
};

use crate::support::*;

const DEFAULT: QueueId = QueueId::DEFAULT;

fn of_bytes(bytes: usize, overflow: Overflow) -> QueueOptions {
    QueueOptions {
        bytes: Some(bytes),
        overflow,
        ..QueueOptions::UNBOUNDED
    }
}

fn with_queue(version: ferromqtt_proto::ProtocolVersion, queue: QueueOptions) -> Pair {
    let mut options = resuming(version);
    options.incoming = queue;
    Pair::connected(options)
}

/// What nobody bounds is bounded all the same: by as much as the outgoing queue, and for as many more messages as come.
#[test]
fn a_queue_is_bounded_unless_told_otherwise() {
    for options in [QueueOptions::default(), options(V5).incoming] {
        let QueueOptions { limit, bytes, .. } = options;
        assert_eq!((limit, bytes), (Some(100_000), Some(64 << 20)));
    }
    let (limit, bytes) = (QueueOptions::UNBOUNDED.limit, QueueOptions::UNBOUNDED.bytes);
    assert_eq!((limit, bytes), (OutgoingLimits::NONE.messages, None));
}

/// One large message pushes out as many as it takes, and each is counted.
#[test]
fn the_oldest_leave_until_a_large_message_has_room() {
    for version in VERSIONS {
        let mut pair = with_queue(
            version,
            of_bytes(counted(&[3, 3, 3, 1]), Overflow::DropOldest),
        );
        for payload in ["aaa", "bbb", "ccc"] {
            pair.receive("t", payload, AtMostOnce, 0);
        }
        assert_eq!(
            pair.lagged(),
            [],
            "one byte is left, beside what a message counts"
        );
        pair.receive("t", "d", AtMostOnce, 0);
        assert_eq!(pair.lagged(), [], "nothing is left");
        pair.receive("t", "eeeee", AtMostOnce, 0);
        assert_eq!(pair.lagged(), [DEFAULT]);
        assert_eq!(pair.client.queue_lost(DEFAULT), 2);
        assert_eq!(pair.client.take_lost(DEFAULT), 2);
        assert_eq!(pair.payloads(), ["ccc", "d", "eeeee"]);
        pair.receive("t", "aaaaaaaaaa", AtMostOnce, 0);
        assert_eq!(pair.lagged(), [], "what was taken counts no more");
    }
}

#[test]
fn one_message_larger_than_the_bound_passes_alone() {
    for overflow in [
        Overflow::DropOldest,
        Overflow::DropNewest,
        Overflow::Wait,
        Overflow::Fail,
    ] {
        let mut pair = with_queue(V5, of_bytes(2, overflow));
        pair.receive("t", "large", AtLeastOnce, 1);
        assert_eq!(pair.sent(), ["PUBACK 1"], "{overflow:?}");
        assert_eq!(pair.payloads(), ["large"], "{overflow:?}");
        pair.receive("t", "x", AtMostOnce, 0);
        pair.receive("t", "large", AtMostOnce, 0);
        let (kept, lost) = match overflow {
            Overflow::DropOldest => ("large", 1),
            Overflow::Wait => ("x", 0),
            _ => ("x", 1),
        };
        assert_eq!(pair.payloads(), [kept], "{overflow:?}");
        assert_eq!(pair.client.take_lost(DEFAULT), lost, "{overflow:?}");
        pair.pump();
        let waited: &[_] = match overflow {
            Overflow::Wait => &["large"],
            _ => &[],
        };
        assert_eq!(pair.payloads(), waited, "{overflow:?}");
    }
}

/// MQTT-4.6.0-2: those beyond the bound are acknowledged in order, as many as one large message makes room for.
#[test]
fn wait_releases_as_many_as_there_is_room_for() {
    for version in VERSIONS {
        let bytes = counted(&[2, 3, 0]);
        let mut pair = with_queue(version, of_bytes(bytes, Overflow::Wait));
        let large = &*"a".repeat(bytes);
        for (packet_id, payload) in [(1, large), (2, "bb"), (3, "cc"), (4, "ddd"), (5, "")] {
            pair.receive("t", payload, AtLeastOnce, packet_id);
        }
        assert_eq!(pair.sent(), ["PUBACK 1"]);
        pair.take(DEFAULT);
        assert_eq!(pair.sent(), ["PUBACK 2", "PUBACK 3"], "ddd is too much");
        pair.receive("t", "", AtMostOnce, 0);
        assert!(
            pair.client.input_paused(),
            "not even an empty one overtakes"
        );
        pair.take(DEFAULT);
        assert_eq!(pair.sent(), ["PUBACK 4", "PUBACK 5"]);
        assert_eq!(pair.client.take_lost(DEFAULT), 0);
        assert_eq!(pair.payloads(), ["cc", "ddd", ""]);
        pair.pump();
        assert_eq!(pair.payloads(), [""]);
    }
}

/// Either bound is enough.
#[test]
fn messages_and_bytes_bound_a_queue_together() {
    let mut pair = with_queue(
        V5,
        QueueOptions {
            limit: Some(2),
            ..of_bytes(counted(&[2, 2]), Overflow::DropOldest)
        },
    );
    for payload in ["a", "b", "c"] {
        pair.receive("t", payload, AtMostOnce, 0);
    }
    assert_eq!(pair.client.take_lost(DEFAULT), 1);
    pair.receive("t", "dddd", AtMostOnce, 0);
    assert_eq!(pair.client.take_lost(DEFAULT), 2);
    assert_eq!(pair.payloads(), ["dddd"]);
}

/// A message without a payload counts as well: itself, its topic, and its properties.
#[test]
fn empty_messages_with_long_topics_or_many_properties_fill_a_queue() {
    let mut properties = Properties::default();
    for _ in 0..10 {
        let pair = ("name".try_into().unwrap(), text(&"x".repeat(6_000)));
        properties.user_properties.push(pair);
    }
    let with_properties = packet::PublishPacket {
        properties: Some(Box::new(properties)),
        ..message("t", "", AtMostOnce, 0)
    };
    let long_topic = message(&"t".repeat(60_000), "", AtMostOnce, 0);
    for (publish, kept) in [
        (with_properties, 4),
        (long_topic, 4),
        (message("t", "", AtMostOnce, 0), 300_000 / counted(&[0])),
    ] {
        let mut pair = with_queue(V5, of_bytes(300_000, Overflow::DropNewest));
        for _ in 0..kept + 3 {
            pair.server_sends(Packet::Publish(publish.clone()));
        }
        assert_eq!(pair.client.queue_len(DEFAULT), kept);
        assert_eq!(pair.client.take_lost(DEFAULT), 3);
    }
}

/// The same on the way out.
#[test]
fn empty_messages_with_long_topics_fill_the_outgoing_queue() {
    let mut options = resuming(V5);
    options.outgoing.bytes = Some(300_000);
    let mut pair = Pair::connected(options);
    pair.cut();
    let topic = TopicName::new("t".repeat(60_000)).unwrap();
    let publish = || Publish::new(topic.clone(), "");
    for _ in 0..4 {
        pair.client.publish(pair.now, publish()).unwrap();
    }
    let counted = 4 * publish().memory_size();
    assert_eq!(pair.client.stats().outgoing_bytes, counted);
    let full = InvalidPublish::QueueFull {
        limit: 300_000,
        unit: "bytes",
    };
    assert_eq!(pair.client.publish(pair.now, publish()), Err(full));
}
