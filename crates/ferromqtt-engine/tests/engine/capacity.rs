//! Waiting for capacity in the outgoing queue.

use ferromqtt_engine::{CallEnd, PublishRefusal, Submission};
use ferromqtt_proto::{Outcome, QoS};

use crate::world::{World, call, narrow, publish};

fn is_acknowledged(end: &CallEnd) -> bool {
    matches!(end, CallEnd::Completed(Outcome::Acknowledged { .. }))
}

#[test]
fn messages_that_wait_are_accepted_in_order() {
    let mut world = World::<false>::connected(narrow(1));
    world.silent = true;
    let (first, accepted) = world.publish_qos1("1");
    assert!(matches!(accepted, Submission::Accepted(_)));
    let mut tokens = vec![first];
    for payload in ["2", "3", "4"] {
        let (token, waits) = world.publish_qos1(payload);
        assert!(matches!(waits, Submission::Waits(_)));
        tokens.push(token);
    }
    world.run();
    assert!(world.ends.is_empty());
    world.silent = false;
    world.run();
    assert_eq!(world.order, tokens);
    assert!(world.ends.values().all(is_acknowledged));
    world.end();
}

#[test]
fn the_one_behind_a_message_that_leaves_the_line_is_accepted() {
    let mut world = World::<false>::connected(narrow(1));
    world.silent = true;
    let (first, _) = world.publish_qos1("1");
    let (second, waits) = world.publish_qos1("2");
    let (third, _) = world.publish_qos1("3");
    assert!(world.give_up(call(waits)));
    assert!(!world.give_up(call(waits)), "it has left");
    world.silent = false;
    world.run();
    assert_eq!(world.order, [first, third]);
    assert!(!world.ends.contains_key(&second));
    world.end();
}

#[test]
fn a_caller_that_leaves_the_line_does_not_take_back_what_was_accepted() {
    let mut world = World::<false>::connected(narrow(1));
    world.silent = true;
    world.publish_qos1("1");
    let (second, waits) = world.publish_qos1("2");
    world.silent = false;
    world.run();
    assert!(world.engine.leave_line(call(waits)).is_none());
    assert!(is_acknowledged(&world.ends[&second]));
    world.end();
}

#[test]
fn who_enqueues_learns_when_the_message_is_accepted() {
    let mut world = World::<false>::connected(narrow(1));
    world.silent = true;
    let (first, _) = world.publish_qos1("1");
    let (outcome, accepted) = (world.token(), world.token());
    let (outcome_number, accepted_number) = (outcome.0, accepted.0);
    let message = publish("2", QoS::AtLeastOnce);
    let deadline = world.after(3_600);
    let waits = (world.engine).enqueue(world.now, &message, deadline, outcome, || accepted);
    assert!(matches!(waits, Ok(Submission::Waits(_))));
    world.silent = false;
    world.run();
    assert_eq!(world.order, [first, accepted_number, outcome_number]);
    assert_eq!(world.ends[&accepted_number], CallEnd::Accepted);
    assert!(is_acknowledged(&world.ends[&outcome_number]));
    world.end();
}

#[test]
fn trying_passes_those_that_wait_and_does_not_make_the_core_forget_them() {
    let mut world = World::<false>::connected(narrow(1));
    world.silent = true;
    world.publish_qos1("1");
    let (second, _) = world.publish_qos1("2");
    let token = world.token();
    let message = publish("3", QoS::AtLeastOnce);
    let Err((token, refusal)) = world.engine.try_publish(world.now, message, None, token) else {
        panic!("there is no capacity");
    };
    world.back(&token);
    let full = matches!(refusal, PublishRefusal::QueueFull { .. });
    assert!(full, "{refusal:?}");
    world.silent = false;
    world.run();
    assert!(is_acknowledged(&world.ends[&second]));
    world.end();
}

#[test]
fn a_small_message_at_qos_0_is_sent_at_once_without_token_and_event() {
    let mut world = World::<false>::connected(narrow(1));
    let sent = world.publish(&publish("0", QoS::AtMostOnce), None);
    assert_eq!(sent, Ok((0, None)));
    assert!(world.engine.next_woken().is_none());
    assert!(world.held.is_empty());
    world.end();
}
