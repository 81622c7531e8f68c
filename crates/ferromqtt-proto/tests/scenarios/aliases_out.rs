//! Topic Aliases that the client assigns by itself.

use ferromqtt_proto::packet::{Packet, PublishRef};
use ferromqtt_proto::{Options, Properties};

use crate::support::*;

fn aliasing(count: u16) -> Options {
    let mut options = resuming(V5);
    options.topic_aliases_out = count;
    options
}

fn alias_maximum(count: u16) -> Properties {
    Properties {
        topic_alias_maximum: Some(count),
        ..Properties::default()
    }
}

/// Topic and Topic Alias of each PUBLISH that the client sent.
fn topics(pair: &mut Pair) -> Vec<(String, Option<u16>)> {
    let described = |packet| match packet {
        Packet::Publish(publish) => {
            let alias = publish.properties.and_then(|it| it.topic_alias);
            (publish.topic.to_string(), alias.map(|alias| alias.0.get()))
        }
        other => panic!("{other:?}"),
    };
    pair.packets().into_iter().map(described).collect()
}

fn full(topic: &str, alias: u16) -> (String, Option<u16>) {
    (topic.to_owned(), Some(alias))
}

fn short(alias: u16) -> (String, Option<u16>) {
    (String::new(), Some(alias))
}

/// Section 3.3.2.3.4: topic and alias first, then the alias alone; at every QoS.
#[test]
fn a_topic_is_left_out_once_its_alias_is_known() {
    for qos in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
        let mut pair = Pair::connected_with(aliasing(10), alias_maximum(10));
        for _ in 0..2 {
            pair.publish("one/topic", "x", qos);
            pair.publish("another", "x", qos);
        }
        let expected = [full("one/topic", 1), full("another", 2), short(1), short(2)];
        assert_eq!(topics(&mut pair), expected);
    }
}

/// MQTT-3.2.2-17, MQTT-3.2.2-18: never above the server's maximum, which is 0 when absent; and off unless asked for.
#[test]
fn the_smaller_maximum_counts() {
    for (ours, servers) in [(0, Some(10)), (10, None), (10, Some(0))] {
        let properties = Properties {
            topic_alias_maximum: servers,
            ..Properties::default()
        };
        let mut pair = Pair::connected_with(aliasing(ours), properties);
        pair.publish("topic", "x", AtMostOnce);
        pair.publish("topic", "x", AtMostOnce);
        let plain = ("topic".to_owned(), None);
        assert_eq!(topics(&mut pair), [plain.clone(), plain]);
    }
    for (ours, servers) in [(2, 10), (10, 2)] {
        let mut pair = Pair::connected_with(aliasing(ours), alias_maximum(servers));
        for topic in ["aaaa", "bbbb", "aaaa", "cccc", "aaaa", "bbbb"] {
            pair.publish(topic, "x", AtMostOnce);
        }
        let expected = [
            full("aaaa", 1),
            full("bbbb", 2),
            short(1),
            full("cccc", 2), // `bbbb` was used least recently
            short(1),
            full("bbbb", 2),
        ];
        assert_eq!(topics(&mut pair), expected);
    }
}

/// MQTT-3.3.2-7: an alias dies with its connection, and a resend has none. Pitfall 13.
#[test]
fn a_resend_has_its_full_topic_and_the_next_connection_new_aliases() {
    let mut pair = Pair::connected_with(aliasing(10), alias_maximum(10));
    pair.publish("first", "x", AtMostOnce);
    pair.publish("topic", "x", AtLeastOnce);
    pair.publish("topic", "y", ExactlyOnce);
    assert_eq!(
        topics(&mut pair),
        [full("first", 1), full("topic", 2), short(2)]
    );
    pair.reconnect_with(true, alias_maximum(10));
    pair.publish("topic", "z", AtMostOnce);
    pair.publish("topic", "z", AtMostOnce);
    let plain = ("topic".to_owned(), None);
    let expected = [plain.clone(), plain.clone(), full("topic", 1), short(1)];
    assert_eq!(topics(&mut pair), expected);
    pair.reconnect(true);
    pair.publish("topic", "z", AtMostOnce);
    assert_eq!(topics(&mut pair), [plain.clone(), plain.clone(), plain]);
}

/// MQTT-3.2.2-15: where the alias would make the packet too large, it goes without. Pitfall 15.
#[test]
fn an_alias_never_makes_a_packet_too_large() {
    for limit in 14..30 {
        let mut limits = alias_maximum(10);
        limits.maximum_packet_size = maximum_packet_size(limit).maximum_packet_size;
        let mut pair = Pair::connected_with(aliasing(10), limits);
        // Fixed header 2, topic 9, Property Length 1, payload 2.
        for _ in 0..2 {
            pair.publish("topic/1", "xy", AtMostOnce);
            let bytes = pair.bytes();
            assert!(!bytes.is_empty() && bytes.len() <= limit as usize);
        }
    }
}

/// The fast way at QoS 0 shares the aliases; other properties stay beside the alias.
#[test]
fn publishing_at_once_uses_the_same_aliases() {
    let mut pair = Pair::connected_with(aliasing(10), alias_maximum(10));
    let properties = Properties {
        content_type: Some(text("a")),
        ..Properties::default()
    };
    pair.publish("topic", "x", AtLeastOnce);
    let publish = PublishRef {
        dup: false,
        qos: AtMostOnce,
        retain: false,
        topic: b"topic",
        packet_id: None,
        properties: Some(&properties),
        payload_len: 1,
    };
    pair.bytes();
    assert_eq!(pair.client.publish_at_once(publish, b"y"), Ok(true));
    pair.pump();
    assert_eq!(
        pair.bytes(),
        &b"\x30\x0b\x00\x00\x07\x03\x00\x01a\x23\x00\x01y"[..]
    );
}

/// What the option is for: 1,000 readings of 8 bytes on ten topics of 40 bytes, in bytes on the wire.
#[test]
fn frequent_topics_cost_a_third_of_the_bytes() {
    let sizes = [0, 10].map(|aliases| {
        let mut pair = Pair::connected_with(aliasing(aliases), alias_maximum(10));
        for number in 0..1_000 {
            let topic = format!("plant-7/line-0003/station-{:02}/temperature", number % 10);
            assert_eq!(topic.len(), 40);
            pair.publish(&topic, "21.50 C ", AtMostOnce);
        }
        pair.bytes().len()
    });
    assert_eq!(sizes, [53_000, 16_400]);
}

/// The memory is bounded by the number of aliases, however many topics there are.
#[test]
fn more_topics_than_aliases_still_reach_the_server_whole() {
    let mut pair = Pair::connected_with(aliasing(2), alias_maximum(10));
    for topic in ["one/a", "two/b", "three/c", "one/a"] {
        pair.publish(topic, "x", AtMostOnce);
    }
    let expected = [
        full("one/a", 1),
        full("two/b", 2),
        full("three/c", 1),
        full("one/a", 2),
    ];
    assert_eq!(topics(&mut pair), expected);
}
