//! What the server refuses to unsubscribe: a caller learns it, or a fact reports it.

use std::time::Duration;

use ferromqtt_engine::{Awaited, CallEnd, Fact, FilterAnswer, SubscribeError};
use std::num::NonZeroU32;

use ferromqtt_proto::{
    InvalidSubscribe, Properties, QoS, QueueOptions, ReasonCode, Reconnect, ServerProfile,
    Subscribe,
};
use ferromqtt_testing::BrokerOptions;

use crate::world::{World, options, unsubscribe};

/// Plays `ask`, which sends an UNSUBSCRIBE for "t" as the packet 2, and refuses it. Returns what is reported.
fn refused(world: &mut World, ask: impl FnOnce(&mut World)) -> Vec<(String, ReasonCode)> {
    world.silent = true;
    ask(world);
    world.run();
    let wire = world.wire.as_mut().expect("there is a connection");
    wire.input.extend_from_slice(b"\xb0\x04\x00\x02\x00\x87");
    world.run();
    not_unsubscribed(world)
}

/// What was reported.
fn not_unsubscribed(world: &World) -> Vec<(String, ReasonCode)> {
    let facts = world.facts.iter().filter_map(|fact| match fact {
        Fact::NotUnsubscribed { filter, refusal } => Some((filter.to_string(), refusal.reason())),
        _ => None,
    });
    facts.collect()
}

/// How many subscriptions the server has.
fn subscriptions(world: &World) -> usize {
    let session = world.broker.session_stats("engine");
    session.map_or(0, |it| it.subscriptions)
}

fn subscribed() -> (World, ferromqtt_proto::QueueId) {
    let mut world = World::connected(options());
    let (queue, _) = world.subscribe("t", QueueOptions::DEFAULT);
    world.run();
    (world, queue)
}

fn one() -> Vec<(String, ReasonCode)> {
    vec![("t".into(), ReasonCode::NotAuthorized)]
}

/// Section 3.11.3. Nobody waits for the UNSUBACK of a queue that was dropped.
#[test]
fn a_refusal_to_unsubscribe_a_dropped_queue_is_reported() {
    let (mut world, queue) = subscribed();
    let reported = refused(&mut world, |world| {
        world.engine.drop_queue(world.now, queue)
    });
    assert_eq!(reported, one());
    world.end();
}

/// Section 3.11.3.
#[test]
fn a_refusal_to_unsubscribe_is_returned_to_its_caller_and_not_reported() {
    let (mut world, _) = subscribed();
    let token = world.token();
    let name = token.0;
    let reported = refused(&mut world, |world| {
        let call = (world.engine).unsubscribe(world.now, unsubscribe("t"), None, token);
        call.unwrap();
    });
    assert_eq!(reported, []);
    let answer = answer_of(&mut world, name);
    assert_eq!(answer.results[0].reason(), ReasonCode::NotAuthorized);
    world.end();
}

/// Section 3.11.3. aiomqtt's call does not raise for it.
#[test]
fn a_refusal_to_unsubscribe_is_reported_for_a_call_that_does_not_say_so() {
    let (mut world, _) = subscribed();
    let token = world.token();
    let name = token.0;
    let reported = refused(&mut world, |world| {
        let call = (world.engine).unsubscribe_unheeded(world.now, unsubscribe("t"), None, token);
        call.unwrap();
    });
    assert_eq!(reported, one());
    assert_eq!(answer_of(&mut world, name).results.len(), 1);
    world.end();
}

/// Section 3.11.3. The call has ended before the answer.
#[test]
fn a_refusal_to_unsubscribe_is_reported_when_its_caller_waits_no_longer() {
    for (unheeded, gives_up) in [(false, false), (false, true), (true, false), (true, true)] {
        let (mut world, _) = subscribed();
        let token = world.token();
        let reported = refused(&mut world, |world| {
            let deadline = world.after(1);
            let (now, engine) = (world.now, &mut world.engine);
            let call = match unheeded {
                true => engine.unsubscribe_unheeded(now, unsubscribe("t"), deadline, token),
                false => engine.unsubscribe(now, unsubscribe("t"), deadline, token),
            };
            let call = call.unwrap();
            world.run();
            match gives_up {
                true => assert!(world.give_up(call)),
                false => world.pass(Duration::from_secs(2)),
            }
        });
        assert_eq!(
            reported,
            one(),
            "unheeded: {unheeded}, gives up: {gives_up}"
        );
        world.end();
    }
}

/// A world whose broker takes packets of 256 bytes, with a queue that has these filters.
fn small_packets(names: &[String]) -> (World, ferromqtt_proto::QueueId) {
    let mut options = options();
    options.reconnect = Some(Reconnect::default()); // accepted before there is a connection
    options.profile = Some(ServerProfile::AwsIot);
    options.keep_alive = 60;
    let mut broker = BrokerOptions::default();
    broker.maximum_packet_size = NonZeroU32::new(256).unwrap();
    let mut world = World::with(options, broker, false);
    let queue = subscribe_all(&mut world, names);
    (world, queue)
}

/// Subscribes to all of them for a queue of their own.
fn subscribe_all(world: &mut World, names: &[String]) -> ferromqtt_proto::QueueId {
    let queue = world.engine.open_queue(QueueOptions::DEFAULT);
    let subscribe = Subscribe {
        filters: (names.iter())
            .map(|name| (name.as_str().try_into().unwrap(), QoS::AtLeastOnce.into()))
            .collect(),
        properties: Properties::default(),
        queue,
    };
    let token = world.token();
    let now = world.now;
    (world.engine.subscribe(now, subscribe, None, token)).unwrap();
    world.run();
    queue
}

fn names(count: usize) -> Vec<String> {
    let name = |number| format!("{}/{number}", "x".repeat(30));
    (0..count).map(name).collect()
}

/// MQTT-3.2.2-15: what was subscribed by several packets is unsubscribed by several.
#[test]
fn a_dropped_queue_leaves_no_subscription_whatever_the_number_of_its_filters() {
    let (mut world, queue) = small_packets(&names(200));
    assert_eq!(subscriptions(&world), 200);
    world.engine.drop_queue(world.now, queue);
    world.run();
    assert_eq!(subscriptions(&world), 0);
    assert!(world.engine.is_connected());
    world.end();
}

/// MQTT-3.2.2-15: the server that resumes the session cannot be asked about one of the filters, and is about the others.
#[test]
fn a_filter_that_is_too_long_to_be_unsubscribed_is_reported() {
    let mut options = options();
    options.reconnect = Some(Reconnect::default());
    options.properties.session_expiry_interval = Some(3_600);
    let mut world: World = World::connected(options);
    let long = "y".repeat(100);
    let queue = subscribe_all(&mut world, &[long.clone(), "a".into(), "b".into()]);
    world.lose();
    world.silent = true;
    world.pass(Duration::from_secs(5));
    let wire = world.wire.as_mut().expect("there is a connection");
    let small_packets = b"\x20\x08\x01\x00\x05\x27\x00\x00\x00\x40";
    wire.input.extend_from_slice(small_packets);
    world.run();
    assert!(world.engine.is_connected());
    world.engine.drop_queue(world.now, queue);
    world.run();
    assert_eq!(
        not_unsubscribed(&world),
        [(long, ReasonCode::PacketTooLarge)]
    );
    assert_eq!(subscriptions(&world), 1, "the others are not subscribed");
    world.end();
}

/// MQTT-3.2.2-15. The call fails, so there is nothing to report beside: also for a call that does not heed what the server
/// refuses.
#[test]
fn a_call_to_unsubscribe_that_becomes_impossible_fails_and_is_not_reported() {
    for unheeded in [false, true] {
        let mut options = options();
        options.reconnect = Some(Reconnect::default());
        options.properties.session_expiry_interval = Some(3_600);
        let mut world: World = World::connected(options);
        let long = "y".repeat(100);
        subscribe_all(&mut world, std::slice::from_ref(&long));
        world.lose();
        world.silent = true;
        let token = world.token();
        let name = token.0;
        let (now, engine) = (world.now, &mut world.engine);
        let call = match unheeded {
            true => engine.unsubscribe_unheeded(now, unsubscribe(&long), None, token),
            false => engine.unsubscribe(now, unsubscribe(&long), None, token),
        };
        call.unwrap();
        world.pass(Duration::from_secs(5));
        let wire = world.wire.as_mut().expect("there is a connection");
        let small_packets = b"\x20\x08\x01\x00\x05\x27\x00\x00\x00\x40";
        wire.input.extend_from_slice(small_packets);
        world.run();
        let end: CallEnd = world.ends.remove(&name).expect("the call has ended");
        let error = end.answered(Awaited::UnsubAck, Duration::ZERO).unwrap_err();
        assert!(
            matches!(
                error,
                SubscribeError::Invalid(InvalidSubscribe::TooLarge { .. })
            ),
            "unheeded: {unheeded}: {error:?}"
        );
        assert_eq!(not_unsubscribed(&world), [], "unheeded: {unheeded}");
        world.end();
    }
}

/// Section 3.11.3: the messages go on to come, so their reader waits for them.
#[test]
fn the_reader_of_a_queue_whose_unsubscribe_is_refused_goes_on() {
    let (mut world, queue) = subscribed();
    let token = world.token();
    let reader = token.0;
    world.engine.wait(queue, |_| token);
    let token = world.token();
    refused(&mut world, |world| {
        let call = (world.engine).unsubscribe(world.now, unsubscribe("t"), None, token);
        call.unwrap();
        world.run();
        assert!(!world.engine.is_over(queue), "the server may refuse");
    });
    assert!(!world.engine.is_over(queue));
    assert!(world.readers.is_empty());
    let token = world.token();
    world.silent = false;
    let call = (world.engine).unsubscribe(world.now, unsubscribe("t"), None, token);
    call.unwrap();
    world.run();
    assert!(world.engine.is_over(queue));
    assert_eq!(world.readers, [reader]);
    world.end();
}

fn answer_of(world: &mut World, token: u32) -> FilterAnswer {
    let end: CallEnd = world.ends.remove(&token).expect("the call has ended");
    end.answered(Awaited::UnsubAck, Duration::ZERO).unwrap()
}
