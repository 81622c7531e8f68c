//! The bounds of the outgoing queue: what happens to a message for which there is no capacity, and which messages leave.

use std::time::Duration;

use ferromqtt_engine::{
    CallEnd, Fact, MessageTerms, OutgoingQueueOptions, PublishRefusal, QueueSubmission,
    StoredMessage,
};
use ferromqtt_proto::packet::ProtocolVersion;
use ferromqtt_proto::{
    ConnectionError, Delivery, InvalidPublish, Options, Outcome, OutgoingLimits, OutgoingPolicy,
    Publish, QoS, Reconnect,
};

use crate::observer::Observer;
use crate::world::{World, options, publish};

const LATEST: MessageTerms = MessageTerms {
    expires_in: None,
    keep_latest: true,
};

const fn bounded(limit: usize, policy: OutgoingPolicy) -> OutgoingQueueOptions {
    OutgoingQueueOptions {
        limits: OutgoingLimits {
            messages: Some(limit),
            bytes: None,
        },
        policy,
        ahead: OutgoingLimits {
            messages: Some(100),
            bytes: None,
        },
        window: OutgoingLimits::NONE,
        outlives_connection: false,
        max_age: None,
        quarantines: false,
        failure_is_final: false,
        needs_session: false,
    }
}

fn reconnecting() -> Options {
    let mut options = options();
    options.reconnect = Some(Reconnect::default());
    options.max_in_flight = Some(1.try_into().unwrap());
    options
}

/// One that has lost its connection, and cannot make another one.
fn offline(queue: OutgoingQueueOptions) -> World<false> {
    let mut world = World::connected(reconnecting());
    world.engine.open_outgoing_queue(queue, []);
    world.unreachable = true;
    world.lose();
    world.run();
    world
}

fn queue(world: &mut World<false>, payload: &'static str, terms: MessageTerms) -> u32 {
    world
        .queue(publish(payload, QoS::AtLeastOnce), terms)
        .unwrap()
        .0
}

fn send(world: &mut World<false>, payload: &'static str) -> u32 {
    queue(world, payload, MessageTerms::default())
}

fn outcome(world: &World<false>, token: u32) -> &Outcome {
    match &world.ends[&token] {
        CallEnd::Completed(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

fn arrives(world: &mut World<false>) -> Vec<String> {
    let mut observer = Observer::new(&mut world.broker, world.now, "t");
    world.unreachable = false;
    world.silent = false;
    world.pass(Duration::from_secs(200));
    observer.observe(&mut world.broker, world.now)
}

#[test]
fn the_oldest_leave_for_a_new_one() {
    let mut world = offline(bounded(2, OutgoingPolicy::DropOldest));
    let tokens = ["1", "2", "3", "4"].map(|payload| send(&mut world, payload));
    world.run();
    assert_eq!(world.order, tokens[..2]);
    assert_eq!(*outcome(&world, tokens[0]), Outcome::Dropped);
    assert_eq!(*outcome(&world, tokens[1]), Outcome::Dropped);
    assert_eq!(arrives(&mut world), ["3", "4"]);
    world.end();
}

/// The core has them already: the window of the server is full.
#[test]
fn what_never_was_on_the_wire_leaves_the_core_too() {
    let mut world = World::<false>::connected(reconnecting());
    let mut observer = Observer::new(&mut world.broker, world.now, "t");
    let bounds = bounded(3, OutgoingPolicy::DropOldest);
    world.engine.open_outgoing_queue(bounds, []);
    world.silent = true;
    let tokens = ["in flight", "2", "3"].map(|payload| send(&mut world, payload));
    world.run();
    assert_eq!(world.engine.core().stats().outgoing, 3);
    let fourth = send(&mut world, "4");
    world.run();
    assert_eq!(world.order, [tokens[1]]);
    assert_eq!(*outcome(&world, tokens[1]), Outcome::Dropped);
    world.silent = false;
    world.run();
    assert_eq!(world.order, [tokens[1], tokens[0], tokens[2], fourth]);
    let observed = observer.observe(&mut world.broker, world.now);
    assert_eq!(observed, ["in flight", "3", "4"]);
    world.end();
}

#[test]
fn a_new_one_is_dropped_when_none_of_the_others_may_leave() {
    let mut world = World::<false>::connected(reconnecting());
    let bounds = bounded(1, OutgoingPolicy::DropOldest);
    world.engine.open_outgoing_queue(bounds, []);
    world.silent = true;
    let sent = send(&mut world, "in flight");
    world.run();
    let dropped = send(&mut world, "dropped");
    world.run();
    assert_eq!(*outcome(&world, dropped), Outcome::Dropped);
    world.silent = false;
    world.run();
    assert!(matches!(
        outcome(&world, sent),
        Outcome::Acknowledged { .. }
    ));
    world.end();
}

#[test]
fn the_new_one_is_dropped() {
    let mut world = offline(bounded(2, OutgoingPolicy::DropNewest));
    let tokens = ["1", "2", "3"].map(|payload| send(&mut world, payload));
    world.run();
    assert_eq!(world.order, tokens[2..]);
    assert_eq!(*outcome(&world, tokens[2]), Outcome::Dropped);
    assert_eq!(arrives(&mut world), ["1", "2"]);
    world.end();
}

#[test]
fn the_new_one_is_refused() {
    for policy in [OutgoingPolicy::Refuse, OutgoingPolicy::Wait] {
        let mut world = offline(bounded(1, policy));
        send(&mut world, "1");
        let refused = world.queue(publish("2", QoS::AtLeastOnce), MessageTerms::default());
        let full = InvalidPublish::QueueFull {
            limit: 1,
            unit: "messages",
        };
        assert_eq!(refused, Err(full.into()));
        assert_eq!(arrives(&mut world), ["1"]);
        world.end();
    }
}

fn wait_for_capacity(
    world: &mut World<false>,
    payload: &'static str,
    seconds: Option<u64>,
) -> (u32, u32, QueueSubmission) {
    let deadline = seconds.and_then(|seconds| world.after(seconds));
    let message = publish(payload, QoS::AtLeastOnce);
    let submitted = world.queue_or_wait(message, MessageTerms::default(), deadline);
    let (outcome, accepted, submission) = submitted.unwrap();
    (outcome, accepted.unwrap_or_default(), submission)
}

#[test]
fn those_that_wait_are_accepted_in_order() {
    let mut world = offline(bounded(1, OutgoingPolicy::Wait));
    let (first, _, accepted) = wait_for_capacity(&mut world, "1", None);
    assert!(matches!(accepted, QueueSubmission::Accepted(_)));
    let (second, second_accepted, _) = wait_for_capacity(&mut world, "2", None);
    let (third, third_accepted, _) = wait_for_capacity(&mut world, "3", None);
    world.run();
    assert!(world.ends.is_empty());
    assert_eq!(arrives(&mut world), ["1", "2", "3"]);
    for accepted in [second_accepted, third_accepted] {
        assert!(matches!(world.ends[&accepted], CallEnd::Queued { .. }));
    }
    for token in [first, second, third] {
        let outcome = outcome(&world, token);
        assert!(matches!(outcome, Outcome::Acknowledged { .. }));
    }
    world.end();
}

#[test]
fn a_wait_for_capacity_ends_by_its_time_or_its_caller() {
    let mut world = offline(bounded(1, OutgoingPolicy::Wait));
    send(&mut world, "1");
    let (late, late_accepted, _) = wait_for_capacity(&mut world, "late", Some(5));
    let (_, _, given_up) = wait_for_capacity(&mut world, "given up", None);
    let QueueSubmission::Waits(call) = given_up else {
        panic!("{given_up:?}");
    };
    assert!(world.give_up(call));
    assert!(!world.give_up(call));
    world.pass(Duration::from_secs(5));
    for token in [late, late_accepted] {
        let timed_out = CallEnd::TimedOut(Delivery::NotSent);
        assert_eq!(world.ends[&token], timed_out);
    }
    assert_eq!(arrives(&mut world), ["1"]);
    world.end();
}

#[test]
fn those_that_wait_are_refused_when_no_connection_follows() {
    let mut world = offline(bounded(1, OutgoingPolicy::Wait));
    send(&mut world, "1");
    let (outcome, accepted, _) = wait_for_capacity(&mut world, "2", None);
    world.engine.drain(world.now, world.after(1));
    world.run();
    for token in [outcome, accepted] {
        let refused = CallEnd::Refused(PublishRefusal::Draining);
        assert_eq!(world.ends[&token], refused);
    }
    world.end();
}

#[test]
fn the_latest_to_a_topic_takes_the_place_of_those_before() {
    let mut world = offline(bounded(10, OutgoingPolicy::Refuse));
    let event = send(&mut world, "event");
    let first = queue(&mut world, "1", LATEST);
    let mut other = Publish::new("other".try_into().unwrap(), "other");
    other.qos = QoS::AtLeastOnce;
    let (other, _) = world.queue(other, LATEST).unwrap();
    let second = queue(&mut world, "2", LATEST);
    let third = queue(&mut world, "3", LATEST);
    world.run();
    assert_eq!(world.order, [first, second]);
    assert_eq!(*outcome(&world, first), Outcome::Replaced);
    assert_eq!(arrives(&mut world), ["event", "3"]);
    assert_eq!(world.order, [first, second, event, other, third]);
    world.end();
}

#[test]
fn what_is_on_the_wire_is_not_replaced() {
    let mut world = World::<false>::connected(reconnecting());
    let mut observer = Observer::new(&mut world.broker, world.now, "t");
    let bounds = bounded(10, OutgoingPolicy::Refuse);
    world.engine.open_outgoing_queue(bounds, []);
    world.silent = true;
    let sent = queue(&mut world, "1", LATEST);
    world.run();
    let replaced = queue(&mut world, "2", LATEST);
    world.run(); // the core has it
    let last = queue(&mut world, "3", LATEST);
    world.run();
    assert_eq!(world.order, [replaced]);
    assert_eq!(*outcome(&world, replaced), Outcome::Replaced);
    world.silent = false;
    world.run();
    assert_eq!(world.order, [replaced, sent, last]);
    let observed = observer.observe(&mut world.broker, world.now);
    assert_eq!(observed, ["1", "3"]);
    world.end();
}

/// A queue that is full of the one that leaves has capacity for the one that comes.
#[test]
fn a_full_queue_accepts_what_replaces() {
    let mut world = offline(bounded(1, OutgoingPolicy::Refuse));
    let first = queue(&mut world, "1", LATEST);
    queue(&mut world, "2", LATEST);
    world.run();
    assert_eq!(*outcome(&world, first), Outcome::Replaced);
    assert_eq!(arrives(&mut world), ["2"]);
    world.end();
}

/// The process had ended between the acceptance of the second and the end of the first.
#[test]
fn a_store_with_two_of_which_one_replaces_the_other_keeps_the_newer() {
    let mut world = World::<false>::connected(reconnecting());
    let mut observer = Observer::new(&mut world.broker, world.now, "t");
    let stored = [(3, "1"), (5, "2")].map(|(key, payload)| StoredMessage {
        key,
        publish: publish(payload, QoS::AtLeastOnce),
        expires_at: None,
        keep_latest: true,
    });
    let bounds = bounded(10, OutgoingPolicy::Refuse);
    world.engine.open_outgoing_queue(bounds, stored);
    world.run();
    let ended = world.ended();
    assert_eq!(ended[0], (3, Outcome::Replaced));
    assert_eq!(ended[1].0, 5);
    let observed = observer.observe(&mut world.broker, world.now);
    assert_eq!(observed, ["2"]);
    world.end();
}

#[test]
fn messages_expire_on_every_version() {
    for protocol in [ProtocolVersion::V311, ProtocolVersion::V5] {
        let mut options = reconnecting();
        options.protocol = protocol;
        let mut world = World::<false>::connected(options);
        let bounds = bounded(10, OutgoingPolicy::Refuse);
        world.engine.open_outgoing_queue(bounds, []);
        world.unreachable = true;
        world.lose();
        world.run();
        let terms = |seconds| MessageTerms {
            expires_in: Some(Duration::from_secs(seconds)),
            keep_latest: false,
        };
        let brief = queue(&mut world, "brief", terms(3));
        queue(&mut world, "long", terms(3_600));
        world.pass(Duration::from_secs(3));
        assert_eq!(*outcome(&world, brief), Outcome::Expired);
        assert_eq!(arrives(&mut world), ["long"]);
        world.end();
    }
}

#[test]
fn each_message_ends_with_the_last_connection() {
    let mut world = World::<false>::restarting(options());
    let mut queue = bounded(10, OutgoingPolicy::Refuse);
    queue.ahead.messages = Some(1);
    world.engine.open_outgoing_queue(queue, []);
    world.silent = true;
    let sent = send(&mut world, "sent");
    let waits = send(&mut world, "waits");
    let released = world
        .queue(
            publish("released", QoS::AtLeastOnce),
            MessageTerms::default(),
        )
        .unwrap();
    let token = world.engine.release_queued(released.1).unwrap();
    world.back(&token);
    world.run();
    world.lose();
    world.run();
    assert!(world.engine.has_ended());
    let delivery = |token| match outcome(&world, token) {
        Outcome::Disconnected { delivery, .. } => *delivery,
        other => panic!("{other:?}"),
    };
    assert_eq!(delivery(sent), Delivery::Unknown);
    assert_eq!(delivery(waits), Delivery::NotSent);
    let unawaited = (world.facts.iter()).filter_map(|fact| match fact {
        Fact::Unawaited { not_sent, unknown } => Some((*not_sent, *unknown)),
        _ => None,
    });
    assert_eq!(unawaited.collect::<Vec<_>>(), [(1, 0)]);
    assert_eq!(world.engine.queued(), (0, 0));
    let late = world.queue(publish("late", QoS::AtLeastOnce), MessageTerms::default());
    assert!(matches!(
        late,
        Err(PublishRefusal::Disconnected {
            cause: ConnectionError::Transport(_),
            ..
        })
    ));
    world.silent = false;
    world.engine.start(world.now);
    world.run();
    assert_eq!(world.ended(), []); // the session sends the first again, and nobody has asked
    send(&mut world, "in the next connection");
    world.run();
    assert_eq!(world.engine.queued().0, 0);
    world.end();
}
