//! Subscription Identifiers on messages that were on their way while subscriptions changed (5.0).

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{Properties, QueueId, QueueOptions, ReasonCode, Subscribe};

use crate::support::*;

fn open(pair: &mut Pair) -> QueueId {
    pair.client.open_queue(QueueOptions::default())
}

fn identified(identifiers: &[u32]) -> Properties {
    Properties {
        subscription_identifiers: identifiers.to_vec(),
        ..Properties::default()
    }
}

/// Subscribes one filter, with an identifier of the caller's or without one; the server grants it. Tells the identifier
/// that was sent.
fn subscribe(pair: &mut Pair, name: &str, identifiers: &[u32], queue: QueueId) -> u32 {
    let subscribe = Subscribe {
        filters: vec![(filter(name), at(AtLeastOnce))],
        properties: identified(identifiers),
        queue,
    };
    pair.bytes();
    pair.client.subscribe(pair.now, subscribe).unwrap();
    pair.pump();
    let packets = pair.packets();
    let [Packet::Subscribe(sent)] = &packets[..] else {
        panic!("not one SUBSCRIBE alone: {packets:?}");
    };
    pair.server_sends(suback(sent.packet_id.get(), &[ReasonCode::GrantedQos1]));
    let [identifier] = sent.properties.subscription_identifiers[..] else {
        panic!("not one identifier: {sent:?}");
    };
    identifier
}

/// A message that the server says it sends for the subscriptions with these identifiers.
fn receive_for(pair: &mut Pair, topic: &str, properties: Properties) {
    let mut publish = message(topic, "x", AtMostOnce, 0);
    publish.properties = Some(Box::new(properties));
    pair.server_sends(Packet::Publish(publish));
}

/// The properties of the one message of a queue.
fn shown(pair: &mut Pair, queue: QueueId) -> Option<Properties> {
    let messages = pair.messages_of(queue);
    assert_eq!(messages.len(), 1, "{messages:?}");
    let message = messages.into_iter().next()?;
    message.properties.map(|properties| *properties)
}

/// MQTT-3.3.4-3: the caller sees the identifier that it had asked for when the message was sent, and no assigned one.
#[test]
fn a_replaced_identifier_of_the_caller_is_shown_as_it_came() {
    for (old, new) in [(&[][..], &[8][..]), (&[7], &[8])] {
        let mut pair = Pair::connected(options(V5));
        let own = open(&mut pair);
        let before = subscribe(&mut pair, "a", old, own);
        let after = subscribe(&mut pair, "a", new, own);
        assert_ne!(before, after);
        for (carried, expected) in [(before, old), (after, new)] {
            receive_for(&mut pair, "a", identified(&[carried]));
            let expected = (!expected.is_empty()).then(|| identified(expected));
            assert_eq!(shown(&mut pair, own), expected, "{old:?} {new:?}");
        }
    }
}

/// It is still the identifier of that one subscription: another queue that overlaps gets a copy of its own.
#[test]
fn a_replaced_identifier_brings_no_second_copy() {
    let mut pair = Pair::connected(options(V5));
    let (one, two) = (open(&mut pair), open(&mut pair));
    let old = subscribe(&mut pair, "a", &[], one);
    let wide = subscribe(&mut pair, "#", &[], two);
    subscribe(&mut pair, "a", &[99], one);
    receive_for(&mut pair, "a", identified(&[old]));
    receive_for(&mut pair, "a", identified(&[wide]));
    assert_eq!(pair.payloads_of(one), ["x"]);
    assert_eq!(pair.payloads_of(two), ["x"]);
}

/// Nobody has asked for it, and the caller may use the same number for something else.
#[test]
fn an_assigned_identifier_is_not_shown_after_its_queue_was_closed() {
    let mut pair = Pair::connected(options(V5));
    let own = open(&mut pair);
    let assigned = subscribe(&mut pair, "a", &[], own);
    pair.client.close_queue(own);
    receive_for(&mut pair, "a", identified(&[assigned]));
    assert_eq!(shown(&mut pair, QueueId::DEFAULT), None);
}

/// What else came with the message stays.
#[test]
fn other_properties_stay_when_an_identifier_is_taken_off() {
    let mut pair = Pair::connected(options(V5));
    let own = open(&mut pair);
    let assigned = subscribe(&mut pair, "a", &[], own);
    let content_type = Some(text("text/plain"));
    let properties = Properties {
        content_type: content_type.clone(),
        ..identified(&[assigned])
    };
    receive_for(&mut pair, "a", properties);
    let expected = Properties {
        content_type,
        ..Properties::default()
    };
    assert_eq!(shown(&mut pair, own), Some(expected));
}

/// An identifier is no reason to put a message into a queue whose filter it does not match.
#[test]
fn an_identifier_alone_does_not_match() {
    let mut pair = Pair::connected(options(V5));
    let own = open(&mut pair);
    let assigned = subscribe(&mut pair, "a", &[], own);
    receive_for(&mut pair, "b", identified(&[assigned]));
    assert!(pair.payloads_of(own).is_empty());
    assert_eq!(pair.payloads(), ["x"]);
}

/// Restored by the same identifiers, so that copies still tell the queues apart.
#[test]
fn identifiers_are_restored() {
    let mut pair = Pair::connected(resuming(V5));
    let (one, two) = (open(&mut pair), open(&mut pair));
    let first = subscribe(&mut pair, "a", &[], one);
    let second = subscribe(&mut pair, "#", &[], two);
    pair.reconnect(false);
    for packet in pair.packets() {
        let Packet::Subscribe(sent) = packet else {
            panic!("{packet:?}");
        };
        let expected = if sent.filters.iter().any(|(filter, _)| filter == "a") {
            first
        } else {
            second
        };
        assert_eq!(sent.properties.subscription_identifiers, [expected]);
        pair.server_sends(suback(sent.packet_id.get(), &[ReasonCode::GrantedQos1]));
    }
    receive_for(&mut pair, "a", identified(&[second]));
    receive_for(&mut pair, "a", identified(&[first]));
    assert_eq!(pair.payloads_of(one), ["x"]);
    assert_eq!(pair.payloads_of(two), ["x"]);
}
