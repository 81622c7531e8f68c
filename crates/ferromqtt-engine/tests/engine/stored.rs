//! Who waits until a message is stored, and what becomes of the outgoing queue when the store fails and comes back.

use std::time::Duration;

use ferromqtt_engine::{CallEnd, Fact, MessageTerms, OutgoingQueueOptions, PublishRefusal};
use ferromqtt_proto::{
    CleanStart, Delivery, Direction, InvalidPublish, Options, Outcome, QoS, Reconnect,
    SessionChange,
};
use ferromqtt_testing::BrokerOptions;

use crate::observer::Observer;
use crate::world::{World, options, publish};

fn durable() -> Options {
    let mut options = options();
    options.clean_start = CleanStart::Never;
    options.properties.session_expiry_interval = Some(3_600);
    options.journal = true;
    options.reconnect = Some(Reconnect {
        initial: true,
        ..Reconnect::default()
    });
    options
}

fn world() -> World {
    let mut world = World::connected(durable());
    (world.engine).open_outgoing_queue(OutgoingQueueOptions::default(), []);
    world
}

fn queue(world: &mut World, payload: &'static str, qos: QoS) -> (u32, u64) {
    let terms = MessageTerms::default();
    world.queue(publish(payload, qos), terms).unwrap()
}

/// Has a token wait until the message is stored. Returns its number.
fn await_stored(world: &mut World, key: u64) -> u32 {
    let token = world.token();
    let number = token.0;
    world.engine.await_stored(key, token);
    number
}

fn lag(world: &mut World, lags: bool) {
    world.store.row_mut(Direction::Sent).lags = lags;
}

#[test]
fn a_message_is_told_as_stored_once_its_acceptance_is_on_record() {
    let mut world = world();
    lag(&mut world, true);
    world.stuck = true;
    let (_, first) = queue(&mut world, "1", QoS::AtLeastOnce);
    let (_, second) = queue(&mut world, "2", QoS::ExactlyOnce);
    let waits = [first, second, first].map(|key| await_stored(&mut world, key));
    world.run();
    assert!(waits.iter().all(|token| !world.ends.contains_key(token)));
    lag(&mut world, false);
    world.run();
    for (token, key) in waits.into_iter().zip([first, second, first]) {
        assert_eq!(world.ends[&token], CallEnd::Stored { key });
    }
    let late = await_stored(&mut world, first);
    world.run();
    assert_eq!(world.ends[&late], CallEnd::Stored { key: first });
    world.end();
}

/// A QoS 1 message may be acknowledged before its record: then nothing is left to store.
#[test]
fn an_outcome_ends_the_wait_for_the_store() {
    let mut world = world();
    lag(&mut world, true);
    let (outcome, key) = queue(&mut world, "1", QoS::AtLeastOnce);
    let (_, other) = queue(&mut world, "2", QoS::ExactlyOnce);
    let stored = await_stored(&mut world, key);
    let waits = await_stored(&mut world, other);
    world.run();
    assert!(matches!(
        world.ends[&outcome],
        CallEnd::Completed(Outcome::Acknowledged { .. })
    ));
    assert_eq!(world.ends[&stored], CallEnd::Stored { key });
    assert!(!world.ends.contains_key(&waits), "that one waits still");
    world.end();
}

#[test]
fn without_a_store_nothing_is_told_as_stored() {
    let mut options = durable();
    options.journal = false;
    let mut world = World::<false>::connected(options);
    world.stuck = true;
    let (_, key) = queue(&mut world, "1", QoS::AtLeastOnce);
    let token = await_stored(&mut world, key);
    world.run();
    assert_eq!(world.ends[&token], CallEnd::NotStored { key });
    world.end();
}

/// Told as stored by one process, it is published by the next.
#[test]
fn what_was_told_as_stored_outlives_the_process() {
    let mut world = world();
    world.unreachable = true;
    world.lose();
    let (_, key) = queue(&mut world, "1", QoS::ExactlyOnce);
    let token = await_stored(&mut world, key);
    world.run();
    assert_eq!(world.ends[&token], CallEnd::Stored { key });
    world.unreachable = false;
    world.crash();
    let mut observer = Observer::new(&mut world.broker, world.now, "t");
    world.pass(Duration::from_secs(5));
    assert_eq!(observer.observe(&mut world.broker, world.now), ["1"]);
    let ended = world.ended();
    assert!(matches!(ended[..], [(it, Outcome::Acknowledged { .. })] if it == key));
    world.end();
}

/// Messages that another engine of the same process had may not be on record yet.
#[test]
fn a_successor_does_not_take_the_word_of_its_session_for_the_record() {
    let mut world = world();
    lag(&mut world, true);
    world.unreachable = true;
    world.lose();
    let (_, key) = queue(&mut world, "1", QoS::ExactlyOnce);
    world.run();
    world.restart();
    let token = await_stored(&mut world, key);
    world.run();
    assert!(!world.ends.contains_key(&token));
    lag(&mut world, false);
    world.run();
    assert_eq!(world.ends[&token], CallEnd::Stored { key });
    world.end();
}

#[test]
fn a_store_that_fails_ends_what_it_cannot_keep_and_lets_the_rest_go_on() {
    let mut world = world();
    let mut observer = Observer::new(&mut world.broker, world.now, "t");
    lag(&mut world, true);
    let (exactly, key) = queue(&mut world, "2", QoS::ExactlyOnce);
    let stored = await_stored(&mut world, key);
    world.run();
    world.fail_store(Direction::Sent);
    world.run();
    let not_stored = Outcome::NotStored {
        delivery: Delivery::NotSent,
    };
    assert_eq!(world.ends[&exactly], CallEnd::Completed(not_stored));
    assert_eq!(world.ends[&stored], CallEnd::NotStored { key });
    let failed = |fact: &Fact| matches!(fact, Fact::StoreFailed { direction } if *direction == Direction::Sent);
    assert_eq!(world.facts.iter().filter(|fact| failed(fact)).count(), 1);
    let refused = world.queue(publish("late", QoS::AtLeastOnce), MessageTerms::default());
    assert_eq!(
        refused,
        Err(PublishRefusal::Invalid(InvalidPublish::StoreFailed))
    );
    world.publish_qos1("past the queue");
    world.run();
    assert!(world.engine.is_connected());
    let observed = observer.observe(&mut world.broker, world.now);
    assert_eq!(observed, ["past the queue"]);
    world.end();
}

/// All that waits is in the record that the store begins with, on the terms on which it was accepted.
#[test]
fn a_store_that_comes_back_gets_the_queue_too() {
    let mut world = World::<false>::with_all(durable(), BrokerOptions::default(), false, false);
    world.unreachable = true;
    (world.engine).open_outgoing_queue(OutgoingQueueOptions::default(), []);
    let terms = MessageTerms {
        expires_in: Some(Duration::from_secs(60)),
        keep_latest: true,
    };
    let (_, key) = world.queue(publish("1", QoS::AtLeastOnce), terms).unwrap();
    world.run();
    world.fail_store(Direction::Sent);
    world.pass(Duration::from_secs(10));
    let (_, changes) = world.engine.begin_record(world.now, Direction::Sent);
    let accepted = |change: &SessionChange| {
        matches!(
            change,
            SessionChange::Accepted { key: it, expires_in: Some(left), keep_latest: true, .. }
                if *it == key && *left == Duration::from_secs(50)
        )
    };
    assert!(changes.iter().any(accepted), "{changes:?}");
    let token = await_stored(&mut world, key);
    world.mend_store(Direction::Sent);
    world.crash();
    world.unreachable = false;
    assert!(!world.ends.contains_key(&token));
    let mut observer = Observer::new(&mut world.broker, world.now, "t");
    world.pass(Duration::from_secs(5));
    assert_eq!(observer.observe(&mut world.broker, world.now), ["1"]);
    world.end();
}

/// On a full disk the acceptance of a message waits for space, and the loss of a session does not.
#[test]
fn a_message_that_waits_for_space_is_sent_in_a_new_session_and_not_told_as_stored() {
    let mut world = world();
    let mut observer = Observer::new(&mut world.broker, world.now, "t");
    lag(&mut world, true);
    world.lose();
    assert!(world.broker.forget_session(world.now, "engine"));
    let (_, key) = queue(&mut world, "1", QoS::AtLeastOnce);
    let stored = await_stored(&mut world, key);
    world.pass(Duration::from_secs(5));
    assert!(world.engine.is_connected());
    assert!(observer.observe(&mut world.broker, world.now).is_empty());
    let ahead = world.engine.core().journal_end(Direction::Sent);
    world.engine.journal_written_ahead(ahead);
    world.silent = true; // an acknowledgement would end the wait
    world.run();
    assert_eq!(observer.observe(&mut world.broker, world.now), ["1"]);
    assert!(!world.ends.contains_key(&stored));
    world.silent = false;
    lag(&mut world, false);
    world.run();
    assert_eq!(world.ends[&stored], CallEnd::Stored { key });
    world.end();
}
