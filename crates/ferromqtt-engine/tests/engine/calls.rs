//! Deadlines of calls, and giving up.

use std::time::Duration;

use ferromqtt_engine::{CallEnd, CallId, Submission};
use ferromqtt_proto::{Delivery, Outcome, QoS};

use crate::world::{World, call, narrow, options, publish};

const LIMIT: Duration = Duration::from_secs(3);

#[test]
fn what_is_not_sent_at_its_deadline_is_withdrawn() {
    let mut options = options();
    options.reconnect = Some(Default::default());
    let mut world = World::<false>::connected(options);
    world.unreachable = true;
    world.lose();
    let message = publish("late", QoS::AtLeastOnce);
    let (token, _) = world.publish(&message, world.after(3)).unwrap();
    world.pass(LIMIT - Duration::from_millis(1));
    assert!(world.ends.is_empty());
    world.pass(Duration::from_millis(1));
    assert_eq!(world.ends[&token], CallEnd::TimedOut(Delivery::NotSent));
    assert_eq!(world.engine.core().stats().outgoing, 0);
    world.end();
}

#[test]
fn what_is_on_the_wire_at_its_deadline_stays_in_the_session() {
    let mut world = World::<false>::connected(options());
    world.silent = true;
    let message = publish("sent", QoS::AtLeastOnce);
    let (token, _) = world.publish(&message, world.after(3)).unwrap();
    world.pass(LIMIT);
    assert_eq!(world.ends[&token], CallEnd::TimedOut(Delivery::Unknown));
    assert_eq!(world.engine.core().stats().outgoing, 1);
    world.end();
}

#[test]
fn a_deadline_counts_in_the_line_and_goes_on_behind_it() {
    let mut world = World::<false>::connected(narrow(2));
    world.silent = true;
    world.publish_qos1("1");
    world.publish_qos1("2");
    let message = publish("3", QoS::AtLeastOnce);
    let (third, submission) = world.publish(&message, world.after(3)).unwrap();
    assert!(matches!(submission, Some(Submission::Waits(_))));
    let (fourth, _) = world.publish(&message, world.after(1)).unwrap();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.ends[&fourth], CallEnd::TimedOut(Delivery::NotSent));
    world.silent = false;
    world.run();
    world.silent = true;
    assert!(matches!(world.ends[&third], CallEnd::Completed(_)));
    world.pass(LIMIT);
    assert_eq!(
        world.order.len(),
        4,
        "each has ended once: {:?}",
        world.order
    );
    world.end();
}

#[test]
fn the_deadline_of_enqueueing_is_for_being_accepted() {
    let mut world = World::<false>::connected(narrow(1));
    world.silent = true;
    world.publish_qos1("1");
    let message = publish("2", QoS::AtLeastOnce);
    let (outcome, accepted) = (world.token(), world.token());
    let numbers = [accepted.0, outcome.0];
    let deadline = world.after(3);
    let waits = (world.engine).enqueue(world.now, &message, deadline, outcome, || accepted);
    assert!(matches!(waits, Ok(Submission::Waits(_))));
    world.pass(LIMIT);
    for number in numbers {
        assert_eq!(world.ends[&number], CallEnd::TimedOut(Delivery::NotSent));
    }
    world.silent = false;
    world.run();
    let outcome = world.token();
    let number = outcome.0;
    let now = world.now;
    let accepted = (world.engine).enqueue(now, &message, Some(now), outcome, || unreachable!());
    assert!(matches!(accepted, Ok(Submission::Accepted(_))));
    world.pass(LIMIT);
    assert!(matches!(world.ends[&number], CallEnd::Completed(_)));
    world.end();
}

#[test]
fn a_caller_that_leaves_an_accepted_message_lifts_its_deadline() {
    let mut options = options();
    options.reconnect = Some(Default::default());
    let mut world = World::<false>::connected(options);
    world.unreachable = true;
    world.lose();
    let message = publish("goes on", QoS::AtLeastOnce);
    let (token, accepted) = world.publish(&message, world.after(3)).unwrap();
    assert!(world.engine.leave_line(call(accepted.unwrap())).is_none());
    world.pass(LIMIT * 2);
    assert!(world.ends.is_empty());
    world.unreachable = false;
    world.pass(Duration::from_secs(600));
    assert!(matches!(world.ends[&token], CallEnd::Completed(_)));
    world.end();
}

#[test]
fn a_call_that_was_given_up_has_no_end() {
    let mut world = World::<false>::connected(options());
    world.silent = true;
    let (token, accepted) = world.publish_qos1("1");
    world.run();
    assert!(world.give_up(call(accepted)));
    world.silent = false;
    world.run();
    assert!(!world.ends.contains_key(&token));
    assert!(!world.give_up(call(accepted)));
    world.end();
}

#[test]
fn an_outcome_that_the_core_has_at_the_deadline_is_the_one_that_is_reported() {
    let mut options = narrow(1);
    options.outgoing_policy = ferromqtt_proto::OutgoingPolicy::DropOldest;
    options.reconnect = Some(Default::default());
    let mut world = World::<false>::connected(options);
    world.unreachable = true;
    world.lose();
    world.run();
    let message = publish("", QoS::AtLeastOnce);
    let (dropped, _) = world.publish(&message, world.after(3)).unwrap();
    world.now += LIMIT;
    let (_newer, _) = world.publish(&message, None).unwrap();
    world.engine.on_time(world.now); // before the engine has taken the outcome from the core
    world.run();
    assert_eq!(world.ends[&dropped], CallEnd::Completed(Outcome::Dropped));
    world.end();
}

#[test]
fn calls_whose_callers_have_gone_are_released_and_go_on() {
    let mut world = World::<false>::connected(options());
    world.silent = true;
    let (gone, _) = world.publish_qos1("1");
    let (stays, _) = world.publish_qos1("2");
    let released = world.engine.release_callers(|token| token.0 == gone);
    assert_eq!(released.len(), 1);
    for token in released {
        world.back(&token);
    }
    world.silent = false;
    world.run();
    assert_eq!(world.order, [stays]);
    assert_eq!(world.engine.core().stats().acknowledged, 2);
    world.end();
}

#[test]
fn a_message_that_does_not_wait_for_capacity_has_a_deadline_too() {
    let mut world = World::<false>::connected(options());
    world.silent = true;
    let token = world.token();
    let number = token.0;
    let message = publish("sent", QoS::AtLeastOnce);
    let deadline = world.after(3);
    let accepted = (world.engine).try_publish(world.now, message, deadline, token);
    let call = accepted.unwrap();
    assert!(world.engine.is_open(call));
    assert_eq!(world.engine.open_calls(), 1);
    world.pass(LIMIT);
    assert_eq!(world.ends[&number], CallEnd::TimedOut(Delivery::Unknown));
    assert!(!world.engine.is_open(call));
    world.end();
}

#[test]
fn a_call_is_found_again_by_its_number() {
    let mut world = World::<false>::connected(narrow(1));
    world.silent = true;
    let accepted = call(world.publish_qos1("accepted").1);
    let waits = call(world.publish_qos1("waits").1);
    for call in [accepted, waits] {
        assert_ne!(call.number(), 0);
        let found = CallId::from_number(call.number());
        assert_eq!(found, call);
        assert!(world.give_up(found));
    }
    for number in [0, 1, u64::MAX] {
        assert!(world.engine.give_up(CallId::from_number(number)).is_none());
    }
    world.end();
}
