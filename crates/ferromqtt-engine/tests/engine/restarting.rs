//! Engines that are started again after the end of a connection.

use ferromqtt_engine::{CallEnd, EngineOptions, PublishRefusal, Standing};
use ferromqtt_proto::{QoS, QueueId, QueueOptions, Session};

use crate::world::{World, options, publish};

/// Reads the default queue, which no subscription feeds.
fn wait(world: &mut World<true>) -> u32 {
    let token = world.token();
    let number = token.0;
    world.engine.wait(QueueId::DEFAULT, |_| token);
    number
}

#[test]
fn after_its_end_a_connection_is_made_again_in_the_same_session() {
    let mut world = World::<true>::restarting(options());
    world.engine.drain(world.now, None);
    world.run();
    assert!(matches!(world.engine.standing(), Standing::Ended(_)));
    let refusal = world.publish(&publish("late", QoS::AtLeastOnce), None);
    assert_eq!(refusal.unwrap_err(), PublishRefusal::Draining);
    world.engine.start(world.now);
    assert_eq!(*world.engine.standing(), Standing::Connecting);
    world.run();
    assert!(world.engine.is_connected());
    let (token, _) = world.publish_qos1("again");
    world.run();
    assert!(matches!(world.ends[&token], CallEnd::Completed(_)));
    assert_eq!(world.engine.core().stats().connections, 2);
    world.end();
}

#[test]
fn what_has_not_ended_is_not_started_again() {
    let mut world = World::<true>::restarting(options());
    world.engine.start(world.now);
    assert!(world.engine.next_request().is_none());
    world.engine.abandon_driver();
    world.engine.start(world.now);
    assert!(world.engine.has_ended(), "its transport has not ended");
    world.end();
}

#[test]
fn readers_wait_for_the_next_connection_until_the_queues_are_ended() {
    let mut world = World::<true>::restarting(options());
    let first = wait(&mut world);
    world.lose();
    world.run();
    assert!(world.engine.has_ended());
    assert!(!world.engine.is_over(QueueId::DEFAULT));
    assert!(world.readers.is_empty());
    world.engine.end_queues();
    world.run();
    assert_eq!(world.readers, [first]);
    assert!(world.engine.is_over(QueueId::DEFAULT));
    world.engine.start(world.now);
    assert!(!world.engine.is_over(QueueId::DEFAULT));
    wait(&mut world);
    world.run();
    assert_eq!(world.readers, [first]);
    world.end();
}

#[test]
fn readers_of_subscriptions_that_a_new_start_forgets_are_woken() {
    let mut world = World::<true>::restarting(options());
    let (queue, _) = world.subscribe("t", QueueOptions::DEFAULT);
    world.run();
    let token = world.token();
    let reader = token.0;
    world.engine.wait(queue, |_| token);
    let waits = wait(&mut world);
    world.lose();
    world.run();
    assert!(world.readers.is_empty());
    world.engine.start(world.now);
    world.run();
    assert_eq!(world.readers, [reader], "{waits} waits on");
    assert!(world.engine.is_over(queue));
    world.end();
}

#[test]
fn readers_stay_when_the_core_gets_other_options() {
    let mut world = World::<true>::restarting(options());
    world.lose();
    world.run();
    let reader = wait(&mut world);
    let of_engine = EngineOptions {
        disconnect_timeout: std::time::Duration::from_secs(5),
        ends_session: false,
        authenticates: false,
        restarts: true,
    };
    let mut named = options();
    named.client_identifier = "another".try_into().unwrap();
    let former = (world.engine).configure(named, Session::default(), 8, of_engine);
    assert_eq!(former.unwrap().client_identifier().as_str(), "engine");
    world.engine.start(world.now);
    world.run();
    assert_eq!(world.engine.core().client_identifier().as_str(), "another");
    world.engine.end_queues();
    world.run();
    assert_eq!(world.readers, [reader]);
    world.end();
}
