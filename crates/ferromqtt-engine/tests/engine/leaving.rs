//! Draining, leaving, and the end of the driver.

use std::time::Duration;

use ferromqtt_engine::{CallEnd, ConnectionEvent, Fact, Goodbye, PublishRefusal, Standing, Undone};
use ferromqtt_proto::{ConnectionError, Outcome, QoS, QueueOptions, ReasonCode};

use crate::world::{World, narrow, options, publish};

#[test]
fn a_drained_connection_ends_when_the_last_call_has() {
    let mut world = World::<false>::connected(narrow(1));
    world.silent = true;
    let (first, _) = world.publish_qos1("1");
    let (waiting, _) = world.publish_qos1("2");
    world.run();
    world.engine.drain(world.now, world.after(60));
    world.run();
    let refused = CallEnd::Refused(PublishRefusal::Draining);
    assert_eq!(world.ends[&waiting], refused);
    let more = world.publish(&publish("3", QoS::AtMostOnce), None);
    assert_eq!(more, Err(PublishRefusal::Draining));
    world.pass(Duration::from_secs(10));
    assert!(world.engine.is_connected());
    world.silent = false;
    world.run();
    assert!(matches!(world.ends[&first], CallEnd::Completed(_)));
    let end = ConnectionError::Closed;
    assert_eq!(*world.engine.standing(), Standing::Ended(end));
    assert_eq!(world.engine.undone(), Undone::default());
    world.end();
}

#[test]
fn a_drained_connection_ends_at_its_limit_and_what_is_left_is_counted() {
    let mut world = World::<false>::connected(narrow(2));
    world.silent = true;
    world.publish_qos1("sent");
    world.publish_qos1("not sent");
    world.engine.drain(world.now, world.after(60));
    world.pass(Duration::from_secs(70));
    let undone = Undone {
        not_sent: 1,
        unknown: 1,
        unflushed: 0,
    };
    assert_eq!(world.engine.undone(), undone);
    assert!(world.engine.has_ended());
    assert_eq!(world.engine.cut_short(), 2);
    world.end();
}

#[test]
fn qos_0_messages_that_a_drained_connection_did_not_write_are_counted_and_earlier_ones_are_not() {
    let mut options = options();
    options.reconnect = Some(Default::default());
    let mut world = World::<false>::connected(options);
    let message = publish("unwritten", QoS::AtMostOnce);
    world.stuck = true;
    world.publish(&message, None).unwrap();
    world.lose();
    world.run();
    world.stuck = false;
    assert_eq!(world.engine.core().stats().unflushed, 1);
    world.pass(Duration::from_secs(60));
    assert!(world.engine.is_connected());
    world.stuck = true;
    world.publish(&message, None).unwrap();
    world.engine.drain(world.now, world.after(60));
    world.lose();
    world.stuck = false;
    world.run();
    assert!(world.engine.has_ended());
    let undone = Undone {
        unflushed: 1,
        ..Undone::default()
    };
    assert_eq!(world.engine.undone(), undone);
    world.end();
}

#[test]
fn leaving_refuses_those_that_wait_and_waits_for_what_was_accepted() {
    let mut world = World::<false>::connected(narrow(1));
    world.silent = true;
    let (first, _) = world.publish_qos1("1");
    let (waiting, _) = world.publish_qos1("2");
    world.run();
    let gone = world
        .engine
        .leave(world.now, ReasonCode::Success, None, |_| false);
    assert!(gone.is_empty());
    world.run();
    let closed = PublishRefusal::not_sent(ConnectionError::Closed);
    assert_eq!(world.ends[&waiting], CallEnd::Refused(closed));
    world.silent = false;
    world.run();
    let acknowledged = matches!(
        world.ends[&first],
        CallEnd::Completed(Outcome::Acknowledged { .. })
    );
    assert!(acknowledged);
    assert!(world.engine.has_ended());
    world.end();
}

/// Those that are released do not delay the end, and are counted: one was sent, and the window held back the other.
#[test]
fn messages_that_nobody_waits_for_are_counted_when_the_connection_ends() {
    let mut world = World::<false>::connected(narrow(2));
    world.publish_qos1("acknowledged");
    world.run();
    world.silent = true;
    world.publish_qos1("sent");
    world.publish_qos1("not sent");
    world.run();
    let gone = world
        .engine
        .leave(world.now, ReasonCode::Success, None, |_| true);
    assert_eq!(gone.len(), 2);
    for token in gone {
        world.held.remove(&token.0);
    }
    world.run();
    assert!(world.engine.has_ended());
    let unawaited: Vec<_> = (world.facts.iter())
        .filter_map(|fact| match fact {
            Fact::Unawaited { not_sent, unknown } => Some((*not_sent, *unknown)),
            _ => None,
        })
        .collect();
    assert_eq!(unawaited, [(1, 1)]);
    world.end();
}

#[test]
fn who_has_let_go_of_the_connection_is_told_so() {
    let mut world = World::<false>::connected(options());
    let (reader, _, mut next) = world.engine.read_events();
    let token = world.token();
    let number = token.0;
    assert!(world.engine.wait_for_event(reader, token).is_none());
    let reason = ReasonCode::Success;
    (world.engine).disconnect(world.now, Goodbye::Dropped, reason, None);
    (world.engine).disconnect(world.now, Goodbye::Asked, reason, None);
    world.run();
    let dropped = ConnectionError::Dropped;
    assert_eq!(*world.engine.standing(), Standing::Ended(dropped.clone()));
    assert_eq!(world.engine.last_end(), Some(&dropped));
    assert_eq!(world.readers, [number]);
    let event = world.engine.take_event(&mut next);
    let expected = ConnectionEvent::Disconnected {
        cause: dropped,
        address: "".into(),
        has_accepted: true,
        retry_at: None,
        unflushed: 0,
    };
    assert_eq!(event, Some(expected));
    assert!(matches!(world.facts.last(), Some(Fact::Ended { lost: 0 })));
    world.end();
}

#[test]
fn when_the_driver_has_gone_all_tokens_come_back_and_nothing_is_accepted() {
    let mut world = World::<false>::connected(narrow(1));
    let (queue, _) = world.subscribe("x", QueueOptions::DEFAULT);
    world.run();
    world.silent = true;
    let (call, _) = world.publish_qos1("1");
    let (waiting, _) = world.publish_qos1("2");
    let reader = world.token();
    let reader_number = reader.0;
    world.engine.wait(queue, |_| reader);
    world.engine.abandon_driver();
    world.take_woken();
    let gone = PublishRefusal::not_sent(ConnectionError::DriverGone);
    assert_eq!(world.ends[&call], CallEnd::DriverGone);
    assert_eq!(world.ends[&waiting], CallEnd::Refused(gone.clone()));
    assert_eq!(world.readers, [reader_number]);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let refused = world.publish(&publish("late", qos), None);
        assert_eq!(refused, Err(gone.clone()));
    }
    world.silent = false;
    world.pass(Duration::from_secs(3_600)); // a driver that calls all the same
    assert_eq!(
        *world.engine.standing(),
        Standing::Ended(ConnectionError::DriverGone)
    );
    let (_, token) = world.subscribe("y", QueueOptions::DEFAULT);
    assert!(!world.held.contains(&token));
    world.end();
}
