//! What a responder gets, and what is passed over.

use std::time::Duration;

use ferromqtt_engine::{Fact, LineLevel, Lines, asks_for_response, check_responder};
use ferromqtt_proto::{
    Acknowledge, InvalidSubscribe, Properties, ProtocolVersion, QoS, QueueOptions,
};

use crate::world::{World, options, publish};

#[test]
fn a_message_asks_for_a_response_by_its_response_topic() {
    let mut properties = Properties::default();
    assert!(!asks_for_response(None));
    assert!(!asks_for_response(Some(&properties)));
    properties.correlation_data = Some("7".into());
    assert!(!asks_for_response(Some(&properties)));
    properties.response_topic = Some("answers".try_into().unwrap());
    assert!(asks_for_response(Some(&properties)));
}

#[test]
fn before_mqtt_5_there_are_no_requests() {
    assert_eq!(check_responder(ProtocolVersion::V5), Ok(()));
    for version in [ProtocolVersion::V31, ProtocolVersion::V311] {
        let refused = Err(InvalidSubscribe::NoRequests);
        assert_eq!(check_responder(version), refused);
    }
}

#[test]
fn what_is_passed_over_is_acknowledged_and_reported() {
    let mut world = World::<false>::connected(options());
    let by_hand = QueueOptions {
        acknowledge: Acknowledge::ByApplication,
        ..QueueOptions::DEFAULT
    };
    let (queue, _) = world.subscribe("t", by_hand);
    world.run();
    (world.publish(&publish("m", QoS::AtLeastOnce), None)).unwrap();
    world.run();
    let message = world.engine.take(queue).expect("a message");
    let unacknowledged = |world: &World| world.engine.core().unacknowledged(world.now).messages;
    let delivery = message.delivery;
    assert_eq!(unacknowledged(&world), usize::from(delivery.is_some()));
    world.engine.pass_over(message.topic, delivery);
    world.run();
    assert_eq!(unacknowledged(&world), 0);
    let passed_over = |fact: &&Fact| matches!(fact, Fact::PassedOver { topic } if topic == "t");
    assert_eq!(world.facts.iter().filter(passed_over).count(), 1);
    world.end();
}

/// Anybody may publish there, so what repeats is counted for each topic.
#[test]
fn its_line_is_written_for_the_first_message_of_a_topic_and_at_each_doubling() {
    let mut lines = Lines::default();
    let now = World::<false>::new(options()).now + Duration::from_secs(1);
    let mut written = Vec::new();
    for topic in ["a", "a", "a", "b"] {
        let topic = topic.try_into().unwrap();
        lines.note(now, &Fact::PassedOver { topic }, &mut written);
    }
    let rendered = written.iter().map(|line| line.render("h:1883"));
    let told: Vec<_> = rendered.collect();
    assert!(written.iter().all(|line| line.level == LineLevel::Warn));
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].ends_with("(topic: \"a\", h:1883)"), "{told:?}");
    assert!(told[1].ends_with("(2 times so far)"), "{told:?}");
    assert!(told[2].ends_with("(topic: \"b\", h:1883)"), "{told:?}");
}
