//! Topic Aliases that the application chooses.

use std::collections::HashMap;
use std::num::NonZeroU16;

use bytes::Bytes;
use ferromqtt_proto::packet::{Packet, PublishRef, TopicAlias};
use ferromqtt_proto::{InvalidPublish, Options, Properties, Publish, QoS, TopicName};
use proptest::prelude::*;

use crate::support::*;

fn options_with(assigned: u16) -> Options {
    let mut options = resuming(V5);
    options.topic_aliases_out = assigned;
    options
}

fn alias_maximum(count: u16) -> Properties {
    Properties {
        topic_alias_maximum: Some(count),
        ..Properties::default()
    }
}

fn alias(number: u16) -> TopicAlias {
    TopicAlias(NonZeroU16::new(number).unwrap())
}

fn with_alias(number: u16) -> Properties {
    Properties {
        topic_alias: Some(alias(number)),
        ..Properties::default()
    }
}

fn message(topic: &str, number: u16, qos: QoS) -> Publish {
    let mut publish = Publish::new(TopicName::new(topic).unwrap(), "x");
    publish.qos = qos;
    publish.properties = Some(Box::new(with_alias(number)));
    publish
}

fn publish(pair: &mut Pair, topic: &str, number: u16, qos: QoS) {
    let message = message(topic, number, qos);
    pair.client.publish(pair.now, message).unwrap();
    pair.pump();
}

fn publish_at_once(
    pair: &mut Pair,
    topic: &str,
    properties: &Properties,
) -> Result<bool, InvalidPublish> {
    let publish = PublishRef {
        dup: false,
        qos: AtMostOnce,
        retain: false,
        topic: topic.as_bytes(),
        packet_id: None,
        properties: Some(properties),
        payload_len: 1,
    };
    let done = pair.client.publish_at_once(publish, b"x");
    pair.pump();
    done
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

fn plain(topic: &str) -> (String, Option<u16>) {
    (topic.to_owned(), None)
}

/// Section 3.3.2.3.4.
#[test]
fn a_chosen_alias_stands_for_its_topic_until_another_gets_it() {
    for qos in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
        let mut pair = Pair::connected_with(options_with(0), alias_maximum(7));
        for topic in ["a/b", "a/b", "c", "a/b"] {
            publish(&mut pair, topic, 7, qos);
        }
        let expected = [full("a/b", 7), short(7), full("c", 7), full("a/b", 7)];
        assert_eq!(topics(&mut pair), expected);
    }
}

#[test]
fn publishing_at_once_chooses_aliases_too() {
    let mut pair = Pair::connected_with(options_with(0), alias_maximum(2));
    for topic in ["a/b", "a/b", "c"] {
        assert_eq!(publish_at_once(&mut pair, topic, &with_alias(2)), Ok(true));
    }
    assert_eq!(topics(&mut pair), [full("a/b", 2), short(2), full("c", 2)]);
    assert_eq!(pair.client.topic_of_alias(alias(2)).unwrap().as_str(), "c");
}

/// MQTT-3.2.2-17, MQTT-3.2.2-18, MQTT-3.3.2-9: nothing is sent. Pitfall 16.
#[test]
fn an_alias_above_the_servers_maximum_is_refused() {
    for maximum in [None, Some(0), Some(2)] {
        let limits = Properties {
            topic_alias_maximum: maximum,
            ..Properties::default()
        };
        let maximum = maximum.unwrap_or(0);
        let mut pair = Pair::connected_with(options_with(10), limits);
        let refused = InvalidPublish::TopicAliasTooHigh { alias: 3, maximum };
        for qos in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
            let error = pair.client.publish(pair.now, message("a", 3, qos));
            assert_eq!(error, Err(refused.clone()));
        }
        let at_once = publish_at_once(&mut pair, "a", &with_alias(3));
        assert_eq!(at_once, Err(refused.clone()));
        assert_eq!(pair.client.topic_of_alias(alias(3)), Err(refused));
        pair.pump();
        assert_eq!(topics(&mut pair), []);
    }
}

/// What an empty topic with an alias goes to: MQTT-3.3.2-7 for another connection.
#[test]
fn an_alias_is_known_on_the_connection_that_it_was_chosen_on() {
    let unknown = Err(InvalidPublish::TopicAliasUnknown { alias: 1 });
    let mut pair = Pair::connected_with(options_with(0), alias_maximum(2));
    assert_eq!(pair.client.topic_of_alias(alias(1)), unknown);
    // As soon as the call is accepted, and not only when it is written.
    let message = message("a", 1, AtLeastOnce);
    pair.client.publish(pair.now, message).unwrap();
    assert_eq!(pair.client.topic_of_alias(alias(1)).unwrap().as_str(), "a");
    pair.pump();
    pair.cut();
    let error = pair.client.topic_of_alias(alias(1));
    assert_eq!(error, Err(InvalidPublish::NotConnected));
    pair.wait_for_transport();
    pair.accept(true, alias_maximum(2));
    assert_eq!(pair.client.topic_of_alias(alias(1)), unknown);
}

/// MQTT-3.3.2-7. Pitfall 13.
#[test]
fn another_connection_gets_the_topic_without_the_alias_until_it_is_chosen_again() {
    let mut pair = Pair::connected_with(options_with(0), alias_maximum(2));
    publish(&mut pair, "a", 1, AtLeastOnce);
    publish(&mut pair, "a", 1, ExactlyOnce);
    assert_eq!(topics(&mut pair), [full("a", 1), short(1)]);
    pair.cut();
    pair.client
        .publish(pair.now, message("waits", 2, AtLeastOnce))
        .unwrap();
    pair.wait_for_transport();
    pair.accept(true, alias_maximum(2));
    pair.pump();
    assert_eq!(topics(&mut pair), [plain("a"), plain("a"), plain("waits")]);
    publish(&mut pair, "a", 1, AtMostOnce);
    publish(&mut pair, "a", 1, AtMostOnce);
    assert_eq!(topics(&mut pair), [full("a", 1), short(1)]);
    // The server has lost the session: what is sent as new there has no alias either.
    pair.reconnect_with(false, alias_maximum(1));
    pair.pump();
    let sent = topics(&mut pair);
    assert!(
        sent.iter()
            .all(|(topic, alias)| !topic.is_empty() && alias.is_none())
    );
}

/// Message Expiry, and every other property, stays beside an alias or without it.
#[test]
fn other_properties_stay_when_the_alias_is_left_out() {
    let mut pair = Pair::connected_with(options_with(0), alias_maximum(2));
    let mut message = message("a", 1, AtLeastOnce);
    message.properties.as_mut().unwrap().content_type = Some(text("text/plain"));
    pair.client.publish(pair.now, message).unwrap();
    pair.pump();
    pair.bytes();
    pair.reconnect_with(true, alias_maximum(2));
    let sent = pair.packets();
    let Some(Packet::Publish(publish)) = sent.last() else {
        panic!("{sent:?}");
    };
    let properties = publish.properties.as_deref().unwrap();
    assert_eq!(properties.content_type, Some(text("text/plain")));
    assert_eq!((properties.topic_alias, &*publish.topic), (None, "a"));
}

/// A number that the application has chosen is not assigned, whoever was first.
#[test]
fn chosen_and_assigned_aliases_do_not_contradict_each_other() {
    let mut pair = Pair::connected_with(options_with(2), alias_maximum(3));
    let none = Properties::default();
    let plainly = |pair: &mut Pair, topic| {
        assert_eq!(publish_at_once(pair, topic, &none), Ok(true));
        topics(pair)
    };
    assert_eq!(plainly(&mut pair, "own/1"), [full("own/1", 1)]);
    publish(&mut pair, "chosen/1", 1, AtMostOnce);
    assert_eq!(topics(&mut pair), [full("chosen/1", 1)]);
    assert_eq!(plainly(&mut pair, "own/1"), [full("own/1", 2)]);
    assert_eq!(plainly(&mut pair, "own/2"), [full("own/2", 2)]);
    publish(&mut pair, "chosen/2", 2, AtMostOnce);
    assert_eq!(topics(&mut pair), [full("chosen/2", 2)]);
    assert_eq!(plainly(&mut pair, "own/2"), [plain("own/2")]); // none is left
    publish(&mut pair, "chosen/1", 1, AtMostOnce);
    assert_eq!(topics(&mut pair), [short(1)]);
}

#[derive(Clone, Debug)]
enum Step {
    Publish {
        topic: Option<usize>,
        alias: Option<u16>,
        qos: u8,
        at_once: bool,
    },
    Acknowledge,
    Reconnect {
        maximum: u16,
        keeps_session: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let publish = (
        prop::option::weighted(0.7, 0..4_usize),
        prop::option::weighted(0.7, 1..5_u16),
        0..3_u8,
        any::<bool>(),
    );
    prop_oneof![
        12 => publish.prop_map(|(topic, alias, qos, at_once)| Step::Publish { topic, alias, qos, at_once }),
        3 => Just(Step::Acknowledge),
        1 => (0..5_u16, any::<bool>())
            .prop_map(|(maximum, keeps_session)| Step::Reconnect { maximum, keeps_session }),
    ]
}

const TOPICS: [&str; 4] = ["t", "topic/one", "topic/two", "topic/three"];

/// A server that resolves aliases as section 3.3.2.3.4 says.
#[derive(Default)]
struct Server {
    maximum: u16,
    names: HashMap<u16, String>,
    to_acknowledge: Vec<Packet>,
}

impl Server {
    /// Takes what the client has sent, and checks that each message is for the topic that its payload names.
    fn take(&mut self, pair: &mut Pair) {
        for packet in pair.packets() {
            let Packet::Publish(publish) = packet else {
                continue;
            };
            let alias = publish.properties.as_ref().and_then(|it| it.topic_alias);
            let topic = match alias.map(|alias| alias.0.get()) {
                None => publish.topic.to_string(),
                Some(alias) => {
                    assert!(alias <= self.maximum, "MQTT-3.2.2-17");
                    if !publish.topic.is_empty() {
                        self.names.insert(alias, publish.topic.to_string());
                    }
                    self.names.get(&alias).expect("a known alias").clone()
                }
            };
            assert_eq!(topic.as_bytes(), &publish.payload[..]);
            let answer = match (publish.qos, publish.packet_id) {
                (AtLeastOnce, Some(id)) => {
                    Packet::PubAck(ferromqtt_proto::packet::Ack::success(id))
                }
                (ExactlyOnce, Some(id)) => {
                    Packet::PubRec(ferromqtt_proto::packet::Ack::success(id))
                }
                _ => continue,
            };
            self.to_acknowledge.push(answer);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever is chosen, assigned, lost and sent again: each message is published to the topic that the caller named, and
    /// no alias is above the maximum of its connection.
    #[test]
    fn every_message_goes_to_the_topic_that_its_caller_named(
        assigned in 0..4_u16,
        maximum in 0..5_u16,
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut pair = Pair::connected_with(options_with(assigned), alias_maximum(maximum));
        let mut server = Server { maximum, ..Server::default() };
        let mut chosen: HashMap<u16, &str> = HashMap::new();
        for step in steps {
            match step {
                Step::Publish { topic, alias: number, qos, at_once } => {
                    let topic = topic.map(|index| TOPICS[index]);
                    let properties = number.map(with_alias).unwrap_or_default();
                    let known = match (topic, number) {
                        (Some(topic), _) => topic.to_owned(),
                        (None, None) => continue,
                        (None, Some(number)) => {
                            let resolved = pair.client.topic_of_alias(alias(number));
                            let expected = chosen.get(&number).filter(|_| number <= server.maximum);
                            prop_assert_eq!(resolved.as_ref().ok().map(|topic| topic.as_str()), expected.copied());
                            let Ok(topic) = resolved else { continue };
                            topic.as_str().to_owned()
                        }
                    };
                    let qos = if at_once { AtMostOnce } else { QoS::from_value(qos).unwrap() };
                    let payload = Bytes::from(known.clone());
                    let accepted = if at_once {
                        let publish = PublishRef {
                            dup: false, qos, retain: false, topic: known.as_bytes(), packet_id: None,
                            properties: Some(&properties), payload_len: payload.len(),
                        };
                        pair.client.publish_at_once(publish, &payload).map(|_| ())
                    } else {
                        let mut publish = Publish::new(TopicName::new(known.clone()).unwrap(), payload);
                        publish.qos = qos;
                        publish.properties = Some(Box::new(properties));
                        pair.client.publish(pair.now, publish).map(|_| ())
                    };
                    let allowed = number.is_none_or(|number| number <= server.maximum);
                    prop_assert_eq!(accepted.is_ok(), allowed);
                    if let (Some(number), true) = (number, allowed) {
                        chosen.insert(number, TOPICS.into_iter().find(|topic| *topic == known).unwrap());
                    }
                }
                Step::Acknowledge => {
                    pair.pump();
                    server.take(&mut pair);
                    for packet in server.to_acknowledge.drain(..) {
                        pair.server_sends(packet);
                    }
                }
                Step::Reconnect { maximum, keeps_session } => {
                    pair.pump();
                    server.take(&mut pair);
                    server = Server { maximum, ..Server::default() };
                    chosen.clear();
                    pair.reconnect_with(keeps_session, alias_maximum(maximum));
                }
            }
            pair.pump();
            server.take(&mut pair);
        }
    }
}

/// Another connection needs the topic: a message that waits, or comes again, goes there without the alias.
#[test]
fn a_message_must_be_short_enough_with_the_topic_of_its_alias() {
    let mut pair = Pair::new(options_with(0));
    pair.connect();
    let mut properties = alias_maximum(5);
    properties.maximum_packet_size = std::num::NonZeroU32::new(60);
    pair.accept(false, properties);
    let topic = "t".repeat(50);
    let mut long = message(&topic, 1, AtLeastOnce);
    long.payload = Bytes::from_static(b"ten bytes.");
    let refused = pair.client.publish(pair.now, long.clone()).unwrap_err();
    assert!(
        matches!(refused, InvalidPublish::TooLargeWithTopic { limit: 60, .. }),
        "{refused}"
    );
    let reported = refused.to_string();
    assert!(
        reported.contains("sending it again needs the topic"),
        "{reported}"
    );
    long.payload = vec![0; 60].into();
    let refused = pair.client.publish(pair.now, long).unwrap_err();
    assert!(
        matches!(refused, InvalidPublish::TooLarge { .. }),
        "without the topic too"
    );
}
