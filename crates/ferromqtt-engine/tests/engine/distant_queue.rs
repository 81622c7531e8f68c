//! Messages of the outgoing queue whose contents are in the store alone, until it is their turn.

use std::time::Duration;

use ferromqtt_engine::{CallEnd, Fact, MessageTerms, OutgoingQueueOptions, PublishRefusal};
use ferromqtt_proto::{
    CleanStart, Direction, Outcome, OutgoingLimits, OutgoingPolicy, Publish, QoS, Reconnect,
};

use crate::observer::Observer;
use crate::world::{World, options, publish};

const PAYLOADS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

const fn limits(messages: usize) -> OutgoingLimits {
    OutgoingLimits {
        messages: Some(messages),
        bytes: None,
    }
}

/// Two messages are in memory, and the core has one at a time.
fn narrow() -> OutgoingQueueOptions {
    OutgoingQueueOptions {
        ahead: limits(1),
        window: limits(2),
        ..OutgoingQueueOptions::default()
    }
}

/// One without a connection.
fn offline(queue: OutgoingQueueOptions) -> World {
    let mut options = options();
    options.clean_start = CleanStart::Never;
    options.properties.session_expiry_interval = Some(3_600);
    options.journal = true;
    options.max_in_flight = Some(1.try_into().unwrap());
    options.reconnect = Some(Reconnect {
        initial: true,
        ..Reconnect::default()
    });
    let mut world = World::new(options);
    world.unreachable = true;
    world.store.queue = queue;
    world.engine.open_outgoing_queue(queue, []);
    world.run();
    world
}

fn queue_on(world: &mut World, topic: &str, payload: &'static str, terms: MessageTerms) -> u32 {
    let mut message = Publish::new(topic.try_into().unwrap(), payload);
    message.qos = QoS::AtLeastOnce;
    let (token, _) = world.queue(message, terms).unwrap();
    world.run();
    token
}

/// Has ten messages wait, of which eight are beyond the window. Returns their tokens.
fn fill(world: &mut World) -> [u32; 10] {
    let tokens = PAYLOADS.map(|payload| queue_on(world, "t", payload, MessageTerms::default()));
    assert_eq!(world.distant(), 8);
    tokens
}

/// Connects. Returns what comes to the server.
fn send_all(world: &mut World) -> Vec<String> {
    let mut observer = Observer::new(&mut world.broker, world.now, "#");
    world.unreachable = false;
    world.pass(Duration::from_secs(120));
    assert!(world.engine.is_connected());
    observer.observe(&mut world.broker, world.now)
}

fn is_acknowledged(world: &World, token: u32) -> bool {
    let end = &world.ends[&token];
    matches!(end, CallEnd::Completed(Outcome::Acknowledged { .. }))
}

#[test]
fn messages_beyond_the_window_are_fetched_in_their_order() {
    let mut world = offline(narrow());
    let tokens = fill(&mut world);
    assert_eq!(send_all(&mut world), PAYLOADS);
    assert!(tokens.iter().all(|token| is_acknowledged(&world, *token)));
    assert_eq!((world.distant(), world.engine.queued()), (0, (0, 0)));
    world.end();
}

#[test]
fn a_message_that_comes_while_others_are_fetched_is_sent_behind_them() {
    let mut world = offline(narrow());
    let terms = MessageTerms::default();
    for payload in &PAYLOADS[..5] {
        queue_on(&mut world, "t", payload, terms);
    }
    world.store.row_mut(Direction::Sent).lags = true;
    for payload in &PAYLOADS[5..] {
        queue_on(&mut world, "t", payload, terms);
    }
    assert_eq!(world.distant(), 3, "what is not on record is in memory");
    world.store.keep_up();
    assert_eq!(send_all(&mut world), PAYLOADS);
    world.end();
}

#[test]
fn it_counts_the_same_wherever_its_contents_are() {
    let queued = [limits(2), OutgoingLimits::NONE].map(|window| {
        let mut world = offline(OutgoingQueueOptions { window, ..narrow() });
        for payload in PAYLOADS {
            queue_on(&mut world, "t", payload, MessageTerms::default());
        }
        let stats = world.engine.stats();
        (world.engine.queued(), stats.outgoing, stats.outgoing_bytes)
    });
    assert_eq!(queued[0], queued[1]);
    assert_eq!(queued[0].0.0, 10);
}

#[test]
fn a_distant_message_takes_capacity_and_leaves_for_a_newer_one() {
    for policy in [OutgoingPolicy::Refuse, OutgoingPolicy::DropOldest] {
        let mut world = offline(OutgoingQueueOptions {
            limits: limits(10),
            policy,
            ..narrow()
        });
        let tokens = fill(&mut world);
        if policy == OutgoingPolicy::Refuse {
            let refused = world.queue(publish("late", QoS::AtLeastOnce), MessageTerms::default());
            let full = PublishRefusal::QueueFull {
                limit: 10,
                unit: "messages",
            };
            assert_eq!(refused.unwrap_err(), full);
            continue;
        }
        world.store.row_mut(Direction::Sent).lags = true; // so none is fetched meanwhile
        for payload in ["a", "b", "c"] {
            queue_on(&mut world, "t", payload, MessageTerms::default());
        }
        for token in &tokens[..3] {
            assert_eq!(world.ends[token], CallEnd::Completed(Outcome::Dropped));
        }
        assert_eq!(world.distant(), 7, "the third was distant");
        world.store.keep_up();
        let expected = [&PAYLOADS[3..], &["a", "b", "c"]].concat();
        assert_eq!(send_all(&mut world), expected);
        world.end();
    }
}

#[test]
fn a_newer_message_takes_the_place_of_a_distant_one() {
    let mut world = offline(narrow());
    let latest = MessageTerms {
        keep_latest: true,
        ..MessageTerms::default()
    };
    let mut tokens = PAYLOADS.map(|payload| queue_on(&mut world, payload, payload, latest));
    tokens[5] = {
        let before = tokens[5];
        let newer = queue_on(&mut world, "5", "newer", latest);
        assert_eq!(world.ends[&before], CallEnd::Completed(Outcome::Replaced));
        newer
    };
    assert_eq!(world.engine.queued().0, 10);
    let came = send_all(&mut world);
    assert_eq!(came, ["0", "1", "2", "3", "4", "6", "7", "8", "9", "newer"]);
    assert!(tokens.iter().all(|token| is_acknowledged(&world, *token)));
    world.end();
}

#[test]
fn a_distant_message_expires_in_time_with_its_outcome() {
    let mut world = offline(narrow());
    let within = |milliseconds| MessageTerms {
        expires_in: Some(Duration::from_millis(milliseconds)),
        keep_latest: false,
    };
    let tokens = [60_000, 60_000, 9_000, 1_250, 60_000, 3_000]
        .map(|limit| queue_on(&mut world, "t", "x", within(limit)));
    assert_eq!(world.distant(), 4);
    let begun = world.now;
    let mut expired = Vec::new();
    while expired.len() < 3 {
        world.now = world.engine.deadline().unwrap();
        assert!(world.now < begun + Duration::from_secs(10));
        world.engine.on_time(world.now);
        world.run();
        let ends = &world.ends;
        let ended = (tokens.iter().enumerate()).filter(|(_, token)| ends.contains_key(token));
        for (at, token) in ended {
            assert_eq!(ends[token], CallEnd::Completed(Outcome::Expired));
            if !expired.iter().any(|(before, _)| *before == at) {
                expired.push((at, (world.now - begun).as_millis()));
            }
        }
    }
    assert_eq!(
        expired.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
        [3, 5, 2]
    );
    for ((_, at), limit) in expired.iter().zip([1_250, 3_000, 9_000]) {
        assert!((limit..=limit + 100).contains(at), "at {at}, not {limit}");
    }
    assert_eq!(world.engine.queued().0, 3);
    world.end();
}

#[test]
fn a_distant_message_is_dropped_and_released_by_its_key() {
    let mut world = offline(narrow());
    fill(&mut world);
    let keys: Vec<_> = world.engine.distant_messages().collect();
    let released = world.engine.release_queued(keys[3]).unwrap();
    world.back(&released);
    assert!(world.engine.holds_outgoing(keys[3]));
    assert!(world.engine.drop_queued(keys[3]));
    assert!(!world.engine.holds_outgoing(keys[3]));
    assert!(!world.engine.drop_queued(keys[3]));
    world.run();
    assert_eq!(world.ended(), [(keys[3], Outcome::Dropped)]);
    assert_eq!(world.distant(), 7);
    world.end();
}

#[test]
fn a_distant_message_that_the_store_has_lost_ends_and_those_behind_it_are_sent() {
    let mut world = offline(narrow());
    let tokens = fill(&mut world);
    let keys: Vec<_> = world.engine.distant_messages().collect();
    world.damaged.insert(keys[3]);
    let mut expected = PAYLOADS.to_vec();
    expected.remove(5);
    assert_eq!(send_all(&mut world), expected);
    let lost = CallEnd::NotStored { key: keys[3] };
    assert_eq!(world.ends[&tokens[5]], lost);
    assert_eq!(world.engine.queued(), (0, 0));
    world.end();
}

#[test]
fn a_store_that_fails_for_good_keeps_what_is_distant_for_the_next_engine() {
    let mut world = offline(OutgoingQueueOptions {
        failure_is_final: true,
        ..narrow()
    });
    let tokens = fill(&mut world);
    let keys: Vec<_> = world.engine.distant_messages().collect();
    world.store.row_mut(Direction::Sent).lags = true;
    let fresh = queue_on(&mut world, "t", "fresh", MessageTerms::default());
    world.fail_store(Direction::Sent);
    world.run();
    for (token, key) in tokens[2..].iter().zip(keys) {
        assert_eq!(world.ends[token], CallEnd::Kept { key });
    }
    // QoS 1 needs no store.
    assert_eq!(send_all(&mut world), ["0", "1", "fresh"]);
    assert!(is_acknowledged(&world, fresh));
    assert!(!(world.facts.iter()).any(|it| matches!(it, Fact::MessageEnded { .. })));
    world.store.keep_up();
    world.unreachable = true;
    world.crash();
    assert_eq!(world.distant(), 10, "the ends are not on record either");
    world.end();
}

#[test]
fn while_a_store_is_to_come_back_what_is_distant_waits() {
    let mut world = offline(narrow());
    let tokens = fill(&mut world);
    world.fail_store(Direction::Sent);
    assert_eq!(send_all(&mut world), ["0", "1"]);
    assert_eq!(world.distant(), 8);
    world.mend_store(Direction::Sent);
    let mut observer = Observer::new(&mut world.broker, world.now, "#");
    world.pass(Duration::from_secs(1));
    assert_eq!(
        observer.observe(&mut world.broker, world.now),
        PAYLOADS[2..]
    );
    assert!(tokens.iter().all(|token| is_acknowledged(&world, *token)));
    world.end();
}

#[test]
fn after_a_crash_all_is_distant_and_sent_in_its_order() {
    let mut world = offline(narrow());
    fill(&mut world);
    world.store.row_mut(Direction::Sent).lags = true;
    world.crash();
    assert_eq!(world.distant(), 10);
    assert_eq!(world.engine.queued().0, 10);
    world.store.keep_up();
    assert_eq!(send_all(&mut world), PAYLOADS);
    assert_eq!(world.ended().len(), 10);
    world.end();
}

#[test]
fn without_a_window_nothing_is_distant() {
    let mut world = offline(OutgoingQueueOptions {
        window: OutgoingLimits::NONE,
        ..narrow()
    });
    for payload in PAYLOADS {
        queue_on(&mut world, "t", payload, MessageTerms::default());
    }
    assert_eq!(world.distant(), 0);
    assert!(world.engine.next_fetch().is_empty());
    world.end();
}
