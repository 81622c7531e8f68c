//! Topic Aliases that the server assigns (MQTT 5.0, section 3.3.2.3.4). Those the other way are not used.

use std::num::NonZeroU16;

use ferromqtt_proto::packet::{Packet, TopicAlias};
use ferromqtt_proto::{CleanStart, Options, Properties};

use crate::support::*;

fn aliased(topic: &str, payload: &str, alias: u16) -> Packet {
    let mut publish = message(topic, payload, AtMostOnce, 0);
    publish.properties = Some(Box::new(Properties {
        topic_alias: NonZeroU16::new(alias).map(TopicAlias),
        ..Properties::default()
    }));
    Packet::Publish(publish)
}

fn accepting(maximum: u16) -> Options {
    let mut options = resuming(V5);
    options.clean_start = CleanStart::Never;
    options.properties.topic_alias_maximum = Some(maximum);
    options
}

fn topics(pair: &mut Pair) -> Vec<String> {
    pair.messages()
        .iter()
        .map(|it| it.topic.to_string())
        .collect()
}

/// MQTT-3.3.2-10: assigned, used, assigned anew, up to our maximum. Pitfall 14.
#[test]
fn aliases_stand_for_the_topic_they_were_assigned_to_last() {
    let mut pair = Pair::connected(accepting(65_535));
    for packet in [
        aliased("a", "", 1),
        aliased("b", "", 65_535),
        aliased("", "", 1),
        aliased("", "", 65_535),
        aliased("c", "", 1),
        aliased("", "", 1),
    ] {
        pair.server_sends(packet);
    }
    assert_eq!(topics(&mut pair), ["a", "b", "a", "b", "c", "c"]);
}

/// MQTT-3.1.2-26, MQTT-3.1.2-27, MQTT-3.3.2-11: none was announced, so none is allowed.
#[test]
fn without_a_topic_alias_maximum_any_alias_is_refused() {
    let mut pair = Pair::connected(options(V5));
    pair.server_sends(aliased("a", "", 1));
    assert_eq!(pair.bytes(), &b"\xe0\x01\x94"[..]);
}

/// MQTT-3.3.2-7. Pitfall 13: an alias of the connection before means nothing, also in a session that was resumed.
#[test]
fn aliases_do_not_outlive_their_connection() {
    let mut pair = Pair::connected(accepting(10));
    pair.server_sends(aliased("a", "", 1));
    pair.server_sends(aliased("", "", 1));
    assert_eq!(topics(&mut pair), ["a", "a"]);
    pair.reconnect(true);
    pair.server_sends(aliased("", "", 1));
    assert_eq!(pair.bytes(), &b"\xe0\x01\x82"[..]);
    assert!(pair.messages().is_empty());
}

/// The assignment counts, whatever becomes of the message: here a repeat at QoS 2 that is not delivered.
#[test]
fn a_message_that_is_not_delivered_assigns_its_alias_all_the_same() {
    let mut pair = Pair::connected(accepting(10));
    pair.server_sends(Packet::Publish(message("a", "", ExactlyOnce, 1)));
    let Packet::Publish(mut repeat) = aliased("a", "", 3) else {
        unreachable!("made above");
    };
    (repeat.qos, repeat.packet_id, repeat.dup) = (ExactlyOnce, Some(id(1)), true);
    pair.server_sends(Packet::Publish(repeat));
    pair.server_sends(aliased("", "", 3));
    assert_eq!(topics(&mut pair), ["a", "a"]);
}

/// MQTT-3.2.2-17, MQTT-3.2.2-18, MQTT-3.3.2-9: the client assigns none, however many the server would take. Pitfall 13.
#[test]
fn the_client_uses_no_aliases() {
    let allowed = Properties {
        topic_alias_maximum: Some(10),
        ..Properties::default()
    };
    let mut pair = Pair::connected_with(options(V5), allowed);
    for _ in 0..3 {
        pair.publish("a/long/topic", "", AtMostOnce);
    }
    for packet in pair.packets() {
        let Packet::Publish(publish) = packet else {
            panic!("{packet:?}");
        };
        assert_eq!(
            (publish.topic.as_str(), publish.properties),
            ("a/long/topic", None)
        );
    }
}
