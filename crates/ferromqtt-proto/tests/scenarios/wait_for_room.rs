//! Waiting for room in the outgoing queue, and what a connection's end says about bytes that were not handed over.

use bytes::Bytes;
use ferromqtt_proto::{
    Delivery, Event, InvalidPublish, OpId, Outcome, OutgoingLimits, OutgoingPolicy, Publish, QoS,
    TopicName,
};

use crate::support::*;

fn waiting(messages: usize, bytes: usize) -> Pair {
    let mut options = options(V311);
    options.outgoing = OutgoingLimits {
        messages: Some(messages),
        bytes: Some(bytes),
    };
    options.outgoing_policy = OutgoingPolicy::Wait;
    Pair::connected(options)
}

fn publish(pair: &mut Pair, qos: QoS, length: usize) -> Result<OpId, InvalidPublish> {
    let topic = TopicName::new("t").unwrap();
    let mut publish = Publish::new(topic, Bytes::from(vec![b'x'; length]));
    publish.qos = qos;
    let op = pair.client.publish(pair.now, publish);
    pair.pump();
    op
}

fn has_room(pair: &mut Pair) -> bool {
    pair.events().contains(&Event::OutgoingRoom)
}

#[test]
fn room_is_told_once_when_an_acknowledgement_has_made_it() {
    let mut pair = waiting(1, 1_000);
    publish(&mut pair, AtLeastOnce, 1).unwrap();
    assert!(matches!(
        publish(&mut pair, AtLeastOnce, 1),
        Err(InvalidPublish::QueueFull { .. })
    ));
    assert!(!has_room(&mut pair));
    pair.server_sends(puback(1));
    assert!(has_room(&mut pair));
    assert!(!has_room(&mut pair));
    publish(&mut pair, AtLeastOnce, 1).unwrap();
    pair.server_sends(puback(2));
    assert!(!has_room(&mut pair), "nobody asked");
}

/// Room for a small message is none for the large one that waits.
#[test]
fn room_is_told_when_it_is_enough_for_the_message_that_waits() {
    let mut pair = waiting(10, counted(&[50, 50]));
    publish(&mut pair, AtLeastOnce, 40).unwrap();
    publish(&mut pair, AtLeastOnce, 40).unwrap();
    assert!(publish(&mut pair, AtLeastOnce, 90).is_err());
    pair.server_sends(puback(1));
    assert!(!has_room(&mut pair));
    pair.server_sends(puback(2));
    assert!(has_room(&mut pair));
    publish(&mut pair, AtLeastOnce, 90).unwrap();
}

/// Only what was handed over counts as sent: the outcomes of QoS 0 cannot be taken back, so they are counted; a QoS 1 publish
/// was never on the wire. Pitfall 2.
#[test]
fn what_a_lost_connection_had_not_handed_over_was_not_sent() {
    let mut pair = Pair::connected(options(V5));
    let large = 40 * 1024;
    pair.writable = false;
    for _ in 0..2 {
        publish(&mut pair, AtMostOnce, large).unwrap();
    }
    let kept = publish(&mut pair, AtLeastOnce, 1).unwrap();
    // The first call encodes a chunk's worth; its header and its payload are handed over, the rest is not.
    assert!(pair.client.poll_transmit(pair.now).is_some());
    assert_eq!(
        pair.client.poll_transmit(pair.now).map(|it| it.len()),
        Some(large)
    );
    pair.events();
    pair.cut();
    let events = pair.events();
    let unflushed = events.iter().find_map(|event| match event {
        Event::Disconnected { unflushed, .. } => Some(*unflushed),
        _ => None,
    });
    assert_eq!(unflushed, Some(1));
    let outcome = events.iter().find_map(|event| match event {
        Event::Completed { op, outcome } if *op == kept => Some(outcome.clone()),
        _ => None,
    });
    assert!(matches!(
        outcome,
        Some(Outcome::Disconnected {
            delivery: Delivery::NotSent,
            ..
        })
    ));
}

/// Pitfall 2: no DUP on a message that only waited inside, on either version. MQTT-3.3.1-1 (3.1.1: MQTT-3.3.1-1).
#[test]
fn a_message_that_was_encoded_and_not_handed_over_is_sent_without_dup() {
    for version in VERSIONS {
        for qos in [AtLeastOnce, ExactlyOnce] {
            let mut pair = Pair::connected(resuming(version));
            publish(&mut pair, qos, 1).unwrap();
            pair.packets();
            pair.writable = false;
            publish(&mut pair, qos, 70_000).unwrap();
            publish(&mut pair, qos, 70_000).unwrap();
            assert!(
                pair.client.poll_transmit(pair.now).is_some(),
                "the header alone"
            );
            pair.writable = true;
            pair.cut();
            pair.wait_for_transport();
            pair.accept(true, Default::default());
            let sent = pair.sent();
            let heads: Vec<_> = sent
                .iter()
                .map(|it| &it[..it.rfind(' ').unwrap()])
                .collect();
            let number = qos.value();
            assert_eq!(heads[0], format!("PUBLISH q{number} 1 DUP"));
            for head in &heads[1..] {
                assert!(!head.contains("DUP"), "{head}");
            }
            assert_eq!(heads.len(), 3);
        }
    }
}
