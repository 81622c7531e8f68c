//! Which filters of a lasting subscription each start asks for, and whose answers are noted for which.

use std::time::Duration;

use ferromqtt_engine::{CallEnd, CallId, Fact, Goodbye, QueueEnd};
use ferromqtt_proto::{
    Delivery, FilterRefusal, InvalidSubscribe, Options, Outcome, ProtocolVersion, QueueId,
    QueueOptions, ReasonCode, ServerProfile, TopicFilter, Unsubscribe,
};
use ferromqtt_testing::BrokerOptions;

use crate::lasting::{start_again, subscribe, terms};
use crate::world::{World, options, unsubscribe};

fn subscribed(world: &World<true>, queue: QueueId) -> Vec<String> {
    let filters = world.engine.core().filters(queue);
    let mut filters: Vec<_> = filters.map(ToString::to_string).collect();
    filters.sort();
    filters
}

fn answer(world: &World<true>, queue: QueueId) -> Vec<(String, ReasonCode)> {
    let answer = world.engine.answer_of(queue).into_iter();
    answer
        .map(|(filter, reason)| (filter.to_string(), reason))
        .collect()
}

fn not_subscribed(world: &World<true>) -> Vec<(String, ReasonCode)> {
    let facts = world.facts.iter().filter_map(|fact| match fact {
        Fact::NotSubscribed { filter, refusal } => Some((filter.to_string(), refusal.reason())),
        _ => None,
    });
    facts.collect()
}

fn declare(world: &mut World<true>, filters: &[&str]) -> QueueId {
    let queue = world.engine.open_queue(QueueOptions::DEFAULT);
    world
        .engine
        .declare_lasting(world.now, terms(queue, filters));
    queue
}

/// Has an UNSUBSCRIBE accepted, and returns its token and its call.
fn leave(world: &mut World<true>, filter: &str) -> (u32, CallId) {
    let token = world.token();
    let number = token.0;
    let call = (world.engine).unsubscribe(world.now, unsubscribe(filter), None, token);
    (number, call.unwrap())
}

fn is_refused(world: &mut World<true>, unsubscribe: Unsubscribe) -> bool {
    let token = world.token();
    match (world.engine).unsubscribe(world.now, unsubscribe, None, token) {
        Ok(_) => false,
        Err((token, _)) => {
            world.back(&token);
            true
        }
    }
}

fn denying(filter: &str, options: Options) -> World<true> {
    let mut broker = BrokerOptions::default();
    let filter = filter.try_into().unwrap();
    broker
        .deny_subscribe(filter, ReasonCode::NotAuthorized)
        .unwrap();
    World::with_all(options, broker, false, true)
}

fn pair(filter: &str, reason: ReasonCode) -> (String, ReasonCode) {
    (filter.into(), reason)
}

#[test]
fn answers_are_of_the_filters_that_were_asked_for_also_when_some_are_unsubscribed_meanwhile() {
    for denied in ["a", "b", "c"] {
        let mut world = denying(denied, options());
        world.run();
        let queue = declare(&mut world, &["a", "b", "c"]);
        leave(&mut world, "a");
        world.run();
        let expected = ["b", "c"].map(|filter| match filter == denied {
            true => pair(filter, ReasonCode::NotAuthorized),
            false => pair(filter, ReasonCode::GrantedQos1),
        });
        assert_eq!(answer(&world, queue), expected, "{denied} is denied");
        let refused = expected.into_iter().filter(|(_, it)| it.is_error());
        let refused: Vec<_> = refused.collect();
        assert_eq!(not_subscribed(&world), refused, "{denied} is denied");
        world.end();
    }
}

#[test]
fn a_subscription_is_over_when_all_was_unsubscribed_before_the_server_could_answer() {
    let mut world = World::<true>::restarting(options());
    let queue = declare(&mut world, &["a"]);
    world.run_while_silent();
    leave(&mut world, "a");
    start_again(&mut world);
    assert!(world.engine.is_over(queue));
    world.end();
}

/// Section 4.10: a responder that was opened before the connection, which turns out to have 3.1.1.
#[test]
fn a_declared_responder_ends_on_a_connection_of_3_1_1() {
    let mut options = options();
    options.fall_back = true;
    let mut broker = BrokerOptions::default();
    broker.refused_versions = vec![ProtocolVersion::V5];
    let mut world = World::<true>::with_all(options, broker, false, true);
    let queue = world.engine.open_request_queue(QueueOptions::DEFAULT);
    let declared = terms(queue, &["square"]);
    world.engine.declare_lasting(world.now, declared);
    world.run();
    world.pass(Duration::ZERO);
    assert!(world.engine.is_connected());
    let filter = TopicFilter::new("square").unwrap();
    let refusal = FilterRefusal::NotAsked(InvalidSubscribe::NoRequests);
    assert_eq!(
        world.engine.end_of(queue),
        Some(QueueEnd::Refused { filter, refusal })
    );
    assert_eq!(
        not_subscribed(&world),
        [pair("square", ReasonCode::UnspecifiedError)]
    );
    world.end();
}

#[test]
fn what_could_not_be_unsubscribed_without_a_connection_is_subscribed_again() {
    let mut world = World::<true>::restarting(options());
    let (queue, _) = subscribe(&mut world, &["t"]);
    world.run();
    world.lose();
    world.run();
    assert!(is_refused(&mut world, unsubscribe("t")));
    start_again(&mut world);
    assert_eq!(subscribed(&world, queue), ["t"]);
    world.end();
}

#[test]
fn what_was_to_be_unsubscribed_by_a_packet_too_large_is_subscribed_again() {
    let mut broker = BrokerOptions::default();
    broker.maximum_packet_size = 200.try_into().unwrap();
    let mut world = World::<true>::with_all(options(), broker, false, true);
    world.run();
    let (queue, _) = subscribe(&mut world, &["t"]);
    world.run();
    let mut too_large = unsubscribe("t");
    let long = "x".repeat(250);
    too_large.filters.push(long.as_str().try_into().unwrap());
    assert!(is_refused(&mut world, too_large));
    start_again(&mut world);
    assert_eq!(subscribed(&world, queue), ["t"]);
    world.end();
}

/// Section 3.11.3.
#[test]
fn what_the_server_refuses_to_unsubscribe_is_subscribed_again() {
    for gives_up in [false, true] {
        let mut world = World::<true>::restarting(options());
        let (queue, _) = subscribe(&mut world, &["t", "u"]);
        world.run();
        world.silent = true;
        let filters = ["t", "u"].map(|filter| filter.try_into().unwrap());
        let both = Unsubscribe {
            filters: filters.into(),
            ..unsubscribe("t")
        };
        let token = world.token();
        let call = (world.engine).unsubscribe(world.now, both, None, token);
        let call = call.unwrap();
        world.run();
        assert_eq!(gives_up, gives_up && world.give_up(call));
        let wire = world.wire.as_mut().expect("there is a connection");
        wire.input
            .extend_from_slice(b"\xb0\x05\x00\x02\x00\x87\x00");
        world.run();
        world.silent = false;
        start_again(&mut world);
        assert_eq!(subscribed(&world, queue), ["t"], "gives up: {gives_up}");
        world.end();
    }
}

/// One that reconnects by itself, and has lost its connection.
fn reconnecting() -> (World<true>, QueueId) {
    let mut options = options();
    options.reconnect = Some(Default::default());
    let mut world = World::<true>::restarting(options);
    let (queue, _) = subscribe(&mut world, &["t"]);
    world.run();
    world.unreachable = true;
    world.lose();
    world.run();
    assert!(!world.engine.has_ended());
    (world, queue)
}

#[test]
fn what_was_given_up_before_it_was_unsubscribed_is_subscribed_again() {
    let (mut world, queue) = reconnecting();
    let (_, call) = leave(&mut world, "t");
    world.run();
    assert!(world.give_up(call));
    end_and_start(&mut world);
    assert_eq!(subscribed(&world, queue), ["t"]);
    world.end();
}

#[test]
fn what_the_end_of_the_connection_left_subscribed_is_subscribed_again() {
    let (mut world, queue) = reconnecting();
    let (token, _) = leave(&mut world, "t");
    end_and_start(&mut world);
    assert!(matches!(
        world.ends[&token],
        CallEnd::Completed(Outcome::Disconnected {
            delivery: Delivery::NotSent,
            ..
        })
    ));
    assert_eq!(subscribed(&world, queue), ["t"]);
    world.end();
}

/// Ends an engine that reconnects, and starts it again.
fn end_and_start(world: &mut World<true>) {
    let reason = ReasonCode::Success;
    (world.engine).disconnect(world.now, Goodbye::Asked, reason, None);
    world.run();
    assert!(world.engine.has_ended());
    world.unreachable = false;
    world.engine.end_queues();
    world.run();
    world.engine.start(world.now);
    world.run();
    assert!(world.engine.is_connected());
}

#[test]
fn a_filter_that_the_profile_forbids_leaves_the_others_subscribed() {
    let mut options = options();
    options.profile = Some(ServerProfile::AwsIot);
    let mut world = World::<true>::with_all(options, BrokerOptions::default(), false, true);
    let deep = "a/b/c/d/e/f/g/h/i/j";
    let queue = declare(&mut world, &[deep, "ok"]);
    world.run();
    let refused = pair(deep, ReasonCode::TopicFilterInvalid);
    assert_eq!(not_subscribed(&world), std::slice::from_ref(&refused));
    let granted = pair("ok", ReasonCode::GrantedQos1);
    assert_eq!(answer(&world, queue), [refused, granted]);
    assert_eq!(subscribed(&world, queue), ["ok"]);
    start_again(&mut world);
    assert_eq!(subscribed(&world, queue), ["ok"], "as before");
    assert_eq!(not_subscribed(&world).len(), 2);
    world.end();
}

/// MQTT-3.2.2-14 and its like: what the server cannot do is known from CONNACK.
#[test]
fn a_filter_that_the_server_does_not_support_leaves_the_others_subscribed() {
    let mut broker = BrokerOptions::default();
    broker.shared_subscription_available = false;
    let mut world = World::<true>::with_all(options(), broker, false, true);
    let queue = declare(&mut world, &["ok", "$share/g/t"]);
    world.run();
    let reason = ReasonCode::SharedSubscriptionsNotSupported;
    let refused = pair("$share/g/t", reason);
    assert_eq!(not_subscribed(&world), std::slice::from_ref(&refused));
    let granted = pair("ok", ReasonCode::GrantedQos1);
    assert_eq!(answer(&world, queue), [granted, refused]);
    assert_eq!(subscribed(&world, queue), ["ok"]);
    world.end();
}

#[test]
fn a_subscription_that_is_too_large_for_one_packet_is_asked_for_in_several() {
    let mut broker = BrokerOptions::default();
    broker.maximum_packet_size = 200.try_into().unwrap();
    let mut world = World::<true>::with_all(options(), broker, false, true);
    let (x, y) = ("x".repeat(150), "y".repeat(150));
    let queue = declare(&mut world, &[&x, &y]);
    world.run();
    assert_eq!(not_subscribed(&world), []);
    assert_eq!(subscribed(&world, queue), [x.as_str(), y.as_str()]);
    world.end();
}
