//! The outgoing queue: accepted in any phase, published in order and a few at a time, each message with one end.

use std::time::Duration;

use ferromqtt_engine::{CallEnd, Goodbye, MessageTerms, OutgoingQueueOptions, PublishRefusal};
use ferromqtt_proto::{
    CleanStart, InvalidPublish, Options, Outcome, OutgoingLimits, Properties, Publish, QoS,
    ReasonCode, Reconnect,
};
use ferromqtt_testing::BrokerOptions;

use crate::observer::Observer;
use crate::world::{World, options, publish};

/// A session that the server keeps, and a store.
fn durable() -> Options {
    let mut options = options();
    options.clean_start = CleanStart::Never;
    options.properties.session_expiry_interval = Some(3_600);
    options.journal = true;
    options
}

fn patient(mut options: Options) -> Options {
    options.reconnect = Some(Reconnect {
        initial: true,
        ..Reconnect::default()
    });
    options
}

const fn limits(messages: usize) -> OutgoingLimits {
    OutgoingLimits {
        messages: Some(messages),
        bytes: None,
    }
}

fn bounded(limit: usize, ahead: usize) -> OutgoingQueueOptions {
    OutgoingQueueOptions {
        limits: limits(limit),
        ahead: limits(ahead),
        ..OutgoingQueueOptions::default()
    }
}

const fn within(limit: Duration) -> MessageTerms {
    MessageTerms {
        expires_in: Some(limit),
        keep_latest: false,
    }
}

fn queue(world: &mut World<false>, payload: &'static str) -> (u32, u64) {
    world
        .queue(publish(payload, QoS::AtLeastOnce), MessageTerms::default())
        .unwrap()
}

fn is_acknowledged(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Acknowledged { .. })
}

fn was_acknowledged(world: &World<false>, token: u32) -> bool {
    matches!(&world.ends[&token], CallEnd::Completed(outcome) if is_acknowledged(outcome))
}

#[test]
fn messages_are_accepted_in_every_phase_and_published_in_order() {
    let mut world =
        World::<false>::with_all(patient(options()), BrokerOptions::default(), false, false);
    let mut observer = Observer::new(&mut world.broker, world.now, "t");
    world.unreachable = true;
    let before = queue(&mut world, "before");
    world.run();
    let waiting = queue(&mut world, "waiting");
    world.unreachable = false;
    world.pass(Duration::from_secs(100));
    let connected = queue(&mut world, "connected");
    world.run();
    world.unreachable = true;
    world.lose();
    world.run();
    let lost = queue(&mut world, "lost");
    world.run();
    assert_eq!(world.engine.queued().0, 1);
    world.unreachable = false;
    world.pass(Duration::from_secs(100));
    let all = [before, waiting, connected, lost];
    assert!(all.is_sorted_by_key(|(_, key)| *key));
    assert_eq!(world.order, all.map(|(token, _)| token));
    assert!(
        all.iter()
            .all(|(token, _)| was_acknowledged(&world, *token))
    );
    let observed = observer.observe(&mut world.broker, world.now);
    assert_eq!(observed, ["before", "waiting", "connected", "lost"]);
    world.end();
}

#[test]
fn an_engine_that_is_started_again_accepts_between_two_connections() {
    let mut world = World::<false>::restarting(options());
    world.engine.drain(world.now, None);
    world.run();
    assert!(world.engine.has_ended());
    let (token, _) = queue(&mut world, "between");
    world.run();
    assert!(world.ends.is_empty());
    world.engine.start(world.now);
    world.run();
    assert!(was_acknowledged(&world, token));
    world.end();
}

#[test]
fn the_core_has_never_more_than_the_mark() {
    let mut world = World::<false>::connected(options());
    world.engine.open_outgoing_queue(bounded(100, 3), []);
    world.silent = true;
    for _ in 0..10 {
        queue(&mut world, "m");
    }
    world.run();
    assert_eq!(world.engine.queued().0, 10);
    assert_eq!(world.engine.core().stats().outgoing, 3);
    world.silent = false;
    world.run();
    assert_eq!(world.engine.core().stats().acknowledged, 10);
    assert_eq!(world.engine.queued().0, 0);
    world.end();
}

/// One that is larger than the mark goes alone.
#[test]
fn the_mark_counts_bytes_too() {
    let mut world = World::<false>::connected(options());
    let ahead = OutgoingLimits {
        messages: None,
        bytes: Some(100),
    };
    let options = OutgoingQueueOptions {
        ahead,
        ..OutgoingQueueOptions::default()
    };
    world.engine.open_outgoing_queue(options, []);
    world.silent = true;
    queue(&mut world, "1");
    queue(&mut world, "2");
    world.run();
    assert_eq!(world.engine.core().stats().outgoing, 1);
    world.silent = false;
    world.run();
    assert_eq!(world.engine.core().stats().acknowledged, 2);
    world.end();
}

/// The outgoing queue leaves the capacity of other messages to them.
#[test]
fn other_messages_do_not_wait_behind_the_queue() {
    let mut world = World::<false>::connected(options());
    world.engine.open_outgoing_queue(bounded(100, 1), []);
    world.silent = true;
    queue(&mut world, "1");
    let (waits, _) = queue(&mut world, "2");
    world.run();
    let (other, _) = world.publish_qos1("other");
    world.run();
    world.silent = false;
    world.run();
    let place = |token| world.order.iter().position(|it| *it == token);
    assert!(place(other) < place(waits));
    world.end();
}

#[test]
fn a_full_queue_refuses_and_says_what_of() {
    let mut world = World::<false>::new(options());
    world.engine.open_outgoing_queue(bounded(2, 1), []);
    let full = |world: &mut World<false>, limit, unit| {
        let refusal = world.queue(publish("more", QoS::AtMostOnce), MessageTerms::default());
        let error = InvalidPublish::QueueFull { limit, unit };
        assert_eq!(refusal, Err(error.into()));
    };
    let second = Duration::from_secs(1);
    let brief = publish("1", QoS::AtLeastOnce);
    let (brief, _) = world.queue(brief, within(second)).unwrap();
    queue(&mut world, "2");
    full(&mut world, 2, "messages");
    world.now += second; // what is over takes no capacity
    queue(&mut world, "3");
    world.take_woken();
    assert_eq!(world.ends[&brief], CallEnd::Completed(Outcome::Expired));
    full(&mut world, 2, "messages");
    let bytes = publish("12", QoS::AtMostOnce).memory_size() + 1;
    let options = OutgoingQueueOptions {
        limits: OutgoingLimits {
            messages: None,
            bytes: Some(bytes),
        },
        ..OutgoingQueueOptions::default()
    };
    let mut world = World::<false>::new(crate::world::options());
    world.engine.open_outgoing_queue(options, []);
    queue(&mut world, "12");
    full(&mut world, bytes, "bytes");
    world.end();
}

#[test]
fn what_cannot_be_sent_is_refused_at_once_or_ends_by_itself() {
    let mut limits = BrokerOptions::default();
    limits.maximum_qos = QoS::AtMostOnce;
    let mut world = World::<false>::with(options(), limits, false);
    let (early, _) = queue(&mut world, "early");
    let (fits, _) = world
        .queue(publish("fits", QoS::AtMostOnce), MessageTerms::default())
        .unwrap();
    world.run();
    let end = &world.ends[&early];
    let not_possible = matches!(end, CallEnd::Completed(Outcome::NotPossible(_)));
    assert!(not_possible, "{end:?}");
    assert_eq!(world.ends[&fits], CallEnd::Completed(Outcome::Sent));
    let refused = world.queue(publish("late", QoS::AtLeastOnce), MessageTerms::default());
    let error = InvalidPublish::QosNotSupported {
        maximum: 0,
        whose: "the server",
    };
    assert_eq!(refused, Err(error.into()));
    world.end();
}

#[test]
fn what_has_waited_too_long_ends_and_is_never_sent() {
    let mut world =
        World::<false>::with_all(patient(options()), BrokerOptions::default(), false, false);
    let mut observer = Observer::new(&mut world.broker, world.now, "t");
    world.unreachable = true;
    let limit = Duration::from_secs(30);
    let limited = publish("local limit", QoS::AtLeastOnce);
    let (limited, _) = world.queue(limited, within(limit)).unwrap();
    let mut interval = publish("interval", QoS::AtMostOnce);
    interval.properties = Some(Box::new(Properties {
        message_expiry_interval: Some(40),
        ..Properties::default()
    }));
    let (interval, key) = world.queue(interval, MessageTerms::default()).unwrap();
    let (lasts, _) = queue(&mut world, "lasts");
    world.pass(limit - Duration::from_millis(1));
    assert!(world.ends.is_empty());
    world.pass(Duration::from_millis(1));
    assert_eq!(world.ends[&limited], CallEnd::Completed(Outcome::Expired));
    let token = world.engine.release_queued(key).unwrap();
    assert_eq!(token.0, interval);
    world.back(&token);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.ended(), [(key, Outcome::Expired)]);
    world.unreachable = false;
    world.pass(Duration::from_secs(100));
    assert!(was_acknowledged(&world, lasts));
    assert_eq!(observer.observe(&mut world.broker, world.now), ["lasts"]);
    world.end();
}

#[test]
fn a_caller_that_stops_waiting_leaves_the_message_in_the_queue() {
    let mut world = World::<false>::connected(options());
    world.silent = true;
    let (token, key) = queue(&mut world, "1");
    let (second, second_key) = queue(&mut world, "2");
    world.run();
    let released = world.engine.release_queued(key).unwrap();
    assert_eq!(released.0, token);
    world.back(&released);
    assert!(
        world.engine.release_queued(key).is_none(),
        "it has come back"
    );
    let gone = world.engine.release_callers(|token| token.0 == second);
    assert_eq!(gone.len(), 1);
    world.back(&gone[0]);
    world.silent = false;
    world.run();
    let ended = world.ended();
    assert_eq!(ended.len(), 2);
    let keys = ended.iter().map(|(key, _)| *key);
    assert!(keys.eq([key, second_key]));
    assert!(ended.iter().all(|(_, outcome)| is_acknowledged(outcome)));
    world.end();
}

#[test]
fn draining_and_leaving_wait_for_all_that_the_queue_holds() {
    for leaves in [false, true] {
        let mut world = World::<false>::connected(options());
        world.engine.open_outgoing_queue(bounded(100, 2), []);
        let tokens: Vec<_> = (0..7).map(|_| queue(&mut world, "m").0).collect();
        let until = world.after(60);
        if leaves {
            let reason = ReasonCode::Success;
            let gone = (world.engine).leave(world.now, reason, until, |_| false);
            assert!(gone.is_empty());
        } else {
            world.engine.drain(world.now, until);
        }
        let late = world.queue(publish("late", QoS::AtLeastOnce), MessageTerms::default());
        assert!(late.is_err());
        world
            .publish(&publish("late", QoS::AtLeastOnce), None)
            .unwrap_err();
        world
            .publish(&publish("late", QoS::AtMostOnce), None)
            .unwrap_err();
        world.run();
        assert!(tokens.iter().all(|token| was_acknowledged(&world, *token)));
        assert!(world.engine.has_ended());
        assert_eq!(world.engine.undone(), ferromqtt_engine::Undone::default());
        world.end();
    }
}

#[test]
fn what_is_not_published_in_time_is_kept_and_counted() {
    for leaves in [false, true] {
        let mut world = World::<false>::connected(options());
        world.engine.open_outgoing_queue(bounded(100, 2), []);
        world.silent = true;
        let messages: Vec<_> = (0..5).map(|_| queue(&mut world, "m")).collect();
        world.run();
        let until = world.after(2);
        if leaves {
            let reason = ReasonCode::Success;
            (world.engine).leave(world.now, reason, until, |_| false);
        } else {
            world.engine.drain(world.now, until);
        }
        world.pass(Duration::from_secs(60));
        assert!(world.engine.has_ended());
        for (token, key) in messages {
            assert_eq!(world.ends[&token], CallEnd::Kept { key });
        }
        if !leaves {
            let undone = world.engine.undone();
            assert_eq!((undone.not_sent, undone.unknown), (3, 2));
        }
        let refused = world.queue(publish("late", QoS::AtLeastOnce), MessageTerms::default());
        assert!(matches!(refused, Err(PublishRefusal::Disconnected { .. })));
        world.end();
    }
}

/// A connection that is lost meanwhile is not waited for.
#[test]
fn leaving_without_a_connection_keeps_what_is_in_the_queue() {
    let mut world = World::<false>::connected(patient(options()));
    world.engine.open_outgoing_queue(bounded(100, 1), []);
    world.silent = true;
    let messages = [queue(&mut world, "1"), queue(&mut world, "2")];
    world.run();
    (world.engine).leave(world.now, ReasonCode::Success, None, |_| false);
    world.run();
    assert!(!world.engine.has_ended());
    world.lose();
    world.run();
    assert!(world.engine.has_ended());
    for (token, key) in messages {
        assert_eq!(world.ends[&token], CallEnd::Kept { key });
    }
    world.end();
}

#[test]
fn what_ends_after_a_restart_is_reported_by_its_key_and_sent_once() {
    for crashes in [false, true] {
        let mut world = World::<false>::connected(durable());
        world.store.queue = bounded(100, 3);
        world.engine.open_outgoing_queue(bounded(100, 3), []);
        let mut observer = Observer::new(&mut world.broker, world.now, "t");
        let mut keys = Vec::new();
        world.silent = true;
        for payload in ["1", "2", "3", "4", "5"] {
            let message = publish(payload, QoS::ExactlyOnce);
            keys.push(world.queue(message, MessageTerms::default()).unwrap().1);
            world.run();
        }
        match crashes {
            true => world.crash(),
            false => world.restart(),
        }
        assert_eq!(world.engine.queued().0, 5);
        let later = publish("6", QoS::ExactlyOnce);
        let (later, later_key) = world.queue(later, MessageTerms::default()).unwrap();
        assert!(later_key > keys[4]);
        world.silent = false;
        world.run();
        let ended = world.ended();
        assert!(ended.iter().map(|(key, _)| key).eq(&keys), "{ended:?}");
        assert!(ended.iter().all(|(_, outcome)| is_acknowledged(outcome)));
        assert!(was_acknowledged(&world, later));
        let observed = observer.observe(&mut world.broker, world.now);
        assert_eq!(observed, ["1", "2", "3", "4", "5", "6"]);
        world.end();
    }
}

/// An answer that was read, and that nobody has asked about, is one that came, or none that did.
#[test]
fn a_process_that_ends_between_an_answer_and_its_outcome_loses_neither() {
    for crashes in [false, true] {
        let mut world = World::<false>::connected(durable());
        let mut observer = Observer::new(&mut world.broker, world.now, "t");
        let message = publish("1", QoS::ExactlyOnce);
        let (token, key) = world.queue(message, MessageTerms::default()).unwrap();
        world.run_while_silent();
        world.serve(); // PUBREC
        if !crashes {
            world.run_while_silent();
            world.serve(); // PUBCOMP
            world.restart();
            assert!(was_acknowledged(&world, token));
            assert_eq!(world.engine.queued().0, 0);
        } else {
            world.crash();
            assert_eq!(world.engine.queued().0, 1);
            world.run();
            let ended = world.ended();
            assert!(ended.len() == 1 && ended[0].0 == key, "{ended:?}");
            assert!(!world.ends.contains_key(&token), "its process has ended");
        }
        world.run();
        assert_eq!(observer.observe(&mut world.broker, world.now), ["1"]);
        world.end();
    }
}

/// MQTT-4.4.0-2: a refusal ends a message for good, also when nobody has waited for it.
#[test]
fn a_refusal_is_reported_after_a_restart() {
    let reason = ReasonCode::NotAuthorized;
    let mut denying = BrokerOptions::default();
    let topic = "t".try_into().unwrap();
    denying.deny_publish(topic, reason).unwrap();
    let mut world = World::<false>::with(durable(), denying, false);
    world.run();
    let (_, key) = queue(&mut world, "1");
    world.silent = true;
    world.run();
    world.crash();
    world.silent = false;
    world.run();
    let ended = world.ended();
    assert!(
        matches!(&ended[..], [(ended, Outcome::Refused { reason: code, .. })] if *ended == key && *code == reason),
        "{ended:?}"
    );
    world.crash();
    world.run();
    assert_eq!(world.ended(), []);
    assert_eq!(world.engine.queued().0, 0);
    world.end();
}

/// Keys stay larger than any before, also when the core is replaced.
#[test]
fn messages_of_before_the_first_start_survive_new_options() {
    let mut world = World::<false>::restarting(options());
    (world.engine).disconnect(world.now, Goodbye::Asked, ReasonCode::Success, None);
    world.run();
    let (first, first_key) = queue(&mut world, "1");
    let of_engine = ferromqtt_engine::EngineOptions {
        disconnect_timeout: Duration::from_secs(5),
        ends_session: false,
        authenticates: false,
        restarts: true,
    };
    let session = ferromqtt_proto::Session::default();
    let former = (world.engine).configure(options(), session, 9, of_engine);
    drop(former.unwrap());
    let (second, second_key) = queue(&mut world, "2");
    assert!(second_key > first_key);
    world.engine.start(world.now);
    world.run();
    assert!(was_acknowledged(&world, first) && was_acknowledged(&world, second));
    world.end();
}

/// A garbage collector finds the tokens, and takes them out.
#[test]
fn the_tokens_of_the_queue_can_be_looked_at_and_taken() {
    let mut world = World::<false>::new(options());
    let (token, key) = queue(&mut world, "1");
    let held: Vec<_> = world.engine.held_calls().map(|token| token.0).collect();
    assert_eq!(held, [token]);
    let (calls, _) = world.engine.take_held();
    assert_eq!(calls.len(), 1);
    world.back(&calls[0]);
    world.run();
    let ended = world.ended();
    assert_eq!(ended[0].0, key);
    world.end();
}

/// What a message counts is its memory.
#[test]
fn the_queue_tells_how_full_it_is() {
    let mut world = World::<false>::new(options());
    assert_eq!(world.engine.queued(), (0, 0));
    let message: Publish = publish("1", QoS::AtLeastOnce);
    let size = message.memory_size();
    world.queue(message, MessageTerms::default()).unwrap();
    assert_eq!(world.engine.queued(), (1, size));
    world.end();
}
